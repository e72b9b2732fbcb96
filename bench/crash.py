"""Crash: SIGKILLs at random instants, resumed each time, end in the bytes of an undisturbed run.

    python -m bench.crash [--kills 200] [--work outputs/crash]      # deterministic server on 127.0.0.1
    python -m bench.crash --vllm --kills 5                          # the sample's teacher in vLLM, killed too

A kill takes the run's whole process group: at any instant from its start on, while it publishes, or while
`journal compact` runs. After each one the journal is verified and the same command goes on. When a run gets
to its end, its files are compared and OUT is begun anew, until all kills are spent. Exit status 0 or 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from annotate.errors import UsageError
from annotate.journal import FILE_NAME
from annotate.journal_tools import export_to, problems_of
from annotate.text import parse_json
from bench.driving import (
    REPEATED_BY_CANARY,
    fault_server,
    finish,
    kill_group,
    one_line,
    published,
    run_command,
    start,
    stats,
    verdict,
    write_world,
)
from sample.writers import WRITERS, Sizes

CONCURRENCY = 64
LOST_ASKING = 2 * CONCURRENCY
"""Answers that a kill while requests are out may cost: those in flight, and those that a commit carries just
then, at most as many where it lasts as long as an answer. Another kill costs none but the canary's."""
DELAY = "0.15"
"""Seconds that an answer takes, so that there is something in flight to be lost."""
Moment = Callable[["Victim", random.Random], bool]
"""Waits for its instant; True when the process still ran then and is to be killed."""


class Victim:
    """A run (or a compaction) that is to be killed, and what is known of it."""

    def __init__(self, command: Sequence[str], out: Path, log: Path, usual: float) -> None:
        self.out, self.log, self.usual = out, log, usual
        self.began = time.time()
        self.process: subprocess.Popen[bytes] = start(command, log)

    def runs_after(self, seconds: float) -> bool:
        """Whether it is still there after so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def runs_until(self, happened: Callable[[], bool]) -> bool:
        """Wait until something has happened; False when the process ended before."""
        while not happened():
            if self.process.poll() is not None:
                return False
            time.sleep(0.0005)
        return True

    def asks(self) -> bool:
        """Whether the teacher is there and is asked."""
        return b"canary:" in self.log.read_bytes()


def any_instant(victim: Victim, rng: random.Random) -> bool:
    """From the first instruction to the end of a whole run."""
    return victim.runs_after(rng.uniform(0.0, victim.usual))


def while_asking(victim: Victim, rng: random.Random) -> bool:
    """After the teacher is there, so that requests are in flight."""
    if not victim.runs_until(victim.asks):
        return False
    return victim.runs_after(rng.uniform(0.0, 0.5 * victim.usual))


def while_publishing(victim: Victim, rng: random.Random) -> bool:
    """From the first staged file to the manifest."""
    staging = victim.out / "journal" / "staging"

    def stages() -> bool:
        """Whether this run does: what a killed one staged lies there until then."""
        with suppress(FileNotFoundError):
            return staging.stat().st_mtime > victim.began
        return False

    if not victim.runs_until(stages):
        return False
    return victim.runs_after(rng.uniform(0.0, 0.15))


def compacting(victim: Victim, rng: random.Random) -> bool:
    """Within the life of a compaction."""
    return victim.runs_after(rng.uniform(0.1, 0.5))


MOMENTS: tuple[Moment, ...] = (any_instant, while_asking, while_asking, while_publishing, compacting)


@dataclass(slots=True)
class Tally:
    """What was seen over all kills."""

    killed: Counter[str] = field(default_factory=Counter)
    ends: int = 0
    again: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def crash(kills: int, triplets: int, work: Path, seed: int) -> int:
    """Against the deterministic server; 0 when proved."""
    world, out, tally = write_world(work / "world", triplets), work / "out", Tally()
    with fault_server("--delay", DELAY) as url:
        began = time.monotonic()
        finish(_command(world, out, url), work / "undisturbed.log")
        usual = time.monotonic() - began
    wanted = published(out)
    shutil.rmtree(out)
    print(f"undisturbed: {triplets} triplets in {usual:.1f} s, {len(wanted)} files", flush=True)
    rng = random.Random(seed)
    while tally.killed.total() < kills and not tally.wrong:
        with fault_server("--delay", DELAY) as url:
            _one_out(kills, world, work, url, usual, rng, tally)
            tally.wrong += _differences(wanted, published(out))
        shutil.rmtree(out)
        print(f"{tally.killed.total()} kills, {tally.ends} runs ended, all equal", flush=True)
    print(f"killed: {', '.join(f'{name} {count}' for name, count in sorted(tally.killed.items()))}")
    print(f"runs that got to their end: {tally.ends}, each compared byte by byte")
    print(
        f"answers asked again for a kill: {sum(tally.again) / max(len(tally.again), 1):.1f} on average, "
        f"at most {max(tally.again, default=0):.1f}; {CONCURRENCY} may be in flight"
    )
    return verdict("crash", tally.wrong)


def _one_out(
    kills: int, world: Path, work: Path, url: str, usual: float, rng: random.Random, tally: Tally
) -> None:
    """Kill and go on until a run gets to its end, or the kills are spent and one is let go to its end."""
    out, own_kills, canaries, allowed = work / "out", 0, 0, 0
    while not tally.wrong:
        moment: Moment = rng.choice(MOMENTS)
        if moment is compacting and not (out / "journal" / FILE_NAME).exists():
            continue
        compact = [sys.executable, "-m", "annotate", "journal", "compact", "--out", str(out)]
        command = compact if moment is compacting else _command(world, out, url)
        victim = Victim(command, out, work / "killed.log", usual)
        spent = tally.killed.total() >= kills
        if not spent and moment(victim, rng):
            kill_group(victim.process)
            canaries += victim.asks()
            allowed += LOST_ASKING if victim.asks() else REPEATED_BY_CANARY
            tally.killed[moment.__name__] += 1
            own_kills += 1
            tally.wrong += _journal_problems(out)
            continue
        if victim.process.wait() != 0:
            tally.wrong.append(f"status {victim.process.returncode}: {victim.log.read_text()[-1000:]}")
        canaries += victim.asks()
        if moment is not compacting:
            break
    tally.ends += 1
    again = stats(url)["answered_twice"] - REPEATED_BY_CANARY * canaries
    tally.again += [max(again, 0) / own_kills] if own_kills else []
    if again > allowed:
        tally.wrong.append(f"{again} answers were asked again after {own_kills} kills")


def crash_with_vllm(kills: int, work: Path, seed: int) -> int:
    """With the sample's teacher in vLLM, its server killed with the run; 0 when proved."""
    world, out, rng, wrong = work / "world", work / "out", random.Random(seed), list[str]()
    WRITERS["fashioniq"](world, 7, Sizes(train=60, val=20, test=10), False)
    command = run_command(world, out, dataset="fashioniq", shard_size=16)
    finish(command, work / "undisturbed.log")
    wanted = published(out)
    export_to(out / "journal", work / "undisturbed.jsonl")
    shutil.rmtree(out)
    known: dict[str, str] = {}
    kept = 0
    for number in range(kills + 1):
        victim = Victim(command, out, work / "killed.log", 0.0)
        if (
            number == kills
            or not victim.runs_until(victim.asks)
            or not victim.runs_after(rng.uniform(0.2, 2.0))
        ):
            if victim.process.wait() != 0:
                wrong.append(f"status {victim.process.returncode}: {victim.log.read_text()[-1000:]}")
            break
        family = _descendants(victim.process.pid)
        kill_group(victim.process)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        export_to(out / "journal", work / "killed.jsonl")
        now = replies(work / "killed.jsonl")
        wrong += [f"{digest} was lost or changed" for digest in known if now.get(digest) != known[digest]]
        known, kept = now, number + 1
        print(f"kill {number + 1}: {len(family)} processes, {len(now)} answers are kept", flush=True)
    export_to(out / "journal", work / "last.jsonl")
    last, undisturbed = replies(work / "last.jsonl"), replies(work / "undisturbed.jsonl")
    wrong += [f"{digest} was lost or changed" for digest in known if last.get(digest) != known[digest]]
    other = sum(_without_cache(last.get(d)) != _without_cache(reply) for d, reply in undisturbed.items())
    wrong += [] if kept else ["the run ended before it was killed once"]
    print(f"kills: {kept}; answers: {len(last)}, of them kept over the last kill: {len(known)}")
    print(f"answers (cache statistics apart) that differ from the undisturbed run's: {other}")
    wrong += _differences(wanted, published(out))
    return verdict("crash with vLLM", wrong)


