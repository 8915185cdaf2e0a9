"""A stress of LIMIT as a picture: recall over the number of documents looked at, a line an arm.

SVG written by hand, as `eval.tuning.sweep_plot` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from eval.limit.arms import BM25, DENSE, FDE, HYBRID, MAXSIM
from eval.limit.stress import CUTOFFS

_WIDTH, _HEIGHT = 800, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 600, 72, 396
_INK, _FAINT, _PAPER, _GRID = "#1f2328", "#6b7580", "#ffffff", "#d8dde3"
_LINE_PX = 16.0  # between the names of two arms
# Told apart without colours too: by dashes, and by names at their ends.
_LINES = {
    BM25: ("#1f6f8b", ""),
    MAXSIM: ("#b3261e", ""),
    HYBRID: ("#6b4fa0", "8 3"),
    FDE: ("#8a5a00", "5 3"),
    DENSE: ("#4b6b2f", "2 3"),
}
_STYLE = """
  text { font: 12px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #16191d } .ink { fill: #e6e8eb } .line { stroke: #e6e8eb }
    .faint { fill: #9aa4ae } .grid { stroke: #343a42 }
    .bm25 { stroke: #5cb8d6 } .maxsim { stroke: #ff8a80 } .hybrid { stroke: #b79ae8 }
    .fde { stroke: #e0a84a } .single_vector { stroke: #9cc27a }
  }
"""


def recall_svg(figures: Mapping[str, Any]) -> str:
    """A drawing of what `octavo eval limit --json` prints."""
    cutoffs = [k for k in CUTOFFS if k <= figures["n_documents"]] or [CUTOFFS[0]]
    low, high = math.log(cutoffs[0]), math.log(cutoffs[-1])

    def x(k: int) -> float:
        return _LEFT + (math.log(k) - low) / ((high - low) or 1.0) * (_RIGHT - _LEFT)

    def y(recall: float) -> float:
        return _BOTTOM - recall * (_BOTTOM - _TOP)

    title = f"Recall of {figures['set']}: {figures['n_documents']:,} documents"
    about = (
        f"{figures['n_queries']:,} questions, two documents each; beside the names R@{cutoffs[0]}"
    )
    parts = [_text(_LEFT, 26, title, "title ink"), _text(_LEFT, 46, about, "faint", _FAINT)]
    for step in range(6):
        value = step / 5
        parts.append(_line(_LEFT, y(value), _RIGHT, y(value)))
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.1f}", "faint", _FAINT, anchor="end"))
    for k in cutoffs:
        parts.append(_line(x(k), _TOP, x(k), _BOTTOM))
        parts.append(_text(x(k), _BOTTOM + 18, str(k), "faint", _FAINT, anchor="middle"))
    parts.append(_text((_LEFT + _RIGHT) / 2, _BOTTOM + 40, "hits looked at (k)", anchor="middle"))
    ends = [(arm, y(values[f"R@{cutoffs[0]}"])) for arm, values in figures["arms"].items()]
    for arm, values in figures["arms"].items():
        colour, dashes = _LINES[arm]
        points = " ".join(f"{x(k):.1f},{y(values[f'R@{k}']):.1f}" for k in cutoffs)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        told = ", ".join(f"R@{k} {values[f'R@{k}']:.3f}" for k in cutoffs)
        parts.append(
            f'<g><polyline class="{arm}" points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="2"{dashed}/><title>{escape(f"{arm}: {told}")}</title></g>'
        )
    parts += _names(ends, figures["arms"], cutoffs[0])
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" font-family="sans-serif" font-size="12">\n'
        f"  <title>{escape(title)}</title>\n  <style>{_STYLE}</style>\n"
        f'  <rect class="paper" width="{_WIDTH}" height="{_HEIGHT}" fill="{_PAPER}"/>\n'
        f"  {body}\n</svg>\n"
    )


def _names(
    ends: Sequence[tuple[str, float]], arms: Mapping[str, Mapping[str, float]], k: int
) -> list[str]:
    """A key at the right, in the order of the lines at their left ends; never one on another."""
    parts, below = [], -math.inf
    for arm, wanted in sorted(ends, key=lambda end: (end[1], end[0])):
        at = max(wanted, below + _LINE_PX)
        below = at
        colour, dashes = _LINES[arm]
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        parts.append(
            f'<line class="{arm}" x1="{_RIGHT + 12}" y1="{at:.1f}" x2="{_RIGHT + 40}" '
            f'y2="{at:.1f}" stroke="{colour}" stroke-width="2"{dashed}/>'
        )
        name = arm.replace("_", " ")
        parts.append(_text(_RIGHT + 46, at + 4, f"{name} {arms[arm][f'R@{k}']:.3f}"))
    return parts


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{_GRID}"/>'
    )


def _text(
    x: float, y: float, words: str, name: str = "ink", fill: str = _INK, *, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{name}" fill="{fill}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )
