"""The shipped teacher: whole, small, loadable, and spelt as the server will ask."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from safetensors import safe_open

from sample import world
from sample.teacher.__main__ import main
from tests.e2e.test_teacher_bars import BARS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "sample" / "models" / "teacher"
MODELS = ROOT / "sample" / "models"
MEGABYTE = 2**20


def test_all_models_of_the_repository_together_stay_below_24_megabytes() -> None:
    total = sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file())
    assert total <= 24 * MEGABYTE


def test_the_teacher_has_at_most_5_and_a_half_million_parameters_in_float16() -> None:
    count = 0
    with safe_open(FOLDER / "model.safetensors", framework="numpy") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - safe_open is no mapping
            part = tensors.get_slice(name)
            assert part.get_dtype() == "F16", name
            size = 1
            for extent in part.get_shape():
                size *= extent
            count += size
    assert 1_000_000 < count <= 5_500_000


def test_no_file_of_the_folder_can_run_code_when_loaded() -> None:
    endings = {path.suffix for path in FOLDER.iterdir()}
    assert endings <= {".safetensors", ".json", ".jinja", ".md", ".jsonl", ".txt"}
    assert "auto_map" not in json.loads((FOLDER / "config.json").read_text())


def test_the_card_s_figures_keep_the_bars_that_are_tested() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in card.splitlines() if line[:1] == "|"]
    barred = {
        name: (float(one), float(other), float(bar))
        for name, one, other, bar in rows
        if bar[:1] == "0" and "," not in one
    }
    assert sorted(bar for _, _, bar in barred.values()) == sorted(BARS.values())
    assert all(min(one, other) >= bar for one, other, bar in barred.values())
    assert "python -m sample.teacher evaluate" in card and "test_teacher_bars.py" in card


@pytest.fixture(scope="module")
def tokenizer():  # type: ignore[no-untyped-def]
    import transformers  # seconds

    return transformers.AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


def test_special_tokens_are_single_and_the_end_of_utterance_ends_generation(tokenizer) -> None:  # type: ignore[no-untyped-def]
    from sample.teacher.tokens import EOS, SPECIAL

    for token in SPECIAL:
        assert len(tokenizer(token, add_special_tokens=False)["input_ids"]) == 1
    generation = json.loads((FOLDER / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.convert_tokens_to_ids(EOS)
    assert json.loads((FOLDER / "processor_config.json").read_text())["image_seq_len"] == 16


def test_any_text_survives_tokenising(tokenizer) -> None:  # type: ignore[no-untyped-def]
    for text in ('{"claims":["long sleeves","naïve café"]}', "Ünïcode ✓ 漢字\n\ttabs  blanks", "", "A", "B"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_training_sequences_are_the_chat_template_s_tokens(tokenizer, domain: world.Domain) -> None:  # type: ignore[no-untyped-def]
    from sample.teacher.draw import draw_triplet
    from sample.teacher.spelling import compact
    from sample.teacher.talk import Talk

    talk = Talk(tokenizer, ROOT / "prompts")
    rng = random.Random(f"{domain}-template")
    for _ in range(20):
        look = world.draw_look(rng, domain)
        edits, text = draw_triplet(rng, look)
        reasoning_prompt = talk.prompts["reasoning"].replace("{{modification}}", text)
        reasoning_prompt = reasoning_prompt.replace(
            "{{aspects}}", ", ".join([*world.aspects(domain), "other"])
        )
        reasoning = {
            "rationale": world.rationale(edits),
            "edits": [edit.as_dict() for edit in edits],
            "kept": world.kept(look, edits),
        }
        turns = [
            ("system", talk.prompts["system"]),
            ("user", [{"type": "image"}, {"type": "text", "text": talk.prompts["caption"]}]),
            ("assistant", compact({"claims": world.claims(look)})),
            ("user", [{"type": "text", "text": reasoning_prompt}]),
            ("assistant", compact(reasoning)),
            ("user", [{"type": "text", "text": talk.prompts["conclusion"]}]),
            ("assistant", compact({"claims": world.claims(world.apply(look, edits))})),
        ]
        messages = [{"role": role, "content": content} for role, content in turns]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
        image = "<fake_token_around_image><global-img>" + "<image>" * 16 + "<fake_token_around_image>"
        expected = tokenizer(rendered.replace("<image>", image), add_special_tokens=False)["input_ids"]
        assert talk.conversation(look, edits, text).ids == expected


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_one_letter_questions_are_practised_in_the_prompts_own_words(tokenizer, domain: world.Domain) -> None:  # type: ignore[no-untyped-def]
    from sample.teacher.draw import draw_settled
    from sample.teacher.spelling import MEANINGS, edit_text
    from sample.teacher.talk import Talk

    talk = Talk(tokenizer, ROOT / "prompts")
    rng = random.Random(f"{domain}-questions")

    def asked(prompt: str, swapped: bool, **values: str) -> list[int]:
        first, second = MEANINGS[prompt][::-1] if swapped else MEANINGS[prompt]
        text = talk.prompts[prompt]
        options = {"first": "A", "second": "B", "first_meaning": first, "second_meaning": second}
        for name, value in {**values, **options}.items():
            text = text.replace("{{" + name + "}}", value)
        return [*talk.encode(text), *talk.assistant]

    for _ in range(20):
        look = world.draw_look(rng, domain)
        case, swapped = draw_settled(rng, look), rng.random() < 0.5
        claims, text = world.claims(look), case.modification
        told = [*talk.caption(claims, seen=False).ids, *talk.user]
        follows = talk.follows(claims, text, case.claim, case.settled, swapped)
        assert follows.ids == [*told, *asked("follows", swapped, modification=text, claim=case.claim)]
        edits = "; ".join(map(edit_text, case.edits))
        covers = talk.covers(claims, text, case.edits, case.edits, swapped)
        assert covers.ids == [*told, *asked("covers", swapped, modification=text, edits=edits)]
        shown = talk.edit_shown(case.edits[0], True, swapped)
        edit = edit_text(case.edits[0])
        assert shown.ids == [*talk.prefix, *asked("verify_edit", swapped, edit=edit)]
        verify = talk.verification(claims, [True] * len(claims), swapped)
        assert verify.ids == [*talk.prefix, *asked("verify", swapped, statement=", ".join(claims))]


def test_an_answer_costs_about_one_token_a_word(tokenizer) -> None:  # type: ignore[no-untyped-def]
    from sample.teacher.spelling import compact

    for domain in ("garments", "scenes"):
        claims = world.claims(world.draw_look(random.Random(5), domain))
        words = sum(len(claim.split()) for claim in claims)
        assert len(tokenizer.tokenize(compact({"claims": claims}))) == words + len(claims) + 1


def test_a_teacher_to_go_on_from_that_is_not_there_is_told_before_anything_is_rendered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    gone, work = tmp_path / "gone", tmp_path / "work"
    flags = ["--init", str(gone), "--work", str(work), "--out", str(tmp_path / "out"), "--pictures", "2000"]
    assert main(["train", *flags]) == 2
    assert f"{gone} holds no model.safetensors" in capsys.readouterr().err
    assert not work.exists()
