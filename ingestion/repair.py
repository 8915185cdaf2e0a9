"""A damaged data folder made whole again from what is intact.

Nothing is deleted: what is damaged is moved to `damaged/<time>/`. Small files are put back from the
inventory, the manifest from its copy; records are made again from the words that the manifest keeps
and the kept files, under the ids that they had, so that results and ties stay as they were.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingestion.context import DocumentContext
from ingestion.embed import Embedder
from ingestion.render import read_pages
from rag import failpoints
from rag.durable_files import copy_durably, sync_folder, write_durably
from rag.errors import BackendError, IndexUnavailable, NotFound, RagError
from rag.filters import Condition, Filter
from rag.index.digest import vectors_digest
from rag.integrity.damage import Damage
from rag.integrity.digests import file_sha256
from rag.integrity.file_checks import held_inventory
from rag.integrity.inventory import Inventory
from rag.integrity.keeping import set_aside, time_stamp
from rag.integrity.places import (
    COLLECTIONS,
    DAMAGED,
    INDEX,
    INVENTORY,
    INVENTORY_BEFORE,
    MANIFEST,
    MANIFEST_COPY,
    MANIFEST_LOGS,
    PACK,
    SOURCES,
    Kind,
    kind_of,
)
from rag.integrity.record_checks import RecordFindings, check_records, payload_of
from rag.integrity.verify import Progress, Report
from rag.manifest import TextRow, VersionState, is_replacement
from rag.manifest.accounts import AccountedVersion, ManifestAccounts
from rag.page_pack import sync
from rag.page_store import PageStore
from rag.ports import PageIndex, PdfInfo, ScannedPage
from rag.renderers.isolated import PageFailure
from rag.types import Json, PageRecord, Principal, RenderedPage
from rag.wiring import Engine

_log = logging.getLogger(__name__)
_OPTIMIZE_FROM_PAGES = 500  # as after an ingest


@dataclass
class Repaired:
    """What was done, and what could not be.

    Attributes:
        restored: paths put back byte for byte.
        set_aside: paths moved to `damaged/`.
        n_records: that were made again; `n_changed` of them with other vectors than before.
        left: what nobody can mend but the reader, with the next step.
    """

    restored: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    n_records: int = 0
    n_changed: int = 0
    n_set_aside_records: int = 0
    left: list[Damage] = field(default_factory=list)

    def as_dict(self) -> Json:
        return {
            "restored": self.restored,
            "set_aside": self.set_aside,
            "records_made_again": self.n_records,
            "records_with_other_vectors": self.n_changed,
            "records_set_aside": self.n_set_aside_records,
            "left": [each.as_dict() for each in self.left],
        }


# --- files, before anything is opened -----------------------------------------------------------
def mend_files(folder: Path, report: Report) -> Repaired:
    """Put back or set aside every file that a report names, so that the folder can be opened.

    Cut short, it goes on where it stopped: what is not put back is missed by `verify` again.

    Args:
        folder: of whose lock the caller is the holder.
        report: of `verify_folder`.

    Raises:
        OSError: the disk refuses.
    """
    done, stamp = Repaired(), time_stamp()
    inventory = held_inventory(folder).inventory
    damaged = {each.path for each in report.damage if each.path is not None}
    if damaged:
        # From here on the files are others than it says; contents alone can be checked.
        _stop_counting(folder, stamp, done, is_whole=INVENTORY not in damaged)
    if MANIFEST in damaged:
        _mend_manifest(folder, stamp, done)
    by_part: dict[str, list[str]] = {}
    for path in sorted(damaged - {MANIFEST, INVENTORY}):
        by_part.setdefault(_part(path), []).append(path)
    for part, paths in by_part.items():
        small = [_small_content(inventory, path) for path in paths]
        for path, content in zip(paths, small, strict=True):
            # One file put back is of no use to a part that another is lost of.
            if content is not None and None not in small:
                _move(folder, path, stamp, done)
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                write_durably(folder / path, content)
                done.restored.append(path)
        if None in small:
            _move(folder, part, stamp, done)
            _note_lost(part, done)
    return done


def _small_content(inventory: Inventory | None, path: str) -> bytes | None:
    entry = None if inventory is None else inventory.files.get(path)
    return None if entry is None else entry.content


def _note_lost(part: str, done: Repaired) -> None:
    if kind_of(part) is Kind.TUNING:
        done.left.append(
            Damage(
                "lost_tuning",
                f"{part} could not be put back; the collection is searched with the defaults",
                "Run `octavo tune` again.",
                path=part,
            )
        )


def _stop_counting(folder: Path, stamp: str, done: Repaired, *, is_whole: bool) -> None:
    if is_whole and (folder / INVENTORY).exists():
        os.replace(folder / INVENTORY, folder / INVENTORY_BEFORE)
        sync_folder(folder)
        return
    _move(folder, INVENTORY, stamp, done)
    if not (folder / INVENTORY_BEFORE).exists():
        write_durably(folder / INVENTORY_BEFORE, b"{}")


def _part(path: str) -> str:
    """What has to be made again as a whole where a file of it is lost."""
    name = {Kind.INDEX: INDEX, Kind.PACK: PACK}.get(kind_of(path))
    return path if name is None else f"{'/'.join(path.split('/')[:2])}/{name}"


def _move(folder: Path, path: str, stamp: str, done: Repaired) -> None:
    if set_aside(folder, path, stamp=stamp) is not None:
        done.set_aside.append(path)


def _mend_manifest(folder: Path, stamp: str, done: Repaired) -> None:
    """The copy in its place; what names nothing but the damaged one goes with it."""
    for name in (MANIFEST, *MANIFEST_LOGS):
        _move(folder, name, stamp, done)
    copy = folder / MANIFEST_COPY
    if not _is_whole_copy(copy):
        done.left.append(
            Damage(
                "manifest_lost",
                "the manifest is damaged, and so is its copy or there is none",
                f"Ingest the documents again; their files are in {DAMAGED}/{stamp}/{SOURCES}.",
                path=MANIFEST,
            )
        )
        for path in sorted((folder / SOURCES).glob("??/*")):
            _move(folder, str(path.relative_to(folder)), stamp, done)
        _move(folder, COLLECTIONS, stamp, done)
        return
    copy_durably(copy, folder / MANIFEST)
    done.restored.append(MANIFEST)


def _is_whole_copy(copy: Path) -> bool:
    try:
        connection = sqlite3.connect(f"file:{copy}?mode=ro", uri=True)
        try:
            return bool(connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
        finally:
            connection.close()
    except sqlite3.Error:
        return False


# --- what a manifest is needed for --------------------------------------------------------------
def mend_sources(folder: Path, done: Repaired, *, stamp: str | None = None) -> None:
    """Copy missing files from where they were ingested; move aside what no version knows."""
    if not (folder / MANIFEST).exists():
        return
    stamp = stamp or time_stamp()
    accounts = ManifestAccounts.in_folder(folder)
    try:
        used = accounts.used_bytes()
        for path in sorted((folder / SOURCES).glob("??/*")):
            if path.stem not in used and not path.name.startswith(".part-"):
                name = str(path.relative_to(folder))
                _move(folder, name, stamp, done)
                done.left.append(
                    Damage(
                        "unknown_source",
                        f"{name} is a file that the manifest does not know",
                        f"It is in {DAMAGED}/{stamp}/{name}; ingest it again if it is wanted.",
                        path=name,
                    )
                )
        store = PageStore(folder, _NoReader())
        for collection in accounts.all_collections():
            for version in accounts.all_versions(collection.name):
                if version.state is not VersionState.RETIRED:
                    _copy_source(store, version, done)
    finally:
        accounts.close()


class _NoReader:
    """Nothing is rendered here."""

    def render(self, *_: Any, **__: Any) -> RenderedPage:
        raise AssertionError("sources are copied, not read")


def _copy_source(store: PageStore, version: AccountedVersion, done: Repaired) -> None:
    if store.source_path(version.sha256) is not None:
        return
    original = Path(version.root) / version.source
    try:
        if file_sha256(original) == version.sha256:
            kept = store.keep_source(original, version.sha256)
            done.restored.append(f"{SOURCES}/{version.sha256[:2]}/{kept.name}")
            return
    except (OSError, ValueError, RagError):
        _log.info("%s could not be copied again", version.source, exc_info=True)
    done.left.append(
        Damage(
            "missing_source",
            f"the kept file of {version.source} is gone, and not to be had where it came from",
            "Put it back there and run `octavo repair`, or ingest it again from where it is. "
            "Searches go on without it; its pages cannot be shown.",
            collection=version.collection,
            document_id=version.document_id,
            source=version.source,
        )
    )


# --- records ------------------------------------------------------------------------------------
class RecordMender:
    """Makes records of pages again that are missing or wrong in the indexes of an engine."""

    def __init__(
        self, engine: Engine, done: Repaired, progress: Progress = lambda *_: None
    ) -> None:
        self._engine = engine
        self._done = done
        self._progress = progress
        self._folder = engine.folder
        self._accounts = ManifestAccounts.in_folder(engine.folder)

    def close(self) -> None:
        self._accounts.close()

    def mend_all(self) -> None:
        """Every collection; one that cannot be mended stops no other."""
        for collection in self._accounts.all_collections():
            if is_replacement(collection.name):
                # Nobody searches it yet, and whoever makes it makes it again.
                base = collection.name.partition("~")[0]
                self._engine.drop_replacement(base)
                continue
            try:
                self._mend(collection.name, collection.folder)
            except RagError as error:
                self._done.left.append(
                    Damage(
                        error.code,
                        f"collection {collection.name} could not be mended: {error.message}",
                        error.next_step or "Run `octavo repair` again.",
                        collection=collection.name,
                    )
                )

    def _mend(self, name: str, at: str) -> None:
        versions = list(self._accounts.all_versions(name))
        if not any(each.record_ids for each in versions):
            return
        self._engine.reader(Principal.owner(), name)  # refuses other settings
        try:
            found = check_records(name, versions, self._engine.page_index(name))
        except IndexUnavailable:
            self._start_over(name, at)
            found = check_records(name, versions, self._engine.page_index(name))
        known = {each.version_id for each in versions}
        if found.is_misfiled or known & found.foreign.keys() or "" in found.foreign:
            self._start_over(name, at)
            found = check_records(name, versions, self._engine.page_index(name))
        index = self._engine.page_index(name)
        self._set_aside_foreign(name, index, found)
        whole = sum(map(len, found.wrong.values()))
        before = self._done.n_records
        for version in versions:
            wrong = set(found.wrong.get(version.version_id, ()))
            if wrong:
                self._mend_version(version, index, wrong)
                self._progress("records", self._done.n_records - before, whole)
        if self._done.n_records - before >= _OPTIMIZE_FROM_PAGES:
            index.optimize()
        sync(self._engine.pack(name), index)

    def _start_over(self, name: str, at: str) -> None:
        """An empty index in place of one that cannot be read."""
        self._engine.let_go_of(name)
        _move(self._folder, f"{COLLECTIONS}/{at}/{INDEX}", time_stamp(), self._done)

    def _set_aside_foreign(self, name: str, index: PageIndex, found: RecordFindings) -> None:
        """Records of versions that the manifest does not know: noted, then deleted."""
        if not found.foreign:
            return
        stamp = time_stamp()
        kept = self._folder / DAMAGED / stamp / f"records-{name}.jsonl"
        kept.parent.mkdir(parents=True, exist_ok=True)
        ids = [record_id for some in found.foreign.values() for record_id in some]
        lines = [
            json.dumps({"record_id": record_id, "payload": payload})
            for record_id, payload in index.payloads(ids).items()
        ]
        write_durably(kept, "\n".join([*lines, ""]).encode())
        for version_id in found.foreign:
            index.delete(Filter(must=(Condition("version_id", "$eq", version_id),)))
        index.flush()
        self._done.n_set_aside_records += len(ids)
        self._done.left.append(
            Damage(
                "foreign_record",
                f"{len(ids)} records of collection {name} were of documents that the manifest "
                "does not know",
                f"They are listed in {DAMAGED}/{stamp}/{kept.name}; ingest those documents again.",
                collection=name,
            )
        )

    # --- one version ----------------------------------------------------------------------------
    def _mend_version(self, version: AccountedVersion, index: PageIndex, wrong: set[str]) -> None:
        try:
            self._restore(version, index, wrong)
        except (RagError, OSError) as error:
            numbers = sorted(version.record_ids[each].page_number for each in wrong)
            message = error.message if isinstance(error, RagError) else str(error.strerror)
            self._done.left.append(
                Damage(
                    "lost_records",
                    f"{len(numbers)} pages of {version.source} could not be made again: {message}",
                    "Ingest the document again with --force.",
                    collection=version.collection,
                    document_id=version.document_id,
                    source=version.source,
                    pages=tuple(numbers),
                )
            )

    def _restore(self, version: AccountedVersion, index: PageIndex, wrong: set[str]) -> None:
        engine = self._engine
        embedder = Embedder(engine.encoder, engine.fde(version.collection), engine.settings.pooling)
        source = PageStore(self._folder, engine.isolated).source_path(version.sha256)
        if source is None:
            raise NotFound("its kept file is gone", code="source_missing")
        named = version.record_ids
        numbers = sorted(named[each].page_number for each in wrong)
        texts = self._accounts.texts(version.version_id, range(1, version.n_pages + 1))
        info = engine.isolated.open(source)
        size = engine.settings.store.batch_pages
        for number in range(0, version.n_pages, size):
            # Batches as the pages were encoded in.
            some = [n for n in numbers if number < n <= number + size]
            if some:
                self._restore_batch(version, index, embedder, info, source, some, texts)
        failpoints.reached("records_restored")

    def _restore_batch(
        self,
        version: AccountedVersion,
        index: PageIndex,
        embedder: Embedder,
        info: PdfInfo,
        source: Path,
        numbers: Sequence[int],
        texts: Mapping[int, TextRow],
    ) -> None:
        pages = self._scanned(version, embedder, source, numbers, texts)
        encoded = embedder.encode(version.document_id, pages)
        if encoded.failures:
            failed = encoded.failures[0]
            raise BackendError(f"page {failed.page_number}: {failed.reason}", code=failed.reason)
        known = {number: row.text for number, row in texts.items()}
        context = DocumentContext(version.made_as, info, known)
        records = [
            dataclasses.replace(page.record, payload=payload_of(version, page.page.page_number))
            for page in embedder.records(version.version_id, encoded, context)
            if page.record is not None
        ]
        self._engine.pack(version.collection).discard([each.record_id for each in records])
        index.upsert(records)
        index.flush()
        self._note(version, records)

    def _scanned(
        self,
        version: AccountedVersion,
        embedder: Embedder,
        source: Path,
        numbers: Sequence[int],
        texts: Mapping[int, TextRow],
    ) -> list[ScannedPage]:
        """Pages as they were when they were encoded: words as kept, pixels rendered again."""
        rendered: dict[int, ScannedPage] = {}
        if embedder.wants_image:
            for batch in read_pages(
                self._engine.isolated, source, numbers, batch_pages=len(numbers), want_image=True
            ):
                _require_read(batch.failures)
                rendered |= {page.page_number: page for page in batch.read}
        frames = {page.page_number: page for page in version.pages}
        return [
            ScannedPage(
                page_number=number,
                width_pt=frames[number].width_pt,
                height_pt=frames[number].height_pt,
                text=texts[number].text,
                has_ink=True,  # it had a record
                content_hash="",
                image=rendered[number].image if number in rendered else None,
                caption=texts[number].caption,
            )
            for number in numbers
        ]

    def _note(self, version: AccountedVersion, records: Iterable[PageRecord]) -> None:
        named = version.record_ids
        for record in records:
            page, digest = named[record.record_id], vectors_digest(record)
            self._done.n_records += 1
            if page.vectors_digest != digest:
                self._done.n_changed += page.vectors_digest is not None
                self._accounts.note_digest(version.version_id, page.page_number, digest)


def _require_read(failures: Sequence[PageFailure]) -> None:
    if failures:
        first = failures[0]
        raise BackendError(f"page {first.page_number}: {first.reason}", code=first.reason)
