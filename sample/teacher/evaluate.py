"""Measure the teacher's bars through a running server, on held-out triplets with seeds of their own."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from PIL import Image

from sample import world
from sample.claim_words import reworded
from sample.teacher.asking import Client, jpeg_url
from sample.teacher.draw import SEED, Case, draw_case, draw_settled, draw_shown_edit, spoilt
from sample.teacher.spelling import compact, edit_text


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
    await _measure_questions(client, case, tally, reference, target)


async def _measure_questions(client: Client, case: Case, tally: Tally, reference: str, target: str) -> None:
    """Single claims, edits, settled claims and coverage: each right or wrong at even odds."""
    rng = random.Random(case.seed)
    shown = world.claims(case.target)
    held = rng.random() < 0.5
    wrong = [claim for claim in world.claims(case.neighbour) if claim not in shown]
    p = await client.verify(target, [rng.choice(shown if held else wrong)])
    tally.add("verify_one_claim", (p >= 0.5) == held)
    edit, truth = draw_shown_edit(rng, case.target)
    p = await client.letter(client.opening(), "verify_edit", target, edit=edit_text(edit))
    tally.add("verify_edit", (p >= 0.5) == truth)
    told = [
        *client.opening(),
        client.user(client.prompts["caption"], reference),
        {"role": "assistant", "content": compact({"claims": world.claims(case.reference)})},
    ]
    settled = draw_settled(rng, case.reference)
    claim = reworded(rng, settled.claim) if rng.random() < 0.5 else settled.claim
    p = await client.letter(told, "follows", None, modification=settled.modification, claim=claim)
    tally.add("follows", (p >= 0.5) == settled.settled)
    right = rng.random() < 0.5
    edits = case.edits if right else spoilt(rng, case.reference, case.edits)
    text = "; ".join(map(edit_text, edits))
    p = await client.letter(told, "covers", None, modification=case.modification, edits=text)
    tally.add("covers", (p >= 0.5) == right)


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
