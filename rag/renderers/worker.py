"""What a reading process does: limits on itself first, then one page after the other.

Everything here runs in a process that may hang, crash or be ended at any time, and that imports no
more than it reads with. `isolated.py` is the other side.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import threadpoolctl
from PIL import Image

from rag.errors import BackendError, DocumentError
from rag.ocr.choose import ChosenEngine, load_engine
from rag.ocr.decide import needs_ocr
from rag.ocr.turned import read_any_way_up
from rag.page_text import PageText
from rag.ports import OcrEngine, PageRenderer, PdfInfo, ScannedPage
from rag.process_failures import may_be_lost
from rag.processes import end_with_parent, ends_with_programs
from rag.renderers import page_frame
from rag.renderers.choose import choose_renderer, load_library
from rag.renderers.hidden_text import split_hidden
from rag.renderers.sandbox import confine
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
_Request = TypeVar("_Request")


@dataclass(frozen=True)
class ReadRequest:
    """A file to open, and the readers to ask, in their order."""

    path: Path
    renderers: tuple[str, ...]
    password: str | None = None


@dataclass(frozen=True)
class PageRequest(ReadRequest):
    """A page of it.

    Attributes:
        ocr_mode: of which pages OCR is asked: `off`, `auto` or `always`.
    """

    page_number: int = 1
    dpi: float = 150.0
    max_px: int = 36_000_000
    want_image: bool = False
    ocr_mode: str = "off"


@dataclass(frozen=True, kw_only=True)
class OcrRequest(PageRequest):
    """A page to read words from the pixels of, at `dpi`.

    Attributes:
        known: digests of pixels that were read before.
    """

    engine: ChosenEngine
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ReadPixels:
    """What was read of a page's pixels; `text` is None where their `digest` was known."""

    digest: str
    text: PageText | None


@dataclass(frozen=True)
class Scanned:
    """A page as read from the file.

    Attributes:
        renderer: who read it.
        ocr_reason: why its words want reading from its pixels; None where they do as they are.
    """

    page: ScannedPage
    renderer: str
    ocr_reason: str | None = None


# --- the process --------------------------------------------------------------------------------
@dataclass(frozen=True)
class Limits:
    """What a reading process may have.

    Attributes:
        memory_bytes: address space it may add to what it has after loading.
        ocr_memory_bytes: address space that loading an OCR engine may add to that.
        cpu_s: processor time one task may take; less than that ends it by the clock.
        is_confined: whether it takes from itself what reading does not need.
        readable: files and folders that may be read then, beside the system's.
        may_start_programs: a reader or the OCR engine is a program.
    """

    memory_bytes: int
    ocr_memory_bytes: int = 0
    cpu_s: float = 3600.0
    is_confined: bool = False
    readable: tuple[Path, ...] = ()
    may_start_programs: bool = True


def start(renderers: Sequence[str], limits: Limits) -> None:
    """Initializer of a reading process.

    Args:
        renderers: loaded now, so that no page pays for it out of its time.
        limits: on itself.
    """
    global _cpu_s
    end_with_parent()
    may_be_lost()
    # Read when Tesseract is loaded, or its program started. Two threads on a busy machine wait for
    # each other: 25.7 s a page were seen where one takes 1 s.
    os.environ["OMP_THREAD_LIMIT"] = "1"
    for name in renderers:
        load_library(name)
    logging.getLogger("pypdfium2").setLevel(logging.ERROR)  # form types, unknown to users
    threadpoolctl.threadpool_limits(1)
    if limits.is_confined:
        confine(limits.readable, may_start_programs=limits.may_start_programs)
    address_space = _address_space_bytes()
    if address_space is not None:
        limit = address_space + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit + limits.ocr_memory_bytes))
    _cpu_s = limits.cpu_s
    # At once, even in the middle of a library's loop: Python's own handler would wait for its end.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


_cpu_s = 3600.0


