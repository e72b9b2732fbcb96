"""Chains from a server: asked with the retriever's own words, each query accounted for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from annotate.errors import InputError, UsageError
from retrieval.conversation import query_prompt
from retrieval.encode import replayed
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Asking, Choices, Evaluation, evaluate
from retrieval.generator import Generator, open_generator
from retrieval.model import CirModel, ModelSettings
from retrieval.pictures import Pictures
from tests.faults.server import State, serving
from tests.retrieval import tiny_models, tiny_world
from tests.teacher.fake_teacher import fake_teacher

RECIPE = "fit448-q90-v1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server that fails on purpose, in a thread: the generator has a loop of its own."""
    ready, found, loop = threading.Event(), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with serving(State()) as base:
            found.append(base)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()


@pytest.fixture
def asked(tmp_path: Path) -> list[tuple[Path, str]]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        tiny_world.picture(path, number)
    return [(path, f"make it {colour}") for path in paths for colour in ("red", "blue")]


def test_every_query_gets_its_own_chain_in_order(url: str, asked: list[tuple[Path, str]]) -> None:
    chains = Generator(f"{url}/ok/v1", "m").write(asked, RECIPE, 64)
    assert len(set(chains)) == len(asked) == 6
    assert Generator(f"{url}/ok/v1", "m").write(asked[::-1], RECIPE, 64) == chains[::-1]


def test_a_query_that_gets_no_answer_stops_and_is_named(url: str, asked: list[tuple[Path, str]]) -> None:
    with pytest.raises(InputError, match=r"no chain for \d.png, 'make it (red|blue)'"):
        Generator(f"{url}/context_too_long/v1", "m").write(asked, RECIPE, 64)


def test_a_picture_that_is_gone_is_named(url: str, asked: list[tuple[Path, str]]) -> None:
    asked[4][0].unlink()
    with pytest.raises(InputError, match=r"2\.png: image cannot be read"):
        Generator(f"{url}/ok/v1", "m").write(asked, RECIPE, 64)


def test_a_model_trained_without_pictures_has_its_chains_written_without_them(
    url: str, asked: list[tuple[Path, str]]
) -> None:
    same = [(path, "make it red") for path, _ in asked]
    told = Generator(f"{url}/ok/v1", "m").write(same, RECIPE, 64)
    assert len(set(told)) == len({path for path, _ in same})
    assert len(set(Generator(f"{url}/ok/v1", "m").write(same, RECIPE, 64, blank=True))) == 1


def test_a_server_with_several_models_is_not_guessed_at() -> None:
    with (
        fake_teacher("two models") as teacher,
        pytest.raises(UsageError, match=r"--generator-url .* serves "),
    ):
        open_generator(teacher.url)


def test_a_server_that_is_not_there_is_refused_by_the_flag_s_name() -> None:
    with pytest.raises(UsageError, match=r"--generator-url http://127\.0\.0\.1:9") as refused:
        open_generator("http://127.0.0.1:9/v1")
    assert "teacher" not in str(refused.value)  # which would write other chains


def test_a_server_with_a_key_is_no_generator_and_no_key_of_another_is_advised() -> None:
    with (
        fake_teacher("locked") as teacher,
        pytest.raises(UsageError, match=r"--generator-url .* wants a key .*asks for none"),
    ):
        open_generator(teacher.url)


@pytest.mark.parametrize("fault", ["hang", "http500", "http429", "reset"])
def test_a_server_that_writes_nothing_is_given_up_after_the_patience(
    url: str, asked: list[tuple[Path, str]], fault: str
) -> None:
    began = time.monotonic()
    with pytest.raises(InputError) as refused:
        Generator(f"{url}/{fault}/v1", "m", patience=1.0).write(asked, RECIPE, 64)
    assert time.monotonic() - began < 10
    assert "\n" not in str(refused.value) and url in str(refused.value)
    assert refused.value.exit_status == 2


