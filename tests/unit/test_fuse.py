"""Legs joined by every method, as the retriever joins them."""

from typing import get_args

import numpy as np
import pytest

from rag.ranking.fuse import fused, normalized
from rag.ranking.legs import Mode
from rag.scoring.fusion import aligned, weighted_zscore_sum
from rag.settings import RetrievalSettings

METHODS = get_args(RetrievalSettings.model_fields["fusion"].annotation)
every_method = pytest.mark.parametrize("method", METHODS)

IDS = [f"p{n}" for n in range(6)]
LEGS = {
    "words": {"p0": 9.0, "p1": 4.0, "p2": 1.0},
    "dense": {"p0": 0.6, "p1": 0.5, "p2": 0.4, "p3": 0.1, "p4": 0.2},
    "headings": {"p1": 3.0, "p2": 2.0},
    "heading_words": {"p1": 5.0},
    "patches": {"p0": 3.0, "p1": 6.0, "p2": 2.0, "p3": 8.0, "p4": 1.0},
    "document": {"p0": 1.5, "p1": 1.5, "p2": -0.5, "p3": -0.5, "p4": -0.5, "p5": 0.0},
    "prior": {"p0": 0.0, "p1": 0.7, "p2": 0.0, "p3": 0.0, "p4": 0.0, "p5": 0.0},
}


def settings(method, **changed):
    return RetrievalSettings(fusion=method, **changed)


def order(method, legs=LEGS, ids=IDS, **changed):
    return [i for i, _ in fused(ids, legs, Mode.HYBRID, settings(method, **changed))]


def relative(**legs):
    return {name: dict(zip("abcd", scores, strict=False)) for name, scores in legs.items()}


@every_method
def test_every_page_comes_once_best_first_and_the_order_of_ids_does_not_matter(method):
    found = fused(IDS, LEGS, Mode.HYBRID, settings(method))
    assert sorted(i for i, _ in found) == IDS
    assert found == sorted(found, key=lambda item: (-item[1], item[0]))
    again = fused(IDS[::-1], LEGS, Mode.HYBRID, settings(method))
    assert [i for i, _ in again] == [i for i, _ in found]
    assert np.isfinite([score for _, score in found]).all()


@every_method
@pytest.mark.parametrize(
    "legs",
    [
        {},
        {"words": {}, "dense": {}, "patches": {}},
        {"words": {}, "patches": {}, "document": dict.fromkeys(IDS, 0.0)},
        {"words": dict.fromkeys(IDS, 2.0), "patches": dict.fromkeys(IDS, 3.0)},
    ],
    ids=["no legs", "nothing found", "a document of nothing", "all alike"],
)
def test_pages_that_no_leg_tells_apart_stand_in_the_order_of_their_ids(method, legs):
    found = fused(IDS[::-1], legs, Mode.HYBRID, settings(method))
    assert [i for i, _ in found] == IDS


@every_method
def test_no_page_and_one_page_are_rankings(method):
    assert fused([], LEGS, Mode.HYBRID, settings(method)) == []
    assert [i for i, _ in fused(["p3"], LEGS, Mode.HYBRID, settings(method))] == ["p3"]


@every_method
def test_a_page_that_all_legs_put_first_is_first(method):
    legs = {name: leg | {"p4": 99.0} for name, leg in LEGS.items()}
    assert order(method, legs)[0] == "p4"


@every_method
def test_weights_of_nothing_are_no_error(method):
    nothing = dict.fromkeys(RetrievalSettings().weights.model_dump(), 0.0)
    assert sorted(order(method, weights=nothing)) == IDS


@every_method
def test_shown_scores_are_from_0_to_1_and_fall_down_the_ranking(method):
    chosen = settings(method)
    shown = [
        normalized(score, Mode.HYBRID, chosen, n_query=3)
        for _, score in fused(IDS, LEGS, Mode.HYBRID, chosen)
    ]
    assert shown == sorted(shown, reverse=True)
    assert all(0 <= each <= 1 for each in shown)
    assert shown[0] > shown[-1]


@pytest.mark.parametrize("method", ["zscore", "min_max", "ucmr", "quota", "modality_max",
                                    "modality_text", "modality_image"])  # fmt: skip
def test_scale_and_origin_of_a_leg_do_not_matter(method):
    moved = LEGS | {
        "dense": {i: 7 * score - 30 for i, score in LEGS["dense"].items()},
        "patches": {i: 0.01 * score + 5 for i, score in LEGS["patches"].items()},
    }
    before = fused(IDS, LEGS, Mode.HYBRID, settings(method))
    after = fused(IDS, moved, Mode.HYBRID, settings(method))
    assert [i for i, _ in after] == [i for i, _ in before]
    assert [s for _, s in after] == pytest.approx([s for _, s in before])


