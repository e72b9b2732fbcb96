"""What is given to make arrives or is refused: a variable that nothing reads starts nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from annotate.settings.declared import PREFIX, SETTINGS

ROOT = Path(__file__).resolve().parents[2]


def make(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make` in the checkout, as from a shell where no make and no setting is around."""
    clean = {
        name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", PREFIX))
    }
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def in_recipes(tmp_path: Path, variable: str, *words: str, **environment: str) -> str:
    """What a recipe of the Makefile finds in its environment."""
    more = tmp_path / "show.mk"
    more.write_text("show:\n\t@printenv " + variable + " || true\n")
    shown = make("-f", "Makefile", "-f", str(more), "show", *words, **environment)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.rstrip("\n")


def test_make_knows_every_declared_setting_and_no_other() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    found = re.search(r"^SETTINGS := (.*)$", makefile, re.MULTILINE)
    assert found is not None and sorted(found[1].split()) == sorted(each.variable for each in SETTINGS)


@pytest.mark.parametrize("name", [setting.variable for setting in SETTINGS])
def test_a_setting_given_to_make_reaches_the_command_line(name: str, tmp_path: Path) -> None:
    assert in_recipes(tmp_path, PREFIX + name, f"{name}=given") == "given"


def test_a_value_arrives_letter_by_letter(tmp_path: Path) -> None:
    odd = "/data/my $HOME (1) #2, 'x'"
    assert in_recipes(tmp_path, "CIR_ROOT", f"ROOT={odd}") == odd


def test_the_environment_may_give_settings_by_either_name(tmp_path: Path) -> None:
    assert in_recipes(tmp_path, "CIR_DATASET", CIR_DATASET="circo") == "circo"
    assert in_recipes(tmp_path, "CIR_LIMIT", LIMIT="30") == "30"


def test_another_program_s_port_is_not_ours(tmp_path: Path) -> None:
    assert in_recipes(tmp_path, "CIR_PORT", PORT="8080") == ""
    assert in_recipes(tmp_path, "CIR_TIMEOUT", TIMEOUT="5") == ""


@pytest.mark.parametrize(
    ("goal", "given", "words"),
    [
        ("annotate", "LIMT=30", "LIMT is no variable of this Makefile; did you mean LIMIT?"),
        ("annotate", "limit=30", "limit is no variable of this Makefile; did you mean LIMIT?"),
        ("annotate", "TRESHOLDS=p_edits=0.9", "did you mean THRESHOLDS?"),
        ("annotate", "ABLATION=0", "did you mean ABLATIONS?"),
        ("annotate", "QQQQ=1", "QQQQ is no variable of this Makefile; `make help` lists them"),
        ("annotate", "A'B=1", "A'B is no variable"),
        ("train-eval", "DATASET=cirr", "DATASET means nothing to train-eval; `make help` lists"),
        ("train-eval", "SEED=3", "SEED means nothing to train-eval"),
        ("annotate", "PRECISION=0.99", "PRECISION means nothing to annotate"),
        ("annotate", "SEEDS=0", "SEEDS means nothing to annotate"),
        ("annotate", "DATA=x", "DATA means nothing to annotate"),
        ("select", "LIMIT=40", "LIMIT means nothing to select"),
        ("select", "DATASET=circo", "DATASET means nothing to select"),
        ("prove", "DATASET=cirr", "DATASET means nothing to prove"),
        ("sample", "LIMIT=40", "LIMIT means nothing to sample"),
        ("doctor", "PRECISION=1", "PRECISION means nothing to doctor"),
        ("ui", "PORT=4300", "PORT means nothing to ui"),
        ("train-eval", "RUNNER=locl", "RUNNER is local or prefect, not locl"),
        ("train-eval", "ALLOW_MISSING=some", "ALLOW_MISSING is 1 or 0, not some"),
        ("prove", "FULL=yes", "FULL is 1 or 0, not yes"),
        ("prove", "DOCS=true", "DOCS is 1 or 0, not true"),
        ("setup", "TEACHER_VENV=/opt/vllm", "TEACHER_VENV is no variable of this Makefile"),
    ],
)
def test_a_variable_that_would_change_nothing_stops_before_anything_starts(
    goal: str, given: str, words: str
) -> None:
    stopped = make("-n", goal, given)
    assert stopped.returncode == 2 and stopped.stdout == ""
    assert words in stopped.stderr and len(stopped.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "goal",
    [
        "help",
        "setup",
        "sample",
        "sample-models",
        "annotate",
        "select",
        "train-eval",
        "ui",
        "serve-teacher",
        "bench",
        "doctor",
        "audit",
        "prove",
        "soak",
        "crash",
        "check",
        "test",
        "lint",
        "clean",
    ],
)
def test_every_target_that_was_agreed_on_is_there(goal: str) -> None:
    assert make("-n", goal).returncode == 0 and f"\n  {goal} " in make("help").stdout


