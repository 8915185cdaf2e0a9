import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.answer.citations import locate_quote
from rag.answer.extractive import ExtractiveAnswers
from rag.answer.passages import cut_passages
from rag.answer.plain_text import plain
from rag.geometry import Box
from rag.page_text import PageText
from rag.ports import AnswerRequest, EncodedQuery, Evidence
from rag.settings import AnswerSettings
from rag.testing import covers
from rag.types import MultiVector, PageHit, PageRef

DIM = 4
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
    """Without white space, and without the marks that may be missing or added around a quote."""
    return "".join(
        char for char in text if char not in " -\u00ad\u2010.,;:!?\"'\u201c\u201d\u2018\u2019"
    )


def _cover(boxes: tuple[Box, ...], page: PageText, start: int, end: int) -> bool:
    return all(
        any(covers(box, Box(*map(float, page.boxes[word]))) for box in boxes)
        for word in range(start, end)
    )
