"""For users: `Retriever.load(path).index(images).search(image, text, k)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from annotate.datasets.captions import clean
from annotate.errors import InputError, UsageError
from retrieval import checkpoint
from retrieval.checkpoint import Card
from retrieval.encode import (
    Embeddings,
    QueryText,
    encode_images,
    encode_queries,
    model_key,
    read_embeddings,
    remove_replaced,
)
from retrieval.model import CirModel, choose_device
from retrieval.pictures import Pictures
from retrieval.ranking import score_blocks, top

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Hit:
    """One image found: its name and the cosine of its vector and the query's."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """The best images, best first, and the chain that the model wrote (None: it was not asked to)."""

    hits: tuple[Hit, ...]
    chain: str | None


@dataclass(frozen=True, slots=True)
class Retriever:
    """A trained model and an index of images; frozen, so `index` returns a new one."""

    model: CirModel
    card: Card
    embeddings: Embeddings | None = None

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", base: str | Path | None = None) -> Retriever:
        """Load a checkpoint folder. Raises `InputError` or `UsageError` saying what is wrong with it."""
        model, card = checkpoint.load(Path(path), choose_device(device), base)
        return cls(model.eval(), card)

    def index(
        self,
        images: Mapping[str, Path] | Sequence[Path],
        folder: str | Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> Retriever:
        """Embed images (by name, or files by their stem); kept in `folder`, if given: the next call embeds
        only those that are new or changed. `say` is told the pace."""
        named = images if isinstance(images, Mapping) else named_by_stem(images)
        if not named:
            raise InputError("no images to search in; name a folder with .png or .jpg files")
        with TemporaryDirectory() if folder is None else nullcontext(folder) as place:
            pictures = Pictures(self.card.recipe)
            found = encode_images(self.model, model_key(self.card), named, Path(place), pictures, say=say)
            remove_replaced(Path(place))
        return replace(self, embeddings=found)

    def open_index(self, folder: Path) -> Retriever:
        """Use the embeddings that `index` or `python -m retrieval encode` wrote; refused when of another
        model."""
        return replace(self, embeddings=read_embeddings(folder, model_key(self.card)))

    def search(self, image: str | Path, text: str, k: int = 10, chain: bool | None = None) -> Found:
        """The k best images for a reference picture and a modification; with `chain` the model reasons first
        (None: if it was trained to). Raises `UsageError` for a model that was not."""
        if chain and not self.card.writes_chains:
            raise UsageError("this model was trained without chains; search without")
        if self.embeddings is None:
            raise UsageError("nothing is indexed yet; call index(images, folder) first")
        query = QueryText(Path(image), clean(text))
        if not query.text:
            raise UsageError("the modification is empty; say what to change")
        pictures = Pictures(self.card.recipe, blank=self.card.blank == "image")
        if self.card.blank == "text":
            query = replace(query, text="")
        write = self.card.writes_chains if chain is None else chain
        encoded = encode_queries(self.model, [query], pictures, write_chain=write)
        ((_, scores),) = score_blocks(encoded.vectors, self.embeddings.vectors)
        best = top(scores, min(k, len(self.embeddings.names)))[0]
        hits = tuple(Hit(self.embeddings.names[column], float(scores[0, column])) for column in best)
        return Found(hits, encoded.chains[0])


def named_by_stem(images: Sequence[Path]) -> dict[str, Path]:
    """Image files by their names without ending. Raises `InputError` when two are equal."""
    named = {path.stem: path for path in images}
    if len(named) != len(images):
        twice = next(path for path in images if named[path.stem] != path)
        raise InputError(f"{twice}: another image has the same name; rename one of them")
    return named


def images_of(folder: Path) -> list[Path]:
    """The image files of a folder, by name. Raises `InputError` when there are none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not found:
        raise InputError(f"{folder}: no .png or .jpg files; name the folder with the gallery's images")
    return found
