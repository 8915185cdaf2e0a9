"""A report as Markdown (GFM tables); words of others are escaped, so that none marks up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from eval.compare import Difference
from eval.datasets.folder import PageKey
from eval.reports.model import ComparedRuns, QuestionShown, Report, RunShown, Seen, key_measures
from eval.reports.plain import one_line, shortened

_MARKS = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$:@^=])")
_MOST_LETTERS = 600


def as_markdown(report: Report) -> str:
    lines = [f"# {escaped(report.title)}", "", _under(report), ""]
    lines += _notices(report)
    for compared in report.compared:
        lines += [*_differences(compared), ""]
    for run in report.runs:
        lines += [*_figures(run), ""]
    lines += _groups(report)
    lines += _recall(report)
    lines += _latency(report)
    lines += _preferred(report)
    if report.n_below or report.n_best:
        below = f"{escaped(report.main)} is below 1 for {report.n_below} questions"
        best = f"1 for {report.n_best}"
        lines += ["## The worst questions", "", f"{below} and {best}. Lowest first.", ""]
        for question in report.worst:
            lines += [*_question(question, report), ""]
    lines += _sources(report)
    return "\n".join(lines).rstrip() + "\n"


def escaped(words: str) -> str:
    """On one line, as data: a reader of Markdown shows it letter by letter."""
    plain = shortened(one_line(words), _MOST_LETTERS)
    marked = _MARKS.sub(r"\\\1", plain.replace("&", "&amp;"))
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    marks = ["---", *("---:" for _ in heads[1:])]
    return [f"| {' | '.join(row)} |" for row in (heads, marks, *rows)]


def _under(report: Report) -> str:
    runs = f", {len(report.runs)} runs" if report.is_comparison else ""
    return f"{report.n_questions} questions, scope {escaped(report.scope)}{runs}."


def _notices(report: Report) -> list[str]:
    lines = []
    for run in report.runs:
        name = f"{escaped(run.label)}: " if report.is_comparison else ""
        lines += [
            f"- {name}**{escaped(each.code)}**, {each.n_questions} questions: "
            f"{escaped(each.message)}"
            for each in run.notices
        ]
        if run.refused:
            lines.append(f"- {name}**refused**, {len(run.refused)} questions")
    return ["## Before the figures", "", *lines, ""] if lines else []


def _differences(compared: ComparedRuns) -> list[str]:
    rows = [[escaped(each.measure), *_cells(each)] for each in compared.differences]
    names = escaped(compared.first), escaped(compared.second)
    heads = ["", *names, *_DIFFERENCE]
    return [f"## {names[1]} less {names[0]}", "", *table(heads, rows)]


_DIFFERENCE = ("difference", "95 % interval", "p", "p (Holm)")


def _cells(each: Difference) -> list[str]:
    return [
        f"{each.first:.4f}",
        f"{each.second:.4f}",
        f"{each.difference:+.4f}",
        f"[{each.low:+.4f}, {each.high:+.4f}]",
        f"{each.p_value:.4f}",
        f"{each.p_holm:.4f}" + (r" \*" if each.p_holm < 0.05 else ""),
    ]


def _figures(run: RunShown) -> list[str]:
    rows = [
        [
            escaped(each.measure),
            str(each.n),
            f"{each.value:.4f}",
            f"[{each.low:.4f}, {each.high:.4f}]",
        ]
        for each in run.figures
    ]
    return [f"## {escaped(run.label)}", "", *table(["", "n", "mean", "95 % interval"], rows)]


def _groups(report: Report) -> list[str]:
    measures = key_measures(report)
    lines: list[str] = []
    dimensions = dict.fromkeys(group.dimension for run in report.runs for group in run.groups)
    for dimension in dimensions:
        rows = [
            [
                escaped(group.name),
                *([escaped(run.label)] if report.is_comparison else []),
                str(group.n),
                *(
                    f"{group.figures[name].value:.4f}" if name in group.figures else ""
                    for name in measures
                ),
            ]
            for run in report.runs
            for group in run.groups
            if group.dimension == dimension
        ]
        rows.sort(key=lambda row: row[0])
        heads = ["", *(["run"] if report.is_comparison else []), "n", *map(escaped, measures)]
        lines += [f"## By {escaped(dimension)}", "", *table(heads, rows), ""]
    return lines


def _recall(report: Report) -> list[str]:
    ks = [
        k for k in (1, 2, 3, 5, 10, 20, 50, 100) if any(len(run.recall) >= k for run in report.runs)
    ]
    rows = [
        [
            escaped(run.label),
            *(f"{run.recall[k - 1][1]:.4f}" if k <= len(run.recall) else "" for k in ks),
        ]
        for run in report.runs
        if run.recall
    ]
    if not rows:
        return []
    return ["## Recall by k", "", *table(["", *(f"R@{k}" for k in ks)], rows), ""]


def _latency(report: Report) -> list[str]:
    rows = [
        [
            escaped(run.label),
            str(run.latency.n),
            *(f"{run.latency.quantiles_ms[q]:.1f}" for q in (50, 95)),
            f"{run.bytes_per_page:,.0f}" if run.bytes_per_page else "",
        ]
        for run in report.runs
        if run.latency is not None
    ]
    if not rows:
        return []
    heads = ["", "n", "p50, ms", "p95, ms", "bytes per page"]
    return ["## Time and size", "", *table(heads, rows), ""]


def _preferred(report: Report) -> list[str]:
    lines = []
    for each in report.preferred:
        names = escaped(each.first), escaped(each.second)
        rows = [[escaped(row.measure), *_cells(row)] for row in each.differences]
        lines += [
            f"## What {escaped(each.judge)} preferred",
            "",
            (
                f"{names[1]} was better in {each.n_second}, {names[0]} in {each.n_first} of "
                f"{each.n_judged} pairs; {each.n_ties} ties, {each.n_left_out} left out."
            ),
            "",
            *table(["", *names, *_DIFFERENCE], rows),
            "",
            *(f"- **{escaped(seen.code)}**: {escaped(seen.message)}" for seen in each.notices),
            "",
        ]
    return lines


def _question(question: QuestionShown, report: Report) -> Iterator[str]:
    yield f"### {escaped(question.text or question.id)}"
    yield ""
    yield f"- id {escaped(question.id)}, type {escaped(question.type)}"
    if question.expected:
        yield f"- expected: {escaped(question.expected)}"
    if question.gold:
        yield f"- gold: {'; '.join(map(_page, question.gold[:8]))}"
    for seen in question.seen:
        name = f"{escaped(seen.run)}: " if report.is_comparison else ""
        yield f"- {name}{'; '.join(_seen(seen, report.main))}"


def _seen(seen: Seen, main: str) -> Iterator[str]:
    if main in seen.values:
        yield f"{escaped(main)} {seen.values[main]:.4f}"
    if seen.refusal:
        yield f"refused: {escaped(seen.refusal)}"
    if seen.first is not None:
        yield f"found first: {_page(seen.first)}{' (gold)' if seen.first_is_gold else ''}"
    if seen.answer is not None:
        yield f"answered: {escaped(seen.answer.error or seen.answer.text)}"
        for citation in seen.answer.citations:
            yield f"cites {_page(citation.page)}, “{escaped(citation.quote)}”"


def _page(page: PageKey) -> str:
    return f"{escaped(page.doc)} page {page.page_number}"


def _sources(report: Report) -> Iterator[str]:
    yield "## Where this comes from"
    yield ""
    for run in report.runs:
        if report.is_comparison:
            yield from (f"### {escaped(run.label)}", "")
        yield from (f"- {escaped(fact.label)}: {escaped(fact.value)}" for fact in run.facts)
        yield from (
            f"- refused {escaped(query_id)}: {escaped(reason)}"
            for query_id, reason in run.refused.items()
        )
        yield ""
    if report.remarks:
        yield from ("Left out:", "", *(f"- {escaped(remark)}" for remark in report.remarks), "")
    yield f"Made again by `{one_line(report.command).replace('`', '')}`"
