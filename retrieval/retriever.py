"""For users: `Retriever.load(path).index(images).search(image, text, k)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annotate.errors import InputError, UsageError
from retrieval import checkpoint
from retrieval.encode import Embeddings, QueryText, encode_images, encode_queries, model_key, read_embeddings
from retrieval.model import CirModel, choose_device
from retrieval.pictures import DEFAULT_RECIPE, Pictures
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
    key: str
    embeddings: Embeddings | None = None

    @classmethod
    def load(cls, path: str | Path, device: str = "auto", base: str | Path | None = None) -> Retriever:
        """Load a checkpoint folder. Raises `InputError` or `UsageError` saying what is wrong with it."""
        model, card = checkpoint.load(Path(path), choose_device(device), base)
        return cls(model.eval(), model_key(card))

    def index(self, images: Mapping[str, Path] | Sequence[Path], folder: Path) -> Retriever:
        """Embed images (by name, or files by their stem), kept in `folder` so that a second call is quick."""
        named = images if isinstance(images, Mapping) else {path.stem: path for path in images}
        if len(named) != len(images):
            raise InputError("two images have the same name; give them as a mapping from name to path")
        if not named:
            raise InputError("no images to search in; name a folder with .png or .jpg files")
        return replace(
            self, embeddings=encode_images(self.model, self.key, named, folder, Pictures(DEFAULT_RECIPE))
        )

    def open_index(self, folder: Path) -> Retriever:
        """Use the embeddings that `index` or `python -m retrieval encode` wrote; refused when of another
        model."""
        return replace(self, embeddings=read_embeddings(folder, self.key))

    def search(self, image: str | Path, text: str, k: int = 10, chain: bool = True) -> Found:
        """The k best images for a reference picture and a modification; with `chain` the model reasons
        first."""
        if self.embeddings is None:
            raise UsageError("nothing is indexed yet; call index(images, folder) first")
        query = QueryText(Path(image), text)
        encoded = encode_queries(self.model, [query], Pictures(DEFAULT_RECIPE), write_chain=chain)
        ((_, scores),) = score_blocks(encoded.vectors, self.embeddings.vectors)
        best = top(scores, min(k, len(self.embeddings.names)))[0]
        hits = tuple(Hit(self.embeddings.names[column], float(scores[0, column])) for column in best)
        return Found(hits, encoded.chains[0])


def images_of(folder: Path) -> list[Path]:
    """The image files of a folder, by name. Raises `InputError` when there are none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not found:
        raise InputError(f"{folder}: no .png or .jpg files; name the folder with the gallery's images")
    return found
