"""`eval report`: runs as one file to look at or to hand on, pages drawn from the data folder."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import output
from rag.apps.cli.flags import Common, add_command, opened

if TYPE_CHECKING:
    from eval.reports.pictures import BoxPt, Draw
    from eval.reports.run_folder import RunFolder
    from rag.settings import Settings

RUN_REPORT = "report.html"
_LETTER_WIDTH_PT = 612  # pages are drawn for this width, and made smaller or larger from there
_MEGABYTE = 1_000_000


class Format(StrEnum):
    """How a report is written."""

    HTML = "html"
    MD = "md"
    JSON = "json"
    LATEX = "latex"


_SUFFIXES = {Format.HTML: "html", Format.MD: "md", Format.JSON: "json", Format.LATEX: "tex"}


def register(family: typer.Typer) -> None:
    add_command(
        family,
        report,
        name="report",
        help_text="Show a run, or several compared with the first, as one HTML page.",
    )


def report(
    common: Common,
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folder of a run; others are compared with the first."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Default: report.html, or .md, .tex, ..."),
    ] = None,
    file_format: Annotated[Format, typer.Option("--format", help="How it is written.")] = (
        Format.HTML
    ),
    worst: Annotated[
        int, typer.Option(min=0, max=200, metavar="N", help="How many of the worst questions.")
    ] = 10,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Draw the pages of these questions, where the data folder is there; what was "
            "drawn before is used in any case.",
        ),
    ] = True,
    picture_megabytes: Annotated[
        float,
        typer.Option(
            min=0, max=500, metavar="MB", help="Pictures together; beyond, fewer and smaller."
        ),
    ] = 15.0,
) -> None:
    """The file holds all it shows, so it can be sent or kept without the data folder."""
    from eval.reports.write import ReportFormat, write_report_drawn_by

    out = out or Path(f"report.{_SUFFIXES[file_format]}")
    settings = common.settings()
    with ExitStack() as stack:
        drawn_by: Callable[[RunFolder], Draw | None] = _nobody
        if pictures and file_format is Format.HTML and _is_there(settings):
            octavo = stack.enter_context(opened(settings, "eval report"))
            drawn_by = _drawing(octavo, settings, common.collection)
        written = write_report_drawn_by(
            folders,
            out,
            drawn_by,
            worst=worst,
            file_format=ReportFormat(file_format.value),
            most_picture_bytes=round(picture_megabytes * _MEGABYTE),
        )
    if common.as_json:
        output.emit(
            {
                "out": str(written.path),
                "size_bytes": written.size_bytes,
                "runs": written.n_runs,
                "questions": written.n_questions,
                "pictures": written.n_pictures,
                "remarks": list(written.remarks),
            }
        )
        return
    for remark in written.remarks:
        output.note(remark)
    output.line(output.clean(written.path))


def write_beside_run(octavo: Any, collection: str, folder: Path) -> None:
    """`report.html` in a run's folder, with pages of the collection that it searched."""
    from eval.reports.write import write_report

    written = write_report([folder], folder / RUN_REPORT, draw=page_drawer(octavo, collection))
    for remark in written.remarks:
        output.note(remark)


def page_drawer(octavo: Any, collection: str) -> Draw:
    """Draws pages of a collection for a report."""

    def draw(
        doc: str,
        page_number: int,
        query_text: str | None,
        boxes: Sequence[BoxPt],
        width_px: int,
    ) -> bytes:
        page = octavo.page_png(
            document=doc,
            page_number=page_number,
            query=query_text,
            collection=collection,
            dpi=72 * width_px / _LETTER_WIDTH_PT,
        )
        return _fitted(page, boxes, width_px)

    return draw


def _drawing(
    octavo: Any, settings: Settings, collection: str
) -> Callable[[RunFolder], Draw | None]:
    """By the collection that is asked for, that the run names, or that `eval run` would take."""
    from eval.tuning.sweep_plan import collection_name

    def drawn_by(run: RunFolder) -> Draw:
        index = run.head.get("index")
        told = index.get("collection") if isinstance(index, dict) else None
        if collection != "default":
            return page_drawer(octavo, collection)
        if isinstance(told, str) and told:
            return page_drawer(octavo, told)
        dataset = str(run.head.get("dataset") or run.name)
        return page_drawer(octavo, collection_name(dataset, settings))

    return drawn_by


def _nobody(_run: RunFolder) -> None:
    return None


def _is_there(settings: Settings) -> bool:
    """A data folder is not made for a report."""
    return settings.store.qdrant_url is not None or settings.store.data_dir.is_dir()


def _fitted(page: Any, boxes: Sequence[BoxPt], width_px: int) -> bytes:
    """PNG of that width, with the boxes (page points) on it."""
    from PIL import Image

    from rag.apps.page_drawing import draw_boxes
    from rag.geometry import Box
    from rag.types import RenderedPage

    with Image.open(io.BytesIO(base64.b64decode(page["png"]))) as image:
        drawn = image.convert("RGB")
    if boxes:
        rendered = RenderedPage(drawn, page["width_pt"], page["height_pt"])
        drawn = draw_boxes(rendered, [(Box(*box), 1.0) for box in boxes])
    height_px = max(1, round(drawn.height * width_px / drawn.width))
    stream = io.BytesIO()
    drawn.resize((width_px, height_px), Image.Resampling.LANCZOS).save(stream, format="PNG")
    return stream.getvalue()
