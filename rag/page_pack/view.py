"""The pages of a pack as they were at one moment."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rag.errors import PackDamaged
from rag.page_pack.layout import PackSpec, Part, Table, n_blocks
from rag.scoring.packed import IntArray, PackedRows
from rag.scoring.quantize import ByteArray

CheckedFlags = npt.NDArray[np.uint8]

_FLAGS = {Part.INT8: 1, Part.BITS: 2, Part.FDE: 4, Part.FP16: 8}
_MEND = "Search again: the page is packed anew from the index."


@dataclass(frozen=True, eq=False)
class PackView:
    """A snapshot over mapped files. Thread-safe; stays valid whatever is written meanwhile.

    Every page has an index, the same in all arrays. Pages that are gone keep theirs, with no rows
    and no id; `pages` leaves them out. Let go of a view and its arrays soon: as long as anyone
    holds them, pages deleted since cannot be erased.

    Attributes:
        ids: (n,) record ids; "" for a page that is gone.
        index_of: the same the other way round.
        pages: (n_there,) indexes of the pages that are there, ascending.
        fp16: of all n pages, with the values that the index keeps.
        int8: of all n pages.
        bits: of all n pages.
        fde_signs: (n, bytes) where bit i, lowest first, says that value i of the FDE is positive.
        numbering: the same object in views where an index means the same page, unless it is gone.
    """

    spec: PackSpec
    ids: tuple[str, ...]
    index_of: Mapping[str, int]
    pages: IntArray
    fp16: PackedRows
    int8: PackedRows
    bits: PackedRows
    fde_signs: ByteArray
    numbering: object = field(repr=False)
    _table: Table = field(repr=False)
    _checked: CheckedFlags = field(repr=False)

    def __len__(self) -> int:
        """Pages that are there."""
        return len(self.pages)

    @property
    def n_rows(self) -> IntArray:
        """(n,) vectors of each page."""
        return self.int8.n_rows

    def check(self, pages: IntArray, part: Part) -> None:
        """Hold the pages' bytes to their checksums, once for each page in a process.

        Args:
            pages: indexes about to be read, in any order.
            part: what will be read of them.

        Raises:
            PackDamaged: naming the file's part and the records.
        """
        damaged = self.damaged(pages, part)
        if damaged:
            named = ", ".join(damaged[:3]) + (", ..." if len(damaged) > 3 else "")
            raise PackDamaged(
                f"packed {part} of {len(damaged)} pages have another checksum: {named}",
                record_ids=damaged,
                next_step=_MEND,
            )

    def damaged(self, pages: IntArray, part: Part, *, again: bool = False) -> tuple[str, ...]:
        """Record ids of those pages whose bytes changed; `again` reads what was checked before."""
        flag = _FLAGS[part]
        wanted = pages if again else pages[(self._checked[pages] & flag) == 0]
        crcs = self._table[f"crc_{part}"]
        found: list[str] = []
        for index in wanted.tolist():
            if not self.ids[index]:
                continue
            if zlib.crc32(self.data(index, part).data) == crcs[index]:
                self._checked[index] |= flag
            else:
                found.append(self.ids[index])
        return tuple(found)

    def data(self, index: int, part: Part) -> ByteArray:
        """A page's own rows, blocks or FDE signs (n, bytes), unchecked."""
        if part is Part.FDE:
            return self.fde_signs[index : index + 1]
        rows = {Part.FP16: self.fp16, Part.INT8: self.int8, Part.BITS: self.bits}[part]
        n_units = int(self.n_rows[index])
        if part is Part.BITS:
            n_units = n_blocks(n_units)
        first = int(rows.first[index])
        page: ByteArray = rows.data[first : first + n_units].view(np.uint8)
        return page