def replies(path: Path) -> dict[str, str]:
    """Digest -> reply, of an exported journal."""
    lines = (parse_json(line) for line in path.read_text().splitlines())
    return {line["digest"]: json.dumps(line["reply"], sort_keys=True) for line in lines}


def _without_cache(reply: str | None) -> str:
    """A reply without how many of its prompt tokens the server had in its cache: a new server has none."""
    return re.sub(r'"cached_tokens": \d+', "", reply or "")


def _command(world: Path, out: Path, url: str) -> list[str]:
    asked = {"teacher_url": f"{url}/ok/v1", "teacher_model": "test", "concurrency": CONCURRENCY}
    return run_command(world, out, **asked, shard_size=16)


def _journal_problems(out: Path) -> list[str]:
    if not (out / "journal" / FILE_NAME).exists():
        return []
    return [f"after a kill: {problem}" for problem in problems_of(out / "journal")]


def _differences(wanted: dict[str, str], got: dict[str, str]) -> list[str]:
    names = sorted(wanted.keys() | got.keys())
    return [f"{name} differs from the undisturbed run" for name in names if wanted.get(name) != got.get(name)]


def _descendants(pid: int) -> list[int]:
    """All processes below one, also those in sessions of their own."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            parent = int(entry.read_text(errors="replace").rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    found, below = list[int](), [pid]
    while below:
        below = [child for each in below for child in children.get(each, ())]
        found += below
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.crash", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--triplets", type=int, default=80)
    parser.add_argument("--vllm", action="store_true", help="with the sample's teacher in vLLM")
    parser.add_argument("--work", type=Path, default=Path("outputs") / "crash", help="emptied first")
    parser.add_argument("--seed", type=int, default=1, help="of the instants")
    given = parser.parse_args(argv)
    return one_line(lambda: _prove(given))


def _prove(given: argparse.Namespace) -> int:
    if given.kills < 1:
        raise UsageError(f"--kills {given.kills} proves nothing; give 1 or more")
    work: Path = given.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if given.vllm:
        return crash_with_vllm(given.kills, work, given.seed)
    return crash(given.kills, given.triplets, work, given.seed)


if __name__ == "__main__":
    sys.exit(main())
