"""What this machine's processor can do for the trainings of the sample's small models."""

from __future__ import annotations

import re
from pathlib import Path

import torch


def cpu_knows_bf16(about: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor multiplies bfloat16 itself; one that does not is slower with it than without."""
    try:
        return re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", about.read_text()) is not None
    except OSError:
        return False


def quick_products() -> torch.autocast:
    """Context for a training's forward pass: products in bfloat16 where the processor has them."""
    return torch.autocast("cpu", torch.bfloat16, enabled=cpu_knows_bf16())
