"""Fingerprints of encoders: known again through noise, told apart from other weights."""

import numpy as np
import pytest

from rag.errors import IndexMismatch
from rag.manifest import Manifest
from rag.scoring.fingerprint import fingerprint, is_same_fingerprint

N_ROWS = (12, 700, 1, 90)


def _items(seed: int, *, dim: int = 128) -> list[np.ndarray]:
    """Unit rows around a common direction, as those of trained encoders are."""
    random = np.random.default_rng(seed)
    common = random.standard_normal(dim)
    found = []
    for n_rows in N_ROWS:
        rows = common + random.standard_normal(dim) + random.standard_normal((n_rows, dim))
        found.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))
    return found


def _noisy(items: list[np.ndarray], size: float, *, seed: int = 9) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    moved = [
        rows
        + size
        * np.linalg.norm(rows, axis=1, keepdims=True)
        * random.standard_normal(rows.shape)
        / np.sqrt(rows.shape[1])
        for rows in items
    ]
    return [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in moved]


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_a_batch_or_a_precision_keeps_it(seed: int) -> None:
    items = _items(seed)
    for size in (1e-3, 1e-2, 4e-2):
        assert is_same_fingerprint(fingerprint(items), fingerprint(_noisy(items, size)))


@pytest.mark.parametrize("seed", range(20))
def test_other_weights_change_it(seed: int) -> None:
    items = _items(seed)
    assert not is_same_fingerprint(fingerprint(items), fingerprint(_items(seed + 100)))
    assert not is_same_fingerprint(fingerprint(items), fingerprint(_noisy(items, 1.0)))
    swapped = [items[1], items[0], *items[2:]]
    assert not is_same_fingerprint(fingerprint(items), fingerprint(swapped))


def test_one_item_changed_is_enough() -> None:
    items = _items(0)
    changed = [*items[:-1], _items(1)[-1]]
    assert not is_same_fingerprint(fingerprint(items), fingerprint(changed))


def test_it_is_short_and_the_same_every_time() -> None:
    text = fingerprint(_items(0))
    assert text == fingerprint(_items(0))
    assert len(text) == 128


@pytest.mark.parametrize("broken", ["", "not base64!", "AAAA", "A" * 128, "\N{SNOWMAN}"])
def test_a_damaged_one_is_nobodys(broken: str) -> None:
    assert not is_same_fingerprint(broken, fingerprint(_items(0)))
    assert not is_same_fingerprint(broken, broken)


def test_a_collection_takes_its_encoder_back_through_noise_and_no_other(tmp_path) -> None:
    def identity(items: list[np.ndarray]) -> dict:
        return {"encoder": "remote@m", "encoder.fingerprint": fingerprint(items)}

    manifest = Manifest.in_folder(tmp_path)
    manifest.ensure_collection("default", identity(_items(0)))
    manifest.ensure_collection("default", identity(_noisy(_items(0), 1e-2)))
    with pytest.raises(IndexMismatch, match=r"holds encoder\.fingerprint \S{8}\.\.\."):
        manifest.ensure_collection("default", identity(_items(1)))
    with pytest.raises(IndexMismatch, match=r"settings ask for encoder\.fingerprint None"):
        manifest.ensure_collection("default", {"encoder": "remote@m"})
    manifest.close()
