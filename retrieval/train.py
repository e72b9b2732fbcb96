"""Training, read from top to bottom: next batch, two losses, one optimiser step, metrics, checkpoint.

A run is a function of its settings: killed and started again, it goes on at the exact example with the exact
state and writes the same loss curve. OUT holds `metrics.jsonl`, `state-<step>/` (the last checkpoint with the
optimiser's moments) and, at the end, `model/`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from annotate.errors import OutputError, RunIncomplete, UsageError
from annotate.files import write_output
from retrieval import checkpoint, distributed
from retrieval.conversation import image_prompt, query_prompt, wording_digest
from retrieval.data import Example, chances_of, examples, hard_negatives_a_row
from retrieval.encode import parts
from retrieval.gradcache import Chunk, Embedded, backward
from retrieval.inputs import Batch
from retrieval.model import CirModel
from retrieval.objective import info_nce, keys_tensor, known_positives
from retrieval.saving import only_ours, writing
from retrieval.schedule import TrainSettings, learning_rate, loss_weights
from retrieval.sights import KeptSights, Sights, sights_of
from retrieval.sources import Source, data_digest
from retrieval.training_state import cut_metrics, resume, save_state, steps_done

METRICS = "metrics.jsonl"
RUN = "run.json"


class Diverged(RunIncomplete):
    """A loss that is no number: this run ends nowhere."""


def train(
    model: CirModel,
    base: str | Path,
    sources: Sequence[Source],
    settings: TrainSettings,
    out: Path,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
    kept: KeptSights | None = None,
) -> Path:
    """Train to `settings.steps`, or go on from where OUT stands; returns the folder of the finished model.

    `kept`: what earlier runs with the same base and images saw.

    Raises `OutputError` when OUT holds another run, `Diverged` when the loss is no number (with the batch's
    ids), `InputError` for an image that has changed.
    """
    identity = {
        "model": dataclasses.asdict(model.settings),
        "train": settings.telling(),
        "data": data_digest(sources),
        "base": checkpoint.base_digest(base),
        "wording": wording_digest(),
    }
    if distributed.rank():
        say = _silence
    if settings.batch % distributed.world_size():
        raise UsageError(f"batch {settings.batch} is no multiple of {distributed.world_size()} processes")
    chances_of(sources, settings.dataset_weights())  # refused before OUT is claimed
    only_ours(out / "model", checkpoint.CARD)
    _claim(out, identity)
    finished = (out / "model" / checkpoint.CARD).is_file()
    if not distributed.agree(json.dumps([identity, finished, steps_done(out)])):
        raise OutputError(
            f"{out}: the processes find other data or another state there; give all of them one shared folder"
        )
    if finished:
        say(f"{out / 'model'} is finished already")
        return out / "model"
    if settings.hard_negatives:
        found = hard_negatives_a_row(sources, settings.hard_negatives)
        say(f"{found:.1f} hard negatives a row on average, {settings.hard_negatives} asked for")
    if settings.cpu_bf16:
        model.quick_cpu_bf16()
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = _optimiser(named, settings)
    start = resume(model, named, optimiser, out, say)
    metrics = cut_metrics(out / METRICS, start)
    recipe = sources[0].manifest.image_recipe
    sights = sights_of(model, recipe, settings.blank == "image", kept or KeptSights())
    stream = examples(
        sources,
        settings.seed,
        skip=start * settings.batch,
        weights=settings.dataset_weights(),
        captions=settings.captions,
        hard_negatives=settings.hard_negatives,
        hold_out=settings.hold_out,
    )
    began = time.monotonic()
    for step in range(start, settings.steps):
        model.train()
        torch.manual_seed(settings.seed * 1_000_003 + step)  # dropout is the same after a resume
        batch = list(islice(stream, settings.batch))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(settings, step)
        terms = train_step(model, optimiser, list(named.values()), batch, settings, step, sights)
        if distributed.rank() == 0:
            metrics.append({"step": step, **terms})
            with writing(out), (out / METRICS).open("a") as handle:
                handle.write(json.dumps(metrics[-1]) + "\n")
        done = step + 1
        if done % max(1, settings.steps // 20) == 0 or done == settings.steps:
            say(_progress(done, start, settings, terms, time.monotonic() - began))
        if done % settings.save_every == 0 and done < settings.steps and distributed.rank() == 0:
            save_state(model, named, base, optimiser, out, done)
    if distributed.rank() == 0:
        about = {
            **identity,
            "train": settings.as_json(),
            "recipe": recipe,
            "last": metrics[-1] if metrics else {},
        }
        checkpoint.save(model, base, out / "model", about)
    return out / "model"


def _silence(line: str) -> None:
    """What the other processes say."""


def train_step(
    model: CirModel,
    optimiser: torch.optim.Optimizer,
    trained: Sequence[torch.nn.Parameter],
    batch: Sequence[Example],
    settings: TrainSettings,
    step: int,
    sights: tuple[Sights, Sights],
) -> dict[str, float]:
    """One optimiser step over the global `batch`; each rank embeds its own part. Returns the named terms."""
    weight_text, weight_contrast = loss_weights(settings, step)
    chains = [example.chain for example in batch]
    if settings.shuffle_chains:
        chains = chains[1:] + chains[:1]
    share = slice(distributed.rank(), None, distributed.world_size())
    mine, mine_chains = list(batch)[share], chains[share]
    queries = _query_chunks(model, mine, mine_chains, settings, sights)
    images, keys = _image_chunks(model, mine, settings, sights[1]) if weight_contrast else ([], [])
    positives = keys_tensor([example.positive_keys for example in mine]).to(model.device)
    own_keys = torch.tensor(keys, dtype=torch.int64, device=model.device)

    def contrast(vectors: Tensor, candidates: Tensor) -> Tensor:
        if not weight_contrast:
            return vectors.new_zeros(())
        everyone, offset = distributed.gather(candidates)
        everyone_keys, _ = distributed.gather(own_keys)
        own = offset + torch.arange(len(vectors), device=vectors.device)
        masked = known_positives(positives, everyone_keys, own)
        return info_nce(vectors, everyone, own, masked, model.temperature())

    def chain_weight(tokens: int) -> float:
        everyones = distributed.total(tokens, model.device)
        return weight_text * distributed.world_size() / everyones if everyones else 0.0

    optimiser.zero_grad(set_to_none=True)
    terms = backward(queries, images, contrast, weight_contrast, chain_weight, settings.grad_cache)
    distributed.average_gradients(trained)
    norm = float(torch.nn.utils.clip_grad_norm_(list(trained), settings.clip))
    tokens = distributed.total(terms["chain_tokens"], model.device)
    nll = distributed.total(terms["chain_nll"], model.device) / max(1.0, tokens)
    contrastive = distributed.total(terms["contrastive"], model.device) / distributed.world_size()
    loss = weight_text * nll + weight_contrast * contrastive
    if not math.isfinite(loss) or not math.isfinite(norm):
        ids = " ".join(example.triplet_id for example in batch)
        raise Diverged(
            f"step {step}: loss {loss}, gradient norm {norm}; lower the learning rate; batch: {ids}"
        )
    optimiser.step()
    model.temperature.keep_in_range()
    return {
        "loss": loss,
        "contrastive": contrastive,
        "chain": nll,
        "gradient_norm": norm,
        "learning_rate": optimiser.param_groups[0]["lr"],
        "temperature": math.exp(-float(model.temperature.log_scale.detach())),
    }


def _query_chunks(
    model: CirModel,
    batch: Sequence[Example],
    chains: Sequence[str],
    settings: TrainSettings,
    sights: tuple[Sights, Sights],
) -> list[Chunk]:
    def read(part: slice) -> Batch:
        turns = [
            model.reader.user_turn(
                sights[0].load(example.reference, example.reference_digest),
                query_prompt("" if settings.blank == "text" else example.text),
            )
            for example in batch[part]
        ]
        written = [model.reader.chain_ids(chain) for chain in chains[part]] if settings.chain else None
        return model.reader.embedding_batch(turns, written)

    return [_chunk(model, settings, partial(read, part)) for part in parts(len(batch), settings.chunk)]


def _image_chunks(
    model: CirModel, batch: Sequence[Example], settings: TrainSettings, sights: Sights
) -> tuple[list[Chunk], list[int]]:
    """Targets in the order of the queries, then hard negatives; the key of each."""
    wanted: list[tuple[Path, str | None]] = [(example.target, example.target_digest) for example in batch]
    keys = [example.target_key for example in batch]
    for example in batch:
        for path, key in zip(example.hard, example.hard_keys, strict=True):
            if sights.can_show(path):  # nobody looked at a member that is no row's reference or target
                wanted.append((path, None))
                keys.append(key)

    def read(part: slice) -> Batch:
        turns = [model.reader.user_turn(sights.load(path, sha), image_prompt()) for path, sha in wanted[part]]
        return model.reader.embedding_batch(turns)

    return [_chunk(model, settings, partial(read, part)) for part in parts(len(wanted), settings.chunk)], keys


def _chunk(model: CirModel, settings: TrainSettings, read: Callable[[], Batch]) -> Chunk:
    """A forward pass over what `read` gives. GradCache makes two: decoding pictures costs a processor about
    what the pass costs a GPU, so what was read for the first is kept for the second."""
    kept: list[Batch] = []

    def run() -> Embedded:
        if kept:
            batch = kept.pop()
        else:
            batch = read()
            kept.extend([batch] if settings.grad_cache else [])
        # similarities are left in float32 by the objective, which bfloat16 would blur
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.cpu_bf16):
            result: Embedded = model(batch)
        return result

    return run


def refuse_a_run(out: Path) -> None:
    """Raise `OutputError` where one training run lies, for what puts a `model/` of its own there."""
    if (out / RUN).is_file():
        raise OutputError(f"{out}: holds a training run, whose model would be lost; choose another --out")


def _claim(out: Path, identity: dict[str, Any]) -> None:
    """Write the run's identity, or compare it with the one that is there. Raises `OutputError` when
    they differ, and for metrics or a model without one: they are of no run."""
    path = out / RUN
    text = json.dumps(identity, indent=2, sort_keys=True) + "\n"
    if path.is_file() and path.read_text() != text:
        raise OutputError(
            f"{out}: holds another training run, or another version's (see run.json); choose another --out"
        )
    for name in (METRICS, "model") if not path.is_file() else ():
        if (out / name).exists():
            raise OutputError(
                f"{out / name}: is of no training run (no {RUN} beside it); choose another --out"
            )
    if distributed.rank() == 0 and not path.is_file():
        write_output(path, text)


def _optimiser(named: Mapping[str, torch.nn.Parameter], settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only, neither on norms and biases nor on `<emb>` and the
    temperature."""
    groups = [
        {"params": [p for p in named.values() if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in named.values() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, settings.beta2))


def _progress(done: int, start: int, settings: TrainSettings, terms: dict[str, float], seconds: float) -> str:
    each = seconds / (done - start)
    left = round(each * (settings.steps - done))
    parts = f"chain {terms['chain']:.3f}, contrastive {terms['contrastive']:.3f}"
    speed = f"{settings.batch / each:.1f} triplets/s  {left // 60}:{left % 60:02d} left"
    return f"step {done}/{settings.steps}  loss {terms['loss']:.3f} ({parts})  {speed}"
