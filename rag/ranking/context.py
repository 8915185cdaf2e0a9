"""What a page's document, its neighbours and its number say of it, as one more leg.

Everything is in the units of a sum of z-scores and added softly; nothing is cut by it. What each
part is worth was measured: docs/adr/0022-document-context.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from rag.filters import Condition, Filter
from rag.ranking.legs import ABSOLUTE, CONTEXT, Legs, summed_zscores
from rag.repository import CollectionReader, PageSummary
from rag.scoring.fusion import Scores, aligned, zscore
from rag.settings import RetrievalSettings

_MOST_PAGES_NAMED = 20

# Any number of spaces would be tried at each of them.
_SPACES = r"\s{0,3}"
_AND = r"(?:,|;|&|and|or|to|und|oder|bis|et|ou|y|o|e|-|\u2013)"
_NUMBERS = rf"\d{{1,4}}(?:{_SPACES}{_AND}{_SPACES}\d{{1,4}})*"
# "page 12", "Slides 3, 4 and 7", "pp. 3-5"; not the 10 of "page 10-K".
_NAMED = re.compile(
    r"\b(?:pages?|pp?\.|slides?|seiten?|folien?|p\u00e1ginas?|paginas?|pagine|diapositives?"
    rf"|diapositivas?){_SPACES}(?:numbers?|no\.?|nos\.?|nr\.?|#|:)?{_SPACES}({_NUMBERS})"
    r"(?![\w%]|-[^\W\d])"
    rf"|\u7b2c?{_SPACES}(\d{{1,4}}){_SPACES}[\u9875\u9801]",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d+)\s*(?:to|bis|-|\u2013)\s*(\d+)")


def named_pages(question: str) -> frozenset[int]:
    """Numbers of the pages that a question names ("on page 12", "slides 3 to 5")."""
    found: set[int] = set()
    for match in _NAMED.finditer(question):
        listed = match[1] or match[2]
        found.update(int(number) for number in re.findall(r"\d+", listed))
        for first, last in _RANGE.findall(listed):
            found.update(range(int(first), min(int(last), int(first) + _MOST_PAGES_NAMED)))
    return frozenset(sorted(found - {0})[:_MOST_PAGES_NAMED])


def named_page_ids(
    reader: CollectionReader,
    scope: Filter | None,
    documents: Sequence[str],
    numbers: frozenset[int],
) -> list[str]:
    """Records of the pages with these numbers in these documents: candidates by their number."""
    if not documents or not numbers:
        return []
    wanted = (
        Condition("document_id", "$in", tuple(documents)),
        Condition("page_number", "$in", tuple(sorted(numbers))),
    )
    return reader.ids(Filter(must=(*((scope,) if scope else ()), *wanted)))


def with_context(
    legs: Legs,
    pages: Mapping[str, PageSummary],
    settings: RetrievalSettings,
    *,
    question: str = "",
    document_vectors: Mapping[str, float] | None = None,
) -> Legs:
    """The legs, with one more where there is something to add.

    Args:
        legs: raw scores of every leg, by record id.
        pages: every candidate.
        settings: `context` says what is added, `weights` how the legs make a page's own score.
        question: names pages, maybe.
        document_vectors: document id to z-score, from `DocumentVectors`; asked for where
            `context.document_vector` is above 0.
    """
    context = settings.context
    ids = sorted(pages)
    added = np.zeros(len(ids))
    documents = [pages[record_id].ref.document_id for record_id in ids]
    numbers = [pages[record_id].ref.page_number for record_id in ids]
    if context.neighbours or context.document_pages != "none":
        own = _own_scores(ids, legs, settings)
        if context.neighbours:
            added += context.neighbours * neighbour_scores(documents, numbers, own)
        if context.document_pages != "none":
            added += page_evidence(documents, own, best=context.document_pages == "max")
    if context.document_vector and document_vectors:
        told = [document_vectors.get(document_id, 0.0) for document_id in documents]
        added += context.document_vector * np.array(told, np.float64)
    if context.named_page:
        named = named_pages(question)
        added += context.named_page * np.array([number in named for number in numbers], np.float64)
    if not added.any():
        return legs
    return {**legs, CONTEXT: dict(zip(ids, added.tolist(), strict=True))}


def neighbour_scores(documents: Sequence[str], numbers: Sequence[int], scores: Scores) -> Scores:
    """(n_pages,) scores of the page before plus that of the page after, 0 for one not there.

    Args:
        documents: of each page.
        numbers: of each page, from 1.
        scores: (n_pages,) around 0, so that a page that is not there is like an average one.
    """
    at = {page: index for index, page in enumerate(zip(documents, numbers, strict=True))}
    found = np.zeros(len(scores))
    for step in (-1, 1):
        beside = [
            at.get((document_id, number + step))
            for document_id, number in zip(documents, numbers, strict=True)
        ]
        found += [0.0 if index is None else scores[index] for index in beside]
    return found


def page_evidence(documents: Sequence[str], scores: Scores, *, best: bool) -> Scores:
    """(n_pages,) how well the page's document does by its pages: z-score over the documents.

    Args:
        documents: of each page.
        scores: (n_pages,).
        best: by its best page, else by the mean of its pages.
    """
    names, of_page = np.unique(np.array(documents, dtype=object), return_inverse=True)
    if best:
        told = np.full(len(names), -np.inf)
        np.maximum.at(told, of_page, scores)
    else:
        told = np.bincount(of_page, weights=scores, minlength=len(names)) / np.bincount(of_page)
    return zscore(told)[of_page]


def _own_scores(ids: Sequence[str], legs: Legs, settings: RetrievalSettings) -> Scores:
    """(n_pages,) weighted sum of z-scores, mean 0: what the legs say without the document."""
    relative = {name: aligned(ids, leg) for name, leg in legs.items() if name not in ABSOLUTE}
    if not relative:
        return np.zeros(len(ids))
    return summed_zscores(relative, settings.weights.model_dump())
