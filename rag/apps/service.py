"""What Octavo does for somebody, as JSON in the shapes of the interface; every face calls this."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.tuning.tune import Progress
from eval.tuning.tune_run import TuneRequest, tune
from ingestion.events import OnEvent
from ingestion.job_run import JobRun
from ingestion.migrate import migrate
from ingestion.run import IngestOptions
from ingestion.source import discover
from rag.apps.archives import ArchiveService
from rag.apps.asked import (
    beyond_text,
    is_by_document,
    mode_asked,
    page_expected,
    pages_given,
    query_asked,
    readers_asked,
    scope_asked,
    spoken,
    turns,
    understood,
)
from rag.apps.check import qdrant_server
from rag.apps.figures import FigureService
from rag.apps.jobs import JobService
from rag.apps.lifecycle import LifecycleService
from rag.apps.marked_page import NOTHING_MARKED, MarkedPage, mark
from rag.apps.page_drawing import as_png_base64
from rag.apps.query_image import image_from_base64
from rag.apps.shapes import (
    answer_given,
    conversation_kept,
    documents_found,
    event_told,
    hit_found,
    pages_found,
    timings,
    version_kept,
)
from rag.apps.upkeep import UpkeepService
from rag.ask import AskRequest
from rag.deadline import Deadline
from rag.errors import InputError
from rag.filters import require_metadata
from rag.ports import unheard
from rag.query import Query, encode
from rag.repository import CollectionReader
from rag.retrieve import SearchRequest
from rag.tuned import TunedWidths, with_tuning
from rag.types import Json, Notice, PageField, PageRef
from rag.wiring import Engine

_TURNS_READ = 20  # of a conversation, by whatever reads a follow-up; it may read fewer


class Service(LifecycleService, UpkeepService, JobService, ArchiveService, FigureService):
    """One engine, used by one principal. Thread-safe."""

    # --- reading --------------------------------------------------------------------------------
    def search(
        self,
        *,
        collection: str,
        top_k: int,
        query: str = "",
        image: str | None = None,
        like: Sequence[Any] | None = None,
        towards: str = "",
        away_from: str = "",
        strength: float = 1.0,
        mode: str = "hybrid",
        exact: bool = False,
        explain: bool = False,
        expect: Sequence[Any] | None = None,
        filters: Json | None = None,
        documents: Sequence[str] | None = None,
        pages: Sequence[int] | None = None,
        highlights: bool = True,
        granularity: str = "page",
        history: Sequence[Sequence[str]] = (),
        retrieval: Json | None = None,
    ) -> Json:
        """Pages for words, an image (a file in base64), or a page like another.

        `like` is document, page number, and a box in page points or None; `expect` is document and
        page number; `granularity` document looks for documents; `history` is questions and answers
        before; `retrieval` changes settings for this search.
        """
        start = time.perf_counter()
        picture = None if image is None else image_from_base64(image)
        reader = self._engine.reader(self._principal, collection)
        asked = query_asked(
            reader,
            query,
            image=picture,
            like=like,
            towards=towards,
            away_from=away_from,
            strength=strength,
        )
        expected, lost = page_expected(reader, expect)
        request = SearchRequest(
            asked,
            top_k,
            mode=mode_asked(mode),
            exact=exact,
            scope=scope_asked(reader, filters, documents, pages),
            highlights=highlights,
            explain=explain,
            expect=expected,
            by_document=is_by_document(granularity),
            history=turns(history),
        )
        found = self._engine.retriever(collection, retrieval).search(reader, request)
        others = (record_id for document in found.documents for record_id, _ in document.pages)
        frames = reader.pages([*found.record_ids, *others])
        shown: Json = {
            "query": query,
            **beyond_text(asked),
            "collection": collection,
            "mode": found.mode.value,
            "exact": exact,
            **understood(query, found),
            "encoder": str(self._engine.encoder.identity),
            "hits": [
                {
                    **hit_found(hit),
                    "width_pt": round(frames[record_id].width_pt, 2),
                    "height_pt": round(frames[record_id].height_pt, 2),
                }
                for hit, record_id in zip(found.hits, found.record_ids, strict=True)
                if record_id in frames
            ],
            **documents_found(found, frames, granularity),
            "stages": [stage.as_dict() for stage in found.stages],
            "warnings": [
                warning.as_dict()
                for warning in (*found.warnings, *self._tuning_notices(reader, collection))
            ],
            "tuned": self._engine.tuning(collection) is not None,
            "timings_ms": timings(start, found.stages),
        }
        if not explain:
            return shown
        assert found.explanation is not None  # asked for
        return shown | {"explain": found.explanation | ({"expected": lost} if lost else {})}

    def ask(
        self,
        *,
        question: str,
        collection: str,
        mode: str = "hybrid",
        filters: Json | None = None,
        documents: Sequence[str] | None = None,
        pages: Sequence[int] | None = None,
        history: Sequence[Sequence[str]] = (),
        from_pages: Sequence[Sequence[Any]] = (),
        retrieval: Json | None = None,
        answering: Json | None = None,
        on_event: OnEvent | None = None,
        deadline: Deadline | None = None,
    ) -> Json:
        """An answer with its citations, or an abstention; `error` says why a model gave none.

        `from_pages` are documents and page numbers to answer from without a search; `retrieval`
        and `answering` change settings for this question. `on_event` hears `search_results`,
        `delta`, `restarted`, `citation` and `claim` as they come.
        """
        start = time.perf_counter()
        question = spoken(question)
        reader = self._engine.reader(self._principal, collection)
        scope = scope_asked(reader, filters, documents, pages)
        asker = self._engine.asker(collection, retrieval, answering)
        tell = on_event or (lambda _: None)
        result = asker.ask(
            reader,
            AskRequest(
                question,
                mode=mode_asked(mode),
                scope=scope,
                history=turns(history),
                from_pages=pages_given(reader, from_pages, scope),
                on_found=lambda found: tell(pages_found(question, found)),
                on_event=unheard if on_event is None else lambda event: on_event(event_told(event)),
                deadline=deadline,
            ),
        )
        answer = answer_given(question, collection, result)
        answer["warnings"] += [
            notice.as_dict() for notice in self._tuning_notices(reader, collection)
        ]
        return (
            answer
            | understood(question, result.search)
            | {
                "encoder": str(self._engine.encoder.identity),
                "timings_ms": timings(start, result.stages),
            }
        )

    # --- conversations --------------------------------------------------------------------------
    def chat(
        self,
        *,
        question: str,
        collection: str,
        conversation: str | None = None,
        on_event: OnEvent | None = None,
        **options: Any,
    ) -> Json:
        """As `ask`, read with what the conversation said before, and kept in it.

        Without a conversation a new one begins. What failed is not kept. Options as `ask` takes
        them, but for `history`.

        Raises:
            NotFound: `unknown_conversation`.
            InputError: `other_collection`, the conversation is about another one.
        """
        held = self._engine.conversations(self._principal)
        question = spoken(question)
        before: list[list[str]] = []
        if conversation is not None:
            about = held.conversation(conversation).collection
            if about != collection:
                raise InputError(
                    f"conversation {conversation} is about the collection {about!r}, and "
                    f"{collection!r} was asked for",
                    code="other_collection",
                    next_step=f"Go on in {about!r}, or begin a new conversation.",
                )
            before = [
                [each.question, each.answer["answer"]] for each in held.exchanges(conversation)
            ]
        answer = self.ask(
            question=question,
            collection=collection,
            history=before[-_TURNS_READ:],
            on_event=on_event,
            **options,
        )
        if answer["error"] is None:
            conversation = conversation or held.begin(collection, question)
            answer["turn"] = held.add(conversation, question, answer)
        return answer | {"conversation_id": conversation}

    def conversations(self) -> Json:
        """Without their exchanges, the last one spoken in first."""
        held = self._engine.conversations(self._principal)
        return {"conversations": [conversation_kept(each) for each in held.all()]}

    def conversation(self, *, conversation: str) -> Json:
        """With every question and answer, citations included."""
        held = self._engine.conversations(self._principal)
        return conversation_kept(held.conversation(conversation)) | {
            "exchanges": [
                {"turn": each.number, "asked_at": each.asked_at, **each.answer}
                for each in held.exchanges(conversation)
            ]
        }

    def delete_conversation(self, *, conversation: str) -> Json:
        self._engine.conversations(self._principal).delete(conversation)
        return {"deleted": conversation}

    def list_documents(self, *, collection: str) -> Json:
        reader = self._engine.repository.reader(self._principal, collection)
        return {"documents": [document.as_dict() for document in reader.documents()]}

    def show(self, *, document: str, collection: str) -> Json:
        reader = self._engine.repository.reader(self._principal, collection)
        summary = reader.document(reader.resolve_document(document))
        refs = [PageRef(summary.document_id, n) for n in range(1, summary.n_pages + 1)]
        stored = reader.stored_pages(refs) if refs else {}
        return summary.as_dict() | {
            "sha256": summary.sha256,
            "root": summary.root,
            "error": summary.error,
            "page_list": [
                {
                    "page_number": page.ref.page_number,
                    "state": str(page.state),
                    "reason": page.reason,
                    "width_pt": round(page.width_pt, 2),
                    "height_pt": round(page.height_pt, 2),
                    "words": len(page.text),
                    "no_text": page.no_text,
                    "hidden_words": len(page.hidden),
                    "ocr": page.ocr,
                }
                for page in stored.values()
            ],
            "versions": [version_kept(each) for each in reader.versions(summary.document_id)],
        }

    def page_png(
        self,
        *,
        document: str,
        page_number: int,
        collection: str,
        query: str | None = None,
        image: str | None = None,
        like: Sequence[Any] | None = None,
        towards: str = "",
        away_from: str = "",
        strength: float = 1.0,
        dpi: float | None = None,
        token: str | None = None,
        tokens: bool = False,
    ) -> Json:
        """A page as PNG (base64), with what speaks to a query marked on it, given as to `search`.

        `token` marks what speaks to this word of the query alone; `tokens` draws the page once for
        the query and once for each of its words, on one sheet.
        """
        is_asked = bool(query) or image is not None or like is not None
        if not is_asked and (token or tokens):
            raise InputError("tokens are of a query, and there is none")
        reader = self._engine.reader(self._principal, collection)
        ref = PageRef(reader.resolve_document(document), page_number)
        marked = None
        if is_asked:
            asked = query_asked(
                reader,
                query or "",
                image=None if image is None else image_from_base64(image),
                like=like,
                towards=towards,
                away_from=away_from,
                strength=strength,
            )
            marked = self._found_on(reader, ref, asked, token)
        settings = self._engine.settings.render
        picture = reader.page_image(ref, settings.dpi if dpi is None else dpi)
        if marked is None:
            drawn = picture.image
        else:
            drawn = marked.draw_tokens(picture) if tokens else marked.draw(picture)
        return {
            "document_id": ref.document_id,
            "page_number": page_number,
            "width_px": drawn.width,
            "height_px": drawn.height,
            "width_pt": round(picture.width_pt, 2),
            "height_pt": round(picture.height_pt, 2),
            **(NOTHING_MARKED if marked is None else marked.as_dict()),
            "png": as_png_base64(drawn),
        }

    def collections(self, *, only: str | None = None) -> Json:
        """All that the principal may see, or the one that is asked for."""
        repository = self._engine.repository
        found = []
        for name in repository.collections(self._principal):
            if only not in (None, name):
                continue
            reader = repository.reader(self._principal, name)
            identity = repository.identity(self._principal, name)
            documents = reader.documents()
            found.append(
                {
                    "name": name,
                    "documents": len(documents),
                    "pages": sum(document.n_pages for document in documents),
                    "encoder": identity.get("encoder", ""),
                    "identity": identity,
                    "size_bytes": self._engine.size_bytes(name),
                }
            )
        return {"collections": found}

    def status(self) -> Json:
        return {
            **self.collections(),
            **self.figures(),
            "jobs": self.list_jobs(limit=20)["jobs"],
            "store": qdrant_server(self.settings.store),
        }

    # --- writing --------------------------------------------------------------------------------
    def ingest(
        self,
        *,
        paths: Sequence[Path],
        collection: str,
        metadata: Json | None = None,
        readers: Sequence[str] | None = None,
        force: bool = False,
        retry_failed: bool = False,
        password: str | None = None,
        on_event: OnEvent = lambda _: None,
        job: JobRun | None = None,
    ) -> Json:
        require_metadata(metadata)
        files = discover(
            [Path(path) for path in paths],
            max_file_bytes=self._engine.settings.render.max_file_bytes,
        )
        ingestor, _ = self._ingestor(collection)
        totals = ingestor.ingest(
            files,
            IngestOptions(
                metadata=metadata or None,
                readers=readers_asked(readers),
                force=force,
                retry_failed=retry_failed,
                password=password,
            ),
            on_event,
            job=job,
        )
        self._settle(totals, collection)
        return totals

    def migrate(
        self,
        *,
        collection: str,
        to: Engine,
        password: str | None = None,
        on_event: OnEvent = lambda _: None,
    ) -> Json:
        """The collection encoded again with the settings of another engine, then switched."""
        totals = migrate(
            self._engine, to, self._principal, collection, password=password, on_event=on_event
        )
        notices = [notice.as_dict() for notice in to.take_encoder_notices()]
        return {**totals, "warnings": [*totals["warnings"], *notices]}

    def abandon_migration(self, *, collection: str) -> Json:
        """Forget what a migration that was not finished has made."""
        self._engine.repository.reader(self._principal, collection)
        return {"collection": collection, "abandoned": self._engine.drop_replacement(collection)}

    def delete(self, *, documents: Sequence[str], collection: str) -> Json:
        """Delete documents by name; all names are understood before anything is deleted."""
        reader = self._engine.repository.reader(self._principal, collection)
        writer = self._engine.writer(self._principal, collection)
        named = {name: reader.resolve_document(name) for name in documents}
        left: dict[str, int] = {}
        deleted = []
        for document_id in dict.fromkeys(named.values()):
            source = reader.document(document_id).source
            for kind, count in writer.delete(document_id).items():
                left[kind] = left.get(kind, 0) + count
            quoting = self._engine.conversations(self._principal).quoting(document_id)
            deleted.append(
                {"document_id": document_id, "source": source, "quoted_in_conversations": quoting}
            )
        return {"deleted": deleted, "left": left}

    # --- tuning ---------------------------------------------------------------------------------
    def tune(
        self,
        *,
        collection: str,
        questions: Path | None = None,
        n_questions: int = 50,
        target_recall: float = 0.99,
        k: int = 10,
        seed: int = 0,
        keep: bool = True,
        progress: Progress = lambda _what, _done, _whole: None,
    ) -> Json:
        """Measure search settings on the collection; `keep` uses the chosen one from now on."""
        engine = self._engine
        reader = engine.reader(self._principal, collection)
        outcome = tune(
            reader,
            engine.encoder,
            engine.fde(collection),
            with_tuning(engine.settings.retrieval, engine.tuning(collection)),
            TuneRequest(questions, n_questions, target_recall, k, seed),
            progress=progress,
        )
        if keep and outcome.tuning is not None:
            engine.keep_tuning(collection, outcome.tuning)
        overruled = sorted(
            engine.settings.retrieval.model_fields_set & set(TunedWidths.model_fields)
        )
        notices = [*outcome.notices]
        if overruled and keep and outcome.tuning is not None:
            named = ", ".join(f"retrieval.{name}" for name in overruled)
            notices.append(
                Notice(
                    "tuning_overruled",
                    f"{named} is set by the environment or a settings file, which goes before "
                    "what was tuned",
                )
            )
        return {
            "collection": collection,
            "encoder": str(engine.encoder.identity),
            **outcome.as_dict(),
            "kept": keep and outcome.tuning is not None,
            "warnings": [notice.as_dict() for notice in notices],
        }

    def reset_tuning(self, *, collection: str) -> Json:
        """Search the collection with settings and defaults again."""
        self._engine.repository.reader(self._principal, collection)
        return {
            "collection": collection,
            "reset": self._engine.keep_tuning(collection, None),
        }

    def _tuning_notices(self, reader: CollectionReader, collection: str) -> list[Notice]:
        tuning = self._engine.tuning(collection)
        n_pages = reader.n_pages()
        if tuning is None or not tuning.outdated_by(n_pages):
            return []
        return [
            Notice(
                "tuning_outdated",
                f"the search was tuned on {tuning.tuning.pages:,} pages and there are {n_pages:,} "
                f"now; run `octavo tune -c {collection}` again",
            )
        ]

    def _found_on(
        self, reader: CollectionReader, ref: PageRef, query: Query, token: str | None
    ) -> MarkedPage | None:
        page = reader.page(ref.document_id, ref.page_number)
        if page.record_id is None:
            return None
        vectors = reader.vectors([page.record_id], PageField.PATCHES).get(page.record_id)
        if vectors is None:
            return None
        asked = encode(query, self._engine.encoder, reader).encoded
        return mark(page.with_vectors(vectors), asked, query.text, token=token)
