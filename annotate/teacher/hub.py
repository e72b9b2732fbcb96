"""What of a hub model lies in this machine's Hugging Face cache; reads folders only, asks no network.

The layout is the documented one: `models--ORG--NAME/refs/main` names a commit, `snapshots/COMMIT/` its files.
It is read here and not by `huggingface_hub`, which fixes the cache's place when it is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from annotate.text import parse_json

_INDEX = "model.safetensors.index.json"
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_YES = {"1", "on", "yes", "true"}


@dataclass(frozen=True, slots=True)
class Cached:
    """Where the cache is, bytes of the weight files there, and how many of how many files those are.

    `wanted` is 0 when nothing of the model is there, since how many there will be is not known then.
    """

    cache: Path
    weights: int
    found: int
    wanted: int

    @property
    def whole(self) -> bool:
        """Whether configuration and all weights are there."""
        return 0 < self.wanted == self.found


def is_hub_name(text: str) -> bool:
    """Whether `text` may name a model of the hub: its owner and its name."""
    return _NAME.fullmatch(text) is not None


def cached(name: str, environment: Mapping[str, str]) -> Cached:
    """Look for the hub model `name` where Hugging Face's own variables put the cache."""
    cache = cache_folder(environment)
    repository = cache / f"models--{name.replace('/', '--')}"
    try:
        commit = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
        return _found(cache, repository / "snapshots" / commit)
    except (OSError, ValueError, AttributeError, TypeError):  # not there, or no JSON of the kind
        return Cached(cache, 0, 0, 0)


def cache_folder(environment: Mapping[str, str]) -> Path:
    """HF_HUB_CACHE, or hub/ below HF_HOME, or the default."""
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = environment.get("HF_HOME") or str(Path(base) / "huggingface")
    place = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return Path(os.path.expandvars(place)).expanduser()


def is_offline(environment: Mapping[str, str]) -> bool:
    """Whether the environment forbids a download."""
    return any(
        environment.get(name, "").lower() in _YES for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _found(cache: Path, snapshot: Path) -> Cached:
    """Raises for a snapshot without a readable configuration or index."""
    parse_json((snapshot / "config.json").read_bytes())
    index = snapshot / _INDEX
    if index.exists():
        names = sorted(set(parse_json(index.read_bytes()).get("weight_map", {}).values()))
    else:
        names = sorted(path.name for path in snapshot.glob("*.safetensors")) or ["model.safetensors"]
    there = [snapshot / name for name in names if (snapshot / name).is_file()]  # a dangling link is no file
    return Cached(cache, sum(path.stat().st_size for path in there), len(there), len(names))
