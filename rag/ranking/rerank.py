"""The best pages read again, each beside the question, and put into that order.

Reranking orders what was found and finds nothing: whatever a model, a server or a page says, what
comes out are the pages that went in, each once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rag.deadline import Cancelled, Deadline
from rag.errors import BackendError, DocumentError, ModelFailed, NotFound
from rag.ports import HeedsDeadline, Reranker, RerankPage, TellsNotices
from rag.repository import CollectionReader, PageSummary
from rag.settings import RerankSettings
from rag.types import Notice, RenderedPage

# Record ids, and whether their pixels are wanted, to their pages.
ReadPages = Callable[[Sequence[str], bool], Sequence[RerankPage]]

LEG = "rerank"  # where raw scores are shown
# Of a page's image: no reranker here reads more than 1.8 megapixels.
_DPI = 150.0
_MAX_PX = 2_000_000


@dataclass(frozen=True)
class Reranked:
    """What became of an order.

    Attributes:
        order: (record id, score), best first: the ids that came in, with strictly falling scores.
            A score belongs to the place, as fusion gave it, not to the page that moved there: so
            it keeps its meaning beside pages that were not read again.
        scores: what the reranker said of the pages it read, for the leg `rerank`.
        is_probability: those are probabilities of relevance.
        notices: why the order is another than asked for.
    """

    order: list[tuple[str, float]]
    scores: dict[str, float] = field(default_factory=dict)
    is_probability: bool = False
    notices: tuple[Notice, ...] = ()


def rerank(
    question: str,
    order: Sequence[tuple[str, float]],
    read_pages: ReadPages,
    reranker: Reranker,
    settings: RerankSettings,
    *,
    rrf_k: int,
    deadline: Deadline | None = None,
) -> Reranked:
    """The order with its best `settings.pages` pages put into the order of the reranker.

    With a `weight` below 1, into that of the sum of weight / (rrf_k + rank by the reranker) and
    (1 - weight) / (rrf_k + rank before). Ties keep the order before.

    Args:
        question: in words.
        order: (record id, score), best first, no id twice.
        read_pages: pages in any order; one that is not there stays behind those that are.
        reranker: asked once, for all pages together.
        settings: `pages` and `weight`.
        rrf_k: flattens the head of both rankings.
        deadline: of a reranker that heeds one.

    Returns:
        The order as it came, with a notice `rerank_failed`, where the reranker cannot be reached or
        fails; with `rerank_skipped` where the question has no words.
    """
    head = [record_id for record_id, _ in order[: settings.pages]]
    if not head:
        return Reranked([])
    if not question.strip():
        return Reranked(
            list(order),
            notices=(Notice("rerank_skipped", "a question without words is not reranked"),),
        )
    by_id = {page.record_id: page for page in read_pages(head, reranker.wants_image)}
    pages = [by_id[record_id] for record_id in head if record_id in by_id]
    try:
        found = (
            reranker.scores_within(deadline, question, pages)
            if isinstance(reranker, HeedsDeadline)
            else reranker.scores(question, pages)
        )
        scores = _checked(reranker, found, len(pages))
    except Cancelled:
        raise
    except BackendError as error:
        return Reranked(list(order), notices=(*_notices_of(reranker), rerank_failed(error)))
    read = {page.record_id: score for page, score in zip(pages, scores, strict=True)}
    moved = _mixed(head, read, weight=settings.weight, rrf_k=rrf_k)
    notices = _notices_of(reranker)
    n_blind = sum(page.image is None for page in pages) if reranker.wants_image else 0
    if n_blind:
        message = f"{n_blind} pages could not be rendered; their words were read instead"
        notices += (Notice("rerank_without_image", message),)
    return Reranked(
        order=in_places([*moved, *(record_id for record_id, _ in order[len(head) :])], order),
        scores=read,
        is_probability=reranker.is_probability,
        notices=notices,
    )


def rerank_failed(error: BackendError) -> Notice:
    return Notice("rerank_failed", f"pages are in the order before reranking: {error.message}")


def page_reader(reader: CollectionReader, pages: Mapping[str, PageSummary]) -> ReadPages:
    """Pages of a collection as rerankers read them.

    A page that cannot be rendered comes with its words alone; one that is gone meanwhile does not
    come.
    """

    def read(record_ids: Sequence[str], with_image: bool) -> list[RerankPage]:
        known = {record_id: pages[record_id] for record_id in record_ids if record_id in pages}
        texts = reader.page_texts([page.ref for page in known.values()])
        return [
            RerankPage(
                record_id=record_id,
                ref=page.ref,
                source=page.source,
                text=texts[page.ref],
                image=_image(reader, page) if with_image else None,
            )
            for record_id, page in known.items()
        ]

    return read


def _image(reader: CollectionReader, page: PageSummary) -> RenderedPage | None:
    try:
        return reader.page_image(page.ref, dpi=_DPI, max_px=_MAX_PX)
    except (DocumentError, NotFound):
        return None


def _checked(reranker: Reranker, scores: list[float], n_pages: int) -> list[float]:
    if len(scores) != n_pages or not all(map(math.isfinite, scores)):
        raise ModelFailed(
            f"{reranker.model_id} gave {len(scores)} scores for {n_pages} pages, or some that are "
            "no finite numbers",
            code="bad_scores",
            next_step="Choose another reranker.",
        )
    return scores


def _mixed(
    head: Sequence[str], scores: Mapping[str, float], *, weight: float, rrf_k: int
) -> list[str]:
    """The ids of `head`, best first."""
    before = {record_id: rank for rank, record_id in enumerate(head, start=1)}
    read = sorted(scores, key=lambda record_id: (-scores[record_id], before[record_id]))
    after = {record_id: rank for rank, record_id in enumerate(read, start=1)}
    last = len(head) + 1  # of a page that could not be read

    def mixed(record_id: str) -> float:
        by_reranker = 1 / (rrf_k + after.get(record_id, last))
        return weight * by_reranker + (1 - weight) / (rrf_k + before[record_id])

    return sorted(head, key=lambda record_id: (-mixed(record_id), before[record_id]))


def in_places(ids: Sequence[str], order: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The ids with the scores of the places they now have, each below the one before.

    Places beyond the order's last come just below it.
    """
    placed: list[tuple[str, float]] = []
    bound = math.inf
    last = order[-1][1] if order else 0.0
    for place, record_id in enumerate(ids):
        score = order[place][1] if place < len(order) else last
        bound = min(score, math.nextafter(bound, -math.inf))
        placed.append((record_id, bound))
    return placed


def _notices_of(reranker: Reranker) -> tuple[Notice, ...]:
    return tuple(reranker.take_notices()) if isinstance(reranker, TellsNotices) else ()
