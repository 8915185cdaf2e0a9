"""Octavo from Python: the same calls as the command line, with answers as objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from PIL.Image import Image

from rag.apps.connection import Connection
from rag.settings import Settings, load_settings
from rag.types import Json


@dataclass(frozen=True)
class Hits(Sequence[Json]):
    """Pages, best first, each as `octavo search --json` shows it."""

    response: Json

    def __len__(self) -> int:
        return len(self.response["hits"])

    def __getitem__(self, index: Any) -> Any:
        return self.response["hits"][index]

    def __iter__(self) -> Iterator[Json]:
        return iter(self.response["hits"])

    @property
    def timings(self) -> Json:
        """Milliseconds by stage, and `total`."""
        timings: Json = self.response["timings_ms"]
        return timings


@dataclass(frozen=True)
class AnswerFound:
    """An answer, its fields as `octavo ask --json` shows them.

    Attributes:
        short: the value, date or name alone, or "" where there is none.
        confidence: 0 to 1.
    """

    text: str
    short: str
    abstained: bool
    confidence: float
    citations: Sequence[Json]
    pages: Sequence[Json]
    timings: Json
    response: Json
    error: Json | None = None
    conversation_id: str | None = None

    @classmethod
    def of(cls, response: Json) -> Self:
        return cls(
            text=response["answer"],
            short=response["short"],
            abstained=response["abstained"],
            confidence=response["confidence"],
            citations=response["citations"],
            pages=response["pages"],
            timings=response["timings_ms"],
            response=response,
            error=response["error"],
            conversation_id=response.get("conversation_id"),
        )


class Octavo:
    """Documents in a local folder.

    >>> from rag import Octavo
    >>> octavo = Octavo()                                            # doctest: +SKIP
    >>> octavo.ingest("reports/", metadata={"year": 2025})           # doctest: +SKIP
    >>> octavo.search("dividend 2023", filters={"year": 2025})[0]    # doctest: +SKIP
    >>> octavo.ask("How did the dividend change?").text              # doctest: +SKIP
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        collection: str = "default",
        settings: Settings | None = None,
        chat_model: Any = None,
    ) -> None:
        """Open the folder, or reach the process that has it open.

        Args:
            data_dir: over the settings'.
            collection: all calls are about this one.
            settings: from environment and defaults where not given.
            chat_model: a chat model of LangChain, which answers from then on unless
                `answer.model` says otherwise.

        Raises:
            DataFolderBusy: another process has the folder and does not answer within 5 s, or has
                it at all where there is a `chat_model`.
        """
        overrides = {} if data_dir is None else {"store": {"data_dir": Path(data_dir)}}
        if settings is None:
            settings = load_settings(overrides=overrides)
        elif data_dir is not None:
            store = settings.store.model_copy(update={"data_dir": Path(data_dir)})
            settings = settings.model_copy(update={"store": store})
        chat = None
        if chat_model is not None:
            from rag.langchain_adapter import LangChainChat  # a library that others do without

            chat = LangChainChat.of(chat_model, settings.chat)
            if "model" not in settings.answer.model_fields_set:
                answers = settings.answer.model_copy(update={"model": "chat"})
                settings = settings.model_copy(update={"answer": answers})
        self._collection = collection
        self._connection = Connection(settings, command="python", chat=chat).open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def ingest(
        self,
        paths: Path | str | Sequence[Path | str],
        *,
        metadata: Json | None = None,
        readers: Sequence[str] | None = None,
        force: bool = False,
        password: str | None = None,
        on_event: Callable[[Json], None] = lambda _: None,
    ) -> Json:
        """Files and folders in; the totals out. `on_event` hears of each page and document."""
        given = [paths] if isinstance(paths, Path | str) else list(paths)
        return self._connection.ingest(
            given,
            collection=self._collection,
            metadata=metadata,
            readers=readers,
            force=force,
            password=password,
            on_event=on_event,
        )

    def search(
        self,
        query: str = "",
        *,
        image: Path | str | Image | None = None,
        like: tuple[str, int] | tuple[str, int, Sequence[float]] | None = None,
        towards: str = "",
        away_from: str = "",
        strength: float = 1.0,
        top_k: int | None = None,
        mode: str = "hybrid",
        exact: bool = False,
        filters: Mapping[str, Any] | None = None,
        documents: Sequence[str] | None = None,
        pages: tuple[int, int] | None = None,
        granularity: str = "page",
        history: Sequence[tuple[str, str]] = (),
        retrieval: Mapping[str, Any] | None = None,
    ) -> Hits:
        """Pages for words, an image, a page like another, or words beside one of these.

        Args:
            query: words; may be empty beside `image` or `like`.
            image: a file, or an image of Pillow; the encoder has to read images.
            like: document and page number, and where a part of the page is meant its left, top,
                right and bottom in points. The page itself is left out.
            towards: what the results should have more of.
            away_from: what they should have less of.
            strength: how far these move the query.
            top_k: pages that come back.
            mode: which legs of the search are used; without words only `visual` is.
            exact: score every page.
            filters: over the documents' metadata.
            documents: sources or ids.
            pages: first and last page.
            granularity: `document` ranks documents, with the best page of each as a hit.
            history: questions and answers before, oldest first, that this one follows up.
            retrieval: settings of the section `retrieval` to be changed for this search.

        Raises:
            InputError: `query_not_supported`, `bad_image`, `bad_region`, `empty_region`, and what
                else the arguments can be wrong in.
        """
        return Hits(
            self._connection.search(
                query,
                image=image,
                like=like,
                towards=towards,
                away_from=away_from,
                strength=strength,
                collection=self._collection,
                top_k=top_k,
                mode=mode,
                exact=exact,
                filters=filters,
                documents=documents,
                pages=pages,
                granularity=granularity,
                history=history,
                retrieval=None if retrieval is None else dict(retrieval),
            )
        )

    def ask(
        self,
        question: str,
        *,
        mode: str = "hybrid",
        filters: Mapping[str, Any] | None = None,
        documents: Sequence[str] | None = None,
        pages: tuple[int, int] | None = None,
        history: Sequence[tuple[str, str]] = (),
        from_pages: Sequence[tuple[str, int]] = (),
        retrieval: Mapping[str, Any] | None = None,
        answering: Mapping[str, Any] | None = None,
        on_event: Callable[[Json], None] | None = None,
    ) -> AnswerFound:
        """An answer with checked citations, or an abstention.

        Args:
            question: as people ask.
            mode: as `search` takes it, and so are `filters`, `documents`, `pages` and `retrieval`.
            filters: over the documents' metadata.
            documents: sources or ids.
            pages: first and last page.
            history: questions and answers before, oldest first, that this one follows up.
            from_pages: documents and page numbers to answer from, without a search; all of them
                within `filters`, `documents` and `pages`.
            retrieval: settings of the section `retrieval` to be changed for this question.
            answering: the same of the section `answer`.
            on_event: hears the pages found, the text as it arrives (`delta`, not checked yet), and
                each `citation` and `claim` once it is checked. What it raises ends the answer.

        Raises:
            InputError: a question without words, and what else the arguments can be wrong in.
            ConfigError: settings that cannot be.

        An answer model that fails raises nothing: `error` says why, and the pages are there.
        """
        found = self._connection.ask(
            question,
            collection=self._collection,
            mode=mode,
            filters=filters,
            documents=documents,
            pages=pages,
            history=history,
            from_pages=[list(page) for page in from_pages],
            retrieval=None if retrieval is None else dict(retrieval),
            answering=None if answering is None else dict(answering),
            on_event=on_event,
        )
        return AnswerFound.of(found)

    def chat(
        self, question: str, *, conversation: str | None = None, **options: Any
    ) -> AnswerFound:
        """As `ask`, within a conversation that is kept; its id is `.conversation_id`.

        Args:
            question: may follow up what was said before.
            conversation: None begins a new one.
            options: as `ask` takes them, but for `history`.

        Raises:
            NotFound: `unknown_conversation`.
            InputError: `other_collection`, the conversation is about another one.
        """
        found = self._connection.chat(
            question, conversation=conversation, collection=self._collection, **options
        )
        return AnswerFound.of(found)

    def documents(self) -> list[Json]:
        found: list[Json] = self._connection.list_documents(collection=self._collection)[
            "documents"
        ]
        return found

    def delete(self, document: str) -> Json:
        """Raises NotFound, or InputError for a name that could be several documents."""
        return self._connection.delete([document], collection=self._collection)

    # --- documents that follow their files ------------------------------------------------------
    def sync(self, folder: Path | str, **options: Any) -> Json:
        """Make the collection equal to a folder; options as the flags of `octavo sync`."""
        return self._connection.sync(folder, collection=self._collection, **options)

    def change(self, documents: str | Sequence[str], **changes: Any) -> Json:
        """Change `metadata` or `readers` of documents; as `octavo set`."""
        given = [documents] if isinstance(documents, str) else list(documents)
        return self._connection.change_documents(given, collection=self._collection, **changes)

    def show(self, document: str) -> Json:
        """A document with its pages and the versions it had."""
        return self._connection.show(document, collection=self._collection)

    # --- the collection as a whole --------------------------------------------------------------
    def export(self, path: Path | str, **options: Any) -> Json:
        """The collection in one file, which `import_archive` reads."""
        return self._connection.export(path, collection=self._collection, **options)

    def import_archive(self, path: Path | str, **options: Any) -> Json:
        """The documents of an archive into the collection; nothing is encoded."""
        return self._connection.import_archive(path, collection=self._collection, **options)

    def drop_collection(self, collection: str) -> Json:
        """Delete a collection with everything in it; what is `left` of it, by kind."""
        return self._connection.drop_collection(collection)

    def snapshot(self, path: Path | str) -> Json:
        """A copy of the whole data folder, which opens like any other."""
        return self._connection.snapshot(path)

    def verify(self) -> Json:
        """What is damaged of the records; the files are checked by `octavo verify` alone, while
        nobody has the folder open.
        """
        return self._connection.verify()

    # --- jobs -----------------------------------------------------------------------------------
    def enqueue(self, paths: Path | str | Sequence[Path | str], **options: Any) -> Json:
        """Put an ingest into the queue; the job. Options as the flags of `octavo ingest`."""
        given = [paths] if isinstance(paths, Path | str) else list(paths)
        return self._connection.enqueue_ingest(given, collection=self._collection, **options)

    def enqueue_sync(self, folder: Path | str, **options: Any) -> Json:
        """Put a sync into the queue; the job."""
        return self._connection.enqueue_sync(folder, collection=self._collection, **options)

    def jobs(self, *, state: str | None = None) -> list[Json]:
        """Of all collections; those at work first, then those that wait."""
        found: list[Json] = self._connection.list_jobs(state=state)["jobs"]
        return found

    def job(self, job_id: str) -> Json:
        """With how each of its documents ended. Raises NotFound `unknown_job`."""
        return self._connection.show_job(job_id)

    def change_job(self, job_id: str, action: str) -> Json:
        """`pause`, `resume`, `cancel` or `retry`."""
        return self._connection.change_job(job_id, action)

    def run_jobs(self, **options: Any) -> Json:
        """Work on the queue until it is empty; the jobs, as they ended."""
        return self._connection.run_jobs(**options)


