"""Evaluations and comparisons as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from eval.compare import Comparison
from eval.measures import NAMES
from eval.run_eval import Evaluation


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
        *_table(rows),
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
    return "\n".join([head, "", *_table(rows)])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
