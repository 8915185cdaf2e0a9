"""Makes PDFs of pages that a published set gives as pixels, words, or both. The one file that
draws with reportlab.

An item is one page, whatever its length. The same pages give the same bytes, as long as reportlab
and the fonts are the same; words in Latin letters take a font that reportlab brings.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from eval.datasets.page_images import EmbeddedImage, embedded
from eval.datasets.page_words import SetWords, keep_searchable, mend_text_layer, set_words
from eval.datasets.published import SetPage
from rag.errors import ConfigError

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

_DPI = 150  # as image files are read that tell none
_MOST_PT = 14_400.0  # a PDF's page can be no larger
_A4_PT = (595.28, 841.89)
_MARGIN_PT = 48.0
_GAP_PT = 18.0
_NARROWEST_PT = 320.0  # of a page with words
_SPOOL_BYTES = 64_000_000


@dataclass
class PagesMade:
    """What was made over many documents.

    Attributes:
        n_pages: pages in PDFs.
        missing: characters that no font has, and how often.
        n_pages_missing: pages that have such.
        families: fonts of the system that were needed, which another machine may not have.
    """

    n_pages: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    n_pages_missing: int = 0
    families: set[str] = field(default_factory=set)

    def add(self, other: PagesMade) -> None:
        self.n_pages += other.n_pages
        self.missing.update(other.missing)
        self.n_pages_missing += other.n_pages_missing
        self.families.update(other.families)

    def notes(self) -> tuple[str, ...]:
        """What the reader of figures should know of it."""
        notes = []
        if self.missing:
            shown = " ".join(character for character, _count in self.missing.most_common(10))
            notes.append(
                f"{self.missing.total():,} characters on {self.n_pages_missing:,} pages are in no "
                f"font of this machine ({shown}): they can be searched for, and show as boxes"
            )
        if self.families:
            notes.append(
                f"words beyond Latin letters are set in {', '.join(sorted(self.families))}"
            )
        return tuple(notes)


def make_pdf(pages: Iterable[SetPage], to: Path, *, title: str, made: PagesMade) -> int:
    """Writes a PDF of a page for each item.

    Args:
        pages: in order; read once, an image at a time.
        to: the file.
        title: of the document, shown by readers.
        made: is added to.

    Returns:
        Number of pages.

    Raises:
        InputError: `bad_image`, `text_too_long`.
        ConfigError: `extra_missing`.
    """
    try:
        from reportlab import rl_config
        from reportlab.pdfgen.canvas import Canvas
    except ImportError as error:
        raise ConfigError(
            "pages are made with reportlab, which is not installed",
            code="extra_missing",
            next_step='pip install "octavo[eval]"',
        ) from error
    rl_config.useA85 = 0  # streams as they are, not as a quarter more of text
    with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spool:
        canvas = Canvas(str(to), pageCompression=1, invariant=1)
        canvas.setTitle(title)
        canvas.setCreator("octavo eval prepare")
        n_pages = 0
        for page in pages:
            _draw(canvas, page, spool, made)
            n_pages += 1
        mend_text_layer(_document(canvas))
        canvas.save()
    made.n_pages += n_pages
    return n_pages


def _draw(canvas: Canvas, page: SetPage, spool: IO[bytes], made: PagesMade) -> None:
    image = None if page.image is None else embedded(page.image(), item=page.item_id)
    text = page.text if page.shows_text or image is None else ""
    width_pt, image_pt = _A4_PT[0], 0.0
    if image is not None:
        # Sides in points; both shrink alike where one is more than a page can have.
        scale = min(72 / _DPI, _MOST_PT / max(image.width_px, image.height_px))
        width_pt, image_pt = image.width_px * scale, image.height_px * scale
    if not text.strip():
        if image is None:
            canvas.setPageSize(_A4_PT)  # of nothing: an empty page, so that it is there
        else:
            canvas.setPageSize((width_pt, image_pt))
            _place(canvas, image, (0.0, 0.0, width_pt, image_pt), spool)
        canvas.showPage()
        return
    page_pt = max(width_pt, _NARROWEST_PT)
    used_pt = 2 * _MARGIN_PT + (image_pt + _GAP_PT if image is not None else 0.0)
    words = set_words(
        text,
        width_pt=page_pt - 2 * _MARGIN_PT,
        wanted_pt=_A4_PT[1] - 2 * _MARGIN_PT,
        most_pt=max(_MOST_PT - used_pt, _A4_PT[1]),
    )
    height_pt = used_pt + words.height_pt
    if image is None:
        height_pt = max(height_pt, _A4_PT[1])
    canvas.setPageSize((page_pt, height_pt))
    if image is not None:
        left_pt = (page_pt - width_pt) / 2
        _place(canvas, image, (left_pt, height_pt - image_pt, width_pt, image_pt), spool)
    top_pt = height_pt - used_pt + _MARGIN_PT
    _write(canvas, words, top_pt)
    canvas.showPage()
    made.missing.update(words.missing)
    made.n_pages_missing += bool(words.missing)
    made.families.update(words.families)


def _write(canvas: Canvas, words: SetWords, top_pt: float) -> None:
    """Lines from `top_pt` down."""
    written = canvas.beginText()
    for number, line in enumerate(words.lines, start=1):
        # The base line lies a little above the foot of its line.
        foot_pt = top_pt - number * words.line_pt
        written.setTextOrigin(_MARGIN_PT, foot_pt + 0.3 * words.size_pt)
        for run in line:
            keep_searchable(run.face, run.text)
            written.setFont(run.face.name, words.size_pt)
            written.textOut(run.text)
    canvas.drawText(written)


def _place(
    canvas: Canvas,
    image: EmbeddedImage,
    box_pt: tuple[float, float, float, float],
    spool: IO[bytes],
) -> None:
    """An image at (left, bottom, width, height); one that was placed before is not held twice."""
    name = hashlib.sha256(image.data).hexdigest()
    if not canvas.hasForm(name):
        held = _image_object(image, spool)
        document = _document(canvas)
        document.Reference(held, document.getXObjectName(name))
        document.addForm(name, held)
    left_pt, bottom_pt, width_pt, height_pt = box_pt
    canvas.saveState()
    canvas.transform(width_pt, 0, 0, height_pt, left_pt, bottom_pt)
    canvas.doForm(name)
    canvas.restoreState()


def _document(canvas: Canvas) -> Any:
    """What reportlab keeps of the file; a canvas places no image object of one's own itself."""
    return canvas._doc  # type: ignore[attr-defined]  # reportlab offers no other way


def _image_object(image: EmbeddedImage, spool: IO[bytes]) -> Any:
    """The image as an object of reportlab, which knows no predictors; its bytes wait on disk."""
    from reportlab.pdfbase.pdfdoc import PDFObject

    spool.seek(0, io.SEEK_END)
    start, size = spool.tell(), len(image.data)
    spool.write(image.data)
    entries = [
        "/Type /XObject /Subtype /Image",
        f"/Width {image.width_px} /Height {image.height_px}",
        f"/ColorSpace {image.colour_space} /BitsPerComponent {image.bits}",
        f"/Filter /{image.filter_name} /Length {size}",
    ]
    if image.predictor is not None:
        colours, bits, columns = image.predictor
        entries.append(
            f"/DecodeParms << /Predictor 15 /Colors {colours} /BitsPerComponent {bits} "
            f"/Columns {columns} >>"
        )
    header = f"<< {' '.join(entries)} >>\nstream\n".encode("ascii")

    class SpooledImage(PDFObject):
        def format(self, _document: object) -> bytes:
            spool.seek(start)
            return header + spool.read(size) + b"\nendstream"

    return SpooledImage()
