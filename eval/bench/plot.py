"""A run as a picture: each section's medians on a logarithmic axis, the minima marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eval.bench import peers
from eval.bench.contender import Outcome

_OURS, _THEIRS, _MIN = "#1f6f8b", "#b8b8b8", "#202020"


def draw(outcomes: Sequence[Outcome], path: Path, caption: str) -> None:
    """Write an SVG, or what else the name ends in.

    Raises:
        Skipped: matplotlib is not installed.
    """
    peers.load("matplotlib").use("agg")  # no window, wherever this runs
    pyplot = peers.load("matplotlib", "pyplot")
    shown = [outcome for outcome in outcomes if outcome.rows]
    if not shown:
        return
    heights = [0.6 + 0.26 * len(outcome.rows) for outcome in shown]
    # Text stays text, and ids do not change from run to run.
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "octavo", "font.size": 8}):
        figure, axes = pyplot.subplots(
            len(shown),
            1,
            figsize=(9, sum(heights) + 0.6),
            height_ratios=heights,
            layout="constrained",
            squeeze=False,
        )
        for outcome, (axis,) in zip(shown, axes, strict=True):
            rows = list(reversed(outcome.rows))
            axis.barh(
                [row.name for row in rows],
                [row.median_s * 1e3 for row in rows],
                color=[_OURS if row.ours else _THEIRS for row in rows],
            )
            axis.plot(
                [row.min_s * 1e3 for row in rows], range(len(rows)), "|", color=_MIN, markersize=9
            )
            axis.set_xscale("log")
            axis.set_title(outcome.work, loc="left", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
        axes[-1][0].set_xlabel("milliseconds: median (bar) and minimum (mark)")
        figure.suptitle(caption, fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        pyplot.close(figure)
