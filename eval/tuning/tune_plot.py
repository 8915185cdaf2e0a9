"""A tuning as a picture: what each setting finds and loses, over what it takes.

SVG written by hand, because the base install has no library that draws. Colours are attributes, and
a style turns them round where the reader prefers dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 820, 640
_LEFT, _RIGHT = 84, 800
_PANELS = ((96, 350), (420, 566))  # top and bottom of each
_INK, _FAINT, _PAPER, _TARGET = "#1f2328", "#8b949e", "#ffffff", "#b3261e"
_STAGES = {
    "fde": ("FDE first", "#1f6f8b"),
    "bits": ("sign bits see all pages", "#8a6d00"),
    "int8": ("int8 alone", "#7a3b8f"),
}
_STYLE = """
  text { font: 12px system-ui, sans-serif }
  .title { font-size: 15px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #16191d } .ink { fill: #e6e8eb } .line { stroke: #e6e8eb }
    .faint { fill: #9aa4ae } .grid { stroke: #343a42 } .bar { stroke: #6b7580 }
    .target { stroke: #ff8a80 } .target-text { fill: #ff8a80 }
    .fde { fill: #5cb8d6 } .bits { fill: #e0bc3f } .int8 { fill: #c98bdd }
  }
"""

Point = Mapping[str, Any]
Scale = Callable[[float], float]


def tuning_svg(result: Mapping[str, Any]) -> str:
    """A drawing of what `octavo tune --json` prints.

    Args:
        result: with at least one setting.
    """
    points: Sequence[Point] = result["settings"]
    k, target = result["k"], result["target_recall"]
    times = [point["median_ms"] for point in points]
    low_ms, high_ms = min(times) / 1.15, max(times) * 1.15
    x = _log_scale(low_ms, high_ms, _LEFT, _RIGHT)
    floor = min(target, *(point["recall_low"] for point in points))
    floor = max(0.0, math.floor((floor - 0.01) * 20) / 20)
    (top, bottom), (low_top, low_bottom) = _PANELS
    recall_y = _scale(floor, 1.0 + 0.04 * (1.0 - floor), bottom, top)
    most = max(*(point["ndcg_loss"] for point in points), 1e-6) * 1.1
    loss_y = _scale(-0.06 * most, most, low_bottom, low_top)
    largest = max(point["hot_bytes"] for point in points)
    parts = [
        _text(_LEFT, 26, f"Search settings of collection {result['collection']}", "title"),
        _text(_LEFT, 46, _about(result), "faint", _FAINT),
        *_legend(points),
        *_axes(x, _log_ticks(low_ms, high_ms), recall_y, _ticks(floor, 1.0), _PANELS[0]),
        *_axes(x, _log_ticks(low_ms, high_ms), loss_y, _ticks(0.0, most), _PANELS[1]),
        _text(_LEFT, top - 8, f"recall@{k} of exact MaxSim, 95 % interval"),
        _text(_LEFT, low_top - 8, f"nDCG@{k} lost"),
        _text((_LEFT + _RIGHT) / 2, _HEIGHT - 40, "median milliseconds of the cascade", anchor=1),
        _text(
            (_LEFT + _RIGHT) / 2,
            _HEIGHT - 18,
            f"area: bytes of a page that stay in memory, at most {largest:,.0f}",
            "faint",
            _FAINT,
            anchor=1,
        ),
        _target(recall_y(target)),
        _text(
            _RIGHT, recall_y(target) + 15, f"target {target:g}", "target-text", _TARGET, anchor=2
        ),
    ]
    for point in points:
        across, up = x(point["median_ms"]), recall_y(point["recall"])
        parts.append(
            f'<line class="bar" x1="{across:.1f}" x2="{across:.1f}" '
            f'y1="{recall_y(point["recall_low"]):.1f}" y2="{recall_y(point["recall_high"]):.1f}" '
            f'stroke="{_FAINT}" stroke-opacity="0.6"/>'
        )
        parts.append(_marker(point, across, up, largest))
        parts.append(_marker(point, across, loss_y(point["ndcg_loss"]), largest))
    for name, radius, dashes in (("current", 12, "2 3"), ("chosen", 15, "")):
        marked = result[name]
        if marked is not None:
            heights = (recall_y(marked["recall"]), loss_y(marked["ndcg_loss"]))
            parts += [_ring(x(marked["median_ms"]), up, radius, dashes) for up in heights]
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" font-family="sans-serif" font-size="12">\n'
        f"  <title>{escape(_about(result))}</title>\n  <style>{_STYLE}</style>\n"
        f'  <rect class="paper" width="{_WIDTH}" height="{_HEIGHT}" fill="{_PAPER}"/>\n'
        f"  {body}\n</svg>\n"
    )


def _about(result: Mapping[str, Any]) -> str:
    questions = result["questions"]
    asked = "sampled questions" if questions["from"] == "sampled" else "questions"
    chosen = result["chosen"]
    found = "none meets the target" if chosen is None else f"chosen: {described(chosen)}"
    return f"{result['pages']:,} pages, {questions['n']} {asked}; {found}"


def described(point: Point) -> str:
    """A setting in words."""
    match point["first"]:
        case "fde":
            return f"FDE to {point['candidates']}, sign bits to {point['int8_candidates']}"
        case "bits":
            return f"sign bits of all pages to {point['int8_candidates']}"
        case _:
            return "int8 of all pages"


# --- parts --------------------------------------------------------------------------------------
def _legend(points: Sequence[Point]) -> list[str]:
    parts: list[str] = []
    across = float(_LEFT)
    for stage, (name, _) in _STAGES.items():
        if any(point["first"] == stage for point in points):
            parts.append(_shape(stage, across + 6, 64, 6))
            parts.append(_text(across + 18, 68, name))
            across += 34 + 6.6 * len(name)
    for name, dashes in (("chosen", ""), ("in use now", "2 3")):
        parts.append(_ring(across + 8, 64, 7, dashes))
        parts.append(_text(across + 22, 68, name))
        across += 38 + 6.6 * len(name)
    return parts


def _axes(
    x: Scale,
    across: Sequence[float],
    y: Scale,
    up: Sequence[float],
    panel: tuple[int, int],
) -> list[str]:
    top, bottom = panel
    parts = []
    for value in up:
        parts.append(_line("grid", _LEFT, y(value), _RIGHT, y(value), "#d8dde3"))
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.4g}", anchor=2))
    for value in across:
        parts.append(_line("grid", x(value), top, x(value), bottom, "#d8dde3"))
        parts.append(_text(x(value), bottom + 16, f"{value:g}", anchor=1))
    parts.append(_line("line", _LEFT, top, _LEFT, bottom, _INK))
    parts.append(_line("line", _LEFT, bottom, _RIGHT, bottom, _INK))
    return parts


def _marker(point: Point, x: float, y: float, largest: float) -> str:
    radius = max(4.0, 9.0 * math.sqrt(point["hot_bytes"] / largest))
    words = (
        f"{described(point)}: {point['median_ms']:.2f} ms, recall {point['recall']:.4f}, "
        f"nDCG loss {point['ndcg_loss']:.5f}, {point['hot_bytes']:,.0f} bytes a page"
    )
    return f"<g>{_shape(point['first'], x, y, radius)}<title>{escape(words)}</title></g>"


def _shape(stage: str, x: float, y: float, radius: float) -> str:
    colour = _STAGES[stage][1]
    look = f'class="{stage}" fill="{colour}" fill-opacity="0.8"'
    match stage:
        case "fde":
            return f'<circle {look} cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        case "bits":
            side = radius * 1.77  # as large as the circle
            return (
                f'<rect {look} x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" '
                f'width="{side:.1f}" height="{side:.1f}"/>'
            )
        case _:
            high = radius * 1.35
            corners = f"{x:.1f},{y - high:.1f} {x - high:.1f},{y + high * 0.8:.1f}"
            return f'<polygon {look} points="{corners} {x + high:.1f},{y + high * 0.8:.1f}"/>'


def _target(y: float) -> str:
    return (
        f'<line class="target" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
        f'stroke="{_TARGET}" stroke-dasharray="6 4"/>'
    )


def _ring(x: float, y: float, radius: float, dashes: str) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<circle class="line" cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="none" '
        f'stroke="{_INK}" stroke-width="1.6"{dashed}/>'
    )


def _line(name: str, x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return (
        f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}"/>'
    )


def _text(
    x: float, y: float, words: str, name: str = "", colour: str = _INK, *, anchor: int = 0
) -> str:
    """`anchor` 0, 1, 2: x is the start, the middle, the end."""
    where = ("start", "middle", "end")[anchor]
    bold = ' font-size="15" font-weight="600"' if name == "title" else ""
    classes = name if name in ("faint", "target-text") else f"ink {name}".strip()
    return (
        f'<text class="{classes}" x="{x:.1f}" y="{y:.1f}" fill="{colour}" '
        f'text-anchor="{where}"{bold}>{escape(words)}</text>'
    )


# --- scales -------------------------------------------------------------------------------------
def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _log_scale(low: float, high: float, start: float, end: float) -> Scale:
    inner = _scale(math.log(low), math.log(high), start, end)
    return lambda value: inner(math.log(value))


def _ticks(low: float, high: float) -> list[float]:
    """About five round values from low to high."""
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [
        round(first * step + i * step, 12)
        for i in range(int((high - first * step) / step + 1e-9) + 1)
    ]


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values between low and high, more of them where the span is short."""
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(n / 10 for n in range(10, 100))):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [s * 10.0**p for p in powers for s in steps if low <= s * 10.0**p <= high]
        if len(found) >= 4:
            break
    thinned = found[:: max(1, len(found) // 8)]
    return [float(f"{value:.3g}") for value in thinned]
