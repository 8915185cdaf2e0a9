"""Which pages an answer model is shown, and whether by their words, by their pixels or by both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rag.answer.evidence.neighbours import runs_over
from rag.errors import ConfigError, NotFound
from rag.filters import Condition, Filter
from rag.ranking.route import Route
from rag.repository import CollectionReader, StoredPage
from rag.settings import AnswerSettings
from rag.types import Notice, PageHit, PageRef

_MAX_NEIGHBOURS = 2


@dataclass(frozen=True)
class ShownPage:
    """A page that may be shown."""

    number: int
    hit: PageHit
    stored: StoredPage
    wants_text: bool
    wants_image: bool


def what_is_shown(
    settings: AnswerSettings, route: Route, *, reads_images: bool
) -> tuple[bool, bool]:
    """Whether words are shown, and whether pixels are.

    Raises:
        ConfigError: `evidence_not_possible`, images alone for a model that reads none.
    """
    if settings.evidence == "image" and not reads_images:
        raise ConfigError(
            "answer.evidence is image, and the answer model reads no images",
            code="evidence_not_possible",
            next_step="Set answer.evidence to auto or text, or choose a model that reads images.",
        )
    if settings.evidence != "auto":
        return settings.evidence != "image", settings.evidence != "text" and reads_images
    shows_images = reads_images and (route.shows_images or not route.shows_text)
    return route.shows_text or not shows_images, shows_images


def within_quotas(
    hits: Sequence[PageHit],
    stored: Mapping[PageRef, StoredPage],
    settings: AnswerSettings,
    *,
    shows_text: bool,
    shows_images: bool,
) -> list[ShownPage]:
    """Hits that are shown by their words, by their pixels, or by both, with numbers by rank."""
    places = list(range(len(hits)))
    given = {place for place in places if not hits[place].scores}
    found = [place for place in places if place not in given]
    # Vectors of places, not of words, know best what the pixels show.
    by_pixels = found
    if all("maxsim" in hits[place].scores for place in found) and all(
        stored[hits[place].ref].vector_words is None for place in found
    ):
        by_pixels = sorted(found, key=lambda place: (-hits[place].scores["maxsim"], place))
    by_words = given | set(found[: settings.answer_pages]) if shows_text else set()
    seen = given | set(by_pixels[: settings.image_pages]) if shows_images else set()
    return [
        ShownPage(place + 1, hit, stored[hit.ref], place in by_words, place in seen)
        for place, hit in enumerate(hits)
        if place in by_words or place in seen
    ]


def neighbours_of(
    reader: CollectionReader, pages: Sequence[ShownPage], n_hits: int, scope: Filter | None
) -> list[ShownPage]:
    """Next pages to which one runs over, of the best pages first; numbered behind all hits."""
    taken = {page.hit.ref for page in pages}
    number = n_hits
    found: list[ShownPage] = []
    for page in pages:
        if len(found) == _MAX_NEIGHBOURS:
            break
        ref = PageRef(page.hit.ref.document_id, page.hit.ref.page_number + 1)
        following = None if ref in taken else _readable(reader, ref, scope)
        if following is None or not runs_over(page.stored.text, following.text):
            continue
        taken.add(ref)
        number += 1
        hit = PageHit(number, ref, following.source, 0.0, 0.0, "", ())
        found.append(ShownPage(number, hit, following, page.wants_text, page.wants_image))
    return found


def _readable(reader: CollectionReader, ref: PageRef, scope: Filter | None) -> StoredPage | None:
    """A page, if it is there, for this reader, and within the scope."""
    if scope is not None and scope != Filter():
        is_it = (
            Condition("document_id", "$eq", ref.document_id),
            Condition("page_number", "$eq", ref.page_number),
        )
        if not reader.n_pages(Filter(must=(scope, *is_it))):
            return None
    try:
        return reader.stored_pages([ref])[ref]
    except NotFound:
        return None  # the document ends here, or is gone


def shown_somehow(
    pages: Sequence[ShownPage], *, reads_images: bool
) -> tuple[list[ShownPage], tuple[Notice, ...]]:
    """Pages without words are shown as images; where nobody reads these, they are left out."""
    kept: list[ShownPage] = []
    n_seen = n_left_out = 0
    for page in pages:
        if len(page.stored.text) or page.wants_image:
            kept.append(page)
        elif reads_images:
            n_seen += 1
            kept.append(replace(page, wants_image=True))
        else:
            n_left_out += 1
    notices: list[Notice] = []
    if n_seen:
        said = f"{said_of(n_seen)} without a word shown as images all the same"
        notices.append(Notice("pages_without_words", said))
    if n_left_out:
        said = f"{said_of(n_left_out)} without a word left out: the answer model reads no images"
        notices.append(Notice("pages_left_out", said))
    return kept, tuple(notices)


def said_of(n_pages: int) -> str:
    return "1 page is" if n_pages == 1 else f"{n_pages} pages are"
