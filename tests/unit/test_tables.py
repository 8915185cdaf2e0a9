"""Tables of one page: what its rows, columns, heads and scale are, worked by hand."""

import time

import pytest
from table_pages import Sheet

from rag.answer.tables.cell_figures import cell_figure
from rag.answer.tables.read import read_tables
from rag.answer.tables.scale import scale_in
from rag.answer.tables.table import Table, scale_of

_EDGES = (400.0, 480.0)


def _only(sheet: Sheet) -> Table:
    (table,) = read_tables(sheet.text())
    return table


def _values(table: Table) -> dict[str, list[float | None]]:
    return {row.label: [cell.figure.value for cell in row.cells] for row in table.rows}


def _balance() -> Sheet:
    sheet = Sheet()
    sheet.put("Consolidated Balance Sheets", 265, 60, "middle", bold=True)
    sheet.put("(in millions, except per share amounts)", 50, 72)
    sheet.put("December 31,", 440, 84, "middle")
    for head, edge in zip(("2021", "2020"), _EDGES, strict=True):
        sheet.put(head, edge, 96, "right")
    sheet.put("Current assets:", 50, 108)
    sheet.put("Cash", 60, 120)
    sheet.put("Receivables, net of allowances", 60, 132)
    sheet.put("of doubtful accounts", 60, 144)
    sheet.put("Total current assets", 50, 156)
    sheet.put("Earnings per share", 50, 168)
    for y, figures in (
        (120, ("1,234", "999")),
        (144, ("(56)", "\u2014")),
        (156, ("1,178", "999")),
        (168, ("2.35", "2.10")),
    ):
        for figure, edge in zip(figures, _EDGES, strict=True):
            sheet.put("$", edge - 50, y)
            sheet.put(figure, edge, y, "right")
    return sheet


def test_a_balance_sheet_has_rows_sections_periods_and_scale():
    table = _only(_balance())
    assert _values(table) == {
        "Cash": [1234.0, 999.0],
        "Receivables, net of allowances of doubtful accounts": [-56.0, 0.0],
        "Total current assets": [1178.0, 999.0],
        "Earnings per share": [2.35, 2.1],
    }
    assert [row.section for row in table.rows] == [("Current assets:",)] * 2 + [(), ()]
    assert [column.head for column in table.columns] == ["December 31, 2021", "December 31, 2020"]
    assert [str(column.period and column.period.end) for column in table.columns] == [
        "2021-12-31",
        "2020-12-31",
    ]
    assert "Consolidated Balance Sheets" in table.title
    assert table.scale == 1e6
    assert table.rows[1].cells[1].is_dash


def test_an_amount_per_share_is_not_in_millions():
    table = _only(_balance())
    cash, per_share = table.rows[0], table.rows[-1]
    assert scale_of(table, cash, cash.cells[0]) == 1e6
    assert scale_of(table, per_share, per_share.cells[0]) == 1.0


def test_percentages_and_rows_with_a_scale_of_their_own_are_not_in_the_scale_of_the_table():
    sheet = Sheet()
    sheet.put("($ in millions)", 50, 88)
    for head, edge in zip(("2021", "2020", "% change"), (320, 400, 480), strict=True):
        sheet.put(head, edge, 88, "right")
    sheet.row(100, "Sales", ("500", "400", "25"), (320, 400, 480))
    sheet.row(112, "Stores (in thousands)", ("3", "2", "50"), (320, 400, 480))
    table = _only(sheet)
    sales, stores = table.rows
    assert [scale_of(table, sales, cell) for cell in sales.cells] == [1e6, 1e6, 1.0]
    assert scale_of(table, stores, stores.cells[0]) == 1e3
    assert [column.unit for column in table.columns] == ["", "", "%"]


