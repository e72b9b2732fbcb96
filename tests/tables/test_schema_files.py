"""schemas/json/ is what `python -m schemas` writes, and what is checked against it fits."""

from __future__ import annotations

import json

import jsonschema

from schemas.__main__ import FOLDER, documents, text
from tests.tables.rows import make_row


def test_the_json_schemas_are_current() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == {
        name: text(document) for name, document in documents().items()
    }


def test_a_row_fits_its_json_schema_and_a_row_without_a_column_does_not() -> None:
    schema = documents()["row.json"]
    row = json.loads(make_row(1).model_dump_json(by_alias=True))
    jsonschema.validate(row, schema)
    del row["verdict"]
    assert not jsonschema.Draft202012Validator(schema).is_valid(row)
