"""The plots of a report as SVG; colours are classes of style.css, so that they follow the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from eval.compare import Difference
from eval.reports.intervals import Figure
from eval.reports.model import Group, Latency, Report, RunShown, differ_in_bytes
from eval.reports.plain import milliseconds, number
from eval.reports.svg import (
    circle,
    colour,
    fitting,
    line,
    log_ticks,
    mark,
    path,
    rectangle,
    text,
    titled,
)

_WIDTH, _LEFT, _RIGHT, _TOP = 720.0, 56.0, 24.0, 16.0
_LEGEND_PX, _BAR_PX, _GAP_PX, _STRIP_PX = 24.0, 11.0, 5.0, 30.0
_BINS = 28
_MOST_KS = 6  # all named on the axis; of more, some
_LABEL_WIDTH_PX, _LABEL_HEIGHT_PX = 170.0, 15.0
_TIME_PX = 96.0
_SMALL_WIDTH, _SMALL_HEIGHT = 132.0, 16.0
Scale = Callable[[float], float]


def recall_plot(report: Report) -> str:
    """Recall by how many pages are looked at; "" where no run tells it."""
    shown = [(i, run) for i, run in enumerate(report.runs) if run.recall]
    if not shown:
        return ""
    deepest = max(2, *(run.recall[-1][0] for _, run in shown))
    bottom = _TOP + 250
    x = _log(1, deepest, _LEFT, _WIDTH - _RIGHT)
    y = _linear(0, 1, bottom, _TOP)
    parts = _shares_up(y)
    ks = range(1, deepest + 1) if deepest <= _MOST_KS else [int(k) for k in log_ticks(1, deepest)]
    parts += [text(x(k), bottom + 18, f"{k}", "tick", anchor="middle") for k in ks]
    for series, run in shown:
        points = [(x(k), y(value)) for k, value in run.recall]
        parts.append(path(points, f"line {colour(series)} d{series % 4}"))
        parts += [mark(x(k), y(run.recall[k - 1][1]), series) for k in ks if k <= len(run.recall)]
    parts.append(
        text((_LEFT + _WIDTH) / 2, bottom + 38, "pages looked at, k", "axis", anchor="middle")
    )
    height = bottom + 48
    if len(shown) > 1:
        legend, height = _legend(shown, height)
        parts += legend
    ends = "; ".join(
        f"{run.label}: {_share(run.recall[0][1])} at 1, {_share(run.recall[-1][1])} at "
        f"{run.recall[-1][0]}"
        for _, run in shown
    )
    return titled(parts, _WIDTH, height, "Recall by number of pages looked at", ends)


def bars_plot(report: Report, dimension: str) -> str:
    """The main measure for each value of a dimension, a bar a run with its interval."""
    by_run = [
        {group.name: group for group in run.groups if group.dimension == dimension}
        for run in report.runs
    ]
    names = list(dict.fromkeys(name for groups in by_run for name in groups))
    if not names:
        return ""
    left, right = 190.0, 64.0
    row_px = len(report.runs) * (_BAR_PX + _GAP_PX) + 14
    bottom = _TOP + len(names) * row_px
    x = _linear(0, 1, left, _WIDTH - right)
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        parts.append(line(x(share), _TOP - 4, x(share), bottom, "grid"))
        parts.append(text(x(share), bottom + 16, f"{share:g}", "tick", anchor="middle"))
    said = []
    for row, name in enumerate(names):
        top = _TOP + row * row_px
        parts.append(
            text(left - 12, top + row_px / 2 - 1, fitting(name, left - 20), "name", anchor="end")
        )
        for series, groups in enumerate(by_run):
            group = groups.get(name)
            shown = _main_of(group, report.main)
            bar_top = top + 3 + series * (_BAR_PX + _GAP_PX)
            if shown is None:
                parts.append(text(x(0) + 6, bar_top + 10, "not counted", "tick"))
                continue
            parts += _bar(shown, x, bar_top, series)
            parts.append(text(_WIDTH - right + 12, bar_top + 10, _share(shown.value), "value"))
            said.append(f"{name}, {report.runs[series].label}: {_share(shown.value)}")
    height = bottom + 26
    if len(report.runs) > 1:
        legend, height = _legend(list(enumerate(report.runs)), height + 4)
        parts += legend
    title = f"{report.main} by {dimension}"
    return titled(parts, _WIDTH, height, title, "; ".join(said))


def latency_plot(report: Report) -> str:
    """How long searches took: a histogram of one run, quantiles of several."""
    timed = [(i, run) for i, run in enumerate(report.runs) if run.latency is not None]
    if not timed:
        return ""
    if len(report.runs) == 1 and report.runs[0].latency is not None:
        return _histogram(report.runs[0].latency)
    return _strips(timed)


def pareto_plot(report: Report) -> str:
    """Quality over median latency; runs that no other beats in both are joined."""
    timed = [(i, run) for i, run in enumerate(report.runs) if run.latency is not None]
    if len(timed) < 2:
        return ""
    costs = {run.label: run.latency.quantiles_ms[50] for _, run in timed if run.latency}
    return _over(report, timed, costs, "median latency, ms", "Quality over latency")


def bytes_plot(report: Report) -> str:
    """Quality over bytes per page; "" unless every run tells them and they differ."""
    if not differ_in_bytes(report.runs):
        return ""
    sized = list(enumerate(report.runs))
    costs = {run.label: run.bytes_per_page or 0.0 for run in report.runs}
    return _over(report, sized, costs, "bytes of the index per page", "Quality over index size")


def interval_plot(figure: Figure) -> str:
    """A mean with its interval, as small as a cell."""
    x = _linear(0, max(1.0, figure.high), 4, _SMALL_WIDTH - 4)
    middle = _SMALL_HEIGHT / 2
    parts = [
        line(x(0), middle, _SMALL_WIDTH - 4, middle, "grid"),
        line(x(figure.low), middle, x(figure.high), middle, "whisker s0"),
        mark(x(figure.value), middle, 0, size=3.6),
    ]
    said = f"{_share(figure.value)}, between {_share(figure.low)} and {_share(figure.high)}"
    return titled(parts, _SMALL_WIDTH, _SMALL_HEIGHT, figure.measure, said)


def difference_plot(each: Difference, widest: float) -> str:
    """A difference with its interval around 0, as small as a cell, on a scale shared by a table."""
    x = _linear(-widest, widest, 4, _SMALL_WIDTH - 4)
    middle = _SMALL_HEIGHT / 2
    name = "sure" if each.low > 0 or each.high < 0 else "unsure"
    parts = [
        line(x(0), 1, x(0), _SMALL_HEIGHT - 1, "zero"),
        line(x(each.low), middle, x(each.high), middle, f"whisker {name}"),
        circle(x(each.difference), middle, 3.6, f"mark {name}"),
    ]
    said = f"{each.difference:+.3f}, between {each.low:+.3f} and {each.high:+.3f}"
    return titled(parts, _SMALL_WIDTH, _SMALL_HEIGHT, each.measure, said)


def widest_of(differences: Sequence[Difference]) -> float:
    """What the scale of a table of differences has to hold."""
    return max([0.01, *(max(abs(each.low), abs(each.high)) for each in differences)])


# --- parts ----------------------------------------------------------------------------------------
def _over(
    report: Report,
    shown: Sequence[tuple[int, RunShown]],
    costs: dict[str, float],
    axis: str,
    title: str,
) -> str:
    bottom = _TOP + 270
    low, high = min(costs.values()) / 1.3, max(costs.values()) * 1.3
    values = [run.headline for _, run in shown]
    least, most = min(v.low for v in values), max(v.high for v in values)
    room = max(0.02, (most - least) * 0.08)
    y = _linear(max(0.0, least - room), min(1.0, most + room), bottom, _TOP)
    x = _log(low, high, _LEFT, _WIDTH - _RIGHT - 90)
    parts = _shares_up(y, low=max(0.0, least - room), high=min(1.0, most + room))
    for tick in log_ticks(low, high):
        parts.append(line(x(tick), bottom, x(tick), bottom + 4, "grid"))
        parts.append(text(x(tick), bottom + 18, _tick(tick), "tick", anchor="middle"))
    front = sorted(
        (x(costs[run.label]), y(run.headline.value))
        for _, run in shown
        if run.label in report.front
    )
    if len(front) > 1:
        parts.append(path(front, "front"))
    said = []
    placed: list[tuple[float, float]] = []
    for series, run in shown:
        at, value = x(costs[run.label]), run.headline
        parts.append(line(at, y(value.low), at, y(value.high), f"whisker {colour(series)}"))
        parts.append(mark(at, y(value.value), series, size=6))
        placed.append(_free(placed, at + 11, y(value.value) + 4))
        parts.append(text(*placed[-1], fitting(run.label, _LABEL_WIDTH_PX), "name"))
        said.append(f"{run.label}: {_share(value.value)} at {number(costs[run.label])}")
    parts.append(text((_LEFT + _WIDTH - 90) / 2, bottom + 40, axis, "axis", anchor="middle"))
    return titled(parts, _WIDTH, bottom + 50, f"{title}, {report.main}", "; ".join(said))


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def _free(placed: Sequence[tuple[float, float]], x: float, y: float) -> tuple[float, float]:
    """The nearest place below where no label stands yet."""
    while any(
        abs(x - at) < _LABEL_WIDTH_PX and abs(y - beside) < _LABEL_HEIGHT_PX
        for at, beside in placed
    ):
        y += _LABEL_HEIGHT_PX / 3
    return x, y


def _histogram(latency: Latency) -> str:
    low, high = _bounds(latency.values_ms)
    edges = np.geomspace(low, high, _BINS + 1)
    counts, _ = np.histogram(np.clip(latency.values_ms, low, high), edges)
    bottom = _TOP + 150
    x = _log(low, high, _LEFT, _WIDTH - _RIGHT)
    y = _linear(0, max(1, int(counts.max())), bottom, _TOP + 36)
    parts = [line(_LEFT, bottom, _WIDTH - _RIGHT, bottom, "grid")]
    for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        if count:
            wide = x(float(right)) - x(float(left)) - 1
            parts.append(rectangle(x(float(left)), y(count), wide, bottom - y(count), "bar s0"))
    parts += [
        text(x(tick), bottom + 18, _tick(tick), "tick", anchor="middle")
        for tick in log_ticks(low, high)
    ]
    p50, p95 = latency.quantiles_ms[50], latency.quantiles_ms[95]
    for row, (name, value) in enumerate((("p50", p50), ("p95", p95))):
        parts.append(line(x(value), _TOP, x(value), bottom, "quantile"))
        is_far = x(value) > _WIDTH / 2  # its words would run over the edge
        at, anchor = (x(value) - 6, "end") if is_far else (x(value) + 6, "start")
        said = f"{name} {milliseconds(value)}"
        parts.append(text(at, _TOP + 8 + 16 * row, said, "value", anchor=anchor))
    parts.append(
        text((_LEFT + _WIDTH) / 2, bottom + 38, "milliseconds a question", "axis", anchor="middle")
    )
    said = (
        f"{latency.n} questions, half within {milliseconds(p50)}, 95 of 100 within "
        f"{milliseconds(p95)}"
    )
    return titled(parts, _WIDTH, bottom + 48, f"Time of {latency.of}", said)


def _strips(timed: Sequence[tuple[int, RunShown]]) -> str:
    left = 190.0
    of = " and ".join(dict.fromkeys(run.latency.of for _, run in timed if run.latency))
    quantiles = [run.latency.quantiles_ms for _, run in timed if run.latency]
    low, high = _bounds([value for each in quantiles for value in each.values()])
    bottom = _TOP + len(timed) * _STRIP_PX
    x = _log(low, high, left, _WIDTH - _RIGHT - _TIME_PX)
    parts = []
    for tick in log_ticks(low, high):
        parts.append(line(x(tick), _TOP - 4, x(tick), bottom, "grid"))
        parts.append(text(x(tick), bottom + 18, _tick(tick), "tick", anchor="middle"))
    said = []
    for row, ((series, run), at) in enumerate(zip(timed, quantiles, strict=True)):
        middle = _TOP + (row + 0.5) * _STRIP_PX
        parts += [
            text(left - 12, middle + 4, fitting(run.label, left - 20), "name", anchor="end"),
            line(x(at[5]), middle, x(at[95]), middle, f"whisker {colour(series)}"),
            rectangle(x(at[25]), middle - 6, x(at[75]) - x(at[25]), 12, f"bar {colour(series)}"),
            mark(x(at[50]), middle, series, size=5),
            text(_WIDTH - _RIGHT, middle + 4, milliseconds(at[50]), "value", anchor="end"),
        ]
        p50, p95 = milliseconds(at[50]), milliseconds(at[95])
        said.append(f"{run.label}: median {p50}, 95 of 100 within {p95}")
    note = "milliseconds a question: median, middle half, 5 to 95 of 100"
    parts.append(text((left + _WIDTH - _TIME_PX) / 2, bottom + 38, note, "axis", anchor="middle"))
    return titled(parts, _WIDTH, bottom + 48, f"Time of {of}", "; ".join(said))


def _bounds(values_ms: Sequence[float]) -> tuple[float, float]:
    """Of a logarithmic axis; never empty, and above 0."""
    low = max(1e-3, min(values_ms)) / 1.15
    return low, max(low * 2, max(values_ms) * 1.15)


def _bar(shown: Figure, x: Scale, top: float, series: int) -> list[str]:
    middle = top + _BAR_PX / 2
    return [
        rectangle(x(0), top, x(shown.value) - x(0), _BAR_PX, f"bar {colour(series)}"),
        line(x(shown.low), middle, x(shown.high), middle, "error"),
    ]


def _main_of(group: Group | None, main: str) -> Figure | None:
    return None if group is None else group.figures.get(main)


def _shares_up(y: Scale, *, low: float = 0.0, high: float = 1.0) -> list[str]:
    step = (
        0.25
        if high - low > 0.5
        else 0.1
        if high - low > 0.2
        else 0.05
        if high - low > 0.1
        else 0.02
    )
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    parts = []
    for tick in (step * i for i in range(first, last + 1)):
        parts.append(line(_LEFT, y(tick), _WIDTH - _RIGHT, y(tick), "grid"))
        parts.append(text(_LEFT - 10, y(tick) + 4, f"{tick:.3g}", "tick", anchor="end"))
    return parts


def _legend(shown: Sequence[tuple[int, RunShown]], top: float) -> tuple[list[str], float]:
    """Runs under a plot, as many in a line as fit; and where the plot ends."""
    n_across = 4 if len(shown) == 4 else 3
    each_px = (_WIDTH - _LEFT) / n_across
    parts = []
    for place, (series, run) in enumerate(shown):
        left = _LEFT + place % n_across * each_px
        middle = top + (place // n_across + 0.5) * _LEGEND_PX
        parts.append(mark(left + 5, middle, series))
        parts.append(text(left + 18, middle + 4.5, fitting(run.label, each_px - 30), "name"))
    return parts, top + math.ceil(len(shown) / n_across) * _LEGEND_PX + 4


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    wide = high - low or 1.0
    return lambda value: start + (min(max(value, low), high) - low) / wide * (end - start)


def _log(low: float, high: float, start: float, end: float) -> Scale:
    wide = math.log(high / low) or 1.0
    return lambda value: start + math.log(min(max(value, low), high) / low) / wide * (end - start)


def _share(value: float) -> str:
    return f"{value:.3f}"
