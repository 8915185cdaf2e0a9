"""Figures of a data folder: for `octavo status`, and as gauges of Prometheus."""

from __future__ import annotations

import contextlib
import functools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rag.apps.service_base import ConnectionBase, ServiceBase
from rag.disk_room import DiskRoom, free_bytes
from rag.errors import InputError
from rag.integrity import keeping
from rag.integrity.inventory import walk
from rag.integrity.last_verify import last_verified
from rag.integrity.places import MANIFEST, Kind, kind_of
from rag.observing import Gauge, Metrics, metrics_in_use
from rag.renderers.sandbox import InForce, probe
from rag.repository.snapshot import DocumentSummary
from rag.types import Json

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset({"metrics"})

_TOLD_AS = {
    Kind.INDEX: "vectors",
    Kind.PACK: "vectors",
    Kind.FDE: "vectors",
    Kind.SOURCE: "sources",
    Kind.IMAGE: "images",
    Kind.OCR: "ocr_words",
    Kind.MANIFEST: "manifest",
    Kind.MANIFEST_COPY: "manifest",
}
_KINDS = (*dict.fromkeys(_TOLD_AS.values()), "other")


class FigureService(ServiceBase):
    """Here, on the engine."""

    def figures(self) -> Json:
        """What `status` adds: of the collections that this principal sees, and of the disk and
        the processes for the owner of the folder alone.
        """
        documents = Counter[str]()
        pages = Counter[str]()
        for _, document in self._every_document():
            documents[str(document.state)] += 1
            pages.update(_pages(document))
        found: Json = {"documents": dict(documents), "pages": dict(pages)}
        if not self._principal.is_owner:
            return found
        return found | {
            "queue": self._jobs_by_state(),
            "bytes": stored_bytes(self._engine.folder),
            "disk": self._disk_room(),
            "last_close": keeping.last_close(self._engine.folder),
            "last_verify": last_verified(self._engine.folder),
            "readers": self._reading_sandbox(),
            "index": self._engine.index_state(),
        }

    def metrics(self) -> Json:
        """`text` as Prometheus reads it: figures of the folder, and counts where this process
        keeps them (`observe.metrics_port`).

        Raises:
            ConfigError: `no_observe_extra`.
            InputError: `not_permitted`, they tell of everybody's documents.
        """
        if not self._principal.is_owner:
            raise InputError(
                "metrics are for the owner of the data folder",
                code="not_permitted",
                next_step="Ask who runs it.",
            )
        metrics = metrics_in_use() or Metrics(self.gauges, counts=False)
        return {"text": metrics.text()}

    def gauges(self) -> Iterable[Gauge]:
        """As they are now; never waits for a writer."""
        yield from self._document_gauges()
        for state, n in self._jobs_by_state().items():
            yield Gauge("jobs", "Jobs by state.", n, {"state": state})
        for kind, n_bytes in stored_bytes(self._engine.folder).items():
            yield Gauge("stored_bytes", "Disk taken, by kind.", n_bytes, {"kind": kind})
        disk = self._disk_room()
        yield Gauge("disk_free_bytes", "Free disk where the data folder is.", disk["free_bytes"])
        yield Gauge("disk_reserve_bytes", "Disk that ingesting leaves free.", disk["reserve_bytes"])
        wal = _size(self._engine.folder / f"{MANIFEST}-wal")
        yield Gauge("manifest_wal_bytes", "Log of the manifest.", wal)

    def _document_gauges(self) -> Iterator[Gauge]:
        documents = Counter[tuple[str, str]]()
        pages = Counter[tuple[str, str]]()
        for collection, document in self._every_document():
            documents[collection, str(document.state)] += 1
            for state, n in _pages(document).items():
                pages[collection, state] += n
        for name, text, counts in (
            ("documents", "Documents by state.", documents),
            ("pages", "Pages by state.", pages),
        ):
            for (collection, state), n in sorted(counts.items()):
                yield Gauge(name, text, n, {"collection": collection, "state": state})

    def _every_document(self) -> Iterator[tuple[str, DocumentSummary]]:
        repository = self._engine.repository
        for name in repository.collections(self._principal):
            for document in repository.reader(self._principal, name).documents():
                yield name, document

    def _jobs_by_state(self) -> dict[str, int]:
        jobs = self._engine.repository.jobs(self._principal).all()
        return dict(sorted(Counter(str(job.state) for job in jobs).items()))

    def _disk_room(self) -> Json:
        folder, chosen = self._engine.folder, self.settings.store.disk_reserve_bytes
        return {
            "free_bytes": free_bytes(folder),
            "reserve_bytes": DiskRoom(folder, chosen).reserve_bytes,
        }

    def _reading_sandbox(self) -> Json:
        mode = self.settings.render.sandbox
        found = None if mode == "off" else _in_force()
        return {
            "sandbox": mode,
            "is_whole": found is not None and found.is_whole,
            "detail": "not confined" if found is None else found.describe(),
        }


class FigureConnection(ConnectionBase):
    """The same, from wherever the engine is."""

    def metrics(self) -> Json:
        """See FigureService.metrics."""
        return self._call("metrics")


@functools.cache
def _in_force() -> InForce:
    """It starts a process to find out, and the system stays the same."""
    return probe()


def stored_bytes(folder: Path) -> dict[str, int]:
    """Blocks taken on the disk, by kind: the store makes files longer than what it has written."""
    found = dict.fromkeys(_KINDS, 0)
    with contextlib.suppress(OSError):  # a folder that goes while it is looked at
        for path, status in walk(folder):
            found[_TOLD_AS.get(kind_of(path), "other")] += _blocks(status)
    return found


def _blocks(status: os.stat_result) -> int:
    return status.st_blocks * 512


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _pages(document: DocumentSummary) -> Mapping[str, int]:
    blank, failed = len(document.blank_pages), len(document.failed_pages)
    counts = {
        "indexed": document.n_pages - blank - failed,
        "blank": blank,
        "failed": failed,
    }
    return {state: n for state, n in counts.items() if n > 0}
