"""Packed pages: what was written is what is read, or an error that says where it is not."""

import gc
import importlib
import json
import logging
import os
import stat
import threading
import time
import uuid
import zlib
from pathlib import Path

import numpy as np
import pytest

from rag import disk_room
from rag.errors import BackendError, IndexMismatch, PackDamaged, ShapeError
from rag.filters import Filter
from rag.page_pack import PackedPage, PackSpec, PagePack, Part, open_synced, sync
from rag.page_pack import files as on_disk
from rag.page_pack import pack as pack_module
from rag.page_pack.layout import ENTRY
from rag.ports import IndexSpec
from rag.scoring.packed import PackedRows, Storage
from rag.testing import MemoryIndex
from rag.types import PageField, PageRecord

sync_module = importlib.import_module("rag.page_pack.sync")  # the package has a function of it

SPEC = PackSpec(dim=16, fde_size=100, fde_fingerprint="f" * 64)


def record_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def page(number: int, n_rows: int | None = None, *, spec: PackSpec = SPEC) -> PackedPage:
    """Always the same one for a number; 1 to 70 rows unless told."""
    rng = np.random.default_rng(number)
    n_rows = int(rng.integers(1, 71)) if n_rows is None else n_rows
    rows = rng.standard_normal((n_rows, spec.dim)).astype(np.float32)
    fde = rng.standard_normal(spec.fde_size).astype(np.float32) if n_rows else None
    return PackedPage(record_id(number), rows, fde)


def pages(*numbers: int) -> list[PackedPage]:
    return [page(number) for number in numbers]


def ids_of(*numbers: int) -> set[str]:
    return {record_id(number) for number in numbers}


def assert_holds(pack: PagePack, expected: list[PackedPage]) -> None:
    """Every page as packing it alone in memory gives it, and no other."""
    view = pack.view()
    assert set(view.index_of) == pack.ids() == {page.record_id for page in expected}
    assert {view.ids[index] for index in view.pages} == set(view.index_of)
    assert len(view) == len(pack) == len(expected)
    gone = np.setdiff1d(np.arange(len(view.ids)), view.pages)
    assert not view.n_rows[gone].any()
    assert not view.bits.n_rows[gone].any()
    for part in Part:
        view.check(np.arange(len(view.ids)), part)
    for wanted in expected:
        index = view.index_of[wanted.record_id]
        kept = wanted.patches.astype(np.float16).astype(np.float32)
        for rows, storage in ((view.int8, Storage.INT8), (view.bits, Storage.BITS)):
            alone = PackedRows.pack([kept], storage)
            np.testing.assert_array_equal(rows.page(index), alone.page(0))
        signs = np.unpackbits(view.fde_signs[index], bitorder="little")
        assert view.fde_signs.shape[1] % 8 == 0
        positive = (
            np.zeros(SPEC.fde_size) if wanted.fde is None else wanted.fde.astype(np.float16) > 0
        )
        np.testing.assert_array_equal(signs[: SPEC.fde_size], positive)
        assert not signs[SPEC.fde_size :].any()


def the_file(folder: Path, stem: str) -> Path:
    (path,) = folder.glob(f"{stem}-*")
    return path


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "packed"


@pytest.fixture
def pack(folder):
    with PagePack.open(folder, SPEC) as opened:
        yield opened


# --- writing and reading ------------------------------------------------------------------------
def test_an_empty_pack_has_an_empty_view(pack):
    view = pack.view()
    assert (len(view), len(view.int8), view.bits.data.shape) == (0, 0, (0, 64))
    assert view.fde_signs.shape == (0, 16)
    assert pack.verify().n_pages == 0
    pack.append([])
    pack.discard([record_id(1)])
    pack.compact()
    assert_holds(pack, [])


def test_pages_come_back_as_packing_them_alone_gives_them(pack):
    pack.append(pages(1, 2, 3))
    pack.append([page(4, 32), page(5, 33), page(6, 0), page(7, 1)])
    expected = [*pages(1, 2, 3), page(4, 32), page(5, 33), page(6, 0), page(7, 1)]
    assert_holds(pack, expected)
    view = pack.view()
    assert view.n_rows[view.index_of[record_id(6)]] == 0
    assert pack.view() is view


