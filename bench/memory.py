"""Memory of the process that annotates: bounded, and flat once it has warmed up.

    python -m bench.memory run [--triplets 46000] [--runner prefect] [--work outputs/memory]
    python -m bench.memory plan [--triplets 1000000] [--work outputs/memory-plan]

`run` annotates against a fast server on 127.0.0.1 and watches the client's resident memory from outside: peak
at most `--most` MB (600), and after the first thousand triplets no more than `--growth` MB (60) on top.
`plan` plans so many triplets, and journals an answer about each, without images and without a server: peak at
most `--most` MB (1,000). Exit status 0 or 1.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from annotate.journal import Journal, answered_ask
from annotate.shards.plan import Job, make_plan
from annotate.teacher.request import Picture, Reply, Request, Turn
from bench.driving import fault_server, kill_group, run_command, start, verdict, write_world
from schemas.triplet import Triplet

WARM = 1000
REPLY = Reply('{"claims":["a blue ball","sand in the background"]}', "stop", (), 700, 20, 600)
_DONE = re.compile(rb"([\d,]+)/[\d,]+ triplets")


def watch_run(triplets: int, runner: str, work: Path, most: float, growth: float) -> int:
    """A whole run under observation; 0 when proved."""
    world, log = write_world(work / "world", triplets), work / "run.log"
    seen: list[tuple[float, int, float]] = []
    asking: list[tuple[int, float]] = []
    began = time.monotonic()
    with fault_server() as url:
        asked = {"teacher_url": f"{url}/ok/v1", "teacher_model": "test", "runner": runner}
        process = start(run_command(world, work / "out", **asked), log)
        try:
            while process.poll() is None:
                rss = resident(process.pid)
                if rss is not None:
                    seen.append((time.monotonic() - began, done(log), rss))
                    if seen[-1][1] >= min(WARM, triplets // 4) and b"publishing" not in log.read_bytes():
                        asking.append((seen[-1][1], rss))
                time.sleep(0.25)
        finally:
            kill_group(process)
    wrong = []
    if process.returncode != 0:
        wrong.append(f"status {process.returncode}: {(work / 'run.log').read_text()[-1000:]}")
    if not asking:
        return verdict("memory of a run", [*wrong, "the run ended before it was warm"])
    # What counts as warm is what it took by the time that a tenth more was done: 5 s lie between two lines.
    warm_until = asking[0][0] + triplets // 10
    warm = max(rss for count, rss in asking if count <= warm_until)
    while_asking = max(rss for _, rss in asking)
    peak = max(rss for _, _, rss in seen)
    print(f"{triplets:,} triplets, runner {runner}, {seen[-1][0]:.0f} s")
    for share in range(0, 101, 10):
        at = seen[min(len(seen) - 1, len(seen) * share // 100)]
        print(f"  {at[0]:6.0f} s  {at[1]:8,} triplets done  {at[2]:6.0f} MB")
    print(
        f"warm (until {warm_until:,} triplets): {warm:.0f} MB; most while asking: {while_asking:.0f} MB; "
        f"peak, publication included: {peak:.0f} MB"
    )
    if peak > most:
        wrong.append(f"peak of {peak:.0f} MB is more than {most:.0f} MB")
    if while_asking > warm + growth:
        wrong.append(f"grew by {while_asking - warm:.0f} MB after it was warm, more than {growth:.0f} MB")
    return verdict("memory of a run", wrong)


def plan_and_journal(triplets: int, work: Path, most: float) -> int:
    """In this process: plan, then journal an answer a triplet; 0 when proved."""
    began = time.monotonic()
    plan = make_plan(list(many(triplets)), Job("cirr", "train", None, "0" * 64))
    planned, took = peak_of_this_process(), time.monotonic() - began
    size = f"{len(plan.triplets):,} triplets in {len(plan.shards):,} shards"
    print(f"planned:    {size}, {took:.0f} s, {planned:.0f} MB", flush=True)

    async def ask(request: Request) -> Reply:
        return REPLY

    async def journal_all() -> int:
        with Journal(work) as journal:
            answered = answered_ask(journal, ask)
            for shard in plan.shards:
                await asyncio.gather(*(answered(question(triplet)) for triplet in plan.of(shard)))
            return journal.count

    count = asyncio.run(journal_all())
    peak, took = peak_of_this_process(), time.monotonic() - began
    disk = sum(path.stat().st_size for path in work.glob("answers.sqlite*")) / 1e6
    print(f"journalled: {count:,} answers, {disk:,.0f} MB on disk, {took:.0f} s, {peak:.0f} MB")
    wrong = [f"{count} answers for {triplets} triplets"] if count != triplets else []
    if peak > most:
        wrong.append(f"peak of {peak:.0f} MB is more than {most:.0f} MB")
    return verdict("memory of plan and journal", wrong)


def many(count: int) -> Iterator[Triplet]:
    """Triplets as CIRR's partial file gives them: without subsets."""
    for number in range(count):
        yield Triplet(
            triplet_id=f"cirr/train/{number}",
            dataset="cirr",
            split="train",
            native_id=str(number),
            reference=f"train-{number * 5 // 8}-0-img0",
            target=f"train-{number}-1-img1",
            modifications=(f"the ball is blue and lies on sand, number {number}",),
        )


def question(triplet: Triplet) -> Request:
    """A question about a triplet whose pictures nobody needs."""
    digest = f"{int(triplet.native_id):064x}"
    turns = (Turn("user", triplet.modifications[0], (Picture(digest, "fit448-q90-v1"),)),)
    return Request("reasoning", "test", turns, "prompt")


def resident(pid: int) -> float | None:
    """Resident memory of a process in MB; None when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:")), None)


def done(log: Path) -> int:
    """Triplets done, of the last progress line."""
    found = _DONE.findall(log.read_bytes())
    return int(found[-1].replace(b",", b"")) if found else 0


def peak_of_this_process() -> float:
    """In MB. Not `ru_maxrss`: that one begins with what the parent had when it forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM:"))


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.memory", description=(__doc__ or "").split("\n")[0]
    )
    commands = parser.add_subparsers(dest="what", required=True)
    run = commands.add_parser("run")
    run.add_argument("--triplets", type=int, default=46_000)
    run.add_argument("--runner", choices=("local", "prefect"), default="local")
    run.add_argument("--work", type=Path, default=Path("outputs") / "memory", help="emptied first")
    run.add_argument("--most", type=float, default=600.0)
    run.add_argument("--growth", type=float, default=60.0)
    plan = commands.add_parser("plan")
    plan.add_argument("--triplets", type=int, default=1_000_000)
    plan.add_argument("--work", type=Path, default=Path("outputs") / "memory-plan", help="emptied first")
    plan.add_argument("--most", type=float, default=1000.0)
    given = parser.parse_args(argv)
    work: Path = given.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if given.what == "plan":
        return plan_and_journal(given.triplets, work, given.most)
    return watch_run(given.triplets, given.runner, work, given.most, given.growth)


if __name__ == "__main__":
    sys.exit(main())
