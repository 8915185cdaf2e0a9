"""What a document says of its pages: title, organisations, section, captions, in page order."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.context import DocumentContext, PageContext
from ingestion.text import lexical_fields
from rag.page_text import PageText
from rag.ports import OutlineEntry, PdfInfo
from rag.scoring.lexical import content_terms, query_vector
from rag.types import PageField


def page(*lines: tuple[str, float]) -> PageText:
    """Lines of text with their size; 0 is unknown."""
    words = [
        (word, number, size) for number, (line, size) in enumerate(lines) for word in line.split()
    ]
    n = len(words)
    return PageText(
        tuple(word for word, _, _ in words),
        np.tile(np.array([0, 0, 9, 9], np.float32), (n, 1)),
        np.array([number for _, number, _ in words], np.int32),
        np.array([size for _, _, size in words], np.float32),
        np.zeros(n, np.bool_),
    )


BODY = ("running text of the page, a long line of words that is no heading in any way", 10.0)
OUTLINE = (
    OutlineEntry(1, "Part I", 2),
    OutlineEntry(2, "Business", 2),
    OutlineEntry(2, "Risks", 4),
    OutlineEntry(1, "Part II", 6),
)


def sections(outline: Sequence[OutlineEntry], n_pages: int) -> list[tuple[str, ...]]:
    context = DocumentContext("a.pdf", PdfInfo(n_pages, outline=tuple(outline)))
    return [context.of(number, page(BODY)).section for number in range(1, n_pages + 1)]


def test_a_page_stands_in_the_sections_that_cover_it():
    assert sections(OUTLINE, 7) == [
        (),
        ("Part I", "Business"),
        ("Part I", "Business"),
        ("Part I", "Business", "Risks"),  # one ends on the page and another begins
        ("Part I", "Risks"),
        ("Part I", "Risks", "Part II"),
        ("Part II",),
    ]


def test_without_an_outline_the_last_heading_before_the_page_is_its_section():
    context = DocumentContext("a.pdf", PdfInfo(4))
    texts = [
        page(("Cover", 30.0), BODY),
        page(("Balance sheets", 16.0), BODY, ("Notes", 16.0), BODY),
        page(BODY),
        page(("Leases", 16.0), BODY),
    ]
    found = [context.of(number, text).section for number, text in enumerate(texts, start=1)]
    assert found == [(), ("Cover",), ("Notes",), ("Notes",)]


def test_every_page_knows_the_title_the_organisation_and_the_year():
    context = DocumentContext(
        "reports/BestBuy_2019-10K.pdf", PdfInfo(2, title="Microsoft Word - Annual report")
    )
    first = page(("Best Buy Co., Inc.", 24.0), ("for the year 2019", 10.0), BODY, BODY)
    context.of(1, first)
    second = context.of(2, page(BODY))
    assert "Annual report Best Buy 2019 10K Best Buy Co., Inc." in second.title
    assert "Microsoft" not in second.title
    assert second.head == "Best Buy Co., Inc 2019"


def test_captions_are_lines_that_number_a_table_or_figure():
    text = page(
        ("Table 3: Revenue by region", 10.0),
        ("Table of contents", 10.0),
        ("Figure A Growth", 10.0),
        ("as Table 3 shows", 10.0),
    )
    context = DocumentContext("a.pdf", PdfInfo(1)).of(1, text)
    assert context.captions == ("Table 3: Revenue by region", "Figure A Growth")


def test_context_words_find_a_page_by_what_only_its_section_says():
    context = PageContext(section=("Warranty terms",))
    fields = lexical_fields(page(("two years from purchase", 10.0)), context)
    term = query_vector(content_terms("warranty")).indices
    assert np.isin(term, fields[PageField.CONTEXT_WORDS].indices).any()
    assert not np.isin(term, fields[PageField.WORDS].indices).any()


def test_a_page_without_context_has_no_such_field():
    assert PageField.CONTEXT_WORDS not in lexical_fields(page(BODY))
    assert PageField.CONTEXT_WORDS not in lexical_fields(page(BODY), PageContext())


lines = st.tuples(
    st.sampled_from(["Alpha Corp", "Table 3: x", "one", "Section two", "in 2019", "7", ""]),
    st.sampled_from([0.0, 10.0, 18.0]),
)
documents = st.lists(st.lists(lines, max_size=4), min_size=1, max_size=7)


@given(documents=documents, kept=st.sets(st.integers(1, 7)), with_outline=st.booleans())
def test_an_ingest_that_goes_on_gives_every_page_the_same_context(documents, kept, with_outline):
    texts = {number: page(*made) for number, made in enumerate(documents, start=1)}
    info = PdfInfo(len(texts), "T", outline=OUTLINE if with_outline else ())
    at_once = DocumentContext("a.pdf", info)
    expected = {number: at_once.of(number, text) for number, text in texts.items()}
    recorded = {number: text for number, text in texts.items() if number in kept}
    resumed = DocumentContext("a.pdf", info, recorded)
    for number, text in texts.items():
        if number not in kept:
            assert resumed.of(number, text) == expected[number]


@pytest.mark.parametrize("words", [["A" * 100_000] * 5, ["Aa"] * 50_000, ["\u8868", "1"] * 20_000])
def test_a_page_of_one_endless_line_makes_a_short_context(words):
    text = page((" ".join(words), 10.0))
    assert len(DocumentContext("a.pdf", PdfInfo(1)).of(1, text).text) < 1_000