def test_a_server_that_dies_is_given_up_after_the_patience(asked: list[tuple[Path, str]]) -> None:
    with pytest.raises(InputError, match=r"no chain for 1 s: it is gone, .*--generator-patience"):
        Generator("http://127.0.0.1:9/v1", "m", patience=1.0).write(asked, RECIPE, 64)


def test_a_server_that_is_slow_but_writes_is_waited_for(
    url: str, asked: list[tuple[Path, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.generator.CONCURRENCY", 1)  # six times the .3 s of a slow answer
    began = time.monotonic()
    assert len(Generator(f"{url}/slow/v1", "m", patience=1.0).write(asked, RECIPE, 64)) == 6
    assert time.monotonic() - began > 1.0, "longer in all than the patience, which counts from the last chain"


def test_a_server_that_refuses_for_good_is_one_line_and_exit_2(
    url: str, asked: list[tuple[Path, str]]
) -> None:
    with pytest.raises(InputError, match="--generator-url: teacher ") as refused:
        Generator(f"{url}/http404/v1", "m").write(asked, RECIPE, 64)
    assert refused.value.exit_status == 2


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_patience_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="--generator-patience"):
        open_generator("http://127.0.0.1:9/v1", seconds)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> CirModel:
    base = tiny_models.idefics(tmp_path_factory.mktemp("base"))
    return CirModel(base, ModelSettings(lora_rank=2), torch.device("cpu")).eval()


def test_a_model_regrets_no_token_of_its_own_chain_whatever_went_before(
    model: CirModel, asked: list[tuple[Path, str]]
) -> None:
    """So a tie that another program broke otherwise does not count, nor what followed from it."""
    turns = [model.reader.user_turn(Pictures().load(path), query_prompt(text)) for path, text in asked]
    own = model.write_chains(turns, 8)
    regrets = model.regrets(model.reader.embedding_batch(turns, own))
    assert len(regrets) == sum(map(len, own)) + len(turns)
    assert float(regrets[:8].max()) < 1e-4
    others = [[(token + 1) % 200 for token in chain] for chain in own]
    assert float(model.regrets(model.reader.embedding_batch(turns, others)).mean()) > 0.05


def test_chains_of_another_model_are_refused_and_none_is_kept(
    url: str, model: CirModel, tmp_path: Path
) -> None:
    """What is served may be an older export: the row would carry a digest that wrote none of it."""
    with pytest.raises(InputError, match=f"{url}/ok/v1: serves another model than --model.*'answer "):
        evaluated(model, Generator(f"{url}/ok/v1", "m"), tmp_path)
    assert not list(tmp_path.glob("e/queries-*"))


def test_chains_of_the_model_are_asked_by_parts_kept_and_measured(
    url: str, model: CirModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.generator.FOREIGN", 99.0)  # this server is no model
    monkeypatch.setattr("retrieval.evaluate.replayed", partial(replayed, part=5))
    done = evaluated(model, Generator(f"{url}/ok/v1", "m"), tmp_path)
    assert done.queries is not None and done.result.n_queries == 12
    assert all(str(chain).startswith("answer ") for chain in done.queries.chains)
    assert len(set(done.queries.chains)) == 12 and done.queries.writing_seconds > 0
    vectors, (_, last) = done.queries.vectors, sorted(tmp_path.glob("e/queries-*"))[-2:]
    last.unlink()
    again = evaluated(model, Generator(f"{url}/ok/v1", "m"), tmp_path)
    assert again.queries is not None and np.allclose(again.queries.vectors, vectors)
    with pytest.raises(InputError, match="no chain for dev-"):
        evaluated(model, Generator(f"{url}/context_too_long/v1", "m"), tmp_path)


def evaluated(model: CirModel, generator: Generator, folder: Path) -> Evaluation:
    (eval_set,) = open_eval_sets("cirr", tiny_world.cirr(folder / "cirr", "val"), Choices())
    asking = Asking(chain="generated", recipe=RECIPE, max_tokens=8, generator=generator)
    return evaluate(model, "key", eval_set, Choices(), asking, folder / "e")
