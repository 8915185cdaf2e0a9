import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import InputError
from rag.geometry import Box
from rag.scoring.bayes import (
    Corroborated,
    Part,
    Quotas,
    combined,
    corroborated,
    layout_prior,
    likelihood,
    masses,
    relative,
)

shares = st.floats(0, 1)
WIDTH, HEIGHT = 612.0, 792.0


def one(*xs):
    return float(likelihood([np.array([x]) for x in xs])[0])


def joined(*xs):
    found = np.array([0.0, 0.0, 1.0])
    for x in xs:
        found = combined(found, masses(np.array([x]))[0])
    return found


def part(part_id, *, score=1.0, document="d", page=1, x=306.0, y=396.0):
    return Part(part_id, score, document, page, Box(x, y, x, y), WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("xs", "chance"),
    [
        ((1, 1, 1), 0.9865),
        ((1, 0.8, 0.6), 0.9155),
        ((1, 1, 0), 0.8414),
        ((0.5, 0.5, 0.5), 0.5595),
        ((0, 0, 0), 0.0320),
    ],
)
def test_likelihoods_of_the_worked_example(xs, chance):
    assert one(*xs) == pytest.approx(chance, abs=5e-5)


def test_masses_of_the_worked_example():
    assert joined(1, 1, 1) == pytest.approx([0.973, 0, 0.027], abs=5e-4)
    assert joined(1, 0.8, 0.6) == pytest.approx([0.8926, 0.0616, 0.0458], abs=5e-5)
    assert joined(1, 1, 0) == pytest.approx([0.8018, 0.1189, 0.0793], abs=5e-5)


@given(xs=st.lists(shares, min_size=1, max_size=5), data=st.data())
def test_the_order_of_modalities_does_not_matter_and_masses_add_up(xs, data):
    assert joined(*xs).sum() == pytest.approx(1)
    assert (joined(*xs) >= 0).all()
    assert one(*data.draw(st.permutations(xs))) == pytest.approx(one(*xs))


@given(x=shares, others=st.lists(shares, max_size=3), more=st.floats(0.01, 1))
def test_the_likelihood_grows_with_every_modality(x, others, more):
    assert one(min(1.0, x + more), *others) >= one(x, *others)


@given(xs=st.lists(shares, min_size=1, max_size=3))
def test_a_modality_that_is_missing_says_nothing(xs):
    assert one(*xs, np.nan) == pytest.approx(one(*xs))
    assert one(*xs, 0.0) < one(*xs, np.nan)


def test_nothing_but_missing_modalities_is_an_even_chance():
    assert one(np.nan, np.nan) == 0.5
    assert float(likelihood([])) == 0.5


def test_sources_that_wholly_disagree_are_not_believed():
    sure, never = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])
    assert combined(sure, never).tolist() == [0, 1, 0]


def test_belief_outside_0_to_1_is_refused():
    with pytest.raises(InputError, match="from 0 to 1"):
        masses(np.array([1.0]), belief=1.5)


def test_scores_are_shares_of_the_best_unless_they_hardly_differ():
    assert relative(np.array([4.0, 1.0])).tolist() == [1, 0.25]
    assert relative(np.array([1.0, 0.89])).tolist() == [1, 0.89]
    assert relative(np.array([1.0, 0.91])).tolist() == [1, 1]


def test_scores_below_0_are_none_and_missing_ones_stay_missing():
    np.testing.assert_array_equal(relative(np.array([2.0, -1.0, np.nan])), [1, 0, np.nan])
    assert relative(np.array([-2.0, -1.0])).tolist() == [0, 0]
    np.testing.assert_array_equal(relative(np.array([np.nan, -np.inf])), [np.nan, np.nan])
    assert relative(np.array([])).tolist() == []


# --- layout -------------------------------------------------------------------------------------
def test_the_gate_of_the_worked_page_is_two_diagonals():
    text, screen = part("t", y=0), part("s")
    near = part("i", x=306, y=2001.80)  # the box may stand anywhere; the page is 612 x 792
    far = part("i", x=306, y=2001.83)
    assert layout_prior(text, near, screen) == 1.0
    assert layout_prior(text, far, screen) == 0.1


def test_the_pages_of_a_document_lie_below_each_other():
    text, image = part("t", y=300), part("i", page=2, y=408)  # 792 + 108 = 900
    screen = part("s")
    assert layout_prior(text, image, screen, smooth=True) == pytest.approx(np.exp(-900 / 1000.9036))
    assert layout_prior(image, text, screen, smooth=True) == layout_prior(
        text, image, screen, smooth=True
    )


@pytest.mark.parametrize("smooth", [False, True])
def test_other_documents_and_pages_two_away_are_far(smooth):
    screen = part("s", page=3)
    assert layout_prior(part("t", page=3), part("i", page=1), screen, smooth=smooth) == 0.1
    assert layout_prior(part("t", page=5), part("i", page=3), screen, smooth=smooth) == 0.1
    assert layout_prior(part("t", page=3, document="e"), None, screen, smooth=smooth) == 0.1
    assert layout_prior(part("t", page=4), None, screen, smooth=smooth) == 1.0
    assert layout_prior(None, None, screen, smooth=smooth) == 1.0


@given(
    page=st.integers(1, 5),
    y=st.floats(0, 5000),
    smooth=st.booleans(),
)
def test_the_prior_is_the_floor_or_1_and_between_them_where_it_is_smooth(page, y, smooth):
    prior = layout_prior(part("t"), part("i", page=page, y=y), part("s"), smooth=smooth)
    assert 0.1 <= prior <= 1 if smooth else prior in (0.1, 1.0)


# --- triples ------------------------------------------------------------------------------------
def test_a_part_beside_a_good_page_comes_before_a_better_one_far_away():
    texts = [part("near", score=0.8), part("far", score=0.9, page=9)]
    found = corroborated(texts, [part("image")], [part("screen")])
    assert found == Corroborated(("near", "far"), ("image",), ("screen",))


def test_quotas_limit_what_is_looked_at_and_what_comes_back():
    texts = [part(f"t{n}", score=1 - n / 10) for n in range(5)]
    screens = [part(f"s{n}", score=1 - n / 10) for n in range(5)]
    found = corroborated(texts, [], screens, kept=Quotas(2, 2, 3))
    assert found == Corroborated(("t0", "t1"), (), ("s0", "s1", "s2"))
    seen = corroborated(texts, [], screens, looked_at=Quotas(1, 1, 2))
    assert seen == Corroborated(("t0",), (), ("s0", "s1"))


def test_parts_of_other_documents_make_no_triple():
    texts = [part("mine", score=0.1), part("other", document="e")]
    assert corroborated(texts, [], [part("screen")]).texts == ("mine",)
    assert corroborated(texts, [], []) == Corroborated((), (), ())


def test_equal_triples_stand_in_the_order_of_their_ids():
    texts, images = [part("b"), part("a")], [part("y"), part("x")]
    found = corroborated(texts, images, [part("s2"), part("s1")])
    assert found == Corroborated(("a", "b"), ("x", "y"), ("s1", "s2"))