class AsyncOctavo:
    """Octavo for asyncio: every call runs in a thread, so the event loop stays free."""

    def __init__(self, octavo: Octavo) -> None:
        self._octavo = octavo

    @classmethod
    async def open(cls, *args: Any, **options: Any) -> Self:
        """Arguments as `Octavo`'s."""
        return cls(await asyncio.to_thread(partial(Octavo, *args, **options)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ingest(self, paths: Path | str | Sequence[Path | str], **options: Any) -> Json:
        return await asyncio.to_thread(partial(self._octavo.ingest, paths, **options))

    async def search(self, query: str = "", **options: Any) -> Hits:
        return await asyncio.to_thread(partial(self._octavo.search, query, **options))

    async def ask(self, question: str, **options: Any) -> AnswerFound:
        return await asyncio.to_thread(partial(self._octavo.ask, question, **options))

    async def chat(self, question: str, **options: Any) -> AnswerFound:
        return await asyncio.to_thread(partial(self._octavo.chat, question, **options))

    async def documents(self) -> list[Json]:
        return await asyncio.to_thread(self._octavo.documents)

    async def delete(self, document: str) -> Json:
        return await asyncio.to_thread(self._octavo.delete, document)

    async def sync(self, folder: Path | str, **options: Any) -> Json:
        return await asyncio.to_thread(partial(self._octavo.sync, folder, **options))

    async def change(self, documents: str | Sequence[str], **changes: Any) -> Json:
        return await asyncio.to_thread(partial(self._octavo.change, documents, **changes))

    async def show(self, document: str) -> Json:
        return await asyncio.to_thread(self._octavo.show, document)

    async def enqueue(self, paths: Path | str | Sequence[Path | str], **options: Any) -> Json:
        return await asyncio.to_thread(partial(self._octavo.enqueue, paths, **options))

    async def enqueue_sync(self, folder: Path | str, **options: Any) -> Json:
        return await asyncio.to_thread(partial(self._octavo.enqueue_sync, folder, **options))

    async def jobs(self, *, state: str | None = None) -> list[Json]:
        return await asyncio.to_thread(partial(self._octavo.jobs, state=state))

    async def job(self, job_id: str) -> Json:
        return await asyncio.to_thread(self._octavo.job, job_id)

    async def change_job(self, job_id: str, action: str) -> Json:
        return await asyncio.to_thread(self._octavo.change_job, job_id, action)

    async def close(self) -> None:
        await asyncio.to_thread(self._octavo.close)
