"""A run as tables for people, and as one line of JSON for the history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from eval import provenance
from eval.bench.contender import Outcome, Row, described
from eval.bench.goals import (
    Verdict,
    of_limit,
    peaks_were_disturbed,
    slowdown_verdicts,
    verdicts,
)
from eval.bench.machine import versions
from eval.bench.oversubscribed import Slowdown


def table(outcome: Outcome, *, with_goals: bool = True) -> str:
    """Times, gates and ratios of one section; goals only mean something at full size."""
    lines = [f"== {outcome.section}: {outcome.work}", _setting(outcome)]
    width = max([len(row.name) for row in outcome.rows] + [20])
    if outcome.rows:
        lines.append(
            f"{'':{width}} {'min ms':>10} {'median ms':>10} {'rounds':>6} {'of limit':>16}  held to"
        )
    lines += [
        (
            f"{row.name:{width}} {row.min_s * 1e3:10.3f} {row.median_s * 1e3:10.3f} "
            f"{len(row.seconds):6} {_share(outcome, row):>16}  {described(row.gate)}"
        )
        for row in outcome.rows
    ]
    if peaks_were_disturbed(outcome):
        lines.append(
            "PEAKS DISTURBED: somebody was faster than the measured peak, so other programs were "
            "at work; no share of the limit in this section counts. Run again on a quiet machine."
        )
    lines += [f"{name:{width}} FAILED: {why}" for name, why in outcome.failed.items()]
    lines += [f"{name:{width}} skipped: {why}" for name, why in outcome.skipped.items()]
    lines += _ratio_lines(outcome)
    if with_goals:
        lines += [_goal_line(verdict) for verdict in verdicts(outcome)]
    return "\n".join(lines) + "\n"


def slowdown_table(slowdowns: Sequence[Slowdown], *, with_goals: bool = True) -> str:
    lines = [
        "== oversubscribed: milliseconds a call, quiet and with four busy processes a core",
        (
            f"{'':24} {'quiet min':>10} {'median':>10} {'busy min':>10} {'median':>10} "
            f"{'slowed by':>15} {'over the loop':>15}"
        ),
    ]
    for each in slowdowns:
        numbers = each.as_dict()
        quiet, busy = numbers["quiet_ms"], numbers["busy_ms"]
        lines.append(
            f"{each.name:24} {quiet[0]:10.3f} {quiet[1]:10.3f} {busy[0]:10.3f} {busy[1]:10.3f} "
            f"{_pair(each.factors):>15} {_pair(each.against_loop):>15}"
        )
    lines.append("(slowed by: minima / medians)")
    if with_goals:
        lines += [_goal_line(verdict) for verdict in slowdown_verdicts(slowdowns)]
    return "\n".join(lines) + "\n"


def as_json(
    outcomes: Sequence[Outcome],
    slowdowns: Sequence[Slowdown],
    arguments: dict[str, Any],
    *,
    with_goals: bool = True,
) -> dict[str, Any]:
    """One run: where, of what, and every figure."""
    run: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": versions(),
        "arguments": arguments,
        "sections": {outcome.section: _section(outcome) for outcome in outcomes},
    }
    if slowdowns:
        run["oversubscribed"] = {each.name: each.as_dict() for each in slowdowns}
    if with_goals:
        judged = [verdict for outcome in outcomes for verdict in verdicts(outcome)]
        run["goals"] = [_rounded(verdict) for verdict in [*judged, *slowdown_verdicts(slowdowns)]]
    return run


def _section(outcome: Outcome) -> dict[str, Any]:
    contenders: dict[str, Any] = {}
    for row in outcome.rows:
        share = of_limit(outcome, row)
        contenders[row.name] = {
            "ours": row.ours,
            "min_ms": round(row.min_s * 1e3, 4),
            "median_ms": round(row.median_s * 1e3, 4),
            "rounds": len(row.seconds),
            "gate": {name: float(f"{value:.4g}") for name, value in row.gate.figures.items()},
        }
        if share is not None:
            contenders[row.name]["of_limit"] = round(share[0], 4)
            contenders[row.name]["bound_by"] = share[1]
    return {
        "work": outcome.work,
        "load": [round(each, 2) for each in outcome.load],
        "peaks": outcome.machine.as_dict(),
        "peaks_disturbed": peaks_were_disturbed(outcome),
        **outcome.facts,
        "contenders": contenders,
        "failed": dict(outcome.failed),
        "skipped": dict(outcome.skipped),
        "ratios": {
            own: {peer: [round(each, 2) for each in ratio] for peer, ratio in peers.items()}
            for own, peers in outcome.ratios().items()
        },
    }


def _rounded(verdict: Verdict) -> dict[str, Any]:
    return {**asdict(verdict), "found": float(f"{verdict.found:.4g}")}


def _setting(outcome: Outcome) -> str:
    machine = outcome.machine
    parts = [f"load {outcome.load[0]:.1f} to {outcome.load[1]:.1f}"]
    if machine.gops:
        peaks = ", ".join(f"{kind} {value:,.0f}" for kind, value in machine.gops.items())
        parts.append(f"peaks {peaks} Gop/s ({machine.source})")
    if machine.read_gb_s is not None:
        parts.append(f"read {machine.read_gb_s:.0f} GB/s")
    parts += [f"{name}: {value}" for name, value in outcome.facts.items()]
    return "   " + "; ".join(parts)


def _share(outcome: Outcome, row: Row) -> str:
    share = of_limit(outcome, row)
    return "-" if share is None else f"{share[0]:.0%} ({share[1]})"


def _ratio_lines(outcome: Outcome) -> list[str]:
    ratios = outcome.ratios()
    peers = [row.name for row in outcome.rows if not row.ours]
    if not ratios or not peers:
        return []
    names = list(ratios)
    columns = [max(len(name), 15) for name in names]
    width = max(len(name) for name in peers)
    heads = " ".join(f"{name:>{column}}" for name, column in zip(names, columns, strict=True))
    lines = ["times as fast as, by minima / medians:", f"{'':{width}} {heads}"]
    for peer in peers:
        cells = " ".join(
            f"{_pair(ratios[name][peer]):>{column}}"
            for name, column in zip(names, columns, strict=True)
        )
        lines.append(f"{peer:{width}} {cells}")
    return lines


def _pair(numbers: tuple[float, float]) -> str:
    return f"{numbers[0]:.2f} / {numbers[1]:.2f}"


def _goal_line(verdict: Verdict) -> str:
    mark = {True: "met   ", False: "MISSED", None: "open  "}[verdict.met]
    return f"goal {mark} {verdict.sentence} {verdict.wanted:g}: {verdict.found:.3g}"
