"""Sources by digest, page images from a bounded cache."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rag import page_store
from rag.errors import BackendError, DocumentError, NotFound
from rag.page_store import PageStore
from rag.types import RenderedPage


class CountingReader:
    """Renders noise that tells file, page and resolution apart."""

    def __init__(self):
        self.calls = []

    def render(self, path: Path, page_number: int, *, dpi: float, max_px: int) -> RenderedPage:
        self.calls.append((path, page_number, dpi, max_px))
        seed = np.random.default_rng(page_number + int(dpi))
        pixels = seed.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        return RenderedPage(Image.fromarray(pixels), 612.25, 792.5)


@pytest.fixture
def reader():
    return CountingReader()


@pytest.fixture
def store(tmp_path, reader):
    return PageStore(tmp_path / "data", reader)


def put(store: PageStore, tmp_path: Path, content: bytes = b"%PDF one", name="a.PDF"):
    path = tmp_path / name
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return path, digest, store.keep_source(path, digest)


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- sources ------------------------------------------------------------------------------------
def test_a_source_is_kept_under_its_digest(store, tmp_path):
    _, digest, kept = put(store, tmp_path)
    assert kept == tmp_path / "data" / "sources" / digest[:2] / f"{digest}.pdf"
    assert kept.read_bytes() == b"%PDF one"
    assert store.source_path(digest) == kept
    assert store.source_ids() == {digest}
    assert kept.stat().st_mode & 0o077 == 0


def test_editing_or_deleting_the_file_in_place_leaves_the_kept_one(store, tmp_path):
    path, _, kept = put(store, tmp_path)
    with path.open("r+b") as file:
        file.write(b"edited!!")
    path.unlink()
    assert kept.read_bytes() == b"%PDF one"


def test_keeping_twice_keeps_one(store, tmp_path):
    path, digest, kept = put(store, tmp_path)
    assert store.keep_source(path, digest) == kept
    assert files_below(tmp_path / "data") == [kept]


def test_a_kept_file_that_rotted_is_kept_anew(store, tmp_path):
    path, digest, kept = put(store, tmp_path)
    kept.write_bytes(b"%PDF 0ne")
    assert store.keep_source(path, digest).read_bytes() == b"%PDF one"


def test_bytes_that_are_not_those_of_the_digest_are_refused_and_not_kept(store, tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"changed meanwhile")
    with pytest.raises(DocumentError) as caught:
        store.keep_source(path, "0" * 64)
    assert caught.value.code == "changed_while_reading"
    assert files_below(tmp_path / "data") == []


def test_a_file_that_is_gone_is_refused_by_name(store, tmp_path):
    with pytest.raises(DocumentError, match=r"a\.pdf cannot be read") as caught:
        store.keep_source(tmp_path / "a.pdf", "0" * 64)
    assert caught.value.code == "unreadable"
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("name", ["noextension", "a.b c", "a.pdf\n", "a.averylongsuffix", "a."])
def test_a_strange_suffix_does_not_reach_the_store(store, tmp_path, name):
    _, _, kept = put(store, tmp_path, name=name)
    assert kept.suffix == ".bin"


def test_a_copy_that_cannot_be_written_leaves_nothing_and_is_typed(store, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page_store.shutil, "copyfileobj", full)
    monkeypatch.setattr(page_store, "_share_blocks", lambda *_: False)
    with pytest.raises(BackendError) as caught:
        put(store, tmp_path)
    assert caught.value.code == "disk_full"
    assert files_below(tmp_path / "data") == []


def test_a_released_source_takes_its_images_along(store, tmp_path):
    _, digest, kept = put(store, tmp_path)
    _, other, other_kept = put(store, tmp_path, b"%PDF two", "b.pdf")
    for sha256 in (digest, other):
        store.page_image(sha256, 1)
    store.release_source(digest)
    store.release_source(digest)
    assert not kept.exists()
    assert (store.n_images(digest), store.n_images(other)) == (0, 1)
    assert other_kept.exists()


def test_leftovers_of_a_cut_copy_are_no_source_and_are_cleared(store, tmp_path):
    _, digest, kept = put(store, tmp_path)
    (kept.parent / ".part-xyz").write_bytes(b"%PDF")
    assert store.source_ids() == {digest}
    store.clear_temporary()
    assert files_below(tmp_path / "data") == [kept]


# --- page images --------------------------------------------------------------------------------
def test_a_cached_image_is_the_rendered_one_to_the_pixel(store, tmp_path, reader):
    _, digest, kept = put(store, tmp_path)
    rendered, cached = store.page_image(digest, 2, dpi=72.5), store.page_image(digest, 2, dpi=72.5)
    assert reader.calls == [(kept, 2, 72.5, 36_000_000)]
    np.testing.assert_array_equal(np.asarray(cached.image), np.asarray(rendered.image))
    assert (cached.width_pt, cached.height_pt) == (612.25, 792.5)


def test_page_resolution_and_bound_make_different_images(store, tmp_path, reader):
    _, digest, _ = put(store, tmp_path)
    store.page_image(digest, 1)
    store.page_image(digest, 11)
    store.page_image(digest, 1, dpi=72)
    store.page_image(digest, 1, max_px=1000)
    store.page_image(digest, 1, max_px=10**12)  # never above the store's own bound
    assert len(reader.calls) == 4
    assert reader.calls[-1][3] == 1000


def test_an_image_of_a_missing_source_says_what_to_do(store):
    with pytest.raises(NotFound) as caught:
        store.page_image("0" * 64, 1)
    assert caught.value.code == "source_missing"
    assert caught.value.next_step


def test_a_cached_image_that_was_cut_short_is_rendered_again(store, tmp_path, reader):
    _, digest, _ = put(store, tmp_path)
    store.page_image(digest, 1)
    (cached,) = files_below(tmp_path / "data" / "page-images")
    for damage in (b"", cached.read_bytes()[:200], b"garbage" * 50):
        cached.write_bytes(damage)
        assert store.page_image(digest, 1).width_pt == 612.25
    assert len(reader.calls) == 4


def cache_size(tmp_path: Path) -> int:
    return sum(path.stat().st_size for path in files_below(tmp_path / "data" / "page-images"))


def test_the_cache_stays_within_its_bound_and_drops_the_least_recently_used(tmp_path, reader):
    roomy = PageStore(tmp_path / "data", reader)
    _, digest, _ = put(roomy, tmp_path)
    roomy.page_image(digest, 1)
    one = cache_size(tmp_path)
    store = PageStore(tmp_path / "data", reader, cache_bytes=int(4.9 * one))
    for number in range(2, 5):
        store.page_image(digest, number)
    store.page_image(digest, 1)  # used again: number 2 is now the oldest
    store.page_image(digest, 5)
    assert cache_size(tmp_path) <= 4.9 * one
    reader.calls.clear()
    store.page_image(digest, 1)
    assert reader.calls == []
    store.page_image(digest, 2)
    assert len(reader.calls) == 1


def test_a_cache_of_nothing_keeps_nothing(tmp_path, reader):
    store = PageStore(tmp_path / "data", reader, cache_bytes=0)
    _, digest, _ = put(store, tmp_path)
    store.page_image(digest, 1)
    assert store.n_images(digest) == 0


def test_an_image_rendered_while_its_source_goes_is_not_left_behind(tmp_path):
    class Releasing(CountingReader):
        def render(self, *args, **kwargs):
            page = super().render(*args, **kwargs)
            store.release_source(digest)
            return page

    store = PageStore(tmp_path / "data", Releasing())
    _, digest, _ = put(store, tmp_path)
    store.page_image(digest, 1)
    assert files_below(tmp_path / "data") == []


def test_many_readers_of_a_cache_that_is_too_small_see_right_pixels(tmp_path, reader):
    store = PageStore(tmp_path / "data", reader, cache_bytes=12_000)
    _, digest, _ = put(store, tmp_path)
    wrong = []

    def look(start: int) -> None:
        for number in range(start, start + 40):
            page = 1 + number % 7
            expected = CountingReader().render(Path(), page, dpi=150, max_px=1).image
            if store.page_image(digest, page).image.tobytes() != expected.tobytes():
                wrong.append(page)

    threads = [threading.Thread(target=look, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cache_size(tmp_path) <= 12_000
