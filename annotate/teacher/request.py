"""A frozen request with every default merged: digest, journal key and HTTP body all come from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

ENCODE_TEXT, ENCODE_PICTURE = "encode_text", "encode_picture"
"""Stages of requests to an image-text encoder; the reply's text is the vector as JSON."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image by reference: the digest of the source file and the named recipe that it is made by."""

    source_digest: str
    recipe: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One chat message; pictures come before the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """Everything of the sampling that determines an answer; greedy by default."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 512


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the teacher.

    `schema_json` is the canonical JSON Schema of the answer ("" for a one-token question); `choices` are the
    letters whose log-probabilities are read. `stage` and `prompt_digest` name the question for people and for
    explaining a journal miss.
    """

    stage: str
    model: str
    turns: tuple[Turn, ...]
    prompt_digest: str
    schema_json: str = ""
    choices: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)

    def components(self) -> dict[str, str]:
        """Digest of each part of the key, so that a miss can be explained ("the prompt changed")."""
        parts: dict[str, Any] = {
            "stage": self.stage,
            "model": self.model,
            "prompt": self.prompt_digest,
            "conversation": [[turn.role, turn.text] for turn in self.turns],
            "images": [
                [picture.source_digest, picture.recipe] for turn in self.turns for picture in turn.pictures
            ],
            "image_turns": [len(turn.pictures) for turn in self.turns],
            "schema": self.schema_json,
            "choices": list(self.choices),
            "sampling": [
                self.sampling.temperature,
                self.sampling.top_p,
                self.sampling.seed,
                self.sampling.max_tokens,
            ],
        }
        return {name: component_digest(value) for name, value in parts.items()}

    def digest(self) -> str:
        """sha256 over all components: equal digests mean the same question to the same model."""
        return component_digest(self.components())


@dataclass(frozen=True, slots=True)
class Reply:
    """What the teacher answered: raw text, why it stopped, log-probabilities of the letters, token counts."""

    text: str
    finish_reason: str
    logprobs: tuple[tuple[str, float], ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


Ask = Callable[[Request], Awaitable[Reply]]
"""Stages get this as an argument and know no HTTP. Raises `annotate.teacher.retry.Unanswered`."""


def canonical_json(value: Any) -> str:
    """The one JSON spelling for digests, replayed answers and training: compact, only JSON's own escapes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def component_digest(value: Any) -> str:
    """sha256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
