"""Images of the pages shown: how large, which tables larger, and rendering no more than that."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from PIL import Image

from rag.answer.evidence.crops import CropPlan, DenseTable, cut, plan_crops
from rag.answer.evidence.image_budget import PAGE_DPI, WantedImage, allot, wanted_page
from rag.deadline import Deadline
from rag.errors import RagError
from rag.ports import PageCrop
from rag.repository import CollectionReader, StoredPage
from rag.settings import AnswerSettings
from rag.types import PageRef, RenderedPage

_LEFT_BY_CROPS = 0.5  # of a page's pixels, where its own or another page's tables want some
_AT_ONCE = 4  # the reader of pages has its own limit as well
_SHARE_OF_TIME = 0.5  # the model needs some of it, too
_LOOK_UP_S = 0.1


@dataclass(frozen=True)
class DrawnPage:
    """A page's image, and parts of it shown larger."""

    image: RenderedPage
    crops: tuple[PageCrop, ...] = ()


@dataclass(frozen=True)
class DrawnPages:
    """What was drawn, and what was not.

    Attributes:
        pages: what was drawn.
        repeats_first: whether the first page's image fits in once more.
        n_without_room: pages that are left out for want of pixels.
        n_crops_without_room: crops that are.
        failed: why pages could not be rendered.
    """

    pages: Mapping[PageRef, DrawnPage] = field(default_factory=dict)
    repeats_first: bool = False
    n_without_room: int = 0
    n_crops_without_room: int = 0
    failed: Mapping[PageRef, str] = field(default_factory=dict)


def draw(
    reader: CollectionReader,
    pages: Sequence[StoredPage],
    settings: AnswerSettings,
    deadline: Deadline,
    *,
    repeats_first: bool = False,
) -> DrawnPages:
    """Images of as many of the pages as there are pixels for, each rendered once.

    Args:
        reader: of whoever asks.
        pages: best first.
        settings: with the pixels there are.
        deadline: of the answer; half of the time left is for images.
        repeats_first: the first page is to be shown a second time.

    Raises:
        Cancelled: the deadline was.
    """
    pieces = _pieces(pages, settings)
    if repeats_first and pages:
        pieces.append(_Piece(0, replace(pieces[0].wanted, is_extra=True), is_repeat=True))
    n_px = allot([piece.wanted for piece in pieces], budget_px=settings.image_px)
    shown = [(piece, px) for piece, px in zip(pieces, n_px, strict=True) if px]
    plans = [
        _Plan(
            pages[whole.place],
            px,
            tuple(
                (piece.table, table_px)
                for piece, table_px in shown
                if piece.table is not None and piece.place == whole.place
            ),
        )
        for whole, px in shown
        if whole.is_page
    ]
    done, failed = _rendered(reader, plans, deadline)
    return DrawnPages(
        pages=done,
        repeats_first=any(piece.is_repeat for piece, _ in shown) and pages[0].ref in done,
        n_without_room=len(pages) - len(plans),
        n_crops_without_room=sum(piece.table is not None for piece in pieces)
        - sum(piece.table is not None for piece, _ in shown),
        failed=failed,
    )


# --- sizes --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Piece:
    """One image: a page, or a table cut out of a larger rendering of it.

    Attributes:
        place: of the page.
    """

    place: int
    wanted: WantedImage
    table: DenseTable | None = None
    is_repeat: bool = False

    @property
    def is_page(self) -> bool:
        return self.table is None and not self.is_repeat


@dataclass(frozen=True)
class _Plan:
    """A page, the pixels of its image, and the tables cut out of it, each with its pixels."""

    page: StoredPage
    n_px: int
    tables: tuple[tuple[DenseTable, int], ...]

    @property
    def crops_px_per_pt(self) -> float:
        """The largest scale at which none of the tables has more pixels than its own."""
        return min(math.sqrt(n_px / table.box.area) for table, n_px in self.tables)


def _pieces(pages: Sequence[StoredPage], settings: AnswerSettings) -> list[_Piece]:
    """Pages there is room for, each with the tables that would be too small in it.

    For these, a page gives no more than half of the pixels it would have without them.
    """
    wanted = [
        wanted_page(page.width_pt, page.height_pt, min_image_px=settings.min_image_px)
        for page in pages
    ]
    alone = allot(wanted, budget_px=settings.image_px)
    pieces: list[_Piece] = []
    for place, (page, image, n_px) in enumerate(zip(pages, wanted, alone, strict=True)):
        if not n_px:
            continue
        least_px = max(image.least_px, int(_LEFT_BY_CROPS * n_px))
        pieces.append(_Piece(place, WantedImage(image.natural_px, least_px)))
        plan = settings.crops and plan_crops(
            page.text,
            width_pt=page.width_pt,
            height_pt=page.height_pt,
            px_per_pt=math.sqrt(n_px / (page.width_pt * page.height_pt)),
        )
        if plan:
            pieces += [_crop_piece(place, plan, table) for table in plan.tables]
    return pieces


def _crop_piece(place: int, plan: CropPlan, table: DenseTable) -> _Piece:
    size = WantedImage(
        natural_px=max(1, int(table.box.area * plan.px_per_pt**2)),
        least_px=max(1, int(table.box.area * plan.least_px_per_pt**2)),
        is_extra=True,
    )
    return _Piece(place, size, table)


# --- rendering ----------------------------------------------------------------------------------
def _rendered(
    reader: CollectionReader, plans: Sequence[_Plan], deadline: Deadline
) -> tuple[dict[PageRef, DrawnPage], dict[PageRef, str]]:
    """Pages that could be rendered in time, and why others were not."""
    if not plans:
        return {}, {}
    deadline.require_wanted()
    end = time.monotonic() + _SHARE_OF_TIME * deadline.remaining_s
    pool = ThreadPoolExecutor(min(_AT_ONCE, len(plans)), thread_name_prefix="page-images")
    try:
        under_way = {plan.page.ref: pool.submit(_drawn, reader, plan) for plan in plans}
        waiting: set[Future[DrawnPage]] = set(under_way.values())
        while waiting and time.monotonic() < end:
            _, waiting = wait(waiting, timeout=min(_LOOK_UP_S, max(0.0, end - time.monotonic())))
            deadline.require_wanted()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    done: dict[PageRef, DrawnPage] = {}
    failed: dict[PageRef, str] = {}
    for ref, future in under_way.items():
        if future in waiting:
            failed[ref] = "there was no time to render it"
            continue
        try:
            done[ref] = future.result()
        except RagError as error:
            failed[ref] = error.message
    return done, failed


def _drawn(reader: CollectionReader, plan: _Plan) -> DrawnPage:
    page = plan.page
    if not plan.tables:
        return DrawnPage(reader.page_image(page.ref, PAGE_DPI, max_px=plan.n_px))
    scale = plan.crops_px_per_pt
    large = reader.page_image(page.ref, 72.0 * scale)
    crops = tuple(cut(large, table, px_per_pt=scale) for table, _ in plan.tables)
    return DrawnPage(_shrunk(large, plan.n_px), crops)


def _shrunk(page: RenderedPage, n_px: int) -> RenderedPage:
    share = math.sqrt(n_px / (page.image.width * page.image.height))
    if share >= 1:
        return page
    size = (max(1, int(page.image.width * share)), max(1, int(page.image.height * share)))
    image = page.image.resize(size, Image.Resampling.LANCZOS)
    return RenderedPage(image, page.width_pt, page.height_pt)
