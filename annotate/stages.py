"""The writer: caption -> reasoning -> conclusion as one growing conversation. Gets `ask` as an argument,
knows no HTTP.

Every request is a prefix extension of the one before it (system, reference picture, caption turn,
modification turn, ...), so the server's prefix cache holds. The caption request depends on the reference
only: triplets that share a reference share its answer through the journal. The target is kept from the writer
unless `sees_target` is set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from annotate.answers import Fault, read_answer
from annotate.prompts import Prompt
from annotate.teacher.request import Ask, Picture, Reply, Request, Sampling, Turn, canonical_json
from schemas.answers import Answer, CaptionAnswer, ConclusionAnswer, ReasoningAnswer, response_schema

Stage = Literal["caption", "reasoning", "conclusion"]
STAGES: tuple[Stage, ...] = ("caption", "reasoning", "conclusion")
STAGE_TOKENS: Mapping[Stage, int] = {"caption": 512, "reasoning": 768, "conclusion": 512}

MAX_REPLAYED = 2_000
"""Characters of an unusable answer that the repair turn shows again; a loop must not fill the context."""
MAX_DETAIL = 4_000
"""Characters of `Unusable.detail`, both raw answers included."""

AnswerT = TypeVar("AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Writer:
    """Everything besides pictures and text that determines what the writer is asked.

    `aspects` is the dataset's closed list ("other" is appended if absent); `max_tokens` per stage overrides
    that of `sampling`; `sees_target` shows the writer the target, which leaks (every row is marked).
    """

    model: str
    prompts: Mapping[str, Prompt]
    aspects: tuple[str, ...]
    recipe: str
    sampling: Sampling = field(default_factory=Sampling)
    sees_target: bool = False
    max_tokens: Mapping[Stage, int] = field(default_factory=lambda: STAGE_TOKENS)


@dataclass(frozen=True, slots=True)
class Chain:
    """The three answers about one triplet."""

    caption: CaptionAnswer
    reasoning: ReasoningAnswer
    conclusion: ConclusionAnswer


class Unusable(Exception):
    """No usable answer after the one repair turn: quarantine code and what the teacher said (bounded)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail[:MAX_DETAIL]


async def write_chain(
    ask: Ask, writer: Writer, reference: Picture, modification: str, target: Picture | None = None
) -> Chain:
    """Ask the three stages about one triplet; `target` is used only when `writer.sees_target`.

    Raises `Unusable` when a stage stays unusable after its repair turn, and whatever `ask` raises.
    """
    turns = caption_turns(writer, reference)
    caption = await _answer(ask, writer, "caption", CaptionAnswer, turns)
    turns = (*turns, replayed(caption), reasoning_turn(writer, modification, target))
    reasoning = await _answer(ask, writer, "reasoning", ReasoningAnswer, turns)
    turns = (*turns, replayed(reasoning), Turn("user", writer.prompts["conclusion"].render()))
    conclusion = await _answer(ask, writer, "conclusion", ConclusionAnswer, turns)
    return Chain(caption, reasoning, conclusion)


async def write_again(
    ask: Ask,
    writer: Writer,
    reference: Picture,
    modification: str,
    chain: Chain,
    complaint: str,
    caption_too: bool,
    target: Picture | None = None,
) -> Chain:
    """A chain written once more, the writer told what was wrong with its own answers. The caption is written
    again only when it is at fault itself: it is shared with other triplets.

    Raises `Unusable` and whatever `ask` raises.
    """
    turns = caption_turns(writer, reference)
    caption = chain.caption
    if caption_too:
        caption = await _answer(ask, writer, "caption", CaptionAnswer, turns, (caption, complaint))
    turns = (*turns, replayed(caption), reasoning_turn(writer, modification, target))
    told = (chain.reasoning, complaint)
    reasoning = await _answer(ask, writer, "reasoning", ReasoningAnswer, turns, told)
    turns = (*turns, replayed(reasoning), Turn("user", writer.prompts["conclusion"].render()))
    conclusion = await _answer(ask, writer, "conclusion", ConclusionAnswer, turns)
    return Chain(caption, reasoning, conclusion)


