"""Soak: a run against a server that fails at the given rates loses no row and gets none wrong.

    python -m bench.soak [--triplets 5000] [--work outputs/soak]

Proved are: every triplet has exactly one row; each row equals that of a run against a faultless server, or
is quarantined, which few are; no answer is asked for twice but for a fault or what was in flight. Exit
status 0, 1, or 2 where a run could not end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.driving import (
    REPEATED_BY_CANARY,
    fault_server,
    finish,
    one_line,
    rows_of,
    run_command,
    stats,
    verdict,
    write_world,
)

RATES = "http500=0.05,reset=0.02,truncated=0.02,html=0.02,schema=0.02,hang=0.002"
CONCURRENCY = 64
MOST_QUARANTINED = 0.01
"""Share of the rows that the faults may quarantine: an answer and its repair are both spoilt in .24 % (12 of
5,000), and chance does not make four times as many; a client that repairs or retries less does."""
FEW = 3
"""Quarantined rows that are always let pass: 1 % of a small soak is less than chance."""


def compared(
    wanted: dict[str, dict[str, Any]], got: dict[str, dict[str, Any]]
) -> tuple[list[str], list[str]]:
    """(what is wrong, ids that are quarantined in the soaked run alone)."""
    wrong = [f"{name} has no row" for name in wanted.keys() - got.keys()]
    wrong += [f"{name} came from nowhere" for name in got.keys() - wanted.keys()]
    quarantined = []
    for name in wanted.keys() & got.keys():
        if wanted[name] == got[name]:
            continue
        if got[name]["verdict"] == "quarantined" and got[name]["reasons"] and got[name]["detail"]:
            quarantined.append(name)
        else:
            wrong.append(f"{name} differs from the faultless run and is not quarantined")
    return wrong, quarantined


def lost_to_quarantine(quarantined: int, triplets: int) -> list[str]:
    """What is wrong with so many rows quarantined in the soaked run alone: nothing up to the bound."""
    if quarantined <= max(FEW, MOST_QUARANTINED * triplets):
        return []
    return [f"{quarantined} of {triplets} rows are quarantined for faults, more than {MOST_QUARANTINED:.0%}"]


def soak(triplets: int, work: Path, seed: int, timeout: float) -> int:
    """Run both, compare, print; 0 when proved."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    world = write_world(work / "world", triplets)
    asked = {"teacher_model": "test", "concurrency": CONCURRENCY, "timeout": timeout}
    took = {}
    with fault_server() as url:
        began = time.monotonic()
        finish(run_command(world, work / "good", teacher_url=f"{url}/ok/v1", **asked), work / "good.log")
        took["faultless"], faultless = time.monotonic() - began, stats(url)
    with fault_server("--rates", RATES, "--seed", str(seed)) as url:
        began = time.monotonic()
        finish(
            run_command(world, work / "soaked", teacher_url=f"{url}/mixed/v1", **asked), work / "soaked.log"
        )
        took["soaked"], soaked = time.monotonic() - began, stats(url)
    good, got = rows_of(work / "good"), rows_of(work / "soaked")
    wrong, quarantined = compared(good, got)
    wrong += lost_to_quarantine(len(quarantined), triplets)
    if len(good) != triplets:
        wrong.append(f"the faultless run has {len(good)} rows for {triplets} triplets")
    verdicts = Counter(row["verdict"] for row in got.values())
    if not (verdicts["accepted"] and verdicts["rejected"]):
        wrong.append(f"no row climbed to the end of the checks, or none was rejected: {dict(verdicts)}")
    faults = sum(soaked["faults"].values())
    if soaked["answered_twice"] > REPEATED_BY_CANARY + CONCURRENCY:
        wrong.append(f"{soaked['answered_twice']} answers asked twice, {CONCURRENCY} in flight")
    if not soaked["faults"].keys() >= {part.split("=")[0] for part in RATES.split(",")} and triplets >= 1000:
        wrong.append(f"not every fault occurred: {soaked['faults']}")
    print(f"faultless: {faultless['requests']:,} requests in {took['faultless']:.0f} s")
    print(f"soaked:    {soaked['requests']:,} requests in {took['soaked']:.0f} s, {faults:,} faults")
    print(f"faults:    {json.dumps(soaked['faults'])}")
    print(f"verdicts:  {dict(verdicts)}, {len(got):,} rows")
    print(f"quarantined in the soaked run alone: {dict(Counter(got[n]['reasons'][0] for n in quarantined))}")
    print(f"answers asked twice: {soaked['answered_twice']}, most in flight: {soaked['most_in_flight']}")
    return verdict("soak", wrong)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--triplets", type=int, default=5000)
    parser.add_argument("--work", type=Path, default=Path("outputs") / "soak", help="emptied first")
    parser.add_argument("--seed", type=int, default=1, help="of the faults")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds that one answer may take")
    given = parser.parse_args(argv)
    return one_line(lambda: soak(given.triplets, given.work.absolute(), given.seed, given.timeout))


if __name__ == "__main__":
    sys.exit(main())
