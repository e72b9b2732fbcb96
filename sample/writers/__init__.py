"""One writer a dataset: the real on-disk layout, the datasets' own dirt, the truth beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sample.writers.circo import write_circo
from sample.writers.cirr import write_cirr
from sample.writers.fashioniq import write_fashioniq
from sample.writers.plan import Sizes, Written

WRITERS: dict[str, Callable[[Path, int, Sizes, bool], Written]] = {
    "cirr": write_cirr,
    "fashioniq": write_fashioniq,
    "circo": write_circo,
}

__all__ = ["WRITERS", "Sizes", "Written"]
