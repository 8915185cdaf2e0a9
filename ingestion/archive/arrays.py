"""Pages as arrays of numbers, and back; nothing that is read can be anything else."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ingestion.archive.contents import SavedPage, bad_archive
from rag.errors import ShapeError
from rag.geometry import FloatArray
from rag.manifest import PageRow, PageState
from rag.page_text import PageText, VectorWords
from rag.repository import PageCopy
from rag.types import PageField, SparseVector
from rag.vector_boxes import VectorBoxes

_Array = npt.NDArray[np.generic]


def to_arrays(pages: Sequence[PageCopy]) -> bytes:
    """An .npz: `PAGE.words` and the like hold bytes, `PAGE.vectors.FIELD` the vectors."""
    arrays: dict[str, _Array] = {}
    for page in pages:
        row = page.row
        blobs = {
            "words": row.text.to_bytes(),
            "hidden": row.hidden.to_bytes() if len(row.hidden) else None,
            "vector_words": None if row.vector_words is None else row.vector_words.to_bytes(),
            "vector_boxes": None if row.vector_boxes is None else row.vector_boxes.to_bytes(),
        }
        for name, blob in blobs.items():
            if blob is not None:
                arrays[f"{row.page_number}.{name}"] = np.frombuffer(blob, np.uint8)
        for field, vector in (page.record.vectors if page.record else {}).items():
            name = f"{row.page_number}.vectors.{field}"
            if isinstance(vector, SparseVector):
                arrays[f"{name}.indices"] = vector.indices
                arrays[f"{name}.values"] = vector.values
            else:
                arrays[name] = vector.astype(np.float16)  # as the index keeps them
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


class SavedArrays:
    """The arrays of a run of pages."""

    def __init__(self, data: bytes, name: str) -> None:
        """Raises DocumentError `bad_archive`."""
        self._name = name
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as held:
                self._arrays = {key: held[key] for key in held.files}
        # All that numpy's reader of foreign bytes raises.
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise bad_archive(f"{name!r} holds no arrays") from error

    def row(self, page: SavedPage, record_id: str | None) -> PageRow:
        """Raises DocumentError `bad_archive`."""
        try:
            words = self._blob(page, "vector_words")
            boxes = self._blob(page, "vector_boxes")
            return PageRow(
                page_number=page.page_number,
                state=PageState(page.state),
                width_pt=page.width_pt,
                height_pt=page.height_pt,
                content_hash=page.content_hash,
                no_text=page.no_text,
                reason=page.reason,
                record_id=record_id,
                text=self._text(page, "words"),
                vector_words=None if words is None else VectorWords.from_bytes(words),
                vector_boxes=None if boxes is None else VectorBoxes.from_bytes(boxes),
                hidden=self._text(page, "hidden"),
                ocr=page.ocr,
                caption=page.caption,
            )
        # Bytes of somebody else, in formats that are ours to write and not made for liars.
        except (ShapeError, ValueError, KeyError, TypeError, IndexError, OSError) as error:
            raise bad_archive(f"page {page.page_number} of {self._name!r} is damaged") from error

    def vectors(self, page: SavedPage) -> dict[PageField, FloatArray | SparseVector]:
        """Raises DocumentError `bad_archive`; their shapes are the index's to check."""
        prefix = f"{page.page_number}.vectors."
        held = {
            key.removeprefix(prefix): array
            for key, array in self._arrays.items()
            if key.startswith(prefix)
        }
        try:
            return {
                PageField(name.partition(".")[0]): _vector(held, name)
                for name in held
                if not name.endswith(".values")
            }
        except (ValueError, KeyError, TypeError) as error:
            raise bad_archive(
                f"the vectors of page {page.page_number} of {self._name!r} are damaged"
            ) from error

    def _text(self, page: SavedPage, name: str) -> PageText:
        blob = self._blob(page, name)
        return PageText.empty() if blob is None else PageText.from_bytes(blob)

    def _blob(self, page: SavedPage, name: str) -> bytes | None:
        array = self._arrays.get(f"{page.page_number}.{name}")
        return None if array is None else array.astype(np.uint8).tobytes()


def _vector(held: Mapping[str, _Array], name: str) -> FloatArray | SparseVector:
    field, _, part = name.partition(".")
    if part == "indices":
        return SparseVector(
            held[name].astype(np.uint32), held[f"{field}.values"].astype(np.float32)
        )
    return held[name].astype(np.float32)
