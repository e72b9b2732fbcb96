"""The chain as text: what the retriever learns to write, letter by letter."""

from __future__ import annotations

from retrieval.conversation import chain_part, chain_text
from schemas.answers import Edit

EDITS = [Edit.model_validate({"aspect": "moon", "from": "none", "to": "large red"})]


def test_edits_and_what_is_kept_come_before_the_rationale_a_line_each() -> None:
    chain = chain_text("a cone", "add a\n moon", EDITS, ["cone", "background"], "a cone, a moon")
    assert chain == (
        "caption: a cone\nedits: moon: none -> large red\nkept: cone, background\n"
        "rationale: add a moon\nconclusion: a cone, a moon"
    )


def test_a_part_is_found_by_its_name_and_none_where_the_model_did_not_get_that_far() -> None:
    chain = "caption: a cone\nedits: moon: none -> large red\nkept:"
    assert chain_part(chain, "edits") == "moon: none -> large red"
    assert chain_part(chain, "conclusion") is None
