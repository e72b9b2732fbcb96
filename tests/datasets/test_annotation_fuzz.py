"""Damaged annotation files give triplets or an InputError, nothing else, and never a hang."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.datasets import find_images, load_triplets
from annotate.datasets.captions import join_captions
from annotate.errors import InputError

MakeRoot = Callable[..., Path]
RecordsOf = Callable[[str], list[dict[str, Any]]]
FILES = {
    "fashioniq": ("train", "captions/cap.dress.train.json"),
    "cirr": ("train", "captions/cap.rc2.train.json"),
    "circo": ("val", "annotations/val.json"),
}
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=[]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def accepted_or_refused(dataset: str, root: Path) -> None:
    split = FILES[dataset][0]
    try:
        triplets = load_triplets(dataset, split, root)
        find_images(dataset, split, root, [t.reference for t in triplets])  # type: ignore[arg-type]
    except InputError as error:
        assert "\n" not in str(error)
        return
    for triplet in triplets:
        joined = join_captions(triplet.modifications, "and")
        joined.encode()
        assert joined or triplet.problem


@pytest.mark.parametrize("dataset", FILES)
@quick
@given(data=st.data())
def test_bytes_replaced_inserted_or_cut_in_a_file(
    dataset: str, data: st.DataObject, make_root: MakeRoot
) -> None:
    root = make_root(dataset)
    path = root / FILES[dataset][1]
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        end = at + data.draw(st.integers(0, 12))
        content[at:end] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b'"', b"\\ud800", b"[", b"{", b"null"])
        )
        content = content or bytearray(b" ")
    path.write_bytes(bytes(content))
    accepted_or_refused(dataset, root)


@pytest.mark.parametrize("dataset", FILES)
@quick
@given(data=st.data())
def test_fields_replaced_by_any_json_value(
    dataset: str, data: st.DataObject, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of(dataset)
    record = data.draw(st.sampled_from(records))
    field = data.draw(st.sampled_from(sorted(record)))
    record[field] = data.draw(json_values)
    root = make_root(dataset)
    (root / FILES[dataset][1]).write_text(json.dumps(records), encoding="utf-8")
    accepted_or_refused(dataset, root)
