"""When answers are withheld, as a picture: shares of questions answered, at every threshold.

SVG written by hand, as `tune_plot` does. Colours are attributes, and a style turns them round where
the reader prefers dark pages.
"""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from eval.answers.report import curve_of

_SIDE_PX, _LEFT, _TOP = 400, 70, 70
_INK, _FAINT, _PAPER, _GRID, _CURVE, _SET = (
    "#1f2328",
    "#6b7580",
    "#ffffff",
    "#d8dde3",
    "#1f6f8b",
    "#b3261e",
)
_STYLE = """
  text { font: 12px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #16191d } .ink { fill: #e6e8eb } .faint { fill: #9aa4ae }
    .grid { stroke: #343a42 } .curve { stroke: #5cb8d6 } .set { fill: #ff8a80 }
  }
"""


def roc_svg(figures: dict[str, Any]) -> str:
    """A drawing of the `abstention` of `answer_measures.json`, which is there."""
    abstention = figures["abstention"]
    curve, chosen = curve_of(abstention, figures["threshold"])
    width, height = _LEFT + _SIDE_PX + 40, _TOP + _SIDE_PX + 60

    def x(misled: float) -> str:
        return f"{_LEFT + misled * _SIDE_PX:.1f}"

    def y(answered: float) -> str:
        return f"{_TOP + (1 - answered) * _SIDE_PX:.1f}"

    def text(left: float, top: float, words: str, name: str, anchor: str = "start") -> str:
        fill = _FAINT if name == "faint" else _INK
        return (
            f'<text x="{left:.1f}" y="{top:.1f}" class="{name}" fill="{fill}" '
            f'text-anchor="{anchor}">{escape(words)}</text>'
        )

    parts = [
        text(_LEFT, 26, f"Withheld answers of {figures['dataset']}", "title ink"),
        text(
            _LEFT,
            46,
            f"AUC {abstention['auc']:.3f} [{abstention['auc_low']:.3f}, "
            f"{abstention['auc_high']:.3f}], {curve.n_answerable} answerable and "
            f"{curve.n_unanswerable} unanswerable questions",
            "faint",
        ),
    ]
    for step in range(5):
        at, label = step / 4, f"{25 * step} %"
        parts += [
            (
                f'<path d="M{x(at)} {y(0)}V{y(1)}M{x(0)} {y(at)}H{x(1)}" class="grid" '
                f'stroke="{_GRID}" fill="none"/>'
            ),
            text(float(x(at)), float(y(0)) + 18, label, "faint", "middle"),
            text(_LEFT - 8, float(y(at)) + 4, label, "faint", "end"),
        ]
    points = " ".join(f"{x(point.misled)},{y(point.answered)}" for point in curve.points)
    parts += [
        (
            f'<path d="M{x(0)} {y(0)}L{x(1)} {y(1)}" class="grid" stroke="{_FAINT}" '
            'stroke-dasharray="3 4" fill="none"/>'
        ),
        (
            f'<polyline points="{points}" class="curve" stroke="{_CURVE}" stroke-width="2" '
            'fill="none"/>'
        ),
        (
            f'<circle cx="{x(chosen.misled)}" cy="{y(chosen.answered)}" r="5" class="set" '
            f'fill="{_SET}"/>'
        ),
        text(
            float(x(chosen.misled)) + 9,
            float(y(chosen.answered)) + 14,
            f"threshold {figures['threshold']:g}",
            "ink",
        ),
        text(_LEFT + _SIDE_PX / 2, height - 12, "unanswerable and answered", "faint", "middle"),
        text(_LEFT, _TOP - 8, "answerable and answered", "faint"),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f'<style>{_STYLE}</style><rect width="{width}" height="{height}" class="paper" '
        f'fill="{_PAPER}"/>{"".join(parts)}</svg>\n'
    )
