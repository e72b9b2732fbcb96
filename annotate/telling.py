"""What a run says: its size, what it will ask and why, its pace; and when so much is wrong that it stops."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from annotate.datasets.layouts import FoundImages
from annotate.errors import RunIncomplete
from annotate.progress import Snapshot, duration
from annotate.settings import RunSettings
from annotate.settings.declared import SAMPLE_TEACHER
from annotate.shards.pending import Pending
from annotate.shards.plan import Plan
from annotate.teacher.client import Stats
from schemas.manifest import Manifest
from schemas.row import Row

TEACHERS_FAULT = frozenset(
    (
        "caption_invalid",
        "reasoning_invalid",
        "conclusion_invalid",
        "answer_cut_off",
        "teacher_refused",
        "context_too_long",
        "image_rejected",
        "no_answer",
    )
)
"""Quarantine codes that say something about the teacher; the others are about the data."""
WINDOW = 200
WINDOW_LEAST = 50
WRONG_SHARE = 0.9

_NEW = {("stage",), ("conversation",)}
_NEW_PICTURES = ("images",)
_FOLLOWERS = ("conversation", "image_turns")
"""Components that change with the others; named alone they mean another question, not another setting."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How a run tells what it does: lines for a person, and a snapshot whenever a triplet is done."""

    say: Callable[[str], None]
    update: Callable[[Snapshot], None]


class Teller:
    """Counts what is done and tells the watch; after the first shard it says what the rest will take.

    Raises `RunIncomplete` from `row` when nearly all rows that the teacher was asked about are quarantined.
    """

    def __init__(self, triplets: int, pending: Pending, stats: Stats, watch: Watch) -> None:
        self._triplets = triplets
        self._pending = pending
        self._stats = stats
        self._watch = watch
        self._counts = {"accepted": 0, "rejected": 0, "quarantined": 0}
        self._began = time.monotonic()
        self._told = False
        self._asked_before = 0
        self._last: deque[str] = deque(maxlen=WINDOW)

    def row(self, row: Row) -> None:
        """One triplet is done."""
        self._counts[row.verdict] += 1
        asked = self._stats.answered + self._stats.unanswered
        self._watch.update(
            Snapshot(self._triplets, **self._counts, asked=asked, to_ask=self._pending.requests)
        )
        if asked > self._asked_before:  # rows that the journal alone gives say nothing about this teacher
            self._asked_before = asked
            self._judge(row)

    def shard(self, size: int) -> None:
        """One shard is done."""
        asked = self._stats.answered + self._stats.unanswered
        if self._told or not asked or size == self._triplets:
            return
        self._told = True
        rate = asked / (time.monotonic() - self._began)
        left = max(0, self._pending.requests - asked) / rate
        self._watch.say(
            f"after the first shard: {rate:.1f} requests/s, so about {duration(left)} for the rest"
        )

    def _judge(self, row: Row) -> None:
        code = row.reasons[0] if row.verdict == "quarantined" else ""
        self._last.append(code if code in TEACHERS_FAULT else "")
        wrong = Counter(code for code in self._last if code)
        if len(self._last) >= WINDOW_LEAST and wrong.total() >= WRONG_SHARE * len(self._last):
            (worst, _), *_ = wrong.most_common(1)
            raise RunIncomplete(
                f"the teacher answers wrongly: {wrong.total()} of the last {len(self._last)} triplets were "
                f"quarantined, most as {worst} (last: {(row.detail or '')[:200]}); "
                "look at the teacher; `python -m annotate journal forget --out OUT` drops what it said so, "
                "then run the same command again"
            )


def size_words(plan: Plan, images: FoundImages) -> str:
    """How much there is."""
    missing = f", {len(images.missing)} missing" if images.missing else ""
    found = f"{len(images.paths):,} images in layout {images.layout}"
    shards = f"{len(plan.shards)} shard{'s' if len(plan.shards) != 1 else ''}"
    return f"{len(plan.triplets):,} triplets in {shards}; {found}{missing}"


