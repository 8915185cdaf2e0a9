"""Evaluations and comparisons as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.compare import Comparison
from eval.measures import NAMES
from eval.run_eval import Evaluation
from rag.types import Json


def evaluation_report(evaluation: Evaluation) -> str:
    """The means, overall and by question type; times; where the figures come from."""
    rows = [["", "n", *NAMES]]
    total: dict[str, float] = {"n": evaluation.n_questions, **evaluation.measures}
    for name, values in [("all", total), *evaluation.by_type.items()]:
        rows.append([name, f"{values['n']:.0f}", *(f"{values[key]:.4f}" for key in NAMES)])
    latency_ms, cpu = evaluation.latency_ms, evaluation.machine
    lines = [
        f"{evaluation.dataset}, scope {evaluation.scope}, {evaluation.n_questions} questions",
        "",
        *aligned(rows),
        "",
        f"latency    p50 {latency_ms['p50']:.1f} ms, p95 {latency_ms['p95']:.1f} ms",
        f"encoder    {evaluation.encoder or '-'}, config {evaluation.config_hash}",
        f"machine    {cpu['cores']} x {cpu['cpu']}, commit {evaluation.commit or '-'}",
    ]
    lines += [f"refused    {query}: {reason}" for query, reason in evaluation.refused.items()]
    lines += [
        f"notice     {code}, {seen['questions']} questions: {seen['message']}"
        for code, seen in evaluation.notices.items()
    ]
    return "\n".join(lines)


def folds_report(folds: Json) -> str:
    """What was chosen on the other folds and measured on each, beside a choice made on all."""
    measure, difference = folds["measure"], folds["held_out_difference"]
    rows = [["fold", "n", "as it is", "chosen at", "held out"]]
    rows += [
        [
            str(fold["fold"]),
            str(fold["questions"]),
            *(f"{fold[key]:.4f}" for key in ("baseline", "chosen_at", "held_out")),
        ]
        for fold in folds["folds"]
    ]
    table = aligned(rows)
    chosen = ["chosen on the others", *(_settings(fold["settings"]) for fold in folds["folds"])]
    at_most = f", {folds['tried']} of {folds['combinations']} tried, {folds['search']}"
    dealt = f"{folds['groups']} groups, seed {folds['seed']}"
    gain = f"{difference['value']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    lines = [
        f"{measure} by {folds['n']} folds of documents ({dealt}){at_most if folds['axes'] else ''}",
        "",
        *(f"{row}   {settings}".rstrip() for row, settings in zip(table, chosen, strict=True)),
        "",
        f"as it is   {folds['baseline'][measure]:.4f}",
        f"in sample  {folds['in_sample']['measures'][measure]:.4f}   "
        f"{_settings(folds['in_sample']['settings'])}".rstrip(),
        f"held out   {folds['held_out'][measure]:.4f}   {gain} from as it is",
    ]
    lines += [
        f"degraded   {name}: {code} at {n} questions"
        for name, codes in folds["degraded"].items()
        for code, n in codes.items()
    ]
    return "\n".join(lines)


def _settings(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())


def comparison_report(comparison: Comparison) -> str:
    """Means of both, difference with interval, p values; * where the corrected p is < 0.05."""
    rows = [["", "first", "second", "difference", "95 % interval", "p", "p (Holm)"]]
    rows += [
        [
            each.measure,
            f"{each.first:.4f}",
            f"{each.second:.4f}",
            f"{each.difference:+.4f}",
            f"[{each.low:+.4f}, {each.high:+.4f}]",
            f"{each.p_value:.4f}",
            f"{each.p_holm:.4f}{' *' if each.p_holm < 0.05 else '  '}",
        ]
        for each in comparison.differences
    ]
    head = (
        f"{comparison.dataset}, scope {comparison.scope}, {comparison.n_questions} questions, "
        f"{comparison.n_resamples} resamples"
    )
    return "\n".join([head, "", *aligned(rows)])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row, columns under each other, all but the first to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
