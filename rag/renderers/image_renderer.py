"""Image files as documents, read with Pillow: pages of pixels without words."""

from __future__ import annotations

import atexit
import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from rag.errors import DocumentError
from rag.page_text import PageText
from rag.ports import PdfInfo
from rag.renderers import page_frame
from rag.types import RenderedPage

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif"})
# Of these files; Pillow knows more, and starts Ghostscript for PostScript whatever it is called.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")  # MPO is opened as JPEG
_DEFAULT_DPI = 150.0
_BELIEVABLE_DPI = (36.0, 2400.0)  # cameras and screenshots write 1, 0 or worse
_MAX_IMAGE_PX = 120_000_000  # 360 MB as RGB; an A3 sheet scanned at 600 dpi has 70 million
_EXIF_ORIENTATION = 0x0112
_EXIF_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = [_EXIF_TURNS[orientation] for orientation in (5, 6, 7, 8)]


class ImageRenderer:
    """PageRenderer over image files: every frame of a TIFF is a page, other files are one page.

    Frames of an animated GIF or WebP are one page changing, so the first stands for it.
    """

    name = "image"

    def open(self, path: Path, *, password: str | None = None) -> PdfInfo:  # noqa: ARG002 - the Protocol's
        with _opened(path) as image:
            return PdfInfo(n_pages=_n_pages(image))

    def words(
        self,
        path: Path,
        page_number: int,
        *,
        password: str | None = None,  # noqa: ARG002 - the Protocol's
    ) -> PageText:
        with _opened(path, page_number):
            return PageText.empty()

    def render(
        self,
        path: Path,
        page_number: int,
        *,
        dpi: float,
        max_px: int,
        password: str | None = None,  # noqa: ARG002 - the Protocol's
    ) -> RenderedPage:
        with _opened(path, page_number) as image:
            if image.format == "TIFF":
                image.load()  # Pillow turns these itself, while loading
            dpi_x, dpi_y = _resolution(image)
            turn = _EXIF_TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
            width_pt, height_pt = image.width * 72.0 / dpi_x, image.height * 72.0 / dpi_y
            # Never enlarged: pixels that are not in the file say nothing.
            scale = page_frame.px_per_pt(
                width_pt, height_pt, dpi=min(dpi, max(dpi_x, dpi_y)), max_px=max_px
            )
            size = (max(1, round(width_pt * scale)), max(1, round(height_pt * scale)))
            image.draft("RGB", size)  # a JPEG is decoded at a fraction of its size
            upright = as_rgb(image).resize(size, Image.Resampling.BOX)
            if turn is not None:
                upright = upright.transpose(turn)
                if turn in _SIDEWAYS:
                    width_pt, height_pt = height_pt, width_pt
            return RenderedPage(upright, width_pt, height_pt)


@contextlib.contextmanager
def _opened(path: Path, page_number: int = 1) -> Iterator[Image.Image]:
    """The file at the frame of `page_number`, nothing decoded yet."""
    try:
        with warnings.catch_warnings():
            # Our own limit stands below; what Pillow thinks of a file would go to the terminal.
            warnings.simplefilter("ignore")
            with _file(path) as (image, n_pages):
                if not 1 <= page_number <= n_pages:
                    raise page_frame.page_failed(path, page_number, f"it has {n_pages} pages")
                image.seek(page_number - 1)
                if image.width * image.height > _MAX_IMAGE_PX:
                    raise _too_many_pixels(path)
                yield image
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(path) from error
    except MemoryError as error:
        raise page_frame.out_of_memory(path) from error
    except UnidentifiedImageError as error:
        raise page_frame.damaged(path, "it is not an image of a known kind") from error
    except DocumentError:
        raise
    except (OSError, EOFError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise
        raise page_frame.damaged(path, str(error) or type(error).__name__) from error


@contextlib.contextmanager
def _file(path: Path) -> Iterator[tuple[Image.Image, int]]:
    """The file and its number of pages; one of many pages stays open for the next of them.

    Its directories are a chain, which is walked from the first one each time it is opened anew.
    """
    global _kept
    key = page_frame.FileKey.of(path, None)
    if _kept is not None and _kept[0] == key:
        try:
            yield _kept[1:]
        except BaseException:
            _let_go()  # it may be half way between two of its pages
            raise
        return
    _let_go()
    image = Image.open(path, formats=_FORMATS)
    try:
        n_pages = _n_pages(image)
        yield image, n_pages
        if n_pages > 1:
            _kept = key, image, n_pages
    finally:
        if _kept is None:
            image.close()


@atexit.register
def _let_go() -> None:
    global _kept
    kept, _kept = _kept, None
    if kept is not None:
        kept[1].close()


_kept: tuple[page_frame.FileKey, Image.Image, int] | None = None  # of the process


def _too_many_pixels(path: Path) -> DocumentError:
    return DocumentError(
        f"{path.name} has more than {_MAX_IMAGE_PX // 1_000_000} million pixels",
        code="too_many_pixels",
        next_step="Save it at a lower resolution.",
    )


def _n_pages(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def _resolution(image: Image.Image) -> tuple[float, float]:
    """(horizontal, vertical) dots per inch: of the file, or a scan's where it tells none."""
    try:
        dpi_x, dpi_y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return _DEFAULT_DPI, _DEFAULT_DPI
    low, high = _BELIEVABLE_DPI
    if not (low <= dpi_x <= high and low <= dpi_y <= high):
        return _DEFAULT_DPI, _DEFAULT_DPI
    return dpi_x, dpi_y


def as_rgb(image: Image.Image) -> Image.Image:
    """On white where it is transparent; 16-bit and float greys brought to 8 bit."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = np.asarray(image, np.float64)
        # Deep greys rarely use their whole range; dark to light is what a viewer shows.
        span = max(float(grey.max() - grey.min()), 1.0)
        rgb = Image.fromarray(((grey - grey.min()) * (255.0 / span)).astype(np.uint8)).convert(
            "RGB"
        )
    elif image.has_transparency_data:
        layers = image.convert("RGBA")
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(layers, mask=layers.getchannel("A"))
    else:
        return image.convert("RGB")
    return rgb
