"""The way to a data folder: here where this process owns it, else through the process that does.

Everything comes and goes as JSON, in the shapes of the interface.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from rag.apps.ownership import Connected, Owned, OwnerGone, acquire_or_connect, read_owner
from rag.apps.service import Service, answer_request
from rag.errors import DataFolderBusy
from rag.settings import Settings
from rag.types import Json, Principal
from rag.wiring import Engine

_CALL_TIMEOUT_S = 600.0
_OWN_WITHIN_S = 5.0
_TRIES = 5


class Connection:
    """A data folder, opened. Thread-safe once it is made."""

    def __init__(self, settings: Settings, *, command: str) -> None:
        self._settings = settings
        self._command = command
        self._stack = ExitStack()
        self._service: Service | None = None
        self._connected: Connected | None = None
        self._open(acquire_or_connect(self._settings.store.data_dir, command))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder; requests of other processes under way are finished first."""
        self._stack.close()
        self._service = self._connected = None

    # --- reading --------------------------------------------------------------------------------
    def search(
        self, query: str, *, collection: str = "default", top_k: int | None = None, **options: Any
    ) -> Json:
        """Pages, as `octavo search --json` prints them; options as its flags."""
        limit = self._settings.retrieval.top_k if top_k is None else top_k
        return self._call("search", query=query, collection=collection, top_k=limit, **options)

    def ask(self, question: str, *, collection: str = "default", **options: Any) -> Json:
        """An answer, as `octavo ask --json` prints it; options as its flags."""
        return self._call("ask", question=question, collection=collection, **options)

    def list_documents(self, *, collection: str = "default") -> Json:
        return self._call("list_documents", collection=collection)

    def show(self, document: str, *, collection: str = "default") -> Json:
        return self._call("show", document=document, collection=collection)

    def page_png(
        self, document: str, page_number: int, *, collection: str = "default", **options: Any
    ) -> Json:
        """A page as PNG in base64, with what speaks to `query` marked; `dpi` sets its size."""
        return self._call(
            "page_png",
            document=document,
            page_number=page_number,
            collection=collection,
            **options,
        )

    def collections(self) -> Json:
        return self._call("collections")

    def status(self) -> Json:
        return self._call("status")

    # --- writing --------------------------------------------------------------------------------
    def ingest(
        self,
        paths: Sequence[Path | str],
        *,
        collection: str = "default",
        on_event: Callable[[Json], None] = lambda _: None,
        **options: Any,
    ) -> Json:
        """Files and folders in; the totals, as `octavo ingest --json` prints them last.

        Raises:
            DataFolderBusy: another process owns the folder and does not let go within 5 s.
        """
        return self._owning().ingest(
            paths=[Path(path) for path in paths],
            collection=collection,
            on_event=on_event,
            **options,
        )

    def delete(self, documents: Sequence[str], *, collection: str = "default") -> Json:
        return self._call("delete", documents=list(documents), collection=collection)

    # --- here or there --------------------------------------------------------------------------
    def _open(self, held: Owned | Connected) -> None:
        if isinstance(held, Connected):
            self._connected = held
            return
        self._stack.enter_context(held)
        engine = self._stack.enter_context(Engine(self._settings))
        self._service = Service(engine, Principal.owner())
        self._connected = None
        held.serve(answer_request(self._service))
        # Left in this order: nobody is answered any more, the engine closes, the folder is free.
        self._stack.callback(held.stop_serving)

    def _call(self, method: str, **params: Any) -> Json:
        for attempt in range(1, _TRIES + 1):
            if self._service is not None:
                result: Json = getattr(self._service, method)(**params)
                return result
            assert self._connected is not None, "used after close"
            try:
                return self._connected.call(method, params, _CALL_TIMEOUT_S)
            except OwnerGone as error:
                if error.was_started or attempt == _TRIES:
                    raise
                self._open(acquire_or_connect(self._settings.store.data_dir, self._command))
        raise AssertionError("the loop returns or raises")

    def _owning(self) -> Service:
        """The service of this process, once it owns the folder."""
        folder = self._settings.store.data_dir
        deadline = time.monotonic() + _OWN_WITHIN_S
        while self._service is None:
            if time.monotonic() > deadline:
                raise _at_work(folder)
            time.sleep(0.1)
            self._open(acquire_or_connect(folder, self._command))
        return self._service


@contextmanager
def connect(settings: Settings, *, command: str) -> Iterator[Connection]:
    """For the length of one command; `command` is how others see who is at work."""
    with Connection(settings, command=command) as connection:
        yield connection


def _at_work(folder: Path) -> DataFolderBusy:
    owner = read_owner(folder)
    who = "another process" if owner is None else f"process {owner.pid} ({owner.command})"
    return DataFolderBusy(
        f"the data folder is being written by {who}",
        next_step="Wait until it is done, then run the command again; searching works meanwhile.",
    )