def test_pages_are_there_when_the_pack_is_opened_again(folder):
    with PagePack.open(folder, SPEC) as pack:
        pack.append(pages(1, 2))
        pack.discard([record_id(1)])
    with PagePack.open(folder, SPEC) as pack:
        assert_holds(pack, pages(2))
        pack.append(pages(3))
        assert_holds(pack, pages(2, 3))


def test_a_page_with_the_id_of_another_replaces_it(pack):
    pack.append(pages(1, 2))
    other = page(3)
    again = PackedPage(record_id(1), other.patches, other.fde)
    pack.append([again])
    assert_holds(pack, [again, page(2)])
    pack.append([page(1), again, page(1)])
    assert_holds(pack, pages(1, 2))


def test_float16_and_float32_of_a_page_are_packed_alike(folder, tmp_path):
    given = page(1)
    given.fde[:4] = [2**-25, 2**-25 * 1.001, 2**-24, -(2**-25) * 1.5]
    rounded = PackedPage(
        given.record_id,
        given.patches.astype(np.float16).astype(np.float32),
        given.fde.astype(np.float16).astype(np.float32),
    )
    with PagePack.open(folder, SPEC) as one, PagePack.open(tmp_path / "two", SPEC) as two:
        one.append([given])
        two.append([rounded])
        assert_holds(one, [given])
    assert all_bytes(folder) == all_bytes(tmp_path / "two")


def test_a_view_stays_as_it_was_while_the_pack_is_written_to(pack):
    pack.append(pages(1, 2))
    before = pack.view()
    pack.append(pages(3))
    pack.discard([record_id(1)])
    pack.compact()
    assert set(before.index_of) == ids_of(1, 2)
    for part in Part:
        before.check(before.pages, part)
    assert_holds(pack, pages(2, 3))


def test_a_closed_pack_is_not_written_to_but_its_views_stay(pack):
    pack.append(pages(1))
    view = pack.view()
    pack.close()
    pack.close()
    view.check(view.pages, Part.INT8)
    for call in (pack.view, pack.compact, lambda: pack.append(pages(2))):
        with pytest.raises(BackendError, match="closed") as raised:
            call()
        assert raised.value.code == "pack_failed"


def test_what_a_page_takes_is_what_the_spec_says(folder):
    with PagePack.open(folder, SPEC) as pack:
        pack.append([page(1, 0), page(2, 33), page(3, 64)])
    size = sum(path.stat().st_size for path in folder.iterdir() if path.suffix != ".json")
    assert size == sum(SPEC.page_bytes(n) for n in (0, 33, 64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"record_id": "1"}, "must be a UUID"),
        ({"record_id": record_id(1).upper()}, "must be written"),
        ({"patches": np.ones((2, 32), np.float32)}, r"want shape \(n, 16\)"),
        ({"patches": np.ones(16, np.float32)}, r"want shape \(n, 16\)"),
        ({"patches": np.full((2, 16), np.nan, np.float32)}, "NaN"),
        ({"patches": np.full((2, 16), np.inf, np.float32)}, "infinite"),
        ({"patches": np.full((2, 16), 7e4, np.float32)}, "more than float16"),
        ({"patches": np.eye(2, 16, dtype=np.float32) * [[1], [0]]}, "a row of zeros"),
        ({"patches": np.zeros((0, 16), np.float32)}, "0 patches and an FDE"),
        ({"fde": None}, "no FDE"),
        ({"fde": np.ones(99, np.float32)}, r"wants shape \(100,\)"),
        ({"fde": np.full(100, np.nan, np.float32)}, "NaN"),
    ],
)
def test_a_page_that_cannot_be_scored_is_refused_by_name(pack, change, message):
    wrong = PackedPage(**{**vars(page(1)), **change})
    with pytest.raises(ShapeError, match=message) as raised:
        pack.append([page(2), wrong])
    assert repr(wrong.record_id) in raised.value.message
    assert_holds(pack, [])


