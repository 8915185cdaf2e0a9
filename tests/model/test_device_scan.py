"""The search with pages on a device: held to MaxSim over all pages in scope.

On CPU tensors where torch sees no GPU. `make test-torch` brings torch.
"""

import gc
import threading
import uuid
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs torch: make test-torch")

from rag.errors import BackendError, PackDamaged, ShapeError
from rag.page_pack import PackedPage, PackSpec, PagePack, Part
from rag.scoring.cascade import Cascade, CascadeStage, CascadeWidths
from rag.scoring.device_scan import DeviceScan
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.maxsim_torch import ResidentPages
from rag.scoring.packed import maxsim_packed

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DIM = 16
AMPLE = 1 << 20
FDE = FdeEncoder(FdeSpec(DIM, repetitions=2, simhash_bits=2, projection_dim=8, seed=1))
SPEC = PackSpec(DIM, FDE.spec.fde_size, FDE.fingerprint)
# All pages reach the last stages, so that what it finds is exact too.
EXACT = Cascade(FDE, CascadeWidths(10_000, 10_000, rescore=0, scan_rows=0))


def record_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def page(number: int, *, like: int | None = None, n_rows: int | None = None) -> PackedPage:
    rng = np.random.default_rng(number if like is None else like)
    n = int(rng.integers(0, 40)) if n_rows is None else n_rows
    rows = rng.standard_normal((n, DIM)).astype(np.float32)
    return PackedPage(record_id(number), rows, FDE.encode_page(rows) if n else None)


def a_query(seed: int = 0):
    return np.random.default_rng(seed).standard_normal((5, DIM)).astype(np.float32)


@pytest.fixture
def pack(tmp_path: Path):
    with PagePack.open(tmp_path / "packed", SPEC, erase_wait_s=0.0) as opened:
        opened.append([page(i) for i in range(20)])
        yield opened


def scan(budget_bytes: int = AMPLE, *, rescore: int = 0, otherwise=EXACT) -> DeviceScan:
    return DeviceScan(otherwise, device=DEVICE, rescore=rescore, budget_bytes=budget_bytes)


def assert_same(found, wanted) -> None:
    np.testing.assert_array_equal(found.pages, wanted.pages)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-5, atol=1e-5)


def loaded(result) -> int:
    """Pages that a search copied."""
    return sum(stage.candidates for stage in result.stages if stage.name == "device_load")


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), limit=st.integers(1, 50))
def test_the_ranking_is_that_of_the_exact_cascade(tmp_path_factory, data, seed, limit):
    n, kinds = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))  # some pages are equal
    among = data.draw(st.none() | st.lists(st.integers(0, n - 1), unique=True))
    among = None if among is None else np.array(among, np.int64)
    rescore = data.draw(st.sampled_from([0, 3, 100]))
    with PagePack.open(tmp_path_factory.mktemp("p"), SPEC) as pack:
        pack.append([page(i, like=seed + i % kinds) for i in range(n)])
        wide = Cascade(FDE, CascadeWidths(10_000, 10_000, rescore, scan_rows=0))
        options = {"among": among, "limit": limit}
        found = scan(rescore=rescore).search(a_query(seed), pack.view(), **options)
        assert_same(found, wide.search(a_query(seed), pack.view(), **options))
        assert found.warnings == ()


def test_the_stages_say_what_was_copied_and_what_was_handed_on(pack):
    searched = scan(rescore=4)
    first = searched.search(a_query(), pack.view(), limit=3)
    n_with_rows = int((pack.view().n_rows > 0).sum())
    assert [(s.name, s.candidates) for s in first.stages] == [
        ("device_load", n_with_rows),
        ("device_int8", 4),
        ("rescore", 3),
    ]
    again = searched.search(a_query(), pack.view(), limit=3)
    assert [s.name for s in again.stages] == ["device_int8", "rescore"]
    assert_same(again, first)


def test_pages_that_came_are_copied_and_the_others_not_again(pack):
    searched = scan()
    searched.search(a_query(), pack.view(), limit=5)
    copied = []
    for added in range(20, 28):
        pack.append([page(added, n_rows=3)])
        found = searched.search(a_query(), pack.view(), limit=100)
        assert_same(found, EXACT.search(a_query(), pack.view(), limit=100))
        copied.append(loaded(found))
    assert copied == [1, 2, 1, 4, 1, 2, 1, 8]


