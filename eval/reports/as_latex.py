"""The tables of a report for a paper: LaTeX with booktabs, words of others escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from eval.reports.model import ComparedRuns, Report, RunShown, key_measures
from eval.reports.plain import one_line, shortened

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # after the end of a row it would be the row's own argument
    "]": "{]}",
    "⟨": r"\textless{}",
    "⟩": r"\textgreater{}",
}
_ANY_SPECIAL = re.compile("|".join(map(re.escape, _SPECIAL)))
_MOST_LETTERS = 80


def as_latex(report: Report) -> str:
    """Tables of figures, differences and groups; wants booktabs, and T1 fonts or XeLaTeX."""
    parts = [
        "% Tables of an evaluation report. In the preamble:",
        "%   \\usepackage{booktabs}",
        "%   \\usepackage[T1]{fontenc}  % pdflatex alone",
        *(
            f"% {one_line(run.label)}: {one_line(each.code)}, {each.n_questions} questions: "
            f"{one_line(each.message)}"
            for run in report.runs
            for each in run.notices
        ),
        "",
        *_runs(report),
    ]
    for compared in report.compared:
        parts += ["", *_differences(compared)]
    for dimension in dict.fromkeys(group.dimension for run in report.runs for group in run.groups):
        parts += ["", *_by_group(report, dimension)]
    return "\n".join(parts) + "\n"


def escaped(words: str) -> str:
    """As data: no letter of it is a command."""
    plain = shortened(one_line(words), _MOST_LETTERS)
    return _ANY_SPECIAL.sub(lambda found: _SPECIAL[found[0]], plain)


def _runs(report: Report) -> Iterator[str]:
    measures = key_measures(report)
    rows = [[escaped(run.label), *(_mean(run, name) for name in measures)] for run in report.runs]
    said = (
        f"{escaped(report.dataset)}, {report.n_questions} questions, scope {escaped(report.scope)}"
    )
    methods = " or ".join(dict.fromkeys(each.method for run in report.runs for each in run.figures))
    caption = f"{said}. Means over the questions with 95\\,\\% {methods} intervals."
    yield from _table(["Run", *map(escaped, measures)], rows, caption)


def _mean(run: RunShown, name: str) -> str:
    found = next((each for each in run.figures if each.measure == name), None)
    if found is None:
        return "--"
    return f"${found.value:.3f}$ {{\\scriptsize $[{found.low:.3f}, {found.high:.3f}]$}}"


def _differences(compared: ComparedRuns) -> Iterator[str]:
    rows = [
        [
            escaped(each.measure),
            f"${each.first:.3f}$",
            f"${each.second:.3f}$",
            f"${each.difference:+.3f}$",
            f"$[{each.low:+.3f}, {each.high:+.3f}]$",
            f"${each.p_holm:.4f}{'^{*}' if each.p_holm < 0.05 else ''}$",
        ]
        for each in compared.differences
    ]
    names = escaped(compared.first), escaped(compared.second)
    heads = ["Measure", *names, "Difference", "95\\,\\% interval", "$p$ (Holm)"]
    caption = (
        f"{names[1]} less {names[0]}, {compared.n_questions} questions, paired bootstrap of "
        f"{compared.n_resamples} resamples."
    )
    yield from _table(heads, rows, caption)


def _by_group(report: Report, dimension: str) -> Iterator[str]:
    measures = key_measures(report)
    rows = sorted(
        [
            escaped(group.name),
            escaped(run.label),
            str(group.n),
            *(
                f"${group.figures[name].value:.3f}$" if name in group.figures else "--"
                for name in measures
            ),
        ]
        for run in report.runs
        for group in run.groups
        if group.dimension == dimension
    )
    heads = [escaped(dimension), "Run", "$n$", *map(escaped, measures)]
    yield from _table(heads, rows, f"{escaped(report.dataset)} by {escaped(dimension)}.", n_left=2)


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, *, n_left: int = 1
) -> Iterator[str]:
    yield "\\begin{table}"
    yield "\\centering"
    yield f"\\caption{{{caption}}}"
    yield f"\\begin{{tabular}}{{{'l' * n_left}{'r' * (len(heads) - n_left)}}}"
    yield "\\toprule"
    yield f"{' & '.join(heads)} \\\\"
    yield "\\midrule"
    yield from (f"{' & '.join(row)} \\\\" for row in rows)
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield "\\end{table}"