@pytest.mark.parametrize("change", [{"dim": 24}, {"dim": 8208}, {"dim": 0}, {"fde_size": 0}])
def test_a_spec_that_nothing_reads_is_refused(change):
    with pytest.raises(ShapeError, match="packed pages want"):
        PackSpec(**{**vars(SPEC), **change})


# --- cut short ----------------------------------------------------------------------------------
@pytest.mark.parametrize("stem", ["int8", "bits", "fde", "pages"])
def test_a_cut_short_append_leaves_the_pages_before_it(folder, stem):
    with PagePack.open(folder, SPEC) as pack:
        pack.append(pages(1, 2))
        before = {path.name: path.stat().st_size for path in folder.iterdir()}
        pack.append(pages(3))
    name = the_file(folder, stem).name
    whole = {path: path.read_bytes() for path in folder.iterdir() if path.suffix != ".json"}
    for length in sorted({before[name], before[name] + 1, len(whole[folder / name]) - 1}):
        for path, content in whole.items():
            if stem != "pages" and path.suffix == ".table":
                content = content[: before[path.name]]  # entries come after the data
            path.write_bytes(content[:length] if path.name == name else content)
        with PagePack.open(folder, SPEC) as pack:
            assert_holds(pack, pages(1, 2))
            pack.append(pages(4))
            assert_holds(pack, pages(1, 2, 4))
        with PagePack.open(folder, SPEC) as pack:
            assert_holds(pack, pages(1, 2, 4))


def test_entries_of_a_batch_that_were_not_all_written_are_dropped_from_the_first_hole(folder):
    with PagePack.open(folder, SPEC) as pack:
        pack.append(pages(1, 2, 3, 4))
    table = the_file(folder, "pages")
    content = bytearray(table.read_bytes())
    content[2 * ENTRY.itemsize :] = bytes(2 * ENTRY.itemsize)  # grown, never written
    table.write_bytes(content)
    with PagePack.open(folder, SPEC) as pack:
        assert_holds(pack, pages(1, 2))


