"""What others rely on: flags, manifest keys, columns, reason codes, exit statuses."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from annotate.datasets.dirt import PROBLEMS
from annotate.errors import CirError, InputError, OutputError, RunIncomplete, TeacherRefused, UsageError
from annotate.selection import REASONS
from annotate.settings import add_arguments
from retrieval.__main__ import parser as train_eval_parser
from schemas.manifest import Manifest
from schemas.row import Row

ROOT = Path(__file__).resolve().parents[2]

VARIABLES = (
    "DATASET SPLIT CATEGORY ROOT OUT LIMIT SEED TEACHER TEACHER_FLAGS TEACHER_URL TEACHER_MODEL "
    "TEACHER_SEES_TARGET ALLOW_MISSING RUNNER CONCURRENCY CHECKS CHANCES GUIDED EARLY_STOP ENCODER_URL "
    "THRESHOLDS"
)
TRAIN_EVAL_VARIABLES = "DATA IMAGE_ROOT EVAL_ROOT BASE_MODEL OUT ABLATIONS"
MANIFEST = (
    "status counts dataset split source root layout image_recipe limit teacher prompts thresholds files "
    "versions checks costs precision"
)
COLUMNS = (
    "triplet_id dataset split category reference reference_digest target target_digest modification "
    "modifications subset positives also_matches native_id notes caption edits kept rationale conclusion "
    "leak_claims verdict reasons teacher teacher_sees_target prompt_version source p_match form coherent "
    "carried p_covers p_grounded p_edits kept_share round_trip margin p_settled no_leak form_findings "
    "claim_grounded claim_match claim_leak skipped_checks attempt"
)
CODES = (
    "malformed_text incoherent_edits not_carried_over edits_mismatch caption_ungrounded target_mismatch "
    "edit_not_shown target_unlike not_found_again fits_lookalike unsettled_claim leaked_claim not_measured "
    "missing_image undecodable_image image_too_large empty_modification exact_repeat "
    "caption_invalid reasoning_invalid conclusion_invalid answer_cut_off teacher_refused no_answer "
    "context_too_long image_rejected"
)


def test_every_make_variable_is_a_flag_of_annotate_run() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings}
    assert {"--" + name.lower().replace("_", "-") for name in VARIABLES.split()} <= flags


def test_every_make_variable_of_train_eval_is_a_flag_that_the_target_passes_on() -> None:
    whole = next(a for a in train_eval_parser()._actions if isinstance(a, argparse._SubParsersAction))
    flags = {flag for action in whole.choices["train-eval"]._actions for flag in action.option_strings}
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile[makefile.index("\ntrain-eval:") :].split("\n\n")[0]
    for name in TRAIN_EVAL_VARIABLES.split():
        flag = "--" + name.lower().replace("_", "-")
        assert flag in flags and re.search(rf"\$\({name}\).*{flag} ", recipe), name


def test_manifest_keys_and_counts() -> None:
    assert set(MANIFEST.split()) <= set(Manifest.model_fields)


def test_columns() -> None:
    assert set(COLUMNS.split()) <= set(Row.model_fields)


def test_reason_codes() -> None:
    assert set(CODES.split()) <= set(REASONS)


def test_every_problem_found_while_reading_has_its_words() -> None:
    assert set(PROBLEMS) <= set(REASONS)


def test_exit_statuses() -> None:
    assert {
        error.exit_status for error in (CirError, UsageError, InputError, OutputError, TeacherRefused)
    } == {2}
    assert RunIncomplete.exit_status == 1
