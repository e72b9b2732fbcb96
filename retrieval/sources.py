"""The shards that are trained on: an annotation run's OUT folder, by its manifest, checked before anything
is read.

Refused: an incomplete or missing manifest, CIRCO and any split but train (evaluation only), an empty train
set, files that are not the manifest's, images that are gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from annotate.datasets import find_images
from annotate.errors import InputError, UsageError
from annotate.files import usable_path
from annotate.shards.published import read_manifest
from annotate.text import shorten
from retrieval.conversation import chain_text
from schemas.answers import Edit
from schemas.manifest import Manifest, PublishedFile
from schemas.triplet import DATASETS, Dataset

Rows = Literal["train", "annotations"]
"""Which rows: the accepted ones, or accepted and rejected (the unfiltered ablation)."""

COLUMNS = """
    triplet_id dataset category reference reference_digest target target_digest modifications subset positives
    also_matches caption rationale edits kept conclusion
""".split()  # noqa: SIM905 (a list literal is longer to read)
CHAIN_COLUMNS = ("caption", "rationale", "edits", "kept", "conclusion")

ImageRoots = Mapping[str, Path]
"""Dataset -> where its root lies by now; "": that of every dataset that is not named."""
AS_ANNOTATED: ImageRoots = {}


@dataclass(frozen=True, slots=True)
class Source:
    """One checked OUT folder: its manifest, the root that its images lie below, its Parquet files in order,
    its rows, where the image of each reference and target lies, and where other members of subsets do."""

    out: Path
    manifest: Manifest
    root: Path
    files: tuple[Path, ...]
    n_rows: int
    images: dict[str, Path]
    members: dict[str, Path]

    @property
    def dataset(self) -> Dataset:
        """fashioniq or cirr."""
        return cast(Dataset, self.manifest.dataset)


def default_sources(outputs: Path) -> list[Path]:
    """Every complete `<outputs>/*-train` of one source: the user's own where there are any, else the
    sample's."""
    found: dict[str, list[Path]] = {"user": [], "sample": []}
    for path in sorted(outputs.glob("*-train/manifest.json")):
        manifest = read_manifest(path.parent)
        if manifest.status == "complete" and manifest.dataset != "circo":
            found[manifest.source].append(path.parent)
    chosen = found["user"] or found["sample"]
    if not chosen:
        raise InputError(f"no complete *-train folder in {outputs}; run make annotate first, or pass --data")
    return chosen


def split_root(text: str) -> tuple[Dataset | None, Path]:
    """`DATASET=ROOT`, or just ROOT: then the dataset is None."""
    dataset, equals, root = text.partition("=")
    return (dataset, usable_path(root)) if equals and dataset in DATASETS else (None, usable_path(text))


def parse_image_roots(given: Sequence[str]) -> dict[str, Path]:
    """`DATASET=ROOT`, or just ROOT for all others. Raises `UsageError` when one has two."""
    found: dict[str, Path] = {}
    for text in given:
        dataset, where = split_root(text)
        if found.setdefault(dataset or "", where) != where:
            raise UsageError(f"--image-root {text}: a second root for the same images; pass DATASET=ROOT")
    return found


def open_source(out: Path, image_roots: ImageRoots = AS_ANNOTATED, rows: Rows = "train") -> Source:
    """Check an OUT folder for training; `image_roots` says where datasets' roots lie if they have moved."""
    manifest = _complete(read_manifest(out), out)
    if manifest.dataset == "circo":
        raise InputError(f"{out}: CIRCO is for evaluation only; train on FashionIQ or CIRR")
    if manifest.dataset not in get_args(Dataset):
        raise InputError(f"{out}: dataset {manifest.dataset!r} is unknown; train on FashionIQ or CIRR")
    if manifest.split != "train":
        raise InputError(f"{out}: annotates {manifest.split}, which is evaluated on; train on a train split")
    chosen = {name: file for name, file in manifest.files.items() if name.startswith(f"{rows}/")}
    n_rows = sum(file.rows for file in chosen.values())
    if not n_rows:
        raise InputError(f"{out}: no rows in {rows}/; nothing to train on, look into its report.html")
    files = _checked(out, chosen)
    root = image_roots.get(manifest.dataset) or image_roots.get("") or Path(manifest.root)
    return Source(out, manifest, root, files, n_rows, *_find(manifest, files, root))


def check_one_kind(sources: Sequence[Source]) -> None:
    """Raise `UsageError` when sample and user data are mixed (numbers would mean nothing), or recipes, and
    when a folder is given twice."""
    if len({source.out.resolve() for source in sources}) < len(sources):
        raise UsageError("a folder is given twice; pass each once as --data")
    kinds = {source.manifest.source for source in sources}
    if len(kinds) > 1:
        raise UsageError(
            "sample and user shards are not trained on together; pass folders of one kind as --data"
        )
    recipes = {source.manifest.image_recipe for source in sources}
    if len(recipes) > 1:
        raise UsageError(
            f"images of several recipes ({', '.join(sorted(recipes))}) are not trained on together"
        )