def test_of_two_entries_for_a_page_the_later_counts(folder, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    other = page(30)
    again = PackedPage(record_id(1), other.patches, other.fde)
    pack = PagePack.open(folder, SPEC)
    pack.append(pages(*range(9)))
    with monkeypatch.context() as patched:
        patched.setattr(pack, "_write_states", killed)
        with pytest.raises(Killed):
            pack.append([again])
    with PagePack.open(folder, SPEC) as opened:
        assert_holds(opened, [again, *pages(0, *range(2, 9))])
    assert page_bytes(page(1)) not in all_bytes(folder)


def test_a_replaced_page_is_not_back_when_the_later_one_is_discarded(folder):
    pack = PagePack.open(folder, SPEC, erase_wait_s=0)
    pack.append(pages(*range(9)))
    view = pack.view()  # nothing can be erased
    pack.append(pages(1))
    pack.discard([record_id(1)])
    pack.close()
    with PagePack.open(folder, SPEC) as again:
        assert_holds(again, pages(0, *range(2, 9)))
    assert len(view) == 9


@pytest.mark.parametrize("failing", ["write", "sync_data", "write_entries", "sync_table"])
def test_an_append_that_fails_counts_for_nothing(pack, folder, monkeypatch, failing):
    pack.append(pages(1))
    real = getattr(on_disk.PackFiles, failing)

    def full(self, *arguments):
        real(self, *arguments)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(on_disk.PackFiles, failing, full)
        with pytest.raises(BackendError, match="disk is full") as raised:
            pack.append(pages(2))
    assert raised.value.code == "disk_full"
    assert_holds(pack, pages(1))
    pack.close()
    with PagePack.open(folder, SPEC) as again:
        assert_holds(again, pages(1))
        again.append(pages(3))
        assert_holds(again, pages(1, 3))


def test_a_replacement_that_fails_after_its_entries_counts_for_nothing(pack, folder, monkeypatch):
    pack.append(pages(*range(9)))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(pack, "_write_states", full)
        with pytest.raises(BackendError, match="disk is full"):
            pack.append([page(20), page(1)])
    assert the_file(folder, "pages").stat().st_size == 9 * ENTRY.itemsize
    assert_holds(pack, pages(*range(9)))
    pack.append(pages(30))
    pack.close()
    with PagePack.open(folder, SPEC) as again:
        assert_holds(again, pages(*range(9), 30))


def fail_to_sync_folders(monkeypatch) -> None:
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(on_disk.os, "fsync", fsync)


def test_a_compaction_whose_folder_cannot_be_synced_has_switched(pack, folder, monkeypatch, caplog):
    pack.append(pages(1, 2))
    with monkeypatch.context() as patched:
        fail_to_sync_folders(patched)
        pack.compact()
    assert "not yet durable" in caplog.text
    pack.append(pages(3))
    pack.close()
    with PagePack.open(folder, SPEC) as again:
        assert_holds(again, pages(1, 2, 3))


def test_a_new_pack_without_a_header_holds_no_file_open(folder, monkeypatch):
    made = []
    create = on_disk.PackFiles.create

    def created(*arguments):
        made.append(create(*arguments))
        return made[0]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(on_disk.PackFiles, "create", created)
        patched.setattr(pack_module.on_disk, "write_header", full)
        with pytest.raises(BackendError, match="disk is full"):
            PagePack.open(folder, SPEC)
    assert made[0]._descriptors == {}
    with PagePack.open(folder, SPEC) as pack:
        assert_holds(pack, [])


def test_a_compaction_that_fails_leaves_the_old_files(pack, folder, monkeypatch):
    pack.append(pages(1, 2))
    names = {path.name for path in folder.iterdir()}
    with monkeypatch.context() as patched:

        def broken(self):
            raise OSError(5, "Input/output error")

        patched.setattr(on_disk.PackFiles, "sync_data", broken)
        with pytest.raises(BackendError, match="cannot be compacted"):
            pack.compact()
    assert {path.name for path in folder.iterdir()} == names
    assert_holds(pack, pages(1, 2))


def test_a_compaction_killed_at_the_switch_leaves_either_all_old_or_all_new(folder, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    for step in ("write_header", "remove_others"):
        pack = PagePack.open(folder, SPEC)
        pack.append(pages(1, 2))
        with monkeypatch.context() as patched:
            patched.setattr(pack_module.on_disk, step, killed)
            with pytest.raises(Killed):
                pack.compact()
        with PagePack.open(folder, SPEC) as again:
            assert_holds(again, pages(1, 2))
        assert len(list(folder.iterdir())) == 6


# --- damage -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("stem", "part"), [("int8", "int8"), ("bits", "bits"), ("fde", "fde")])
def test_a_flipped_bit_is_found_when_the_page_is_first_read(folder, stem, part):
    with PagePack.open(folder, SPEC) as pack:
        pack.append(pages(1, 2, 3))
    path = the_file(folder, stem)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with PagePack.open(folder, SPEC) as pack:
        view = pack.view()
        with pytest.raises(PackDamaged, match=f"packed {part} of 1 pages") as raised:
            view.check(view.pages, Part(part))
        (damaged,) = raised.value.record_ids
        assert damaged in raised.value.message
        fine = np.array([view.index_of[i] for i in pack.ids() - {damaged}])
        for each in Part:
            view.check(fine, each)
        assert pack.verify().damaged == (damaged,)
        pack.set_aside([damaged])
        assert pack.is_stale
        assert pack.ids() == ids_of(1, 2, 3) - {damaged}


def test_a_page_is_read_for_its_checksum_once(pack, monkeypatch):
    pack.append(pages(1, 2))
    view = pack.view()
    counted = []
    real = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data: counted.append(1) or real(data))
    for _ in range(3):
        view.check(view.pages, Part.BITS)
    assert len(counted) == 2
    pack.verify()
    assert len(counted) == 2 + 2 * len(Part)


def test_damage_is_not_copied_by_a_compaction(folder, caplog):
    with PagePack.open(folder, SPEC) as pack:
        pack.append(pages(1, 2))
    path = the_file(folder, "int8")
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with PagePack.open(folder, SPEC) as pack:
        pack.compact()
        assert pack.is_stale
        assert_holds(pack, pages(2))
    assert record_id(1) in caplog.text


def test_a_damaged_entry_before_whole_ones_is_named(folder):
    with PagePack.open(folder, SPEC) as pack:
        pack.append(pages(1, 2, 3))
    table = the_file(folder, "pages")
    content = bytearray(table.read_bytes())
    content[ENTRY.itemsize + 20] ^= 1
    table.write_bytes(content)
    with pytest.raises(PackDamaged, match=r"entry 1 of 3 in pages-1\.table"):
        PagePack.open(folder, SPEC)


@pytest.mark.parametrize("stem", ["int8", "bits", "fde"])
def test_a_truncated_file_is_named_with_the_first_record_it_lacks(folder, stem):
    with PagePack.open(folder, SPEC) as pack:
        pack.append(pages(1, 2, 3))
    path = the_file(folder, stem)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PackDamaged, match=path.name) as raised:
        PagePack.open(folder, SPEC)
    assert raised.value.record_ids == (record_id(3),)
    path.write_bytes(b"")
    with pytest.raises(PackDamaged) as raised:
        PagePack.open(folder, SPEC)
    assert raised.value.record_ids == (record_id(1),)


