"""Form, coherence and duplicates: what strings alone find, and that clean rows score 1."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from annotate.checks.coherence import carried, coherence, coherent
from annotate.checks.duplicates import LOOKED_BACK, near_repeats, with_notes
from annotate.checks.form import findings, form
from annotate.checks.language import language
from annotate.checks.words import denies
from schemas.answers import Edit
from tests.checks.oracle import (
    CAPTION,
    CONCLUSION,
    EVIDENCE,
    REFERENCE,
    SLEEVES,
    TARGET,
    Oracle,
    chain,
    evidence,
)
from tests.shards.world import triplet

BELT = Edit(aspect="waist", from_="no belt", to="belt")


def test_a_clean_row_has_no_finding_and_asks_nothing_about_its_form() -> None:
    oracle = Oracle()
    assert asyncio.run(form(oracle.ask, EVIDENCE)) == {"form": 1.0, "form_findings": ()}
    assert oracle.asked == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("claim_twice", {"conclusion": (*CONCLUSION, "Red  dress")}),
        ("loop", {"rationale": "very long sleeves " * 5}),
        ("loop", {"rationale": "the ball is red, the ball is red, the ball is red"}),
        ("loop", {"rationale": "it is so red, so red, so red. And long"}),
        ("meta_words", {"conclusion": ("as in the target image", "plain")}),
        ("meta_words", {"rationale": "see B00ABC.jpg for it"}),
        ("meta_words", {"conclusion": ("red dress as in the first picture", "plain")}),
        ("cut_short", {"rationale": " ".join(f"no{number}" for number in range(99))[:400]}),
        (
            "cut_short",
            {"conclusion": (("red dress with a pattern of " + "small flowers, " * 9)[:120], "plain")},
        ),
        ("echoes_caption", {"conclusion": CAPTION}),
        (
            "other_script",
            {"conclusion": ("красное платье без рукавов", "однотонное, длинное, без пояса, мини")},
        ),
        (
            "other_language",
            {
                "caption": ("ein rotes Kleid mit langen Ärmeln", "ohne Gürtel"),
                "rationale": "die Ärmel entfernen, das Kleid ist sonst gleich",
                "conclusion": ("ein rotes Kleid ohne Ärmel", "ohne Gürtel"),
            },
        ),
        ("long_claim", {"conclusion": ("red " * 10 + "and plain " * 8,)}),
        ("no_words", {"conclusion": ("...", "plain")}),
    ],
)
def test_each_finding_of_the_form(name: str, changes: dict[str, Any]) -> None:
    if name == "other_script":
        changes["caption"] = ("красное платье с рукавами", "длинное однотонное")
    assert name in findings(evidence(**changes))
    assert asyncio.run(form(Oracle().ask, evidence(**changes)))["form"] != 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a red dress with long sleeves, no belt", "English"),
        ("une robe rouge avec des manches longues, sans ceinture", "French"),
        ("un vestido rojo con mangas largas, sin cinturón y con el cuello en pico", "Spanish"),
        ("un abito rosso con le maniche lunghe, senza cintura, il collo è a V", "Italian"),
        ("um vestido vermelho com mangas compridas, sem cinto e com o decote em V", "Portuguese"),
        ("een rode jurk met lange mouwen, zonder riem", "Dutch"),
        ("red dress, plain, De La Soul print, die cast buttons", None),
        ("the El Paso logo is on the chest, el y los", "English"),
    ],
)
def test_a_language_is_told_by_its_function_words(text: str, said: str | None) -> None:
    assert language(text) == said


@pytest.mark.parametrize(
    "changes",
    [
        {"caption": ("two dogs are in the picture", *CAPTION)},
        {"rationale": "the request asks for the dress in the other picture without sleeves"},
    ],
)
def test_natural_talk_about_the_pictures_is_no_finding(changes: dict[str, Any]) -> None:
    assert findings(evidence(**changes)) == ()


def test_a_request_that_describes_the_target_may_be_a_claim_among_others() -> None:
    from dataclasses import replace

    request = "A brown dog running in the snow"
    said = replace(evidence(conclusion=(request, "tall pine trees")), modification=request)
    assert findings(said) == ()
    assert "echoes_request" in findings(replace(evidence(conclusion=(request,)), modification=request))


def test_a_short_request_may_be_said_again_a_long_one_is_an_echo() -> None:
    from dataclasses import replace

    said = evidence(conclusion=("make it the same but red", *CONCLUSION))
    assert "echoes_request" in findings(replace(said, modification="Make it the same but red"))
    assert "echoes_request" not in findings(replace(EVIDENCE, modification="sleeveless"))


def test_a_right_chain_is_coherent_and_wholly_carried_over() -> None:
    assert (coherent(chain()), carried(chain())) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"edits": (Edit(aspect="sleeves", from_="short sleeves", to="sleeveless"),)}, 0),
        ({"conclusion": CAPTION}, 0),
        ({"conclusion": (*CONCLUSION, "long sleeves")}, 0),
        ({"edits": (SLEEVES, Edit(aspect="sleeves", from_="long sleeves", to="short sleeves"))}, 0),
        ({"kept": ("color", "sleeves")}, 0),
        ({"edits": (SLEEVES, BELT)}, 1 / 2),
        ({"edits": (Edit(aspect="waist", from_="no belt", to="none"),)}, 0),
        ({"conclusion": (*CONCLUSION, "without a v neck")}, 5 / 6),
        ({"edits": (SLEEVES, BELT), "kept": (), "conclusion": (*CONCLUSION[:-1], "belt", "beltless")}, 5 / 6),
    ],
    ids=[
        "from not in caption",
        "to missing",
        "old claim left",
        "edited twice",
        "kept too",
        "one missing",
        "not gone",
        "denied",
        "denied in a word",
    ],
)
def test_contradictions_between_caption_edits_and_conclusion(changes: dict[str, Any], share: float) -> None:
    """The share, since another test of `coherent` may find a little of the same fault."""
    assert coherent(chain(**changes)) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "edits": (
                Edit(aspect="addition", from_="none", to="a ball"),
                Edit(aspect="addition", from_="none", to="a dog"),
            ),
            "conclusion": (*CAPTION, "a ball", "a dog"),
        },
        {
            "caption": ("brown dog", "green sofa"),
            "edits": (
                Edit(aspect="color", from_="brown dog", to="black dog"),
                Edit(aspect="color", from_="green sofa", to="white sofa"),
            ),
            "conclusion": ("black dog", "white sofa"),
            "kept": ("color",),
        },
    ],
    ids=["two additions", "two things of one aspect, which a third keeps"],
)
def test_an_aspect_that_is_a_property_may_be_edited_of_several_things(changes: dict[str, Any]) -> None:
    assert coherent(chain(**changes)) == 1.0


@pytest.mark.parametrize(("shown", "share"), [(True, 1.0), (False, 0.0)])
def test_what_was_before_in_other_words_than_the_captions_is_asked_of_the_reference(
    shown: bool, share: float
) -> None:
    edit = Edit(aspect="kind", from_="the brown dog", to="cat")
    changed = evidence(
        caption=("brown dog lying on grass", "plain"), edits=(edit,), kept=(), conclusion=("cat", "plain")
    )
    facts = {REFERENCE: ("the brown dog",) if shown else (), TARGET: ("cat",)}
    oracle = Oracle(shown=facts, right="kind: the brown dog to cat")
    assert asyncio.run(coherence(oracle.ask, changed))["coherent"] == share
    assert oracle.counted("verify_edit") == 2, "both orders of the letters"
    clean = Oracle()
    asyncio.run(coherence(clean.ask, EVIDENCE))
    assert clean.counted("verify_edit") == 0


def test_a_conclusion_of_the_edits_alone_is_coherent_and_carries_little() -> None:
    bare = chain(conclusion=("sleeveless",))
    assert coherent(bare) == 1.0 and carried(bare) == pytest.approx(1 / 5)


def test_an_old_value_that_two_claims_state_is_no_contradiction() -> None:
    blue = Edit(aspect="color", from_="red", to="blue")
    two = chain(
        caption=("red dress", "red belt"), edits=(blue,), kept=(), conclusion=("blue dress", "red belt")
    )
    assert coherent(two) == 1.0


@pytest.mark.parametrize(("claim", "gone"), [("a dog without a collar", 1.0), ("a dog with a collar", 0.0)])
def test_a_removal_may_be_said(claim: str, gone: float) -> None:
    off = Edit(aspect="collar", from_="red collar", to="none")
    assert (
        coherent(chain(caption=("a dog", "red collar"), edits=(off,), kept=(), conclusion=(claim,))) == gone
    )


@pytest.mark.parametrize(
    ("claim", "other", "denied"),
    [
        ("no belt", "black belt", True),
        ("it is without a belt", "belt", True),
        ("sleeveless", "short sleeves", True),
        ("no belt", "no belt", False),
        ("no black belt", "red belt", False),
        ("no belt", "beltless", False),
        ("sleeveless", "no sleeves", False),
        ("not", "belt", False),
        ("less", "lesser spot", False),
        ("not long", "long", True),
        ("not long", "long sleeves", False),
        ("dog is not on grass", "the dog stands beside the grass", False),
        ("shorter sleeves without stripes", "body with stripes, shorter sleeves", False),
        ("backless dress", "a bow at the back", False),
        ("backless dress", "a plain background", False),
        ("collarless neck", "visible collarbone", False),
        ("wireless mouse", "wires on the desk", False),
    ],
)
def test_what_denies_a_claim(claim: str, other: str, denied: bool) -> None:
    assert denies(claim, other) is denied


def test_a_conclusion_in_one_sentence_says_as_much_as_in_claims() -> None:
    said = ("a plain red dress that is sleeveless and has a v neck and no belt",)
    assert coherent(chain(conclusion=said)) == 1.0


def test_the_same_words_about_several_things_are_no_loop() -> None:
    said = "the dog is on the left, the cat is on the left, the bird is on the left"
    assert "loop" not in findings(evidence(rationale=said))


@pytest.mark.parametrize("claim", ["it has no sleeves", "arms are bare", "NO  sleeves"])
def test_an_edit_stated_in_other_words_is_no_contradiction(claim: str) -> None:
    said = tuple(claim if each == "sleeveless" else each for each in CONCLUSION)
    assert coherent(chain(conclusion=said)) == 1.0
    assert carried(chain(conclusion=said)) < 1.0


@pytest.mark.parametrize("claim", ["sleev", "sleeves", "it has", "long", "the dress is"])
def test_the_beginning_of_a_claim_states_no_edit(claim: str) -> None:
    said = tuple(claim if each == "sleeveless" else each for each in CONCLUSION)
    assert coherent(chain(conclusion=said)) < 1.0


def test_one_claim_in_other_words_states_one_edit_and_not_two() -> None:
    said = ("red dress", "plain", "v neck", "arms are bare")
    assert coherent(chain(edits=(SLEEVES, BELT), kept=(), conclusion=said)) == 1 / 2


def test_a_claim_that_neither_caption_nor_edits_explain_lowers_what_is_carried() -> None:
    assert coherent(chain(conclusion=(*CONCLUSION[:-1], "belt"))) == 1.0
    assert carried(chain(conclusion=(*CONCLUSION[:-1], "belt"))) == pytest.approx(4 / 6)


@pytest.mark.parametrize(("right", "p"), [("sleeves: long sleeves to sleeveless", 0.999), ("another", 0.001)])
def test_the_teacher_is_asked_whether_the_edits_cover_the_request(right: str, p: float) -> None:
    oracle = Oracle(right=right)
    assert asyncio.run(coherence(oracle.ask, EVIDENCE))["p_covers"] == pytest.approx(p)
    assert oracle.counted("covers") == len(oracle.asked) == 2


def test_near_repeats_and_contamination_are_noted_and_nothing_else_changes() -> None:
    first = triplet(1, reference="r", target="t", modifications=("make the big ball on the sand blue",))
    near = triplet(2, reference="r", target="t", modifications=("make the big ball on the sand blue now",))
    other = triplet(3, reference="r", target="u", modifications=first.modifications, notes=("stray_blanks",))
    noted = with_notes((first, near, other), {"val": {"u", "x"}, "test1": ()})
    assert [each.notes for each in noted] == [(), ("near_repeat",), ("stray_blanks", "target_in_val")]
    assert [each.problem for each in noted] == [None] * 3


def test_a_pair_that_is_asked_about_without_end_is_compared_with_its_last_texts_only() -> None:
    texts = [f"{number} a{number} b{number}" for number in range(LOOKED_BACK + 2)]
    asked = [triplet(n, reference="r", target="t", modifications=(text,)) for n, text in enumerate(texts)]
    near = triplet(1000, reference="r", target="t", modifications=(texts[2],))
    far = triplet(1001, reference="r", target="t", modifications=(texts[0],))
    assert near_repeats((*asked, near)) == {near.triplet_id}
    assert near_repeats((*asked, far)) == frozenset()
