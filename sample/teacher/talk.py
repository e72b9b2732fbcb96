"""Conversations as token ids, spelt exactly as the chat template, the prompts and guided decoding spell them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from transformers import PreTrainedTokenizerFast

from sample import world
from sample.teacher.model import IMAGE_TOKENS
from sample.teacher.tokens import EOS, FAKE, GLOBAL, IMAGE, ROLES

SYSTEM, USER, ASSISTANT = ROLES
# Where the image tokens stand: after system role, system prompt, user role, fake token, global tag.
IMAGE_START: Final = 5


def compact(answer: object) -> str:
    """Canonical compact JSON, which is also what guided decoding emits."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True)
class Spoken:
    """Token ids, the stage each answer token belongs to (0: only read), a statement's claims and its verdict."""

    ids: list[int] = field(default_factory=list)
    stages: list[int] = field(default_factory=list)
    claim_ends: list[int] = field(default_factory=list)
    claim_truths: list[bool] = field(default_factory=list)
    verdict: float | None = None

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
        image = FAKE + GLOBAL + IMAGE * IMAGE_TOKENS + FAKE
        self.prefix = [*self.system, *self.user, *self.ids(image)]
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

    def answer(self, answer: dict[str, object]) -> list[int]:
        """An assistant's answer and its end."""
        return [*self.encode(compact(answer)), *self.eos]

    def caption(self, look: world.Look) -> Spoken:
        """The caption stage alone."""
        made = Spoken()
        made.add(self.prefix)
        made.add([*self.ids(self.prompts["caption"]), *self.assistant])
        made.add(self.answer({"claims": world.claims(look)}), 1)
        return made

    def conversation(
        self, look: world.Look, edits: Sequence[world.Edit], modification: str
    ) -> Spoken:
        """Caption, reasoning and conclusion of one triplet."""
        made = self.caption(look)
        aspects = ", ".join([*world.aspects(look.domain), "other"])
        made.add([*self.user, *self.fill("reasoning", modification=modification, aspects=aspects)])
        made.add(self.assistant)
        reasoning = {
            "rationale": world.rationale(edits),
            "edits": [edit.as_dict() for edit in edits],
            "kept": world.kept(look, edits),
        }
        made.add(self.answer(reasoning), 2)
        made.add([*self.user, *self.ids(self.prompts["conclusion"]), *self.assistant])
        made.add(self.answer({"claims": world.claims(world.apply(look, edits))}), 3)
        return made

    def verification(self, statement: Sequence[str], truths: Sequence[bool] | None, swapped: bool) -> Spoken:
        """One verify question; `truths` None (blank picture) asks for even odds.

        The verdict is 1.0 when letter A is right, 0.0 when B is, 0.5 for even odds.
        """
        made = Spoken()
        before, after = self._verify_frame(swapped)
        made.add([*self.prefix, *before])
        for number, claim in enumerate(statement):
            last = number == len(statement) - 1
            made.add(self.ids(claim if number == 0 else " " + claim))
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

    def _verify_frame(self, swapped: bool) -> tuple[list[int], list[int]]:
        meanings = ("mismatch", "match") if swapped else ("match", "mismatch")
        text = self.prompts["verify"]
        for name, value in zip(
            ("first", "second", "first_meaning", "second_meaning"), ("A", "B", *meanings), strict=True
        ):
            text = text.replace("{{" + name + "}}", value)
        before, after = text.split("{{statement}}")
        return self.ids(before), [*self.ids(after), *self.assistant]
