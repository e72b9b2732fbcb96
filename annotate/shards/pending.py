"""What is still to be asked, counted before a server starts: the real path with an `ask` that looks up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from annotate.checks.ladder import Costs, requests_per_reference, requests_per_triplet
from annotate.shards.plan import Plan
from annotate.shards.run import Tools, annotate_triplet, together
from annotate.stages import STAGES
from annotate.teacher.request import Reply, Request
from schemas.triplet import Triplet

Look = Callable[[str], Reply | None]
"""`Journal.get`: the stored reply of a request digest, or None."""
Explain = Callable[[Request], tuple[str, ...]]
"""`Journal.explain`: components in which a request differs from the nearest stored one, causes first."""

TYPICAL_TOKENS: Mapping[str, tuple[int, int]] = {
    "caption": (700, 120),
    "reasoning": (1_000, 150),
    "conclusion": (1_200, 120),
    "verify": (750, 1),
}
"""Prompt and completion tokens of a request about a 448-pixel picture, until the journal knows better."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Requests still to be asked, and about how many tokens they are. 0 requests: neither server nor canary
    needed.

    Exact when nothing is missing. Where a triplet lacks an early stage, its later ones are counted in full;
    of the checks, whose number of questions depends on what they find, the usual number; repair turns and
    second chances are not foreseen. `causes` counts the requests by the components of the key in which the
    first one of their triplet that lacks an answer differs from what was answered.
    """

    requests: int
    triplets: int
    prompt_tokens: int
    completion_tokens: int
    causes: Mapping[tuple[str, ...], int] = field(default_factory=dict)


async def count_pending(plan: Plan, tools: Tools, look: Look, answered: int, explain: Explain) -> Pending:
    """Walk all triplets of a plan without asking anything. `answered` is the number of stored answers.

    With none stored, nothing is opened and the count comes from the plan alone; else each picture is stored
    on the way (as the run would do), since one that cannot be decoded has nothing to ask. Raises what reading
    pictures does.
    """
    if answered == 0:
        return _priced(_fresh(plan, tools), sum(1 for t in plan.triplets if _askable(t, tools)), {}, {})
    tally = _Tally(look, explain)
    for shard in plan.shards:
        await together(_walk(triplet, tools, tally) for triplet in plan.of(shard))
    return _priced(tally.missing, tally.triplets, tally.tokens, tally.causes)


class _Missing(Exception):
    """The journal has no answer to this request, so the walk of this triplet ends; `cause` says why."""

    def __init__(self, cause: tuple[str, ...]) -> None:
        super().__init__(", ".join(cause))
        self.cause = cause


@dataclass(slots=True)
class _Tally:
    look: Look
    explain: Explain
    missing: Counter[str] = field(default_factory=Counter)
    causes: Counter[tuple[str, ...]] = field(default_factory=Counter)
    cause_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    triplets: int = 0
    tokens: dict[str, list[int]] = field(default_factory=dict)

    def miss(self, request: Request, digest: str) -> NoReturn:
        if digest not in self.cause_of:
            self.cause_of[digest] = self.explain(request)
            self.add(_stage(request), 1, self.cause_of[digest])
        raise _Missing(self.cause_of[digest])

    def add(self, stage: str, requests: int, cause: tuple[str, ...]) -> None:
        self.missing[stage] += requests
        self.causes[cause] += requests

    def hit(self, request: Request, reply: Reply) -> Reply:
        if reply.prompt_tokens:
            sums = self.tokens.setdefault(_stage(request), [0, 0, 0])
            sums[0] += 1
            sums[1] += reply.prompt_tokens
            sums[2] += reply.completion_tokens
        return reply


async def _walk(triplet: Triplet, tools: Tools, tally: _Tally) -> None:
    """Follow one triplet as far as its answers reach; then add the requests of the rest of its path."""
    seen: Counter[str] = Counter()

    async def look_up(request: Request) -> Reply:
        digest = request.digest()
        seen[_stage(request)] += 1
        reply = tally.look(digest)
        return tally.hit(request, reply) if reply is not None else tally.miss(request, digest)

    try:
        await annotate_triplet(
            triplet, replace(tools, ask=look_up, embed=look_up if tools.encoder else None, costs=Costs())
        )
    except _Missing as miss:
        tally.triplets += 1
        for stage in STAGES:
            if not seen[stage]:
                tally.add(stage, 1, miss.cause)
        checked = sum(count for stage, count in seen.items() if stage not in STAGES)
        tally.add("verify", max(0, requests_per_triplet(tools.checks) - checked), miss.cause)


def _fresh(plan: Plan, tools: Tools) -> Counter[str]:
    """Requests of a whole plan by stage: the caption once a reference, the others once a triplet."""
    askable = [triplet for triplet in plan.triplets if _askable(triplet, tools)]
    return Counter(
        caption=len({triplet.reference for triplet in askable}),
        reasoning=len(askable),
        conclusion=len(askable),
        verify=len(askable) * requests_per_triplet(tools.checks)
        + len({triplet.reference for triplet in askable}) * requests_per_reference(tools.checks),
    )


def _askable(triplet: Triplet, tools: Tools) -> bool:
    return triplet.problem is None and triplet.reference in tools.paths and triplet.target in tools.paths


def _priced(
    missing: Counter[str],
    triplets: int,
    tokens: Mapping[str, Sequence[int]],
    causes: Mapping[tuple[str, ...], int],
) -> Pending:
    """Tokens at the mean of each stage's stored replies, or at `TYPICAL_TOKENS` where there are none."""
    prompt = completion = 0.0
    for stage, count in missing.items():
        if stage in tokens:
            replies, prompts, completions = tokens[stage]
            means = (prompts / replies, completions / replies)
        else:
            means = TYPICAL_TOKENS.get(stage, TYPICAL_TOKENS["verify"])
        prompt += count * means[0]
        completion += count * means[1]
    return Pending(sum(missing.values()), triplets, round(prompt), round(completion), dict(causes))


def _stage(request: Request) -> str:
    return request.stage.removesuffix("_repair").removesuffix("_again")
