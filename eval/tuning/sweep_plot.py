"""A sweep as a picture: quality over time, a point a row, the front of the best drawn through.

SVG written by hand, as `tune_plot` does. Colours are attributes, and a style turns them round where
the reader prefers dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from eval.tuning.sweep import HEADLINE, row_title

_WIDTH, _HEIGHT = 900, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 872, 96, 486
_INK, _FAINT, _PAPER, _GRID = "#1f2328", "#6b7580", "#ffffff", "#d8dde3"
_KINDS = {
    "better": ("better than the baseline", "#1f6f8b"),
    "worse": ("worse", "#b3261e"),
    "same": ("no difference shown", "#8b949e"),
    "degraded": ("degraded, no result", "none"),
}
_STYLE = """
  text { font: 12px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 } .label { font-size: 11px }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #16191d } .ink { fill: #e6e8eb } .line { stroke: #e6e8eb }
    .faint { fill: #9aa4ae } .grid { stroke: #343a42 } .leader { stroke: #6b7580 }
    .better { fill: #5cb8d6 } .worse { fill: #ff8a80 } .same { fill: #9aa4ae }
    .halo { stroke: #16191d } .degraded { stroke: #9aa4ae } .front { stroke: #5cb8d6 }
  }
"""
_CHARACTER_PX, _LINE_PX, _RADIUS_PX = 5.9, 13.0, 5.0


@dataclass(frozen=True)
class Rectangle:
    """In pixels of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def shared_with(self, other: Rectangle) -> float:
        """Area of both."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)


@dataclass(frozen=True)
class _Point:
    row: Mapping[str, Any]
    x: float
    y: float

    @property
    def box(self) -> Rectangle:
        r = _RADIUS_PX + 1
        return Rectangle(self.x - r, self.y - r, self.x + r, self.y + r)


def sweep_svg(result: Mapping[str, Any]) -> str:
    """A drawing of what `octavo eval sweep --json` prints.

    Args:
        result: with at least one row that was measured.
    """
    rows = [row for row in result["rows"] if row["skipped"] is None]
    times = [max(row["mean"]["latency_ms"]["p50"], 0.01) for row in rows]
    heights = [row["mean"]["measures"][HEADLINE] for row in rows]
    low_ms, high_ms = min(times) / 1.3, max(times) * 1.3
    margin = max(0.01, 0.12 * (max(heights) - min(heights)))
    low, high = min(heights) - margin, max(heights) + margin

    def x(ms: float) -> float:
        share = math.log(max(ms, 0.01) / low_ms) / math.log(high_ms / low_ms)
        return _LEFT + share * (_RIGHT - _LEFT)

    def y(value: float) -> float:
        return float(_BOTTOM - (value - low) / (high - low) * (_BOTTOM - _TOP))

    points = [_Point(row, x(ms), y(up)) for row, ms, up in zip(rows, times, heights, strict=True)]
    parts = [_text(_LEFT, 26, f"{HEADLINE} over the time of a search", "title")]
    parts.append(_text(_LEFT, 46, _about(result, len(rows)), "faint", _FAINT))
    parts += _legend({_kind(row, result) for row in rows})
    for value in _ticks(low, high):
        parts.append(_line("grid", _LEFT, y(value), _RIGHT, y(value), _GRID))
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.4g}", "faint", _FAINT, anchor="end"))
    for value in _log_ticks(low_ms, high_ms):
        parts.append(_line("grid", x(value), _TOP, x(value), _BOTTOM, _GRID))
        parts.append(_text(x(value), _BOTTOM + 17, f"{value:g}", "faint", _FAINT, anchor="middle"))
    parts.append(_line("line", _LEFT, _TOP, _LEFT, _BOTTOM, _INK))
    parts.append(_line("line", _LEFT, _BOTTOM, _RIGHT, _BOTTOM, _INK))
    middle = (_LEFT + _RIGHT) / 2
    words = "median milliseconds of a search, to the left is faster"
    parts.append(_text(middle, _BOTTOM + 40, words, anchor="middle"))
    parts += _front(points, result["front"])
    for point, (box, is_far) in zip(points, placed_labels(points), strict=True):
        if is_far:
            middle_y = (box.top + box.bottom) / 2
            near_x = box.left if box.left > point.x else min(box.right, max(box.left, point.x))
            parts.append(_line("leader", point.x, point.y, near_x, middle_y, "#b6bec7"))
        name = "label strong" if point.row["name"] in result["front"] else "label"
        # Twice: below, a broad line in the colour of the paper parts it from what lies under it.
        words = str(point.row["name"])
        halo = f' stroke="{_PAPER}" stroke-width="3" stroke-linejoin="round" aria-hidden="true"'
        under = _text(box.left, box.bottom - 3, words, f"halo {name}")
        parts.append(under.replace("<text", f"<text{halo}", 1))
        parts.append(_text(box.left, box.bottom - 3, words, name))
    parts += [_marker(point, result) for point in points]
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" font-family="sans-serif" font-size="12">\n'
        f"  <title>{escape(_about(result, len(rows)))}</title>\n  <style>{_STYLE}</style>\n"
        f'  <rect class="paper" width="{_WIDTH}" height="{_HEIGHT}" fill="{_PAPER}"/>\n'
        f"  {body}\n</svg>\n"
    )


def placed_labels(points: Sequence[_Point]) -> list[tuple[Rectangle, bool]]:
    """A place for each name, and whether it is so far off that a line has to lead there.

    Each takes the place with the least of others' names and markers below it, the nearest of those
    that are equal; points in crowds choose last, since others have more freedom.
    """
    taken = [point.box for point in points]
    crowd = [sum(abs(p.x - q.x) + abs(p.y - q.y) < 60 for q in points) for p in points]
    found: dict[int, tuple[Rectangle, bool]] = {}
    for index in sorted(range(len(points)), key=lambda i: (-crowd[i], points[i].y, i)):
        point = points[index]
        width = _CHARACTER_PX * len(str(point.row["name"]))
        best = min(
            (
                (
                    sum(box.shared_with(other) for other in taken) + 20 * _outside(box),
                    distance,
                    order,
                    box,
                )
                for order, (distance, box) in enumerate(_places(point, width))
            ),
            key=lambda each: each[:3],
        )
        found[index] = (best[3], best[1] > 0)
        taken.append(best[3])
    return [found[index] for index in range(len(points))]


def _places(point: _Point, width: float) -> list[tuple[int, Rectangle]]:
    """Places for a name beside, above and below a point, near ones first."""
    corners: list[tuple[int, float, float]] = []
    for distance in range(20):
        gap = _RADIUS_PX + 4 + 6 * distance
        for dy in (0.0,) if distance == 0 else (0.0, -gap, gap):
            top = point.y - _LINE_PX / 2 + dy
            corners += [(distance, left, top) for left in (point.x + gap, point.x - gap - width)]
        left = point.x - width / 2
        corners += [(distance, left, top) for top in (point.y - gap - _LINE_PX, point.y + gap)]
    return [
        (distance, Rectangle(left, top, left + width, top + _LINE_PX))
        for distance, left, top in corners
    ]


def _outside(box: Rectangle) -> float:
    """Pixels by which a box leaves the panel."""
    return (
        max(0.0, _LEFT + 2 - box.left)
        + max(0.0, box.right - _WIDTH + 4)
        + max(0.0, _TOP - 8 - box.top)
        + max(0.0, box.bottom - _BOTTOM + 2)
    )


# --- parts --------------------------------------------------------------------------------------
def _about(result: Mapping[str, Any], n_rows: int) -> str:
    parts = [f"{part['dataset']} ({part['scope']})" for part in result["parts"]]
    joined = ", ".join(parts) if len(parts) < 5 else f"{len(parts)} datasets and scopes"
    mean = "mean over " if len(parts) > 1 else ""
    return f"{mean}{joined}; {n_rows} rows, baseline {result['baseline']}"


def _kind(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    if row["degraded"]:
        return "degraded"
    interval = row["mean"]["intervals"][HEADLINE]
    if row["name"] == result["baseline"] or not interval["excludes_0"]:
        return "same"
    return "better" if interval["difference"] > 0 else "worse"


def _legend(kinds: set[str]) -> list[str]:
    parts: list[str] = []
    across = float(_LEFT) + 6
    for kind, (words, _) in _KINDS.items():
        if kind in kinds:
            parts += [_dot(kind, across, 68), _text(across + 11, 72, words)]
            across += 34 + 6.4 * len(words)
    parts += [_ring(across, 68), _text(across + 14, 72, "baseline")]
    across += 84
    parts.append(_line("front", across, 68, across + 22, 68, "#1f6f8b", width=1.6))
    parts.append(_text(across + 29, 72, "no row is both better and faster"))
    return parts


def _front(points: Sequence[_Point], names: Sequence[str]) -> list[str]:
    """A staircase: up where a slower row is better."""
    best = sorted((p for p in points if p.row["name"] in names), key=lambda p: (p.x, -p.y))
    if not best:
        return []
    path = f"M{best[0].x:.1f},{best[0].y:.1f}"
    for point in best[1:]:
        path += f" H{point.x:.1f} V{point.y:.1f}"
    path += f" H{_RIGHT:.1f}"
    look = 'class="front" fill="none" stroke="#1f6f8b" stroke-width="1.6" stroke-opacity="0.7"'
    return [f'<path {look} d="{path}"/>']


def _marker(point: _Point, result: Mapping[str, Any]) -> str:
    row = point.row
    interval = row["mean"]["intervals"][HEADLINE]
    words = (
        f"{row_title(row)}; {HEADLINE} {row['mean']['measures'][HEADLINE]:.4f}, "
        f"{interval['difference']:+.4f} [{interval['difference_low']:+.4f}, "
        f"{interval['difference_high']:+.4f}], p50 {row['mean']['latency_ms']['p50']:.1f} ms"
    )
    ring = _ring(point.x, point.y) if row["name"] == result["baseline"] else ""
    dot = _dot(_kind(row, result), point.x, point.y)
    return f"<g>{dot}{ring}<title>{escape(words)}</title></g>"


def _dot(kind: str, x: float, y: float) -> str:
    r, colour = _RADIUS_PX, _KINDS[kind][1]
    if kind == "degraded":
        cross = f"M{x - r:.1f},{y - r:.1f} l{2 * r},{2 * r} m0,{-2 * r} l{-2 * r},{2 * r}"
        return f'<path class="degraded" d="{cross}" stroke="{_FAINT}" stroke-width="1.6"/>'
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}"/>'


def _ring(x: float, y: float) -> str:
    look = f'class="line" fill="none" stroke="{_INK}" stroke-width="1.4"'
    return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS_PX + 3.5}"/>'


def _line(
    name: str, x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1
) -> str:
    return (
        f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{width}"/>'
    )


def _text(
    x: float, y: float, words: str, name: str = "", colour: str = _INK, *, anchor: str = "start"
) -> str:
    bold = ' font-weight="600"' if name == "title" or "strong" in name else ""
    size = 15 if name == "title" else 11 if "label" in name else 12
    classes = name if name == "faint" else f"ink {name}".strip()
    return (
        f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" '
        f'text-anchor="{anchor}"{bold}>{escape(words)}</text>'
    )


# --- scales -------------------------------------------------------------------------------------
def _ticks(low: float, high: float) -> list[float]:
    """About six round values between low and high."""
    raw = (high - low) / 6
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values between low and high, for a logarithmic axis."""
    if high < 4 * low:
        return _ticks(low, high)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [s * 10.0**p for p in powers for s in (1, 2, 5) if low <= s * 10.0**p <= high]
    return [float(f"{value:.3g}") for value in found[:: max(1, len(found) // 8)]]
