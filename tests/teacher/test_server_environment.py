"""Building the teacher's environment: the choice, the stamp, builds with a small wheel in vLLM's place."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from annotate.errors import TeacherRefused, UsageError
from annotate.teacher import environment
from annotate.teacher.environment import CPU, GPU, LOCK, build, choose, is_current, refuse_another_kind

ROOT = Path(__file__).resolve().parents[2]


def wheel(folder: Path, body: str) -> Path:
    """A wheel called vllm whose package runs `body` when imported."""
    files = {
        "vllm/__init__.py": body,
        "vllm/platforms.py": "class current_platform:\n    device_type = 'cpu'\n",
        "vllm-9.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n",
        "vllm-9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},"
        f"{len(text)}\n"
        for name, text in files.items()
    )
    path = folder / "vllm-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | {"vllm-9.9.dist-info/RECORD": record}).items():
            archive.writestr(name, text)
    return path


def requirements(folder: Path, body: str) -> Path:
    path = folder / "mine.txt"
    path.write_text(f"{wheel(folder, body)}\n")
    return path


def test_a_gpu_decides_the_package_and_a_file_of_ones_own_wins(tmp_path: Path) -> None:
    assert choose({}, gpu=False).files == (CPU, LOCK)
    assert choose({}, gpu=True).files == (GPU,)
    own = tmp_path / "mine.txt"
    own.touch()
    assert choose({"TEACHER_REQUIREMENTS": str(own)}, gpu=True).files == (own,)


def test_requirements_that_are_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match=r"TEACHER_REQUIREMENTS=nowhere.txt: no such file"):
        choose({"TEACHER_REQUIREMENTS": "nowhere.txt"}, gpu=False)


def test_a_changed_file_asks_for_a_new_environment(tmp_path: Path) -> None:
    own = tmp_path / "mine.txt"
    own.write_text("vllm==1\n")
    first = choose({"TEACHER_REQUIREMENTS": str(own)}, gpu=False).digest()
    own.write_text("vllm==2\n")
    assert choose({"TEACHER_REQUIREMENTS": str(own)}, gpu=False).digest() != first


def test_the_unofficial_build_is_pinned_by_hash_and_the_lock_has_exact_versions_and_no_addresses() -> None:
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", CPU.read_text())) == 2
    lines = [line for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; platform_machine == \"x86_64\")?", line) for line in lines)
    names = {line.split("==")[0].lower() for line in lines}
    assert {"torch", "fastapi", "xgrammar", "setuptools"} <= names
    assert not {"torchvision", "torchaudio", "torchcodec", "prefect"} & names


def test_a_folder_that_is_no_environment_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="no virtual environment"):
        build(tmp_path, choose({}, gpu=False))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_too_little_disk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    recipe = environment.Recipe("a giant", (GPU,), 10**9)
    with pytest.raises(TeacherRefused, match=r"a giant needs 1000000000 GB, .* make room"):
        build(tmp_path / "env", recipe)
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("stamp", ["", "{", "[]", "{}", '{"digest": "other"}'])
def test_a_stamp_that_says_nothing_or_otherwise_is_not_current(tmp_path: Path, stamp: str) -> None:
    (tmp_path / environment.STAMP).write_text(stamp)
    assert not is_current(tmp_path, choose({}, gpu=False))


@pytest.mark.slow
def test_an_environment_is_built_once_and_again_when_its_requirements_change(tmp_path: Path) -> None:
    own = requirements(tmp_path, "__version__ = '9.9'")
    folder = tmp_path / "env"
    run = [sys.executable, "-m", "annotate.teacher.environment", str(folder)]

    def built(**given: str) -> str:
        done = subprocess.run(
            run,
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "TEACHER_REQUIREMENTS": str(own)} | given,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "9.9 cpu" in built()
    (folder / "mark").touch()
    assert built() == ""
    assert (folder / "mark").exists()
    assert built(TEACHER_REQUIREMENTS="") == ""  # one's own build outlives the variable
    assert (folder / "mark").exists()
    own.write_text(own.read_text() + "# another\n")
    assert "9.9 cpu" in built()
    assert not (folder / "mark").exists()


@pytest.mark.slow
def test_a_build_whose_vllm_does_not_import_is_refused_and_not_stamped(tmp_path: Path) -> None:
    own = requirements(tmp_path, "raise ImportError('no libtorch')")
    recipe = choose({"TEACHER_REQUIREMENTS": str(own)}, gpu=False)
    with pytest.raises(TeacherRefused, match="does not import: 'ImportError: no libtorch'"):
        build(tmp_path / "env", recipe)
    assert not is_current(tmp_path / "env", recipe)


def test_an_environment_of_another_kind_of_machine_is_not_replaced(tmp_path: Path) -> None:
    """On a shared checkout it may be serving there."""
    folder, cpu, gpu = tmp_path / "env", choose({}, gpu=False), choose({}, gpu=True)
    folder.mkdir()
    (folder / environment.STAMP).write_text(f'{{"digest": "of before", "what": "{gpu.what}"}}')
    with pytest.raises(UsageError, match=r"holds vllm \(NVIDIA GPU found\), for another kind of machine"):
        refuse_another_kind(folder, cpu)
    refuse_another_kind(folder, gpu)  # a newer lock of the same kind
    (folder / environment.STAMP).unlink()
    refuse_another_kind(folder, cpu)  # never finished


def test_two_that_want_the_same_environment_build_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, lock = tmp_path / "env", tmp_path / "env.lock"
    recipe = choose({}, gpu=False)

    def by_somebody_else(path: Path) -> AbstractContextManager[None]:
        assert path == lock
        folder.mkdir()
        (folder / environment.STAMP).write_text(f'{{"digest": "{recipe.digest()}", "what": "x"}}')
        return nullcontext()

    monkeypatch.setattr(environment, "gpu_names", tuple)
    monkeypatch.setattr(environment, "wait_for_lock", by_somebody_else)
    monkeypatch.delenv("TEACHER_REQUIREMENTS", raising=False)
    assert environment.main([str(folder)]) == 0
    assert not capsys.readouterr().out
