"""Made-up pages with lists and tables, for tests of what is asked of those."""

import numpy as np

from rag.page_text import PageText
from rag.ports import Evidence
from rag.types import PageHit, PageRef


def page(number: int, *lines: str, source: str = "report.pdf") -> Evidence:
    """A page of these lines, fifteen points apart; " | " goes to the next column."""
    words: list[str] = []
    boxes: list[tuple[float, float, float, float]] = []
    line_of: list[int] = []
    for row, line in enumerate(lines):
        for column, cell in enumerate(line.split(" | ")):
            x = 120.0 * column
            for word in cell.split():
                words.append(word)
                boxes.append((x, 15.0 * row, x + 5 * len(word), 15.0 * row + 10))
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
