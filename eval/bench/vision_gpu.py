"""A vision encoder on this GPU: pages a second, their share of its arithmetic, its memory.

A model with ColQwen2's layers and random weights in bf16, through the encoder that ingests use.
Small models are held to float32 on the CPU first: what is wrong gets no time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from eval.bench.vision import a4_page
from eval.bench.vision_models import MODELS, FlopCounter, full_size
from ingestion.pipeline import Pipeline
from rag.encoders.colpali import ColPaliEncoder
from rag.encoders.colpali_families import FAMILIES
from rag.page_text import PageText
from rag.ports import EncodedPage, EncoderIdentity, PageEncoder, PageInput
from rag.scoring.fde import FdeEncoder
from rag.scoring.packed import PackedRows, Storage
from rag.settings import Settings
from rag.testing.tiny_models import build
from rag.types import Json, PageRef, RenderedPage
from rag.wiring import fde_spec

GOALS = {"compute_share": 0.4, "encode_busy": 0.9}
_MODEL = "colqwen2"
_BATCHES = (1, 4, 8, 16, 32)
_N_PAGES = 64
_N_IMAGES = 16  # pages of one batch on its way through an ingest
_A4_PT = (595.0, 842.0)
_FAMILIES = {family.name: family for family in FAMILIES}
# Two layers of 64 dimensions in bf16 against float32: cosine of each row with itself.
_LEAST_COSINE = 0.98


def check(device: str) -> dict[str, str]:
    """What is wrong, by name: a small model's rows in bf16 here against float32 on the CPU."""
    wrong: dict[str, str] = {}
    for family in ("ColQwen2", "ColIdefics3"):
        model, processor = build(family, seed=0)
        pages = _pages(3)
        reference = _rows(_encoder(model.float(), processor, family, batch_size=1), pages)
        for dtype, least in ((torch.float32, 0.9999), (torch.bfloat16, _LEAST_COSINE)):
            here = model.to(device=device, dtype=dtype)
            found = _rows(_encoder(here, processor, family, batch_size=3), pages)
            for rows, wanted in zip(found, reference, strict=True):
                cosine = float((rows * wanted).sum(axis=1).min())
                if cosine < least:
                    wrong[f"{family} {dtype}"] = f"a row has cosine {cosine:.4f} to float32 on CPU"
            model = model.to(device="cpu", dtype=torch.float32)
    return wrong


def measure(device: str, limits: Mapping[str, float], say: Callable[[str], object]) -> Json:
    """Pages a second by batch size, the share of the peak, memory; best of three passes each."""
    model, processor = full_size(_MODEL, device=device, dtype=torch.bfloat16)
    pages = _pages(_N_PAGES)
    found: Json = {
        "like": MODELS[_MODEL].like,
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "weights_bytes": torch.cuda.memory_allocated(),
        "batches": {},
    }
    encoder = _encoder(model, processor, MODELS[_MODEL].family, batch_size=1)
    with FlopCounter(model) as counter:
        found["rows"] = len(_rows(encoder, pages[:1])[0])
    found["tflop_per_page"] = round(sum(counter.flops.values()) / 1e12, 4)
    for batch in _BATCHES:
        encoder = _encoder(model, processor, MODELS[_MODEL].family, batch_size=batch)
        torch.cuda.reset_peak_memory_stats()
        encoder.encode_pages(pages[: 2 * batch])
        seconds = []
        for _ in range(3):
            torch.cuda.synchronize()
            start = time.perf_counter()
            encoder.encode_pages(pages)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        rate = len(pages) / min(seconds)
        figures = {
            "pages_s": round(rate, 2),
            "compute_share": round(rate * found["tflop_per_page"] * 1e12 / limits["bf16_ops_s"], 3),
            "peak_bytes": torch.cuda.max_memory_allocated(),
            "batch_used": encoder.batch_size,
        }
        found["batches"][batch] = figures
        say(f"vision, batch {batch}: {figures}")
    found["forward"] = _forward_alone(model, processor, limits, found["tflop_per_page"])
    say(f"vision, forward alone: {found['forward']}")
    best = max(found["batches"], key=lambda batch: found["batches"][batch]["pages_s"])
    encoder = _encoder(model, processor, MODELS[_MODEL].family, batch_size=best)
    found["pipeline"] = pipeline(encoder, _pages(4 * _N_PAGES))
    say(f"vision, pipeline: {found['pipeline']}")
    found["goals"] = {
        "compute_share": found["batches"][best]["compute_share"] >= GOALS["compute_share"],
        "encode_busy": found["pipeline"]["encode_busy"] >= GOALS["encode_busy"],
    }
    return found


