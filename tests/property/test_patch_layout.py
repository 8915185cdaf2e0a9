"""Where patches look, from made-up model input: boxes tile the page, rows stay in order, and counts
that do not fit are refused.
"""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.encoders.colpali_families import FAMILIES as READ
from rag.encoders.patch_layout import FAMILIES, PatchGrid, patch_layout
from rag.errors import ConfigError, ModelFailed
from rag.types import VectorKind

IMAGE, PAD, TEXT = 1, 0, 50  # and ids above TEXT are words of a prompt
TILE = 1000  # TILE + 10 * row + column is the name of a tile

sides_pt = st.floats(20, 5000)
lengths = st.integers(1, 12)
asides = st.integers(0, 4)  # rows of the prompt before or after


def assert_tile_the_page(boxes, width_pt: float, height_pt: float) -> None:
    x0, y0, x1, y1 = boxes.T.astype(np.float64)
    slack = 1e-4 * max(width_pt, height_pt)
    assert min(x0.min(), y0.min()) >= 0
    assert x1.max() <= width_pt + slack
    assert y1.max() <= height_pt + slack
    assert min((x1 - x0).min(), (y1 - y0).min()) > 0
    across = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
    down = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
    overlaps = (across > slack) & (down > slack)
    assert (overlaps == np.eye(len(boxes), dtype=bool)).all()
    # Inside, without an overlap, and of the page's whole area: they cover it.
    assert ((x1 - x0) * (y1 - y0)).sum() == pytest.approx(width_pt * height_pt, rel=1e-3)


class NamedTiles:
    """Decodes as a tokenizer whose names of tiles are tokens."""

    def decode(self, ids: list[int]) -> str:
        return "".join(
            f"<row_{(each - TILE) // 10}_col_{(each - TILE) % 10}>" if each > TILE else " word"
            for each in ids
        )


def page_of(*spans: int, names=(), before: int = 2, after: int = 3, **more):
    """Model input of one page: runs of image tokens, each after its name or a word."""
    ids = [TEXT] * before
    for place, length in enumerate(spans):
        ids += [names[place] if place < len(names) else TEXT, *[IMAGE] * length]
    ids += [TEXT] * after
    return {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), int), **more}


def processor(**attributes):
    return SimpleNamespace(image_token_id=IMAGE, **attributes)


QWEN = processor(image_processor=SimpleNamespace(merge_size=2))


def qwen_page(n_rows: int, n_columns: int, **more):
    grid = np.array([[1, 2 * n_rows, 2 * n_columns]])
    return page_of(n_rows * n_columns, image_grid_thw=grid, **more)


def tiled_page(n_rows: int, n_columns: int, *, tokens: int, **more):
    names = [TILE + 10 * (r + 1) + c + 1 for r in range(n_rows) for c in range(n_columns)]
    return page_of(*[tokens] * (len(names) + 1), names=names, **more)


def tiled(tokens: int):
    return processor(image_seq_len=tokens, tokenizer=NamedTiles())


# --- worked numbers -----------------------------------------------------------------------------
def test_a_grid_goes_along_each_row_from_the_top() -> None:
    assert PatchGrid(2, 3).boxes(30, 40).tolist() == [
        [0, 0, 10, 20],
        [10, 0, 20, 20],
        [20, 0, 30, 20],
        [0, 20, 10, 40],
        [10, 20, 20, 40],
        [20, 20, 30, 40],
    ]


def test_tiles_of_a_wide_page_come_before_the_whole_page() -> None:
    page = tiled_page(1, 2, tokens=4, before=0, after=0)
    boxes, kinds = patch_layout("ColIdefics3", tiled(4), page, width_pt=80, height_pt=20)
    assert boxes[kinds == VectorKind.PATCH].tolist() == [
        *([0, 0, 20, 10], [20, 0, 40, 10], [0, 10, 20, 20], [20, 10, 40, 20]),
        *([40, 0, 60, 10], [60, 0, 80, 10], [40, 10, 60, 20], [60, 10, 80, 20]),
        *([0, 0, 40, 10], [40, 0, 80, 10], [0, 10, 40, 20], [40, 10, 80, 20]),
    ]
    assert boxes[kinds == VectorKind.SPECIAL].tolist() == [[0, 0, 0, 0]] * 3


# --- laws ---------------------------------------------------------------------------------------
@given(n_rows=st.integers(1, 40), n_columns=st.integers(1, 40), width=sides_pt, height=sides_pt)
def test_cells_of_a_grid_tile_the_page(n_rows, n_columns, width, height) -> None:
    boxes = PatchGrid(n_rows, n_columns).boxes(width, height)
    assert boxes.shape == (n_rows * n_columns, 4)
    assert boxes.dtype == np.float32
    assert_tile_the_page(boxes, width, height)


@given(
    n_rows=lengths, n_columns=lengths, width=sides_pt, height=sides_pt, before=asides, after=asides
)
def test_merged_patches_tile_the_page_between_the_prompts_rows(
    n_rows, n_columns, width, height, before, after
) -> None:
    page = qwen_page(n_rows, n_columns, before=before, after=after)
    boxes, kinds = patch_layout("ColQwen2", QWEN, page, width_pt=width, height_pt=height)
    is_image = page["input_ids"][0] == IMAGE
    assert len(boxes) == len(kinds) == len(is_image)
    assert (kinds == np.where(is_image, VectorKind.PATCH, VectorKind.SPECIAL)).all()
    assert not boxes[~is_image].any()
    np.testing.assert_array_equal(
        boxes[is_image], PatchGrid(n_rows, n_columns).boxes(width, height)
    )


