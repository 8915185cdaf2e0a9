"""How near each document is to a question, by the mean of its pages' vectors, kept between."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

import numpy as np

from rag.geometry import FloatArray
from rag.repository import CollectionReader
from rag.scoring.document_vector import document_vector
from rag.scoring.fusion import zscore
from rag.types import PageField

_PAGES_AT_ONCE = 500  # a few MB of window vectors
_MAX_KEPT = 50_000  # 75 MB at 384 dimensions


class DocumentVectors:
    """Thread-safe. A version of a document never changes, so a vector is made once for each."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, FloatArray | None] = OrderedDict()  # by version
        self._lock = threading.Lock()

    def __call__(self, reader: CollectionReader, query: FloatArray) -> dict[str, float]:
        """Document id -> standard deviations from the mean of all documents the reader may see.

        The first question reads the pooled vectors of every page; later ones those of documents
        that came since.

        Args:
            reader: of the collection.
            query: (dense_dim,) unit.
        """
        vectors = self.of(reader)
        names = sorted(vectors)
        similarity = [float(vectors[name] @ query) for name in names]
        return dict(zip(names, zscore(np.array(similarity)).tolist(), strict=True))

    def of(self, reader: CollectionReader) -> dict[str, FloatArray]:
        """Document id -> (dense_dim,) unit; without documents that have no pooled vectors."""
        records: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for record_id, page in reader.pages(reader.ids()).items():
            records[page.ref.document_id, page.version_id].append(record_id)
        found: dict[str, FloatArray] = {}
        for (document_id, version_id), record_ids in records.items():
            vector = self._of_version(reader, version_id, record_ids)
            if vector is not None:
                found[document_id] = vector
        return found

    def _of_version(
        self, reader: CollectionReader, version_id: str, record_ids: Sequence[str]
    ) -> FloatArray | None:
        with self._lock:
            if version_id in self._kept:
                self._kept.move_to_end(version_id)
                return self._kept[version_id]
        rows: list[FloatArray] = []
        for start in range(0, len(record_ids), _PAGES_AT_ONCE):
            some = reader.vectors(record_ids[start : start + _PAGES_AT_ONCE], PageField.DENSE)
            rows += [np.atleast_2d(some[record_id]) for record_id in sorted(some)]
        vector = document_vector(rows)
        with self._lock:
            self._kept[version_id] = vector
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return vector
