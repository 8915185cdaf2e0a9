"""A report as one HTML page that holds all it shows: no script, no request, light and dark.

Whatever comes from documents, questions and models is data: the templates escape every value, and
characters that would not be seen are named in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.measures import ALL_NAMES, NAMES
from eval.reports import plots
from eval.reports.intervals import WILSON, Figure
from eval.reports.model import (
    Group,
    PictureShown,
    QuestionShown,
    Report,
    key_measures,
)
from eval.reports.pictures import Embedded
from eval.reports.plain import milliseconds, number, shortened, visible
from rag.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
_HEROES = 4
_FEWER_IS_BETTER = frozenset({"wrong", "abstained"})
_RECALL_KS = (1, 2, 3, 5, 10, 20, 50, 100)
_SCOPES = {
    "corpus": "each asked of all documents",
    "document": "each asked within its document",
}


def as_html(report: Report, images: Mapping[str, Embedded]) -> str:
    """The page.

    Args:
        report: what it shows.
        images: pictures by file name; those that are not there are left out.

    Raises:
        ConfigError: extra_missing, jinja2 is not installed.
    """
    environment, markup = _environment()

    def drawn(draw: Callable[..., str]) -> Callable[..., str]:
        # Drawings escape their own words; escaped again they would be words themselves.
        return lambda *arguments: markup(draw(*arguments))

    untold = set(ALL_NAMES) - {report.main, *NAMES}
    dimensions = list(dict.fromkeys(group.dimension for run in report.runs for group in run.groups))
    deepest = max((len(run.recall) for run in report.runs), default=0)
    page: str = environment.get_template("report.html.j2").render(
        report=report,
        images=images,
        style=markup((_HERE / "style.css").read_text(encoding="utf-8")),
        scope_said=_SCOPES.get(report.scope, report.scope),
        heroes=_heroes(report),
        dimensions=dimensions,
        groups={dimension: _grouped(report, dimension) for dimension in dimensions},
        measures=key_measures(report),
        untold=untold,
        bars={each: drawn(plots.bars_plot)(report, each) for each in dimensions},
        recall=drawn(plots.recall_plot)(report),
        recall_ks=[k for k in _RECALL_KS if k <= deepest],
        latency=drawn(plots.latency_plot)(report),
        pareto=drawn(plots.pareto_plot)(report),
        bytes=drawn(plots.bytes_plot)(report),
        interval_plot=drawn(plots.interval_plot),
        difference_plot=drawn(plots.difference_plot),
        widest_of=plots.widest_of,
        series={run.label: index for index, run in enumerate(report.runs)},
        is_share=any(figure.method == WILSON for run in report.runs for figure in run.figures),
        asked=_asked(report),
        fewer_is_better=_FEWER_IS_BETTER,
        n_tests=sum(len(each.differences) for each in report.compared),
        fact_rows=_fact_rows(report),
        question_pictures=lambda question: [
            each for each in question_pictures(question) if each.wanted.file in images
        ],
    )
    return page


def question_pictures(question: QuestionShown) -> list[PictureShown]:
    """Each page with its heat maps and marked quotes behind it; each picture once."""
    shown: dict[str, PictureShown] = {}
    behind = [each for seen in question.seen for each in seen.heat]
    for page in question.pages:
        shown.setdefault(page.wanted.file, page)
        for each in behind:
            if each.wanted.page == page.wanted.page:
                shown.setdefault(each.wanted.file, each)
    for seen in question.seen:
        for citation in seen.answer.citations if seen.answer is not None else ():
            if citation.picture is not None:
                shown.setdefault(citation.picture.wanted.file, citation.picture)
    return list(shown.values())


def _environment() -> tuple[Environment, type[str]]:
    try:
        import jinja2
        import markupsafe
    except ImportError as error:
        raise ConfigError(
            "reports as HTML need jinja2, which is not installed",
            code="extra_missing",
            next_step='Install it: pip install "octavo[eval]"; or take --format md.',
        ) from error
    return _compiled(jinja2), markupsafe.Markup


@cache  # templates are compiled once
def _compiled(jinja2: Any) -> Environment:
    def seen(value: Any) -> Any:
        return visible(value) if type(value) is str else value

    environment: Environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=seen,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shortened"] = shortened
    environment.filters["ms"] = milliseconds
    environment.filters["number"] = number
    return environment


def _heroes(report: Report) -> list[Figure]:
    """The main measure and some of the others, of the first run."""
    figures = report.runs[0].figures
    main = report.runs[0].headline
    wanted = ("right", "wrong", "completeness", "faithfulness", "R@1", "R@10", "RR@10", "abstained")
    by_name = {figure.measure: figure for figure in figures}
    chosen = [by_name[name] for name in wanted if name in by_name and name != main.measure]
    return [main, *chosen][:_HEROES]


def _asked(report: Report) -> str:
    """How many questions at a time: of each run where they differ."""
    told = {run.label: run.asked for run in report.runs if run.asked}
    if len(set(told.values())) == 1 and len(told) == len(report.runs):
        return next(iter(told.values()))
    return ", ".join(f"{said} in {label}" for label, said in told.items())


def _grouped(report: Report, dimension: str) -> list[tuple[str, list[tuple[str, Group]]]]:
    """Name to run labels with their group, in the order of the names."""
    rows: dict[str, list[tuple[str, Group]]] = {}
    for run in report.runs:
        for group in run.groups:
            if group.dimension == dimension:
                rows.setdefault(group.name, []).append((run.label, group))
    return sorted(rows.items())


def _fact_rows(report: Report) -> list[tuple[str, list[str]]]:
    labels = dict.fromkeys(fact.label for run in report.runs for fact in run.facts)
    told = [{fact.label: fact.value for fact in run.facts} for run in report.runs]
    return [(label, [each.get(label, "") for each in told]) for label in labels]
