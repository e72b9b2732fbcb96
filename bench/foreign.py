"""How many rows about pictures of another world than the teacher's are accepted: `python -m bench.foreign`.

Writes the sample's CIRR, clean, and puts other pictures in the place of its own: photographs (random crops of
those in `--photographs`), noise, line drawings (another renderer, without colours), inverted colours. Then it
annotates as usual, the teacher's own chains included. Nothing that such rows state of colours is true, so
every accepted row is wrong. Exit status 1 above `--most`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from annotate.errors import InputError, UsageError
from bench.driving import finish, run_command, verdict
from sample.writers import WRITERS, Sizes

SMALLEST_CROP = 160
Treat = Callable[[Image.Image, random.Random], Image.Image]


def noise(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Noise of the picture's size."""
    drawn = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (picture.height, picture.width, 3))
    return Image.fromarray(drawn.astype(np.uint8))


def inverted(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture in inverted colours."""
    return ImageOps.invert(picture.convert("RGB"))


def drawn(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture's outlines, dark on white."""
    return picture.convert("L").filter(ImageFilter.CONTOUR).convert("RGB")


def photographs(folder: Path) -> Treat:
    """Random crops of the folder's photographs. Raises `UsageError` when there are none."""
    found = [
        Image.open(path).convert("RGB")
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".jpg", ".png")
    ]
    if not found:
        raise UsageError(f"--photographs {folder}: holds no .jpg or .png files")

    def crop(picture: Image.Image, rng: random.Random) -> Image.Image:
        photograph = rng.choice(found)
        longest = min(photograph.size)
        side = rng.randint(min(SMALLEST_CROP, longest), longest)
        left, top = rng.randint(0, photograph.width - side), rng.randint(0, photograph.height - side)
        return photograph.crop((left, top, left + side, top + side)).resize(picture.size)

    return crop


def replace_pictures(folder: Path, treat: Treat, seed: int) -> int:
    """Treat every picture below the folder in its place; how many there were."""
    paths = sorted(folder.rglob("*.png"))
    for path in paths:
        with Image.open(path) as opened:
            treated = treat(opened.convert("RGB"), random.Random(f"{seed}/{path.name}"))
        treated.save(path, "PNG")
    return len(paths)


def accepted(name: str, treat: Treat, triplets: int, seed: int, work: Path, flags: dict[str, object]) -> int:
    """Annotate so many triplets about treated pictures; how many rows were accepted."""
    root, out = work / name / "root", work / name / "out"
    WRITERS["cirr"](root, seed, Sizes(train=triplets, val=0, test=0), True)
    replace_pictures(root / "img_raw", treat, seed)
    finish(run_command(root, out, **flags), work / f"{name}.log")
    counts = json.loads((out / "manifest.json").read_bytes())["counts"]
    if counts["input"] != triplets:
        raise InputError(f"{out}: {counts['input']} rows for {triplets} triplets")
    reasons: dict[str, int] = json.loads((out / "manifest.json").read_bytes())["reasons"]
    why = ", ".join(f"{code} {n}" for code, n in sorted(reasons.items(), key=lambda pair: -pair[1]))
    print(f"{name}: {counts['accepted']} of {triplets} accepted; {why}", flush=True)
    return int(counts["accepted"])


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    flags = argparse.ArgumentParser(
        prog="python -m bench.foreign", description=(__doc__ or "").split("\n")[0]
    )
    flags.add_argument("--photographs", type=Path, help="folder of photographs; without it they are left out")
    flags.add_argument("--triplets", type=int, default=500, help="of each kind")
    flags.add_argument("--seed", type=int, default=31)
    flags.add_argument("--teacher-url", help="a server that runs [the sample's teacher in vLLM]")
    flags.add_argument("--most", type=float, default=0.02, help="share of rows that may be accepted")
    flags.add_argument("--work", type=Path, default=Path("outputs") / "foreign", help="emptied first")
    given = flags.parse_args(argv)
    work: Path = given.work.absolute()
    shutil.rmtree(work, ignore_errors=True)
    kinds: dict[str, Treat] = {"noise": noise, "inverted": inverted, "drawn": drawn}
    if given.photographs is not None:
        kinds["photographs"] = photographs(given.photographs)
    server: dict[str, object] = {"teacher_url": given.teacher_url} if given.teacher_url else {}
    wrong = []
    for name, treat in kinds.items():
        count = accepted(name, treat, given.triplets, given.seed, work, server)
        if count > given.most * given.triplets:
            wrong.append(f"{name}: {count} of {given.triplets} rows accepted")
    return verdict("foreign pictures", wrong)


if __name__ == "__main__":
    sys.exit(main())
