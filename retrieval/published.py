"""Published numbers of other methods on the real data, each with the protocol it was measured by.

Facts to stand beside; they are never mixed into our tables: ours on the sample world are another thing.
"""

from __future__ import annotations

from dataclasses import dataclass

CIRR_TEST = "cirr/test1, server"
FASHIONIQ_VAL = "fashioniq/val, original gallery, mean of 3 categories"
CIRCO_TEST = "circo/test, server"


@dataclass(frozen=True, slots=True)
class Published:
    """One method's numbers (percent) on one dataset, as its authors print them."""

    method: str
    protocol: str
    numbers: tuple[float, ...]


COLUMNS: dict[str, tuple[str, ...]] = {
    CIRR_TEST: ("R@1", "R@5", "R@10", "R@50", "Rs@1", "Rs@2", "Rs@3"),
    FASHIONIQ_VAL: ("R@10", "R@50"),
    CIRCO_TEST: ("mAP@5", "mAP@10", "mAP@25", "mAP@50"),
}
NOTES = {("ReCALL (CVPR'26)", FASHIONIQ_VAL): "reference excluded"}

PUBLISHED: tuple[Published, ...] = (
    Published("SPRC", CIRR_TEST, (51.96, 82.12, 89.74, 97.69, 80.65, 92.31, 96.60)),
    Published("TME", CIRR_TEST, (53.42, 82.99, 90.24, 98.15, 81.04, 92.58, 96.94)),
    Published("CIR-LVLM", CIRR_TEST, (53.64, 83.76, 90.60, 97.93, 79.12, 92.33, 96.67)),
    Published(
        "Qwen2.5-VL-7B LoRA r16 + InfoNCE", CIRR_TEST, (51.23, 82.15, 90.20, 98.20, 77.57, 91.83, 96.34)
    ),
    Published("ReCALL (CVPR'26)", CIRR_TEST, (55.52, 84.07, 91.83, 98.55, 81.49, 93.35, 97.64)),
    Published("SPRC", FASHIONIQ_VAL, (54.72, 74.97)),
    Published("TME", FASHIONIQ_VAL, (55.15, 75.02)),
    Published("CIR-LVLM", FASHIONIQ_VAL, (56.21, 76.14)),
    Published("Qwen2.5-VL-7B LoRA r16 + InfoNCE", FASHIONIQ_VAL, (53.23, 74.37)),
    Published("ReCALL (CVPR'26)", FASHIONIQ_VAL, (57.04, 76.42)),
    Published("CIReVL-G", CIRCO_TEST, (26.77, 27.59, 29.96, 31.03)),
    Published("OSrCIR-G", CIRCO_TEST, (30.47, 31.14, 35.03, 36.59)),
    Published("WISER-G", CIRCO_TEST, (36.53, 38.14, 40.46, 41.26)),
    Published("MulVec-G", CIRCO_TEST, (41.76, 43.27, 46.27, 47.29)),
)


def published_table() -> str:
    """Markdown: one block a protocol, all marked as measured on real data."""
    lines = ["Published numbers, percent, **on real data** (not comparable with the sample world):"]
    for protocol, columns in COLUMNS.items():
        lines += [
            "",
            f"| {protocol} (on real data) | {' | '.join(columns)} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for row in PUBLISHED:
            if row.protocol == protocol:
                note = NOTES.get((row.method, protocol))
                name = f"{row.method} ({note})" if note else row.method
                lines.append(f"| {name} | {' | '.join(f'{number:.2f}' for number in row.numbers)} |")
    return "\n".join(lines) + "\n"