def test_a_study_takes_its_own_variables() -> None:
    assert make("-n", "train-eval", "SEEDS=0,1", "ABLATIONS=0", "RUNNER=local").returncode == 0


def test_missing_images_are_allowed_to_a_study_as_to_an_annotation() -> None:
    assert "--allow-missing" in make("-n", "train-eval", "ALLOW_MISSING=1").stdout
    for given in ("ALLOW_MISSING=0", "ALLOW_MISSING=", "SEEDS=0"):
        assert "--allow-missing" not in make("-n", "train-eval", given).stdout
    assert "ALLOW_MISSING" in make("help").stdout.partition("train-eval (explained by")[2].splitlines()[1]


@pytest.mark.parametrize(("name", "flag"), [("FULL", "--full"), ("DOCS", "--docs")])
def test_a_switch_of_prove_is_on_at_1_alone(name: str, flag: str) -> None:
    assert flag in make("-n", "prove", f"{name}=1").stdout
    for given in (f"{name}=0", f"{name}=", "ROWS=5"):
        assert flag not in make("-n", "prove", given).stdout


def test_targets_that_are_made_together_take_what_any_of_them_takes() -> None:
    assert make("-n", "annotate", "train-eval", "DATASET=cirr", "ABLATIONS=0").returncode == 0
    assert make("-n", "annotate", "select", "SEEDS=0").returncode == 2


def test_every_target_says_what_it_reads() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    goals = re.search(r"^GOALS := (.*)$", makefile, re.MULTILINE)
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)) - {"help"}
    assert goals is not None and set(goals[1].split()) == phony


def test_every_variable_that_a_recipe_reads_may_be_given() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipes = makefile[makefile.index("\nsetup:") :]
    read = set(re.findall(r"\$\(([A-Z_]+)\)", recipes))
    assert {"PRECISION", "ABLATIONS", "ROWS", "DATA", "VENV"} <= read
    assert make("-n", "help", *(f"{name}=1" for name in read)).returncode == 0


@pytest.mark.parametrize(
    "given",
    ["TEACHER_REQUIREMENTS=my.txt", "PIP_EXTRA_INDEX_URL=https://x", "CUDA_VISIBLE_DEVICES=1", "HF_HOME=/x"],
)
def test_what_pip_vllm_and_the_hub_read_passes(given: str) -> None:
    assert make("-n", "annotate", given).returncode == 0


def test_a_teacher_python_of_one_s_own_needs_no_teacher_environment() -> None:
    assert "teacher.environment" in make("-n", "annotate").stdout
    assert "teacher.environment" not in make("-n", "annotate", "TEACHER_PYTHON=/opt/vllm/bin/python").stdout


def test_an_empty_root_is_no_wish_for_the_sample() -> None:
    refused = make("-n", "annotate", "ROOT=")
    assert refused.returncode == 2 and "ROOT is empty" in refused.stderr and "pip" not in refused.stdout
    assert make("-n", "help", "ROOT=/data").returncode == 0


def test_an_environment_of_an_unsuitable_python_is_not_begun(tmp_path: Path) -> None:
    """It would be found half made by the next make, which is given another one."""
    told = make("project", f"VENV={tmp_path / 'venv'}", "PYTHON=false")
    assert told.returncode == 2
    assert "false is no Python 3.11 or 3.12; name one: PYTHON=python3.11" in told.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.slow
def test_an_environment_that_was_begun_with_an_unsuitable_python_is_begun_again(tmp_path: Path) -> None:
    """Up to pip, which is refused the index here."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/bin/false")
    told = make("project", f"VENV={venv}", f"PYTHON={sys.executable}", PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert told.returncode == 2 and "no Python" not in told.stderr
    assert subprocess.run([str(venv / "bin" / "python"), "-m", "pip", "--version"], check=True)
