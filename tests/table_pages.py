"""Pages whose words are set where a test says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rag.page_text import PageText

SIZE_PT = 10.0
CHAR_PT = 5.0  # width of a character, and of nothing else
SPACE_PT = 3.0


def width_of(text: str) -> float:
    words = text.split()
    return sum(len(word) for word in words) * CHAR_PT + (len(words) - 1) * SPACE_PT


@dataclass
class Sheet:
    """Collects runs of words; each is a line of its own in reading order."""

    runs: list[list[tuple[str, tuple[float, float, float, float], bool]]] = field(
        default_factory=list
    )

    def put(
        self, text: str, x: float, y: float, align: str = "left", *, bold: bool = False
    ) -> None:
        """Words that begin, end or have their middle at `x`, their top at `y`."""
        wide = width_of(text)
        left = x - {"left": 0.0, "right": wide, "middle": wide / 2}[align]
        run = []
        for word in text.split():
            right = left + len(word) * CHAR_PT
            run.append((word, (left, y, right, y + SIZE_PT), bold))
            left = right + SPACE_PT
        self.runs.append(run)

    def row(self, y: float, label: str, figures: Sequence[str], edges: Sequence[float]) -> None:
        self.put(label, 50, y)
        for figure, edge in zip(figures, edges, strict=True):
            if figure:
                self.put(figure, edge, y, "right")

    def text(self, order: Sequence[int] | None = None) -> PageText:
        """The page; `order` is that of the runs in reading order."""
        runs = self.runs if order is None else [self.runs[place] for place in order]
        words = [(number, *word) for number, run in enumerate(runs) for word in run]
        if not words:
            return PageText.empty()
        return PageText(
            tuple(word for _, word, _, _ in words),
            np.array([box for _, _, box, _ in words], np.float32),
            np.array([number for number, _, _, _ in words], np.int32),
            np.full(len(words), SIZE_PT, np.float32),
            np.array([bold for _, _, _, bold in words], np.bool_),
        )
