"""The one place that looks at an address before anything is asked of it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from annotate.errors import UsageError

MODEL_SERVER = "http://host:8000/v1"
TEACHER_KEY = "TEACHER_API_KEY"


def checked_url(
    text: str, setting: str = "TEACHER_URL", example: str = MODEL_SERVER, key: str = TEACHER_KEY
) -> str:
    """An http(s) URL without blanks around it and without slashes at its end.

    `setting` is what gave it, `key` the variable a key belongs in. Raises `UsageError`, which never repeats
    the text: it may hold a secret.
    """
    text, advice = text.strip(), f"give e.g. {example}"
    try:
        parts = urlsplit(text)
        at, host = "@" in parts.netloc, parts.hostname
    except ValueError:  # brackets that do not close
        raise UsageError(f"{setting} is not a URL; {advice}") from None
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"{setting} must begin with http:// or https://; {advice}")
    if at:  # before the port: of `user:secret@host` it would be the secret
        raise UsageError(
            f"{setting} carries credentials; leave them out and put the key into the environment as {key}"
        )
    if "?" in text or "#" in text:
        raise UsageError(f"{setting} carries a query or fragment; keys go into {key}; {advice}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not host or port == 0 or not re.fullmatch(r"[\x21-\x7e]+", text):
        raise UsageError(f"{setting} names no usable host and port; {advice}")
    return text.rstrip("/")
