"""What is still to be asked is counted without asking, and the count is what a run then asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from annotate.checks.coherence import COHERENCE
from annotate.shards.pending import Pending, count_pending
from annotate.shards.plan import Plan, make_plan
from annotate.shards.run import Tools, run_shard
from annotate.teacher.request import Reply, Request
from tests.shards.world import JOB, make_tools, scripted, triplet

FIXED = (COHERENCE,)
"""A check that always asks the same number of questions, so that counts are exact."""
TRIPLETS = [triplet(number, reference=f"ref-{number // 2}") for number in range(6)]


class Memory:
    """A journal in a dictionary: what `Journal` and `answered_ask` do, without a disk."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.asked = 0
        self.left = 10**9
        self.lock = asyncio.Lock()

    async def ask(self, request: Request) -> Reply:
        async with self.lock:
            digest = request.digest()
            if digest not in self.replies:
                if self.asked == self.left:
                    await asyncio.sleep(3600)
                self.asked += 1
                self.replies[digest] = await scripted()(request)
            return self.replies[digest]


def pending(plan: Plan, tools: Tools, memory: Memory) -> Pending:
    look, answered = memory.replies.get, len(memory.replies)
    return asyncio.run(count_pending(plan, tools, look, answered, lambda request: (request.stage,)))


def run(plan: Plan, tools: Tools, memory: Memory, stop_after: int | None = None) -> int:
    """Requests asked by a run, stopped after so many of them."""
    memory.asked, memory.left, memory.lock = 0, 10**9 if stop_after is None else stop_after, asyncio.Lock()

    async def main() -> None:
        work = run_shard(plan, plan.shards[0], replace(tools, ask=memory.ask))
        if stop_after is None:
            await work
            return
        task = asyncio.create_task(work)
        while memory.asked < stop_after:
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(main())
    return memory.asked


def test_a_fresh_run_asks_what_was_counted_from_the_plan_alone(tmp_path: Path) -> None:
    plan, memory = make_plan(TRIPLETS, JOB), Memory()
    tools = make_tools(tmp_path, scripted(), TRIPLETS, checks=FIXED)
    counted = pending(plan, tools, memory)
    assert counted.requests == 3 + 6 * 2 + 6 * 2 == run(plan, tools, memory)
    assert counted.triplets == 6
    assert counted.prompt_tokens > counted.completion_tokens > 0
    assert counted.causes == {}


def test_nothing_is_pending_after_a_run(tmp_path: Path) -> None:
    plan, memory = make_plan(TRIPLETS, JOB), Memory()
    tools = make_tools(tmp_path, scripted(), TRIPLETS, checks=FIXED)
    run(plan, tools, memory)
    assert pending(plan, tools, memory) == Pending(0, 0, 0, 0)


def test_of_checks_that_ask_more_or_less_the_usual_number_is_counted(tmp_path: Path) -> None:
    plan, memory = make_plan(TRIPLETS, JOB), Memory()
    tools = make_tools(tmp_path, scripted(), TRIPLETS)
    counted, asked = pending(plan, tools, memory).requests, run(plan, tools, memory)
    assert asked <= counted <= 2 * asked
    assert pending(plan, tools, memory).requests == 0


@pytest.mark.parametrize("stop_after", [1, 3, 8, 14, 20, 26])
def test_a_stopped_run_asks_the_rest_as_counted(tmp_path: Path, stop_after: int) -> None:
    plan, memory = make_plan(TRIPLETS, JOB), Memory()
    tools = make_tools(tmp_path, scripted(), TRIPLETS, checks=FIXED)
    run(plan, tools, memory, stop_after)
    counted = pending(plan, tools, memory)
    assert sum(counted.causes.values()) == counted.requests
    assert counted.requests == 27 - stop_after == run(plan, tools, memory)


def test_another_conclusion_prompt_leaves_captions_and_reasonings(tmp_path: Path) -> None:
    plan, memory = make_plan(TRIPLETS, JOB), Memory()
    tools = make_tools(tmp_path, scripted(), TRIPLETS, checks=FIXED)
    run(plan, tools, memory)
    prompts = dict(tools.writer.prompts)
    prompts["conclusion"] = replace(prompts["conclusion"], text="Say it otherwise.", digest="f" * 64)
    changed = replace(tools, writer=replace(tools.writer, prompts=prompts))
    counted = pending(plan, changed, memory)
    assert counted.causes == {("conclusion",): counted.requests}
    assert (
        counted.requests == 6 + 6 * 2
    )  # foreseen in full; the verifier's are asked only if the answers differ


def test_a_picture_that_cannot_be_decoded_is_not_pending(tmp_path: Path) -> None:
    plan, memory = make_plan(TRIPLETS, JOB), Memory()
    tools = make_tools(tmp_path, scripted(), TRIPLETS, checks=FIXED)
    tools.paths["target-5"].write_bytes(b"no image")
    asked = run(plan, tools, memory)
    assert asked == 27 - 4
    assert pending(plan, tools, memory).requests == 0


def test_dirty_records_and_missing_images_are_not_pending(tmp_path: Path) -> None:
    triplets = [triplet(1, problem="exact_repeat"), triplet(2, target="gone"), triplet(3)]
    tools = make_tools(tmp_path, scripted(), checks=FIXED)
    assert pending(make_plan(triplets, JOB), tools, Memory()).requests == 5


def test_tokens_are_estimated_from_the_replies_there_are(tmp_path: Path) -> None:
    memory = Memory()
    tools = make_tools(tmp_path, scripted(), checks=FIXED)
    run(make_plan([triplet(0), triplet(1)], JOB), tools, memory)
    counted = pending(make_plan([triplet(number) for number in range(4)], JOB), tools, memory)
    assert counted.requests == 2 * 5
    verify = 4
    assert counted.completion_tokens == 2 * 3 * 30 + verify
