"""Boxes of patches against each family's own processor and model: a block drawn on the page reddens
the pixels of exactly the rows whose boxes it covers, and moves exactly those rows of the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch", reason="needs torch: make test-torch")

import numpy as np
import torch
from PIL import Image

from rag.encoders.patch_layout import FAMILIES, patch_layout
from rag.encoders.torchvision_guard import ensure_torchvision
from rag.geometry import Box
from rag.scoring.pool import grid_rows
from rag.testing.checkpoints import make_checkpoint
from rag.types import MultiVector, VectorKind

ensure_torchvision()
import colpali_engine.models as engine

SHAPES = {
    "portrait": (620, 877),
    "landscape": (877, 620),
    "square": (600, 600),
    "1:8": (150, 1200),
    "8:1": (1200, 150),
}
TILED = ("ColIdefics3", "ColModernVBert")
PX_PER_PT = 2.0


# --- processors ---------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Of a family, the folder of a checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("untrained")
    return cache(lambda family: make_checkpoint(family, folder / family, trained=False))


def processor_of(checkpoint: Path):
    """Loaded anew, so that a test may change it."""
    name = json.loads((checkpoint / "processor_config.json").read_text())["processor_class"]
    return getattr(engine, name).from_pretrained(checkpoint)


@pytest.fixture(params=[*FAMILIES, *(f"{family} full size" for family in FAMILIES)], scope="module")
def made(request: pytest.FixtureRequest, untrained) -> tuple[str, object]:
    """A family and its processor, of tiny and of released sizes."""
    family, *full = request.param.split(" ", 1)
    processor = processor_of(untrained(family))
    if full:
        enlarge(family, processor)
    return family, processor


def enlarge(family: str, processor) -> None:
    """To the sizes of the released checkpoints."""
    images = processor.image_processor
    if family == "ColPali":
        images.size = {"height": 448, "width": 448}
        images.image_seq_length = processor.image_seq_length = 1024
    elif family == "ColGemma3":
        images.size = {"height": 896, "width": 896}
        processor.image_seq_length = 256
        tokenizer = processor.tokenizer
        picture = f"{tokenizer.boi_token}{tokenizer.image_token * 256}{tokenizer.eoi_token}"
        processor.full_image_sequence = f"\n\n{picture}\n\n"
    elif family in TILED:
        images.size, images.max_image_size = {"longest_edge": 2048}, {"longest_edge": 512}
        processor.image_seq_len = 64
    else:
        cell = (2 * images.patch_size) ** 2
        images.size = {"shortest_edge": 4 * cell, "longest_edge": 768 * cell}


# --- pages --------------------------------------------------------------------------------------
def page(shape: tuple[int, int], block: Box | None = None, colour: str = "red") -> Image.Image:
    image = Image.new("RGB", shape, "white")
    if block is not None:
        image.paste(colour, tuple(round(edge * PX_PER_PT) for edge in block))
    return image


def right_of_and_above_the_centre(shape: tuple[int, int]) -> Box:
    width, height = (side / PX_PER_PT for side in shape)
    return Box(0.55 * width, 0.1 * height, 0.8 * width, 0.3 * height)


def layout(family: str, processor, inputs, shape: tuple[int, int]):
    width, height = (side / PX_PER_PT for side in shape)
    return patch_layout(family, processor, inputs, width_pt=width, height_pt=height)


def levels(family: str, n_patches: int, processor) -> Iterator[slice]:
    """Rows among the patches that show the page once."""
    if family in TILED and n_patches > processor.image_seq_len:
        yield slice(0, n_patches - processor.image_seq_len)
        yield slice(n_patches - processor.image_seq_len, n_patches)
    else:
        yield slice(0, n_patches)


def covered(boxes, block: Box):
    """(n,) which part of each box the block covers."""
    x0, y0, x1, y1 = boxes.T.astype(np.float64)
    across = np.clip(np.minimum(x1, block.x1) - np.maximum(x0, block.x0), 0, None)
    down = np.clip(np.minimum(y1, block.y1) - np.maximum(y0, block.y0), 0, None)
    return across * down / ((x1 - x0) * (y1 - y0))


def reddened(family: str, processor, inputs):
    """(n_image_tokens,) which part of the pixels behind each image token is red, token by token as
    the model merges or shuffles its patches.
    """
    images = processor.image_processor
    pixels = inputs["pixel_values"].double().numpy()
    if family in TILED or family in ("ColPali", "ColGemma3"):
        n_tokens = processor.image_seq_len if family in TILED else processor.image_seq_length
        side = round(n_tokens**0.5)
        frames = pixels.reshape(-1, *pixels.shape[-3:])[:, 1]  # (n_frames, height, width) of green
        cell = frames.shape[-1] // side
        green = frames.reshape(-1, side, cell, side, cell).mean(axis=(2, 4)).ravel()
    else:
        patch, merged = images.patch_size, images.merge_size**2
        green = pixels.reshape(-1, merged, 3, images.temporal_patch_size, patch * patch)
        green = green[:, :, 1].mean(axis=(1, 2, 3))
    return 1 - (green * images.image_std[1] + images.image_mean[1])  # white is 1, red is 0


# --- the processor ------------------------------------------------------------------------------
class Drawn(NamedTuple):
    """A page with a red block, right of and above its centre, and what was made of it."""

    family: str
    processor: Any
    inputs: Any
    block: Box
    boxes: Any
    kinds: Any


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys(), scope="module")
def drawn(request: pytest.FixtureRequest, made) -> Drawn:
    family, processor = made
    block = right_of_and_above_the_centre(request.param)
    inputs = processor.process_images([page(request.param, block)])
    return Drawn(
        family, processor, inputs, block, *layout(family, processor, inputs, request.param)
    )


def test_boxes_tile_the_page_once_a_level_and_rows_are_the_attended_tokens(drawn, request):
    boxes, kinds = drawn.boxes, drawn.kinds
    assert len(boxes) == len(kinds) == int(drawn.inputs["attention_mask"].sum())
    is_patch = kinds == VectorKind.PATCH
    assert set(kinds) == {VectorKind.PATCH, VectorKind.SPECIAL}
    assert not boxes[~is_patch].any()
    patches = boxes[is_patch].astype(np.float64)
    shape = request.node.callspec.params["drawn"]
    width, height = (side / PX_PER_PT for side in shape)
    for level in levels(drawn.family, len(patches), drawn.processor):
        x0, y0, x1, y1 = patches[level].T
        assert min(x0.min(), y0.min()) >= 0
        assert x1.max() <= width * (1 + 1e-6)
        assert y1.max() <= height * (1 + 1e-6)
        across = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
        down = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
        overlaps = (across > 1e-3) & (down > 1e-3)
        assert (overlaps == np.eye(len(x0), dtype=bool)).all()
        assert ((x1 - x0) * (y1 - y0)).sum() == pytest.approx(width * height, rel=1e-3)


def test_a_red_block_reddens_the_pixels_of_the_rows_whose_boxes_it_covers(drawn):
    expected = covered(drawn.boxes[drawn.kinds == VectorKind.PATCH], drawn.block)
    assert expected.max() > 0.3
    # Resizing blurs a pixel at each edge, and the block's own edges are whole pixels.
    red = reddened(drawn.family, drawn.processor, drawn.inputs)
    np.testing.assert_allclose(red, expected, atol=0.12)


def test_a_page_is_pooled_line_by_line_of_each_of_its_grids(drawn):
    boxes, kinds = drawn.boxes, drawn.kinds
    random = np.random.default_rng(0).standard_normal((len(kinds), 4))
    vectors = (random / np.linalg.norm(random, axis=1, keepdims=True)).astype(np.float32)
    pooled = grid_rows(MultiVector(vectors, boxes=boxes, kinds=kinds))
    is_patch = kinds == VectorKind.PATCH
    patches = boxes[is_patch]
    n_lines = sum(
        len(np.unique(patches[level, 1].round(2)))
        for level in levels(drawn.family, len(patches), drawn.processor)
    )
    assert len(pooled) == (~is_patch).sum() + n_lines
    for members in pooled.members:
        assert len(np.unique(kinds[members])) == 1
        assert np.ptp(boxes[members][:, [1, 3]], axis=0).max() < 1e-3
        assert is_patch[members[0]] or len(members) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_one_part_of_a_batch_has_the_layout_it_has_alone(family, untrained):
    processor = processor_of(untrained(family))
    shapes = [SHAPES["portrait"], SHAPES["8:1"]]
    batch = processor.process_images([page(shape) for shape in shapes])
    if family == "ColGemma3":
        assert batch["input_ids"].shape[0] == 2  # its pages are of one length, never padded
    for place, shape in enumerate(shapes):
        part = {
            name: batch[name][place]
            for name in ("input_ids", "attention_mask", "image_grid_thw")
            if name in batch
        }
        alone = layout(family, processor, processor.process_images([page(shape)]), shape)
        for expected, got in zip(alone, layout(family, processor, part, shape), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("family", TILED)
def test_tiles_whose_names_are_no_tokens_of_their_own_are_found(family, untrained):
    processor = processor_of(untrained(family))
    tile = processor.image_processor.max_image_size["longest_edge"]
    processor.image_processor.size = {"longest_edge": 7 * tile}  # names go to 4 a side
    assert "<row_7_col_1>" not in processor.tokenizer.get_vocab()
    shape, block = (600, 877), Box(20, 300, 120, 340)
    inputs = processor.process_images([page(shape, block)])
    assert inputs["pixel_values"].shape[1] == 7 * 5 + 1
    boxes, kinds = layout(family, processor, inputs, shape)
    expected = covered(boxes[kinds == VectorKind.PATCH], block)
    np.testing.assert_allclose(reddened(family, processor, inputs), expected, atol=0.12)


@pytest.mark.parametrize("shape", [SHAPES["1:8"], SHAPES["8:1"]], ids=["1:8", "8:1"])
def test_crops_of_pan_and_scan_have_their_places(shape, untrained):
    processor = processor_of(untrained("ColGemma3"))
    processor.images_kwargs = {
        **processor.images_kwargs,
        "do_pan_and_scan": True,
        "pan_and_scan_min_crop_size": 100,
    }
    block = right_of_and_above_the_centre(shape)
    inputs = processor.process_images([page(shape, block)])
    assert inputs["pixel_values"].shape[0] == 1 + 4
    boxes, kinds = layout("ColGemma3", processor, inputs, shape)
    expected = covered(boxes[kinds == VectorKind.PATCH], block)
    np.testing.assert_allclose(reddened("ColGemma3", processor, inputs), expected, atol=0.12)


# --- the model ----------------------------------------------------------------------------------
def without_mixing(family: str, checkpoint: Path):
    """A model whose image tower hands each patch on by itself: attention adds nothing to it."""
    model = getattr(engine, family).from_pretrained(checkpoint).eval()
    silenced = 0
    for name, part in model.named_modules():
        if name.endswith(".attn.proj") or (
            "vision" in name and name.endswith(".self_attn.out_proj")
        ):
            torch.nn.init.zeros_(part.weight)
            silenced += 1
    assert silenced == 2  # one a layer
    for name, weight in model.named_parameters():
        if name.endswith("mm_input_projection_weight"):  # Gemma's begins as zeros, and sees nothing
            torch.nn.init.normal_(weight)
    return model


def rows_before_the_language_model(model, inputs):
    """(n_pages, n_rows, hidden) what its first layer is given: image features in their places."""
    *_, language_model = (part for part in model.modules() if hasattr(part, "layers"))
    found = []

    def keep(_, args, kwargs):
        found.append(args[0] if args else kwargs["hidden_states"])

    handle = language_model.layers[0].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with torch.inference_mode():
            model(**inputs)
    finally:
        handle.remove()
    return found[0].double().numpy()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "shape", [SHAPES["portrait"], SHAPES["landscape"]], ids=["portrait", "landscape"]
)
def test_what_is_drawn_in_a_box_moves_the_rows_that_look_there(family, shape, untrained):
    model = without_mixing(family, untrained(family))
    processor = processor_of(untrained(family))
    white = processor.process_images([page(shape)])
    boxes, kinds = layout(family, processor, white, shape)
    patches = boxes[kinds == VectorKind.PATCH]
    finest = next(levels(family, len(patches), processor))
    blocks = [Box(*map(float, patches[index])) for index in range(finest.stop)[3::11]]
    pages = [page(shape), *(page(shape, block, "black") for block in blocks)]
    rows = rows_before_the_language_model(model, processor.process_images(pages))
    moved = np.linalg.norm(rows[1:] - rows[:1], axis=2)  # (n_blocks, n_rows)
    assert not moved[:, kinds == VectorKind.SPECIAL].any()
    for block, by_row in zip(blocks, moved[:, kinds == VectorKind.PATCH], strict=True):
        expected = covered(patches, block)
        for level in levels(family, len(patches), processor):
            looks_there = expected[level].argmax()
            others = np.delete(by_row[level], looks_there)
            assert by_row[level][looks_there] > 2 * others.max()
