"""Which teacher is meant, its key and its flags; what contradicts itself or has no effect is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.errors import UsageError
from annotate.settings import (
    api_key,
    published_settings,
    resolve,
)
from annotate.settings.declared import BY_NAME
from tests.settings.asked import command, reason, refusal


def test_several_servers_are_one_setting_each_checked(tmp_path: Path) -> None:
    run = command(tmp_path, "--teacher-url", "http://one:8000/v1/, http://two:8000/v1").run
    assert run.urls == ("http://one:8000/v1", "http://two:8000/v1")
    assert command(tmp_path).run.urls == ()
    assert "twice" in refusal(tmp_path, "--teacher-url", "http://one/v1,http://one/v1/")
    line = refusal(tmp_path, "--teacher-url", "http://one/v1,http://me:geheim@two/v1")
    assert "credentials" in line and "geheim" not in line
    assert "http" in refusal(tmp_path, "--teacher-url", "http://one/v1,")


def test_teacher_and_url_of_one_source_contradict_but_a_flag_beats_the_file(tmp_path: Path) -> None:
    assert "leave one out" in refusal(tmp_path, "--teacher", "a/b", "--teacher-url", "http://host/v1")
    (tmp_path / "annotate.toml").write_text('teacher = "a/b"\n')
    configuration = command(tmp_path, "--teacher-url", "http://host/v1")
    assert configuration.run.teacher is None
    assert "--teacher-url overrides the TEACHER of annotate.toml" in reason(configuration, "teacher")[1]


def test_teacher_that_we_start_goes_by_its_own_name(tmp_path: Path) -> None:
    model = tmp_path / "my-model"
    model.mkdir()
    assert "config.json" in refusal(tmp_path, "--teacher", str(model))
    (model / "config.json").write_text("{}")
    configuration = command(tmp_path, "--teacher", str(model))
    assert configuration.run.teacher_model is None
    assert "TEACHER's own name" in reason(configuration, "teacher_model")[1]


def test_api_key_comes_from_the_environment_only() -> None:
    assert api_key({}) is None
    assert api_key({"TEACHER_API_KEY": " "}) is None
    assert api_key({"TEACHER_API_KEY": "a"}) == "a"


@pytest.mark.parametrize("key", ["abc\ndefSECRET", "a SECRET", "SECRETключ"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UsageError, match="TEACHER_API_KEY") as refused:
        api_key({"TEACHER_API_KEY": key})
    assert "SECRET" not in str(refused.value)


def test_a_key_for_another_service_is_not_the_teachers() -> None:
    assert api_key({"OPENAI_API_KEY": "b"}) is None


def test_a_teacher_folder_that_may_not_be_looked_into_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to("x" * 300)  # as good as a folder without rights, and works for root
    assert "cannot be looked into" in refusal(tmp_path, "--teacher", str(tmp_path))


def test_flags_of_the_teacher_are_told_to_change_answers_and_are_not_published(tmp_path: Path) -> None:
    configuration = command(tmp_path, "--teacher-flags", "--chat-template /home/me/own.jinja")
    assert BY_NAME["teacher_flags"].changes == "answers"
    assert "TEACHER_FLAGS" not in published_settings(configuration)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"teacher_url": "http://h:8000/v1", "teacher_flags": "--quantization fp8"}, "TEACHER_FLAGS are for"),
        ({"teacher": "Qwen/Qwen2.5-VL-7B-Instruct", "teacher_model": "other"}, "TEACHER_MODEL is for"),
    ],
)
def test_a_setting_that_would_be_without_effect_is_refused(
    tmp_path: Path, given: dict[str, str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(given, {}, tmp_path)
