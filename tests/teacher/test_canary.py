"""The canary against a server with one fault at a time, through real sockets and the real openai package."""

from __future__ import annotations

import asyncio

import pytest

from annotate.errors import TeacherRefused
from annotate.teacher.canary import CanaryReport, draw_pictures, run_canary
from tests.faults.server import serving
from tests.teacher.fake_teacher import MODEL, FakeTeacher, fake_teacher


def canary(teacher: FakeTeacher, key: str | None = None) -> CanaryReport:
    report = asyncio.run(run_canary(teacher.url, MODEL, key))
    assert report.requests == len(teacher.bodies) <= 6
    return report


def test_a_good_teacher_passes_in_four_requests() -> None:
    with fake_teacher() as teacher:
        report = canary(teacher)
    assert report.uuid_supported
    assert not report.reasons
    assert report.picture_difference > 0.1
    assert report.repeat_difference == 0.0
    assert report.requests == 4


def test_images_are_sent_inline_first_and_by_uuid_afterwards() -> None:
    with fake_teacher() as teacher:
        canary(teacher)
    parts = [body["messages"][-1]["content"][0] for body in teacher.bodies]
    assert [part["image_url"] is None for part in parts] == [False, False, True, False]
    assert parts[0]["uuid"] == parts[2]["uuid"] != parts[3]["uuid"]


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("unconstrained", r"does not constrain answers to a JSON Schema.*a nice picture.*; serve with vLLM"),
        ("thinks", r"thinking teacher.*enable_thinking"),
        ("thinks late", r"no log-probability of A and B.*<think>.*thinking off"),
        ("no logprobs", r"no log-probability of A and B.*none at all"),
        ("blind", r"same answers to two different pictures; .*vision-language model"),
        ("no images", r"rejects our questions.*images are not what we do"),
        ("busy", r"HTTP 503.*; wait"),
        ("locked", r"HTTP 401.*; set TEACHER_API_KEY"),
        ("no such model", r"HTTP 404.*; set TEACHER_MODEL"),
        ("html", r"answers an HTML page.*ends in /v1"),
        ("deep", r"no chat completion; give the URL"),
        ("odd content", r"no chat completion; give the URL"),
        ("odd letters", r"no chat completion; give the URL"),
        ("odd choices", r"no chat completion; give the URL"),
    ],
)
def test_a_fault_is_refused_in_one_line_with_its_cure(fault: str, finding: str) -> None:
    with fake_teacher(fault) as teacher, pytest.raises(TeacherRefused, match=finding) as refused:
        canary(teacher)
    assert teacher.url in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert len(teacher.bodies) <= 6


def test_the_allowed_answer_is_another_random_word_every_time() -> None:
    words = set()
    for _ in range(2):
        with fake_teacher() as teacher:
            canary(teacher)
        schema = teacher.bodies[0]["response_format"]["json_schema"]["schema"]
        (word,) = schema["properties"]["claims"]["items"]["enum"]
        assert word not in str(teacher.bodies[0]["messages"])
        words.add(word)
    assert len(words) == 2


def test_a_server_that_rejects_uuids_is_reported_and_asked_inline() -> None:
    with fake_teacher("no uuid") as teacher:
        report = canary(teacher)
    assert not report.uuid_supported
    assert all("uuid" not in body["messages"][-1]["content"][0] for body in teacher.bodies[1:])


def test_a_forgotten_image_is_sent_again_and_is_no_finding() -> None:
    with fake_teacher("forgets") as teacher:
        report = canary(teacher)
    assert report.uuid_supported
    assert report.requests == 5


def test_reasoning_beside_a_usable_answer_is_reported() -> None:
    with fake_teacher("thinks beside") as teacher:
        assert canary(teacher).reasons


def test_equal_letters_but_other_captions_prove_sight() -> None:
    with fake_teacher("saturated") as teacher:
        report = canary(teacher)
    assert report.picture_difference == 0.0
    assert report.requests == 6


def test_rounding_noise_is_not_taken_for_sight() -> None:
    with (
        fake_teacher("blind", "noisy") as teacher,
        pytest.raises(TeacherRefused, match="two different pictures"),
    ):
        canary(teacher)


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "somebody-elses")
    with fake_teacher() as teacher:
        canary(teacher, "sesame")
        assert set(teacher.keys) == {"Bearer sesame"}
    with fake_teacher("locked") as teacher, pytest.raises(TeacherRefused) as refused:
        canary(teacher, "sesame")
    assert "sesame" not in str(refused.value)


def test_without_a_key_none_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "somebody-elses")
    with fake_teacher() as teacher:
        canary(teacher)
    assert set(teacher.keys) == {None, "Bearer none"}


def test_a_server_that_is_not_there_is_refused() -> None:
    with pytest.raises(TeacherRefused, match="cannot be reached"):
        asyncio.run(run_canary("http://127.0.0.1:9/v1", MODEL))


def test_the_two_pictures_differ_in_most_pixels() -> None:
    one, two = (picture.convert("RGB").tobytes() for picture in draw_pictures())
    assert sum(a != b for a, b in zip(one, two, strict=True)) > len(one) * 0.6


@pytest.mark.parametrize("fault", ["http500", "reset", "truncated", "html", "cut_json"])
def test_a_fault_that_passes_does_not_stop_a_run_before_it_begins(fault: str) -> None:
    """Each question fails at its first try."""

    async def main() -> CanaryReport:
        async with serving() as url:
            return await run_canary(f"{url}/{fault}~1/v1", "test")

    report = asyncio.run(main())
    assert report.uuid_supported
    assert report.requests == 4 + 3  # one question is asked twice on purpose