def test_a_missing_file_is_named(folder):
    PagePack.open(folder, SPEC).close()
    (folder / "bits-1.blocks").unlink()
    with pytest.raises(PackDamaged, match=r"bits-1\.blocks is missing"):
        PagePack.open(folder, SPEC)


@pytest.mark.parametrize(
    "change",
    [{"version": 99}, {"format": "other"}, {"dim": 32}, {"fde_size": 64}, {"fde_fingerprint": "0"}],
)
def test_a_foreign_header_is_refused_by_what_differs(folder, change):
    PagePack.open(folder, SPEC).close()
    path = folder / "header.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    (name,) = change
    with pytest.raises(IndexMismatch, match=name) as raised:
        PagePack.open(folder, SPEC)
    assert raised.value.code == "pack_foreign"


@pytest.mark.parametrize("content", ["", "[]", "{}", "\0\1", '{"format": "octavo-page-pack"}'])
def test_a_header_of_something_else_is_refused(folder, content):
    PagePack.open(folder, SPEC).close()
    (folder / "header.json").write_text(content)
    with pytest.raises(PackDamaged, match=r"header\.json"):
        PagePack.open(folder, SPEC)


@pytest.mark.parametrize("generation", [0, -1, "1", True, None])
def test_a_header_without_a_generation_is_refused(folder, generation):
    PagePack.open(folder, SPEC).close()
    path = folder / "header.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "generation": generation}))
    with pytest.raises(PackDamaged, match="generation"):
        PagePack.open(folder, SPEC)


# --- deleting -----------------------------------------------------------------------------------
def page_bytes(wanted: PackedPage) -> bytes:
    """The first int8 row of a page as it lies in the file."""
    kept = wanted.patches.astype(np.float16).astype(np.float32)
    return PackedRows.pack([kept], Storage.INT8).data[0].tobytes()


def test_nothing_of_a_deleted_page_stays_on_disk(pack, folder):
    pack.append([page(number, 40) for number in range(20)])
    view = pack.view()
    index = view.index_of[record_id(3)]
    parts = [view.data(index, part).tobytes() for part in Part] + [page_bytes(page(3))]
    del view
    assert all(part in all_bytes(folder) for part in parts)
    pack.discard([record_id(3)])
    assert not any(part in all_bytes(folder) for part in parts)
    assert uuid.UUID(record_id(3)).bytes not in all_bytes(folder)
    assert_holds(pack, [page(number, 40) for number in range(20) if number != 3])


