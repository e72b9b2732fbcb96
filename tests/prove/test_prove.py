"""The proving ground: each corruption spoils what it says, and a teacher who sees all leaves none through."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest

from annotate.checks import DEFAULT_CHECKS
from annotate.checks.ladder import Costs
from annotate.images import ImageStore
from annotate.prompts import load_prompts, prompt_version
from annotate.selection import DEFAULT_THRESHOLDS
from annotate.settings.declared import SAMPLE_TEACHER
from annotate.stages import Writer
from annotate.teacher.launch import served_name
from sample import world
from sample.prove.cases import Case, draw_case
from sample.prove.command import ASKED, DOCS, WATCHED
from sample.prove.corruptions import CORRUPTIONS
from sample.prove.measure import Caught, Leaks, pictures, prove, spoilt_rows
from sample.prove.table import BEGIN, END, as_json, renew, table
from tests.prove.oracle import WorldOracle

RECIPE = "fit448-q90-v1"
ROWS, SEED = 14, 3


def writer(domain: world.Domain) -> Writer:
    return Writer("oracle", load_prompts(), world.aspects(domain), RECIPE)


def oracle(folder: Path, rows: int) -> WorldOracle:
    images = ImageStore(folder / "images", RECIPE)
    looks, requests = {}, {}
    for _, case in spoilt_rows(rows, SEED, True):
        shown = pictures(case, folder / "rendered", images)
        for picture, look in zip(shown, (case.reference, case.target, *case.lookalikes), strict=True):
            looks[picture] = None if case.treatment else look
        good = draw_case(case.target.domain, SEED, int(case.name.rpartition("-")[2]))
        requests[case.modification] = (good.reference, good.edits)
    return WorldOracle(looks, requests)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Caught], Costs]:
    folder = tmp_path_factory.mktemp("prove")
    teacher = oracle(folder, ROWS)
    found, costs = asyncio.run(
        prove(
            teacher.ask,
            writer,
            folder,
            ASKED,
            DEFAULT_THRESHOLDS,
            watched=WATCHED,
            rows=ROWS,
            seed=SEED,
            full=True,
        )
    )
    return {one.kind: one for one in found}, costs


def test_a_teacher_who_sees_all_keeps_every_clean_row(measured: tuple[dict[str, Caught], Costs]) -> None:
    found, costs = measured
    assert (found["clean"].rows, found["clean"].rejected) == (ROWS, 0)
    assert found["clean_reworded"].caught["no_leak"] == 0
    default = {check.name for check in DEFAULT_CHECKS}
    assert sum(asked for name, asked in costs.requests.items() if name in default) / ROWS <= 15


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_teacher_who_sees_all_leaves_no_spoilt_row_through(
    measured: tuple[dict[str, Caught], Costs], kind: str
) -> None:
    found = measured[0][kind]
    if kind == "detail_leaked":  # this teacher lets other words than the captions' pass
        leaky = [case.chain.conclusion for name, case in spoilt_rows(ROWS, SEED, True) if name == kind]
        plain = sum(all(map(world.parse_claim, conclusion.claims)) for conclusion in leaky)
        assert found.caught["no_leak"] == plain > 0
    elif kind == "conclusion_bare":  # true, and says too little: counted, not rejected
        assert (found.caught["carried"], found.rejected) == (found.rows, 0)
    else:
        assert found.rejected == found.rows, found


@pytest.mark.parametrize(
    ("kind", "score"),
    [
        ("target_lookalike", "p_edits"),
        ("reference_swapped", "p_grounded"),
        ("edit_dropped", "p_covers"),
        ("edit_invented", "p_covers"),
        ("edit_value", "p_covers"),
        ("edit_reversed", "p_covers"),
        ("caption_falsified", "p_grounded"),
        ("conclusion_unedited", "coherent"),
        ("conclusion_vague", "coherent"),
        ("text_looped", "form"),
        ("meta_words", "form"),
        ("pictures_noise", "p_grounded"),
    ],
)
def test_each_corruption_is_caught_by_the_score_made_for_it(
    measured: tuple[dict[str, Caught], Costs], kind: str, score: str
) -> None:
    assert measured[0][kind].share(score) == 1.0


def test_a_margin_tells_a_lookalike_where_nothing_else_differs_and_rejects_nothing(
    measured: tuple[dict[str, Caught], Costs],
) -> None:
    found = measured[0]
    assert 0.2 < found["target_lookalike"].share("margin") < 1.0
    assert found["clean"].share("margin") == found["clean"].rejected == 0


def test_leaks_are_counted_by_claim(measured: tuple[dict[str, Caught], Costs]) -> None:
    found = measured[0]
    leaked = found["detail_leaked"].leaks
    assert 0 < leaked.found <= leaked.leaked and leaked.alarms == 0 < leaked.blind
    assert found["clean"].leaks.leaked == found["clean"].leaks.alarms == 0 < found["clean"].leaks.blind
    shown = table(list(found.values()), {"form": 1.0})
    assert f"found by `leak_claims`: {leaked.found} of {leaked.leaked} (" in shown


def test_what_a_target_lacks_unmentioned_spoils_nothing() -> None:
    cases = [draw_case("garments", 1, number) for number in range(60)]
    differing = [case for case in cases if world.apply(case.reference, case.edits) != case.target]
    assert 15 <= len(differing) <= 40
    for case in cases:
        assert all(case.target.value(edit.aspect) == edit.new for edit in case.edits)


def test_rows_are_the_same_for_the_same_seed_and_each_kind_comes_in_turn() -> None:
    first, again = list(spoilt_rows(64, 5, False)), list(spoilt_rows(64, 5, False))
    assert first == again
    counted = Counter(kind for kind, _ in first)
    assert (counted["clean"], counted["clean_reworded"]) == (64, 32)
    assert sum(counted[kind] for kind in CORRUPTIONS) >= 48
    assert {kind for kind, case in first if isinstance(case, Case)} >= set(CORRUPTIONS) - {"edit_dropped"}


def test_the_table_goes_between_its_marks_and_the_data_beside_it(tmp_path: Path) -> None:
    found = [Caught("clean", 10, {"form": 0}, 0), Caught("text_looped", 10, {"form": 9}, 9)]
    shown = table(found, {"form": 1.0})
    assert "| text_looped | 10 | 90.0 | 90.0 |" in shown and "| *clean* | 10 | · | · |" in shown
    page = tmp_path / "trust.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    renew(page, shown)
    assert page.read_text().startswith("before\n") and page.read_text().endswith(f"{END}\nafter\n")
    assert "old" not in page.read_text() and shown in page.read_text()
    data = json.loads(as_json(found, {"form": 1.0}, {"form": 20}, {"seed": 1}))
    assert data["requests_per_clean_row"] == 2.0 and data["kinds"][1]["caught"] == {"form": 9}


def test_the_page_shows_the_figures_that_were_measured_with_what_is_shipped() -> None:
    measured = json.loads((DOCS / "trust.json").read_text())
    rows = [Caught(**{**kind, "leaks": Leaks(**kind["leaks"])}) for kind in measured["kinds"]]
    assert table(rows, measured["thresholds"]) in (DOCS / "trust.md").read_text()
    assert measured["teacher"] == served_name(SAMPLE_TEACHER)
    assert measured["prompt_version"] == prompt_version(load_prompts())
