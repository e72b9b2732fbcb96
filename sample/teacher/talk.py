"""Conversations as token ids, spelt as the chat template, the prompts and guided decoding spell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from transformers import PreTrainedTokenizerFast

from sample import world
from sample.teacher.draw import SHOWN_SIZES, UNASKED, shown_of
from sample.teacher.model import IMAGE_TOKENS
from sample.teacher.spelling import MEANINGS, compact, edit_text
from sample.teacher.tokens import EOS, FAKE, GLOBAL, IMAGE, ROLES

SYSTEM, USER, ASSISTANT = ROLES
NOT_SHOWN: Final = (UNASKED,) * len(SHOWN_SIZES)
# Where the image tokens stand: after system role, system prompt, user role, fake token, global tag.
IMAGE_START: Final = 5


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

    def verification(
        self,
        statement: Sequence[str],
        truths: Sequence[bool] | None,
        swapped: bool,
        classes: Sequence[tuple[int, ...]] = (),
    ) -> Spoken:
        """One verify question; `truths` None (blank picture) asks for even odds.

        `classes` say what the picture shows of each claim's aspect (see `draw.shown`).
        """
        made = Spoken()
        made.add(self.prefix)
        self._open(made, "verify", "statement")
        for number, claim in enumerate(statement):
            if number:
                made.add(self.ids(","))
            truth = None if truths is None else truths[number]
            text = claim if number == 0 else " " + claim
            self._state(made, text, truth, classes[number] if classes else NOT_SHOWN)
        return self._ask(made, "verify", "statement", None if truths is None else all(truths), swapped)

    def edit_shown(self, edit: world.Edit, truth: bool | None, swapped: bool) -> Spoken:
        """Does the picture show what the edit leads to? None (blank picture) asks for even odds."""
        made = Spoken()
        made.add(self.prefix)
        self._open(made, "verify_edit", "edit")
        self._state(made, edit_text(edit), truth)
        return self._ask(made, "verify_edit", "edit", truth, swapped)

    def follows(
        self,
        claims: Sequence[str],
        modification: str,
        claim: str,
        truth: bool,
        swapped: bool,
        wanted: tuple[int, ...] = NOT_SHOWN,
    ) -> Spoken:
        """Is `claim` settled by the picture described by `claims` and the request?

        `wanted` says what the picture looked for must show of the claim's aspect (see `draw.shown`).
        """
        made = self.caption(claims, seen=False)
        made.add(self.user)
        self._open(made, "follows", "claim", modification=modification)
        self._state(made, claim, truth, wanted)
        return self._ask(made, "follows", "claim", truth, swapped)

    def covers(
        self,
        claims: Sequence[str],
        modification: str,
        edits: Sequence[world.Edit],
        asked: Sequence[world.Edit],
        swapped: bool,
        wanted: world.Look | None = None,
    ) -> Spoken:
        """Are `edits` exactly what was `asked` of the picture described by `claims`?

        `wanted` is the look of the picture looked for: what it has of each edit's aspect is practised too.
        """
        made = self.caption(claims, seen=False)
        made.add(self.user)
        self._open(made, "covers", "edits", modification=modification)
        for number, edit in enumerate(edits):
            if number:
                made.add(self.ids(";"))
            right = NOT_SHOWN if wanted is None else shown_of(wanted, edit.aspect)
            self._state(made, (" " if number else "") + edit_text(edit), edit in asked, right)
        return self._ask(made, "covers", "edits", set(edits) == set(asked), swapped)

    def _open(self, made: Spoken, prompt: str, last: str, **values: str) -> None:
        """The question's text before its last foreign text."""
        text = self.prompts[prompt].split("{{" + last + "}}")[0]
        for name, value in values.items():
            text = text.replace("{{" + name + "}}", value)
        made.add(self.encode(text))

    def _state(self, made: Spoken, text: str, truth: bool | None, shown: tuple[int, ...] = NOT_SHOWN) -> None:
        """A statement; the judge practises at its last token."""
        made.add(self.encode(text))
        self._judge(made, len(made.ids) - 1, truth, shown)

    def _ask(self, made: Spoken, prompt: str, last: str, truth: bool | None, swapped: bool) -> Spoken:
        # The token that closes the statement has read all of it, and not yet the order of the letters.
        self._judge(made, len(made.ids), truth, NOT_SHOWN)
        made.add([*self.ids(self._end(prompt, last, swapped)), *self.assistant])
        made.verdict = 0.5 if truth is None else float(truth != swapped)
        return made

    @staticmethod
    def _judge(made: Spoken, place: int, truth: bool | None, shown: tuple[int, ...]) -> None:
        if truth is not None:
            made.claim_ends.append(place)
            made.claim_truths.append(truth)
            made.claim_shown.append(shown)

    def _end(self, prompt: str, last: str, swapped: bool) -> str:
        """A one-letter question's text after its last foreign text."""
        first, second = MEANINGS[prompt][::-1] if swapped else MEANINGS[prompt]
        text = self.prompts[prompt].split("{{" + last + "}}")[1]
        for name, value in (
            ("first", "A"),
            ("second", "B"),
            ("first_meaning", first),
            ("second_meaning", second),
        ):
            text = text.replace("{{" + name + "}}", value)
        return text
