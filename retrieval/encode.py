"""Embeddings to disk, part by part: names, image digests and unit vectors, keyed by the model and the
images' bytes.

A part that is there already, for the same model and the same images, is read instead of computed: so an
interrupted run goes on, and evaluation is a replay, for queries and their written chains are kept by parts,
too. Parts are safetensors; a gallery of 123,403 images is 121 of them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from annotate.errors import InputError
from annotate.files import write_output
from annotate.text import parse_json
from retrieval.checkpoint import Card
from retrieval.conversation import query_prompt
from retrieval.model import CirModel
from retrieval.pictures import Pictures
from retrieval.ranking import Scores
from retrieval.saving import save_tensors
from retrieval.sights import Sights

PART = 1024
QUERIES = 512  # a part; a chain takes much longer than an image
INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Unit vectors float32 [n, dim] and the image name of each row."""

    names: tuple[str, ...]
    vectors: Scores


@dataclass(frozen=True, slots=True)
class QueryText:
    """One query to embed: where its reference lies, the modification, and a chain if it is given."""

    reference: Path
    text: str
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class EncodedQueries:
    """Unit vectors [n, dim], the chain that stood before `<emb>` (None: none), seconds of writing and of
    embedding."""

    vectors: Scores
    chains: tuple[str | None, ...]
    writing_seconds: float
    embedding_seconds: float


Seen_co = TypeVar("Seen_co", covariant=True)
Seen_contra = TypeVar("Seen_contra", contravariant=True)
Seen = TypeVar("Seen")


class Shown(Protocol[Seen_co]):
    """Where an encoder's pictures come from: `Pictures`, or `Sights` of a tower that has seen them."""

    @property
    def shape(self) -> tuple[int, bool]:
        """Longer side, and whether blank."""

    def digest(self, path: Path) -> str:
        """sha256 of the source file."""

    def load(self, path: Path, digest: str | None = None) -> Seen_co:
        """What the encoder takes; `InputError` for a file that is not right."""