def test_segments_are_few_and_each_page_is_copied_few_times(pack):
    searched, one, n_copied = scan(), np.array([1]), 0
    for added in range(20, 20 + 200):
        pack.append([page(added, n_rows=1)])
        n_copied += loaded(searched.search(a_query(), pack.view(), among=one, limit=1))
        assert len(searched._segments) <= np.log2(added + 2)
    assert n_copied <= 220 * np.log2(220)


def test_a_page_that_went_is_overwritten_on_the_device_and_not_found(pack):
    searched = scan()
    (best,) = searched.search(a_query(), pack.view(), limit=1).pages
    (segment,) = searched._segments
    n_before = np.count_nonzero(segment.rows.rows.cpu())
    n_of_page = np.count_nonzero(segment.rows.page(int(best)))
    pack.discard([pack.view().ids[best]])
    found = searched.search(a_query(), pack.view(), limit=100)
    assert best not in found.pages
    assert loaded(found) == 0
    assert_same(found, EXACT.search(a_query(), pack.view(), limit=100))
    assert np.count_nonzero(segment.rows.rows.cpu()) == n_before - n_of_page


def test_an_earlier_view_finds_its_own_pages_but_those_that_went(pack):
    searched = scan()
    earlier = pack.view()
    gone = 3
    pack.append([page(20)])
    pack.discard([earlier.ids[gone]])
    searched.search(a_query(), pack.view(), limit=5)
    found = searched.search(a_query(), earlier, limit=100)
    among = np.setdiff1d(np.arange(20), [gone])
    assert_same(found, EXACT.search(a_query(), earlier, among=among, limit=100))
    assert loaded(found) == 0


def test_pages_written_anew_are_copied_anew(pack):
    searched = scan()
    searched.search(a_query(), pack.view(), limit=5)
    pack.append([page(0, like=77, n_rows=8)])  # the same record with other vectors
    pack.compact()
    found = searched.search(a_query(), pack.view(), limit=100)
    assert loaded(found) == int((pack.view().n_rows > 0).sum())
    assert_same(found, EXACT.search(a_query(), pack.view(), limit=100))


def test_no_view_is_kept(pack):
    searched = scan()
    reference = weakref.ref(pack.view())
    searched.search(a_query(), pack.view(), limit=5)
    pack.append([page(20)])
    gc.collect()
    assert reference() is None


def test_an_empty_collection_and_an_empty_scope_find_nothing(tmp_path):
    nothing = np.zeros(0, np.int64)
    with PagePack.open(tmp_path, SPEC) as pack:
        assert len(scan().search(a_query(), pack.view(), limit=5).pages) == 0
        pack.append([page(1, n_rows=0)])
        assert len(scan().search(a_query(), pack.view(), limit=5).pages) == 0
        pack.append([page(2, n_rows=3)])
        assert len(scan().search(a_query(), pack.view(), among=nothing, limit=5).pages) == 0


def test_a_query_is_held_to_what_the_cpu_demands_of_it(pack):
    for wrong in (np.zeros((3, 32)), np.zeros((0, DIM)), np.full((1, DIM), np.nan)):
        with pytest.raises(ShapeError):
            scan().search(wrong.astype(np.float32), pack.view(), limit=5)
    with pytest.raises(ShapeError, match="page number"):
        scan().search(a_query(), pack.view(), among=np.array([20]), limit=5)


def test_pages_beyond_the_budget_are_searched_by_the_cascade_and_the_result_says_so(pack):
    view = pack.view()
    size_bytes = int(view.n_rows.sum()) * DIM
    searched = scan(size_bytes - 1)
    cascade = Cascade(FDE, CascadeWidths(fde=5, bits=3, rescore=3, scan_rows=0))
    found = scan(size_bytes - 1, otherwise=cascade).search(a_query(), view, limit=2)
    assert_same(found, cascade.search(a_query(), view, limit=2))
    (notice,) = found.warnings
    assert notice.code == "pages_not_on_device"
    assert f"{size_bytes:,} bytes" in notice.message
    assert f"{size_bytes - 1:,}" in notice.message
    assert scan(size_bytes).search(a_query(), view, limit=2).warnings == ()
    # Room comes back with pages that go.
    assert searched.search(a_query(), view, limit=2).warnings
    pack.discard([view.ids[int(view.n_rows.argmax())]])
    assert searched.search(a_query(), pack.view(), limit=2).warnings == ()


