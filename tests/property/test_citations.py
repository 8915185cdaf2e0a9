import dataclasses
import unicodedata

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rag.answer.checks.citations import cite, locate_quote
from rag.answer.checks.plain_text import plain
from rag.answer.extractive import ExtractiveAnswers
from rag.answer.passages import cut_passages
from rag.geometry import Box
from rag.page_text import PageText
from rag.ports import AnswerRequest, EncodedQuery, Evidence
from rag.settings import AnswerSettings
from rag.testing import covers
from rag.types import MultiVector, PageHit, PageRef

DIM = 4
_MARKS = (
    ".,;:!?\"'\u201c\u201d\u2018\u2019\u201a\u201b\u2032`\u00b4\u201e\u201f\u2033\u00ab\u00bb\u2212"
)
_COMMON = st.sampled_from(
    "the net income rose to 5 12% (1,204) 2022 Inc. end. - — • of-- well-known infor- mation"
    " why? so!".split()
)
# Anything a file may call a word: every character but white space and halves of surrogates.
_ODD = st.text(st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1)
_WORDS = (_COMMON | _ODD).filter(lambda word: len(word.split()) == 1 and word.split()[0] == word)


@st.composite
def page_texts(draw: st.DrawFn) -> PageText:
    lines = draw(st.lists(st.lists(_WORDS, min_size=1, max_size=8), max_size=8))
    words = tuple(word for line in lines for word in line)
    corners = draw(
        st.lists(
            st.tuples(*[st.integers(0, 600)] * 2, *[st.integers(0, 40)] * 2),
            min_size=len(words),
            max_size=len(words),
        )
    )
    return PageText(
        words,
        np.array([(x, y, x + w, y + h) for x, y, w, h in corners], np.float32).reshape(-1, 4),
        np.array([n for n, line in enumerate(lines) for _ in line], np.int32),
        np.array(
            draw(st.lists(st.sampled_from([0, 9, 14]), min_size=len(words), max_size=len(words))),
            np.float32,
        ),
        np.zeros(len(words), np.bool_),
    )


@st.composite
def evidence(draw: st.DrawFn, number: int) -> Evidence:
    text = draw(page_texts())
    n_vectors = draw(st.integers(0, len(text)))
    vectors = np.random.default_rng(draw(st.integers(0, 9))).normal(size=(n_vectors, DIM))
    return Evidence(
        number,
        PageHit(number, PageRef("d", number), "d.pdf", 1.0, 1.0, "", ()),
        text,
        vectors.astype(np.float32),
        np.arange(n_vectors, dtype=np.int32),
    )


pages_shown = st.integers(0, 3).flatmap(
    lambda n: st.tuples(*(evidence(number) for number in range(1, n + 1)))
)
questions = st.lists(_WORDS, min_size=1, max_size=8).map(" ".join)


def answered(question: str, pages: tuple[Evidence, ...], *, min_confidence: float):
    rows = np.eye(2, DIM, dtype=np.float32)
    model = ExtractiveAnswers(AnswerSettings(min_confidence=min_confidence))
    return model.answer(AnswerRequest(question, EncodedQuery(MultiVector(rows), rows[0]), pages))


