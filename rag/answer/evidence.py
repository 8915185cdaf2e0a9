"""What of the pages found an answer model is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rag.deadline import Deadline
from rag.ports import EncodedQuery, Evidence
from rag.ranking.route import Route
from rag.repository import CollectionReader
from rag.settings import AnswerSettings
from rag.types import Notice, PageField, PageHit


@dataclass(frozen=True)
class Gathered:
    """Pages in the order they are shown in, and what the reader of the answer should know."""

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
) -> Gathered:
    """The pages found, with their words and the vectors of these."""
    vectors = reader.vectors(record_ids, PageField.PATCHES)
    stored = reader.stored_pages([hit.ref for hit in hits])
    nothing = np.zeros((0, query.tokens.dim), np.float32)
    evidence: list[Evidence] = []
    without = 0
    for number, (hit, record_id) in enumerate(zip(hits, record_ids, strict=True), start=1):
        words = stored[hit.ref].vector_words if record_id in vectors else None
        without += record_id in vectors and words is None and len(stored[hit.ref].text) > 0
        evidence.append(
            Evidence(
                number=number,
                hit=hit,
                text=stored[hit.ref].text,
                vectors=nothing if words is None else words.spread(vectors[record_id]),
                vector_words=np.zeros(0, np.int32) if words is None else words.words,
            )
        )
    return Gathered(tuple(evidence), _degraded(evidence, without))


def _degraded(evidence: Sequence[Evidence], without: int) -> tuple[Notice, ...]:
    """What the reader of the answer should know, where pages have vectors of places alone."""
    if not without:
        return ()
    return (
        Notice(
            "no_word_vectors",
            f"{without} of the {len(evidence)} pages read have vectors of places, not of words; "
            "answers on them are found by the words of the question alone",
        ),
    )