def test_pages_that_went_take_no_room_that_others_need(pack):
    n_bytes = int(pack.view().n_rows.sum()) * DIM
    searched = scan(n_bytes)
    searched.search(a_query(), pack.view(), limit=5)
    longest = int(pack.view().n_rows.argmax())
    n_rows = int(pack.view().n_rows[longest])
    pack.discard([pack.view().ids[longest]])
    pack.append([page(20, n_rows=n_rows)])
    found = searched.search(a_query(), pack.view(), limit=100)
    assert found.warnings == ()
    assert_same(found, EXACT.search(a_query(), pack.view(), limit=100))


def test_a_device_out_of_memory_is_given_up_and_every_result_says_so(pack, monkeypatch):
    tries = []

    def no_room(*_, **__):
        tries.append(1)
        raise BackendError("cuda ran out of memory", code="out_of_memory")

    monkeypatch.setattr(ResidentPages, "from_packed", no_room)
    searched = scan()
    for _ in range(2):
        found = searched.search(a_query(), pack.view(), limit=5)
        assert_same(found, EXACT.search(a_query(), pack.view(), limit=5))
        assert [notice.code for notice in found.warnings] == ["device_out_of_memory"]
    assert len(tries) == 1


def test_other_failures_of_the_device_are_not_hidden(pack, monkeypatch):
    def fail(*_, **__):
        raise BackendError("the device is gone")

    monkeypatch.setattr(ResidentPages, "from_packed", fail)
    with pytest.raises(BackendError, match="gone"):
        scan().search(a_query(), pack.view(), limit=5)


def test_a_damaged_page_is_never_copied(pack, tmp_path):
    searched = scan()
    searched.search(a_query(), pack.view(), limit=5)
    pack.append([page(20, n_rows=4)])
    (file,) = (tmp_path / "packed").glob("int8-*")
    content = bytearray(file.read_bytes())
    first = int(pack.view().int8.first[20])
    content[first * DIM] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)
    view = pack.view()

    def check(stage, pages):
        assert stage is CascadeStage.INT8
        view.check(pages, Part.INT8)

    for _ in range(2):
        with pytest.raises(PackDamaged, match=record_id(20)):
            searched.search(a_query(), view, limit=5, before=check)
    pack.set_aside([record_id(20)])
    found = searched.search(a_query(), pack.view(), limit=100)
    assert_same(found, EXACT.search(a_query(), pack.view(), limit=100))


def test_many_threads_copy_the_pages_once_and_find_the_same(pack, monkeypatch):
    copied = []
    copy = ResidentPages.from_packed

    def counted(*arguments, **options):
        copied.append(threading.get_ident())
        return copy(*arguments, **options)

    monkeypatch.setattr(ResidentPages, "from_packed", counted)
    searched, view, at_once = scan(), pack.view(), threading.Barrier(8)

    def search(seed):
        at_once.wait(timeout=20)
        return searched.search(a_query(seed), view, limit=10)

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(search, range(8)))
    assert len(copied) == 1
    for seed, found in enumerate(results):
        assert_same(found, EXACT.search(a_query(seed), view, limit=10))


def test_searches_while_pages_come_and_go_find_what_their_view_has(pack):
    searched, done = scan(), threading.Event()

    def search(seed):
        n = 0
        while not done.is_set() or n < 5:
            view = pack.view()
            found = searched.search(a_query(seed), view, limit=100)
            wanted = maxsim_packed(a_query(seed), view.fp16, found.pages)
            np.testing.assert_allclose(found.scores, wanted, rtol=1e-5, atol=1e-5)
            n += 1
        return n

    with ThreadPoolExecutor(4) as threads:
        searches = [threads.submit(search, seed) for seed in range(4)]
        try:
            for number in range(20, 60):
                pack.append([page(number, n_rows=5)])
                pack.discard([record_id(number - 10)])
            pack.compact()
        finally:
            done.set()
        assert all(each.result() >= 5 for each in searches)
    assert_same(
        searched.search(a_query(), pack.view(), limit=100),
        EXACT.search(a_query(), pack.view(), limit=100),
    )
