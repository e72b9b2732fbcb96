"""Asks a running server who it is, before anything depends on it. Standard library only."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from annotate.errors import TeacherRefused
from annotate.text import parse_json
from annotate.urls import checked_url

LONGEST_NAME = 300
LARGEST_BODY = 4_000_000


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself; `version` is None where it does not say (not every provider is vLLM)."""

    version: str | None
    models: tuple[str, ...]


def check_server(
    url: str, model: str | None, api_key: str | None = None, setting: str = "TEACHER_URL"
) -> ServerFacts:
    """Ask a server for its models and version; `model` None asks for no particular one.

    `setting` is what gave the URL. Raises `UsageError` when it is none, and `TeacherRefused`, one line with
    the cure: not reachable, no API (HTML), key refused, another model.
    """
    base = checked_url(url, setting)
    listed = _get_json(f"{base}/models", base, api_key, setting)
    entries = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list) or not all(isinstance(e, dict) and "id" in e for e in entries):
        raise TeacherRefused(
            f"{setting} {base}: /models is no OpenAI model list; give the URL that ends in /v1"
        )
    names = tuple(entry["id"] for entry in entries if _is_name(entry["id"]))
    if model is not None and model not in names:
        served = ", ".join(repr(name) for name in names[:8]) or "nothing"
        raise TeacherRefused(
            f"{setting} {base} does not serve {model!r} but {served}; set TEACHER_MODEL to what it serves"
        )
    version = None
    with suppress(TeacherRefused):  # providers other than vLLM have no /version
        answer = _get_json(f"{base.removesuffix('/v1')}/version", base, api_key, setting)
        version = str(answer["version"]) if isinstance(answer, dict) and "version" in answer else None
    return ServerFacts(version, names)


def _is_name(name: object) -> bool:
    """Whether a model can be asked for and shown by this name; others count as not served."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is refused, not followed: the key would go with it."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def opener(proxied: bool = False) -> urllib.request.OpenerDirector:
    # The proxies that the client has that does the work: what is checked must be what is used.
    proxies = urllib.request.getproxies() if proxied else {}
    return urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirect)


def answers_health(base: str, proxied: bool = False) -> bool:
    """Whether a server answers `base`/health with 200. Never raises: what speaks no HTTP does not answer.

    `proxied`: by way of the environment's proxies.
    """
    try:
        if urllib.parse.urlsplit(base).scheme not in {"http", "https"}:
            return False
        with opener(proxied).open(base.rstrip("/") + "/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _get_json(address: str, url: str, api_key: str | None, setting: str) -> Any:
    request = urllib.request.Request(address, headers={"Accept": "application/json"})
    if api_key:
        request.add_header("Authorization", f"Bearer {api_key}")
    try:
        with opener().open(request, timeout=30) as answer:
            body = answer.read(LARGEST_BODY)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            keyed = setting != "--generator-url"
            cure = "set TEACHER_API_KEY in the environment" if keyed else "give a server that asks for none"
            raise TeacherRefused(f"{setting} {url} wants a key (HTTP {error.code}); {cure}") from error
        raise TeacherRefused(
            f"{setting} {url} answered HTTP {error.code} to {address};"
            " give the URL of an OpenAI-compatible server that ends in /v1"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        start = "start the server there" + (" (`make serve-teacher`)" if setting == "TEACHER_URL" else "")
        raise TeacherRefused(
            f"{setting} {url} cannot be reached ({reason}); {start}, or correct the URL"
        ) from error
    try:
        return parse_json(body)
    except ValueError as error:
        page = body.lstrip()[:1] == b"<"
        what = "an HTML page" if page else "no JSON"
        cure = "it is a web page, not an API: give the URL" if page else "give the URL of its API,"
        raise TeacherRefused(
            f"{setting} {url} answers {what} where a model list should be; {cure} that ends in /v1"
        ) from error