def test_a_head_stands_over_all_columns_of_its_group():
    sheet = Sheet()
    edges = (250.0, 320.0, 400.0, 470.0)
    sheet.put("Three Months Ended", 275, 76, "middle")
    sheet.put("Six Months Ended", 425, 76, "middle")
    for head, edge in zip(("2023", "2022", "2023", "2022"), edges, strict=True):
        sheet.put(head, edge, 88, "right")
    sheet.row(100, "Revenue", ("1,000", "2,000", "3,000", "4,000"), edges)
    sheet.row(112, "Costs", ("900", "800", "700", "600"), edges)
    assert [column.head for column in _only(sheet).columns] == [
        "Three Months Ended 2023",
        "Three Months Ended 2022",
        "Six Months Ended 2023",
        "Six Months Ended 2022",
    ]


def test_words_beside_a_label_are_cells_of_words():
    sheet = Sheet()
    for head, x in (("Director", 50), ("Role", 200), ("Attended", 330)):
        sheet.put(head, x, 88)
    for y, name, role, attended in (
        (100, "A. Shah", "Executive", "7"),
        (112, "B. Modi", "Independent", "3"),
        (124, "C. Vaish", "Independent", "6"),
    ):
        sheet.put(name, 50, y)
        sheet.put(role, 200, y)
        sheet.put(attended, 350, y)
    table = _only(sheet)
    assert [(row.label, row.texts[0].text) for row in table.rows] == [
        ("A. Shah", "Executive"),
        ("B. Modi", "Independent"),
        ("C. Vaish", "Independent"),
    ]
    assert [column.head for column in table.columns] == ["Role", "Attended"]
    column = table.column_of(table.rows[0].texts[0])
    assert column is not None
    assert column.head == "Role"


def test_two_tables_side_by_side_are_two():
    sheet = Sheet()
    left = ("Alabama", "Alaska", "Arizona", "Idaho", "Iowa", "Kansas")
    right = ("Nevada", "Ohio", "Oregon", "Texas", "Utah", "Vermont")
    for number, (first, second) in enumerate(zip(left, right, strict=True)):
        y = 100 + 12 * number
        sheet.put(first, 50, y)
        sheet.put(str(10 + number), 200, y, "right")
        sheet.put(second, 300, y)
        sheet.put(str(20 + number), 450, y, "right")
    tables = read_tables(sheet.text())
    assert [tuple(row.label for row in table.rows) for table in tables] == [left, right]


def test_a_table_beside_running_text_is_read_without_it():
    sheet = Sheet()
    for number in range(10):
        sheet.put("the model is seen to gain over runs", 50, 100 + 12 * number)
    for number in range(5):
        y = 124 + 12 * number
        sheet.put(f"Model {chr(65 + number)}", 300, y)
        sheet.put(f"{number}.50", 420, y, "right")
        sheet.put(f"{number}.75", 480, y, "right")
    table = _only(sheet)
    assert [row.label for row in table.rows] == [f"Model {char}" for char in "ABCDE"]


def test_a_second_part_with_the_same_heads_has_the_scale_of_the_first():
    sheet = Sheet()
    for top, title in ((60, "Income (in thousands)"), (160, "Balance")):
        sheet.put(title, 50, top)
        for head, edge in zip(("2021", "2020"), _EDGES, strict=True):
            sheet.put(head, edge, top + 12, "right")
        sheet.row(top + 24, "First", ("10", "20"), _EDGES)
        sheet.row(top + 36, "Second", ("30", "40"), _EDGES)
    assert [table.scale for table in read_tables(sheet.text())] == [1e3, 1e3]


@pytest.mark.parametrize(
    ("line", "label", "value"),
    [
        ("Bar No. 239516", "Bar No.", 239516.0),
        ("\u2022 Population: (July 2013) 251,160,124 people", "Population:", 251160124.0),
    ],
)
def test_a_name_and_its_number_are_a_row(line, label, value):
    sheet = Sheet()
    sheet.put("Some words of a page about it.", 50, 60)
    sheet.put(line, 50, 90)
    table = _only(sheet)
    assert _values(table) == {label: [value]}


def test_a_note_mark_is_no_figure():
    sheet = Sheet()
    sheet.put("(1)", 50, 60)
    sheet.put("Excludes what was deferred.", 80, 60)
    sheet.put("(2)", 50, 72)
    sheet.put("Includes what was not.", 80, 72)
    assert read_tables(sheet.text()) == []


