"""Published files: the same bytes whatever the shards, whole or not there; what manifest and card count."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotate.checks.ladder import Costs
from annotate.errors import OutputError
from annotate.report import final_screen, pick_examples, write_report
from annotate.shards import publish as publishing
from annotate.shards.plan import make_plan
from annotate.shards.publish import VERDICTS_OF, Origin, publish, rejudge
from annotate.shards.published import read_manifest
from annotate.shards.run import Tools, run_shard
from annotate.shards.writing import writing_of
from annotate.stages import Writer
from annotate.tables import ROW_SCHEMA, parts, read_rows, read_table
from annotate.teacher.request import Ask, Reply, Request
from schemas.manifest import Manifest, Writing
from schemas.triplet import Triplet
from tests.shards.world import ANSWERS, JOB, make_tools, origin, scripted, triplet, verified

TRIPLETS = [triplet(number, reference=f"ref-{number // 2}") for number in range(10)]


def mixed() -> Ask:
    """The edits of triplet 3 are wrong, those of 5 nearly right; 7 cannot be read."""

    def answer(request: Request) -> Reply | None:
        text = " ".join(turn.text for turn in request.turns)
        if "(7)" in text:
            return Reply("nonsense", "stop")
        if request.stage == "covers" and "(3)" in text:
            return verified(request, 0.01)
        return verified(request, 0.06) if request.stage == "covers" and "(5)" in text else None

    return scripted(answer)


def annotate(
    tmp_path: Path,
    ask: Ask,
    triplets: list[Triplet] = TRIPLETS,
    size: int = 256,
    seed: int = 0,
    early_stop: bool = False,
    **changes: Any,
) -> Manifest:
    """A whole run into tmp_path/out, shards in an order drawn by `seed`; `changes` are of its tools."""
    tools = make_tools(tmp_path, ask, TRIPLETS, early_stop=early_stop, **changes)
    plan = make_plan(triplets, JOB, shard_size=size)
    shards = random.Random(seed).sample(plan.shards, len(plan.shards))

    async def run(tools: Tools) -> list[Path]:
        return [(await run_shard(plan, shard, tools)).path for shard in shards]

    return publish(plan, asyncio.run(run(tools)), tmp_path / "out", origin(tools))


def contents(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and "journal" not in path.parts
    }


def test_every_row_is_in_exactly_one_of_three_and_annotations_hold_both_judged_kinds(tmp_path: Path) -> None:
    manifest = annotate(tmp_path, mixed())
    out = tmp_path / "out"
    ids = {name: [row.triplet_id for row in read_rows(parts(out, name))] for name in VERDICTS_OF}
    assert ids["rejected"] == ["cirr/train/3", "cirr/train/5"]
    assert ids["quarantine"] == ["cirr/train/7"]
    assert sorted(ids["train"] + ids["rejected"] + ids["quarantine"]) == sorted(
        t.triplet_id for t in TRIPLETS
    )
    assert ids["annotations"] == sorted(ids["train"] + ids["rejected"])
    assert manifest.counts.model_dump() == {"input": 10, "accepted": 7, "rejected": 2, "quarantined": 1}
    assert manifest.reasons == {"edits_mismatch": 2, "reasoning_invalid": 1}


@pytest.mark.parametrize(("size", "seed"), [(1, 1), (3, 2), (4, 3), (256, 4)])
def test_shard_size_and_order_change_no_byte(tmp_path: Path, size: int, seed: int) -> None:
    annotate(tmp_path / "one", mixed())
    annotate(tmp_path / "other", mixed(), size=size, seed=seed)
    assert contents(tmp_path / "one" / "out") == contents(tmp_path / "other" / "out")


def test_many_files_hold_the_same_rows_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotate(tmp_path / "one", mixed())
    monkeypatch.setattr(publishing, "FILE_ROWS", 3)
    manifest = annotate(tmp_path / "many", mixed(), size=2, seed=5)
    for name in VERDICTS_OF:
        one, many = (list(read_rows(parts(tmp_path / which / "out", name))) for which in ("one", "many"))
        assert one == many
    assert [manifest.files[f"train/part-0000{number}.parquet"].rows for number in range(3)] == [3, 3, 1]


def test_the_manifest_names_every_file_with_its_rows_and_digest(tmp_path: Path) -> None:
    manifest = annotate(tmp_path, mixed())
    out = tmp_path / "out"
    on_disk = {str(path.relative_to(out)): path for name in VERDICTS_OF for path in parts(out, name)}
    assert set(manifest.files) == set(on_disk)
    for name, path in on_disk.items():
        assert manifest.files[name].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert manifest.files[name].rows == read_table(path).num_rows
    assert read_manifest(out) == manifest
    assert str(tmp_path) not in (out / "manifest.json").read_text()


def test_a_part_without_rows_is_a_file_with_the_columns(tmp_path: Path) -> None:
    annotate(tmp_path, scripted())
    (path,) = parts(tmp_path / "out", "quarantine")
    assert read_table(path).schema == ROW_SCHEMA
    assert read_table(path).num_rows == 0


def test_shards_that_are_missing_make_the_manifest_incomplete(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, scripted(), TRIPLETS)
    plan = make_plan(TRIPLETS, JOB, shard_size=4)
    result = asyncio.run(run_shard(plan, plan.shards[0], tools))
    manifest = publish(plan, [result.path], tmp_path / "out", origin(tools))
    assert manifest.status == "incomplete"
    assert (manifest.counts.input, manifest.counts.accepted) == (10, 4)
    assert "INCOMPLETE" in (tmp_path / "out" / "README.md").read_text()


def test_a_triplet_with_two_rows_is_never_published(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, scripted(), TRIPLETS)
    plan = make_plan(TRIPLETS, JOB)
    result = asyncio.run(run_shard(plan, plan.shards[0], tools))
    with pytest.raises(OutputError, match="two rows"):
        publish(plan, [result.path, result.path], tmp_path / "out", origin(tools))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_smaller_run_leaves_no_file_of_the_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "FILE_ROWS", 3)
    annotate(tmp_path, mixed())
    annotate(tmp_path, mixed(), TRIPLETS[:2])
    assert [path.name for path in parts(tmp_path / "out", "train")] == ["part-00000.parquet"]
    assert read_manifest(tmp_path / "out").counts.input == 2


STEPS = [
    *(("write_table", nth) for nth in (1, 2, 4)),
    *(("_replace_folder", nth) for nth in (1, 2, 4)),
    ("dataset_card", 1),
    ("write_atomic", 1),  # the card
    ("write_atomic", 2),  # the manifest
]


@pytest.mark.parametrize(("step", "nth"), STEPS)
def test_a_crash_at_any_step_leaves_a_whole_manifest_or_none_and_the_next_run_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, nth: int
) -> None:
    class Crash(BaseException):
        pass

    annotate(tmp_path / "expected", mixed())
    annotate(tmp_path, scripted())
    calls = 0
    real = getattr(publishing, step)

    def crashing(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Crash
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(publishing, step, crashing)
        with pytest.raises(Crash):
            annotate(tmp_path, mixed())
    out = tmp_path / "out"
    if (out / "manifest.json").exists():
        for name, facts in read_manifest(out).files.items():
            assert hashlib.sha256((out / name).read_bytes()).hexdigest() == facts.sha256
    annotate(tmp_path, mixed())
    assert contents(out) == contents(tmp_path / "expected" / "out")


def guided_teacher() -> Ask:
    """The conclusion of triplet 3 is right only when the target is shown."""

    def answer(request: Request) -> Reply | None:
        if request.stage != "conclusion" or "(3)" not in " ".join(turn.text for turn in request.turns):
            return None
        sees = any(turn.pictures for turn in request.turns[2:])
        return Reply(ANSWERS["conclusion"] if sees else '{"claims":["red ball"]}', "stop")

    return scripted(answer)


def test_rows_of_a_guided_writer_are_counted_and_seen(tmp_path: Path) -> None:
    assert annotate(tmp_path / "blind", scripted()).saw_target == {}
    assert "did not see the target; the" in (tmp_path / "blind" / "out" / "README.md").read_text()
    made = annotate(tmp_path, guided_teacher(), chances=1, guided=True)
    out = tmp_path / "out"
    assert made.counts.accepted == 10
    assert made.saw_target == {"accepted": 1}
    card, words = (out / "README.md").read_text(), "1 of 10 accepted rows were written with the target shown"
    assert words in card and "did not see the target, save for 1 rows" in card
    assert words in " ".join(final_screen(made, pick_examples(out), (), ()).split())
    page = write_report(out, made, lambda digest: None).read_text()
    assert words in page
    assert page.count('<p class="why">written with the target shown</p>') == 1
    stricter = rejudge(out, {"p_match": 1.0})
    assert stricter.saw_target == {"rejected": 1}
    assert "0 of 0 accepted rows and 1 of 10 rejected ones were" in (out / "README.md").read_text()


def test_contaminated_rows_are_counted_and_not_rejected(tmp_path: Path) -> None:
    annotate(tmp_path / "clean", mixed())
    assert "No row's image was found" in (tmp_path / "clean" / "out" / "README.md").read_text()
    both = ("near_repeat", "reference_in_test1", "target_in_val")
    noted = [triplet(1, notes=("target_in_val",)), triplet(2, notes=both), triplet(3, notes=both[2:])]
    made = annotate(tmp_path, mixed(), noted)
    assert made.counts.accepted == 2
    assert made.contamination == {
        "reference_in_test1": {"accepted": 1},
        "target_in_val": {"accepted": 2, "rejected": 1},
    }
    assert "| `target_in_val` | 2 | 3 |" in (tmp_path / "out" / "README.md").read_text()
    assert rejudge(tmp_path / "out", {"p_match": 1.0}).contamination["target_in_val"] == {"rejected": 3}


def test_the_card_says_what_is_there_and_warns_of_leakage(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| `train/` | 7 |" in card and "edits_mismatch" in card and "Rendered sample" in card
    assert "LEAKAGE" not in card
    tools = make_tools(tmp_path, mixed(), TRIPLETS)
    writer = Writer("tiny", tools.writer.prompts, (), "x", sees_target=True)
    seeing = Origin("user", "r", "flat", writer, {}, (), Costs(), writing_of(tools), {})
    plan = make_plan(TRIPLETS, JOB)
    publish(plan, [], tmp_path / "other", seeing)
    assert "LEAKAGE" in (tmp_path / "other" / "README.md").read_text()


def test_rows_made_with_another_list_of_aspects_are_other_rows(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, mixed(), TRIPLETS)
    other = replace(tools, writer=replace(tools.writer, aspects=("sky",)))
    assert writing_of(tools).aspects == tools.writer.aspects
    assert writing_of(other) != writing_of(tools)


def test_what_an_earlier_version_wrote_of_its_rows_loads_and_keeps_its_digest(tmp_path: Path) -> None:
    before = writing_of(make_tools(tmp_path, mixed(), TRIPLETS)).model_dump(exclude={"aspects"})
    loaded = Writing.model_validate(before)
    assert loaded.aspects == ()
    assert loaded.model_dump() == before
