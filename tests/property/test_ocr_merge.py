"""Own words and OCR's, made the words of a page: nothing is lost, nothing found twice."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from rag.ocr.merge import agreement, merged, overlaps
from rag.page_text import PageText

WORDS = st.text("abcdefgh", min_size=1, max_size=6)
ADDING = st.sampled_from(["mostly_pixels", "always"])
DOUBTING = st.sampled_from(["looks_wrong", "unmapped_glyphs"])


@st.composite
def texts(draw: st.DrawFn, *, is_ocr: bool, least: int = 0) -> PageText:
    """Words in lines anywhere on a page of 200 pt."""
    n = draw(st.integers(least, 14))
    corners = draw(
        st.lists(st.tuples(st.integers(0, 180), st.integers(0, 180)), min_size=n, max_size=n)
    )
    steps = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    boxes = [(x, y, x + 20, y + 10) for x, y in corners]
    sure = draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n))
    return PageText(
        tuple(draw(st.lists(WORDS, min_size=n, max_size=n))),
        np.array(boxes, np.float32).reshape(n, 4),
        np.cumsum(steps).astype(np.int32),
        np.full(n, 10, np.float32),
        np.zeros(n, np.bool_),
        np.array(sure, np.float32) if is_ocr else None,
    )


def placed(text: PageText) -> list[tuple[str, tuple[float, ...]]]:
    return [(word, tuple(box)) for word, box in zip(text.words, text.boxes.tolist(), strict=True)]


def is_subsequence(part: list[object], whole: list[object]) -> bool:
    rest = iter(whole)
    return all(each in rest for each in part)


@given(own=texts(is_ocr=False), read=texts(is_ocr=True), reason=ADDING)
def test_every_own_word_stays_where_it_was_in_its_order(own, read, reason):
    both = merged(own, read, reason)
    assert is_subsequence(placed(own), placed(both))
    if len(own):
        kept = [item for item, is_ocr in zip(placed(both), both.is_ocr, strict=True) if not is_ocr]
        assert kept == placed(own)


def word_at(*box: float, is_ocr: bool) -> PageText:
    return PageText(
        ("a",),
        np.array([box], np.float32),
        np.zeros(1, np.int32),
        np.full(1, 10, np.float32),
        np.zeros(1, np.bool_),
        np.zeros(1, np.float32) if is_ocr else None,
    )


@example(  # they share 0.3 of a word, which is the limit
    own=word_at(86, 105, 106, 115, is_ocr=False),
    read=word_at(81, 99, 101, 109, is_ocr=True),
    reason="mostly_pixels",
)
@given(own=texts(is_ocr=False, least=1), read=texts(is_ocr=True), reason=ADDING)
def test_added_words_are_those_that_stand_beside_the_own_ones(own, read, reason):
    both = merged(own, read, reason)
    added = [item for item, is_ocr in zip(placed(both), both.is_ocr, strict=True) if is_ocr]

    def shares(box: tuple[float, ...], other: tuple[float, ...]) -> float:
        width = min(box[2], other[2]) - max(box[0], other[0])
        height = min(box[3], other[3]) - max(box[1], other[1])
        return max(0.0, width) * max(0.0, height) / 200.0

    free = [
        item
        for item in placed(read)
        if all(shares(item[1], other) < 0.3 for _, other in placed(own))
    ]
    assert sorted(added) == sorted(free)


@given(own=texts(is_ocr=False), read=texts(is_ocr=True), reason=ADDING)
def test_lines_do_not_go_back_and_a_line_is_of_one_origin(own, read, reason):
    both = merged(own, read, reason)
    assert (np.diff(both.lines) >= 0).all()
    if len(own):
        for start, end in both.line_spans:
            assert len(set(both.is_ocr[start:end].tolist())) == 1


@given(own=texts(is_ocr=False), reason=st.one_of(ADDING, DOUBTING))
def test_a_page_of_which_nothing_was_read_keeps_its_very_words(own, reason):
    assert merged(own, PageText.empty(), reason) is own


@given(read=texts(is_ocr=True), reason=st.one_of(ADDING, DOUBTING, st.just("no_text")))
def test_a_page_without_own_words_has_all_that_was_read(read, reason):
    both = merged(PageText.empty(), read, reason)
    assert placed(both) == placed(read)


@given(own=texts(is_ocr=False, least=1), read=texts(is_ocr=True), reason=DOUBTING)
def test_doubted_words_are_kept_whole_or_replaced_whole(own, read, reason):
    both = merged(own, read, reason)
    assert both is own or both is read


@given(first=st.lists(WORDS), second=st.lists(WORDS))
def test_agreement_has_no_sides_and_is_whole_for_the_same_words(first, second):
    assert agreement(first, second) == agreement(second, first)
    assert 0 <= agreement(first, second) <= 1
    if first:
        assert agreement(first, [word.upper() + "," for word in reversed(first)]) == 1


# --- worked by hand -----------------------------------------------------------------------------
def line(words: str, *, y: float, sure: float | None = None) -> PageText:
    found = words.split()
    n = len(found)
    return PageText(
        tuple(found),
        np.array([[30 * i, y, 30 * i + 25, y + 10] for i in range(n)], np.float32),
        np.zeros(n, np.int32),
        np.full(n, 10, np.float32),
        np.zeros(n, np.bool_),
        None if sure is None else np.full(n, sure, np.float32),
    )


def test_garbage_gives_way_to_words_that_were_read_surely():
    garbage = line("Uif rvjdl cspxo gpy kvnqt", y=10)
    read = line("The quick brown fox jumps", y=10, sure=0.95)
    assert merged(garbage, read, "looks_wrong") is read
    assert (
        merged(garbage, line("The quick brown fox jumps", y=10, sure=0.5), "looks_wrong") is garbage
    )
    assert merged(garbage, line("The quick", y=10, sure=0.95), "looks_wrong") is garbage


def test_a_layer_that_says_what_the_pixels_say_stays():
    own = line("The quick brown fox jumps", y=10)
    read = line("the quick brown fox, jumps", y=10, sure=0.99)
    assert merged(own, read, "looks_wrong") is own


def test_what_is_read_above_a_line_comes_before_it():
    own = line("footer", y=700)
    both = merged(own, line("Title of it", y=40, sure=0.9), "mostly_pixels")
    assert both.text == "Title of it footer"
    assert both.is_ocr.tolist() == [True, True, True, False]


def test_boxes_that_only_touch_do_not_overlap():
    one, beside = np.array([[0, 0, 10, 10]], np.float32), np.array([[10, 0, 20, 10]], np.float32)
    assert overlaps(one, beside).tolist() == [False]
    assert overlaps(one, one).tolist() == [True]
    assert overlaps(one, np.zeros((0, 4), np.float32)).tolist() == [False]
