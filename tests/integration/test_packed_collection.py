"""Packed pages in a collection: equal to what the index holds, after whatever has happened."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from rag.apps.service import Service
from rag.errors import BackendError
from rag.filters import Condition, Filter
from rag.index.edge import EdgeIndex
from rag.manifest import (
    DocumentState,
    Incoming,
    Manifest,
    PageRow,
    PageState,
    StagedVersion,
    page_record_id,
)
from rag.page_pack import PackedPage, PackSpec, PagePack, Part, open_synced
from rag.page_store import PageStore
from rag.page_text import PageText
from rag.ports import IndexSpec, PageIndex
from rag.repository import CollectionWriter, Repository
from rag.repository import writing as writing_module
from rag.settings import load_settings
from rag.testing import MemoryIndex, make_pdf
from rag.types import PageField, PageRecord, Principal
from rag.wiring import Engine

SPEC = PackSpec(dim=16, fde_size=64, fde_fingerprint="f")
INDEX_SPEC = IndexSpec(dim=16, dense_dim=4, fde_size=64)
DENSE = np.ones((1, 4), np.float32)


def contents(pack: PagePack) -> dict[str, tuple[bytes, ...]]:
    """Every byte that a search may read, by record id."""
    view = pack.view()
    for part in Part:
        view.check(view.pages, part)
    assert view.int8.scales is not None
    return {
        record_id: (
            *(view.data(index, part).tobytes() for part in Part),
            view.int8.scales[index].tobytes(),
        )
        for record_id, index in view.index_of.items()
    }


def assert_equals_index(pack: PagePack, index: PageIndex, folder: Path) -> None:
    """As a pack made from nothing but the index."""
    shutil.rmtree(folder, ignore_errors=True)
    anew, _ = open_synced(folder, pack.spec, index)
    with anew:
        assert contents(pack) == contents(anew)
    assert pack.ids() == set(index.ids())


# --- an ingest into the embedded index ----------------------------------------------------------
PAGES = [
    "# Otters\nOtters hold hands while they sleep, so that the tide parts no pair of otters.",
    "# Herons\nHerons stand still in shallow water and wait for fish to come.",
    "",
    "# Fees\nThe harbour charges 37 euros for each night at the northern pier.",
]


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Engine, Service]]:
    settings = load_settings(
        overrides={"store": {"data_dir": folder}, "render": {"workers": 1}}, environ={}
    )
    with Engine(settings) as engine:
        yield engine, Service(engine, Principal.owner())


def write_pdfs(folder: Path) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / "shore.pdf", folder / "other.pdf"]
    paths[0].write_bytes(make_pdf(PAGES))
    paths[1].write_bytes(make_pdf([f"Page {n} of another document." for n in range(8)]))
    return paths


def test_what_an_ingest_packs_is_what_the_embedded_index_gives_back(tmp_path):
    paths = write_pdfs(tmp_path / "pdfs")
    packed = tmp_path / "data" / "collections" / "default" / "packed"
    with opened(tmp_path / "data") as (engine, service):
        service.ingest(paths=paths, collection="default")
        pack = engine.pack("default")
        assert len(pack) == 11  # one page is blank
        assert_equals_index(pack, engine._index("default"), tmp_path / "anew")
        before = contents(pack)
    with opened(tmp_path / "data") as (engine, service):
        assert contents(engine.pack("default")) == before
        service.ingest(paths=paths, collection="default", force=True)
        assert not set(contents(engine.pack("default"))) & set(before)
        assert_equals_index(engine.pack("default"), engine._index("default"), tmp_path / "anew")
    shutil.rmtree(packed)  # a collection from before pages were packed
    with opened(tmp_path / "data") as (engine, service):
        assert_equals_index(engine.pack("default"), engine._index("default"), tmp_path / "anew")
        assert len(engine.pack("default")) == 11


def test_nothing_of_a_deleted_document_stays_packed(tmp_path):
    paths = write_pdfs(tmp_path / "pdfs")
    packed = tmp_path / "data" / "collections" / "default" / "packed"
    with opened(tmp_path / "data") as (engine, service):
        service.ingest(paths=paths, collection="default")
        of_shore = [
            part
            for record_id in engine._index("default").ids(
                Filter(must=(Condition("source", "$eq", "shore.pdf"),))
            )
            for part in contents(engine.pack("default"))[record_id][:3]
        ]
        assert len(of_shore) == 9
        on_disk = b"".join(path.read_bytes() for path in packed.iterdir())
        assert all(part in on_disk for part in of_shore)
        service.delete(documents=["shore.pdf"], collection="default")
        on_disk = b"".join(path.read_bytes() for path in packed.iterdir())
        assert not any(part in on_disk for part in of_shore)
        assert len(engine.pack("default")) == 8


def test_float16_of_the_embedded_index_is_that_of_the_pack(tmp_path):
    rng = np.random.default_rng(7)
    extremes = [2.0**-25, -(2.0**-25), 2.0**-24, 1.5 * 2.0**-24, 2.0**-14, 65504, 1 + 2.0**-11]
    records = []
    for number in range(40):
        scale = 10.0 ** rng.integers(-8, 4)
        rows = (rng.standard_normal((5, 16)) * scale + 1e-4).astype(np.float32)
        rows[0, : len(extremes)] = extremes
        fde = (rng.standard_normal(64) * scale).astype(np.float32)
        fde[: len(extremes)] = extremes
        records.append(
            PageRecord(
                page_record_id("v", number), {PageField.PATCHES: rows, PageField.FDE: fde}, {}
            )
        )
    index = EdgeIndex.open(tmp_path / "index", INDEX_SPEC)
    index.upsert(records)
    index.flush()
    with PagePack.open(tmp_path / "packed", SPEC) as pack:
        pack.append([as_packed(record) for record in records])
        assert_equals_index(pack, index, tmp_path / "anew")
    index.close()


def as_packed(record: PageRecord) -> PackedPage:
    return PackedPage(
        record.record_id, record.vectors[PageField.PATCHES], record.vectors[PageField.FDE]
    )


# --- a crash at every step ----------------------------------------------------------------------
class Crash(BaseException):
    """The process is gone: nothing between here and the reopening runs."""


class CrashBefore:
    """Ends the process before the n-th writing call to index, pack or manifest."""

    WRITES = frozenset(
        {
            *("upsert", "flush", "delete", "append", "discard"),
            *("begin_version", "record_pages", "publish", "delete_document", "forget_version"),
        }
    )

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, part):
        crash = self

        class Around:
            def __getattr__(self, name):
                real = getattr(part, name)
                if name not in crash.WRITES:
                    return real

                def call(*args, **kwargs):
                    crash.step -= 1
                    if crash.step == 0:
                        raise Crash
                    return real(*args, **kwargs)

                return call

            def __contains__(self, record_id):
                return record_id in part

        return Around()


class ForgetfulIndex(MemoryIndex):
    """What was not flushed is lost at a crash, or kept: a store promises neither."""

    def __init__(self, *, loses_unflushed: bool) -> None:
        super().__init__(INDEX_SPEC)
        self._durable: dict[str, PageRecord] = {}
        self._loses_unflushed = loses_unflushed

    def flush(self) -> None:
        self._durable = dict(self._records)

    def crash(self) -> None:
        if self._loses_unflushed:
            self._records = dict(self._durable)


class World:
    """A data folder; every try at a page gives other vectors, as another encoder run might."""

    def __init__(self, folder: Path, index: MemoryIndex) -> None:
        self.folder = folder
        self.index = index
        self.n_tries = 0
        self.open()

    def open(self, around=lambda part: part) -> None:
        self.manifest = Manifest.in_folder(self.folder)
        self.manifest.ensure_collection("default", {})
        self.pack, _ = open_synced(self.folder / "packed", SPEC, self.index)
        index, pack = around(self.index), around(self.pack)
        self.repository = Repository(
            around(self.manifest),
            PageStore(self.folder, None),
            lambda _: index,
            pack_for=lambda _: pack,
        )

    def close(self) -> None:
        self.manifest.close()
        self.pack.close()

    def writer(self) -> CollectionWriter:
        return self.repository.writer(Principal.owner(), "default")

    def ingest(self, name: str, content: bytes, n_pages: int, *, batch_pages: int = 1) -> None:
        path = self.folder / name
        path.write_bytes(content)
        incoming = Incoming(f"id-{name}", "/in", name, hashlib.sha256(content).hexdigest(), n_pages)
        writer = self.writer()
        version = writer.begin(path, incoming)
        if isinstance(version, StagedVersion):
            missing = sorted(set(range(1, n_pages + 1)) - version.recorded)
            for start in range(0, len(missing), batch_pages):
                numbers = missing[start : start + batch_pages]
                writer.add_pages(
                    version,
                    [self.record(version, number) for number in numbers],
                    [row(version, number) for number in numbers],
                )
            writer.publish(version, state=DocumentState.INDEXED)

    def record(self, version: StagedVersion, number: int) -> PageRecord:
        self.n_tries += 1
        rng = np.random.default_rng(self.n_tries)
        vectors = {PageField.DENSE: DENSE}
        if number != 2:  # the second page has no patches
            rows = rng.standard_normal((number, 16)).astype(np.float32)
            vectors |= {PageField.PATCHES: rows, PageField.FDE: rng.standard_normal(64)}
        return PageRecord(page_record_id(version.version_id, number), vectors, {})


def row(version: StagedVersion, number: int) -> PageRow:
    return PageRow(
        number,
        PageState.INDEXED,
        612.0,
        792.0,
        record_id=page_record_id(version.version_id, number),
        reason="",
        text=PageText.empty(),
        vector_words=None,
    )


def operate(world: World, operation: str) -> None:
    if operation in ("ingest", "replace"):
        world.ingest("a.pdf", b"new", 3)
    else:
        world.writer().sweep()
        if any(d.source == "a.pdf" for d in reader_of(world).documents()):
            world.writer().delete("id-a.pdf")


def reader_of(world: World):
    return world.repository.reader(Principal.owner(), "default")


@pytest.mark.parametrize("loses_unflushed", [True, False])
@pytest.mark.parametrize("operation", ["ingest", "replace", "delete"])
def test_a_crash_at_any_step_leaves_a_pack_that_equals_its_index(
    tmp_path, operation, loses_unflushed
):
    n_steps = 0
    for step in range(1, 100):
        world = World(tmp_path / str(step), ForgetfulIndex(loses_unflushed=loses_unflushed))
        if operation != "ingest":
            world.ingest("a.pdf", b"old", 2, batch_pages=2)
        world.ingest("other.pdf", b"other", 6, batch_pages=6)
        world.close()
        world.open(CrashBefore(step))
        try:
            operate(world, operation)
        except Crash:
            n_steps += 1
        else:
            break
        finally:
            world.close()
        world.index.crash()

        world.open()
        assert_equals_index(world.pack, world.index, tmp_path / "anew")
        operate(world, operation)
        world.writer().sweep()
        assert_equals_index(world.pack, world.index, tmp_path / "anew")
        assert len(world.pack) == {"ingest": 9, "replace": 9, "delete": 6}[operation], step
        world.close()
    else:
        pytest.fail("the operation never came to its end")
    assert n_steps >= {"ingest": 17, "replace": 21, "delete": 5}[operation]


# --- what cannot be packed ----------------------------------------------------------------------
@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "data", MemoryIndex(INDEX_SPEC))
    yield made
    made.close()


def test_a_page_that_could_not_be_packed_is_indexed_and_packed_by_the_next_sweep(
    world, tmp_path, monkeypatch, caplog
):
    world.ingest("a.pdf", b"one", 3)

    def full(*_):
        raise BackendError("the disk is full", code="disk_full")

    with monkeypatch.context() as patched:
        patched.setattr(world.pack, "append", full)
        world.ingest("b.pdf", b"two", 3)
    assert world.pack.is_stale
    assert "could not be packed" in caplog.text
    assert len(reader_of(world).ids()) == 6
    assert len(world.pack) == 3
    world.writer().sweep()
    assert not world.pack.is_stale
    assert_equals_index(world.pack, world.index, tmp_path / "anew")


def test_a_document_whose_packed_pages_cannot_be_erased_is_not_reported_as_deleted(
    world, monkeypatch
):
    world.ingest("a.pdf", b"one", 3)

    def broken(*_):
        raise BackendError("no such device", code="pack_failed")

    with monkeypatch.context() as patched:
        patched.setattr(world.pack, "discard", broken)
        with pytest.raises(BackendError, match="no such device"):
            world.writer().delete("id-a.pdf")
    world.writer().sweep()
    assert len(world.pack) == world.index.count() == 0


def test_the_room_that_packed_pages_take_is_asked_for_before_they_are_written(world, monkeypatch):
    world.ingest("a.pdf", b"one", 3)
    asked = []
    monkeypatch.setattr(
        writing_module.CollectionWriter,
        "_require_space",
        lambda _, estimate_bytes: asked.append(estimate_bytes),
    )
    world.ingest("b.pdf", b"two", 1)
    record_bytes = 4 * (4 + 16) + 8 * 64
    assert asked[-1] == record_bytes + SPEC.page_bytes(1)