def test_a_page_that_a_search_still_reads_is_erased_after_it(folder):
    with PagePack.open(folder, SPEC, erase_wait_s=0.01) as pack:
        pack.append([page(number, 40) for number in range(20)])
        rows = pack.view().int8.data[:5]  # no view, only an array of one
        pack.discard([record_id(3)])
        assert page_bytes(page(3)) in all_bytes(folder)
        assert record_id(3) not in pack.view().index_of
        pack.append(pages(30))
        assert page_bytes(page(3)) in all_bytes(folder)
        assert rows.any()
        del rows
        pack.append(pages(31))
        assert page_bytes(page(3)) not in all_bytes(folder)


def test_a_discard_waits_for_the_searches_before_it(folder):
    with PagePack.open(folder, SPEC, erase_wait_s=60) as pack:
        pack.append([page(number, 40) for number in range(20)])
        held = [pack.view()]
        threading.Timer(0.05, held.clear).start()
        pack.discard([record_id(3)])
        assert not held
        assert page_bytes(page(3)) not in all_bytes(folder)


def test_what_could_not_be_erased_is_erased_at_the_next_open(folder):
    pack = PagePack.open(folder, SPEC, erase_wait_s=0)
    pack.append([page(number, 40) for number in range(20)])
    view = pack.view()
    pack.discard([record_id(3)])
    pack.close()
    assert page_bytes(page(3)) in all_bytes(folder)
    with PagePack.open(folder, SPEC) as again:
        assert page_bytes(page(3)) not in all_bytes(folder)
        assert_holds(again, [page(number, 40) for number in range(20) if number != 3])
    assert view.int8.data.any()


def test_a_pack_with_a_quarter_of_it_gone_is_written_anew(pack, folder):
    pack.append([page(number, 40) for number in range(8)])
    pack.discard(ids_of(0, 1))
    assert (folder / "int8-1.rows").exists()
    pack.discard(ids_of(2))
    assert {path.name for path in folder.iterdir()} == {
        "header.json",
        "fp16-2.rows",
        "int8-2.rows",
        "bits-2.blocks",
        "fde-2.signs",
        "pages-2.table",
    }
    assert (folder / "int8-2.rows").stat().st_size == 5 * 40 * SPEC.dim
    assert_holds(pack, [page(number, 40) for number in range(3, 8)])
    pack.append(pages(9))
    assert_holds(pack, [*(page(number, 40) for number in range(3, 8)), page(9)])


def test_a_disk_without_room_for_a_copy_is_not_filled_by_one(pack, folder, monkeypatch, caplog):
    pack.append(pages(1, 2))
    gone = page_bytes(page(1))
    monkeypatch.setattr(
        disk_room.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100_000_000})
    )
    pack.discard([record_id(1)])
    assert "too little disk" in caplog.text
    assert gone not in all_bytes(folder)
    with pytest.raises(BackendError, match="too little disk") as raised:
        sync(pack, memory_index(2, 3))
    assert raised.value.code == "disk_full"
    assert pack.is_stale
    assert_holds(pack, pages(2))


