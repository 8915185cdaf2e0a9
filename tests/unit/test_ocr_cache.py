"""Words read by OCR are found again for an equal page, within bounds, and go with their file."""

import numpy as np
import pytest

from rag.ocr.cache import FOLDER, OcrCache, forget_file, page_key
from rag.page_text import PageText

KEY = page_key("hash", identity="tesseract 5", dpi=150.0)
ONE, OTHER = "1" * 64, "2" * 64
SEEN = "a" * 64  # the pixels that were read


def text(word: str = "wheat") -> PageText:
    return PageText(
        (word,),
        np.array([[1, 2, 3, 4]], np.float32),
        np.zeros(1, np.int32),
        np.full(1, 9, np.float32),
        np.zeros(1, np.bool_),
        np.array([0.75], np.float32),
    )


@pytest.fixture
def cache(tmp_path):
    return OcrCache(tmp_path / FOLDER, 10_000)


def files(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_put_is_there_with_its_confidences(cache):
    assert cache.get(KEY, ONE) is None
    cache.put(KEY, SEEN, ONE, text())
    found = cache.get(KEY, ONE)
    assert found is not None
    assert (found.words, found.boxes.tolist()) == (("wheat",), [[1, 2, 3, 4]])
    assert found.confidences.tolist() == [0.75]


def test_pages_without_words_are_not_read_again(cache):
    cache.put(KEY, SEEN, ONE, PageText.empty())
    assert len(cache.get(KEY, ONE)) == 0


@pytest.mark.parametrize(
    ("identity", "dpi"), [("tesseract 6", 150.0), ("tesseract 5", 151.0)], ids=["engine", "dpi"]
)
def test_another_engine_or_resolution_is_another_entry(cache, identity, dpi):
    cache.put(KEY, SEEN, ONE, text())
    assert cache.get(page_key("hash", identity=identity, dpi=dpi), ONE) is None


def test_an_equal_page_of_another_file_is_told_with_its_pixels_and_stays_when_the_first_goes(
    cache, tmp_path
):
    cache.put(KEY, SEEN, ONE, text())
    assert cache.get(KEY, OTHER) is None
    assert cache.of_others(KEY)[SEEN].words == ("wheat",)
    cache.put(KEY, SEEN, OTHER, text())
    forget_file(tmp_path, ONE)
    assert cache.get(KEY, OTHER) is not None
    forget_file(tmp_path, OTHER)
    assert cache.get(KEY, OTHER) is None
    assert files(tmp_path) == []


def test_pages_that_look_alike_small_and_are_not_keep_their_own_words(cache):
    cache.put(KEY, SEEN, ONE, text("wheat"))
    cache.put(KEY, "b" * 64, OTHER, text("barley"))
    assert cache.get(KEY, ONE).words == ("wheat",)
    assert cache.get(KEY, OTHER).words == ("barley",)
    assert {digest: found.words for digest, found in cache.of_others(KEY).items()} == {
        SEEN: ("wheat",),
        "b" * 64: ("barley",),
    }


@pytest.mark.parametrize("damage", [b"", b"no such thing", None], ids=["empty", "other", "a bit"])
def test_a_damaged_entry_is_none_and_is_written_anew(cache, tmp_path, damage):
    cache.put(KEY, SEEN, ONE, text())
    (path,) = files(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw) if damage is None else damage)
    assert cache.get(KEY, ONE) is None
    cache.put(KEY, SEEN, ONE, text())
    assert cache.get(KEY, ONE) is not None


def test_the_longest_unused_go_when_the_bound_is_reached(tmp_path):
    cache = OcrCache(tmp_path / FOLDER, 2_000)
    keys = [page_key(str(n), identity="x", dpi=150.0) for n in range(60)]
    for key in keys:
        cache.put(key, SEEN, ONE, text())
        assert cache.get(keys[0], ONE) is not None  # used again and again
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 2_000
    assert cache.get(keys[-1], ONE) is not None
    assert cache.get(keys[1], ONE) is None


def test_nothing_is_kept_where_nothing_may_be(tmp_path):
    cache = OcrCache(tmp_path / FOLDER, 0)
    cache.put(KEY, SEEN, ONE, text())
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_makes_pages_slow_and_not_wrong(tmp_path):
    (tmp_path / FOLDER).write_text("a file stands here", encoding="ascii")
    cache = OcrCache(tmp_path / FOLDER, 10_000)
    cache.put(KEY, SEEN, ONE, text())
    assert cache.get(KEY, ONE) is None
