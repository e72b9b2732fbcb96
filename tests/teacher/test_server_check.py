"""What a running server is asked before it is used: reachable, an API, the right model."""

from __future__ import annotations

import socket
import threading

import pytest

from annotate.errors import CirError, TeacherRefused, UsageError
from annotate.teacher.probe import answers_health, check_server
from tests.teacher.fake_teacher import MODEL, fake_teacher


def test_a_good_server_tells_version_and_models() -> None:
    with fake_teacher() as teacher:
        facts = check_server(teacher.url, MODEL)
        assert check_server(teacher.url + "/", None) == facts
    assert (facts.version, facts.models) == ("0.32.0", (MODEL,))


def test_a_name_that_cannot_be_asked_for_or_shown_is_not_served() -> None:
    with fake_teacher("odd names") as teacher:
        assert check_server(teacher.url, None).models == (MODEL,)


def test_a_provider_without_a_version_is_accepted() -> None:
    with fake_teacher("no version") as teacher:
        assert check_server(teacher.url, MODEL).version is None


@pytest.mark.parametrize(
    ("fault", "model", "finding"),
    [
        ("", "Qwen/other", r"does not serve 'Qwen/other' but 'fake-teacher'; set TEACHER_MODEL"),
        ("html", MODEL, r"HTML page.*ends in /v1"),
        ("deep models", MODEL, r"no JSON where a model list should be"),
        ("not a list", MODEL, r"no OpenAI model list; .*ends in /v1"),
        ("locked", MODEL, r"HTTP 401.*TEACHER_API_KEY"),
        ("redirects", MODEL, r"HTTP 302"),
    ],
)
def test_a_wrong_server_is_refused_in_one_line_with_the_cure(fault: str, model: str, finding: str) -> None:
    with fake_teacher(fault) as teacher, pytest.raises(TeacherRefused, match=finding) as refused:
        check_server(teacher.url, model)
    assert teacher.url in str(refused.value)


def test_an_address_without_v1_is_refused_with_the_cure() -> None:
    with fake_teacher() as teacher, pytest.raises(TeacherRefused, match=r"HTTP 404.*ends in /v1"):
        check_server(teacher.url.removesuffix("/v1"), MODEL)


def test_nobody_listening_is_refused_with_the_cure() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
        with pytest.raises(TeacherRefused, match=r"cannot be reached .*refused.*make serve-teacher"):
            check_server(url, MODEL)


def test_something_that_speaks_no_http_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def hang_up() -> None:
            connection, _ = other.accept()
            connection.sendall(b"SSH-2.0-x\r\n")
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(TeacherRefused, match="cannot be reached"):
            check_server(f"http://127.0.0.1:{other.getsockname()[1]}/v1", MODEL)
        thread.join(10)


@pytest.mark.parametrize("line", [b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 No\r\n\r\n"])
def test_health_is_answered_by_http_200_and_by_nothing_else(line: bytes) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            connection.recv(1000)
            connection.sendall(line)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}/api"
        assert answers_health(url) == (b"200" in line)
        thread.join(10)
    assert not answers_health(url)


@pytest.mark.parametrize("url", ["", "file:///etc", "http://[x", "http://h:x", "http://a b/"])
def test_what_is_no_url_answers_no_health(url: str) -> None:
    assert not answers_health(url)


def test_a_wrong_url_is_named_by_the_setting_that_gave_it() -> None:
    for url in ("http://127.0.0.1:9/v1", "nothing"):
        with pytest.raises(CirError, match=r"^ENCODER_URL "):
            check_server(url, None, None, "ENCODER_URL")


@pytest.mark.parametrize(
    "url", ["", "host:8000/v1", "file:///etc/passwd", "http://", "http://[x/v1", "http://h:x/v1"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"^TEACHER_URL .*give e\.g\. http://host:8000/v1$"):
        check_server(url, MODEL)


@pytest.mark.parametrize("setting", ["TEACHER_URL", "--generator-url"])
@pytest.mark.parametrize("host", ["127.0.0.1:9", "nohost.invalid", "h:port"])
def test_a_url_with_a_password_is_refused_without_repeating_it(host: str, setting: str) -> None:
    with pytest.raises(UsageError, match=f"^{setting} carries credentials") as refused:
        check_server(f"http://me:sesame@{host}/v1", MODEL, setting=setting)
    assert "sesame" not in str(refused.value)


def test_the_key_is_used_but_not_shown() -> None:
    with fake_teacher() as teacher:
        check_server(teacher.url, MODEL, "sesame")
        assert teacher.keys == ["Bearer sesame"]
    with fake_teacher("locked") as teacher, pytest.raises(TeacherRefused) as refused:
        check_server(teacher.url, MODEL, "sesame")
    assert "sesame" not in str(refused.value)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with fake_teacher() as teacher:
        assert check_server(teacher.url, MODEL).models == (MODEL,)
