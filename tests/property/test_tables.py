"""Laws of reading tables: known tables come back, every cell is its words, prose is no table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from table_pages import Sheet, width_of

from rag.answer.tables.read import read_tables
from rag.answer.tables.table import Table
from rag.page_text import PageText

_WORDS = (
    "Revenue Costs Goodwill Inventory Interest Taxes Depreciation Dividends Receivables Payables "
    "Borrowings Equity Provisions Wages Royalties Leases"
).split()
_EDGES = (330.0, 420.0, 510.0)


@st.composite
def figures(draw: st.DrawFn) -> str:
    value = draw(st.integers(0, 9_999_999))
    text = f"{value:,}" if draw(st.booleans()) else f"{value / 100:,.2f}"
    return draw(st.sampled_from([text, f"({text})", f"${text}", "\u2014", f"{text}%"]))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """(heads, rows): heads are years, rows a label and a figure a column."""
    n_columns = draw(st.integers(1, 3))
    first = draw(st.integers(1990, 2050))
    heads = [str(first - place) for place in range(n_columns)]
    labels = draw(st.lists(st.sampled_from(_WORDS), min_size=2, max_size=8, unique=True))
    row = st.lists(figures(), min_size=n_columns, max_size=n_columns)
    rows = [(label, draw(row)) for label in labels]
    # What has no digit in a whole column is no column of figures.
    assume(all(any(char.isdigit() for char in cells[0]) for _, cells in rows))
    return heads, rows


def _sheet(table: tuple[list[str], list[tuple[str, list[str]]]]) -> Sheet:
    heads, rows = table
    sheet = Sheet()
    edges = _EDGES[: len(heads)]
    for head, edge in zip(heads, edges, strict=True):
        sheet.put(head, edge, 100, "right")
    for number, (label, cells) in enumerate(rows):
        sheet.row(116 + 14 * number, label, cells, edges)
    return sheet


def _read_back(read: Table) -> tuple[list[str], list[tuple[str, list[str]]]]:
    rows = []
    for row in read.rows:
        cells = {cell.column: cell.figure.text for cell in row.cells}
        rows.append((row.label, [cells.get(place, "") for place in range(len(read.columns))]))
    return [column.head for column in read.columns], rows


@settings(max_examples=50)
@given(table=tables(), random=st.randoms(use_true_random=False))
def test_a_table_is_read_back_whatever_the_order_of_its_cells_in_the_file(table, random):
    sheet = _sheet(table)
    order = list(range(len(sheet.runs)))
    random.shuffle(order)
    (read,) = read_tables(sheet.text(order))
    assert _read_back(read) == (table[0], table[1])


@settings(max_examples=50)
@given(
    table=tables(),
    by=st.sampled_from([0.25, 0.5, 2.0, 4.0]),
    right=st.integers(-40, 200),
    down=st.integers(-90, 400),
)
def test_a_page_moved_or_made_larger_says_the_same(table, by, right, down):
    text = _sheet(table).text()
    shift = np.array([right, down, right, down], np.float32)
    moved = replace(text, boxes=((text.boxes + shift) * np.float32(by)).astype(np.float32))
    assert read_tables(moved) == read_tables(text)


@settings(max_examples=50)
@given(
    runs=st.lists(
        st.tuples(
            st.lists(
                st.sampled_from(
                    ["$", "-", "(1)", "2021", "12", "4.5%", "Total", "net:", "of", ")"]
                ),
                min_size=1,
                max_size=6,
            ),
            st.integers(0, 50),
            st.integers(0, 30),
        ),
        max_size=40,
    )
)
def test_every_cell_is_the_words_of_its_span_and_no_word_is_in_two(runs):
    sheet = Sheet()
    for words, column, line in runs:
        sheet.put(" ".join(words), 12.0 * column, 11.0 * line)
    text = sheet.text()
    used: list[int] = []
    for table in read_tables(text):
        for row in table.rows:
            for cell in row.cells:
                start, end = cell.span
                assert 0 <= start < end <= len(text)
                assert (cell.figure.start, cell.figure.end) == cell.span
                assert cell.figure.text == text.span_text(start, end)
                assert -1 <= cell.column < len(table.columns)
                used += range(start, end)
            for words in row.texts:
                assert words.text == " ".join(text.span_text(*span) for span in words.spans)
                used += [word for span in words.spans for word in range(*span)]
            used += [word for span in row.label_spans for word in range(*span)]
    assert len(used) == len(set(used))


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1), n_columns=st.sampled_from([1, 2]), wide=st.integers(180, 460)
)
def test_a_page_of_prose_has_no_table(seed, n_columns, wide):
    random = np.random.default_rng(seed)
    vocabulary = [
        *"the share of revenue in our stores rose by about".split(),
        *"as we opened fewer of them than in fiscal years before and".split(),
        *["2022", "14%", "$1,204", "9.5", "(see", "note", "7)"],
    ]
    sheet = Sheet()
    wide = min(wide, 460 // n_columns)
    for column in range(n_columns):
        left = 50.0 + column * (wide + 40)
        for line in range(24):
            words = ["sales"]
            while width_of(" ".join(words)) < wide - 50:
                words.append(str(random.choice(vocabulary)))
            sheet.put(" ".join(words), left, 80.0 + 12 * line)
    assert read_tables(sheet.text()) == []


def test_a_page_without_words_has_no_table():
    assert read_tables(PageText.empty()) == []