def caption_turns(writer: Writer, reference: Picture) -> tuple[Turn, ...]:
    """The conversation up to the caption question: it depends on nothing but the reference."""
    return (
        Turn("system", writer.prompts["system"].render()),
        Turn("user", writer.prompts["caption"].render(), (reference,)),
    )


def reasoning_turn(writer: Writer, modification: str, target: Picture | None) -> Turn:
    """The modification as a question; with `sees_target` also the target picture and how it may be used."""
    text = writer.prompts["reasoning"].render(
        modification=modification, aspects=", ".join(_closed(writer.aspects))
    )
    if not writer.sees_target:
        return Turn("user", text)
    if target is None:
        raise ValueError("the writer is to see the target, but this triplet's target picture was not passed")
    return Turn("user", f"{text}\n{writer.prompts['target'].render()}", (target,))


def replayed(answer: Answer) -> Turn:
    """An answer as an assistant turn, in the one spelling that guided decoding and training use."""
    return Turn("assistant", canonical_json(answer.model_dump(mode="json", by_alias=True)))


def prompt_digest(writer: Writer, *names: str) -> str:
    """sha256 over the digests of the prompt files that a question is made of."""
    return hashlib.sha256(" ".join(writer.prompts[name].digest for name in names).encode()).hexdigest()


def stage_schema(model: type[Answer], aspects: tuple[str, ...]) -> str:
    """The canonical JSON Schema that is sent for a stage, and checked again on arrival."""
    return canonical_json(response_schema(model, aspects))


async def _answer(
    ask: Ask,
    writer: Writer,
    stage: Stage,
    model: type[AnswerT],
    turns: tuple[Turn, ...],
    told: tuple[AnswerT, str] | None = None,
) -> AnswerT:
    """One stage: ask, and if the answer is unusable ask once more, naming the error. `told` is an earlier
    answer and what was wrong with it.

    Later stages continue from the good answer alone; the unusable one and its repair turn are left out of
    their conversation, so a repaired triplet asks its later questions in the same form as any other.
    """
    names = ["system", stage]
    if stage == "reasoning" and writer.sees_target:
        names.append("target")
    if told is not None:
        answer_before, complaint = told
        turns = (*turns, replayed(answer_before), _repair_turn(writer, complaint))
        names.append("repair")
    request = Request(
        stage=stage if told is None else f"{stage}_again",
        model=writer.model,
        turns=turns,
        prompt_digest=prompt_digest(writer, *names),
        schema_json=stage_schema(model, writer.aspects),
        sampling=replace(writer.sampling, max_tokens=writer.max_tokens[stage]),
    )
    first = await ask(request)
    answer = read_answer(first, model, request.schema_json)
    if not isinstance(answer, Fault):
        return answer
    repair = replace(
        request,
        stage=f"{request.stage}_repair",
        turns=(
            *turns,
            Turn("assistant", first.text[:MAX_REPLAYED] or "(empty)"),
            _repair_turn(writer, answer.error),
        ),
        prompt_digest=prompt_digest(writer, *names, "repair"),
    )
    second = await ask(repair)
    repaired = read_answer(second, model, request.schema_json)
    if isinstance(repaired, Fault):
        raise Unusable(repaired.code or f"{stage}_invalid", _detail(repaired.error, second, first))
    return repaired


def _repair_turn(writer: Writer, error: str) -> Turn:
    return Turn("user", writer.prompts["repair"].render(error=error))


def _detail(error: str, second: Reply, first: Reply) -> str:
    """What to show a person: the error, then the start and the end of both raw answers, newest first."""
    room = (MAX_DETAIL - len(error) - 100) // 2
    return (
        f"{error} | answer after repair: {_ends(second.text, room)} | first answer: {_ends(first.text, room)}"
    )


def _ends(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 205]} ... {text[-200:]}"


def _closed(aspects: tuple[str, ...]) -> tuple[str, ...]:
    return (*(aspect for aspect in aspects if aspect != "other"), "other")
