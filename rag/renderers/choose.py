"""Which library reads PDFs, and which others are asked where it refuses.

Installed is what can be found, not what imports: imports are left to the reading processes.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from rag.errors import ConfigError
from rag.ports import PageRenderer


@dataclass(frozen=True)
class Reader:
    """A PDF reader, and how to get it where it is not installed."""

    name: str
    is_installed: bool
    how_to_get: str


def pdf_readers() -> list[Reader]:
    """Every reader of PDFs, fastest first."""
    return [Reader(name, _is_installed(name), _HOW_TO_GET[name]) for name in _PDF_READERS]


def choose_renderer(name: str) -> PageRenderer:
    """The reader called `name`; `auto` is the fastest installed, `image` reads image files.

    Raises:
        ConfigError: an unknown name, or a reader that is not installed.
    """
    return _make(_resolved(name))


def fallback_renderers(name: str) -> list[str]:
    """The reader called `name` and then, fastest first, the other installed ones.

    Raises:
        ConfigError: as choose_renderer.
    """
    first = _resolved(name)
    if first == "image":
        return [first]
    return [first, *(other for other in _PDF_READERS if other != first and _is_installed(other))]


def load_library(name: str) -> None:
    """Import what the reader called `name` reads with, which takes a while."""
    if name == "pymupdf":
        from rag.renderers.pymupdf_renderer import library

        library()
    elif name != "image":
        importlib.import_module(name)


def _resolved(name: str) -> str:
    if name == "auto":
        return next(reader for reader in _PDF_READERS if _is_installed(reader))
    if name not in (*_PDF_READERS, "image"):
        raise ConfigError(
            f"there is no renderer {name!r}",
            next_step=f"Set render.renderer to auto, {', '.join(_PDF_READERS)}.",
        )
    if not _is_installed(name):
        raise ConfigError(
            f"renderer {name!r} is not installed",
            code="renderer_missing",
            next_step=f"{_HOW_TO_GET[name]} Or set render.renderer to auto.",
        )
    return name


def _is_installed(name: str) -> bool:
    if name == "image":
        return True
    if importlib.util.find_spec(name) is None:
        return False
    return name != "pdf2image" or shutil.which("pdftoppm") is not None


def _make(name: str) -> PageRenderer:
    return _MAKERS[name]()


def _pymupdf() -> PageRenderer:
    from rag.renderers.pymupdf_renderer import PymupdfRenderer

    return PymupdfRenderer()


def _pypdfium2() -> PageRenderer:
    from rag.renderers.pypdfium2_renderer import Pypdfium2Renderer

    return Pypdfium2Renderer()


def _pdf2image() -> PageRenderer:
    from rag.renderers.pdf2image_renderer import Pdf2imageRenderer

    return Pdf2imageRenderer()


def _image() -> PageRenderer:
    from rag.renderers.image_renderer import ImageRenderer

    return ImageRenderer()


_PDF_READERS = ("pymupdf", "pypdfium2", "pdf2image")  # fastest first
_MAKERS: dict[str, Callable[[], PageRenderer]] = {
    "pymupdf": _pymupdf,
    "pypdfium2": _pypdfium2,
    "pdf2image": _pdf2image,
    "image": _image,
}
_HOW_TO_GET = {
    "pymupdf": "pip install 'octavo[pymupdf]' (AGPL-3.0 or commercial).",
    "pypdfium2": "Install Octavo anew: it comes with it.",
    "pdf2image": "pip install 'octavo[poppler]' and the poppler-utils package of your system.",
}
