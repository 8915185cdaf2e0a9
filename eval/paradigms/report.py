"""Arms side by side as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from eval.report import aligned
from rag.types import Json

_BY = (
    ("by_part", "part"),
    ("by_answer_type", "answer type"),
    ("by_question_type", "question type"),
)


def arms_report(figures: Json) -> str:
    """What `arms_figures` gave, for a terminal."""
    names, arms, k = figures["measures"], figures["arms"], figures["k"]
    head = ["", "n", *names, "p50 ms", "p95 ms"]
    rows = [head]
    for name, arm in arms.items():
        latency = arm["latency_ms"]
        times = [f"{latency['p50']:.1f}", f"{latency['p95']:.1f}"]
        rows.append([name, str(arm["n"]), *(f"{arm['macro'][each]:.4f}" for each in names), *times])
    lines = [f"means over {_parts(figures)}, {k} pages a question", "", *aligned(rows)]
    for group, label in _BY:
        lines += _beside(arms, group, f"R@{k} by {label}", f"R@{k}")
    lines += _answers(arms)
    if figures["comparisons"]:
        lines += ["", *_comparisons(figures)]
    lines.append("")
    lines += [f"{name:<10} {arm['says']}; {arm['encoder'] or '-'}" for name, arm in arms.items()]
    lines += [f"left out   {name}: {why}" for name, why in figures["left_out"].items()]
    if missing := figures.get("parts_missing"):
        lines.append(f"missing    not in this copy: {', '.join(missing)}")
    lines += [f"degraded   {said}" for said in figures.get("answers_degraded", [])]
    lines += [*_refused(arms), *_notices(arms)]
    return "\n".join(lines)


def _parts(figures: Json) -> str:
    parts = next(iter(figures["arms"].values()))["by_part"]
    return next(iter(parts)) if len(parts) == 1 else f"{len(parts)} parts, each as heavy"


def _beside(arms: Json, group: str, title: str, measure: str) -> list[str]:
    """One measure, a row a group and a column an arm; nothing where there is one group."""
    found = next(iter(arms.values())).get(group, {})
    if len(found) < 2:
        return []
    rows = [[title, "n", *arms]]
    rows += [
        [name, str(row["n"]), *(f"{arm[group][name][measure]:.4f}" for arm in arms.values())]
        for name, row in found.items()
    ]
    return ["", *aligned(rows)]


def _answers(arms: Json) -> list[str]:
    """Measures of answers, a row an arm; nothing where none were asked for."""
    answers = {name: arm["answers"] for name, arm in arms.items() if "answers" in arm}
    if not answers:
        return []
    names = list(dict.fromkeys(name for found in answers.values() for name in found["macro"]))
    rows = [["answers", "failed", *names]]
    for name, found in answers.items():
        macro = found["macro"]
        cells = [f"{macro[each]:.4f}" if each in macro else "-" for each in names]
        rows.append([name, str(found["n_failed"]), *cells])
    return ["", *aligned(rows)]


def _comparisons(figures: Json) -> Sequence[str]:
    rows = [["second less first", "measure", "difference", "low", "high", "p", "p (Holm)"]]
    for pair in figures["comparisons"]:
        for index, each in enumerate(pair["differences"]):
            rows.append(
                [
                    f"{pair['second']} - {pair['first']}" if index == 0 else "",
                    each["measure"],
                    *(f"{each[name]:+.4f}" for name in ("difference", "low", "high")),
                    *(f"{each[name]:.4f}" for name in ("p_value", "p_holm")),
                ]
            )
    return aligned(rows)


def _refused(arms: Json) -> list[str]:
    """Questions that an arm would not search for, which count as 0."""
    return [
        f"refused    {name}, {part}: {len(refused)} questions, the first: "
        f"{next(iter(refused.values()))}"
        for name, arm in arms.items()
        for part, refused in arm["refused"].items()
    ]


def _notices(arms: Json) -> list[str]:
    return [
        f"notice     {name}: {code}, {seen['questions']} questions: {seen['message']}"
        for name, arm in arms.items()
        for code, seen in arm["notices"].items()
    ]