def data_digest(sources: Sequence[Source]) -> str:
    """sha256 over the manifests' files: what was trained on."""
    parts = [
        f"{s.manifest.job} {name} {file.sha256}"
        for s in sources
        for name, file in sorted(s.manifest.files.items())
        if s.out / name in s.files
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def row_groups(source: Source) -> list[tuple[pq.ParquetFile, int]]:
    """(open file, row group) of a source, in file order. Raises `InputError` for a file that is no longer the
    manifest's; one that is put in its place later (`make select`) is not read, since these stay open."""
    found = []
    for path in source.files:
        file = pq.ParquetFile(_open(path, source.manifest.files[str(path.relative_to(source.out))]))
        found += [(file, index) for index in range(file.metadata.num_row_groups)]
    return found


def read_group(file: pq.ParquetFile, index: int) -> list[dict[str, Any]]:
    """The rows of one row group, training columns only."""
    rows: list[dict[str, Any]] = file.read_row_group(index, columns=COLUMNS).to_pylist()
    return rows


def _find(manifest: Manifest, files: Sequence[Path], root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Paths of the rows' images, of which none may be gone, and of the other members of their subsets, as far
    as they are there: the files that were annotated, so looked for as `annotate run` does."""
    names: dict[str, str] = {}
    members: dict[str, None] = {}
    for path in files:
        for row in read_rows(path, ["triplet_id", "reference", "target", "subset"], COLUMNS):
            names[row["reference"]] = names[row["target"]] = row["triplet_id"]
            members.update(dict.fromkeys(row["subset"]))
    if not root.is_dir():
        raise InputError(f"{root}: the images' root is gone; pass where it lies now as --image-root")
    dataset, wanted = cast(Dataset, manifest.dataset), [*names, *members]
    images = find_images(dataset, manifest.split, root, wanted, manifest.category)
    gone = [name for name in images.missing if name in names]
    if gone:
        raise InputError(
            f"{root}: image {gone[0]} of {names[gone[0]]} and {len(gone) - 1} more are gone; "
            f"put them back or pass --image-root"
        )
    own = {name: path for name, path in images.paths.items() if name in names}
    return own, {name: path for name, path in images.paths.items() if name not in names}


def gold_chains(out: Path, jobs: Collection[str]) -> dict[str, str]:
    """The teacher's chain of every annotated row of an OUT folder, by triplet id, as the model would write
    it; not of rows whose writer was shown the target: these say what nobody who asks can know.

    `jobs` (`annotate.shards.plan.job_digest`) are the queries that are evaluated: an OUT of others is
    refused, and so is one that is not complete or whose files are not the manifest's.
    """
    manifest = read_manifest(out)
    if manifest.job not in jobs:
        raise UsageError(f"--gold {out}: annotates other queries than those that are evaluated")
    _complete(manifest, out)
    chosen = {name: file for name, file in manifest.files.items() if name.startswith("annotations/")}
    chains = {
        row["triplet_id"]: row_chain(row)
        for path in _checked(out, chosen)
        for row in read_rows(path, ["triplet_id", "teacher_sees_target", *CHAIN_COLUMNS])
        if not row["teacher_sees_target"]
    }
    if not chains:
        raise InputError(
            f"{out}: no annotated rows whose writer did not see the target; annotate the evaluated split so"
        )
    return chains


def read_rows(path: Path, columns: Sequence[str], needed: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Some columns of a Parquet file, row by row. Raises `InputError` where one of them, or of those that
    are `needed` later, is not there."""
    try:
        table = pq.ParquetFile(path)
        if missing := {*columns, *needed} - set(table.schema_arrow.names):
            raise InputError(f"{path}: has no column {min(missing)}; run make annotate again")
        for batch in table.iter_batches(columns=list(columns)):
            yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as Parquet; run make annotate again") from error


def _complete(manifest: Manifest, out: Path) -> Manifest:
    if manifest.status != "complete":
        raise InputError(f"{out}: its run is incomplete; run the same make annotate again to finish it")
    return manifest


def _checked(out: Path, chosen: Mapping[str, PublishedFile]) -> tuple[Path, ...]:
    """The paths of an OUT's files in order, each the one that the manifest names, or `InputError`."""
    for name, file in chosen.items():
        _open(out / name, file).close()
    return tuple(out / name for name in sorted(chosen))


def _open(path: Path, file: PublishedFile) -> BinaryIO:
    """Open a file that is the one that the manifest names, or `InputError`."""
    try:
        handle = path.open("rb")
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise InputError(
            f"{shorten(str(path), 200)}: is gone, but the manifest names it; run make annotate again"
        ) from error
    if digest != file.sha256:
        raise InputError(f"{path}: is not the file that the manifest names; run make annotate again")
    return handle


def row_chain(row: Mapping[str, Any]) -> str:
    """The chain of a published row (as read from Parquet) as text."""
    edits = [Edit.model_validate(edit) for edit in row["edits"]]
    return chain_text(row["caption"], row["rationale"], edits, row["kept"], row["conclusion"])
