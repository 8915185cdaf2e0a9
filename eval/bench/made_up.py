"""Pages and queries made up so that they are as hard to tell apart as embeddings of real pages.

All rows lean one way and spread along few directions; the twelve pages of a document share topics;
two rows of five are background that hardly varies. A query is noisy views of a few patches of one
page, and rows that say little. Such data ranks methods; what they lose on real pages it does not
tell.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rag.errors import InputError
from rag.geometry import FloatArray

DIM = 128
EASY, HARD = 0.75, 2.2  # noise of a query's views of its page

_PAGES_A_DOCUMENT = 12
_N_TOPICS, _N_CONCEPTS, _N_LAYOUTS = 150, 40, 60
_SENSES, _LAYOUTS_A_PAGE = 36, 8  # concepts, and kinds of background, of one page
_CONTENT_SHARE = 0.6
_N_VIEWS, _N_AUGMENTED, _N_SEEN = 22, 10, 6


class Pages(Protocol):
    """Where a corpus comes from.

    Attributes:
        key: names the very pages: another key, other pages.
    """

    key: str

    def page(self, number: int) -> FloatArray:
        """(n_rows, DIM) unit rows, the same at every call."""

    def queries(self, n: int, noise: float) -> FloatArray:
        """(n, n_query, DIM) unit rows."""


class MadeUpPages:
    """See the module. Every page is drawn from its own stream, so that any can be drawn again."""

    def __init__(self, n_pages: int, n_rows: int = 1030, *, seed: int = 0) -> None:
        self.n_pages, self.n_rows, self._seed = n_pages, n_rows, seed
        self.key = f"made-up-1-{n_pages}x{n_rows}-{seed}"
        rng = np.random.default_rng((seed, 0))
        directions, _ = np.linalg.qr(rng.standard_normal((DIM, DIM)))
        spectrum = np.arange(1, DIM + 1)[:, None] ** -0.5
        spread = spectrum * directions
        self._spread = np.asarray(spread / np.linalg.norm(spread), dtype=np.float32)
        self._lean = _unit(rng.standard_normal(DIM, dtype=np.float32)) * np.float32(0.9)
        self._concepts = self._draw(rng, _N_TOPICS, 1) * np.float32(0.8) + self._draw(
            rng, _N_TOPICS, _N_CONCEPTS
        )
        self._layouts = self._draw(rng, _N_LAYOUTS) * np.float32(0.7)

    def page(self, number: int) -> FloatArray:
        return self._page(number)[0]

    def queries(self, n: int, noise: float) -> FloatArray:
        rng = np.random.default_rng((self._seed, 3))
        asked = rng.choice(self.n_pages, n, replace=n > self.n_pages)
        return np.stack([self._query(rng, int(number), np.float32(noise)) for number in asked])

    def query(self, number: int, noise: float) -> FloatArray:
        """(n_query, DIM) unit rows about one page, the same at every call."""
        rng = np.random.default_rng((self._seed, 4, number))
        return self._query(rng, number, np.float32(noise))

    def _page(self, number: int) -> tuple[FloatArray, Any]:
        """Rows, and which of them are content."""
        of_document = np.random.default_rng((self._seed, 1, number // _PAGES_A_DOCUMENT))
        topics = of_document.integers(0, _N_TOPICS, 4)
        rng = np.random.default_rng((self._seed, 2, number))
        own = rng.choice(topics, 2)[rng.integers(0, 2, _SENSES)]
        often = np.minimum(rng.zipf(1.3, _SENSES), _N_CONCEPTS) - 1
        senses = self._concepts[own, often] + np.float32(0.35) * self._draw(rng, _SENSES)
        layouts = self._layouts[rng.integers(0, _N_LAYOUTS, _LAYOUTS_A_PAGE)]
        is_content = rng.random(self.n_rows) < _CONTENT_SHARE
        at = np.sort(rng.integers(0, _SENSES, self.n_rows))  # neighbours show the same
        base = np.where(is_content[:, None], senses[at], layouts[at % _LAYOUTS_A_PAGE])
        width = np.where(is_content, 0.45, 0.15).astype(np.float32)
        return _unit(self._lean + base + width[:, None] * self._draw(rng, self.n_rows)), is_content

    def _query(self, rng: np.random.Generator, number: int, noise: np.float32) -> FloatArray:
        rows, is_content = self._page(number)
        content = np.flatnonzero(is_content)
        seen = rows[rng.choice(content, min(_N_SEEN, len(content)), replace=False)]
        views = seen[rng.integers(0, len(seen), _N_VIEWS)] + noise * self._draw(rng, _N_VIEWS)
        augmented = views.mean(axis=0) + np.float32(0.5) * noise * self._draw(rng, _N_AUGMENTED)
        return _unit(np.concatenate([views, augmented]))

    def _draw(self, rng: np.random.Generator, *shape: int) -> FloatArray:
        """Of length 1 on average, along the spectrum."""
        drawn: FloatArray = rng.standard_normal((*shape, DIM), dtype=np.float32) @ self._spread
        return drawn


class _PagesOfFile:
    """The `Corpus` of a Python file: page(number) gives rows first, queries(n, noise=) likewise."""

    def __init__(self, path: Path, n_pages: int, n_rows: int) -> None:
        spec = importlib.util.spec_from_file_location("octavo_bench_corpus", path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise InputError(
                f"{path.name!r} is no Python file with a class Corpus",
                next_step="Name the file that makes the pages, or leave --corpus out.",
            )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._corpus = module.Corpus(n_pages, n_rows)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        self.key = f"{path.stem}-{digest}-{n_pages}x{n_rows}"

    def page(self, number: int) -> FloatArray:
        return np.asarray(self._corpus.page(number)[0], dtype=np.float32)

    def queries(self, n: int, noise: float) -> FloatArray:
        return np.asarray(self._corpus.queries(n, noise=noise)[0], dtype=np.float32)


def open_pages(n_pages: int, n_rows: int, path: Path | None = None) -> Pages:
    """Made-up pages, or those of the class `Corpus` in the file at `path`.

    Raises:
        InputError: no such file, or no Python.
    """
    return MadeUpPages(n_pages, n_rows) if path is None else _PagesOfFile(path, n_pages, n_rows)


def _unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)
