"""What a reading process does: limits on itself first, then one page after the other.

Everything here runs in a process that may hang, crash or be ended at any time, and that imports no
more than it reads with. `isolated.py` is the other side.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import threadpoolctl
from PIL import Image

from rag.errors import DocumentError
from rag.page_text import PageText
from rag.ports import PageRenderer, PdfInfo, ScannedPage
from rag.processes import end_with_parent
from rag.renderers import page_frame
from rag.renderers.choose import choose_renderer, load_library
from rag.types import RenderedPage

_INK_DPI = 40.0
_INK_MAX_PX = 300_000
# Out of 255, in one colour channel. A black dot of 1 pt covers 0.3 of a pixel at 40 dpi, which may
# be shared by four: 0.08 * 255 = 20 at the least.
_INK_CONTRAST = 16
# Another reader would say the same. Not so of `wrong_password`: poppler says it of ciphers that it
# does not know.
_FINAL = frozenset({"not_a_pdf", "password_required", "unreadable"})

_Read = TypeVar("_Read")


@dataclass(frozen=True)
class ReadRequest:
    """A file to open, and the readers to ask, in their order."""

    path: Path
    renderers: tuple[str, ...]
    password: str | None = None


@dataclass(frozen=True)
class PageRequest(ReadRequest):
    """A page of it."""

    page_number: int = 1
    dpi: float = 150.0
    max_px: int = 36_000_000
    want_image: bool = False


# --- the process --------------------------------------------------------------------------------
def start(renderers: Sequence[str], memory_bytes: int) -> None:
    """Initializer of a reading process.

    Args:
        renderers: loaded now, so that no page pays for it out of its time.
        memory_bytes: address space the process may add to what it has after loading.
    """
    end_with_parent()
    for name in renderers:
        load_library(name)
    logging.getLogger("pypdfium2").setLevel(logging.ERROR)  # form types, unknown to users
    threadpoolctl.threadpool_limits(1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    address_space = _address_space_bytes()
    if address_space is not None:
        limit = address_space + memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # At once, even in the middle of a library's loop: Python's own handler would wait for its end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _address_space_bytes() -> int | None:
    """What this process has mapped; None, and then no limit, where the system does not tell."""
    try:
        n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return None
    return n_pages * resource.getpagesize()


@contextlib.contextmanager
def _ends_with_programs(name: str) -> Iterator[None]:
    """While poppler's programs run for us, an end by SIGTERM is theirs too."""
    if name != "pdf2image":
        yield
        return

    def end_group(*_: object) -> NoReturn:
        os.killpg(0, signal.SIGKILL)
        raise SystemExit

    before = signal.signal(signal.SIGTERM, end_group)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- reading ------------------------------------------------------------------------------------
def open_document(request: ReadRequest) -> PdfInfo:
    """What the first reader that opens the file says of it.

    Raises:
        DocumentError: none opens it; what the first said.
    """

    def read(name: str) -> PdfInfo:
        return _opened(name, request)

    return _first_success(request, read)


def render_page(request: PageRequest) -> RenderedPage:
    """Raises DocumentError: no reader renders it; what the first said."""

    def read(name: str) -> RenderedPage:
        _opened(name, request)
        return _renderer(name).render(
            request.path,
            request.page_number,
            dpi=request.dpi,
            max_px=request.max_px,
            password=request.password,
        )

    return _first_success(request, read)


def scan_page(request: PageRequest) -> ScannedPage:
    """Words, pixels and ink of a page; a blank that is hard to believe is shown to all readers.

    Raises:
        DocumentError: no reader reads it; what the first said.
    """
    blank: ScannedPage | None = None

    def read(name: str) -> ScannedPage:
        nonlocal blank
        info = _opened(name, request)
        page = _scan_with(_renderer(name), request)
        # Mended files lose pages, and PDFium draws nothing for fonts that it does not have.
        if not page.has_ink and (blank or info.is_repaired or len(page.text)):
            blank = blank or page
            raise page_frame.page_failed(request.path, request.page_number, "it comes out blank")
        return page

    try:
        return _first_success(request, read)
    except DocumentError:
        if blank is not None:
            return blank
        raise


def _scan_with(renderer: PageRenderer, request: PageRequest) -> ScannedPage:
    path, number, password = request.path, request.page_number, request.password
    text = renderer.words(path, number, password=password)
    small = renderer.render(path, number, dpi=_INK_DPI, max_px=_INK_MAX_PX, password=password)
    image = None
    if request.want_image:
        image = renderer.render(
            path, number, dpi=request.dpi, max_px=request.max_px, password=password
        )
    return ScannedPage(
        page_number=number,
        width_pt=small.width_pt,
        height_pt=small.height_pt,
        text=text,
        has_ink=has_ink(small.image),
        content_hash=content_hash(small, text),
        image=image,
    )


def has_ink(image: Image.Image) -> bool:
    """Whether any pixel of an RGB image differs visibly from the others."""
    extrema = image.convert("RGB").getextrema()
    return any(high - low > _INK_CONTRAST for low, high in extrema)  # type: ignore[misc]  # a pair a band, as the image is RGB


def content_hash(small: RenderedPage, text: PageText) -> str:
    """SHA-256 over page size, pixels of the small rendering, words and their boxes."""
    digest = hashlib.sha256(
        f"{small.width_pt:.3f} {small.height_pt:.3f} {small.image.size}".encode()
    )
    digest.update(small.image.tobytes())
    digest.update("\0".join(text.words).encode())
    digest.update(text.boxes.tobytes())
    return digest.hexdigest()


def _first_success(request: ReadRequest, read: Callable[[str], _Read]) -> _Read:
    """What the first reader that can gives; else the first one's error."""
    first_error: DocumentError | None = None
    for name in request.renderers:
        try:
            with _ends_with_programs(name):
                return read(name)
        except DocumentError as error:
            first_error = first_error or error
            if error.code in _FINAL:
                break
        except MemoryError:
            first_error = first_error or page_frame.out_of_memory(request.path)
        except Exception as error:  # noqa: BLE001 - a library's fault on a page must not stop the rest
            first_error = first_error or DocumentError(
                f"{request.path.name} cannot be read: {name} fails with {type(error).__name__}",
                code="render_failed",
            )
    if first_error is None:
        raise DocumentError(f"no reader is left for {request.path.name}", code="render_failed")
    raise first_error


def _opened(name: str, request: ReadRequest) -> PdfInfo:
    outcome = _open_outcome(name, page_frame.FileKey.of(request.path, request.password))
    if isinstance(outcome, DocumentError):
        raise outcome
    return outcome


@functools.lru_cache(maxsize=16)
def _open_outcome(name: str, key: page_frame.FileKey) -> PdfInfo | DocumentError:
    """Kept, refusals too: a file that a reader refuses is not offered to it for every page."""
    try:
        return _renderer(name).open(key.path, password=key.password)
    except DocumentError as error:
        return error


@functools.cache
def _renderer(name: str) -> PageRenderer:
    return choose_renderer(name)
