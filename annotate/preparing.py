"""What a run will do, before anything is asked: annotation files read, images found, the plan made. And the
sample, rendered where it is what is annotated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from annotate.checks import Check, choose, measured
from annotate.checks.duplicates import with_notes
from annotate.datasets import (
    annotation_digest,
    check_missing,
    evaluated_images,
    find_images,
    load_aspects,
    load_triplets,
)
from annotate.datasets.layouts import FoundImages
from annotate.errors import OutputError
from annotate.report.rows import all_ids
from annotate.selection import checked_thresholds, defaults_for
from annotate.settings import Configuration, RunSettings, published_settings
from annotate.shards.plan import Job, Plan, make_plan
from annotate.shards.published import read_manifest
from annotate.shards.run import asks_lookalikes
from annotate.telling import dropped_words, reset_words


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run will do, as far as files and folders say; nothing written, nothing asked."""

    settings: RunSettings
    shown: Mapping[str, str]
    plan: Plan
    images: FoundImages
    aspects: tuple[str, ...]
    thresholds: Mapping[str, float]
    checks: tuple[Check, ...]


def render_sample(settings: RunSettings, say: Callable[[str], None]) -> None:
    """Write the default root, whole or not at all; one that is there may be of another version."""
    from sample.writers.whole import stale_words, write_whole

    if not settings.root.exists():
        say(f"writing the rendered sample into {settings.root}")
        write_whole(settings.dataset, settings.root, settings.seed)
    elif stale := stale_words(settings.root):
        say(stale)


def prepare(configuration: Configuration) -> Prepared:
    """Read the annotation files, find the images, make the plan. Raises `InputError` and `UsageError`."""
    settings = configuration.run
    given = checked_thresholds(dict(settings.thresholds)) if settings.thresholds else {}
    checks = choose(settings.checks, given, encoder=settings.encoder_url is not None)
    thresholds = checked_thresholds({**defaults_for(measured(checks)), **given})
    plan, images = read_data(settings)
    check_missing(images, allow=settings.allow_missing)
    images = _with_lookalikes(images, plan, settings, checks)
    aspects = load_aspects(settings.dataset, settings.root)
    shown = published_settings(configuration)
    return Prepared(settings, shown, plan, images, aspects, thresholds, checks)


def read_data(settings: RunSettings) -> tuple[Plan, FoundImages]:
    """The triplets of the run (LIMIT of them), and where the pictures of the usable ones are."""
    where = (settings.dataset, settings.split, settings.root, settings.category)
    elsewhere = evaluated_images(settings.dataset, settings.split, settings.root)
    triplets = with_notes(load_triplets(*where), elsewhere)
    job = Job(settings.dataset, settings.split, settings.category, annotation_digest(*where))
    plan = make_plan(triplets, job, limit=settings.limit, seed=settings.seed, shard_size=settings.shard_size)
    names = dict.fromkeys(n for t in plan.triplets if t.problem is None for n in (t.reference, t.target) if n)
    return plan, find_images(settings.dataset, settings.split, settings.root, names, settings.category)


def _with_lookalikes(
    images: FoundImages, plan: Plan, settings: RunSettings, checks: Sequence[Check]
) -> FoundImages:
    """Also the other members of the subsets, where a check asks about them; a missing one counts for nothing:
    the check does without it."""
    if not asks_lookalikes(checks):
        return images
    names = dict.fromkeys(n for t in plan.triplets for n in t.subset if n not in images.paths)
    found = find_images(settings.dataset, settings.split, settings.root, names, settings.category)
    return replace(images, paths={**found.paths, **images.paths})


def changes_of(prepared: Prepared) -> list[str]:
    """What this run will change in the results that OUT holds, for people who did not mean it."""
    out, planned = prepared.settings.out, {triplet.triplet_id for triplet in prepared.plan.triplets}
    try:
        before, held = read_manifest(out), all_ids(out)
    except OutputError:  # nothing there that could be missed
        return []
    given = bool(prepared.settings.thresholds)
    lines = (
        reset_words(out, before, prepared.thresholds, given),
        dropped_words(out, len(held), sum(name in planned for name in held)),
    )
    return [line for line in lines if line]
