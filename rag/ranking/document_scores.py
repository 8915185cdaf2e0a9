"""How well each document fits a question, with what is known of the documents kept between."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from rag.repository import CollectionReader
from rag.scoring.document import DocumentFeatures, DocumentScorer
from rag.scoring.fusion import zscore

_MAX_KEPT = 8  # a collection as one reader sees it, each


@dataclass(frozen=True)
class KnownDocuments:
    """What is known of the documents that a reader may see.

    Attributes:
        languages: other than English that they are in.
        has_captions: whether any of them has a page that is described.
    """

    scorer: DocumentScorer
    languages: frozenset[str]
    has_captions: bool

    def scores(self, question: str) -> dict[str, float]:
        """Document id -> standard deviations from the mean of all of them."""
        scores = self.scorer.scores(question)
        return dict(zip(scores, zscore(np.array(list(scores.values()))).tolist(), strict=True))


class DocumentScores:
    """Thread-safe."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, frozenset[str]], KnownDocuments] = {}
        self._lock = threading.Lock()

    def known(self, reader: CollectionReader) -> KnownDocuments:
        """Kept until a document of the collection appears, changes or goes."""
        features = reader.document_features()
        key = (reader.collection, reader.generation, frozenset(name for name, _ in features))
        with self._lock:
            known = self._known.get(key)
        if known is None:
            documents = [(name, DocumentFeatures.model_validate(found)) for name, found in features]
            known = KnownDocuments(
                DocumentScorer(documents),
                frozenset(language for _, each in documents for language in each.languages),
                any(each.has_captions for _, each in documents),
            )
            with self._lock:
                if len(self._known) >= _MAX_KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[key] = known
        return known