# --- threads ------------------------------------------------------------------------------------
def test_readers_see_whole_pages_while_one_thread_writes(folder):
    wrong: list[str] = []
    done = threading.Event()
    expected = {page.record_id: zlib.crc32(page_bytes(page)) for page in pages(*range(60))}

    def read(pack: PagePack) -> None:
        while not done.is_set():
            view = pack.view()
            try:
                for part in Part:
                    view.check(view.pages, part)
                for name, index in view.index_of.items():
                    if zlib.crc32(view.data(index, Part.INT8)[0].data) != expected[name]:
                        wrong.append(name)
            except Exception as error:  # noqa: BLE001 - handed to the test's thread
                wrong.append(repr(error))

    with PagePack.open(folder, SPEC) as pack:
        threads = [threading.Thread(target=read, args=(pack,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for round_number in range(6):
            for start in range(0, 60, 10):
                pack.append(pages(*range(start, start + 10)))
            pack.discard(ids_of(*range(round_number, 60, 2)))
        done.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert pack.verify().damaged == ()


# --- the index ----------------------------------------------------------------------------------
def memory_index(*numbers: int) -> MemoryIndex:
    index = MemoryIndex(IndexSpec(dim=SPEC.dim, dense_dim=4, fde_size=SPEC.fde_size))
    index.upsert([record(number) for number in numbers])
    return index


def record(number: int) -> PageRecord:
    made = page(number)
    return PageRecord(
        made.record_id, {PageField.PATCHES: made.patches, PageField.FDE: made.fde}, {"n": number}
    )


def test_a_pack_is_made_equal_to_its_index(folder):
    index = memory_index(1, 2, 3)
    index.upsert([PageRecord(record_id(9), {PageField.DENSE: np.ones((1, 4), np.float32)}, {})])
    pack, report = open_synced(folder, SPEC, index)
    with pack:
        assert (report.added, report.discarded, report.rebuilt) == (4, 0, False)
        assert_holds(pack, [*pages(1, 2, 3), page(9, 0)])
        index.delete(Filter())
        index.upsert([record(2), record(4)])
        pack.is_stale = True
        report = sync(pack, index)
        assert (report.added, report.discarded) == (1, 3)
        assert not pack.is_stale
        assert_holds(pack, pages(2, 4))


def test_a_rebuilt_pack_equals_the_appended_one_to_the_byte(folder, tmp_path):
    in_order = sorted(pages(*range(50)), key=lambda page: page.record_id)
    with PagePack.open(folder, SPEC) as pack:
        pack.append(in_order)
    rebuilt, _ = open_synced(tmp_path / "other", SPEC, memory_index(*range(50)))
    rebuilt.close()
    assert all_bytes(folder) == all_bytes(tmp_path / "other")


@pytest.mark.parametrize("damage", ["header", "table", "data", "spec"])
def test_a_pack_that_cannot_be_read_is_made_anew(folder, caplog, damage):
    index = memory_index(1, 2, 3)
    open_synced(folder, SPEC, index)[0].close()
    spec = SPEC
    if damage == "spec":
        spec = PackSpec(SPEC.dim, SPEC.fde_size, "another")
    elif damage == "header":
        (folder / "header.json").write_text("{")
    else:
        path = the_file(folder, "pages" if damage == "table" else "int8")
        path.write_bytes(b"\xff" + path.read_bytes()[1:-1])
    pack, report = open_synced(folder, spec, index)
    with pack:
        assert (report.added, report.rebuilt) == (3, True)
        assert_holds(pack, pages(1, 2, 3))
    assert "made anew" in caplog.text


def test_a_sync_cut_short_goes_on_where_it_stopped(folder):
    class Breaking(MemoryIndex):
        calls = 0

        def vectors(self, record_ids, page_field):
            self.calls += 1
            if self.calls == 3:
                raise BackendError("gone")
            return super().vectors(record_ids, page_field)

    index = Breaking(IndexSpec(dim=SPEC.dim, dense_dim=4, fde_size=SPEC.fde_size))
    index.upsert([record(number) for number in range(50)])
    with pytest.raises(BackendError, match="gone"):
        open_synced(folder, SPEC, index)
    pack, report = open_synced(folder, SPEC, index)
    with pack:
        assert 0 < report.added < 50
        assert_holds(pack, pages(*range(50)))


def test_a_page_found_damaged_is_packed_anew(folder):
    index = memory_index(1, 2, 3)
    open_synced(folder, SPEC, index)[0].close()
    path = the_file(folder, "bits")
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    pack, _ = open_synced(folder, SPEC, index)
    with pack:
        view = pack.view()
        with pytest.raises(PackDamaged) as raised:
            view.check(view.pages, Part.BITS)
        del view
        pack.set_aside(raised.value.record_ids)
        assert sync(pack, index).added == 1
        assert_holds(pack, pages(1, 2, 3))


class Unpackable(MemoryIndex):
    """Gives pages 2 and 40 back with a row that is all zeros."""

    def vectors(self, record_ids, page_field):
        found = super().vectors(record_ids, page_field)
        for each in ids_of(2, 40) & found.keys():
            if page_field is PageField.PATCHES:
                found[each] = np.zeros_like(found[each])
        return found


def test_a_page_that_cannot_be_packed_is_left_out_and_the_pack_is_not_stale_for_it(folder, caplog):
    index = Unpackable(IndexSpec(dim=SPEC.dim, dense_dim=4, fde_size=SPEC.fde_size))
    index.upsert([record(number) for number in range(50)])
    pack, report = open_synced(folder, SPEC, index)
    with pack:
        assert not pack.is_stale
        assert report.added == 48
        assert_holds(pack, [page(number) for number in range(50) if number not in (2, 40)])
    for left_out in ids_of(2, 40):
        assert caplog.text.count(left_out) == 1


def test_a_pack_that_cannot_be_removed_is_an_error_with_a_next_step(folder, monkeypatch):
    PagePack.open(folder, SPEC).close()
    (folder / "header.json").write_text("{")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sync_module.shutil, "rmtree", refuse)
    with pytest.raises(BackendError, match="Permission denied") as raised:
        open_synced(folder, SPEC, memory_index(1))
    assert (raised.value.code, bool(raised.value.next_step)) == ("pack_failed", True)


@pytest.mark.parametrize(("n_pages", "n_words"), [(4, 0), (5, 1)])
def test_packing_many_pages_says_so_once(folder, caplog, monkeypatch, n_pages, n_words):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(sync_module, "_WORTH_A_WORD", 4)
    monkeypatch.setattr(sync_module, "_BATCH_PAGES", 2)
    open_synced(folder, SPEC, memory_index(*range(n_pages)))[0].close()
    open_synced(folder, SPEC, memory_index(*range(n_pages)))[0].close()
    assert caplog.text.count(f"packing {n_pages} pages") == n_words


# --- size ---------------------------------------------------------------------------------------
def test_opening_ten_thousand_pages_reads_the_table_alone(folder, caplog):
    caplog.set_level(logging.WARNING)
    spec = PackSpec(dim=128, fde_size=10_240, fde_fingerprint="f")
    with PagePack.open(folder, spec) as pack:
        one = page(0, 1_030, spec=spec)
        encoded = pack_module.layout.encode(one, spec)
        entries = np.concatenate(
            [
                pack_module.layout.entry(encoded, first_row=i * 1_030, first_block=i * 33)
                for i in range(10_000)
            ]
        )
        numbers = np.arange(10_000, dtype=">u8").view(np.uint8).reshape(-1, 8)
        entries["record_id"][:, 8:] = numbers
        pack._state.files.write_entries(0, pack_module.layout.seal(entries))
    for stem, n_units, part in (
        ("fp16", 10_300_000, Part.FP16),
        ("int8", 10_300_000, Part.INT8),
        ("bits", 330_000, Part.BITS),
        ("fde", 10_000, Part.FDE),
    ):
        with the_file(folder, stem).open("r+b") as file:
            file.truncate(n_units * spec.unit_bytes(part))  # holes, which take no disk
    start = time.perf_counter()
    with PagePack.open(folder, spec) as pack:
        view = pack.view()
        seconds = time.perf_counter() - start
        assert len(view) == 10_000
        assert view.int8.data.nbytes == 10_000 * 1_030 * 128
    gc.collect()
    assert seconds < 0.5


def test_a_header_nested_too_deep_to_read_is_damaged(folder):
    PagePack.open(folder, SPEC).close()
    (folder / "header.json").write_text("[" * 200_000)
    with pytest.raises(PackDamaged):
        PagePack.open(folder, SPEC)


def test_where_a_folder_stands_for_a_file_the_next_step_leads_out(folder):
    PagePack.open(folder, SPEC).close()
    (folder / "header.json").unlink()
    (folder / "header.json").mkdir()
    with pytest.raises(BackendError) as raised:
        PagePack.open(folder, SPEC)
    assert "delete" in raised.value.next_step
