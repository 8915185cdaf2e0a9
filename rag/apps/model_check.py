"""Loads an encoder as an ingest would, and measures it on the pages of the self-test."""

from __future__ import annotations

import time

import numpy as np

from rag.encoders import self_test
from rag.settings import EncoderSettings
from rag.types import Json, VectorKind
from rag.wiring import load_encoder


def check_encoder(settings: EncoderSettings) -> Json:
    """What the encoder is, and what pages and a question take; its self-test has held.

    Returns:
        Among others `rows_per_page` and `special_rows` of each built-in page, the smallest and
        largest of `norms`, and `load_s`, `page_s` (a page), `query_s` in seconds.

    Raises:
        ConfigError, BackendError: it does not load, or the self-test does not hold.
    """
    start = time.perf_counter()
    encoder = load_encoder(settings)
    try:
        identity = encoder.identity  # waits until it is loaded
        load_s = time.perf_counter() - start
        inputs = self_test.page_inputs()
        start = time.perf_counter()
        pages = [page.patches for page in encoder.encode_pages(inputs)]
        page_s = (time.perf_counter() - start) / len(inputs)
        start = time.perf_counter()
        query = encoder.encode_query(self_test.QUERIES[0]).tokens
        query_s = time.perf_counter() - start
        norms = np.linalg.norm(np.concatenate([query.vectors, *(p.vectors for p in pages)]), axis=1)
        return {
            "encoder": str(identity),
            "settings": identity.settings,
            "dim": identity.dim,
            "rows_per_page": [len(page) for page in pages],
            "special_rows": [
                0 if page.kinds is None else int((page.kinds == VectorKind.SPECIAL).sum())
                for page in pages
            ],
            "rows_per_query": len(query),
            "norms": [round(float(norms.min()), 5), round(float(norms.max()), 5)],
            "load_s": round(load_s, 2),
            "page_s": round(page_s, 3),
            "query_s": round(query_s, 3),
        }
    finally:
        encoder.close()
