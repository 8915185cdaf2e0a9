"""One pack, written by one thread at a time while others read views of it.

A page counts from the moment its entry is in the table, and its data are durable before that. So
whatever a killed process leaves behind the last entry is overwritten by the next page.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from rag.disk_room import DiskRoom
from rag.errors import BackendError
from rag.page_pack import files as on_disk
from rag.page_pack import layout
from rag.page_pack.files import PackFiles, file_errors
from rag.page_pack.layout import EncodedPage, EntryState, PackedPage, PackSpec, Part, Table
from rag.page_pack.state import Mapped, PackState, Places, require_lengths, without_replaced
from rag.page_pack.view import PackView

_log = logging.getLogger(__name__)

_DEAD_SHARE = 0.25  # of the bytes; more is worth writing the rest once more
# The last of a disk is never taken: an embedded index dies of a full one.
_DISK_RESERVE_BYTES = 200_000_000
_ASK_AGAIN_S = 0.002
_NOTHING: Places = np.zeros(0, np.intp)


@dataclass(frozen=True)
class VerifyReport:
    """What reading everything found: pages read, and record ids of those that changed."""

    n_pages: int
    damaged: tuple[str, ...]


class PagePack:
    """The packed pages of one collection. Thread-safe; one process has a folder open at a time.

    Attributes:
        spec: of all pages.
        is_stale: pages of the index may be missing here; set by whoever notices, cleared by `sync`.
    """

    def __init__(self, state: PackState, *, erase_wait_s: float) -> None:
        """Made by `open`."""
        self.spec = state.files.spec
        self.is_stale = False
        self._folder = state.files.folder
        self._state = state
        self._erase_wait_s = erase_wait_s
        self._writing = threading.RLock()
        # Apart from writing: a compaction that takes seconds stops no search.
        self._viewing = threading.Lock()
        self._view: PackView | None = None
        self._mapped: list[Mapped] = []
        # (entries, maps they may still be read through): erased once the maps are gone
        self._erasable: list[tuple[Places, list[Mapped]]] = []
        self._is_closed = False

    # --- opening --------------------------------------------------------------------------------
    @classmethod
    def open(cls, folder: Path, spec: PackSpec, *, erase_wait_s: float = 0.25) -> PagePack:
        """Open the pack in `folder`, or make an empty one. Reads the table, not the pages.

        Args:
            folder: holds nothing else.
            spec: what the collection's pages are.
            erase_wait_s: how long `discard` waits for searches that may read what it erases.

        Raises:
            PackDamaged: header, table or the length of a file is not what was written.
            IndexMismatch: `pack_foreign`, where it was written for another spec or format.
            BackendError: `pack_failed`, `disk_full`.
        """
        with file_errors("opened"):
            folder.mkdir(parents=True, exist_ok=True)
            generation = on_disk.read_header(folder, spec)
            if generation is None:
                files = PackFiles.create(folder, spec, 1)
            else:
                files = PackFiles.open(folder, spec, generation)
            try:
                if generation is None:
                    on_disk.write_header(folder, spec, 1)
                table = without_replaced(files.read_table())
                require_lengths(files, table)
                on_disk.remove_others(folder, files)
                pack = cls(PackState.of(files, table), erase_wait_s=erase_wait_s)
                pack._erasable = [(np.flatnonzero(table["state"] == EntryState.DEAD), [])]
                pack._erase()
            except BaseException:
                files.close()
                raise
        return pack

    def close(self) -> None:
        """Erase what can be, and let go of the files. Views stay valid."""
        with self._writing:
            if self._is_closed:
                return
            with self._viewing:
                self._view = None
                self._is_closed = True
            try:
                self._erase()
            except OSError:
                _log.warning("deleted pages are erased when the pack is next opened", exc_info=True)
            self._state.files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading --------------------------------------------------------------------------------
    def __len__(self) -> int:
        """Pages that are there."""
        return len(self._state.index_of)

    def __contains__(self, record_id: str) -> bool:
        return record_id in self._state.index_of

    def ids(self) -> set[str]:
        return set(self._state.index_of)

    def view(self) -> PackView:
        """The pages as they are now. Costs next to nothing until something is written.

        Raises:
            BackendError: `pack_failed`, where the files cannot be mapped or the pack is closed.
        """
        with self._viewing:
            if self._view is None:
                self._require_open()
                with file_errors("mapped"):
                    self._view, mapped = self._state.view()
                self._mapped += mapped
            return self._view

    def verify(self) -> VerifyReport:
        """Read every page and hold it to its checksums."""
        view = self.view()
        return VerifyReport(len(view), _damaged(view))

    # --- writing --------------------------------------------------------------------------------
    def append(self, pages: Sequence[PackedPage]) -> None:
        """Add pages, durably; one whose record id is there already replaces it.

        Raises:
            ShapeError: naming the record; nothing of the batch is written.
            BackendError: `disk_full` or `pack_failed`; none of the pages may be counted on.
        """
        encoded = {page.record_id: layout.encode(page, self.spec) for page in pages}
        if not encoded:
            return
        with self._writing, file_errors("written"):
            self._require_open()
            replaced = self._state.places(encoded)
            state = self._state.with_pages(self._written(list(encoded.values())))
            # After the new pages: killed in between, the later one of an id is the one that counts.
            # Not left to that, or the earlier one would be back once the later one is discarded.
            try:
                self._write_states(replaced, state.table)
            except OSError:
                # The next append writes over what the new entries name.
                state.files.cut_table(len(self._state.table))
                raise
            self._publish(state, gone=replaced)
            self._erase()
            if len(replaced):
                self._compact_if_worth_it()

    def discard(self, record_ids: Iterable[str]) -> None:
        """Forget pages, durably, and write zeros over their bytes. Unknown ids are no error.

        Searches that began before are let finish first, for `erase_wait_s` at most; what they still
        hold then is erased by the next write, by `close` or by the next `open`.

        Raises:
            BackendError: `disk_full` or `pack_failed`.
        """
        self._discard(record_ids, wait_s=self._erase_wait_s)

    def require_room(self, pages: Sequence[PackedPage]) -> None:
        """For who appends without having asked for room. Raises BackendError `disk_full`."""
        size_bytes = sum(self.spec.page_bytes(len(page.patches)) for page in pages)
        if self._lacks_room(size_bytes):
            raise BackendError(
                f"too little disk is free for {size_bytes:,} bytes of packed page vectors",
                code="disk_full",
                next_step="Make room in the data folder and run the command again.",
            )

    def set_aside(self, record_ids: Iterable[str]) -> None:
        """Discard pages that turned out damaged; the next `sync` packs them anew."""
        self.is_stale = True
        # Whoever found the damage is likely to hold a view: not waited for.
        self._discard(record_ids, wait_s=0.0)

    def compact(self) -> None:
        """Write the pages that are there into new files, and drop the old ones.

        Views go on reading the old files, whose space is free once they are let go of. A damaged
        page is left out, and the pack is stale then.

        Raises:
            BackendError: `disk_full` or `pack_failed`; the old files stay.
        """
        with self._writing, file_errors("compacted"):
            self._require_open()
            old = self._state.files
            new = self._rewritten()
            try:
                on_disk.write_header(self._folder, self.spec, new.files.generation)
            except BaseException:
                new.files.close()
                raise
            self._publish(new, gone=_NOTHING)
            self._erasable.clear()
            old.close()
            on_disk.remove_others(self._folder, new.files)

    # --- inside ---------------------------------------------------------------------------------
    def _require_open(self) -> None:
        if self._is_closed:
            raise BackendError("the pack of page vectors is closed", code="pack_failed")

    def _lacks_room(self, size_bytes: int) -> bool:
        return not DiskRoom(self._folder, _DISK_RESERVE_BYTES).has(size_bytes)

    def _written(self, pages: Sequence[EncodedPage]) -> Table:
        """Their sealed entries, durable as everything they name is."""
        files, n_entries = self._state.files, len(self._state.table)
        n_units = dict(self._state.n_units)
        entries: list[Table] = []
        try:
            for part in Part:
                files.write(part, n_units[part], np.concatenate([p.data(part) for p in pages]))
            for page in pages:
                first_row, first_block = n_units[Part.INT8], n_units[Part.BITS]
                entries.append(layout.entry(page, first_row=first_row, first_block=first_block))
                for part in Part:
                    n_units[part] += len(page.data(part))
            added = layout.seal(np.concatenate(entries))
            files.sync_data()
            files.write_entries(n_entries, added)
            files.sync_table()
        except OSError:
            # Entries that made it would name data that the next append writes over.
            files.cut_table(n_entries)
            raise
        return added

    def _write_states(self, places: Places, table: Table) -> None:
        """Seal the entries at `places` of `table`, and write each where it is."""
        if len(places):
            table[places] = layout.seal(table[places])
            for place in places.tolist():
                self._state.files.write_entries(place, table[place : place + 1])
            self._state.files.sync_table()

    def _publish(self, state: PackState, *, gone: Places) -> None:
        with self._viewing:
            self._state = state
            self._view = None
            self._mapped = [mapped for mapped in self._mapped if mapped() is not None]
            if len(gone):
                self._erasable.append((gone, list(self._mapped)))

    def _discard(self, record_ids: Iterable[str], *, wait_s: float) -> None:
        with self._writing, file_errors("written"):
            self._require_open()
            state = self._state
            gone = state.places(record_ids)
            if len(gone):
                table = state.table.copy()
                table["state"][gone] = EntryState.DEAD
                self._write_states(gone, table)
                self._publish(state.with_table(table, gone=gone), gone=gone)
            deadline = time.monotonic() + wait_s
            while not self._erase() and time.monotonic() < deadline:
                time.sleep(_ASK_AGAIN_S)
            if len(gone):
                self._compact_if_worth_it()

    def _erase(self) -> bool:
        """Write zeros over what nobody can read any more. Returns whether nothing is left to do."""
        waiting = []
        for places, mapped in self._erasable:
            if any(reference() is not None for reference in mapped):
                waiting.append((places, mapped))
            elif len(places):
                self._write_zeros(places)
        self._erasable = waiting
        return not waiting

    def _write_zeros(self, places: Places) -> None:
        state = self._state
        table = state.table.copy()
        for part in Part:
            first, n_units = layout.table_units(table[places], part)
            # The bytes of an FDE are at the place of its entry.
            starts = places if part is Part.FDE else first
            for start, n in zip(starts.tolist(), n_units.tolist(), strict=True):
                zeros = np.zeros((n, self.spec.unit_bytes(part)), np.uint8)
                state.files.write(part, start, zeros)
        state.files.sync_data()
        # Where the bytes were stays: how far the files are filled is read from it.
        for name in ("record_id", "scale", *(f"crc_{part}" for part in Part)):
            table[name][places] = 0
        table["state"][places] = EntryState.ERASED
        self._write_states(places, table)
        with self._viewing:  # the view stays: nothing that it shows has changed
            self._state = state.with_table(table, gone=_NOTHING)

    def _compact_if_worth_it(self) -> None:
        sizes = self._state.sizes_bytes()
        is_there = self._state.table["state"] == EntryState.LIVE
        if sizes[~is_there].sum() <= _DEAD_SHARE * sizes.sum():
            return
        wanted = int(sizes[is_there].sum())
        if self._lacks_room(wanted):
            _log.warning("too little disk is free to compact %d bytes of packed pages", wanted)
            return
        try:
            self.compact()
        except BackendError:
            # The deleted bytes are zeros already: what was not saved is space.
            _log.warning("packed pages could not be compacted now", exc_info=True)

    def _rewritten(self) -> PackState:
        """The pages that are there in files of the next generation, durable."""
        view = self.view()
        damaged = _damaged(view)
        if damaged:
            self.is_stale = True
            _log.warning("damaged packed pages were left out: %s", ", ".join(damaged))
        left_out = {"", *damaged}
        kept = [index for index, record_id in enumerate(view.ids) if record_id not in left_out]
        old = self._state
        files = PackFiles.create(self._folder, self.spec, old.files.generation + 1)
        try:
            table = old.table[kept]
            n_units = dict.fromkeys(Part, 0)
            for place, index in enumerate(kept):
                table["first_row"][place] = n_units[Part.INT8]
                table["first_block"][place] = n_units[Part.BITS]
                for part in Part:
                    data = view.data(index, part)
                    files.write(part, n_units[part], data)
                    n_units[part] += len(data)
            table = layout.seal(table)
            files.write_entries(0, table)
            files.sync_data()
            files.sync_table()
        except BaseException:
            files.close()
            on_disk.remove_others(self._folder, old.files)
            raise
        return PackState.of(files, table)


def _damaged(view: PackView) -> tuple[str, ...]:
    found = {i for part in Part for i in view.damaged(view.pages, part, again=True)}
    return tuple(sorted(found))
