"""The sample world: what is drawn, rendered, said and changed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sample import world
from sample.vocabulary import ABSENT, GARMENT_ASPECTS, GARMENT_NOUNS, KINDS, Domain

DOMAINS: tuple[Domain, ...] = ("garments", "scenes")


def _looks(domain: Domain, count: int = 300) -> list[world.Look]:
    rng = random.Random(f"test {domain}")
    return [world.draw_look(rng, domain) for _ in range(count)]


@pytest.mark.parametrize("domain", DOMAINS)
def test_same_generator_state_gives_the_same_pixels_and_another_gives_others(domain: Domain) -> None:
    look = _looks(domain, 1)[0]
    first = np.asarray(world.render(look, random.Random(4)))
    assert np.array_equal(first, np.asarray(world.render(look, random.Random(4))))
    assert not np.array_equal(first, np.asarray(world.render(look, random.Random(5))))


@pytest.mark.parametrize("domain", DOMAINS)
def test_dense_labels_come_with_the_very_picture_that_render_makes(domain: Domain) -> None:
    for seed, look in enumerate(_looks(domain, 20)):
        picture, labels = world.dense_labels(look, random.Random(seed))
        assert picture.size == (128, 128)
        assert np.array_equal(np.asarray(picture), np.asarray(world.render(look, random.Random(seed))))
        assert labels.shape == (8, 8, 4)


def test_every_object_of_a_scene_is_in_its_labels_with_its_attributes() -> None:
    from sample.vocabulary import COLORS, PATTERNS, SIZES

    for seed, look in enumerate(_looks("scenes", 60)):
        _, labels = world.dense_labels(look, random.Random(seed))
        found = {tuple(cell) for cell in labels.reshape(-1, 4).tolist() if cell[0]}
        expected = set()
        for kind in world.objects(look):
            size, pattern, color = look.value(kind).split()
            expected.add(
                (
                    KINDS.index(kind) + 1,
                    COLORS.index(color) + 1,
                    SIZES.index(size) + 1,
                    PATTERNS.index(pattern) + 1,
                )
            )
        assert found == expected


@pytest.mark.parametrize("domain", DOMAINS)
def test_claims_read_back_to_exactly_the_attributes_they_were_made_of(domain: Domain) -> None:
    for look in _looks(domain):
        read = [pair for claim in world.claims(look) for pair in world.parse_claim(claim) or ()]
        shown = {aspect: value for aspect, value in look.attributes if value != ABSENT}
        if look.category:
            shown["category"] = look.category
        assert dict(read) == shown
        assert len(read) == len(shown)


def test_category_noun_opens_a_garments_claims() -> None:
    for look in _looks("garments", 30):
        assert world.claims(look)[0].endswith(f" {GARMENT_NOUNS[look.category or '']}")
        assert len(world.claims(look)) == len(GARMENT_ASPECTS)


@pytest.mark.parametrize(
    "text", ["", "red", "a red dress", "red hat", "huge plain red ball", "sleeves", "objects", "no sleeves"]
)
def test_text_that_is_no_claim_of_this_world_is_not_read_as_one(text: str) -> None:
    assert world.parse_claim(text) is None


def test_claims_are_read_whatever_their_capitals_and_blanks() -> None:
    assert world.parse_claim("  The ball  is small plain RED ") == [("ball", "small plain red")]


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("asked", [1, 2, 3])
def test_edits_and_unmentioned_changes_are_the_differences_and_never_share_an_aspect(
    domain: Domain, asked: int
) -> None:
    rng = random.Random(asked)
    for look in _looks(domain, 200):
        edits = world.draw_edits(rng, look, asked)
        left = world.draw_unmentioned(rng, look, edits)
        target = world.apply(look, [*edits, *left])
        assert edits
        assert 1 <= len(left) <= 3
        assert not {edit.aspect for edit in edits} & {edit.aspect for edit in left}
        assert world.differences(look, target) == world.in_order(domain, [*edits, *left])
        assert all(ABSENT not in (edit.old, edit.new) for edit in left)
        if domain == "scenes":
            assert 2 <= len(world.objects(target)) <= 4


@pytest.mark.parametrize("domain", DOMAINS)
def test_one_attribute_neighbour_differs_in_one_attribute_of_one_aspect(domain: Domain) -> None:
    rng = random.Random(1)
    for look in _looks(domain, 200):
        (edit,) = world.differences(look, world.one_attribute_neighbour(rng, look))
        if edit.aspect in KINDS:
            assert sum(a != b for a, b in zip(edit.old.split(), edit.new.split(), strict=True)) == 1


def test_an_edit_that_does_not_fit_the_look_is_refused() -> None:
    look = _looks("garments", 1)[0]
    with pytest.raises(ValueError, match="does not fit"):
        world.apply(look, [world.Edit("color", "no such colour", "red")])


def test_kept_lists_the_present_aspects_that_no_edit_touches_in_order() -> None:
    look = world.make_look(
        "scenes",
        None,
        {
            "ball": "small plain red",
            "moon": "large striped blue",
            "background": "sand",
            "arrangement": "in a row",
        },
    )
    edits = [world.Edit("ball", "small plain red", "none"), world.Edit("ring", "none", "small plain green")]
    assert world.kept(look, edits) == ["moon", "background", "arrangement"]
    assert world.rationale(edits) == "remove ball and add small plain green ring, keep the rest"


def test_excluded_combinations_are_never_drawn() -> None:
    held_out = {("ball", color) for color in ("red", "blue", "green")}
    rng = random.Random(3)
    for _ in range(300):
        look = world.draw_look(rng, "scenes", exclude=held_out)
        assert ("ball", look.value("ball").split()[-1]) not in held_out


def test_scenes_and_garments_have_thousands_of_distinct_looks() -> None:
    assert len(set(_looks("garments", 3000))) > 2900
    assert len(set(_looks("scenes", 3000))) > 2900