@given(
    n_rows=st.integers(1, 5),
    n_columns=st.integers(1, 5),
    side=st.integers(1, 4),
    width=sides_pt,
    height=sides_pt,
)
def test_tiles_tile_the_page_and_so_does_the_whole_page_after_them(
    n_rows, n_columns, side, width, height
) -> None:
    page = tiled_page(n_rows, n_columns, tokens=side**2)
    boxes, kinds = patch_layout(
        "ColModernVBert", tiled(side**2), page, width_pt=width, height_pt=height
    )
    patches = boxes[kinds == VectorKind.PATCH]
    assert_tile_the_page(patches[: -(side**2)], width, height)
    np.testing.assert_array_equal(patches[-(side**2) :], PatchGrid(side, side).boxes(width, height))


@given(n_crops=st.integers(2, 4), width=sides_pt, height=sides_pt)
def test_crops_tile_the_page_along_its_longer_side(n_crops, width, height) -> None:
    gemma = processor(image_seq_length=16, tokenizer=SimpleNamespace(image_token_id=IMAGE))
    page = page_of(*[16] * (1 + n_crops))
    boxes, kinds = patch_layout("ColGemma3", gemma, page, width_pt=width, height_pt=height)
    whole, crops = np.split(boxes[kinds == VectorKind.PATCH], [16])
    assert_tile_the_page(whole, width, height)
    assert_tile_the_page(crops, width, height)
    first = crops[:16].max(axis=0)[2:]
    expected = (width / n_crops, height) if width >= height else (width, height / n_crops)
    np.testing.assert_allclose(first, expected, rtol=1e-5)


@given(n_rows=lengths, n_columns=lengths, left=asides, right=asides)
def test_padding_rows_are_left_out_on_either_side(n_rows, n_columns, left, right) -> None:
    page = qwen_page(n_rows, n_columns)
    bare = patch_layout("ColQwen3", QWEN, page, width_pt=100, height_pt=100)
    padded = {
        **page,
        "input_ids": np.pad(page["input_ids"], ((0, 0), (left, right)), constant_values=PAD),
        "attention_mask": np.pad(page["attention_mask"], ((0, 0), (left, right))),
    }
    found = patch_layout("ColQwen3", QWEN, padded, width_pt=100, height_pt=100)
    for expected, got in zip(bare, found, strict=True):
        np.testing.assert_array_equal(got, expected)


# --- what is refused ----------------------------------------------------------------------------
@pytest.mark.parametrize("tokens", [5, 7, 0])
def test_another_number_of_image_tokens_than_cells_is_refused_with_both(tokens) -> None:
    page = page_of(tokens, image_grid_thw=np.array([[1, 4, 6]]))
    with pytest.raises(ModelFailed, match=rf"6 cells .* {tokens} image tokens") as failed:
        patch_layout("ColQwen2_5", QWEN, page, width_pt=10, height_pt=10)
    assert failed.value.code == "patch_grid_mismatch"


def test_a_token_moved_from_one_tile_to_the_next_is_refused() -> None:
    page = page_of(4, 3, 5, names=[TILE + 11, TILE + 12])  # 12 in all, as in a right page
    with pytest.raises(ModelFailed) as failed:
        patch_layout("ColIdefics3", tiled(4), page, width_pt=10, height_pt=10)
    assert failed.value.code == "patch_grid_mismatch"


@pytest.mark.parametrize(
    "names",
    [
        [TILE + 11, TILE + 22],  # two are missing
        [TILE + 11, TILE + 21, TILE + 12, TILE + 22],  # down first
        [TILE + 11, TILE + 12, TILE + 22, TILE + 21],
    ],
)
def test_tiles_in_another_order_than_row_by_row_are_refused(names) -> None:
    page = page_of(*[4] * (len(names) + 1), names=names)
    with pytest.raises(ModelFailed, match="tiles") as failed:
        patch_layout("ColIdefics3", tiled(4), page, width_pt=10, height_pt=10)
    assert failed.value.code == "patch_grid_mismatch"


@pytest.mark.parametrize(
    ("family", "made_by", "page"),
    [
        ("ColPali", processor(image_seq_length=8), page_of(8)),
        ("ColPali", processor(image_seq_length=0), page_of(0)),
        ("ColQwen2", QWEN, page_of(4)),
        ("ColQwen2", QWEN, page_of(3, image_grid_thw=np.array([[1, 3, 4]]))),
        ("ColQwen2", QWEN, page_of(8, image_grid_thw=np.array([[2, 4, 4]]))),
        ("ColQwen2", QWEN, page_of(8, image_grid_thw=np.array([[1, 4, 4], [1, 4, 4]]))),
    ],
    ids=["no square", "no token", "no grid", "half a cell", "two pictures", "two pages"],
)
def test_what_makes_no_grid_is_refused(family, made_by, page) -> None:
    with pytest.raises(ModelFailed) as failed:
        patch_layout(family, made_by, page, width_pt=10, height_pt=10)
    assert failed.value.code == "patch_grid_mismatch"


def test_a_batch_is_refused() -> None:
    page = qwen_page(2, 2)
    two = {**page, "attention_mask": np.repeat(page["attention_mask"], 2, axis=0)}
    with pytest.raises(ModelFailed, match=re.escape("one page")):
        patch_layout("ColQwen2", QWEN, two, width_pt=10, height_pt=10)


def test_another_family_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="ColFuture") as failed:
        patch_layout("ColFuture", QWEN, qwen_page(2, 2), width_pt=10, height_pt=10)
    assert all(family in failed.value.next_step for family in FAMILIES)


def test_places_are_known_of_the_families_that_are_read():
    assert set(FAMILIES) == {family.name for family in READ}