class ImageEncoder(Protocol[Seen_contra]):
    """What turns pictures into unit vectors: the retriever, or a CLIP beside it."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    def embed_pictures(self, pictures: Sequence[Seen_contra]) -> Scores:
        """Unit vectors float32 [n, dim]."""


def model_key(card: Card) -> str:
    """What determines an embedding besides the image: base, trained weights, prompts."""
    return hashlib.sha256(f"{card.base_digest} {card.weights_sha256} {card.wording}".encode()).hexdigest()


def encode_images(
    model: ImageEncoder[Seen],
    key: str,
    paths: Mapping[str, Path],
    folder: Path,
    pictures: Shown[Seen],
    batch: int = 32,
    part: int = PART,
    say: Callable[[str], None] = lambda line: None,
) -> Embeddings:
    """Embed the images `paths` (name -> file) in their order, with parts kept in `folder`.

    An image that any part there has the vector of, by the digest of its file, is not embedded again: a
    gallery may grow. Raises `InputError` naming an image that cannot be read, or an index that is not ours.
    """
    if (folder / INDEX).exists():
        _read_index(folder)  # of somebody else's the user would hardly want ours in its place
    names = tuple(paths)
    found = np.empty((len(names), model.dim), np.float32)
    files: list[str] = []
    what = (key, *map(str, pictures.shape))
    known: dict[str, tuple[Path, int]] | None = None
    began = time.monotonic()
    for rows in parts(len(names), part):
        chosen = names[rows]
        digests = [pictures.digest(paths[name]) for name in chosen]
        file = folder / f"{_name((*what, *chosen, *digests))}.safetensors"
        vectors = _read_part(file, chosen)
        if vectors is None:
            known = _known(folder, what) if known is None else known
            vectors = found[rows]
            new = _fill(vectors, digests, known)
            shown = [(paths[chosen[row]], digests[row]) for row in new]
            if new:
                vectors[new] = _embed_files(model, shown, pictures, batch)
            facts = {"names": json.dumps(chosen), "digests": json.dumps(digests), "of": json.dumps(what)}
            save_tensors(file, {"vectors": torch.from_numpy(vectors)}, facts)
        found[rows] = vectors
        files.append(file.name)
        say(f"images {rows.stop}/{len(names)}  {rows.stop / (time.monotonic() - began):.0f}/s")
    index = {"model": key, "images": len(names), "dim": model.dim, "parts": files}
    write_output(folder / INDEX, json.dumps(index, indent=2) + "\n")
    return Embeddings(names, found)


def remove_replaced(folder: Path) -> None:
    """Remove the parts of images that the index of `folder` does not name (any more)."""
    named = set(_read_index(folder)[1])
    for file in folder.glob("*.safetensors"):
        if file.name not in named and "of" in _facts(file):
            file.unlink(missing_ok=True)


def _known(folder: Path, what: Sequence[str]) -> dict[str, tuple[Path, int]]:
    """Where the vector of an image lies, by the digest of its file: in all parts of this model and size."""
    found: dict[str, tuple[Path, int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        facts = _facts(file)
        if facts.get("of") == json.dumps(what):
            found |= {digest: (file, row) for row, digest in enumerate(parse_json(facts["digests"]))}
    return found


def _fill(vectors: Scores, digests: Sequence[str], known: Mapping[str, tuple[Path, int]]) -> list[int]:
    """Put the known vectors into their rows; the rows that are left."""
    places: dict[Path, list[tuple[int, int]]] = {}
    for row, digest in enumerate(digests):
        if digest in known:
            file, there = known[digest]
            places.setdefault(file, []).append((row, there))
    left = set(range(len(digests)))
    for file, pairs in places.items():
        held = _read_part(file, None)
        if held is not None:  # removed or damaged since
            mine, theirs = map(list, zip(*pairs, strict=True))
            vectors[mine] = held[theirs]
            left -= set(mine)
    return sorted(left)


def _facts(file: Path) -> dict[str, str]:
    """What is written beside the vectors of a part; nothing for a file that is none."""
    try:
        with safe_open(file, framework="numpy") as opened:
            return dict(opened.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def read_embeddings(folder: Path, key: str | None = None) -> Embeddings:
    """Everything that `encode_images` finished writing. Raises `InputError` if it did not, or for another
    model."""
    if not (folder / INDEX).is_file():
        raise InputError(f"{folder}: no finished embeddings here; run python -m retrieval encode first")
    model, files, dim = _read_index(folder)
    if key is not None and model != key:
        raise InputError(f"{folder}: embeddings of another model; run python -m retrieval encode again")
    names: list[str] = []
    blocks: list[Scores] = []
    for name in files:
        found = _read_part(folder / name, None)
        if found is None:
            raise InputError(f"{folder / name}: is gone; run python -m retrieval encode again")
        names += parse_json(_facts(folder / name)["names"])
        blocks.append(found)
    return Embeddings(tuple(names), np.concatenate(blocks) if blocks else np.zeros((0, dim), np.float32))


def _read_index(folder: Path) -> tuple[str, list[str], int]:
    """Of which model the embeddings are, the files of their parts, their length."""
    try:
        index = parse_json((folder / INDEX).read_bytes())
        return str(index["model"]), list(index["parts"]), int(index["dim"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder / INDEX}: is no index of ours; remove it, or give encode another --out"
        ) from error


def encode_queries(
    model: CirModel,
    queries: Sequence[QueryText],
    pictures: Pictures | Sights,
    write_chain: bool,
    batch: int = 32,
    max_tokens: int = 512,
    say: Callable[[str], None] = lambda line: None,
) -> EncodedQueries:
    """Embed queries; with `write_chain` the model writes each chain first, else the given one (or none) is
    used. Seeing the pictures counts as embedding."""
    model.eval()
    blocks: list[Scores] = []
    chains: list[str | None] = []
    writing = embedding = 0.0
    for rows in parts(len(queries), batch):
        chosen = queries[rows]
        began = time.monotonic()
        turns = [model.reader.user_turn(pictures.load(q.reference), query_prompt(q.text)) for q in chosen]
        embedding += time.monotonic() - began
        began = time.monotonic()
        if write_chain:
            ids: list[list[int]] | None = model.write_chains(turns, max_tokens)
            chains += [model.reader.text(row) for row in ids or []]
        else:
            given = [query.chain for query in chosen]
            ids = None if given[0] is None else [model.reader.chain_ids(chain or "") for chain in given]
            chains += given
        writing += time.monotonic() - began
        began = time.monotonic()
        with torch.no_grad():
            blocks.append(model(model.reader.embedding_batch(turns, ids)).vectors.cpu().numpy())
        embedding += time.monotonic() - began
        say(f"queries {rows.stop}/{len(queries)}  {(writing + embedding) / rows.stop * 1000:.0f} ms each")
    return EncodedQueries(np.concatenate(blocks), tuple(chains), writing, embedding)


def replayed(
    folder: Path,
    how: Sequence[str],
    queries: Sequence[QueryText],
    pictures: Pictures | Sights,
    encode: Callable[[Sequence[QueryText], Callable[[str], None]], EncodedQueries],
    say: Callable[[str], None] = lambda line: None,
    part: int = QUERIES,
) -> EncodedQueries:
    """`queries` by parts: each is read where `folder` holds it, of the same pictures and asked in the same
    way (`how`); else `encode` makes it, and it is kept whatever happens to the parts after it."""
    found: list[EncodedQueries] = []
    count = -(-len(queries) // part)
    for number, rows in enumerate(parts(len(queries), part), 1):
        chosen = queries[rows]
        asked = [f"{pictures.digest(q.reference)} {json.dumps([q.text, q.chain])}" for q in chosen]
        file = folder / f"queries-{_name([*how, *asked])}.safetensors"
        known = _read_queries(file)
        if known is None:
            known = encode(chosen, partial(_of_part, say, number, count))
            _keep_queries(file, known)
        found.append(known)
    return EncodedQueries(
        np.concatenate([each.vectors for each in found]),
        tuple(chain for each in found for chain in each.chains),
        sum(each.writing_seconds for each in found),
        sum(each.embedding_seconds for each in found),
    )


def _of_part(say: Callable[[str], None], number: int, count: int, line: str) -> None:
    say(line if count == 1 else f"part {number}/{count}: {line}")


def _read_queries(file: Path) -> EncodedQueries | None:
    """What is kept of a part of the queries; None when it is not there or not whole."""
    try:
        with safe_open(file, framework="numpy") as opened:
            facts = opened.metadata()
            chains, seconds = parse_json(facts["chains"]), parse_json(facts["seconds"])
            return EncodedQueries(opened.get_tensor("vectors"), tuple(chains), *seconds)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


def _keep_queries(file: Path, found: EncodedQueries) -> None:
    facts = {
        "chains": json.dumps(found.chains),
        "seconds": json.dumps([found.writing_seconds, found.embedding_seconds]),
    }
    save_tensors(file, {"vectors": torch.from_numpy(found.vectors)}, facts)


def _embed_files(
    model: ImageEncoder[Seen], files: Sequence[tuple[Path, str]], pictures: Shown[Seen], batch: int
) -> Scores:
    result: Scores = np.concatenate(
        [
            model.embed_pictures([pictures.load(*file) for file in files[rows]])
            for rows in parts(len(files), batch)
        ]
    )
    return result


def _read_part(file: Path, names: Sequence[str] | None) -> Scores | None:
    """The vectors of a part, or None when it is not there, not whole, or of other names."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as opened:
            found = parse_json(opened.metadata()["names"])
            vectors: Scores = opened.get_tensor("vectors")
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None
    return vectors if names is None or found == list(names) else None


def _name(holds: Sequence[str]) -> str:
    """The name of a part's file: by all that determines what is in it."""
    return hashlib.sha256("\n".join(holds).encode()).hexdigest()[:32]


def parts(total: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that make up `total`, in order."""
    return (slice(start, min(start + size, total)) for start in range(0, total, size))
