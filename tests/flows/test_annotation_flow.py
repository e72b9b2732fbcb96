"""The flow's parameters: whose settings a run has, which are refused, and the sample that they may mean."""

from __future__ import annotations

import asyncio
import contextvars
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sample.writers.whole
from annotate.errors import UsageError
from annotate.settings import resolve
from annotate.telling import Watch
from flows import __main__ as command
from flows import annotation as flow
from sample.writers import Sizes
from sample.writers.whole import write_world


def test_settings_of_the_command_line_are_not_resolved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    async def annotate(prepared: Any, *_: object) -> Any:
        seen.append(prepared)
        return SimpleNamespace(counts=SimpleNamespace(model_dump=lambda: {"input": 3}))

    async def artifact(**_: object) -> None: ...

    monkeypatch.setattr(flow, "annotate", annotate)
    monkeypatch.setattr(flow, "summary", lambda *_: "")
    monkeypatch.setattr(flow, "acreate_markdown_artifact", artifact)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "annotate.toml").write_text("nonsense")  # the run was given another --config
    prepared: Any = SimpleNamespace(
        settings=SimpleNamespace(split="train", out=tmp_path), plan=SimpleNamespace(shards=())
    )

    def run() -> dict[str, int]:
        flow.CONSOLE.set(flow.Console(Watch(lambda line: None, lambda snapshot: None), prepared))
        return asyncio.run(flow.annotation.fn())

    assert contextvars.copy_context().run(run) == {"input": 3}
    assert seen == [prepared]


def test_every_given_setting_is_read_back_as_it_was(tmp_path: Path) -> None:
    flags = {"teacher_flags": "--note 'a b' --tensor-parallel-size 4", "thresholds": "form=1,p_edits=0.9"}
    flags |= {"checks": "form,target_match", "temperature": "0.7", "limit": "3"}
    configuration = resolve(flags, {}, tmp_path)
    parameters, options = flow.given_settings(configuration)
    texts = {name: str(value) for name, value in parameters.items()}
    assert resolve({**texts, **options}, {}, tmp_path).run == configuration.run


def test_an_option_that_is_no_setting_is_refused_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"options: concurency is no setting; did you mean concurrency\?"):
        flow._prepared({"dataset": "cirr"}, {"concurency": "3"}, lambda line: None)


def test_the_sample_is_rendered_where_no_root_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def write_small(dataset: str, root: Path, seed: int) -> None:
        root.mkdir(parents=True)
        write_world(dataset, root, seed, Sizes(train=6, val=3, test=0), True)

    monkeypatch.setattr(sample.writers.whole, "write_whole", write_small)
    monkeypatch.chdir(tmp_path)
    prepared = flow._prepared({"dataset": "cirr", "limit": 2}, {}, said.append)
    assert len(prepared.plan.triplets) == 2
    assert said == ["writing the rendered sample into outputs/sample/cirr-seed7"]


def test_a_password_in_the_url_of_prefect_is_refused_and_not_shown() -> None:
    for name in ("CIR_PREFECT_API", "PREFECT_API_URL"):
        with pytest.raises(UsageError, match="carries credentials") as refused:
            command.given_api({name: "http://me:sesame@127.0.0.1:4200/api"})
        assert "sesame" not in str(refused.value) and name.removeprefix("CIR_") in str(refused.value)


def test_the_prefect_server_of_make_goes_before_that_of_the_environment() -> None:
    mine, others = "http://127.0.0.1:4200/api", "http://127.0.0.1:4300/api"
    assert command.given_api({"CIR_PREFECT_API": " ", "PREFECT_API_URL": others}) == others
    assert command.given_api({"CIR_PREFECT_API": mine, "PREFECT_API_URL": others}) == mine
    assert command.given_api({}) is None
