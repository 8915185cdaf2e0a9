import numpy as np
import pytest

from rag.answer.checks.arithmetic import COUNT_OF_SOURCES
from rag.answer.checks.check import Checker
from rag.answer.draft import Draft, DraftClaim, Source
from rag.page_text import PageText
from rag.ports import Evidence
from rag.types import PageHit, PageRef


def page(number, *lines, left=0.0, source="report.pdf"):
    """Words ten points apart and lines fifteen; two spaces begin a line twenty points further
    right, and "|" stands for a gap between columns.
    """
    words, boxes, line_of = [], [], []
    for row, line in enumerate(lines):
        cells = line.split(" | ")
        for column, cell in enumerate(cells):
            indent = 20 if cell.startswith("  ") else 0
            x = left + indent + 120 * column
            for word in cell.split():
                words.append(word)
                boxes.append((x, 15 * row, x + 5 * len(word), 15 * row + 10))
                line_of.append(row)
                x += 5 * len(word) + 3
    text = PageText(
        tuple(words),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(line_of, np.int32),
        np.full(len(words), 10, np.float32),
        np.zeros(len(words), np.bool_),
    )
    hit = PageHit(number, PageRef("d", number), source, 1.0, 1.0, "", ())
    return Evidence(number, hit, text, np.zeros((0, 4), np.float32), np.zeros(0, np.int32))


def answered(draft, *pages):
    return Checker(pages, policy="strict").answer_of(draft, model_id="m")


SHED = page(1, "Tools in the shed", "Hammer", "Saw", "Drill")


@pytest.mark.parametrize(("said", "is_held"), [("3", True), ("2", False), ("4", False)])
def test_a_count_holds_where_as_many_places_are_cited(said, is_held):
    sources = tuple(Source(1, quote) for quote in ("Hammer", "Saw", "Drill"))
    claim = DraftClaim(
        f"{said} tools: Hammer, Saw, Drill", sources, "number of tools", COUNT_OF_SOURCES
    )
    answer = answered(Draft((claim,), short=said), SHED)
    assert answer.abstained is not is_held
    assert answer.short == (said if is_held else "")


def test_a_place_cited_twice_or_not_found_does_not_count():
    twice = tuple(Source(1, quote) for quote in ("Hammer", "Hammer", "Spanner"))
    claim = DraftClaim("3 tools: Hammer, Spanner", twice, "", COUNT_OF_SOURCES)
    assert answered(Draft((claim,), short="3"), SHED).abstained
