"""Measure the teacher's bars through a running server, on held-out triplets with seeds of their own."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from annotate.errors import TeacherRefused
from sample import world
from sample.teacher.draw import draw_modification
from schemas.answers import Answer, CaptionAnswer, ConclusionAnswer, ReasoningAnswer, response_schema

SEED = 3_000_000
EDITS = ([1, 2, 3], [40, 40, 20])


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out triplet: the target also shows changes that nobody mentioned."""

    reference: world.Look
    edits: list[world.Edit]
    modification: str
    target: world.Look
    other: world.Look
    neighbour: world.Look
    seed: int


def draw_case(domain: world.Domain, number: int, seed: int = SEED) -> Case:
    """Held-out triplet `number` of a domain."""
    rng = random.Random(f"{seed}-{domain}-{number}")
    reference = world.draw_look(rng, domain)
    edits = world.draw_edits(rng, reference, rng.choices(*EDITS)[0])
    text = draw_modification(rng, reference, edits)
    target = world.apply(reference, edits)
    if rng.random() < 0.45:
        target = world.apply(target, world.draw_unmentioned(rng, reference, edits))
    other = world.draw_look(rng, domain)
    return Case(reference, edits, text, target, other, world.one_attribute_neighbour(rng, target), number)


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
            answer: dict[str, Any] = json.loads(text)
        except json.JSONDecodeError:
            return {}
        return answer

    async def chain(self, case: Case, image: str) -> tuple[list[str], dict[str, Any], list[str]]:
        """Caption claims, reasoning and conclusion claims of one triplet."""
        names = world.aspects(case.reference.domain)
        messages = [
            {"role": "system", "content": self.prompts["system"]},
            self.user(self.prompts["caption"], image),
        ]
        caption = await self.stage(messages, CaptionAnswer)
        text = self.prompts["reasoning"].replace("{{modification}}", case.modification)
        messages.append(self.user(text.replace("{{aspects}}", ", ".join([*names, "other"]))))
        reasoning = await self.stage(messages, ReasoningAnswer, names)
        messages.append(self.user(self.prompts["conclusion"]))
        conclusion = await self.stage(messages, ConclusionAnswer)
        return caption.get("claims", []), reasoning, conclusion.get("claims", [])

    async def verify(self, image: str, statement: Sequence[str]) -> float:
        """p_match, the mean over both orders of the letters."""
        shares = []
        for meanings in (("match", "mismatch"), ("mismatch", "match")):
            text = self.prompts["verify"].replace("{{first}}", "A").replace("{{second}}", "B")
            text = text.replace("{{first_meaning}}", meanings[0]).replace("{{second_meaning}}", meanings[1])
            messages = [
                {"role": "system", "content": self.prompts["system"]},
                self.user(text.replace("{{statement}}", ", ".join(statement)), image),
            ]
            choice = await self.ask(messages, max_tokens=1, logprobs=True, top_logprobs=20)
            found = {
                t["token"]: math.exp(t["logprob"]) for t in choice["logprobs"]["content"][0]["top_logprobs"]
            }
            a, b = found.get("A", 0.0), found.get("B", 0.0)
            shares.append((a if meanings[0] == "match" else b) / (a + b) if a + b else 0.5)
        return sum(shares) / 2


@dataclass(slots=True)
class Tally:
    """Means by name."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(float(value))

    def means(self) -> dict[str, float]:
        return {name: round(sum(v) / len(v), 4) for name, v in self.values.items() if v}


async def _measure(client: Client, case: Case, tally: Tally, blank: bool) -> None:
    rng = random.Random(f"{SEED}-{case.reference.domain}-{case.seed}-render")
    pictures = [world.render(look, rng) for look in (case.reference, case.target)]
    if blank:
        pictures = [Image.new("RGB", (128, 128), (128, 128, 128))] * 2
    reference, target = map(jpeg_url, pictures)
    truth, wanted = world.claims(case.reference), world.claims(world.apply(case.reference, case.edits))
    caption, reasoning, conclusion = await client.chain(case, reference)
    head = "blank_" if blank else ""
    tally.add(f"{head}caption", caption == truth)
    tally.add(f"{head}conclusion", conclusion == wanted)
    if not blank:
        for claim in caption:
            tally.add("claims_right", claim in truth)
        tally.add("edits", reasoning.get("edits") == [edit.as_dict() for edit in case.edits])
        tally.add("kept", reasoning.get("kept") == world.kept(case.reference, case.edits))
    shown = world.claims(case.target)
    right, random_, near = [
        await client.verify(target, statement)
        for statement in (shown, world.claims(case.other), world.claims(case.neighbour))
    ]
    tally.add(f"{head}verify_random", ((right >= 0.5) + (random_ < 0.5)) / 2)
    tally.add(f"{head}verify_neighbour", ((right >= 0.5) + (near < 0.5)) / 2)
    if blank:
        return
    for name, p in (("right", right), ("random", random_), ("neighbour", near)):
        tally.add(f"accepted_{name}_at_.95", p >= 0.95)
    rng = random.Random(case.seed)
    held = rng.random() < 0.5
    wrong = [claim for claim in world.claims(case.neighbour) if claim not in shown]
    p = await client.verify(target, [rng.choice(shown if held else wrong)])
    tally.add("verify_one_claim", (p >= 0.5) == held)


async def evaluate(
    url: str, model: str, prompts: Path, count: int, blank: int, in_flight: int = 32
) -> dict[str, dict[str, float]]:
    """Bars of each domain on `count` held-out triplets, and on `blank` of them with gray pictures."""
    texts = {p.stem: p.read_text(encoding="utf-8").strip() for p in sorted(prompts.glob("*.md"))}
    found: dict[str, dict[str, float]] = {}
    domains: tuple[world.Domain, ...] = ("garments", "scenes")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        client = Client(session, url.rstrip("/"), model, texts, asyncio.Semaphore(in_flight))
        for domain in domains:
            tally = Tally()
            before, started = client.requests, asyncio.get_running_loop().time()
            cases = [draw_case(domain, k) for k in range(count)]
            jobs = [_measure(client, case, tally, False) for case in cases]
            jobs += [_measure(client, case, tally, True) for case in cases[:blank]]
            await asyncio.gather(*jobs)
            seconds = asyncio.get_running_loop().time() - started
            rate = (client.requests - before) / seconds
            found[domain] = {**tally.means(), "triplets": count, "requests_per_second": round(rate, 1)}
    return found
