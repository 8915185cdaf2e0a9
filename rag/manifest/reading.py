"""What the manifest can be asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import fields
from typing import TypeVar

from sqlalchemy import Connection, Row, Select, func, select

from rag.manifest import copies, equal_pages
from rag.manifest import past_versions as history
from rag.manifest.database import Database
from rag.manifest.equal_pages import EqualPage
from rag.manifest.past_versions import PastVersion
from rag.manifest.rows import (
    Document,
    DocumentState,
    LiveState,
    PageInfo,
    PageRow,
    PageState,
    TextRow,
    VersionState,
)
from rag.manifest.schema import (
    collections,
    documents,
    page_texts,
    pages,
    past_versions,
    versions,
)
from rag.page_text import PageText, VectorWords
from rag.types import Json
from rag.vector_boxes import VectorBoxes

_T = TypeVar("_T")
_IN_AT_ONCE = 500  # values of one IN list; SQLite takes 32,766 parameters, older ones 999


class ManifestReading(Database):
    def collections(self) -> list[str]:
        with self._reading() as connection:
            return list(connection.scalars(select(collections.c.name).order_by("name")))

    def identity(self, collection: str) -> Json | None:
        """What the collection's vectors were made with; None for no such collection."""
        with self._reading() as connection:
            return connection.scalar(
                select(collections.c.identity).where(collections.c.name == collection)
            )

    def visibility(self, collection: str) -> tuple[int, list[str]]:
        """The collection's generation, and the versions that searches must leave out.

        The generation grows with every change of what is visible, so it can key a cache; it is
        -1 for no such collection.
        """
        with self._reading() as connection:
            generation = connection.scalar(
                select(collections.c.generation).where(collections.c.name == collection)
            )
            hidden = connection.scalars(
                select(versions.c.version_id)
                .where(versions.c.collection == collection)
                .where(versions.c.state != VersionState.LIVE)
                .order_by(versions.c.version_id)
            )
            return (-1 if generation is None else generation), list(hidden)

    def retired(self, collection: str) -> list[str]:
        """Versions whose records are to be deleted."""
        with self._reading() as connection:
            return list(
                connection.scalars(
                    select(versions.c.version_id)
                    .where(versions.c.collection == collection)
                    .where(versions.c.state == VersionState.RETIRED)
                    .order_by(versions.c.created_at, versions.c.version_id)
                )
            )

    def document(self, collection: str, document_id: str) -> Document | None:
        with self._reading() as connection:
            row = connection.execute(
                _documents(collection).where(documents.c.document_id == document_id)
            ).first()
            return None if row is None else _document(row)

    def live_state(self, collection: str, have: Collection[str] = ()) -> LiveState:
        """Everything visible, at one moment.

        Args:
            collection: its name.
            have: version ids whose pages the caller holds; a version never changes once live.
        """
        with self._reading() as connection:
            generation = connection.scalar(
                select(collections.c.generation).where(collections.c.name == collection)
            )
            found = tuple(map(_document, connection.execute(_documents(collection))))
            wanted = [
                document.version_id
                for document in found
                if document.version_id is not None and document.version_id not in have
            ]
            loaded: dict[str, list[PageInfo]] = {version_id: [] for version_id in wanted}
            for version_id, info in _page_infos(connection, wanted):
                loaded[version_id].append(info)
            features: dict[str, Json] = {}
            for some in _batches(wanted):
                for version_id, value in connection.execute(
                    select(versions.c.version_id, versions.c.features).where(
                        versions.c.version_id.in_(some)
                    )
                ):
                    features[version_id] = value or {}
        return LiveState(
            generation=-1 if generation is None else generation,
            documents=found,
            pages={version_id: tuple(infos) for version_id, infos in loaded.items()},
            features=features,
        )

    def texts(self, version_id: str, page_numbers: Sequence[int]) -> dict[int, TextRow]:
        """Words by page number; a page without a row is absent."""
        found: dict[int, TextRow] = {}
        with self._reading() as connection:
            for some in _batches(list(page_numbers)):
                for (
                    number,
                    words,
                    vector_words,
                    vector_boxes,
                    hidden,
                    caption,
                ) in connection.execute(
                    select(
                        page_texts.c.page_number,
                        page_texts.c.words,
                        page_texts.c.vector_words,
                        page_texts.c.vector_boxes,
                        page_texts.c.hidden,
                        page_texts.c.caption,
                    )
                    .where(page_texts.c.version_id == version_id)
                    .where(page_texts.c.page_number.in_(some))
                ):
                    found[number] = TextRow(
                        PageText.from_bytes(words),
                        None if vector_words is None else VectorWords.from_bytes(vector_words),
                        None if vector_boxes is None else VectorBoxes.from_bytes(vector_boxes),
                        PageText.empty() if hidden is None else PageText.from_bytes(hidden),
                        caption,
                    )
        return found

    def captions(self, document_id: str, content_hashes: Collection[str]) -> dict[str, list[Json]]:
        """What was written of pages with these contents, in any version of the document.

        Args:
            document_id: alone, so that nobody's words come into what another ingests.
            content_hashes: of the pages.
        """
        found: dict[str, list[Json]] = {}
        with self._reading() as connection:
            for some in _batches(sorted(content_hashes)):
                for content_hash, caption in connection.execute(
                    select(pages.c.content_hash, page_texts.c.caption)
                    .join(
                        page_texts,
                        (page_texts.c.version_id == pages.c.version_id)
                        & (page_texts.c.page_number == pages.c.page_number),
                    )
                    .join(versions, versions.c.version_id == pages.c.version_id)
                    .where(versions.c.document_id == document_id)
                    .where(pages.c.content_hash.in_(some))
                    .where(page_texts.c.caption.is_not(None))
                    .order_by(versions.c.created_at, pages.c.page_number)
                ):
                    found.setdefault(content_hash, []).append(caption)
        return found

    def has_captions(self, version_id: str) -> bool:
        """Whether anything was written of any page of a version; walks over its pages' words."""
        written = (
            select(page_texts.c.page_number)
            .where(page_texts.c.version_id == version_id)
            .where(page_texts.c.caption.is_not(None))
            .limit(1)
        )
        with self._reading() as connection:
            return connection.scalar(written) is not None

    def failed_pages(self, version_id: str) -> dict[int, str]:
        """Reason by number of the pages of a version that failed."""
        with self._reading() as connection:
            rows = connection.execute(
                select(pages.c.page_number, pages.c.reason)
                .where(pages.c.version_id == version_id)
                .where(pages.c.state == PageState.FAILED)
                .order_by(pages.c.page_number)
            )
            return {int(number): str(reason) for number, reason in rows}

    def history(self, collection: str, document_id: str) -> list[PastVersion]:
        """The document's versions that are or were visible, newest first."""
        with self._reading() as connection:
            return history.of_document(connection, collection, document_id)

    def equal_pages(
        self, collection: str, input_digests: Collection[str], may_use: Callable[[EqualPage], bool]
    ) -> dict[str, EqualPage]:
        """A live page by digest, of those an encoder was given the same for; absent without one."""
        with self._reading() as connection:
            return equal_pages.find(connection, collection, input_digests, may_use)

    def outcome(self, version_id: str) -> tuple[DocumentState, Json] | None:
        """How a live version was published, and its features; None where it is not live."""
        with self._reading() as connection:
            return copies.outcome(connection, version_id)

    def page_rows(
        self, version_id: str, page_numbers: Sequence[int]
    ) -> list[tuple[PageRow, float]]:
        """(row, prior) of these pages, by number, to be written elsewhere."""
        with self._reading() as connection:
            return copies.page_rows(connection, version_id, page_numbers)

    def n_reused(self, version_id: str) -> int:
        """Recorded pages of a version whose vectors were there already."""
        with self._reading() as connection:
            return equal_pages.count_reused(connection, version_id)

    def n_records(self, version_id: str) -> int:
        """Recorded pages of a version that have a record in the index."""
        with self._reading() as connection:
            return (
                connection.scalar(
                    select(func.count())
                    .select_from(pages)
                    .where(pages.c.version_id == version_id)
                    .where(pages.c.record_id.is_not(None))
                )
                or 0
            )

    def version_bytes(self, version_id: str) -> str | None:
        """SHA-256 of a version's file; None for no such version."""
        with self._reading() as connection:
            return connection.scalar(
                select(versions.c.sha256).where(versions.c.version_id == version_id)
            )

    def staging(self, collection: str) -> list[tuple[str, str, str]]:
        """(document id, source, ingested by) of every version that is being filled."""
        with self._reading() as connection:
            found = connection.execute(
                select(versions.c.document_id, versions.c.source, versions.c.ingested_by)
                .where(versions.c.collection == collection)
                .where(versions.c.state == VersionState.STAGING)
                .order_by(versions.c.source)
            )
            return [(row.document_id, row.source, row.ingested_by) for row in found]

    def used_bytes(self) -> set[str]:
        """SHA-256 of every file that some version, live or not, was made from."""
        with self._reading() as connection:
            return set(connection.scalars(select(versions.c.sha256).distinct()))

    def is_used(self, sha256: str) -> bool:
        with self._reading() as connection:
            found = select(versions.c.version_id).where(versions.c.sha256 == sha256).limit(1)
            return connection.scalar(found) is not None

    def left_of(self, collection: str, document_id: str) -> dict[str, int]:
        """Rows by kind that mention a document; all 0 once it is deleted and swept."""
        of_document = select(versions.c.version_id).where(
            versions.c.collection == collection, versions.c.document_id == document_id
        )
        counts = {
            "documents": select(func.count())
            .select_from(documents)
            .where(documents.c.collection == collection, documents.c.document_id == document_id),
            "versions": select(func.count()).select_from(of_document.subquery()),
            "pages": select(func.count())
            .select_from(pages)
            .where(pages.c.version_id.in_(of_document)),
            "past_versions": select(func.count())
            .select_from(past_versions)
            .where(
                past_versions.c.collection == collection,
                past_versions.c.document_id == document_id,
            ),
        }
        with self._reading() as connection:
            return {kind: connection.scalar(query) or 0 for kind, query in counts.items()}


