"""Requests and images for tests of asking: small, cheap, different where the caller wants them different."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from annotate.teacher.request import Picture, Request, Turn

SCHEMA = (
    '{"type":"object","properties":{"claims":{"type":"array","minItems":1,"maxItems":4,'
    '"items":{"type":"string","maxLength":40}}},"required":["claims"]}'
)


@dataclass(frozen=True, slots=True)
class FakeEncoded:
    """Bytes that pass for a JPEG, and their digest."""

    data: bytes
    digest: str


class FakeImages:
    """An image store without a disk; `reads` counts how often each picture was read."""

    def __init__(self, size: int = 500) -> None:
        self.size = size
        self.reads: Counter[str] = Counter()

    def encoded(self, picture: Picture) -> FakeEncoded:
        """The same bytes for the same picture by the same recipe."""
        self.reads[picture.source_digest] += 1
        data = ((picture.recipe + picture.source_digest).encode() * (self.size // 64 + 1))[: self.size]
        return FakeEncoded(data, hashlib.sha256(data).hexdigest())


def picture(name: str) -> Picture:
    """The picture of that name."""
    return Picture(hashlib.sha256(name.encode()).hexdigest(), "fit448-q90-v1")


def question(
    text: str = "what is there?", image: str = "one", stage: str = "caption", prompt: str = "p1"
) -> Request:
    """A caption-like request about one image."""
    turns = (Turn("system", "You describe pictures."), Turn("user", text, (picture(image),)))
    return Request(stage, "test", turns, prompt, SCHEMA)


def verdict(text: str = "red dress", image: str = "one") -> Request:
    """A one-token request for A or B."""
    turns = (Turn("user", f"{text}\nA. match\nB. mismatch", (picture(image),)),)
    return Request("verify", "test", turns, "p1", "", ("A", "B"))
