"""`python -m schemas` writes schemas/json/: the JSON Schemas of answers, rows, manifest and triplets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from schemas.answers import CaptionAnswer, ConclusionAnswer, ReasoningAnswer, response_schema
from schemas.calibration import Calibration, Label
from schemas.manifest import Manifest
from schemas.row import Row
from schemas.triplet import Triplet

FOLDER = Path(__file__).resolve().parent / "json"


def documents() -> dict[str, dict[str, Any]]:
    """File name -> JSON Schema; answers as sent to the server, save for the dataset's list of aspects."""
    return {
        "caption.json": response_schema(CaptionAnswer),
        "reasoning.json": response_schema(ReasoningAnswer),
        "conclusion.json": response_schema(ConclusionAnswer),
        "row.json": Row.model_json_schema(by_alias=True, mode="serialization"),
        "manifest.json": Manifest.model_json_schema(mode="serialization"),
        "label.json": Label.model_json_schema(),
        "thresholds.json": Calibration.model_json_schema(mode="serialization"),
        "triplet.json": TypeAdapter(Triplet).json_schema(mode="serialization"),
    }


def text(document: dict[str, Any]) -> str:
    """As it lies in the folder."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m schemas", description=__doc__).parse_args()
    FOLDER.mkdir(exist_ok=True)
    for name, document in documents().items():
        (FOLDER / name).write_text(text(document), encoding="utf-8")
