"""The datasets' own dirt, planted at the datasets' own rates (counted on the real files) and recorded."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sample.triplets import Planned

WRONG_TARGETS = 0.08
FEWEST_ROWS = 30  # a split smaller than this gets no dirt but wrong targets


@dataclass(frozen=True, slots=True)
class Rates:
    """Share of a split's triplets; a rate above zero plants at least one."""

    stray_blanks: float = 0.0
    empty_caption: float = 0.0
    both_captions_empty: float = 0.0
    equal_captions: float = 0.0
    exact_repeat: float = 0.0
    missing_image: float = 0.0
    undecodable_image: float = 0.0


# Zero where the real split has none, save that every kind occurs once in the split which is annotated
# by default, so that each row of the dirt table is exercised.
ONCE = 1e-9
RATES: dict[str, dict[str, Rates]] = {
    "cirr": {
        "train": Rates(
            stray_blanks=4 / 28225,
            empty_caption=ONCE,
            exact_repeat=ONCE,
            missing_image=ONCE,
            undecodable_image=ONCE,
        ),
        "val": Rates(),
        "test1": Rates(stray_blanks=1 / 4148, empty_caption=1 / 4148, exact_repeat=4 / 4148),
    },
    "fashioniq": {
        "train": Rates(
            stray_blanks=942 / 18000,
            empty_caption=12 / 18000,
            both_captions_empty=ONCE,
            equal_captions=112 / 18000,
            exact_repeat=ONCE,
            missing_image=1083 / 18000,
            undecodable_image=ONCE,
        ),
        "val": Rates(
            stray_blanks=346 / 6016,
            empty_caption=3 / 6016,
            equal_captions=17 / 6016,
            missing_image=330 / 6016,
        ),
        "test": Rates(
            stray_blanks=345 / 6118, empty_caption=1 / 6118, equal_captions=25 / 6118, exact_repeat=12 / 6118
        ),
    },
    "circo": {
        "val": Rates(
            stray_blanks=ONCE,
            empty_caption=ONCE,
            exact_repeat=ONCE,
            missing_image=ONCE,
            undecodable_image=ONCE,
        ),
        "test": Rates(),
    },
}


@dataclass(slots=True)
class Broken:
    """Images that are named by the annotations and cannot be read."""

    missing: set[str] = field(default_factory=set)
    undecodable: set[str] = field(default_factory=set)


def how_many(rate: float, rows: int) -> int:
    """Rows to be hit: rounded, at least one where the rate is not zero."""
    return max(1, round(rate * rows)) if rate > 0 and rows >= FEWEST_ROWS else 0


def repeats(dataset: str, split: str, rows: int, clean: bool) -> int:
    """How many of a split's rows are to be exact repeats."""
    return 0 if clean else how_many(RATES[dataset][split].exact_repeat, rows)


def plant_wrong_targets(
    rng: random.Random,
    rows: Sequence[Planned],
    random_target: Callable[[random.Random, Planned], bool],
    lookalike_target: Callable[[random.Random, Planned], bool],
) -> None:
    """Give 8 % of the rows a target that fails the modification, half of them a look-alike.

    The two functions change a row in place and say whether they could.
    """
    wanted = round(WRONG_TARGETS * len(rows))
    goals = {"wrong_target_random": wanted // 2, "wrong_target_lookalike": wanted - wanted // 2}
    for row in rng.sample(list(rows), len(rows)):
        if row.dirt:
            continue
        for name, spoil in (
            ("wrong_target_random", random_target),
            ("wrong_target_lookalike", lookalike_target),
        ):
            if goals[name] > 0 and spoil(rng, row):
                row.dirt.append(name)
                goals[name] -= 1
                break


def plant_text_dirt(
    rng: random.Random,
    rows: Sequence[Planned],
    rates: Rates,
    rewrite: Callable[[random.Random, Planned], str],
) -> None:
    """Empty, equal and blank-trailed texts; `rewrite` gives one text that asks for all of a row's edits."""
    size = len(rows)
    free = [row for row in rng.sample(list(rows), size) if not row.dirt]

    def take(rate: float) -> list[Planned]:
        return [free.pop() for _ in range(min(how_many(rate, size), len(free)))]

    for row in take(rates.both_captions_empty):
        row.texts = ["" for _ in row.texts]
        row.dirt.append("both_captions_empty")
    for row in take(rates.empty_caption):
        if len(row.texts) == 1:
            row.texts = [" "]
        else:
            row.texts = rng.sample([rewrite(rng, row), ""], 2)
        row.dirt.append("empty_caption")
    for row in take(rates.equal_captions):
        row.texts = [rewrite(rng, row)] * 2
        row.dirt.append("equal_captions")
    for row in take(rates.stray_blanks):
        which = rng.randrange(len(row.texts))
        blank = rng.choice((" ", " ", "  ", "\n"))
        row.texts[which] = rng.choice((f"{row.texts[which]}{blank}", f" {row.texts[which]}"))
        row.dirt.append("stray_blanks")


def plant_repeats(rng: random.Random, rows: list[Planned], count: int) -> None:
    """Insert exact copies (reference, target, text) of clean rows somewhere behind them."""
    for _ in range(count):
        place = rng.choice([i for i, row in enumerate(rows) if not row.dirt])
        again = copy.deepcopy(rows[place])
        again.dirt.append("exact_repeat")
        rows.insert(rng.randrange(place + 1, len(rows) + 1), again)


def plant_broken_images(rng: random.Random, rows: Sequence[Planned], rates: Rates) -> Broken:
    """Choose images that are gone or cut off, and note it in every row that needs one.

    Rows with other dirt keep their images, so that each dirt has one outcome.
    """
    size = len(rows)
    uses = Counter(name for row in rows for name in {row.reference, row.target})
    dirty = {name for row in rows if row.dirt for name in (row.reference, row.target)}
    names = [name for name in sorted(uses) if name not in dirty and uses[name] <= 3]
    rng.shuffle(names)
    broken = Broken()
    for dirt, chosen, rate in (
        ("missing_image", broken.missing, rates.missing_image),
        ("undecodable_image", broken.undecodable, rates.undecodable_image),
    ):
        wanted = how_many(rate, size)
        while wanted > 0 and names:
            name = names.pop()
            needing = [row for row in rows if name in (row.reference, row.target)]
            if any(row.dirt for row in needing):
                continue
            chosen.add(name)
            for row in needing:
                row.dirt.append(dirt)
            wanted -= len(needing)
    return broken
