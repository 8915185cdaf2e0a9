"""The packed pages that one reader may search, as the kernels address them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag.page_pack import PackView
from rag.scoring.packed import IntArray


@dataclass(frozen=True, eq=False)
class PackedScope:
    """A snapshot of packed pages, and which of them are in scope. Let go of it soon: PackView.

    Attributes:
        view: the pages of the whole collection.
        among: (n,) indexes into the view of the pages in scope, ascending.
        missing: record ids in scope that are not packed; only the store can score them.
    """

    view: PackView
    among: IntArray
    missing: tuple[str, ...]

    def record_ids(self, pages: IntArray) -> list[str]:
        return [self.view.ids[index] for index in pages.tolist()]

    def indexes(self, record_ids: Sequence[str]) -> IntArray:
        """Of those records that are packed, in their order."""
        index_of = self.view.index_of
        found = [index_of[record_id] for record_id in record_ids if record_id in index_of]
        return np.array(found, dtype=np.int64)