def _documents(collection: str) -> Select[tuple[object, ...]]:
    return (
        select(documents, versions.c.sha256, versions.c.n_pages, versions.c.is_repaired)
        .outerjoin(versions, documents.c.live_version_id == versions.c.version_id)
        .where(documents.c.collection == collection)
        .order_by(documents.c.source, documents.c.document_id)
    )


def _document(row: Row[tuple[object, ...]]) -> Document:
    held = row._mapping
    return Document(
        document_id=held[documents.c.document_id],
        collection=held[documents.c.collection],
        root=held[documents.c.root],
        source=held[documents.c.source],
        state=DocumentState(held[documents.c.state]),
        error=held[documents.c.error],
        metadata=held[documents.c.metadata],
        readers=tuple(held[documents.c.readers]),
        ingested_by=held[documents.c.ingested_by],
        created_at=held[documents.c.created_at],
        updated_at=held[documents.c.updated_at],
        version_id=held[documents.c.live_version_id],
        sha256=held[versions.c.sha256] or "",
        n_pages=held[versions.c.n_pages] or 0,
        is_repaired=bool(held[versions.c.is_repaired]),
    )


def _page_infos(
    connection: Connection, version_ids: Sequence[str]
) -> Iterator[tuple[str, PageInfo]]:
    for some in _batches(version_ids):
        for row in connection.execute(
            select(pages.c.version_id, *(pages.c[each.name] for each in fields(PageInfo)))
            .where(pages.c.version_id.in_(some))
            .order_by(pages.c.version_id, pages.c.page_number)
        ):
            version_id, number, state, *rest = row
            yield version_id, PageInfo(number, PageState(state), *rest)


def _batches(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(values), _IN_AT_ONCE):
        yield values[start : start + _IN_AT_ONCE]
