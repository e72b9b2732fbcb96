"""The protocols' rules on small worlds: what they refuse, what they print, which image they name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annotate.errors import InputError, UsageError
from retrieval.protocols import Expected, circo_map, cirr_recall, fashioniq_recall, mean_of
from retrieval.queries import QueryMode, expand, fashioniq_gallery
from retrieval.ranking import Scores
from schemas.triplet import Triplet

GALLERY = tuple(f"g{i:02d}" for i in range(60))


def garment(index: int, category: str = "dress") -> Triplet:
    return Triplet(
        triplet_id=f"fashioniq/val/{category}/{index:06d}",
        dataset="fashioniq",
        split="val",
        category=category,
        native_id=str(index),
        reference=GALLERY[index],
        target=GALLERY[index + 1],
        modifications=("is red", "has long sleeves"),
    )


def scene(index: int) -> Triplet:
    return Triplet(
        triplet_id=f"cirr/val/{index}",
        dataset="cirr",
        split="val",
        native_id=str(index),
        reference=GALLERY[index],
        target=GALLERY[index + 3],
        modifications=("more balls",),
        subset=GALLERY[index : index + 6],
    )


def photo(index: int) -> Triplet:
    return Triplet(
        triplet_id=f"circo/val/{index}",
        dataset="circo",
        split="val",
        native_id=str(index),
        reference=GALLERY[index],
        target=GALLERY[index + 1],
        modifications=("more balls",),
        positives=(GALLERY[index + 2],),
        semantic_aspects=("negation",) if index == 0 else (),
    )


def descending(rows: int) -> Scores:
    """Image j gets rank j + 1 in every row."""
    return np.tile(-np.arange(60, dtype=np.float32), (rows, 1))


def test_every_number_prints_with_its_protocol_and_counts() -> None:
    result = fashioniq_recall(descending(20), GALLERY, [garment(i) for i in range(20)])
    assert str(result) == (
        "R@10 45.00  R@50 100.00  [fashioniq/val/dress(gallery=original, exclude_reference=false, "
        "caption_mode=clip4cir); queries 20/20; gallery 60/60]"
    )
    assert result.as_json()["protocol"] in str(result)


def test_excluding_the_reference_moves_the_targets_behind_it_up() -> None:
    triplets = [garment(i) for i in range(20)]
    kept = fashioniq_recall(descending(20), GALLERY, triplets)
    excluded = fashioniq_recall(descending(20), GALLERY, triplets, exclude_reference=True)
    assert (kept["R@10"], excluded["R@10"]) == (9 / 20, 10 / 20)
    assert "exclude_reference=true" in str(excluded)


def test_cirr_drops_the_reference_and_ranks_the_other_five_members() -> None:
    result = cirr_recall(descending(3), GALLERY, [scene(i) for i in range(3)])
    # targets at 4, 5, 6 with the reference before each: ranks 3, 4, 5; third of the members left
    assert [result[m] for m in ("R@1", "R@5", "Rs@1", "Rs@2", "Rs@3", "mean")] == [0, 1, 0, 0, 1, 0.5]


def test_circo_average_precision_counts_all_ground_truths_and_divides_by_the_smaller_of_them_and_k() -> None:
    result = circo_map(descending(2), GALLERY, [photo(0), photo(9)])
    first, second = (1 / 2 + 2 / 3) / 2, (1 / 11 + 2 / 12) / 2
    assert result["mAP@5"] == pytest.approx(first / 2)
    assert result["mAP@25"] == pytest.approx((first + second) / 2)
    assert (result["R@5"], result["R@25"]) == (0.5, 1.0)
    assert result["mAP@10/negation"] == pytest.approx(first), "only the query with the aspect counts"


def test_circo_divides_by_k_when_there_are_more_ground_truths_than_k() -> None:
    triplet = replace(photo(0), positives=GALLERY[2:8])  # seven ground truths, ranks 2 to 8
    result = circo_map(descending(1), GALLERY, [triplet])
    assert result["mAP@5"] == pytest.approx((1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 5)
    assert result["mAP@10"] == pytest.approx(sum(i / (i + 1) for i in range(1, 8)) / 7)


def test_values_are_means_of_the_per_query_values() -> None:
    result = circo_map(descending(3), GALLERY, [photo(i) for i in range(3)])
    for name, value in result.values.items():
        assert value == pytest.approx(np.nanmean(result.per_query[name]))


@pytest.mark.parametrize(
    ("mode", "rows"), [("and", 1), ("clip4cir", 1), ("searle", 1), ("cosmo", 2), ("val", 2)]
)
def test_caption_modes_are_query_expansions_and_count_their_queries(mode: QueryMode, rows: int) -> None:
    triplets = [garment(i) for i in range(20)]
    queries = expand(triplets, mode)
    assert [q.triplet.triplet_id for q in queries] == [t.triplet_id for t in triplets for _ in range(rows)]
    assert {len(q.joins) for q in queries} == {2 if mode == "searle" else 1}
    result = fashioniq_recall(descending(20 * rows), GALLERY, triplets, caption_mode=mode)
    assert (result.n_queries, result.n_expected) == (20 * rows, 20 * rows)
    assert f"caption_mode={mode}" in str(result)


def test_each_order_counts_as_its_own_query_under_cosmo() -> None:
    scores = descending(2)
    scores[1] = -scores[1]
    assert fashioniq_recall(scores, GALLERY, [garment(4)], caption_mode="cosmo")["R@10"] == 0.5


def test_the_union_gallery_holds_references_and_targets_in_file_order() -> None:
    triplets = [garment(i) for i in (7, 3)]
    assert fashioniq_gallery(GALLERY, triplets, "val_union") == ("g03", "g04", "g07", "g08")
    assert fashioniq_gallery(GALLERY, triplets, "original") == GALLERY
    with pytest.raises(InputError, match=r"g07 of fashioniq/val/dress/000007 is not in the split"):
        fashioniq_gallery(GALLERY[:7], triplets, "original")


def test_a_missing_query_is_named_or_counted_when_allowed() -> None:
    triplets = [scene(i) for i in range(3)]
    ids = [t.triplet_id for t in triplets]
    with pytest.raises(InputError, match=r"query cirr/val/1 and 0 more are missing"):
        cirr_recall(descending(2), GALLERY, [triplets[0], triplets[2]], expected=Expected(ids))
    allowed = Expected(ids, allow_missing=True)
    assert "queries 2/3" in str(cirr_recall(descending(2), GALLERY, triplets[:2], expected=allowed))


def test_a_missing_gallery_image_is_named_or_counted_when_allowed() -> None:
    triplets, wanted = [garment(0)], (*GALLERY, "g60", "g61")
    with pytest.raises(InputError, match=r"gallery image g60 and 1 more are missing"):
        fashioniq_recall(descending(1), GALLERY, triplets, expected=Expected(gallery=wanted))
    result = fashioniq_recall(
        descending(1), GALLERY, triplets, expected=Expected(gallery=wanted, allow_missing=True)
    )
    assert "gallery 60/62" in str(result)
    with pytest.raises(InputError, match=r"gallery image g59 and 0 more are not of this split"):
        fashioniq_recall(descending(1), GALLERY, triplets, expected=Expected(gallery=GALLERY[:59]))


@pytest.mark.parametrize(
    ("triplet", "gallery", "words"),
    [
        (
            garment(0),
            ("x", *GALLERY[2:], "y"),
            "image g01 of fashioniq/val/dress/000000 is not in the gallery",
        ),
        (garment(0), (*GALLERY[:59], "g00"), "gallery image g00 is there twice"),
        (replace(garment(0), target=None), GALLERY, "000000 has no target"),
        (scene(0), GALLERY, "cirr/val/0 is not a fashioniq triplet"),
    ],
)
def test_each_query_must_hit_exactly_one_image(
    triplet: Triplet, gallery: tuple[str, ...], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        fashioniq_recall(descending(1), gallery, [triplet])


def test_wrong_shapes_repeats_and_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"scores are \[3, 60\], but there are 2 queries"):
        cirr_recall(descending(3), GALLERY, [scene(0), scene(1)])
    with pytest.raises(InputError, match="query cirr/val/0 is there twice"):
        cirr_recall(descending(2), GALLERY, [scene(0), scene(0)])
    with pytest.raises(InputError, match="no triplets"):
        cirr_recall(descending(0), GALLERY, [])
    scores = descending(2)
    scores[1, 7] = np.nan
    with pytest.raises(InputError, match="score of query cirr/val/1 and image g07 is not a number"):
        cirr_recall(scores, GALLERY, [scene(0), scene(1)])


def test_a_target_that_is_the_reference_cannot_be_ranked_without_it() -> None:
    triplet = replace(garment(0), target="g00")
    assert fashioniq_recall(descending(1), GALLERY, [triplet])["R@10"] == 1
    with pytest.raises(InputError, match="its target is its reference"):
        fashioniq_recall(descending(1), GALLERY, [triplet], exclude_reference=True)


@pytest.mark.parametrize("subset", [GALLERY[:5], GALLERY[1:7], (*GALLERY[:3], "g40", "g41", "g42")])
def test_a_subset_without_six_members_reference_and_target_is_refused(subset: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="members"):
        cirr_recall(descending(1), GALLERY, [replace(scene(0), subset=subset)])


def test_the_mean_over_categories_is_unweighted_and_refuses_mixed_protocols() -> None:
    dress = fashioniq_recall(descending(20), GALLERY, [garment(i) for i in range(20)])
    shirt = fashioniq_recall(descending(1), GALLERY, [garment(0, "shirt")])
    assert mean_of([dress, shirt])["R@10"] == pytest.approx((9 / 20 + 1) / 2)
    other = fashioniq_recall(descending(1), GALLERY, [garment(0, "toptee")], exclude_reference=True)
    with pytest.raises(UsageError, match="no mean over different protocols"):
        mean_of([dress, other])
    with pytest.raises(InputError, match="category is dress, shirt"):
        fashioniq_recall(descending(2), GALLERY, [garment(0), garment(0, "shirt")])
