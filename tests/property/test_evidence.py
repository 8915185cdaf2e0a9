"""Laws of the budgets: nothing over them, shrunk before dropped, rank before size."""

from hypothesis import given
from hypothesis import strategies as st

from rag.answer.evidence.image_budget import WantedImage, allot, n_texts_within

_ROUND_PX = 10_000
budgets = st.integers(1, 12_000_000)


@st.composite
def wanted_images(draw):
    natural = draw(st.integers(1, 2_500_000))
    return WantedImage(natural, draw(st.integers(1, natural)), is_extra=draw(st.booleans()))


images = st.lists(wanted_images(), max_size=12)


@given(images, budgets)
def test_pixels_are_never_over_the_budget_but_for_one_image_at_its_least(wanted, budget_px):
    n_px = allot(wanted, budget_px=budget_px)
    shown = [(image, px) for image, px in zip(wanted, n_px, strict=True) if px]
    if sum(n_px) > budget_px:
        assert [(image.least_px, px) for image, px in shown] == [(px, px) for _, px in shown]
        assert len(shown) == 1
    assert bool(shown) == bool(wanted)


@given(images, budgets)
def test_every_image_shown_is_between_its_least_and_its_natural_size(wanted, budget_px):
    for image, px in zip(wanted, allot(wanted, budget_px=budget_px), strict=True):
        assert px == 0 or image.least_px <= px <= image.natural_px


@given(images, budgets)
def test_nothing_is_dropped_before_all_are_at_their_least(wanted, budget_px):
    n_px = allot(wanted, budget_px=budget_px)
    dropped = [place for place, px in enumerate(n_px) if not px]
    if dropped:
        kept = [place for place, px in enumerate(n_px) if px]
        extras = [place for place in dropped if wanted[place].is_extra]
        pages = [place for place in dropped if not wanted[place].is_extra]
        # The best of what was dropped last does not fit beside the others, however small.
        last = min(pages or extras)
        least = sum(wanted[place].least_px for place in (*kept, last))
        assert least > budget_px


@given(images, budgets)
def test_what_ranks_higher_is_never_dropped_for_what_ranks_lower(wanted, budget_px):
    n_px = allot(wanted, budget_px=budget_px)
    for is_extra in (False, True):
        shown = [
            px > 0 for px, image in zip(n_px, wanted, strict=True) if image.is_extra is is_extra
        ]
        assert shown == sorted(shown, reverse=True)
    kinds = {image.is_extra for image, px in zip(wanted, n_px, strict=True) if px}
    if any(not px and not image.is_extra for px, image in zip(n_px, wanted, strict=True)):
        assert len(kinds) == 1  # no page is dropped while an extra is shown


@given(st.lists(st.integers(100_000, 2_500_000), min_size=1, max_size=8), budgets)
def test_all_are_shrunk_by_one_factor_where_none_is_at_its_least(naturals, budget_px):
    wanted = [WantedImage(natural, 1) for natural in naturals]
    n_px = allot(wanted, budget_px=budget_px)
    if sum(naturals) <= budget_px:
        assert n_px == naturals
        return
    for natural, px in zip(naturals, n_px, strict=True):
        assert abs(px - budget_px * natural / sum(naturals)) <= _ROUND_PX + 1


@given(images, budgets)
def test_more_pixels_never_show_fewer_images_or_smaller_ones_of_the_same(wanted, budget_px):
    less, more = (allot(wanted, budget_px=px) for px in (budget_px, 2 * budget_px))
    assert sum(map(bool, more)) >= sum(map(bool, less))
    if [bool(px) for px in less] == [bool(px) for px in more]:
        assert all(a <= b for a, b in zip(less, more, strict=True))


@given(st.lists(st.integers(1, 9_000), max_size=12), st.integers(500, 60_000))
def test_texts_within_the_budget_are_as_many_of_the_first_as_fit(lengths, budget_chars):
    n_texts = n_texts_within(lengths, budget_chars=budget_chars)
    assert n_texts <= 1 or sum(lengths[:n_texts]) <= budget_chars
    assert n_texts == len(lengths) or sum(lengths[: n_texts + 1]) > budget_chars
    assert n_texts >= min(1, len(lengths))
