"""A page that comes out blank is believed only where the file was whole, or no reader sees more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from rag.page_text import PageText
from rag.ports import PdfInfo
from rag.renderers import worker
from rag.types import RenderedPage

INK, NO_INK = Image.new("RGB", (60, 80), "white"), Image.new("RGB", (60, 80), "white")
INK.paste("black", (10, 10, 20, 20))


@dataclass
class Reader:
    name: str
    image: Image.Image
    is_repaired: bool
    n_asked: int = 0

    def open(self, path: Path, *, password: str | None = None) -> PdfInfo:
        return PdfInfo(n_pages=1, title="", is_repaired=self.is_repaired)

    def words(self, path: Path, page_number: int, *, password: str | None = None) -> PageText:
        return PageText.empty()

    def render(
        self, path: Path, page_number: int, *, dpi: float, max_px: int, password: str | None = None
    ) -> RenderedPage:
        self.n_asked += 1
        return RenderedPage(self.image, 60.0, 80.0)


@pytest.mark.parametrize(
    ("is_repaired", "second_sees", "believed", "n_asked"),
    [
        (False, INK, "first", 0),  # a whole file says that its page is blank
        (True, INK, "second", 1),  # a mended one may have lost what the page shows
        (True, NO_INK, "first", 1),  # nobody sees more: blank, and numbered as such
    ],
)
def test_a_blank_page_of_a_mended_file_is_shown_to_the_second_reader(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_repaired: bool,
    second_sees: Image.Image,
    believed: str,
    n_asked: int,
) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.7")
    readers = {
        "first": Reader("first", NO_INK, is_repaired),
        "second": Reader("second", second_sees, is_repaired),
    }
    monkeypatch.setattr(worker, "_renderer", readers.__getitem__)
    worker._open_outcome.cache_clear()
    found = worker.scan_page(worker.PageRequest(path, ("first", "second")))
    worker._open_outcome.cache_clear()
    assert found.renderer == believed
    assert found.page.has_ink is (believed == "second")
    assert readers["second"].n_asked == n_asked
