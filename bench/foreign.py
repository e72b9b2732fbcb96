"""How many rows about pictures of another world than the teacher's are accepted: `python -m bench.foreign`.

Writes a dataset's sample, clean, and puts other pictures in the place of its own: photographs (random crops
of those in `--photographs`), noise, line drawings (another renderer, without colours), inverted colours. Then
it annotates as usual, the teacher's own chains included. Nothing that a row states of colours is true of the
first three, so every accepted row is wrong. Inverted pictures show the same things in other colours, which a
teacher may well name: such a row is wrong when a claim of its caption is not true of what is shown (red
becomes cyan, for which the world has no word: green and blue both pass). Exit status 1 above `--most`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image, ImageFilter

from annotate.errors import InputError, UsageError
from annotate.text import parse_json
from bench.driving import finish, one_line, run_command, verdict
from sample.looks import parse_claim
from sample.paint import inverted, noise
from sample.score_report import read_truth
from sample.vocabulary import ABSENT
from sample.writers import WRITERS, Sizes
from schemas.triplet import Dataset

SMALLEST_CROP = 160
INVERTED: Mapping[str, frozenset[str]] = {
    "red": frozenset({"green", "blue"}),
    "orange": frozenset({"blue"}),
    "yellow": frozenset({"blue"}),
    "green": frozenset({"purple", "pink"}),
    "blue": frozenset({"yellow", "orange"}),
    "purple": frozenset({"green"}),
    "white": frozenset({"black"}),
    "black": frozenset({"white"}),
    "pink": frozenset({"green"}),
    "brown": frozenset({"blue"}),
    "gray": frozenset({"gray"}),
}
"""Colour -> what the world would call its inverse."""
Treat = Callable[[Image.Image, random.Random], Image.Image]


def drawn(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture's outlines, dark on white."""
    return picture.convert("L").filter(ImageFilter.CONTOUR).convert("RGB")


def photographs(folder: Path) -> Treat:
    """Random crops of the folder's photographs. Raises `UsageError` when there are none, `InputError` for one
    that cannot be opened."""
    found = [_opened(path) for path in sorted(folder.rglob("*")) if path.suffix in (".jpg", ".png")]
    if not found:
        raise UsageError(f"--photographs {folder}: holds no .jpg or .png files")

    def crop(picture: Image.Image, rng: random.Random) -> Image.Image:
        photograph = rng.choice(found)
        longest = min(photograph.size)
        side = rng.randint(min(SMALLEST_CROP, longest), longest)
        left, top = rng.randint(0, photograph.width - side), rng.randint(0, photograph.height - side)
        return photograph.crop((left, top, left + side, top + side)).resize(picture.size)

    return crop


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: is no picture that can be opened ({error}); remove it") from error


RENDERED: Mapping[str, Treat] = {"noise": noise, "inverted": inverted, "drawn": drawn}
PHOTOGRAPHS = "photographs"
KINDS = (*RENDERED, PHOTOGRAPHS)


def replace_pictures(folder: Path, treat: Treat, seed: int) -> int:
    """Treat every picture below the folder in its place; how many. Raises `InputError` for none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".jpg", ".png"))
    if not paths:
        raise InputError(f"{folder}: holds no pictures to replace")
    for path in paths:
        with Image.open(path) as opened:
            treated = treat(opened.convert("RGB"), random.Random(f"{seed}/{path.name}"))
        treated.save(path, quality=95)
    return len(paths)


def untrue_inverted(claims: Sequence[str], shown: Mapping[str, str], category: str | None = None) -> bool:
    """Whether a caption states what a look (aspect -> value) does not show in inverted colours. Backgrounds
    are textures whose inverse has no name: nothing is said against them."""
    for claim in claims:
        parsed = parse_claim(claim)
        if parsed is None or any(_untrue(*each, shown, category) for each in parsed):
            return True
    return False


def _untrue(aspect: str, value: str, shown: Mapping[str, str], category: str | None) -> bool:
    if aspect == "background":
        return False
    if aspect == "category":
        return value != category
    before = shown.get(aspect, ABSENT)  # a scene has no sleeves, a garment no ball
    if before == ABSENT:
        return True
    *looks, color = before.split()
    if color not in INVERTED:  # pattern, length, arrangement: as they were
        return value != before
    *said, named = value.split()
    return said != looks or named not in INVERTED[color]


def wrongly_accepted(
    dataset: Dataset,
    name: str,
    treat: Treat,
    triplets: int,
    seed: int,
    work: Path,
    flags: Mapping[str, object],
) -> int:
    """Annotate so many triplets about treated pictures; how many rows were accepted that are wrong."""
    root, out = work / name / "root", work / name / "out"
    WRITERS[dataset](root, seed, Sizes(train=triplets, val=0, test=0), True)
    replace_pictures(root, treat, seed)
    finish(run_command(root, out, dataset=dataset, **flags), work / f"{name}.log")
    manifest = parse_json((out / "manifest.json").read_bytes())
    if manifest["counts"]["input"] != triplets:
        raise InputError(f"{out}: {manifest['counts']['input']} rows for {triplets} triplets")
    rows = [
        row for path in sorted((out / "train").glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    truths = read_truth(root / "truth.jsonl")
    wrong = sum(
        treat is not inverted
        or untrue_inverted(row["caption_claims"], truths[row["triplet_id"]].reference, row["category"])
        for row in rows
    )
    why = ", ".join(
        f"{code} {n}" for code, n in sorted(manifest["reasons"].items(), key=lambda pair: -pair[1])
    )
    print(f"{name}: {len(rows)} of {triplets} accepted, {wrong} of them wrong; {why}", flush=True)
    return wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    flags = argparse.ArgumentParser(
        prog="python -m bench.foreign", description=(__doc__ or "").split("\n")[0]
    )
    flags.add_argument("--dataset", choices=("cirr", "fashioniq"), default="cirr")
    flags.add_argument("--photographs", type=Path, help="folder of photographs; without it they are left out")
    flags.add_argument("--kinds", nargs="+", choices=KINDS, help="[all of them]")
    flags.add_argument("--triplets", type=int, default=500, help="of each kind")
    flags.add_argument("--seed", type=int, default=31)
    flags.add_argument("--teacher-url", help="a server that runs [the sample's teacher in vLLM]")
    flags.add_argument("--most", type=float, default=0.02, help="share of rows that may be accepted")
    flags.add_argument("--work", type=Path, default=Path("outputs") / "foreign", help="must be empty")
    given = flags.parse_args(argv)
    return one_line(lambda: _measure(given))


def _measure(given: argparse.Namespace) -> int:
    work: Path = given.work.absolute()
    if work.exists() and not (work.is_dir() and not any(work.iterdir())):
        raise UsageError(f"--work {given.work} is not an empty folder: remove it, or give another")
    kinds = dict(RENDERED)
    if given.photographs is not None:
        kinds[PHOTOGRAPHS] = photographs(given.photographs)
    if given.kinds and PHOTOGRAPHS in given.kinds and given.photographs is None:
        raise UsageError("--kinds photographs: give their folder with --photographs")
    server: dict[str, object] = {"teacher_url": given.teacher_url} if given.teacher_url else {}
    wrong = []
    for name in given.kinds or kinds:
        count = wrongly_accepted(given.dataset, name, kinds[name], given.triplets, given.seed, work, server)
        if count > given.most * given.triplets:
            wrong.append(f"{name}: {count} of {given.triplets} rows wrongly accepted")
    return verdict("foreign pictures", wrong)


if __name__ == "__main__":
    sys.exit(main())
