"""Which pages of a document OCR reads, and what becomes of them when it has, or has not.

A page keeps its own words whatever happens to OCR, and says what happened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rag.errors import RagError
from rag.ocr.cache import OcrCache, page_key
from rag.ocr.choose import ChosenEngine, how_to_get_one
from rag.ocr.merge import merged
from rag.ocr.turned import is_unsure
from rag.page_text import PageText
from rag.ports import ScannedPage
from rag.renderers import worker
from rag.types import Notice

if TYPE_CHECKING:
    from rag.settings import OcrSettings, RenderSettings  # pydantic: reading processes do without

# Pages of one document that took too long or ended their process; the others are not tried.
_MOST_LOST = 2
# 16 million pixels are an A3 sheet at 290 dpi; what is larger is read at a lower resolution.
_MOST_PX = 16_000_000
_UNSURE = (
    "OCR is not sure of what it read, whichever way up, and its words are left out. It may be a "
    "poor scan, handwriting, a picture, or a language that ocr.languages does not name."
)


@dataclass(frozen=True)
class OcrPlan:
    """How pages are read: `engine` is None where none is installed, `cache` where none is kept."""

    settings: OcrSettings
    engine: ChosenEngine | None
    cache: OcrCache | None


class DocumentOcr:
    """OCR of the pages of one document."""

    def __init__(
        self,
        plan: OcrPlan,
        render: RenderSettings,
        identity: Callable[[worker.OcrRequest], str],
        *,
        kept_as: str | None,
    ) -> None:
        """Nothing is asked of the engine yet.

        Args:
            plan: of the ingest.
            render: limits of reading.
            identity: of the engine; RagError where it cannot be loaded.
            kept_as: SHA-256 of the file; None keeps nothing.
        """
        self._plan = plan
        self._render = render
        self._identity = identity
        self._kept_as = kept_as
        self._n_lost = 0
        self._known: str | None = None  # the engine's identity, once it could be asked
        # Of pages on their way, by number: what was read of pages of other files that look like it.
        self._like: dict[int, dict[str, PageText]] = {}

    def request(
        self, scanned: worker.Scanned, asked: worker.PageRequest
    ) -> ScannedPage | worker.OcrRequest:
        """The page where it is done with, else what is to be read of it.

        Args:
            scanned: the page as read from the file.
            asked: how it was read.
        """
        page, chosen = scanned.page, self._plan.engine
        if scanned.ocr_reason is None:
            return page
        if chosen is None:
            return _with_notice(page, "ocr_missing", missing_message())
        if self._n_lost >= _MOST_LOST:
            message = f"OCR was lost on {_MOST_LOST} pages before and not tried here."
            return self._given_up(page, "ocr_failed", message)
        request = worker.OcrRequest(
            path=asked.path,
            renderers=(scanned.renderer,),
            password=asked.password,
            page_number=page.page_number,
            dpi=self._plan.settings.dpi,
            max_px=min(self._render.max_px, _MOST_PX),
            engine=chosen,
        )
        try:
            self._known = identity = self._identity(request)
        except RagError as error:
            return self.failed(scanned, error)
        if self._plan.cache is None or self._kept_as is None:
            return request
        key = self._key(page, identity)
        read = self._plan.cache.get(key, self._kept_as)
        if read is not None:
            return _merged(scanned, read, identity)
        like = self._like[page.page_number] = self._plan.cache.of_others(key)
        return dataclasses.replace(request, known=frozenset(like))

    def finished(
        self, scanned: worker.Scanned, read: worker.ReadPixels, request: worker.OcrRequest
    ) -> ScannedPage:
        identity = self._identity(request)
        like = self._like.pop(request.page_number, {})
        text = like[read.digest] if read.text is None else read.text
        if self._plan.cache is not None and self._kept_as is not None:
            key = self._key(scanned.page, identity)
            self._plan.cache.put(key, read.digest, self._kept_as, text)
        return _merged(scanned, text, identity)

    def failed(self, scanned: worker.Scanned, error: RagError) -> ScannedPage:
        if error.code == "render_timeout":
            self._n_lost += 1
            return self._given_up(
                scanned.page,
                "ocr_timeout",
                f"OCR took longer than {self._plan.settings.page_timeout_s:g} s and was given up; "
                "raise ocr.page_timeout_s if the page is worth waiting for.",
            )
        if error.code == "render_crashed":
            self._n_lost += 1
            message = "The OCR engine ended the process that ran it."
        else:
            message = f"{error.message}."
        return self._given_up(scanned.page, "ocr_failed", message)

    def cut_short(self, scanned: worker.Scanned) -> ScannedPage:
        """A page of a file that is read no further."""
        if scanned.ocr_reason is None:
            return scanned.page
        if self._plan.engine is None:
            return _with_notice(scanned.page, "ocr_missing", missing_message())
        message = "Other pages of the file took too long, and OCR was not tried here."
        return self._given_up(scanned.page, "ocr_timeout", message)

    def _given_up(self, page: ScannedPage, code: str, message: str) -> ScannedPage:
        """With its own words; one that has none counts as looked at by the engine.

        Else the next ingest of the folder would read and encode the whole document again, to lose
        the same page.
        """
        page = _with_notice(page, code, f"{message} Ingest it again with --force to try once more.")
        return page if len(page.text) else dataclasses.replace(page, ocr=self._known)

    def _key(self, page: ScannedPage, identity: str) -> str:
        return page_key(page.content_hash, identity=identity, dpi=self._plan.settings.dpi)


def missing_message() -> str:
    return f"No OCR engine is installed to read words from pixels. {how_to_get_one()}"


def _merged(scanned: worker.Scanned, read: PageText, identity: str) -> ScannedPage:
    page = scanned.page
    assert scanned.ocr_reason is not None
    if is_unsure(read):
        page = _with_notice(page, "ocr_unsure", _UNSURE)
        read = PageText.empty()
    text = merged(page.text, read, scanned.ocr_reason)
    # A page without own words was read, whatever was found; of others OCR has to have a part.
    if text is page.text and len(page.text):
        return page
    return dataclasses.replace(
        page, text=text, ocr=identity, content_hash=worker.hash_with_words(page.content_hash, text)
    )


def _with_notice(page: ScannedPage, code: str, message: str) -> ScannedPage:
    return dataclasses.replace(page, notices=(*page.notices, Notice(code, message)))
