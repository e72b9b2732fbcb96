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
from sample.teacher.sources import conclusion_copies, copies, reasoning_copies, spans
from sample.teacher.tokens import EOS, FAKE, GLOBAL, GLUE, IMAGE, ROLES

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
    sources: list[tuple[int, int]] = field(default_factory=list)
    answer_start: int = 0

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
        self.glue = frozenset(i for glue in GLUE for i in self.ids(glue))
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
        made.answer_start = len(made.ids)
        made.add(self.answer({"claims": list(claims)}), 1 if seen else 0)
        return made

    def echo(self, claims: Sequence[str]) -> Spoken:
        """A conclusion that repeats whatever claims were made, without a modification between."""
        made = self.caption(claims, seen=False)
        caption = spans(made.ids, made.answer_start, self.glue)
        made.add([*self.user, *self.ids(self.prompts["conclusion"]), *self.assistant])
        start = len(made.ids)
        made.add(self.answer({"claims": list(claims)}), 3)
        repeated = spans(made.ids, start, self.glue)
        for target, source in zip(repeated, caption, strict=True):
            made.sources += copies(made.ids, target, source)
        return made

    def conversation(
        self, look: world.Look, edits: Sequence[world.Edit], modification: str, seen: bool = True
    ) -> Spoken:
        """Caption, reasoning and conclusion of one triplet (not `seen`: of another picture's look)."""
        made = self.caption(world.claims(look), seen)
        aspects = ", ".join([*world.aspects(look.domain), "other"])
        made.add([*self.user, *self.fill("reasoning", modification=modification, aspects=aspects)])
        made.add(self.assistant)
        reasoning = {
            "rationale": world.rationale(edits),
            "edits": [edit.as_dict() for edit in edits],
            "kept": world.kept(look, edits),
        }
        caption = spans(made.ids, made.answer_start, self.glue)
        start = len(made.ids)
        made.add(self.answer(reasoning), 2)
        parts = spans(made.ids, start, self.glue)
        triples = [(parts[2 + 3 * k], parts[3 + 3 * k]) for k in range(len(edits))]
        words = [tuple(self.ids(f" {edit.aspect} to")) for edit in edits]
        made.sources += reasoning_copies(made.ids, edits, triples, caption, look, parts[0], words)
        made.add([*self.user, *self.ids(self.prompts["conclusion"]), *self.assistant])
        start = len(made.ids)
        made.add(self.answer({"claims": world.claims(world.apply(look, edits))}), 3)
        conclusion = spans(made.ids, start, self.glue)
        made.sources += conclusion_copies(made.ids, conclusion, caption, [new for _, new in triples])
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
