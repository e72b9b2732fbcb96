"""The store decodes a source once, remembers failures, and serves threads and later processes alike."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from annotate.errors import OutputError, RunIncomplete, UsageError
from annotate.files import read_regular
from annotate.images import ImageProblem, ImageStore, moved, parse_recipe
from annotate.images.decoding import decode
from annotate.images.store import ENCODED_KEPT
from annotate.teacher.request import Picture

RECIPE = "fit448-q90-v1"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.effect_noise((900, 600), 60).convert("RGB").save(path)
    return path


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store", RECIPE)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the files that were really decoded."""
    calls: list[int] = []

    def counted(data: bytes, longer_side: int) -> Image.Image:
        calls.append(len(data))
        return decode(data, longer_side)

    monkeypatch.setattr("annotate.images.store.decode", counted)
    return calls


def problem(store: ImageStore, path: Path) -> ImageProblem:
    with pytest.raises(ImageProblem) as caught:
        store.store(path)
    return caught.value


def test_a_picture_is_named_by_the_sha256_of_its_source_and_the_recipe(
    store: ImageStore, photo: Path
) -> None:
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    assert store.store(photo) == Picture(digest, RECIPE)
    assert (store.folder / RECIPE / digest[:2] / f"{digest}.jpg").is_file()


def test_encoded_gives_the_stored_jpeg_and_its_digest(store: ImageStore, photo: Path) -> None:
    encoded = store.encoded(store.store(photo))
    assert encoded.digest == hashlib.sha256(encoded.data).hexdigest()
    with Image.open(BytesIO(encoded.data)) as image:
        assert (image.format, image.size) == ("JPEG", (448, 299))


def test_a_moved_picture_shows_the_same_a_fortieth_further_right_and_down(
    store: ImageStore, tmp_path: Path
) -> None:
    path = tmp_path / "square.png"
    square = Image.new("RGB", (160, 80), "white")
    square.paste("red", (40, 20, 60, 40))
    square.save(path)
    picture = store.store(path)
    found = {}
    for each in (picture, moved(picture)):
        with Image.open(BytesIO(store.encoded(each).data)) as image:
            found[each] = image.size, image.convert("L").point(lambda value: 255 * (value < 160)).getbbox()
    assert found == {picture: ((160, 80), (40, 20, 60, 40)), moved(picture): ((160, 80), (44, 22, 64, 42))}
    assert store.encoded(moved(picture)) == ImageStore(store.folder, RECIPE).encoded(moved(picture))


