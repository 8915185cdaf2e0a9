"""`eval sets` and `eval prepare`: the sets that others published, as dataset folders."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import output
from rag.apps.cli.progress import progress_bar

if TYPE_CHECKING:
    from eval.datasets.prepare import Source
    from eval.datasets.published import LoaderInfo, Wanted
    from eval.datasets.writer import Prepared

JsonFlag = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


def register(family: typer.Typer) -> None:
    family.command("sets", help="List the published sets that can be had.")(sets)
    family.command("prepare", help="Make dataset folders of a published set.")(prepare)


def sets(as_json: JsonFlag = False) -> None:
    from eval.datasets.registry import SETS

    if as_json:
        output.emit({"sets": [_as_dict(info) for info in SETS]})
        return
    table = output.table("name", "title", "parts", "licence", "measure", "how to get it")
    for info in SETS:
        table.add_row(
            info.name,
            info.title,
            str(len(info.parts)) if info.parts else "-",
            info.licence,
            info.main_measure,
            _how(info),
        )
    output.open_console().print(table)
    output.line("octavo eval prepare NAME hub --to DIR, or a local copy's folder in place of hub")
    output.note("what a local copy has to look like, its parts and options, where it is: --json")


def _how(info: LoaderInfo) -> str:
    from eval.datasets.mteb_task import NAME

    if info.name == NAME:
        return "the name of a task"
    return "hub, or a local copy" if info.hub_ids else "a local copy"


def _as_dict(info: LoaderInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "title": info.title,
        "parts": list(info.parts),
        "licence": info.licence,
        "main_measure": info.main_measure,
        "scope": info.scope,
        "hub_ids": list(info.hub_ids),
        "home": info.home,
        "layout": info.layout,
        "options": dict(info.options),
    }


def prepare(
    name: Annotated[str, typer.Argument(metavar="SET", help="As `octavo eval sets` lists it.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of a local copy; hub; or an id on the hub (OWNER/NAME) in its layout.",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where the dataset folders go.")],
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", metavar="NAME", help="Only this part. Repeatable. Default: all."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="Of this set alone. Repeatable."),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="On the hub a commit, branch or tag. Of a local copy what it is a copy of. "
            "Default: the main branch, or the SHA-256 of the copy.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Of the documents without a graded page take N alone. Figures are then higher.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """A folder that is there already, of the same source and revision, is left as it is."""
    from eval.datasets.documents import Sample
    from eval.datasets.prepare import prepare as prepare_parts
    from eval.datasets.published import Wanted
    from eval.datasets.registry import find_set

    info = find_set(name)
    wanted = Wanted(tuple(parts or ()), _options(options or []))
    if not as_json:
        output.note(f"{info.title}; licence: {info.licence}")
    found = _source(info, source, to, wanted, revision, shows=not as_json)
    taken = None if sample is None else Sample(sample, seed)
    done: list[Prepared] = []
    with progress_bar("documents") as progress:
        tasks: dict[str, Any] = {}

        def on_document(part: str, n_done: int, whole: int | None) -> None:
            if part not in tasks:
                tasks[part] = progress.add_task(part, total=whole)
            progress.update(tasks[part], completed=n_done, total=whole)

        wanted = replace(wanted, tell=on_document)
        for prepared in prepare_parts(info, found, to, wanted, sample=taken, progress=on_document):
            done.append(prepared)
            if not as_json:
                _tell(prepared)
    missing = [] if wanted.parts else _not_there(info, wanted, done)
    if as_json:
        folders = [_prepared(each, info) for each in done]
        output.emit({"set": info.name, "prepared": folders, "parts_missing": missing})
        return
    if missing:
        output.note(f"not in this copy: {', '.join(missing)}")
    output.line("\nmeasure with:")
    for each in done:
        output.line(f"  {_command(each, info)}")


def _options(flags: list[str]) -> dict[str, str]:
    found = {}
    for flag in flags:
        name, separator, value = flag.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"expected NAME=VALUE, got {flag!r}", param_hint="--option")
        found[name] = value
    return found


def _source(
    info: LoaderInfo, source: str, to: Path, wanted: Wanted, revision: str | None, *, shows: bool
) -> Source:
    from eval.datasets import mteb_task
    from eval.datasets.prepare import HUB, hub_source, local_source

    if info.name == mteb_task.NAME:
        return mteb_task.task_source(source, revision=revision)
    folder = Path(source)
    is_id = source.count("/") == 1 and not source.startswith((".", "/", "~"))
    if folder.is_dir() or (source != HUB and not is_id):
        return local_source(folder, revision=revision)
    from tqdm.auto import tqdm

    from rag.apps.cli.models import silent_bar

    bar = tqdm if shows and sys.stderr.isatty() else silent_bar()
    hub_id = None if source == HUB else source
    return hub_source(info, to, wanted, hub_id=hub_id, revision=revision, progress=bar)


def _not_there(info: LoaderInfo, wanted: Wanted, done: list[Prepared]) -> list[str]:
    """Parts that nobody named and the copy has not; an option may have left some out."""
    if not info.choosing.isdisjoint(wanted.options):
        return []
    there = {each.part for each in done}
    return [part for part in info.parts if part not in there]


def _tell(prepared: Prepared) -> None:
    name = f"{prepared.folder}"
    if prepared.state == "unchanged":
        output.line(f"{output.clean(name)}: unchanged (revision {prepared.origin.revision})")
        return
    output.line(
        f"{output.clean(name)}: {prepared.n_documents:,} documents, {prepared.n_pages:,} pages, "
        f"{prepared.n_queries:,} questions ({prepared.n_graded:,} graded)"
    )
    for note in prepared.origin.notes:
        output.note(note)


def _command(prepared: Prepared, info: LoaderInfo) -> str:
    scope = " --scope document" if info.scope == "document" else ""
    return f"octavo eval run {shlex.quote(str(prepared.folder))}{scope}"


def _prepared(prepared: Prepared, info: LoaderInfo) -> dict[str, Any]:
    return {
        "folder": str(prepared.folder),
        "part": prepared.part,
        "state": prepared.state,
        "documents": prepared.n_documents,
        "pages": prepared.n_pages,
        "questions": prepared.n_queries,
        "graded": prepared.n_graded,
        "unanswerable": prepared.n_unanswerable,
        "origin": prepared.origin.model_dump(mode="json"),
        "command": _command(prepared, info),
    }
