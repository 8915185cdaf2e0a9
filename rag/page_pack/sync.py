"""Making a pack equal to the index it derives from."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rag.errors import IndexMismatch, PackDamaged, ShapeError
from rag.page_pack.files import file_errors
from rag.page_pack.layout import PackedPage, PackSpec
from rag.page_pack.pack import PagePack
from rag.ports import PageIndex
from rag.types import PageField

_log = logging.getLogger(__name__)

_BATCH_PAGES = 32
_WORTH_A_WORD = 200  # pages; more take long enough for people to wonder


@dataclass(frozen=True)
class SyncReport:
    """Pages that were packed and forgotten; `rebuilt` when the files had to be made anew."""

    added: int
    discarded: int
    rebuilt: bool = False


def open_synced(folder: Path, spec: PackSpec, index: PageIndex) -> tuple[PagePack, SyncReport]:
    """Open a pack and make it equal to the index; one that cannot be read is made anew.

    Args:
        folder: of the pack, and of nothing else.
        spec: of the collection.
        index: nobody writes to it meanwhile.

    Raises:
        BackendError: as `PagePack.open` and the index raise it.
    """
    rebuilt = False
    try:
        pack = PagePack.open(folder, spec)
    except (PackDamaged, IndexMismatch) as error:
        _log.warning("packed page vectors are made anew from the index: %s", error.message)
        with file_errors("made anew"):
            shutil.rmtree(folder)
        pack = PagePack.open(folder, spec)
        rebuilt = True
    try:
        report = sync(pack, index)
    except BaseException:
        pack.close()
        raise
    return pack, SyncReport(report.added, report.discarded, rebuilt)


def sync(pack: PagePack, index: PageIndex) -> SyncReport:
    """Pack what the index has and the pack has not, and the other way round.

    Ids are enough to compare: whoever writes discards a page here before the index takes another
    under its id. Cut short, it goes on where it stopped. A page that cannot be packed is logged
    and left out: the index goes on scoring it, and the pack is not stale for it.

    Raises:
        BackendError: as the pack and the index raise it.
    """
    try:
        # Cleared first: what goes missing meanwhile is for the next time.
        pack.is_stale = False
        return _sync(pack, index)
    except BaseException:
        pack.is_stale = True
        raise


def _sync(pack: PagePack, index: PageIndex) -> SyncReport:
    wanted = index.ids()
    surplus = pack.ids().difference(wanted)
    pack.discard(surplus)
    missing = [record_id for record_id in wanted if record_id not in pack]
    if missing:
        level = logging.WARNING if len(missing) > _WORTH_A_WORD else logging.INFO
        _log.log(level, "packing %d pages for fast search, once", len(missing))
    added = 0
    nothing = np.zeros((0, pack.spec.dim), np.float32)
    for start in range(0, len(missing), _BATCH_PAGES):
        batch = missing[start : start + _BATCH_PAGES]
        patches = index.vectors(batch, PageField.PATCHES)
        fdes = index.vectors(batch, PageField.FDE)
        pages = [PackedPage(i, patches.get(i, nothing), fdes.get(i)) for i in batch]
        pack.require_room(pages)
        added += _append(pack, pages)
    return SyncReport(added=added, discarded=len(surplus))


def _append(pack: PagePack, pages: Sequence[PackedPage]) -> int:
    """Append the pages that can be packed. Returns how many they are."""
    try:
        pack.append(pages)
    except ShapeError as error:
        if len(pages) > 1:  # which one it is shows when each is tried alone
            return sum(_append(pack, [page]) for page in pages)
        _log.warning("a page is searched without being packed: %s", error.message)
        return 0
    return len(pages)
