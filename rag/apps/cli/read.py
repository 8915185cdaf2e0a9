"""`search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rag.apps.cli import output, report
from rag.apps.cli.flags import (
    AfterFlag,
    Common,
    DocumentFlag,
    FilterFlag,
    FiltersFlag,
    Granularity,
    Mode,
    ModeFlag,
    PagesFlag,
    add_command,
    opened,
    page_reference,
    region_reference,
    scope,
)
from rag.apps.cli.picture import write_png, write_sheet

QUERY_PANEL = "Queries beyond words"


def register(app: typer.Typer) -> None:
    add_command(app, search, name="search", help_text="Find the pages that answer a query.")


def search(
    common: Common,
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="What to look for, in words.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Look for this image.", rich_help_panel=QUERY_PANEL),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="DOC:PAGE[:x0,y0,x1,y1]",
            help="Look for pages like this page, or like this part of it, in points.",
            rich_help_panel=QUERY_PANEL,
        ),
    ] = None,
    towards: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Have more of this in what is found.", rich_help_panel=QUERY_PANEL
        ),
    ] = None,
    away_from: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Have less of this in what is found.", rich_help_panel=QUERY_PANEL
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            help="How far --towards and --away-from move the query. Default: 1",
            rich_help_panel=QUERY_PANEL,
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("-k", "--top-k", min=1, max=50, help="Pages that come back.")
    ] = None,
    granularity: Annotated[
        Granularity, typer.Option(help="Look for pages, or for documents with their best pages.")
    ] = Granularity.PAGE,
    after: AfterFlag = None,
    mode: ModeFlag = Mode.HYBRID,
    exact: Annotated[
        bool, typer.Option("--exact", help="Score every page, without a first stage.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say how each page was found.")
    ] = False,
    expect: Annotated[
        str | None,
        typer.Option(metavar="DOC:PAGE", help="With --explain: follow this page as well."),
    ] = None,
    heatmap: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the best page as PNG, matches marked."),
    ] = None,
    heatmap_pages: Annotated[
        int,
        typer.Option(min=1, max=50, help="With --heatmap: as many pages, best first, on a sheet."),
    ] = 1,
    filter_flags: FilterFlag = None,
    filters: FiltersFlag = None,
    documents: DocumentFlag = None,
    pages: PagesFlag = None,
) -> None:
    where = scope(filter_flags, filters, documents, pages)
    beyond_text = _beyond_text(query, image, like, towards, away_from, strength)
    expected = None if expect is None else page_reference(expect, flag="--expect")
    if expect is not None and not explain:
        raise typer.BadParameter("wants --explain beside it", param_hint="--expect")
    if heatmap_pages > 1 and heatmap is None:
        raise typer.BadParameter("wants --heatmap beside it", param_hint="--heatmap-pages")
    settings = common.settings()
    with opened(settings, "search") as octavo:
        result = octavo.search(
            query=query or "",
            **beyond_text,
            collection=common.collection,
            top_k=settings.retrieval.top_k if top_k is None else top_k,
            mode=mode.value,
            exact=exact,
            explain=explain,
            expect=expected,
            granularity=granularity.value,
            history=[[question] for question in after or []],
            **where,
        )
        shown = [] if heatmap is None else result["hits"][:heatmap_pages]
        marked = [
            octavo.page_png(
                document=hit["document_id"],
                page_number=hit["page_number"],
                query=result.get("searched_for", query),
                **beyond_text,
                collection=common.collection,
                dpi=settings.render.dpi,
            )
            for hit in shown
        ]
    if common.as_json:
        output.emit(result)
    else:
        report.search(result)
        if explain:
            report.explanation(result)
        output.warnings(result.get("warnings", []))
        output.note(f"{result['mode']} search, {result['timings_ms']['total']:.0f} ms")
    # Last: a picture that cannot be written costs no result.
    if heatmap is not None and len(marked) == 1:
        write_png(marked[0], heatmap)
    elif heatmap is not None and marked:
        labels = [f"{hit['rank']}. {hit['source']}, page {hit['page_number']}" for hit in shown]
        write_sheet(list(zip(labels, marked, strict=True)), heatmap)


def _beyond_text(
    query: str | None,
    image: Path | None,
    like: str | None,
    towards: str | None,
    away_from: str | None,
    strength: float | None,
) -> dict[str, Any]:
    """What is looked for besides words, as the client takes it.

    Raises:
        typer.BadParameter: nothing to look for, or flags that do not go together.
    """
    if query is None and image is None and like is None:
        raise typer.BadParameter("give a query, --image or --like", param_hint="QUERY")
    if image is not None and like is not None:
        raise typer.BadParameter("wants no --like beside it", param_hint="--image")
    if strength is not None and towards is None and away_from is None:
        raise typer.BadParameter("wants --towards or --away-from", param_hint="--strength")
    given = {
        "image": image,
        "like": None if like is None else region_reference(like, flag="--like"),
        "towards": towards,
        "away_from": away_from,
        "strength": strength,
    }
    return {name: value for name, value in given.items() if value is not None}
