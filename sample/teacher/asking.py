"""A plain client of the teacher's server, which shares no code with the annotation client it measures."""

from __future__ import annotations

import asyncio
import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from PIL import Image

from annotate.errors import TeacherRefused
from annotate.text import parse_json
from sample import world
from sample.teacher.draw import Case
from sample.teacher.spelling import MEANINGS
from schemas.answers import Answer, CaptionAnswer, ConclusionAnswer, ReasoningAnswer, response_schema


def jpeg_url(picture: Image.Image) -> str:
    """A picture as the annotation client sends it: JPEG of quality 90, inline."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


@dataclass(slots=True)
class Client:
    """Asks the server with at most `slots` requests in flight."""

    session: aiohttp.ClientSession
    url: str
    model: str
    prompts: dict[str, str]
    slots: asyncio.Semaphore
    requests: int = 0

    async def ask(self, messages: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """One chat completion's first choice; TeacherRefused when the server refuses."""
        body = {"model": self.model, "messages": messages, "temperature": 0, **options}
        self.requests += 1
        async with self.slots, self.session.post(f"{self.url}/chat/completions", json=body) as response:
            if response.status != 200:
                raise TeacherRefused(
                    f"{self.url} answered {response.status}: {(await response.text())[:300]}"
                )
            choice: dict[str, Any] = (await response.json())["choices"][0]
            return choice

    def user(self, text: str, image: str | None = None) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if image is not None:
            parts.insert(0, {"type": "image_url", "image_url": {"url": image}})
        return {"role": "user", "content": parts}

    async def stage(
        self, messages: list[dict[str, Any]], model: type[Answer], aspects: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Ask for one stage's JSON and append it to the conversation; {} when it is no JSON."""
        schema = {"name": model.__name__, "schema": response_schema(model, aspects)}
        options = {"max_tokens": 400, "response_format": {"type": "json_schema", "json_schema": schema}}
        text = (await self.ask(messages, **options))["message"]["content"]
        messages.append({"role": "assistant", "content": text})
        try:
            answer: dict[str, Any] = parse_json(text)
        except ValueError:
            return {}
        return answer

    async def chain(self, case: Case, image: str) -> tuple[list[str], dict[str, Any], list[str]]:
        """Caption claims, reasoning and conclusion claims of one triplet."""
        names = world.aspects(case.reference.domain)
        messages = [*self.opening(), self.user(self.prompts["caption"], image)]
        caption = await self.stage(messages, CaptionAnswer)
        text = self.prompts["reasoning"].replace("{{modification}}", case.modification)
        messages.append(self.user(text.replace("{{aspects}}", ", ".join([*names, "other"]))))
        reasoning = await self.stage(messages, ReasoningAnswer, names)
        messages.append(self.user(self.prompts["conclusion"]))
        conclusion = await self.stage(messages, ConclusionAnswer)
        return caption.get("claims", []), reasoning, conclusion.get("claims", [])

    async def letter(
        self, messages: list[dict[str, Any]], prompt: str, image: str | None, **values: str
    ) -> float:
        """p(first meaning) of a one-letter question after `messages`, the mean over both orders."""
        shares = []
        pair = MEANINGS[prompt]
        for meanings in (pair, pair[::-1]):
            text = self.prompts[prompt]
            options = {
                "first": "A",
                "second": "B",
                "first_meaning": meanings[0],
                "second_meaning": meanings[1],
            }
            for name, value in {**values, **options}.items():
                text = text.replace("{{" + name + "}}", value)
            asked = [*messages, self.user(text, image)]
            choice = await self.ask(asked, max_tokens=1, logprobs=True, top_logprobs=20)
            found = {
                t["token"]: math.exp(t["logprob"]) for t in choice["logprobs"]["content"][0]["top_logprobs"]
            }
            a, b = found.get("A", 0.0), found.get("B", 0.0)
            shares.append((a if meanings == pair else b) / (a + b) if a + b else 0.5)
        return sum(shares) / 2

    def opening(self) -> list[dict[str, Any]]:
        return [{"role": "system", "content": self.prompts["system"]}]

    async def verify(self, image: str, statement: Sequence[str]) -> float:
        """p_match of a statement about one picture."""
        return await self.letter(self.opening(), "verify", image, statement=", ".join(statement))