class _Batch(list[PageInput]):
    """Pages on their way, and their records."""

    encoded: list[EncodedPage]
    records: int = 0


def pipeline(encoder: PageEncoder, pages: Sequence[PageInput]) -> Json:
    """How busy the encoder is while FDEs are made and rows packed beside it, as in an ingest."""
    dim = encoder.identity.dim
    fde = FdeEncoder(fde_spec(Settings().fde, dim=dim))

    def encode(batch: _Batch) -> None:
        batch.encoded = encoder.encode_pages(batch)

    def record(batch: _Batch) -> None:
        rows = [page.patches.vectors for page in batch.encoded]
        fde.encode_pages(rows)
        for storage in (Storage.INT8, Storage.BITS, Storage.FP16):
            PackedRows.pack(rows, storage)
        batch.records = len(rows)

    batches = (_Batch(pages[at : at + _N_IMAGES]) for at in range(0, len(pages), _N_IMAGES))
    stages = {"encode": encode, "record": record}
    start = time.perf_counter()
    with Pipeline(batches, stages, stopping=threading.Event()) as running:
        done = sum(batch.records for batch in running)
        wall_s = time.perf_counter() - start
        busy = dict(running.busy_s)
    return {
        "pages": done,
        "pages_s": round(done / wall_s, 2),
        "encode_busy": round(busy["encode"] / wall_s, 3),
        "record_busy": round(busy["record"] / wall_s, 3),
    }


def _forward_alone(
    model: Any, processor: Any, limits: Mapping[str, float], tflop_per_page: float
) -> Json:
    """The model on inputs that lie on the device: what preprocessing and copies add is the rest."""
    inputs = processor.process_images([page.image.image for page in _pages(16) if page.image])
    on_device = {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        for name, value in inputs.items()
    }
    seconds = []
    with torch.inference_mode():
        for _ in range(5):
            torch.cuda.synchronize()
            start = time.perf_counter()
            model(**on_device)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    rate = 16 / min(seconds)
    return {
        "pages_s": round(rate, 2),
        "compute_share": round(rate * tflop_per_page * 1e12 / limits["bf16_ops_s"], 3),
    }


def _encoder(model: Any, processor: Any, family: str, *, batch_size: int) -> ColPaliEncoder:
    dim = int(model.dim)
    return ColPaliEncoder(
        model,
        processor,
        _FAMILIES[family],
        identity=EncoderIdentity("colpali", "random", dim, dim),
        batch_size=batch_size,
    )


def _rows(encoder: ColPaliEncoder, pages: Sequence[PageInput]) -> list[Any]:
    return [page.patches.vectors for page in encoder.encode_pages(pages)]


def _pages(n: int) -> list[PageInput]:
    """Sheets of A4 at 150 DPI, each a little different."""
    sheet = np.asarray(a4_page())
    rng = np.random.default_rng(0)
    made = []
    for number in range(1, n + 1):
        shifted = Image.fromarray(np.roll(sheet, int(rng.integers(0, 200)), axis=0))
        made.append(
            PageInput(
                PageRef("made-up", number),
                *_A4_PT,
                PageText.empty(),
                RenderedPage(shifted, *_A4_PT),
            )
        )
    return made