def cost_words(pending: Pending) -> str:
    """What the run will ask, and why what has been answered does not serve."""
    if not pending.requests:
        return "everything has been answered; no teacher is needed"
    words = (
        f"to ask: an estimated {pending.requests:,} requests about {pending.triplets:,} triplets, "
        f"{pending.prompt_tokens:,} prompt and {pending.completion_tokens:,} completion tokens; "
        "fewer where a check ends a row early"
    )
    reasons: Counter[str] = Counter()
    for components, requests in pending.causes.items():
        reasons[_why(components)] += requests
    listed = "; ".join(f"{requests:,} {why}" for why, requests in reasons.most_common() if requests)
    return f"{words} ({listed})" if listed else words


def reset_words(out: Path, before: Manifest, now: Mapping[str, float], given: bool) -> str:
    """That OUT's verdicts are to be derived by other thresholds than they were; empty when they are not.

    `given` says that somebody gave the new ones, who then needs no advice how to keep the old ones.
    """
    was, promise = before.thresholds, before.precision
    changed = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    words = f"{out} was selected with {_least(was, changed)}; this run uses {_least(now, changed)}"
    if promise is not None:
        words = (
            f"{words}, and" if changed else f"{out} promised a precision of {promise.promised:g}; this run"
        )
        back = (
            f"`make select OUT={out} PRECISION={promise.promised:g}` brings it back for rows made as before"
        )
        return f"{words} promises no precision; {back}"
    if not changed or given or not set(changed) <= set(was):
        return words if changed else ""
    return f"{words}; THRESHOLDS={','.join(f'{name}={was[name]:g}' for name in changed)} keeps the former"


def _least(thresholds: Mapping[str, float], names: Iterable[str]) -> str:
    return ", ".join(f"{name}={thresholds[name]:g}" if name in thresholds else f"no {name}" for name in names)


def dropped_words(out: Path, held: int, kept: int) -> str:
    """That OUT's files will hold fewer of the triplets that they hold now; empty when they will not."""
    if kept == held:
        return ""
    return (
        f"{out} holds {held:,} triplets; this run keeps {kept:,} of them in the Parquet files; "
        "the journal keeps all answers, so a run without LIMIT brings them back"
    )


def asked_words(stats: Stats) -> str:
    """What was asked of the teacher in this run, and what of it was not smooth."""
    odd = {
        "tried again": stats.retries,
        "refused as too busy": stats.refusals,
        "asked of a second server, too": stats.hedges,
        "sent with their pictures again": stats.image_resends,
        "without an answer": stats.unanswered,
    }
    cached = stats.cached_tokens / stats.prompt_tokens if stats.prompt_tokens else 0.0
    return (
        f"asked: {stats.requests:,} requests, {stats.prompt_tokens:,} prompt tokens "
        f"({cached:.0%} of them cached), {stats.completion_tokens:,} written"
        + "".join(f"; {count:,} {what}" for what, count in odd.items() if count)
    )


def wait_words(seconds: Mapping[str, float], kept: int) -> str:
    """How long rows waited for the answers of each check, an accepted row; "" for next to nothing."""
    if not kept or sum(seconds.values()) < 1:
        return ""
    waited = [f"{name} {spent / kept:.1f} s" for name, spent in seconds.items()]
    return f"waiting for checks in this run, an accepted row (many wait at once): {', '.join(waited)}"


def _why(components: tuple[str, ...]) -> str:
    if not components:
        return "whose stored answer is damaged"
    if components in _NEW:
        return "not asked before"
    if components == _NEW_PICTURES:
        return "about pictures, as they are shown now, not asked before"
    causes = [name for name in components if name not in _FOLLOWERS]
    return f"asked before with another {', '.join(causes or components)}"


def toy_words(run: RunSettings) -> tuple[str, str] | None:
    """What is wrong, and the cure, where the sample's tiny teacher is to look at somebody's own pictures."""
    if run.source != "user" or run.teacher != str(SAMPLE_TEACHER):
        return None
    return (
        "the teacher is the sample's tiny one, which knows its renderings only: of other pictures next to "
        "nothing will be accepted",
        "give TEACHER=, or TEACHER_URL= and TEACHER_MODEL=",
    )
