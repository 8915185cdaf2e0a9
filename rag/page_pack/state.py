"""What of a pack counts at one moment, and what has to hold of it when it is opened."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag.errors import PackDamaged
from rag.page_pack import layout
from rag.page_pack.files import REBUILT, PackFiles
from rag.page_pack.layout import EntryState, Part, Table
from rag.page_pack.view import CheckedFlags, PackView
from rag.scoring.packed import PackedRows, Storage

Mapped = weakref.ref[mmap.mmap]
Places = npt.NDArray[np.intp]  # of entries in a table


@dataclass(frozen=True, eq=False)
class PackState:
    """Replaced whole, never changed: whoever holds one sees one moment.

    Attributes:
        ids: (n,) by entry; "" for a page that is gone.
        index_of: the same the other way round.
        checked: (n,) flags that views of these files share.
        n_units: how far each file is filled.
    """

    files: PackFiles
    table: Table
    ids: tuple[str, ...]
    index_of: Mapping[str, int]
    checked: CheckedFlags
    n_units: Mapping[Part, int]

    @classmethod
    def of(cls, files: PackFiles, table: Table) -> PackState:
        is_there = (table["state"] == EntryState.LIVE).tolist()
        ids = tuple(
            record_id if there else ""
            for record_id, there in zip(layout.record_ids(table), is_there, strict=True)
        )
        return cls(
            files=files,
            table=table,
            ids=ids,
            index_of={record_id: index for index, record_id in enumerate(ids) if record_id},
            checked=np.zeros(len(table), np.uint8),
            n_units=_n_units(table),
        )

    def with_pages(self, added: Table) -> PackState:
        """`added` behind the pages so far; the earlier page of an id is dead."""
        new_ids = layout.record_ids(added)
        start = len(self.table)
        table = np.concatenate([self.table, added])
        replaced = self.places(new_ids)
        table["state"][replaced] = EntryState.DEAD
        ids = [*self.ids, *new_ids]
        for place in replaced.tolist():
            ids[place] = ""
        places = range(start, len(table))
        return PackState(
            files=self.files,
            table=table,
            ids=tuple(ids),
            index_of={**self.index_of, **dict(zip(new_ids, places, strict=True))},
            checked=np.concatenate([self.checked, np.zeros(len(added), np.uint8)]),
            n_units=_n_units(table),
        )

    def with_table(self, table: Table, *, gone: Places) -> PackState:
        """`table` in place of the one so far, without the pages that are gone in it."""
        ids, index_of = list(self.ids), dict(self.index_of)
        for place in gone.tolist():
            index_of.pop(ids[place], None)
            ids[place] = ""
        return PackState(self.files, table, tuple(ids), index_of, self.checked, self.n_units)

    def places(self, record_ids: Iterable[str]) -> Places:
        """Of those that are there, ascending."""
        found = {self.index_of[i] for i in record_ids if i in self.index_of}
        return np.array(sorted(found), dtype=np.intp)

    def sizes_bytes(self) -> npt.NDArray[np.int64]:
        """(n,) what each page takes on disk."""
        sizes = np.full(len(self.table), layout.ENTRY.itemsize, np.int64)
        for part in Part:
            _, n_units = layout.table_units(self.table, part)
            sizes += n_units * self.files.spec.unit_bytes(part)
        return sizes

    def view(self) -> tuple[PackView, list[Mapped]]:
        """The pages as mapped now, and what dies when nobody reads them any more."""
        spec, table = self.files.spec, self.table
        data = {part: self.files.map(part, self.n_units[part]) for part in Part}
        is_there = table["state"] == EntryState.LIVE
        n_rows = np.where(is_there, table["n_rows"], 0).astype(np.int64)
        first = {part: np.where(is_there, layout.table_units(table, part)[0], 0) for part in Part}
        scales = table["scale"].astype(np.float32)
        view = PackView(
            spec=spec,
            ids=self.ids,
            index_of=self.index_of,
            pages=np.flatnonzero(is_there).astype(np.int64),
            fp16=PackedRows(
                Storage.FP16,
                spec.dim,
                data[Part.FP16][0].view(np.float16),
                first[Part.FP16],
                n_rows,
            ),
            int8=PackedRows(
                Storage.INT8, spec.dim, data[Part.INT8][0], first[Part.INT8], n_rows, scales
            ),
            bits=PackedRows(Storage.BITS, spec.dim, data[Part.BITS][0], first[Part.BITS], n_rows),
            fde_signs=data[Part.FDE][0],
            numbering=self.files,
            _table=table,
            _checked=self.checked,
        )
        return view, [mapped for _, mapped in data.values() if mapped is not None]


def without_replaced(table: Table) -> Table:
    """A copy in which the last live entry of each id is the only one."""
    later: set[str] = set()
    replaced: list[int] = []
    is_there = (table["state"] == EntryState.LIVE).tolist()
    for place, record_id in reversed(list(enumerate(layout.record_ids(table)))):
        if is_there[place]:
            if record_id in later:
                replaced.append(place)
            later.add(record_id)
    copy = table.copy()
    copy["state"][replaced] = EntryState.DEAD
    return copy


def require_lengths(files: PackFiles, table: Table) -> None:
    """Raises PackDamaged, naming file and record, where a file ends before its pages do."""
    for part in Part:
        first, n_units = layout.table_units(table, part)
        size_bytes = files.size_bytes(part)
        beyond = np.flatnonzero((first + n_units) * files.spec.unit_bytes(part) > size_bytes)
        if len(beyond):
            record_id = layout.record_ids(table[beyond[:1]])[0]
            raise PackDamaged(
                f"{files.name(part)} ends at byte {size_bytes:,}, before record {record_id!r} "
                f"and {len(beyond) - 1} others end",
                record_ids=(record_id,),
                next_step=REBUILT,
            )


def _n_units(table: Table) -> dict[Part, int]:
    ends = {part: sum(layout.table_units(table, part)) for part in Part}
    return {part: int(np.max(end, initial=0)) for part, end in ends.items()}
