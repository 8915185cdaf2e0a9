"""`sync` and `set`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.flags import (
    Common,
    PasswordFile,
    add_command,
    assignments,
    opened,
    password_in,
)
from rag.apps.cli.queueing import KeyFlag, PriorityFlag, QueueFlag, print_queued, queued
from rag.apps.cli.write import (
    DryRunFlag,
    ForceFlag,
    MetadataFlag,
    ReadersFlag,
    RetryFailedFlag,
    ended,
    with_progress,
)


def register(app: typer.Typer) -> None:
    add_command(app, sync, name="sync", help_text="Make a collection equal to a folder.")
    add_command(
        app,
        set_,
        name="set",
        help_text="Change metadata and readers of documents; nothing is read or encoded again.",
    )


def sync(
    common: Common,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of PDFs.")],
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete documents whose files are gone from it.")
    ] = False,
    prune_all: Annotated[
        bool, typer.Option("--prune-all", help="The same, even if no file is left in it.")
    ] = False,
    metadata: MetadataFlag = None,
    readers: ReadersFlag = None,
    force: ForceFlag = False,
    retry_failed: RetryFailedFlag = False,
    dry_run: DryRunFlag = False,
    password_file: PasswordFile = None,
    queue: QueueFlag = False,
    priority: PriorityFlag = 0,
    idempotency_key: KeyFlag = None,
) -> int:
    fixed: dict[str, Any] = {
        "collection": common.collection,
        "prune": prune,
        "prune_all": prune_all,
        "metadata": dict(assignments(metadata or [], flag="--metadata")),
        "readers": readers or None,
        "force": force,
        "retry_failed": retry_failed,
    }
    if later := queued(queue, priority, idempotency_key, dry_run=dry_run):
        later["password_file"] = None if password_file is None else str(password_file.absolute())
        with opened(common.settings(), "sync --queue") as octavo:
            job = octavo.enqueue_sync(folder.absolute(), **fixed, **later)
        return print_queued(common, job)
    fixed |= {"dry_run": dry_run, "password": password_in(password_file)}
    with opened(common.settings(), "sync") as octavo:
        totals = with_progress(common, partial(octavo.sync, folder.absolute(), **fixed))
    return ended(common, totals)


def set_(
    common: Common,
    documents: Annotated[list[str], typer.Argument(metavar="DOC...", help="Sources or ids.")],
    metadata: MetadataFlag = None,
    remove_metadata: Annotated[
        list[str] | None,
        typer.Option("--remove-metadata", metavar="KEY", help="A key that goes. Repeatable."),
    ] = None,
    readers: ReadersFlag = None,
) -> int:
    with opened(common.settings(), "set") as octavo:
        result = octavo.change_documents(
            documents,
            collection=common.collection,
            metadata=dict(assignments(metadata or [], flag="--metadata")),
            remove_metadata=remove_metadata or [],
            readers=readers or None,
        )
    if common.as_json:
        output.emit(result)
    else:
        output.record(result)
    return exit_codes.DONE