@pytest.mark.parametrize(
    ("words", "value", "unit", "decimals"),
    [
        (["$", "1,874"], 1874.0, "$", 0),
        (["(1,234)"], -1234.0, "", 0),
        (["($4,935)"], -4935.0, "$", 0),
        (["$", "(14)"], -14.0, "$", 0),
        (["(8.8)%"], -8.8, "%", 1),
        (["24.2", "%"], 24.2, "%", 1),
        (["\u2212", "3.5"], -3.5, "", 1),
        (["1,23,456.50"], 123456.5, "", 2),
        (["Rs.36.45"], 36.45, "Rs.", 2),
        (["$", "\u2014"], 0.0, "$", 0),
        (["2.7(a)"], 2.7, "", 1),
    ],
)
def test_a_figure_is_read_with_its_marks(words, value, unit, decimals):
    found = cell_figure(words, 0, len(words))
    assert found is not None
    assert (found.value, found.unit, found.decimals) == (value, unit, decimals)
    assert found.text == " ".join(words)


@pytest.mark.parametrize("words", [["2018:"], ["31,"], ["12/14"], ["A-7"], ["Note"], ["1", "2"]])
def test_what_is_no_single_figure_is_none(words):
    assert cell_figure(words, 0, len(words)) is None


@pytest.mark.parametrize(
    ("said", "factor", "currency"),
    [
        ("(in millions, except per share data)", 1e6, ""),
        ("(Dollars in millions, except per share amounts)", 1e6, "$"),
        ("$ and shares in millions", 1e6, "$"),
        ("(Rs. in lacs)", 1e5, "Rs."),
        ("Rupees in lacs", 1e5, "Rs."),
        ("$ in 000s", 1e3, "$"),
        ("(Millions)", 1e6, ""),
        ("in thousands of euros", 1e3, "EUR"),
    ],
)
def test_scale_and_currency_are_read_as_said(said, factor, currency):
    sheet = Sheet()
    sheet.put(f"Sales {said}", 50, 60)
    text = sheet.text()
    found = scale_in(text, (0, len(text)))
    assert found is not None
    assert (found.factor, found.currency) == (factor, currency)
    assert found.span[0] >= 1


def test_a_page_of_three_thousand_words_is_read_in_a_moment():
    sheet = Sheet()
    edges = tuple(150.0 + 50 * place for place in range(9))
    for number in range(300):
        sheet.row(20.0 + 12 * number, "Row of figures", [str(100 + number)] * 9, edges)
    text = sheet.text()
    assert len(text) > 3000
    started = time.process_time()
    table = _only(sheet)
    assert time.process_time() - started < 1.0  # 0.1 s where nothing else runs
    assert len(table.rows) == 300
    assert all(len(row.cells) == 9 for row in table.rows)


def test_words_that_go_on_under_a_cell_are_of_that_cell():
    sheet = Sheet()
    for number, name in enumerate(("A. Shah", "B. Modi", "C. Vaish")):
        y = 100 + 25 * number
        sheet.put(name, 50, y)
        sheet.put("Executive", 200, y)
        sheet.put(str(number), 350, y)
        sheet.put("and Independent", 200, y + 11)
    table = _only(sheet)
    assert [row.label for row in table.rows] == ["A. Shah", "B. Modi", "C. Vaish"]
    assert [row.texts[0].text for row in table.rows] == ["Executive and Independent"] * 3


def test_figures_at_the_ends_of_lines_are_cells_only_under_each_other():
    ragged, set_to_edges = Sheet(), Sheet()
    for number, label in enumerate(("Growth", "Interest and taxes", "Other payables")):
        y = 100 + 12 * number
        ragged.put(f"{label} 12 34", 50, y)
        set_to_edges.put(f"{label} 12 34", 250, y, "right")
    assert read_tables(ragged.text()) == []
    table = _only(set_to_edges)
    assert [len(row.cells) for row in table.rows] == [2, 2, 2]