@pytest.mark.parametrize("method", ["rrf", "average_rank"])
def test_only_ranks_matter_to_rank_methods(method):
    moved = {
        name: {i: float(np.exp(score)) for i, score in leg.items()} for name, leg in LEGS.items()
    }
    assert fused(IDS, moved, Mode.HYBRID, settings(method)) == fused(
        IDS, LEGS, Mode.HYBRID, settings(method)
    )


def test_all_pages_of_a_document_take_the_same_from_it_whatever_their_ids():
    for method in ("rrf", "average_rank"):
        scores = dict(fused(IDS, {"document": LEGS["document"]}, Mode.HYBRID, settings(method)))
        assert scores["p0"] == scores["p1"] > scores["p5"] > scores["p2"] == scores["p4"]


def test_zscore_is_the_weighted_sum_with_document_and_prior_on_their_own_scales():
    chosen = settings("zscore")
    weights = chosen.weights.model_dump()
    legs = {n: aligned(IDS, leg) for n, leg in LEGS.items() if n not in ("document", "prior")}
    for name in ("words", "heading_words"):  # a page without the words has 0 there
        legs[name] = np.nan_to_num(legs[name])
    expected = weighted_zscore_sum(legs, weights)
    expected = expected + 2.0 * aligned(IDS, LEGS["document"]) + aligned(IDS, LEGS["prior"])
    found = dict(fused(IDS, LEGS, Mode.HYBRID, chosen))
    assert [found[i] for i in IDS] == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize("method", ["zscore", "modality_text"])
def test_a_word_that_stands_on_one_page_alone_speaks_for_it(method):
    legs = {
        "words": {"p3": 2.0},
        "dense": dict(zip(IDS, (0.3, 0.3, 0.3, 0.2, 0.2, 0.2), strict=True)),
    }
    assert order(method, legs)[0] == "p3"


def test_the_worked_example_puts_page_2_first_by_shares():
    legs = relative(dense=[0.82, 0.80, 0.30, 0.10], patches=[0.21, 0.25, 0.24, 0.10])
    found = dict(fused(list("abcd"), legs, Mode.HYBRID, settings("ucmr")))
    assert list(found) == ["b", "a", "c", "d"]
    assert found["b"] == pytest.approx(0.891, abs=5e-4)


def test_the_image_share_goes_from_words_alone_to_page_vectors_alone():
    assert order("ucmr", image_share=0.0) == order("modality_text")
    assert order("ucmr", image_share=1.0) == order("modality_image")
    assert order("modality_image")[0] == "p1"  # of the document that fits
    alone = {name: leg for name, leg in LEGS.items() if name not in ("document", "prior")}
    assert order("modality_image", alone)[0] == "p3"
    assert order("modality_text", alone)[0] == "p1"  # the only one with the words in its heading


def test_a_quota_gives_both_groups_their_places():
    alone = {name: leg for name, leg in LEGS.items() if name not in ("document", "prior")}
    text, image = order("modality_text", alone), order("modality_image", alone)
    both = order("quota", alone)
    for m in range(len(IDS)):
        assert set(text[:m]) | set(image[:m]) <= set(both[: 2 * m])
    assert both[:2] == [text[0], image[0]]


def test_the_best_modality_of_a_page_is_enough():
    legs = relative(words=[9.5, 5.0, 1.0, 5.0], patches=[1.0, 5.0, 9.0, 4.0])
    assert order("modality_max", legs, list("abcd"))[2:] == ["b", "d"]  # the middling, twice


def test_a_page_without_vectors_is_not_doubted_for_it_by_bayes():
    both = relative(dense=[0.9, 0.9, 0.1])
    both["patches"] = {"a": 1.0, "c": 9.0}  # b has none
    assert order("bayes", both, ["a", "b", "c"])[0] == "b"


def test_what_a_document_adds_to_a_mean_is_what_it_adds_to_a_sum_by_proportion():
    legs = {"dense": LEGS["dense"], "patches": LEGS["patches"], "document": {"p5": 3.0}}
    scores = dict(fused(IDS, legs, Mode.HYBRID, settings("ucmr")))
    without = {name: leg for name, leg in legs.items() if name != "document"}
    before = dict(fused(IDS, without, Mode.HYBRID, settings("ucmr")))
    assert scores["p5"] - before["p5"] == pytest.approx(2.0 * 3.0 / (1.0 + 0.5))
    assert scores["p0"] == before["p0"]


@every_method
def test_modes_of_one_kind_keep_their_own_scale(method):
    patches, words = {"patches": {"p3": 8.0, "p1": 6.0}}, {"words": {"p0": 10.0}}
    chosen = settings(method)
    assert fused(IDS, patches, Mode.VISUAL, chosen) == [("p3", 8.0), ("p1", 6.0)]
    assert fused(IDS, words, Mode.TEXT, chosen) == [("p0", 10.0)]
    assert normalized(8.0, Mode.VISUAL, chosen, n_query=16) == 0.5
    assert normalized(10.0, Mode.TEXT, chosen, n_query=16) == 0.5
