"""What of the pages found an answer model is shown: words, pixels or both, within limits.

A page has one number, whatever else is left out. Whatever is left out is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rag.answer.evidence.image_budget import n_texts_within, n_words_within
from rag.answer.evidence.page_choice import (
    ShownPage,
    neighbours_of,
    said_of,
    shown_somehow,
    what_is_shown,
    within_quotas,
)
from rag.answer.evidence.page_images import DrawnPages, draw
from rag.deadline import Deadline
from rag.filters import Filter
from rag.geometry import FloatArray
from rag.ports import EncodedQuery, Evidence
from rag.ranking.route import Route
from rag.repository import CollectionReader
from rag.settings import AnswerSettings
from rag.types import Notice, PageField, PageHit, PageRef

_MANY_PAGES = 6  # with more, what stands first is far from the question at the end


@dataclass(frozen=True)
class Gathered:
    """Pages in the order they are shown in, and what the reader of the answer should know.

    A page that is shown twice is there twice, with one number.
    """

    evidence: tuple[Evidence, ...]
    notices: tuple[Notice, ...] = ()


def gather(
    reader: CollectionReader,
    hits: Sequence[PageHit],
    record_ids: Sequence[str],
    *,
    query: EncodedQuery,
    settings: AnswerSettings,
    route: Route,
    reads_images: bool,
    deadline: Deadline,
    scope: Filter | None = None,
) -> Gathered:
    """The pages found, and what goes on behind them, as the answer model is to see them.

    Args:
        reader: of whoever asks.
        hits: best first. Of those with scores, `answer_pages` are shown by their words and
            `image_pages` by their pixels; those without were named by whoever asks, and all are.
        record_ids: of the hits, as far as they are known.
        query: the question as vectors.
        settings: the extractive model reads the words of all hits; no other setting is for it.
        route: where it shows less than both, evidence `auto` shows no more.
        reads_images: whether the answer model does.
        deadline: of the answer.
        scope: what was searched; no page outside it is added.

    Raises:
        ConfigError: `evidence_not_possible`, images alone for a model that reads none.
        NotFound: a page is gone, or is not for this reader.
        Cancelled: the deadline was.
    """
    stored = reader.stored_pages([hit.ref for hit in hits])
    known = dict(zip((hit.ref for hit in hits), record_ids, strict=False))
    if settings.model == "extractive" and not reads_images:
        pages = [
            ShownPage(number, hit, stored[hit.ref], wants_text=True, wants_image=False)
            for number, hit in enumerate(hits, start=1)
        ]
        evidence, n_without = _evidence(reader, pages, known, query)
        return Gathered(tuple(evidence), _without_word_vectors(n_without, len(evidence)))
    shows_text, shows_images = what_is_shown(settings, route, reads_images=reads_images)
    pages = within_quotas(hits, stored, settings, shows_text=shows_text, shows_images=shows_images)
    if settings.neighbours:
        pages += neighbours_of(reader, pages, len(hits), scope)
    pages, notices = shown_somehow(pages, reads_images=reads_images)
    repeats = settings.order == "best_last" and len(pages) > _MANY_PAGES
    drawn = draw(
        reader,
        [page.stored for page in pages if page.wants_image],
        settings,
        deadline,
        repeats_first=repeats and not pages[0].wants_text,
    )
    notices += _of_images(drawn, settings)
    evidence, _ = _evidence(reader, pages, known, query)
    evidence = [_with_image(page, each, drawn) for page, each in zip(pages, evidence, strict=True)]
    evidence, text_left, of_texts = _within_text_budget(evidence, settings)
    return Gathered(
        tuple(_ordered(evidence, settings, text_left if repeats else -1, drawn)),
        (*notices, *of_texts),
    )


# --- what of them -------------------------------------------------------------------------------
def _evidence(
    reader: CollectionReader,
    pages: Sequence[ShownPage],
    known: dict[PageRef, str],
    query: EncodedQuery,
) -> tuple[list[Evidence], int]:
    """The pages with all their words and the vectors of these, and how many pages have vectors
    that none of their words has.
    """
    ids = {page.hit.ref: known.get(page.hit.ref) or page.stored.record_id or "" for page in pages}
    vectors = reader.vectors(
        [record_id for record_id in ids.values() if record_id], PageField.PATCHES
    )
    nothing = np.zeros((0, query.tokens.dim), np.float32)
    evidence: list[Evidence] = []
    n_without = 0
    for page in pages:
        of_page: FloatArray | None = vectors.get(ids[page.hit.ref])
        words = page.stored.vector_words if of_page is not None else None
        n_without += of_page is not None and words is None and len(page.stored.text) > 0
        evidence.append(
            Evidence(
                number=page.number,
                hit=page.hit,
                text=page.stored.text,
                vectors=nothing if words is None or of_page is None else words.spread(of_page),
                vector_words=np.zeros(0, np.int32) if words is None else words.words,
                shows_text=page.wants_text,
            )
        )
    return evidence, n_without


def _with_image(page: ShownPage, evidence: Evidence, drawn: DrawnPages) -> Evidence:
    """Words are shown, too, where there should be an image and is none."""
    found = drawn.pages.get(page.hit.ref) if page.wants_image else None
    if found is None:
        return replace(evidence, shows_text=True)
    return replace(evidence, image=found.image, crops=found.crops)


def _of_images(drawn: DrawnPages, settings: AnswerSettings) -> tuple[Notice, ...]:
    notices: list[Notice] = []
    if drawn.failed:
        reasons = "; ".join(dict.fromkeys(drawn.failed.values()))
        said = f"{said_of(len(drawn.failed))} shown by words alone, without image: {reasons}"
        notices.append(Notice("pages_not_rendered", said))
    if drawn.n_without_room or drawn.n_crops_without_room:
        said = (
            f"images of {drawn.n_without_room} pages and of {drawn.n_crops_without_room} small "
            f"tables are left out: {settings.image_px:,} pixels (answer.image_px) hold no "
            f"more at {settings.min_image_px:,} a page at least (answer.min_image_px)"
        )
        notices.append(Notice("images_dropped", said))
    return tuple(notices)


def _within_text_budget(
    evidence: Sequence[Evidence], settings: AnswerSettings
) -> tuple[list[Evidence], int, tuple[Notice, ...]]:
    """Pages by rank with as many words as may be shown, the characters left, and what to tell."""
    read = [each for each in evidence if each.shows_text and len(each.text)]
    n_read = n_texts_within(
        [len(each.text.text) for each in read], budget_chars=settings.text_chars
    )
    shown = {each.number: each for each in read[:n_read]}
    notices: list[Notice] = []
    if read and len(read[0].text.text) > settings.text_chars:
        shown[read[0].number] = _cut(read[0], settings.text_chars)
        said = (
            f"the words of {read[0].hit.source}, page {read[0].hit.ref.page_number} are cut after "
            f"{settings.text_chars:,} characters (answer.text_chars)"
        )
        notices.append(Notice("text_cut", said))
    left = settings.text_chars - sum(len(each.text.text) for each in shown.values())
    kept: list[Evidence] = []
    n_unread = n_nothing = 0
    for each in evidence:
        if each.number in shown:
            kept.append(shown[each.number])
        elif each.image is not None:
            n_unread += each.shows_text and len(each.text) > 0
            kept.append(replace(each, shows_text=False))
        else:
            n_nothing += 1
    n_unread_texts = len(read) - n_read
    if n_unread_texts:
        said = (
            f"the words of the last {n_unread_texts} pages are left out: {settings.text_chars:,} "
            "characters (answer.text_chars) hold no more"
        )
        notices.append(Notice("texts_left_out", said))
    n_unreadable = n_nothing - (n_unread_texts - n_unread)
    if n_unreadable:
        said = f"{said_of(n_unreadable)} left out: neither words nor an image can be shown"
        notices.append(Notice("pages_left_out", said))
    return kept, left, tuple(notices)


def _cut(evidence: Evidence, n_chars: int) -> Evidence:
    """The first lines, with the vectors of their words."""
    kept = np.arange(len(evidence.text)) < n_words_within(evidence.text, budget_chars=n_chars)
    of_kept = kept[evidence.vector_words]
    return replace(
        evidence,
        text=evidence.text.chosen(kept),
        vectors=evidence.vectors[of_kept],
        vector_words=evidence.vector_words[of_kept],
    )


# --- in which order -----------------------------------------------------------------------------
def _ordered(
    evidence: Sequence[Evidence], settings: AnswerSettings, text_left: int, drawn: DrawnPages
) -> list[Evidence]:
    """As it is to be shown; `text_left` characters are there for a repetition, none below 0."""
    if settings.order == "document":
        return sorted(evidence, key=lambda each: (each.hit.source, each.hit.ref))
    if settings.order == "best_first" or len(evidence) <= _MANY_PAGES:
        return list(evidence)
    best = evidence[0]
    if best.shows_text and len(best.text.text) <= text_left:
        return [*evidence, replace(best, image=None, crops=())]
    if not best.shows_text and drawn.repeats_first:
        return [*evidence, replace(best, crops=())]
    return list(evidence)


def _without_word_vectors(n_without: int, n_pages: int) -> tuple[Notice, ...]:
    """What the reader of the answer should know, where pages have vectors of places alone."""
    if not n_without:
        return ()
    return (
        Notice(
            "no_word_vectors",
            f"{n_without} of the {n_pages} pages read have vectors of places, not of words; "
            "answers on them are found by the words of the question alone",
        ),
    )
