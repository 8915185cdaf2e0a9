"""What the process of an encoder does: load it, then answer one request after the other.

The process may crash or be ended at any time; `process.py` is the other side. Pixels go through the
pipe as they are, page after page: pickled together they take three times as long.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from PIL import Image

from rag.errors import ModelFailed, RagError
from rag.ports import EncoderIdentity, PageEncoder, PageInput
from rag.process_failures import Failure, may_be_lost
from rag.processes import end_with_parent
from rag.types import RenderedPage


@dataclass(frozen=True)
class Loaded:
    """What the process says when the model answers.

    Attributes:
        devices: of CUDA_VISIBLE_DEVICES, one for each GPU that could have a process like this one.
    """

    identity: EncoderIdentity
    wants_image: bool
    devices: tuple[str, ...]


def failure_of(error: Exception) -> Failure:
    """An error on its way through the pipe."""
    if isinstance(error, RagError):
        return Failure.of_ours(error)
    if isinstance(error, MemoryError):
        return Failure(
            ModelFailed.__name__,
            "out_of_memory",
            "the process of the encoder has no memory left",
            "Set encoder.batch_size or encoder.max_patches lower, or choose a smaller model.",
        )
    place = traceback.extract_tb(error.__traceback__)[-1]
    return Failure(
        ModelFailed.__name__,
        "encoder_failed",
        f"the encoder failed in {place.name}, {Path(place.filename).name} line {place.lineno}: "
        f"{type(error).__name__}: {error}",
        "Try other encoder settings or another model; what was ingested stays.",
    )


# --- requests -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class PagesRequest:
    """Pages without their pixels, which follow one by one; None where a page has no image."""

    pages: list[PageInput]
    frames: list[_Frame | None]


@dataclass(frozen=True)
class QueryRequest:
    text: str
    image: Image.Image | None


@dataclass(frozen=True)
class _Frame:
    mode: str
    size: tuple[int, int]
    width_pt: float
    height_pt: float

    @classmethod
    def of(cls, page: RenderedPage) -> _Frame:
        return cls(page.image.mode, page.image.size, page.width_pt, page.height_pt)


def send_pages(connection: Connection, pages: Sequence[PageInput]) -> None:
    # The colours of a palette are not among its pixels.
    images = [page.image and _without_palette(page.image) for page in pages]
    frames = [None if image is None else _Frame.of(image) for image in images]
    bare = [dataclasses.replace(page, image=None) for page in pages]
    connection.send(PagesRequest(bare, frames))
    for image in images:
        if image is not None:
            connection.send_bytes(image.image.tobytes())


def _without_palette(page: RenderedPage) -> RenderedPage:
    if page.image.mode not in ("P", "PA"):
        return page
    return dataclasses.replace(page, image=page.image.convert("RGB"))


def _received_pages(connection: Connection, request: PagesRequest) -> list[PageInput]:
    pages = []
    for page, frame in zip(request.pages, request.frames, strict=True):
        if frame is None:
            pages.append(page)
            continue
        image = Image.frombytes(frame.mode, frame.size, connection.recv_bytes())
        rendered = RenderedPage(image, frame.width_pt, frame.height_pt)
        pages.append(dataclasses.replace(page, image=rendered))
    return pages


# --- the process --------------------------------------------------------------------------------
def serve(connection: Connection, pickled_load: bytes, device: str | None) -> None:
    """Main function of the process; it ends when the other side closes the pipe.

    Args:
        connection: to the other side.
        pickled_load: a `Callable[[], PageEncoder]`, unpickled here so that what it imports can fail
            with a name.
        device: for CUDA_VISIBLE_DEVICES; None leaves it.
    """
    end_with_parent()
    may_be_lost()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    try:
        load: Callable[[], PageEncoder] = pickle.loads(pickled_load)
        encoder = load()
        connection.send(Loaded(encoder.identity, encoder.wants_image, _devices()))
    except Exception as error:  # noqa: BLE001  # the other side raises it
        connection.send(failure_of(error))
        return
    with contextlib.closing(encoder), contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            connection.send(_answer(encoder, connection))


def _answer(encoder: PageEncoder, connection: Connection) -> Any:
    request = connection.recv()
    try:
        match request:
            case PagesRequest():
                pages = _received_pages(connection, request)
                return encoder.encode_pages(pages)
            case QueryRequest(text, image):
                return encoder.encode_query(text, image=image)
    except EOFError:
        raise
    except Exception as error:  # noqa: BLE001  # the other side raises it
        return failure_of(error)


def _devices() -> tuple[str, ...]:
    """Of torch, where the encoder brought it."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
    return tuple(names[: torch.cuda.device_count()])
