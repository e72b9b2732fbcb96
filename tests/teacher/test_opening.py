"""How long a run waits for servers that are away: half an hour for another's, a minute for its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annotate.errors import TeacherRefused
from annotate.settings import resolve
from annotate.teacher import opening
from annotate.teacher.canary import CanaryReport
from annotate.teacher.client import TeacherClient
from annotate.teacher.pool import Patience
from annotate.teacher.probe import ServerFacts
from tests.faults.fakes import FakeImages

MINUTE, HALF_AN_HOUR = 60.0, 1800.0


@pytest.mark.parametrize(
    ("given", "patience"),
    [({}, MINUTE), ({"teacher_url": "http://127.0.0.1:9/v1"}, HALF_AN_HOUR)],
)
def test_a_teacher_of_our_own_is_awaited_for_a_minute_and_the_encoder_like_another_s(
    given: dict[str, str], patience: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def noted(*some: Any, patience: Patience, **more: Any) -> TeacherClient:
        waited.append(patience.give_up_after)
        return TeacherClient(*some, patience=patience, **more)

    @contextmanager
    def started(*_: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(url="http://127.0.0.1:9/v1", seconds_to_start=0.0)

    async def sung(*_: object) -> CanaryReport:
        return CanaryReport(True, False, 3.0, 0.0, 9)

    monkeypatch.setattr(opening, "TeacherClient", noted)
    monkeypatch.setattr(opening, "start_server", started)
    monkeypatch.setattr(opening, "run_canary", sung)
    settings = resolve(given | {"encoder_url": "http://127.0.0.1:9/v1"}, {}, tmp_path).run

    async def opened() -> None:
        async with opening.open_teacher(settings, None, FakeImages(), "m", lambda line: None):
            pass
        async with opening.open_encoder(settings, None, FakeImages(), "m", lambda line: None):
            pass

    asyncio.run(opened())
    assert waited == [patience, HALF_AN_HOUR]


def test_an_encoder_with_several_models_must_serve_one_and_is_named_as_the_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "check_server", lambda *_: ServerFacts(None, ("a", "b")))
    settings = resolve({"encoder_url": "http://127.0.0.1:9/v1"}, {}, tmp_path).run
    with pytest.raises(TeacherRefused, match=r"^ENCODER_URL \S+ serves a, b; it must serve one"):
        opening.encoder_model(settings, None)
    with pytest.raises(TeacherRefused, match=r"^TEACHER_URL .* set TEACHER_MODEL to one of them"):
        opening.only_model("http://127.0.0.1:9/v1", None)


def test_what_the_encoder_waits_for_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def noted(*some: Any, say: Callable[[str], None], **more: Any) -> TeacherClient:
        say("waiting")
        return TeacherClient(*some, say=say, **more)

    monkeypatch.setattr(opening, "TeacherClient", noted)
    settings = resolve({"encoder_url": "http://127.0.0.1:9/v1"}, {}, tmp_path).run

    async def opened() -> None:
        async with opening.open_encoder(settings, None, FakeImages(), "m", said.append) as encoder:
            assert encoder is not None

    asyncio.run(opened())
    assert said == ["waiting"]


def test_what_the_canary_found_is_said_of_the_least_favourable_server() -> None:
    good, odd = CanaryReport(True, False, 3.0, 0.0, 9), CanaryReport(False, True, 1.5, 0.02, 9)
    assert "servers" not in opening.canary_words([good]) and "inline" not in opening.canary_words([good])
    said = opening.canary_words([good, odd])
    assert "differ by 1.5 in log-probability, a repeated question by 0.02" in said
    assert "inline" in said and "thinks aloud" in said and said.endswith("; 2 servers")
