"""Ingests of an encoder that looks at pixels, when its process or its device fails."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from crashing_encoders import Crashing, Failing
from fakes import GridEncoder
from PIL import Image

from rag.apps.service import Service
from rag.encoders.process import EncoderProcess
from rag.errors import ModelFailed
from rag.ports import EncodedPage, PageEncoder, PageInput
from rag.settings import load_settings
from rag.testing import make_pdf
from rag.types import Json, Principal
from rag.wiring import Engine


@pytest.fixture
def ingest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Json, list]]:
    """Ingest the files of a folder with an encoder; the totals, and every event."""

    def ingested(encoder: PageEncoder, batch_pages: int = 2) -> tuple[Json, list[Json]]:
        settings = load_settings(
            overrides={
                "store": {"data_dir": tmp_path / "data", "batch_pages": batch_pages},
                "render": {"workers": 1, "dpi": 40},
            },
            environ={},
        )
        monkeypatch.setattr("rag.wiring.engine.load_encoder", lambda _: encoder)
        told: list[Json] = []
        with Engine(settings) as engine:
            totals = Service(engine, Principal.owner()).ingest(
                paths=[tmp_path / "docs"], collection="c", on_event=told.append
            )
        return totals, told

    (tmp_path / "docs").mkdir()
    return ingested


def write(tmp_path: Path, **documents: int) -> None:
    for name, n_pages in documents.items():
        path = tmp_path / "docs" / f"{name}.pdf"
        path.write_bytes(make_pdf([f"# {name} {n}" for n in range(1, n_pages + 1)]))


def states(told: Sequence[Json]) -> dict[str, Any]:
    return {event["source"]: event["state"] for event in told if event["event"] == "document"}


def test_a_page_that_ends_the_encoder_fails_alone(tmp_path: Path, ingest: Any) -> None:
    write(tmp_path, a=4, b=1)
    totals, told = ingest(EncoderProcess(partial(Crashing, (3,))))
    assert states(told) == {"a.pdf": "partial", "b.pdf": "indexed"}
    [first, _] = [event for event in told if event["event"] == "document"]
    assert first["failed_pages"] == [{"page_number": 3, "reason": "page_crashes_encoder"}]
    assert totals["pages"] == {"indexed": 4, "blank": 0, "failed": 1}


@pytest.mark.parametrize(
    ("load", "restarts", "code"),
    [
        (Failing, 3, "gpu_lost"),
        (partial(Failing, gpu_lost_at=-1, memory_at=1), 3, "out_of_memory"),
        (partial(Crashing, range(100)), 1, "encoder_crashed"),
    ],
)
def test_what_no_other_page_would_survive_ends_the_ingest_and_the_next_goes_on(
    tmp_path: Path, ingest: Any, load: Any, restarts: int, code: str
) -> None:
    write(tmp_path, a=3)
    ingest(GridEncoder())
    write(tmp_path, b=4)
    with pytest.raises(ModelFailed) as caught:
        ingest(EncoderProcess(load, restarts=restarts))
    assert caught.value.code == code
    seen: list[int] = []
    totals, told = ingest(Noting(seen))
    assert states(told) == {"a.pdf": "unchanged", "b.pdf": "indexed"}
    assert seen == [1, 2, 3, 4]
    assert totals["pages"]["indexed"] == 4


def test_pages_that_were_acknowledged_are_not_encoded_again(tmp_path: Path, ingest: Any) -> None:
    write(tmp_path, a=6)
    with pytest.raises(ModelFailed):
        ingest(EncoderProcess(partial(Crashing, (5,)), restarts=0))
    seen: list[int] = []
    _, told = ingest(Noting(seen))
    assert states(told) == {"a.pdf": "indexed"}
    # What was encoded and not stored yet when the crash stopped the ingest is encoded again.
    assert seen in ([5, 6], [3, 4, 5, 6], [1, 2, 3, 4, 5, 6])


class Noting(GridEncoder):
    """Remembers what it was given, and how many pictures were in memory meanwhile."""

    def __init__(self, seen: list[int]) -> None:
        self._seen = seen
        self._images: list[weakref.ref[Image.Image]] = []
        self.most_alive = 0

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        self._seen += [page.ref.page_number for page in pages]
        self._images += [weakref.ref(page.image.image) for page in pages if page.image is not None]
        gc.collect()
        self.most_alive = max(self.most_alive, sum(ref() is not None for ref in self._images))
        return super().encode_pages(pages)


def test_pictures_are_let_go_of_once_they_are_encoded(tmp_path: Path, ingest: Any) -> None:
    write(tmp_path, a=37, b=5)
    encoder = Noting([])
    totals, told = ingest(encoder, batch_pages=64)
    assert totals["pages"]["indexed"] == 42
    assert encoder.most_alive <= 16, "a batch of pictures has 16 pages, whatever is stored at once"
    done = [event["pages_done"] for event in told if event["event"] == "progress"]
    assert done == [0, 16, 32, 37, 0, 5]
