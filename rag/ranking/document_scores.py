"""How well each document fits a question, with what is known of the documents kept between."""

from __future__ import annotations

import threading

import numpy as np

from rag.repository import CollectionReader
from rag.scoring.document import DocumentFeatures, DocumentScorer
from rag.scoring.fusion import zscore

_MAX_SCORERS = 8  # a collection as one reader sees it, each


class DocumentScores:
    """Thread-safe."""

    def __init__(self) -> None:
        self._scorers: dict[tuple[str, int, frozenset[str]], DocumentScorer] = {}
        self._lock = threading.Lock()

    def __call__(self, reader: CollectionReader, question: str) -> dict[str, float]:
        """Document id -> standard deviations from the mean of all documents the reader may see."""
        features = reader.document_features()
        key = (reader.collection, reader.generation, frozenset(name for name, _ in features))
        with self._lock:
            scorer = self._scorers.get(key)
        if scorer is None:
            scorer = DocumentScorer(
                [(name, DocumentFeatures.model_validate(found)) for name, found in features]
            )
            with self._lock:
                if len(self._scorers) >= _MAX_SCORERS:
                    self._scorers.pop(next(iter(self._scorers)))
                self._scorers[key] = scorer
        scores = scorer.scores(question)
        return dict(zip(scores, zscore(np.array(list(scores.values()))).tolist(), strict=True))
