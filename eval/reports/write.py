"""Writes a report of runs as one file, which wants no other and asks nothing of any network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from eval.reports.gather import WORST, labelled, report_of
from eval.reports.model import PictureShown, QuestionShown, Report
from eval.reports.parts import read_system, systems_in
from eval.reports.pictures import (
    MOST_BYTES,
    Draw,
    Embedded,
    Wanted,
    embed,
    kept_pictures,
    write_pictures,
)
from eval.reports.run_folder import RunFolder
from eval.runs import write_atomically
from rag.errors import InputError


class ReportFormat(StrEnum):
    """How a report is written."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"
    LATEX = "latex"


@dataclass(frozen=True)
class ReportInfo:
    """A report that was written.

    Attributes:
        remarks: what is left out of it, and how to get it.
    """

    path: Path
    size_bytes: int
    n_runs: int
    n_questions: int
    n_pictures: int
    remarks: tuple[str, ...]


DrawnBy = Callable[[RunFolder], Draw | None]


def write_report(
    folders: Sequence[Path],
    out: Path,
    *,
    draw: Draw | None = None,
    worst: int = WORST,
    file_format: ReportFormat = ReportFormat.HTML,
    most_picture_bytes: int = MOST_BYTES,
) -> ReportInfo:
    """One run, or several compared with the first, as one file.

    Args:
        folders: of runs, as `octavo eval run` writes them.
        out: the file, replaced where it is there.
        draw: draws pages of the collection the runs searched, into `pages/` of each run folder;
            without, pictures that lie there already are used.
        worst: how many of the worst questions are shown.
        file_format: of the file.
        most_picture_bytes: of all pictures in it.

    Raises:
        InputError: no run in a folder, runs that cannot be compared, a file that cannot be written.
    """
    return write_report_drawn_by(
        folders,
        out,
        lambda _run: draw,
        worst=worst,
        file_format=file_format,
        most_picture_bytes=most_picture_bytes,
    )


def write_report_drawn_by(
    folders: Sequence[Path],
    out: Path,
    drawn_by: DrawnBy,
    *,
    worst: int = WORST,
    file_format: ReportFormat = ReportFormat.HTML,
    most_picture_bytes: int = MOST_BYTES,
) -> ReportInfo:
    """The same for runs of several collections, each drawn by its own."""
    if not folders:
        raise InputError("a report wants at least one run", next_step="Name its folder.")
    systems = [system for folder in folders for system in systems_in(folder)]
    runs = labelled([read_system(system) for system in systems])
    report = report_of(runs, worst=worst, named=[folder.resolve().name for folder in folders])
    embedded: Mapping[str, Embedded] = {}
    if file_format is ReportFormat.HTML:
        failed = _drawn(report, runs, drawn_by)
        embedded, said = embed(
            [each.wanted.file for each in pictures_of(report)],
            kept_pictures([part.folder for run in runs.values() for part in run.parts or (run,)]),
            most_bytes=most_picture_bytes,
        )
        remarks = [*report.remarks, *failed, *_about_pictures(report, embedded), said]
        report = replace(report, remarks=tuple(filter(None, remarks)))
    text = _as_text(report, embedded, file_format)
    try:
        write_atomically(out, text)
    except OSError as error:
        raise InputError(
            f"cannot write {str(out)!r}: {error.strerror}",
            next_step="Name a file in a folder that is there.",
        ) from error
    return ReportInfo(
        path=out,
        size_bytes=len(text.encode()),
        n_runs=len(report.runs),
        n_questions=report.n_questions,
        n_pictures=len(embedded),
        remarks=report.remarks,
    )


def pictures_of(report: Report) -> Iterator[PictureShown]:
    """Question by question, so that the worst keep theirs where not all fit."""
    for question in report.worst:
        yield from question.pages
        for each in question.seen:
            yield from each.heat
            yield from _cited(each.run, question)


def _cited(label: str, question: QuestionShown) -> Iterator[PictureShown]:
    seen = next(each for each in question.seen if each.run == label)
    for citation in seen.answer.citations if seen.answer is not None else ():
        if citation.picture is not None:
            yield citation.picture


def _drawn(report: Report, runs: Mapping[str, RunFolder], drawn_by: DrawnBy) -> list[str]:
    """Draw what each run is drawn with, pages that runs share once; why some could not be."""
    said = []
    drawn: set[str] = set()
    for label, run in runs.items():
        wanted = list(_wanted(report, label))
        for part in run.parts or (run,):
            of_part = [
                each
                for each in wanted
                if each.file not in drawn and (not run.parts or each.part == part.name)
            ]
            draw = drawn_by(part) if of_part else None
            if draw is None:
                continue
            failed = write_pictures(part.folder, of_part, draw)
            drawn |= kept_pictures([part.folder]).keys()
            said += [
                f"{n} pictures of {label} could not be drawn: {reason}"
                for reason, n in failed.items()
            ]
    return said


def _wanted(report: Report, label: str) -> Iterator[Wanted]:
    for question in report.worst:
        yield from (each.wanted for each in question.pages)
        for seen in question.seen:
            if seen.run == label:
                yield from (each.wanted for each in (*seen.heat, *_cited(label, question)))


def _about_pictures(report: Report, embedded: Mapping[str, Embedded]) -> list[str]:
    wanted = {each.wanted.file for each in pictures_of(report)}
    if not wanted or embedded:
        return []
    return [
        (
            "There are no pictures of pages: make the report with the data folder the run used, "
            "`octavo eval report RUN -o report.html --data-dir DIR`."
        )
    ]


def _as_text(report: Report, embedded: Mapping[str, Embedded], file_format: ReportFormat) -> str:
    match file_format:
        case ReportFormat.HTML:
            from eval.reports.as_html import as_html  # jinja2 is an extra

            return as_html(report, embedded)
        case ReportFormat.MARKDOWN:
            from eval.reports.as_markdown import as_markdown

            return as_markdown(report)
        case ReportFormat.JSON:
            from eval.reports.as_json import as_json

            return as_json(report)
        case ReportFormat.LATEX:
            from eval.reports.as_latex import as_latex

            return as_latex(report)
