"""The way to a data folder: here where this process owns it, else through the process that does.

Everything comes and goes as JSON, in the shapes of the interface.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from PIL import Image

from ingestion.run import rehearse
from ingestion.source import discover
from rag.apps.archives import ArchiveConnection
from rag.apps.figures import FigureConnection
from rag.apps.jobs import JobConnection
from rag.apps.lifecycle import LifecycleConnection
from rag.apps.ownership import (
    Connected,
    Owned,
    OwnerGone,
    acquire_or_connect,
    folder_busy,
    read_owner,
)
from rag.apps.query_image import image_as_base64
from rag.apps.requests import STREAMED_METHODS, answer_request, request_params
from rag.apps.service import Service
from rag.apps.upkeep import UpkeepConnection
from rag.logs import about
from rag.observing import observing
from rag.ports import ChatModel
from rag.settings import Settings, changed_retrieval
from rag.types import Json, Principal
from rag.wiring import Engine

_CALL_TIMEOUT_S = 600.0
_OWN_WITHIN_S = 2.5  # a search or another short command that has the folder is done by then
_TRIES = 5


class Connection(
    LifecycleConnection, UpkeepConnection, JobConnection, ArchiveConnection, FigureConnection
):
    """A data folder, opened by `open` or else by the first call. Thread-safe once it is open."""

    def __init__(self, settings: Settings, *, command: str, chat: ChatModel | None = None) -> None:
        """`chat` is a chat model of this process, in place of the one the settings name."""
        self._settings = settings
        self._chat = chat
        self._command = command
        self._stack = ExitStack()
        self._service: Service | None = None
        self._connected: Connected | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> Self:
        """Own the folder, or reach the process that does.

        Raises:
            DataFolderBusy: it does not answer.
        """
        assert not self._is_closed, "used after close"
        if self._service is None and self._connected is None:
            self._open(acquire_or_connect(self._settings.store.data_dir, self._command))
        return self

    def close(self) -> None:
        """Let go of the folder; requests of other processes under way are finished first."""
        self._is_closed = True
        self._stack.close()
        self._service = self._connected = None

    # --- reading --------------------------------------------------------------------------------
    def search(
        self,
        query: str = "",
        *,
        image: Path | str | Image.Image | None = None,
        collection: str = "default",
        top_k: int | None = None,
        **options: Any,
    ) -> Json:
        """Pages, as `octavo search --json` prints them; options as its flags.

        Args:
            query: words; may be empty beside `image` or `like`.
            image: a file, read here, or an image.
            collection: where to look.
            top_k: pages that come back.
            options: as `Service.search` takes them.

        Raises:
            InputError: `bad_image`, a file that cannot be read or is too large.
            ConfigError: `retrieval` among the options is no settings.
        """
        if top_k is None:
            changes = options.get("retrieval") or {}
            top_k = changed_retrieval(self._settings.retrieval, changes).top_k
        if image is not None:
            options["image"] = image_as_base64(image)
        return self._call("search", query=query, collection=collection, top_k=top_k, **options)

    def ask(
        self,
        question: str,
        *,
        collection: str = "default",
        on_event: Callable[[Json], None] | None = None,
        **options: Any,
    ) -> Json:
        """An answer, as `octavo ask --json` prints it; options as its flags.

        What `on_event` hears is told by `Service.ask`; an exception out of it ends the answer.
        """
        return self._call(
            "ask", on_event=on_event, question=question, collection=collection, **options
        )

    def chat(
        self,
        question: str,
        *,
        conversation: str | None = None,
        collection: str = "default",
        on_event: Callable[[Json], None] | None = None,
        **options: Any,
    ) -> Json:
        """As `ask`, within a conversation that is kept; without one a new one begins."""
        return self._call(
            "chat",
            on_event=on_event,
            question=question,
            conversation=conversation,
            collection=collection,
            **options,
        )

    def conversations(self) -> Json:
        return self._call("conversations")

    def conversation(self, conversation: str) -> Json:
        return self._call("conversation", conversation=conversation)

    def delete_conversation(self, conversation: str) -> Json:
        return self._call("delete_conversation", conversation=conversation)

    def list_documents(self, *, collection: str = "default") -> Json:
        return self._call("list_documents", collection=collection)

    def show(self, document: str, *, collection: str = "default") -> Json:
        return self._call("show", document=document, collection=collection)

    def page_png(
        self,
        document: str,
        page_number: int,
        *,
        image: Path | str | Image.Image | None = None,
        collection: str = "default",
        **options: Any,
    ) -> Json:
        """A page as PNG in base64, with what speaks to a query marked; `dpi` sets its size."""
        if image is not None:
            options["image"] = image_as_base64(image)
        return self._call(
            "page_png",
            document=document,
            page_number=page_number,
            collection=collection,
            **options,
        )

    def collections(self, *, only: str | None = None) -> Json:
        """All there are, with pages, encoder, identity and size; or the one that is asked for."""
        return self._call("collections", only=only)

    def status(self) -> Json:
        return self._call("status")

    # --- writing --------------------------------------------------------------------------------
    def ingest(
        self,
        paths: Sequence[Path | str],
        *,
        collection: str = "default",
        on_event: Callable[[Json], None] = lambda _: None,
        dry_run: bool = False,
        **options: Any,
    ) -> Json:
        """Files and folders in; the totals, as `octavo ingest --json` prints them last.

        A dry run opens nothing, so there may be no data folder, or somebody else at work in it.

        Raises:
            DataFolderBusy: another process owns the folder and does not let go within 2.5 s.
        """
        files = [Path(path) for path in paths]
        if dry_run:
            limit = self._settings.render.max_file_bytes
            return rehearse(discover(files, max_file_bytes=limit), on_event)
        return self._owning().ingest(
            paths=files, collection=collection, on_event=on_event, **options
        )

    def migrate(
        self,
        to: Settings,
        *,
        collection: str = "default",
        password: str | None = None,
        on_event: Callable[[Json], None] = lambda _: None,
    ) -> Json:
        """The collection encoded again with other settings, then switched.

        Raises:
            DataFolderBusy: another process owns the folder.
        """
        service = self._owning()
        same_place = to.model_copy(update={"store": self._settings.store})
        with Engine(same_place) as engine:
            result = service.migrate(
                collection=collection, to=engine, password=password, on_event=on_event
            )
        return result

    def abandon_migration(self, *, collection: str = "default") -> Json:
        return self._owning().abandon_migration(collection=collection)

    def delete(self, documents: Sequence[str], *, collection: str = "default") -> Json:
        return self._call("delete", documents=list(documents), collection=collection)

    def estimate(
        self,
        paths: Sequence[Path | str],
        *,
        sample: bool = True,
        password: str | None = None,
        progress: Callable[[str, int, int], None] = lambda _what, _done, _whole: None,
    ) -> Json:
        """What ingesting these would cost, as `octavo estimate --json` prints it. Opens nothing.

        Args:
            paths: files and folders.
            sample: measure some of their pages; without it, rates measured elsewhere are taken.
            password: opens protected files.
            progress: called with what is counted, how many are done, how many there are.
        """
        from rag.apps.estimation import estimate_ingest  # an encoder, which no other call makes

        files = [Path(path) for path in paths]
        return estimate_ingest(
            self._settings, files, sample=sample, password=password, progress=progress
        )

    # --- tuning ---------------------------------------------------------------------------------
    def tune(
        self,
        *,
        collection: str = "default",
        questions: Path | str | None = None,
        progress: Callable[[str, int, int], None] = lambda _what, _done, _whole: None,
        **options: Any,
    ) -> Json:
        """Search settings measured, as `octavo tune --json` prints them; options as its flags.

        Raises:
            DataFolderBusy: another process owns the folder; its work would be in the times.
        """
        return self._owning().tune(
            collection=collection,
            questions=None if questions is None else Path(questions),
            progress=progress,
            **options,
        )

    def reset_tuning(self, *, collection: str = "default") -> Json:
        return self._call("reset_tuning", collection=collection)

    # --- here or there --------------------------------------------------------------------------
    def _open(self, held: Owned | Connected) -> None:
        if isinstance(held, Connected):
            if self._chat is not None:
                raise folder_busy(
                    read_owner(held.folder),
                    doing="which cannot answer with a chat model of this one",
                    next_step="Wait until it is done, or name the model in its settings.",
                )
            self._connected = held
            return
        with ExitStack() as opened:  # what fails half way lets go of the folder
            opened.enter_context(held)
            engine = opened.enter_context(Engine(self._settings, chat=self._chat))
            # Whoever migrated had the old index open to the end; now nobody has.
            engine.remove_unused()
            engine.repository.work_queue.recover()
            service = Service(engine, Principal.owner())
            opened.enter_context(observing(self._settings.observe, service.gauges))
            held.serve(answer_request(service))
            # Left in this order: nobody is answered, the engine closes, the folder is free.
            opened.callback(held.stop_serving)
            self._stack.push(opened.pop_all())
        self._service, self._connected = service, None

    def _call(
        self, method: str, on_event: Callable[[Json], None] | None = None, **params: Any
    ) -> Json:
        self.open()
        for attempt in range(1, _TRIES + 1):
            if self._service is not None:
                if method in STREAMED_METHODS:
                    params["on_event"] = on_event
                with about(collection=params.get("collection")):
                    result: Json = getattr(self._service, method)(**params)
                return result
            assert self._connected is not None  # since open
            try:
                return self._connected.call(
                    method,
                    request_params(method, params, self._settings),
                    _CALL_TIMEOUT_S,
                    on_event or (lambda _: None),
                )
            except OwnerGone as error:
                if error.was_started or attempt == _TRIES:
                    raise
                self._open(acquire_or_connect(self._settings.store.data_dir, self._command))
        raise AssertionError("the loop returns or raises")

    def _owning(self) -> Service:
        """The service of this process, once it owns the folder."""
        self.open()
        folder = self._settings.store.data_dir
        deadline = time.monotonic() + _OWN_WITHIN_S
        while self._service is None:
            left_s = deadline - time.monotonic()
            if left_s < 0:
                raise folder_busy(
                    read_owner(folder),
                    doing="which is at work in it",
                    next_step="Wait until it is done, then run the command again; searching works "
                    "meanwhile.",
                )
            time.sleep(0.1)
            self._open(acquire_or_connect(folder, self._command, wait_s=left_s))
        return self._service


@contextmanager
def connect(settings: Settings, *, command: str) -> Iterator[Connection]:
    """For the length of one command; `command` is how others see who is at work."""
    with Connection(settings, command=command) as connection:
        yield connection
