"""What a run consists of: triplets grouped by reference and cut into shards. Pure, save for OUT's mark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from annotate.errors import InputError, OutputError, UsageError
from annotate.files import read_regular, write_atomic
from annotate.text import parse_json
from schemas.triplet import Triplet

SHARD_SIZE = 256
JOB_FILE = Path("journal") / "job.json"
OURS = ("train", "rejected", "quarantine", "annotations", "manifest.json", "report.html", "README.md")
"""What a run writes into OUT besides journal/; an OUT that holds one of them unmarked is refused."""


@dataclass(frozen=True, slots=True)
class Job:
    """What OUT belongs to. Another limit, prompt, teacher or threshold continues a job."""

    dataset: str
    split: str
    category: str | None
    annotation_digest: str

    @property
    def digest(self) -> str:
        return job_digest(self.dataset, self.split, self.category, self.annotation_digest)


@dataclass(frozen=True, slots=True)
class Shard:
    """A run of `Plan.triplets` (start <= i < stop) that is annotated as one task."""

    index: int
    name: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Plan:
    """All triplets of a run in the order in which they are asked: those with one reference side by side."""

    job: Job
    limit: int | None
    seed: int
    triplets: tuple[Triplet, ...]
    shards: tuple[Shard, ...]

    def of(self, shard: Shard) -> tuple[Triplet, ...]:
        """The triplets of one shard."""
        return self.triplets[shard.start : shard.stop]


def make_plan(
    triplets: Sequence[Triplet],
    job: Job,
    *,
    limit: int | None = None,
    seed: int = 0,
    shard_size: int = SHARD_SIZE,
) -> Plan:
    """Group by reference, draw `limit` triplets by reference, cut into shards; deterministic in its
    arguments.

    Triplets with one reference share a shard unless they alone exceed `shard_size`. The smaller of two limits
    under one seed draws a subset of the larger. Raises `InputError` for no triplets at all, `UsageError` for
    a split without targets or a limit below 1.
    """
    if not triplets:
        raise InputError(
            f"{job.dataset}/{job.split}: the annotation files hold no triplets; check ROOT and SPLIT"
        )
    if all(triplet.target is None for triplet in triplets):
        raise UsageError(
            f"{job.dataset}/{job.split} has no targets: nothing to check against; choose a split with targets"
        )
    if limit is not None and limit < 1:
        raise UsageError(f"LIMIT={limit}: give a number of triplets from 1, or none for all")
    groups: dict[str, list[Triplet]] = {}
    for triplet in triplets:
        groups.setdefault(triplet.reference, []).append(triplet)
    chosen = list(groups.values()) if limit is None else _drawn(groups, limit, seed)
    ordered = tuple(triplet for group in chosen for triplet in group)
    return Plan(job, limit, seed, ordered, _cut([len(group) for group in chosen], shard_size))


def job_digest(dataset: str, split: str, category: str | None, annotation_digest: str) -> str:
    """sha256 of what makes a job."""
    return hashlib.sha256(json.dumps([dataset, split, category, annotation_digest]).encode()).hexdigest()


def claim_out(out: Path, job: Job) -> None:
    """Mark OUT as this job's, or see that it is. Call it under OUT's lock: two runs may want a new folder.

    Raises `OutputError` as `refuse_others` does.
    """
    if not refuse_others(out, job):
        try:
            write_atomic(out / JOB_FILE, json.dumps(_mark(job), indent=2) + "\n")
        except OSError as error:
            raise _unusable(out, error) from error


def refuse_others(out: Path, job: Job) -> bool:
    """Whether OUT is marked as this job's; nothing is written, so it may come before OUT's lock.

    Raises `OutputError` when OUT belongs to another job, holds foreign files that a run would overwrite, or
    cannot be looked into.
    """
    mark = out / JOB_FILE
    wanted = _mark(job)
    try:
        if not mark.exists():
            foreign = [name for name in OURS if (out / name).exists()]
            if foreign:
                raise OutputError(
                    f"{out} holds {foreign[0]} but no {JOB_FILE}: not a run's folder; give another OUT"
                )
            return False
        found = parse_json(read_regular(mark, 1 << 20))
    except OSError as error:
        raise _unusable(out, error) from error
    except ValueError as error:
        raise OutputError(f"{mark} is broken ({error}); give another OUT or remove this one") from error
    if not isinstance(found, dict) or found.get("job") != wanted["job"]:
        raise OutputError(
            f"OUT {out} holds another job, {_named(found)}, not {_named(wanted)}; give another OUT"
        )
    return True


def _mark(job: Job) -> dict[str, str | None]:
    return {
        "job": job.digest,
        "dataset": job.dataset,
        "split": job.split,
        "category": job.category,
        "annotation_digest": job.annotation_digest,
    }


def _unusable(out: Path, error: OSError) -> OutputError:
    return OutputError(f"OUT {out} cannot be written ({error.strerror or error}); give another OUT")


def _named(mark: object) -> str:
    if not isinstance(mark, dict):
        return "an unknown one"
    name = "/".join(str(mark.get(key)) for key in ("dataset", "split", "category") if mark.get(key))
    return f"{name} (annotation files {str(mark.get('annotation_digest'))[:12]})"


def _drawn(groups: dict[str, list[Triplet]], limit: int, seed: int) -> list[list[Triplet]]:
    """References in an order drawn by the seed until `limit` is reached, the last one cut; then in file order
    again.

    Drawn by hash and not by a generator, so that the draw depends on neither file order nor Python version.
    """
    order = sorted(
        groups, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode("utf-8", "replace")).digest()
    )
    taken: dict[str, int] = {}
    left = limit
    for name in order:
        if left == 0:
            break
        taken[name] = min(left, len(groups[name]))
        left -= taken[name]
    return [group[: taken[name]] for name, group in groups.items() if name in taken]


def _cut(sizes: Sequence[int], shard_size: int) -> tuple[Shard, ...]:
    """Fill shards in order with whole groups; a group beyond `shard_size` gets shards of its own."""
    bounds = [0]
    end = 0
    for size in sizes:
        if end - bounds[-1] + size > shard_size and end > bounds[-1]:
            bounds.append(end)
        end += size
        while end - bounds[-1] > shard_size:
            bounds.append(bounds[-1] + shard_size)
    if end > bounds[-1]:
        bounds.append(end)
    return tuple(
        Shard(index, f"shard-{index:05d}", start, stop)
        for index, (start, stop) in enumerate(pairwise(bounds))
    )
