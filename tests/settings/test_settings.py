"""Settings: one value from the strongest source, with its reason; wrong ones refused in one line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from annotate.settings import (
    RunSettings,
    add_arguments,
    resolve,
    show_config,
)
from annotate.settings.declared import PREFIX, SETTINGS
from tests.settings.asked import command, reason, refusal


def test_every_setting_arrives_in_run_settings(tmp_path: Path) -> None:
    assert {s.name for s in SETTINGS} | {"source"} == set(RunSettings.__slots__)
    assert len(command(tmp_path).resolved) == len(SETTINGS)


def test_bare_run_annotates_the_sample_of_cirr_with_the_sample_teacher(tmp_path: Path) -> None:
    run = command(tmp_path).run
    assert (run.dataset, run.split, run.source, run.runner) == ("cirr", "train", "sample", "local")
    assert run.root == Path("outputs/sample/cirr-seed7")
    assert run.out == Path("outputs/cirr-train")
    assert run.teacher is not None
    assert run.teacher.endswith("sample/models/teacher")
    assert run.teacher_model is None  # the served name carries a digest of the weights


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    assert command(tmp_path).run.concurrency == 64
    (tmp_path / "annotate.toml").write_text("concurrency = 8\n")
    in_file = command(tmp_path)
    assert (in_file.run.concurrency, *reason(in_file, "concurrency")) == (8, "file", "annotate.toml")
    from_make = command(tmp_path, CIR_CONCURRENCY="16")
    assert (from_make.run.concurrency, *reason(from_make, "concurrency")) == (
        16,
        "environment",
        "CONCURRENCY",
    )
    flagged = command(tmp_path, "--concurrency", "32", CIR_CONCURRENCY="16")
    assert (flagged.run.concurrency, *reason(flagged, "concurrency")) == (32, "flag", "--concurrency")


def test_empty_variables_from_make_mean_not_given(tmp_path: Path) -> None:
    empty = {PREFIX + setting.variable: " " for setting in SETTINGS}
    assert command(tmp_path, **empty) == command(tmp_path)


def test_circo_defaults_to_val_and_says_why(tmp_path: Path) -> None:
    configuration = command(tmp_path, "--dataset", "circo")
    assert configuration.run.split == "val"
    assert reason(configuration, "split") == ("default", "because DATASET=circo")


def test_out_of_own_data_is_kept_apart_from_the_sample(tmp_path: Path) -> None:
    run = command(tmp_path, "--root", str(tmp_path), "--dataset", "fashioniq", "--split", "val").run
    assert (run.out, run.source) == (Path("outputs/user-fashioniq-val"), "user")


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("LIMIT", "abc", "LIMIT=abc is not a whole number; give e.g. LIMIT=200"),
        ("LIMIT", "1.5", "is not a whole number"),
        ("LIMIT", "-3", "LIMIT=-3 is negative, the least is 1"),
        ("LIMIT", "0", "is too small"),
        ("SEED", "seven", "SEED=seven is not a whole number; give e.g. SEED=7"),
        ("PORT", "70000", "is too large, the most is 65535"),
        ("DATASET", "cir", "DATASET=cir is unknown; give one of fashioniq, cirr, circo"),
        ("SPLIT", "test", "did you mean test1?); give one of train, val, test1"),
        ("CATEGORY", "dress", "CATEGORY has no meaning for DATASET=cirr"),
        ("ROOT", "no/such/folder", "ROOT=no/such/folder does not exist"),
        ("RUNNER", "spark", "give one of local, prefect"),
        ("TEACHER", "qwen", "neither a folder here nor a hub name"),
        ("TEACHER_SEES_TARGET", "maybe", "neither 1 nor 0"),
        ("THRESHOLDS", "p_match", "is not score=number; give e.g. THRESHOLDS=p_edits=0.9"),
        ("THRESHOLDS", "p_match=2", "p_match is outside 0 to 1"),
        ("THRESHOLDS", "p_match=.9,p_match=.8", "p_match is given twice"),
        ("THRESHOLDS", "p_match=nan", "is not score=number"),
        ("TEMPERATURE", "inf", "is not a number"),
        ("CHECKS", "form,form", "no list of different names; give some of form, coherence, "),
        ("CHECKS", "form,coherance", "'coherance' is unknown (did you mean coherence?); give some of form, "),
        ("CHECKS", "Target-Match", "'Target-Match' is unknown (did you mean target_match?); give some of "),
        ("GUIDED", "1", "GUIDED=1 guides second chances and CHANCES gives none; give CHANCES=1, or leave"),
        ("TEACHER_FLAGS", "--a 'b", "is no command line"),
        ("TEACHER_FLAGS", "--host 0.0.0.0", "they are set here"),
        ("TEACHER_FLAGS", "--trust-remote-code", "they are set here"),
        ("TEACHER_FLAGS", "--trust_remote_code", "they are set here"),
        ("TEACHER_FLAGS", "--served_model_name=x", "they are set here"),
        ("TEACHER_FLAGS", "--trust", "they are set here"),
    ],
)
def test_wrong_value_is_refused_with_its_cure(
    tmp_path: Path, variable: str, text: str, expected: str
) -> None:
    assert expected in refusal(tmp_path, **{PREFIX + variable: text})


def test_teacher_flags_are_words_of_a_command_line(tmp_path: Path) -> None:
    run = command(tmp_path, "--teacher-flags", "--tensor-parallel-size 4 --note 'a b'").run
    assert run.teacher_flags == ("--tensor-parallel-size", "4", "--note", "a b")


def test_unknown_category_of_fashioniq_lists_the_three(tmp_path: Path) -> None:
    assert "dress, shirt, toptee" in refusal(tmp_path, "--dataset", "fashioniq", "--category", "shoe")


def test_refusal_spells_the_cure_like_the_source(tmp_path: Path) -> None:
    assert refusal(tmp_path, "--limit", "abc").startswith(
        "--limit abc is not a whole number; give e.g. --limit 200"
    )
    (tmp_path / "annotate.toml").write_text('limit = "abc"\n')
    assert refusal(tmp_path).startswith(
        'annotate.toml: limit = "abc" is not a whole number; give e.g. limit = 200'
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/v1",
        "https://hunter2@host/v1",
        "ftp://hunter2.example/v1",
        "http://host/v1?key=hunter2",
        "http://host/v1#hunter2",
        "hunter2",
        "http://hunter2:port/v1",
        "http://host hunter2/v1",
        "http://[hunter2/v1",
        "http://",
    ],
)
def test_unusable_teacher_url_is_refused_without_echoing_it(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, CIR_TEACHER_URL=url)
    assert message.startswith("TEACHER_URL")
    assert "hunter2" not in message


def test_url_given_as_teacher_is_refused_without_echoing_it(tmp_path: Path) -> None:
    message = refusal(tmp_path, CIR_TEACHER="http://user:hunter2@host/v1")
    assert "TEACHER_URL" in message
    assert "hunter2" not in message


def test_running_server_leaves_teacher_unset(tmp_path: Path) -> None:
    configuration = command(tmp_path, "--teacher-url", "http://host:8000/v1/")
    assert (configuration.run.teacher, configuration.run.teacher_url) == (None, "http://host:8000/v1")
    assert reason(configuration, "teacher") == ("default", "because TEACHER_URL is given")


def test_a_prefect_server_s_address_is_refused_with_prefect_s_own_variable_and_example(
    tmp_path: Path,
) -> None:
    line = refusal(tmp_path, "--prefect-api", "http://me:geheim@host:4200/api")
    assert "PREFECT_API_AUTH_STRING" in line and "TEACHER" not in line and "geheim" not in line
    assert "--prefect-api http://host:4200/api" in refusal(tmp_path, "--prefect-api", "host:4200/api")


def test_switches_stand_alone_or_carry_a_value(tmp_path: Path) -> None:
    assert command(tmp_path, "--allow-missing").run.allow_missing
    assert not command(tmp_path, "--allow-missing", "0", CIR_ALLOW_MISSING="1").run.allow_missing


def test_file_gives_tables_and_lists_in_tomls_own_form(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'checks = ["target_match"]\nallow_missing = true\ntemperature = 0.5\n[thresholds]\np_match = 0.9\n'
    )
    run = command(tmp_path, "--config", "mine.toml").run
    assert run.checks == ("target_match",)
    assert run.thresholds == (("p_match", 0.9),)
    assert run.allow_missing
    assert run.temperature == 0.5


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("limitt = 3", "limitt is no setting; did you mean limit?"),
        ('api_key = "hunter2"', "TEACHER_API_KEY"),
        ("limit = true", "is no switch"),
        ("limit = [1]", "limit is a list"),
        ("limit = ", "is not TOML"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "annotate.toml").write_text(content)
    message = refusal(tmp_path)
    assert expected in message
    assert "annotate.toml" in message
    assert "hunter2" not in message


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "annotate.toml").write_text("limit = 3", encoding="utf-8-sig")
    assert command(tmp_path).run.limit == 3


def test_named_file_must_exist(tmp_path: Path) -> None:
    assert "absent.toml cannot be read" in refusal(tmp_path, "--config", "absent.toml")


def test_control_characters_never_reach_the_message(tmp_path: Path) -> None:
    for arguments in (["--split", "\x1b[31mtrain"], ["--limit", "\x1b[2J"], ["--dataset", "\x1b]0;x\x07"]):
        assert "\x1b" not in refusal(tmp_path, *arguments)


def test_show_config_says_value_source_and_reason_and_never_the_key(tmp_path: Path) -> None:
    environment = {"CIR_LIMIT": "200", "TEACHER_API_KEY": "hunter2"}
    table = show_config(resolve({}, environment, tmp_path), environment)
    rows = {line.split()[0]: line.split(maxsplit=3)[1:] for line in table.splitlines()}
    assert rows["LIMIT"] == ["200", "environment", "LIMIT"]
    assert rows["SPLIT"] == ["train", "default", "because DATASET=cirr"]
    assert rows["OUT"] == ["outputs/cirr-train", "default", "because DATASET=cirr SPLIT=train"]
    assert "hunter2" not in table
    assert table.splitlines()[-1].split()[:3] == ["(API", "key)", "set"]


def test_help_says_which_settings_change_what(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser(prog="annotate run")
    add_arguments(parser)
    text = " ".join(parser.format_help().split())
    run_only = text[text.index("changes neither answers nor job") :]
    assert "--concurrency" in run_only
    assert "--temperature" not in run_only


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "[" * 300 + "]" * 300, "nested too deeply"),
        ("a." * 3_000 + "b = 1", "nested too deeply"),
        ("#" * 3_000_000, "larger than 1 MiB"),
        ("limit = " + "9" * 9_000, "4300 digits"),
        ("limit = 0x" + "f" * 9_000, 'limit = "a number too large" is not a whole number'),
        ("thresholds = {form = 0x" + "f" * 9_000 + "}", "is not score=number"),
        ("checks = [0x" + "f" * 9_000 + "]", "checks holds something that is no text; give a list of names"),
        ("checks = [{a = 0x" + "f" * 9_000 + "}]", "checks holds something that is no text"),
        ("checks = ['form', 5]", "checks holds something that is no text"),
        ("thresholds = {form = [0x" + "f" * 9_000 + "]}", "thresholds holds something that is no number"),
    ],
)
def test_deep_and_huge_settings_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "annotate.toml").write_text(text)
    message = refusal(tmp_path)
    assert words in message and len(message) < 400