@given(text=page_texts(), data=st.data())
def test_the_words_of_any_span_are_found_again(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    found = locate_quote(text, text.span_text(start, end), near=start)
    assert found == ((start, end) if start < end else None)


@given(text=page_texts(), data=st.data())
def test_a_quote_is_found_whatever_white_space_it_is_written_with(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    spaces = data.draw(st.sampled_from(["  ", "\n", "\t ", " \r\n"]))
    quote = spaces + spaces.join(text.words[start:end]) + spaces
    assert locate_quote(text, quote, near=start) == ((start, end) if start < end else None)


@given(text=page_texts(), quote=st.lists(_WORDS, min_size=1, max_size=4).map(" ".join))
def test_what_is_found_reads_as_the_quote_does_letter_for_letter(text, quote):
    found = locate_quote(text, quote)
    if found is not None:
        assert _letters(text.span_text(*found)) == _letters(quote)


_OTHER_SIGNS = str.maketrans(
    {"'": "\u2019", '"': "\u201d", "-": "\u2011", "f": "\uff46", "5": "\uff15", "m": "m\u00ad"}
)


@given(text=page_texts(), data=st.data())
def test_a_quote_is_found_whatever_signs_it_is_written_with(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    words = text.words[start:end]
    assume(any(map(str.isalnum, "".join(words))))
    # Read in other signs, a word that a hyphen ends goes with the next one.
    assume(not words[-1].endswith(("-", "\u2014", "\u2010", "\u2013")))
    assume(not start or not text.words[start - 1].endswith("-"))
    quote = " ".join(words).translate(_OTHER_SIGNS)
    if quote[:1].isascii():  # other letters may have no single one of the other case
        quote = quote[:1].swapcase() + quote[1:]
    found = locate_quote(text, quote, near=start)
    assert found is not None
    assert _letters(text.span_text(*found)) == _letters(quote)


@given(text=page_texts(), data=st.data())
def test_another_digit_is_never_found(text, data):
    places = [n for n, word in enumerate(text.words) if any(c in "0123456789" for c in word)]
    assume(places)
    place = data.draw(st.sampled_from(places))
    digit = next(c for c in text.words[place] if c in "0123456789")
    other = data.draw(st.sampled_from(sorted(set("0123456789") - {digit})))
    changed = text.words[place].replace(digit, other, 1)
    misread = dataclasses.replace(text, confidences=np.full(len(text), 0.7, np.float32))
    around = [*text.words[max(0, place - 2) : place], changed, *text.words[place + 1 : place + 3]]
    found = locate_quote(misread, " ".join(around))
    assert found is None or changed in misread.words[slice(*found)]


def one_line(words, *, is_ocr=False):
    names = tuple(words.split())
    boxes = np.array([(n * 10, 0, n * 10 + 9, 12) for n in range(len(names))], np.float32)
    zeros = np.zeros(len(names), np.float32)
    return PageText(
        names,
        boxes,
        zeros.astype(np.int32),
        zeros,
        zeros.astype(np.bool_),
        np.full(len(names), 0.8, np.float32) if is_ocr else None,
    )


@pytest.mark.parametrize(
    ("page", "quote", "found"),
    [
        ("the \ufb01rst \u201coffer\u201d", 'first "offer"', (1, 3)),
        ("it\u2019s 5\u20137 %", "it's 5-7%", (0, 3)),
        ("a total of 1,234 units", "1 ,234 units", (3, 5)),
        ("a total of 1 ,234 units", "1,234 units", (3, 6)),
        ("in FY 2022", "FY2022", (1, 3)),
        ("then revenue rose", "Revenue rose", (1, 3)),
        ("then Revenue Rose", "revenue rose", None),
        ("12 percent of it", "12 per cent of it", None),
        ("12 per cent of it", "12 percent of it", None),
        ("values 1 234 in rows", "values 1234 in", None),
        ("values 15 in rows", "values 5 in", None),
        ("a loss of (1,204) then", "loss of 1,204", None),
        ("10\u00b2 of them", "102 of them", None),
        ("\u4e2d \u56fd \u94f6 \u884c", "\u4e2d\u56fd\u94f6\u884c", (0, 4)),
        ("net income rose", "...", None),
        ("net income rose", "", None),
    ],
)
def test_signs_may_differ_and_letters_digits_and_words_may_not(page, quote, found):
    assert locate_quote(one_line(page), quote) == found


@pytest.mark.parametrize(
    ("read", "quote", "is_found"),
    [
        ("total shareho1ders equity", "total shareholders equity", False),  # a digit is a digit
        ("total sharehoiders equity", "total shareholders equity", True),
        ("totai sharehoiders equlty", "total shareholders equity", False),  # 3 in 23
        ("revenue of 1,284 units", "revenue of 1,234 units", False),
        ("sales did nof fall there", "sales did not fall there", False),  # too short to tell
        ("a total of five bi1lion", "a total of five billion", False),
        ("a total of five million", "a total of five billion", False),
        ("sales did fall there", "sales did not fall there", False),
        ("net income increased a lot", "net income decreased a lot", False),
        ("go to lt", "go to it", False),
    ],
)
def test_letters_of_words_that_ocr_read_may_differ_a_little(read, quote, is_found):
    assert (locate_quote(one_line(read, is_ocr=True), quote) is not None) == is_found
    assert locate_quote(one_line(read), quote) is None


def test_words_left_out_of_a_quote_are_left_out_of_its_boxes():
    text = one_line("net income of the whole group rose by 5 % then income fell")
    shown = Evidence(
        1,
        PageHit(1, PageRef("d", 1), "d.pdf", 1.0, 1.0, "", ()),
        text,
        np.zeros((0, DIM), np.float32),
        np.zeros(0, np.int32),
    )
    for dots in ("...", " \u2026 ", "[...]", " [\u2026] "):
        found = cite(shown, f"Net income{dots}rose by 5 %", marker=1)
        assert found is not None
        assert found.quote == "net income \u2026 rose by 5 %"
        assert found.boxes == (Box(0, 0, 19, 12), Box(60, 0, 99, 12))
    assert cite(shown, "rose by 5 % ... net income of", marker=1) is None
    far = one_line("net income " + "and so on " * 40 + "rose")
    assert locate_quote(far, "net income ... rose") is None
    assert locate_quote(far, "net income ... and so") == (0, 4)


@given(text=page_texts())
def test_passages_are_spans_of_their_page_and_hold_every_word(text):
    spans = [span for passage in cut_passages(text) for span in passage.spans]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert {word for start, end in spans for word in range(start, end)} == set(range(len(text)))


@settings(max_examples=60)
@given(question=questions, pages=pages_shown, min_confidence=st.sampled_from([0.0, 0.45]))
def test_every_citation_stands_on_its_page_and_its_boxes_cover_its_words(
    question, pages, min_confidence
):
    answer = answered(question, pages, min_confidence=min_confidence)
    assert answer.abstained == (not answer.citations)
    assert 0 <= answer.confidence <= 1
    assert "\n" not in answer.text
    assert [citation.marker for citation in answer.citations] == list(
        range(1, len(answer.citations) + 1)
    )
    for citation in answer.citations:
        page = pages[citation.ref.page_number - 1].text
        assert citation.verified
        assert f"{plain(citation.quote)} [{citation.marker}]" in answer.text
        assert any(
            page.span_text(start, start + len(citation.quote.split())) == citation.quote
            and _cover(citation.boxes, page, start, start + len(citation.quote.split()))
            for start in range(len(page))
        )


@given(question=questions, n_pages=st.integers(0, 3))
def test_pages_without_words_are_never_answered_from(question, n_pages):
    pages = tuple(
        Evidence(
            number,
            PageHit(number, PageRef("d", number), "d.pdf", 1.0, 1.0, "", ()),
            PageText.empty(),
            np.zeros((0, DIM), np.float32),
            np.zeros(0, np.int32),
        )
        for number in range(1, n_pages + 1)
    )
    answer = answered(question, pages, min_confidence=0)
    assert answer.abstained
    assert answer.confidence == 0


def _letters(text: str) -> str:
    """Without white space, the marks that may be missing or added, and the case of the first."""
    plain_letters = "".join(
        char if unicodedata.category(char) == "No" else unicodedata.normalize("NFKC", char)
        for char in unicodedata.normalize("NFC", text)
        if unicodedata.category(char) != "Cf"
    )
    left = "".join(
        char
        for char in plain_letters
        if not char.isspace() and unicodedata.category(char) != "Pd" and char not in _MARKS
    )
    return left[:1].lower() + left[1:]


def _cover(boxes: tuple[Box, ...], page: PageText, start: int, end: int) -> bool:
    return all(
        any(covers(box, Box(*map(float, page.boxes[word]))) for box in boxes)
        for word in range(start, end)
    )