def test_a_small_picture_is_moved_by_a_pixel(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.linear_gradient("L").resize((20, 20)).save(path)
    picture = store.store(path)
    assert store.encoded(picture) != store.encoded(moved(picture)) == store.encoded(moved(moved(picture)))


def test_a_moved_picture_of_a_damaged_one_is_an_output_error(store: ImageStore, photo: Path) -> None:
    picture = store.store(photo)
    (path,) = store.folder.rglob("*.jpg")
    data = path.read_bytes()
    path.write_bytes(data[:2] + bytes(100) + data[-2:])
    with pytest.raises(OutputError, match=r"\.jpg: damaged .* removed .*; run the same command"):
        store.encoded(moved(picture))
    assert store.store(photo) == picture and path.read_bytes() == data
    store.encoded(moved(picture))


@pytest.mark.parametrize("left", [0, 1, 2, 500, -1])
def test_a_stored_picture_that_a_power_cut_left_unfinished_is_made_again(
    store: ImageStore, photo: Path, left: int
) -> None:
    picture = store.store(photo)
    path = store.folder / RECIPE / picture.source_digest[:2] / f"{picture.source_digest}.jpg"
    whole = path.read_bytes()
    for damaged in (whole[:left], b"\0" * len(whole)):
        path.write_bytes(damaged)
        later = ImageStore(store.folder, RECIPE)
        with pytest.raises(OutputError, match=r"not whole; run the same command again"):
            later.encoded(picture)
        assert later.store(photo) == picture
        assert path.read_bytes() == whole == later.encoded(picture).data
        path.write_bytes(damaged)
        assert later.store(photo) == picture and path.read_bytes() == whole


def test_a_source_is_decoded_once_even_by_a_later_process(
    store: ImageStore, photo: Path, decodes: list[int]
) -> None:
    first = store.store(photo)
    data = store.encoded(first).data
    again = ImageStore(store.folder, RECIPE)
    assert again.store(photo) == first
    assert again.encoded(first).data == data
    assert len(decodes) == 1


def test_equal_files_under_two_names_are_stored_once(
    store: ImageStore, photo: Path, decodes: list[int]
) -> None:
    copy = photo.with_name("copy.png")
    copy.write_bytes(photo.read_bytes())
    assert store.store(copy) == store.store(photo)
    assert len(decodes) == 1


@pytest.mark.parametrize("code", ["undecodable_image", "image_too_large"])
def test_a_failure_is_remembered_and_not_decoded_again(
    code: str, store: ImageStore, tmp_path: Path, decodes: list[int]
) -> None:
    path = tmp_path / "bad.png"
    if code == "undecodable_image":
        path.write_bytes(b"no picture")
    else:
        Image.new("1", (10_001, 5_000)).save(path)
    first = problem(store, path)
    second = problem(ImageStore(store.folder, RECIPE), path)
    assert (first.code, first.detail) == (second.code, second.detail)
    assert first.code == code
    assert len(decodes) == 1


def test_another_pillow_tries_a_failed_picture_again(
    store: ImageStore, tmp_path: Path, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(b"no picture")
    problem(store, path)
    monkeypatch.setattr("PIL.__version__", "99.0")
    problem(store, path)
    assert len(decodes) == 2


def test_a_damaged_note_of_a_failure_is_ignored(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(b"no picture")
    problem(store, path)
    (note,) = store.folder.rglob("*.problem.json")
    for text in ("", "[]", '{"code": 1}', "\xff"):
        note.write_text(text)
        assert problem(store, path).code == "undecodable_image"


def test_a_moment_without_memory_is_not_remembered(
    store: ImageStore, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("annotate.images.decoding._shrunk", full)
        assert problem(store, photo).code == "undecodable_image"
    assert store.store(photo)


def test_a_missing_file_is_not_remembered(store: ImageStore, tmp_path: Path, photo: Path) -> None:
    path = tmp_path / "later.png"
    assert problem(store, path).code == "missing_image"
    path.write_bytes(photo.read_bytes())
    assert store.store(path) == store.store(photo)


def test_a_folder_a_pipe_and_a_name_with_nul_are_missing_and_never_block(
    store: ImageStore, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png", tmp_path / "a\0b", tmp_path / ("x" * 300)):
        found = problem(store, path)
        assert found.code == "missing_image"
        assert str(tmp_path) not in found.detail


def test_a_file_over_64_mib_is_too_large_without_being_read(store: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    with path.open("wb") as handle:
        handle.truncate((64 << 20) + 1)
    assert problem(store, path).code == "image_too_large"


def test_threads_that_want_the_same_picture_decode_it_once(
    store: ImageStore, photo: Path, decodes: list[int]
) -> None:
    with ThreadPoolExecutor(8) as pool:
        pictures = set(pool.map(store.store, [photo] * 32))
    assert len(pictures) == len(decodes) == 1


def test_it_works_through_asyncio_to_thread(store: ImageStore, photo: Path) -> None:
    async def work() -> list[Picture]:
        return await asyncio.gather(*(asyncio.to_thread(store.store, photo) for _ in range(8)))

    assert len(set(asyncio.run(work()))) == 1


def test_only_a_few_encoded_pictures_stay_in_memory(store: ImageStore, tmp_path: Path) -> None:
    for n in range(ENCODED_KEPT + 20):
        path = tmp_path / f"{n}.png"
        Image.new("RGB", (8, 8), (n, n, n)).save(path)
        store.encoded(store.store(path))
    assert len(store._kept) == ENCODED_KEPT


def test_no_temporary_file_is_left(store: ImageStore, photo: Path) -> None:
    store.store(photo)
    assert [path.suffix for path in store.folder.rglob("*") if path.is_file()] == [".jpg"]


def test_two_recipes_share_a_folder_and_nothing_else(store: ImageStore, photo: Path) -> None:
    small = ImageStore(store.folder, "fit64-q50-v1")
    assert small.store(photo).source_digest == store.store(photo).source_digest
    assert small.encoded(small.store(photo)).digest != store.encoded(store.store(photo)).digest


def test_a_stored_picture_that_is_gone_is_an_output_error(store: ImageStore) -> None:
    with pytest.raises(OutputError, match="run the same command again"):
        store.encoded(Picture("0" * 64, RECIPE))


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot store pictures"):
        ImageStore(tmp_path / "file", RECIPE).store(photo)


def test_the_recipe_name_says_side_and_quality() -> None:
    recipe = parse_recipe("fit1024-q85-v1")
    assert (recipe.name, recipe.longer_side, recipe.quality) == ("fit1024-q85-v1", 1024, 85)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "fit448",
        "fit448-q90",
        "fit448-q90-v2",
        "fit448-q90-v1 ",
        "fit448-q90-v1\n",
        "FIT448-q90-v1",
        "fit0448-q90-v1",
        "fit15-q90-v1",
        "fit4097-q90-v1",
        "fit448-q0-v1",
        "fit448-q101-v1",
        "fit٤٤٨-q90-v1",
        "../fit448-q90-v1",
    ],
)
def test_an_unknown_recipe_is_a_usage_error_that_shows_the_grammar(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="for example fit448-q90-v1"):
        ImageStore(tmp_path, name)


def test_a_file_that_changes_under_way_is_never_stored_under_its_old_digest(
    store: ImageStore, photo: Path, tmp_path: Path
) -> None:
    before = store.store(photo).source_digest
    shutil.rmtree(store.folder)
    Image.new("RGB", (8, 8), "red").save(photo)
    picture = store.store(photo)
    assert picture.source_digest == hashlib.sha256(photo.read_bytes()).hexdigest() != before
    assert [path.stem for path in store.folder.rglob("*.jpg")] == [picture.source_digest]


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.EMFILE])
def test_a_file_system_that_fails_is_asked_again_and_loses_no_picture(
    photo: Path, store: ImageStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    failures = [code] * 3

    def failing(path: Path, most: int) -> bytes:
        if failures:
            raise OSError(failures.pop(), os.strerror(code))
        return read_regular(path, most)

    monkeypatch.setattr("annotate.images.store.read_regular", failing)
    monkeypatch.setattr("annotate.images.store.PATIENT.sleep", lambda seconds: None)
    assert store.store(photo).source_digest == hashlib.sha256(photo.read_bytes()).hexdigest()
    failures += [code] * 99
    with pytest.raises(RunIncomplete, match=r"other\.png: cannot be read though it is there .*run the same"):
        store.store(Path(shutil.copy(photo, photo.with_name("other.png"))))
