"""`list`, `show`, `page`, `status` and `doctor`: looking, without changing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.apps.cli import exit_codes, output, report
from rag.apps.cli.flags import Common, add_command, opened
from rag.apps.cli.jobs import show_one
from rag.apps.cli.picture import write_png

if TYPE_CHECKING:
    from rag.settings import Settings
    from rag.types import Json


def register(app: typer.Typer) -> None:
    add_command(app, list_documents, name="list", help_text="List the documents of a collection.")
    add_command(app, show, name="show", help_text="Show one document, page by page.")
    add_command(app, page, name="page", help_text="Export a page as PNG, matches marked.")
    add_command(app, status, name="status", help_text="Say what the data folder holds.")
    add_command(
        app,
        doctor,
        name="doctor",
        help_text="Say what is installed and would be used, what is missing, how to get it.",
    )


def list_documents(common: Common) -> None:
    with opened(common.settings(), "list") as octavo:
        result = octavo.list_documents(collection=common.collection)
    _print(result, report.documents, common)


def show(
    common: Common,
    document: Annotated[str, typer.Argument(metavar="DOC", help="Source or id.")],
) -> None:
    with opened(common.settings(), "show") as octavo:
        result = octavo.show(document=document, collection=common.collection)
    _print(result, report.document, common)


def page(
    common: Common,
    document: Annotated[str, typer.Argument(metavar="DOC", help="Source or id.")],
    page_number: Annotated[int, typer.Argument(metavar="N", min=1, help="Page, from 1.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The PNG to write.")],
    query: Annotated[
        str | None, typer.Option("--query", help="Mark what matches this query.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="With --query: mark what matches this word of it."),
    ] = None,
    tokens: Annotated[
        bool,
        typer.Option("--tokens", help="With --query: the page for each of its words, on a sheet."),
    ] = False,
    dpi: Annotated[
        float | None, typer.Option(min=1, max=1200, help="Resolution of the picture.")
    ] = None,
) -> None:
    if query is None and (token is not None or tokens):
        raise typer.BadParameter(
            "wants --query beside it", param_hint="--tokens" if tokens else "--token"
        )
    if token is not None and tokens:
        raise typer.BadParameter("says which word; --tokens shows all", param_hint="--token")
    settings = common.settings()
    with opened(settings, "page") as octavo:
        result = octavo.page_png(
            document=document,
            page_number=page_number,
            query=query,
            collection=common.collection,
            dpi=settings.render.dpi if dpi is None else dpi,
            **({} if token is None else {"token": token}),
            **({"tokens": True} if tokens else {}),
        )
    write_png(result, out)
    if common.as_json:
        rest = {key: value for key, value in result.items() if key != "png"}
        output.emit({"file": str(out), **rest})
    else:
        output.line(output.clean(out))


def status(
    common: Common,
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="Only this job, and all of it.")
    ] = None,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Print figures as Prometheus reads them.")
    ] = False,
) -> None:
    if metrics:
        if job is not None or common.as_json:
            raise typer.BadParameter("goes with no JOB and no --json", param_hint="--metrics")
        with opened(common.settings(), "status") as octavo:
            output.line(octavo.metrics()["text"].rstrip("\n"))
        return
    if job is not None:
        show_one(common, job, command="status")
        return
    with opened(common.settings(), "status") as octavo:
        result = octavo.status()
    _print(result, report.status, common)


def doctor(common: Common) -> int:
    from rag.apps.doctor import examine
    from rag.errors import ConfigError
    from rag.manifest import require_collection_name

    settings = common.settings()
    require_collection_name(common.collection)
    tuned, fault = None, None
    try:
        tuned = _tuned(settings, common.collection)
    except ConfigError as error:
        fault = error
    result = examine(settings, tuning_fault=fault)
    if tuned is not None:
        result = {**result, "tuned": tuned}
    result = _without_secrets(result)  # an address in the settings may hold a password
    if common.as_json:
        output.emit(result)
    else:
        report.examination(result, changed=_without_secrets(_changed(settings)))
    return exit_codes.DONE if result["usable"] else exit_codes.FAILED


def _without_secrets(value: Any) -> Any:
    from rag.secrets import without_secrets

    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {name: _without_secrets(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    return value


def _tuned(settings: Settings, collection: str) -> Json | None:
    """What `octavo tune` chose for the collection, and what of it is used."""
    from rag.tuned import read_tuning, tuning_path, with_tuning

    tuning = read_tuning(tuning_path(settings.store.data_dir, collection))
    if tuning is None:
        return None
    used = with_tuning(settings.retrieval, tuning)
    return {
        "collection": collection,
        **tuning.tuning.model_dump(),
        "used": {name: getattr(used, name) for name in type(tuning.retrieval).model_fields},
    }


def _print(result: Json, for_people: Callable[[Json], None], common: Common) -> None:
    if common.as_json:
        output.emit(result)
    else:
        for_people(result)


def _changed(settings: Settings) -> dict[str, Any]:
    """Settings that differ from their defaults, by dotted name."""
    values, defaults = (
        dict(_flat(each.model_dump(mode="json"))) for each in (settings, type(settings)())
    )
    return {name: value for name, value in values.items() if value != defaults[name]}


def _flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
