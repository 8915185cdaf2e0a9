"""Evaluations and comparisons as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.compare import Comparison, Difference
from eval.compare_many import ManyCompared
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
    if evaluation.without_gold:
        lines.append(f"left out   {evaluation.without_gold} questions that no page answers")
    lines += [f"refused    {query}: {reason}" for query, reason in evaluation.refused.items()]
    lines += [
        f"notice     {code}, {seen['questions']} questions: {seen['message']}"
        for code, seen in evaluation.notices.items()
    ]
    return "\n".join(lines)


def parts_report(parts: Sequence[Json], macro: Mapping[str, float]) -> str:
    """A line a part of a set, and the mean over them, each as heavy as any other."""
    rows = [["", "n", *NAMES]]
    rows += [
        [
            part["dataset"],
            str(part["n_questions"]),
            *(f"{part['measures'][name]:.4f}" for name in NAMES),
        ]
        for part in parts
    ]
    rows.append(["mean of parts", "", *(f"{macro[name]:.4f}" for name in NAMES)])
    return "\n".join(aligned(rows))


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
    rows = [["", "first", "second", *_DIFFERENCE_COLUMNS]]
    rows += [
        [each.measure, f"{each.first:.4f}", f"{each.second:.4f}", *_difference_cells(each)]
        for each in comparison.differences
    ]
    head = (
        f"{comparison.dataset}, scope {comparison.scope}, {comparison.n_questions} questions, "
        f"{comparison.n_resamples} resamples"
    )
    return "\n".join([head, "", *aligned(rows)])


def many_compared_report(compared: ManyCompared) -> str:
    """A block a measure, the baseline on top; over several datasets, the first measure by each."""
    baseline, *others = compared.systems
    datasets = ", ".join(f"{part.dataset} ({part.n_questions})" for part in compared.parts)
    scopes = ", ".join(dict.fromkeys(part.scope for part in compared.parts))
    rows = []
    for column, measure in enumerate(compared.measures):
        rows.append([measure, "mean", *_DIFFERENCE_COLUMNS])
        rows.append([baseline.name, f"{baseline.means[measure]:.4f}", *[""] * 4])
        rows += [
            [each.name, f"{each.means[measure]:.4f}", *_difference_cells(each.differences[column])]
            for each in others
        ]
    table = aligned(rows)
    per_block = 2 + len(others)
    blocks = [
        "\n".join(table[start : start + per_block]) for start in range(0, len(table), per_block)
    ]
    if len(compared.parts) > 1:
        blocks.append("\n".join(aligned(_parts_table(compared))))
    resampled = f"paired bootstrap over questions, {compared.n_resamples} resamples"
    notes = [
        f"differences from {baseline.name}, 95 % intervals: {resampled}",
        f"*  p < 0.05 when corrected for all {compared.n_corrected} differences (Holm)",
    ]
    if len(compared.parts) > 1:
        notes.append(
            "means are over datasets, each as heavy as any other; questions are resampled within"
        )
    if compared.smallest_p_holm >= 0.05:
        notes.append(
            f"note: with {compared.n_corrected} differences and {compared.n_resamples} resamples "
            f"no corrected p is below {compared.smallest_p_holm:.2f}; ask for fewer measures"
        )
    return "\n\n".join([f"{datasets} questions, scope {scopes}", *blocks, "\n".join(notes)])


_DIFFERENCE_COLUMNS = ("difference", "95 % interval", "p", "p (Holm)")


def _difference_cells(each: Difference) -> list[str]:
    return [
        f"{each.difference:+.4f}",
        f"[{each.low:+.4f}, {each.high:+.4f}]",
        f"{each.p_value:.4f}",
        f"{each.p_holm:.4f}{' *' if each.p_holm < 0.05 else '  '}",
    ]


def _parts_table(compared: ManyCompared) -> list[list[str]]:
    measure = compared.measures[0]
    rows = [[f"{measure} by dataset", *(system.name for system in compared.systems)]]
    for index, part in enumerate(compared.parts):
        values = [f"{system.of_parts[index][measure]:.4f}" for system in compared.systems]
        rows.append([f"{part.dataset}, scope {part.scope}", *values])
    return rows


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
