"""Figures of real filings, looked up by row and column as they stand on the page."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from rag.answer.tables.read import read_tables
from rag.answer.tables.table import Table, scale_of
from rag.renderers.pypdfium2_renderer import Pypdfium2Renderer

pytestmark = pytest.mark.devset

# (file, page, label, in the column's head, figure, scale), read off the pages by eye.
_FIGURES = [
    ("3M_2018_10K", 58, "Total inventories", "2017", 4034, 1e6),
    ("3M_2018_10K", 58, "Property, plant and equipment \u2014 net", "2018", 8738, 1e6),
    ("3M_2018_10K", 58, "Total equity", "2018", 9848, 1e6),
    ("3M_2018_10K", 60, "Purchases of property, plant and equipment (PP&E)", "2018", -1577, 1e6),
    ("3M_2018_10K", 60, "Dividends paid to shareholders", "2016", -2678, 1e6),
    ("3M_2018_10K", 104, "Foreign currency forward contracts", "2017", -141, 1e6),
    ("3M_2018_10K", 104, "Total derivative instruments", "Assets", 146, 1e6),
    ("3M_2022_10K", 25, "Consumer", "Organic sales", -0.9, 1),
    ("3M_2022_10K", 27, "Operating income margin", "Change", -1.7, 1),
    ("3M_2022_10K", 48, "Net sales", "2021", 35355, 1e6),
    ("3M_2022_10K", 50, "Total current liabilities", "2022", 9523, 1e6),
    ("ACTIVISIONBLIZZARD_2019_10K", 47, "Product development", "2018", 1101, 1e6),
    ("ACTIVISIONBLIZZARD_2019_10K", 69, "Property and equipment, net", "2018", 282, 1e6),
    ("ACTIVISIONBLIZZARD_2019_10K", 70, "Total net revenues", "2019", 6489, 1e6),
    ("ACTIVISIONBLIZZARD_2019_10K", 70, "Loss on extinguishment of debt", "2019", 0, 1e6),
    ("ACTIVISIONBLIZZARD_2019_10K", 73, "Capital expenditures", "2017", -155, 1e6),
    ("ACTIVISIONBLIZZARD_2019_10K", 114, "Interest income", "2018", -65, 1e6),
    ("BESTBUY_2017_10K", 56, "Gross profit", "January 30, 2016", 9191, 1e6),
    ("BESTBUY_2017_10K", 56, "Basic earnings per share", "January 28, 2017", 3.86, 1),
    ("BESTBUY_2019_10K", 52, "Merchandise inventories", "February 2, 2019", 5409, 1e6),
    ("BESTBUY_2023_10K", 19, "Total Domestic store count", "", 978, 1),
    ("BESTBUY_2023_10K", 39, "Goodwill", "January 28, 2023", 1383, 1e6),
    ("BESTBUY_2023_10K", 39, "Total current assets", "January 29, 2022", 10539, 1e6),
    ("BESTBUY_2023_10K", 39, "Additional paid-in capital", "January 29, 2022", 0, 1e6),
    ("BESTBUY_2023_10K", 40, "Basic earnings per share", "January 28, 2023", 6.31, 1),
    ("BESTBUY_2023_10K", 40, "Restructuring charges", "January 29, 2022", -34, 1e6),
    (
        "BESTBUY_2023_10K",
        42,
        "Total cash used in investing activities",
        "January 30, 2021",
        -788,
        1e6,
    ),
    ("BESTBUY_2023_10K", 44, "Cash and cash equivalents", "January 28, 2023", 1874, 1e6),
    ("BESTBUY_2023_10K", 51, "Total", "2023", 147, 1e6),
    ("BESTBUY_2024Q2_10Q", 17, "Revenue", "Three Months Ended July 29, 2023", 8890, 1e6),
    ("BESTBUY_2024Q2_10Q", 17, "Entertainment", "Comparable Sales", 9.0, 1),
    ("BESTBUY_2024Q2_10Q", 17, "Total", "Fiscal 2024", 966, 1),
    ("BESTBUY_2024Q2_10Q", 18, "SG&A as a % of revenue", "Six Months Ended July 30", 19.8, 1),
    ("BESTBUY_2024Q2_10Q", 20, "Cash and cash equivalents", "July 29, 2023", 1093, 1e6),
    ("BOEING_2018_10K", 52, "Property, plant and equipment, net", "2018", 12645, 1e6),
    ("BOEING_2022_10K", 55, "Income tax (expense)/benefit", "2021", 743, 1e6),
    ("BOEING_2022_10K", 55, "Diluted loss per share", "2020", -20.88, 1),
    ("BOEING_2022_10K", 62, "Global Services", "2022", 17611, 1e6),
    ("COCACOLA_2017_10K", 74, "Cost of goods sold", "2016", 16465, 1e6),
    ("COCACOLA_2017_10K", 76, "TOTAL ASSETS", "2016", 87270, 1e6),
    (
        "FNCB_BANCORP_INC_annual_report",
        71,
        "Net cash provided by operating activities",
        "2022",
        19970,
        1e3,
    ),
    ("FOOTLOCKER_2022_8K_dated-2022-05-20", 2, "Richard A. Johnson", "Against", 16105005, 1),
    ("JOHNSON_JOHNSON_2022Q4_EARNINGS", 2, "Adjusted EPS (diluted)1,4", "Full Year 2022", 10.15, 1),
    ("JOHNSON_JOHNSON_2022Q4_EARNINGS", 2, "International", "Adjusted Operational", -1.0, 1),
    ("JOHNSON_JOHNSON_2022_10K", 47, "Gross profit", "2021", 63920, 1e6),
    ("JOHNSON_JOHNSON_2022_10K", 47, "Restructuring (Note 20)", "2020", 247, 1e6),
    ("JOHNSON_JOHNSON_2023Q2_EARNINGS", 10, "Gross Profit", "2023", 17318, 1e6),
    ("KRAFTHEINZ_2019_10K", 50, "Cost of products sold", "December 28, 2019", 16830, 1e6),
    ("KRAFTHEINZ_2019_10K", 50, "Operating income/(loss)", "December 29, 2018", -10205, 1e6),
    ("KRAFTHEINZ_2019_10K", 52, "Inventories", "December 29, 2018", 2667, 1e6),
    ("LOCKHEEDMARTIN_2020_10K", 69, "Total current assets", "2020", 19378, 1e6),
    ("LOCKHEEDMARTIN_2021_10K", 68, "Total current liabilities", "2021", 13997, 1e6),
    ("LOCKHEEDMARTIN_2021_10K", 68, "Accumulated other comprehensive loss", "2020", -16121, 1e6),
    ("LOCKHEEDMARTIN_2022_10K", 63, "Total net sales", "2020", 65398, 1e6),
    ("LOCKHEEDMARTIN_2022_10K", 63, "Basic earnings per common share", "2022", 21.74, 1),
    (
        "WHEELER_REAL_ESTATE_INVESTMENT_TRUST_INC_annual_report",
        40,
        "Net cash provided by operating activities",
        "2022",
        30758,
        1e3,
    ),
]


@lru_cache(maxsize=128)
def _tables(path: Path, page_number: int) -> list[Table]:
    return read_tables(Pypdfium2Renderer().words(path, page_number))


def _found(tables: list[Table], label: str, head: str) -> list[tuple[float | None, float]]:
    return [
        (cell.figure.value, scale_of(table, row, cell))
        for table in tables
        for row in table.rows
        if row.label == label
        for cell in row.cells
        if head in table.columns[cell.column].head
    ]


@pytest.mark.parametrize(("file", "page_number", "label", "head", "value", "scale"), _FIGURES)
def test_a_figure_of_a_filing_is_found_by_its_row_and_column(
    devset, file, page_number, label, head, value, scale
):
    path = devset / "finance" / "docs" / f"{file}.pdf"
    found = _found(_tables(path, page_number), label, head)
    assert found
    assert found[0][0] == pytest.approx(value)
    assert found[0][1] == scale


def test_pages_of_running_text_have_no_table_of_two_columns(devset):
    path = devset / "finance" / "docs" / "BOEING_2022_10K.pdf"
    for page_number in (8, 9, 10, 113):
        assert all(len(table.columns) < 2 for table in _tables(path, page_number))


def test_a_table_whose_scale_stands_over_its_last_column_is_in_lacs(devset):
    path = devset / "visual" / "docs" / "afe620b9beac86c1027b96d31d396407.pdf"
    found = _found(_tables(path, 19), "Proposed dividend", "31.3.2002")
    assert found == [(1923.78, 1e5)]
