"""Parts of a drawing. All words go through `text` and `titled`, which escape them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from eval.reports.plain import one_line, shortened

_STEPS = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), (1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5))
_FEWEST_TICKS = 3
N_SERIES = 6  # colours of style.css; more runs than that share them, told apart by their marks


def number(value: float) -> str:
    """A coordinate: two digits at most, no -0."""
    return f"{round(value, 2) + 0.0:g}"


def text(x: float, y: float, words: str, name: str = "", *, anchor: str = "start") -> str:
    return (
        f'<text x="{number(x)}" y="{number(y)}" class="{name}" text-anchor="{anchor}">'
        f"{escape(one_line(words))}</text>"
    )


def fitting(words: str, width_px: float, *, letter_px: float = 7.4) -> str:
    """Cut to what fits, by the width of a letter on average."""
    return shortened(one_line(words), max(4, int(width_px / letter_px)))


def line(x0: float, y0: float, x1: float, y1: float, name: str) -> str:
    ends = f'x1="{number(x0)}" y1="{number(y0)}" x2="{number(x1)}" y2="{number(y1)}"'
    return f'<line {ends} class="{name}"/>'


def rectangle(x: float, y: float, width: float, height: float, name: str) -> str:
    size = f'width="{number(max(0.0, width))}" height="{number(height)}"'
    return f'<rect x="{number(x)}" y="{number(y)}" {size} rx="1.5" class="{name}"/>'


def path(points: Sequence[tuple[float, float]], name: str) -> str:
    steps = " L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f'<path d="M{steps}" class="{name}"/>'


def circle(x: float, y: float, radius: float, name: str) -> str:
    return f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" class="{name}"/>'


def mark(x: float, y: float, series: int, *, size: float = 4.5) -> str:
    """A dot, square, triangle or diamond, so that runs differ without colour too."""
    name = f"mark {colour(series)}"
    shape = series % 4
    if shape == 0:
        return circle(x, y, size, name)
    corners = {
        1: ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        2: ((0, -1.25), (1.15, 0.9), (-1.15, 0.9)),
        3: ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
    }[shape]
    at = " ".join(f"{number(x + dx * size)},{number(y + dy * size)}" for dx, dy in corners)
    return f'<polygon points="{at}" class="{name}"/>'


def colour(series: int) -> str:
    return f"s{series % N_SERIES}"


def titled(parts: Sequence[str], width: float, height: float, title: str, said: str) -> str:
    """The drawing, with a title and what it says in words for readers that do not see it."""
    box = f'viewBox="0 0 {number(width)} {number(height)}"'
    size = f'width="{number(width)}" height="{number(height)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} {size} role="img">'
        f"<title>{escape(one_line(title))}</title><desc>{escape(one_line(said))}</desc>"
        f"{''.join(parts)}</svg>"
    )


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each power of ten within the bounds; more steps where those are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in _STEPS:
        ticks = [float(f"{step}e{power}") for power in powers for step in steps]
        found = [tick for tick in ticks if low <= tick <= high]
        if len(found) >= _FEWEST_TICKS:
            break
    return found