def perform(function: Callable[[_Request], _Read], request: _Request) -> _Read:
    """Do one task, within its processor time: who waits for it may be kept from looking up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(
        resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + _cpu_s), hard)
    )
    return function(request)


def _address_space_bytes() -> int | None:
    """What this process has mapped; None, and then no limit, where the system does not tell."""
    try:
        n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return None
    return n_pages * resource.getpagesize()


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


def scan_page(request: PageRequest) -> Scanned:
    """Words, pixels and ink of a page; a blank that is hard to believe is shown to all readers.

    Raises:
        DocumentError: no reader reads it; what the first said.
    """
    blank: Scanned | None = None

    def read(name: str) -> Scanned:
        nonlocal blank
        info = _opened(name, request)
        scanned = _scan_with(_renderer(name), request)
        page = scanned.page
        # Mended files lose pages, and PDFium draws nothing for fonts that it does not have.
        has_words = len(page.text) or len(page.hidden)
        if not page.has_ink and (blank or info.is_repaired or has_words):
            blank = blank or scanned
            raise page_frame.page_failed(request.path, request.page_number, "it comes out blank")
        return scanned

    try:
        return _first_success(request, read)
    except DocumentError:
        if blank is not None:
            return blank
        raise


def _scan_with(renderer: PageRenderer, request: PageRequest) -> Scanned:
    path, number, password = request.path, request.page_number, request.password
    words = renderer.words(path, number, password=password)
    small = renderer.render(path, number, dpi=_INK_DPI, max_px=_INK_MAX_PX, password=password)
    image = None
    if request.want_image:
        image = renderer.render(
            path, number, dpi=request.dpi, max_px=request.max_px, password=password
        )
    text, hidden = split_hidden(words, small, width_pt=small.width_pt, height_pt=small.height_pt)
    page = ScannedPage(
        page_number=number,
        width_pt=small.width_pt,
        height_pt=small.height_pt,
        text=text,
        has_ink=has_ink(small.image),
        content_hash=content_hash(small, words),
        image=image,
        hidden=hidden,
    )
    return Scanned(page, renderer.name, _ocr_reason(page, small, request.ocr_mode))


def _ocr_reason(page: ScannedPage, small: RenderedPage, mode: str) -> str | None:
    if mode == "off" or not page.has_ink:
        return None
    reason = needs_ocr(page.text, small)
    return "always" if reason is None and mode == "always" else reason


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


def hash_with_words(content_hash: str, text: PageText) -> str:
    """Of a page whose words are not, or not only, its own."""
    digest = hashlib.sha256(content_hash.encode())
    digest.update("\0".join(text.words).encode())
    digest.update(text.boxes.tobytes())
    return digest.hexdigest()


# --- words from pixels --------------------------------------------------------------------------
def ocr_identity(request: OcrRequest) -> str:
    """Raises BackendError `ocr_failed` where the engine cannot be loaded."""
    with _silence():
        return _engine(request.engine).identity


def read_words(request: OcrRequest) -> ReadPixels:
    """Words that people see, read from the pixels of a page.

    Raises:
        BackendError: `ocr_failed`.
        DocumentError: as render_page.
    """
    image = render_page(request)
    digest = pixel_digest(image)
    if digest in request.known:
        return ReadPixels(digest, None)
    try:
        with _silence():
            shown = read_any_way_up(functools.partial(_seen, _engine(request.engine)), image)
    except MemoryError as error:
        raise BackendError("OCR takes more memory than it may have", code="ocr_failed") from error
    return ReadPixels(digest, shown)


def _seen(engine: OcrEngine, page: RenderedPage) -> PageText:
    """An engine reads what is a shade off its ground; people do not."""
    read = engine.read(page)
    return split_hidden(read, page, width_pt=page.width_pt, height_pt=page.height_pt)[0]


def pixel_digest(page: RenderedPage) -> str:
    """SHA-256 over all that the words read of a page hang on."""
    digest = hashlib.sha256(f"{page.width_pt!r} {page.height_pt!r} {page.image.size}".encode())
    digest.update(page.image.tobytes())
    return digest.hexdigest()


@functools.cache
def _engine(chosen: ChosenEngine) -> OcrEngine:
    """Loaded once, outside of what pages may take: the limit is moved by what it maps."""
    before = _address_space_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        return load_engine(chosen)
    finally:
        after = _address_space_bytes()
        if soft != resource.RLIM_INFINITY and before is not None and after is not None:
            moved = min(soft + max(0, after - before), hard)
            resource.setrlimit(resource.RLIMIT_AS, (moved, hard))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Libraries in C write what they think of a picture to the user's terminal."""
    before = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def _first_success(request: ReadRequest, read: Callable[[str], _Read]) -> _Read:
    """What the first reader that can gives; else the first one's error."""
    first_error: DocumentError | None = None
    for name in request.renderers:
        try:
            with ends_with_programs() if name == "pdf2image" else contextlib.nullcontext():
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
