"""Conversations as token ids, spelt as the chat template, the prompts and guided decoding spell them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from transformers import PreTrainedTokenizerFast

from sample import world
from sample.teacher.model import IMAGE_TOKENS
from sample.teacher.tokens import EOS, FAKE, GLOBAL, IMAGE, MEANINGS, ROLES

SYSTEM, USER, ASSISTANT = ROLES
# Where the image tokens stand: after system role, system prompt, user role, fake token, global tag.
IMAGE_START: Final = 5


def compact(answer: object) -> str:
    """Canonical compact JSON, which is also what guided decoding emits."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True)
class Spoken:
    """Token ids, the stage of each answer token (0: only read), a statement's claims and its verdict."""

    ids: list[int] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    claim_ends: list[int] = field(default_factory=list)
    claim_truths: list[bool] = field(default_factory=list)
    claim_shown: list[tuple[int, ...]] = field(default_factory=list)
    verdict: float | None = None
    second_image: int | None = None

    def add(self, ids: Sequence[int], stage: int = 0) -> None:
        """Append tokens of one stage (1 caption, 2 reasoning, 3 conclusion) or of none."""
        self.ids.extend(ids)
        self.stages.extend([stage] * len(ids))


class Talk:
    """Builds training sequences; equal to tokenising the rendered chat template (a test compares them)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, prompts: Path) -> None:
        self.tokenizer = tokenizer
        self.memo: dict[str, list[int]] = {}
        self.prompts = {p.stem: p.read_text(encoding="utf-8").strip() for p in sorted(prompts.glob("*.md"))}
        self.eos = self.ids(EOS)
        self.assistant = self.ids(ASSISTANT)
        self.user = self.ids(USER)
        self.system = self.ids(SYSTEM + self.prompts["system"])
        self.image = self.ids(FAKE + GLOBAL + IMAGE * IMAGE_TOKENS + FAKE)
        self.prefix = [*self.system, *self.user, *self.image]
        self.letters = [self.ids("A")[0], self.ids("B")[0]]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        found: list[int] = self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        return found

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, remembered."""
        if text not in self.memo:
            self.memo[text] = self.encode(text)
        return self.memo[text]

    def fill(self, prompt: str, **values: str) -> list[int]:
        """A prompt with its placeholders filled in; the filling is not remembered."""
        text = self.prompts[prompt]
        for name, value in values.items():
            text = text.replace("{{" + name + "}}", value)
        return self.encode(text)

    def answer(self, answer: Mapping[str, object]) -> list[int]:
        """An assistant's answer and its end."""
        return [*self.encode(compact(answer)), *self.eos]

    def caption(self, claims: Sequence[str], seen: bool = True) -> Spoken:
        """The caption stage alone; its tokens are not practised when the claims are not `seen`."""
        made = Spoken()
        made.add(self.prefix)
        made.add([*self.ids(self.prompts["caption"]), *self.assistant])
        made.add(self.answer({"claims": list(claims)}), 1 if seen else 0)
        return made

    def echo(self, claims: Sequence[str]) -> Spoken:
        """A conclusion that repeats whatever claims were made, without a modification between."""
        made = self.caption(claims, seen=False)
        made.add([*self.user, *self.ids(self.prompts["conclusion"]), *self.assistant])
        made.add(self.answer({"claims": list(claims)}), 3)
        return made

    def conversation(
        self,
        look: world.Look,
        edits: Sequence[world.Edit],
        modification: str,
        seen: bool = True,
        target: world.Look | None = None,
    ) -> Spoken:
        """Caption, reasoning and conclusion of one triplet (not `seen`: of another picture's look).

        With `target` its picture is shown beside the request, and the conclusion says what it shows.
        """
        made = self.caption(world.claims(look), seen)
        aspects = ", ".join([*world.aspects(look.domain), "other"])
        made.add(self.user)
        if target is not None:
            made.second_image = len(made.ids) + 2
            made.add(self.image)
        made.add(self.fill("reasoning", modification=modification, aspects=aspects))
        if target is not None:
            made.add(self.ids("\n" + self.prompts["target"]))
        made.add(self.assistant)
        reasoning = {
            "rationale": world.rationale(edits),
            "edits": [edit.as_dict() for edit in edits],
            "kept": world.kept(look, edits),
        }
        made.add(self.answer(reasoning), 2)
        made.add([*self.user, *self.ids(self.prompts["conclusion"]), *self.assistant])
        made.add(self.answer({"claims": world.claims(target or world.apply(look, edits))}), 3)
        return made

    def verification(self, statement: Sequence[str], truths: Sequence[bool] | None, swapped: bool) -> Spoken:
        """One verify question; `truths` None (blank picture) asks for even odds."""
        made = Spoken()
        made.add(self.prefix)
        before, after = self._frame("verify", swapped)
        made.add(before)
        for number, claim in enumerate(statement):
            last = number == len(statement) - 1
            made.add(self.encode(claim if number == 0 else " " + claim))
            made.claim_ends.append(len(made.ids) - 1)
            if not last:
                made.add(self.ids(","))
        made.add(after)
        if truths is None:
            made.claim_ends = []
            made.verdict = 0.5
        else:
            made.claim_truths = list(truths)
            made.verdict = float(all(truths) != swapped)
        return made

    def edit_shown(self, edit: world.Edit, truth: bool | None, swapped: bool) -> Spoken:
        """Does the picture show what the edit leads to? None (blank picture) asks for even odds."""
        made = Spoken()
        made.add(self.prefix)
        return self._ask(made, "verify_edit", truth, swapped, edit=edit_text(edit))

    def follows(
        self, claims: Sequence[str], modification: str, claim: str, truth: bool, swapped: bool
    ) -> Spoken:
        """Is `claim` settled by the picture described by `claims` and the request?"""
        made = self.caption(claims, seen=False)
        made.add(self.user)
        return self._ask(made, "follows", truth, swapped, modification=modification, claim=claim)

    def covers(
        self,
        claims: Sequence[str],
        modification: str,
        edits: Sequence[world.Edit],
        truth: bool,
        swapped: bool,
    ) -> Spoken:
        """Are `edits` exactly what the request asks of the picture described by `claims`?"""
        made = self.caption(claims, seen=False)
        made.add(self.user)
        text = "; ".join(map(edit_text, edits))
        return self._ask(made, "covers", truth, swapped, modification=modification, edits=text)

    def _ask(self, made: Spoken, prompt: str, truth: bool | None, swapped: bool, **values: str) -> Spoken:
        first, second = MEANINGS[prompt][::-1] if swapped else MEANINGS[prompt]
        options = {"first": "A", "second": "B", "first_meaning": first, "second_meaning": second}
        made.add([*self.fill(prompt, **values, **options), *self.assistant])
        made.verdict = 0.5 if truth is None else float(truth != swapped)
        return made

    def _frame(self, prompt: str, swapped: bool) -> tuple[list[int], list[int]]:
        """A one-letter question's tokens before and after its statement."""
        first, second = MEANINGS[prompt][::-1] if swapped else MEANINGS[prompt]
        text = self.prompts[prompt]
        for name, value in (
            ("first", "A"),
            ("second", "B"),
            ("first_meaning", first),
            ("second_meaning", second),
        ):
            text = text.replace("{{" + name + "}}", value)
        before, after = text.split("{{statement}}")
        return self.ids(before), [*self.ids(after), *self.assistant]


def edit_text(edit: world.Edit) -> str:
    """An edit as the questions about edits spell it."""
    return f"{edit.aspect}: {edit.old} to {edit.new}"
