"""Ways to search texts that the stress of LIMIT compares, each by Octavo's own code for it.

All arms see the same words. The scores of all texts are kept for all questions, vectors are not: a
batch of texts is encoded, scored and let go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from ingestion.text import lexical_fields
from rag.errors import ConfigError, InputError
from rag.geometry import FloatArray
from rag.page_text import PageText
from rag.ports import EncodedQuery, PageEncoder, PageInput
from rag.ranking.legs import summed_zscores
from rag.scoring.blas import one_blas_thread
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.scoring.lexical import query_vector
from rag.scoring.maxsim import maxsim_many
from rag.settings import FdeSettings, RetrievalSettings
from rag.types import PageField, PageRef
from rag.wiring import fde_spec
from rag.wording.variants import query_terms

BM25, DENSE, MAXSIM, FDE, HYBRID = "bm25", "single_vector", "maxsim", "fde", "hybrid"
ARMS = (BM25, MAXSIM, HYBRID, FDE, DENSE)
_TEXTS_AT_ONCE = 64
# The legs that hybrid adds up, by the arm that scores them.
_LEGS = {PageField.WORDS: BM25, PageField.DENSE: DENSE, PageField.PATCHES: MAXSIM}

Progress = Callable[[int, int], None]
Scores = npt.NDArray[np.float32]  # (n_questions, n_texts); -inf where an arm does not find a text


@dataclass(frozen=True)
class Scored:
    """What the arms give, and what they were.

    Attributes:
        scores: arm to (n_questions, n_texts).
        described: arm to what it is, in words.
        fde_spec: of the fde arm.
    """

    scores: Mapping[str, Scores]
    described: Mapping[str, str]
    fde_spec: FdeSpec


def score_all(
    texts: Iterable[str],
    questions: Sequence[str],
    encoder: PageEncoder,
    *,
    n_texts: int,
    progress: Progress | None = None,
) -> Scored:
    """Every arm's score of every text for every question.

    Args:
        texts: read once, `n_texts` of them.
        questions: at least one.
        encoder: of words; closed by whoever opened it.
        n_texts: how many there are.
        progress: called with (texts scored, texts in all).

    Raises:
        InputError: a question without a word.
        ConfigError: an encoder that gives questions no pooled vector.
    """
    identity = encoder.identity
    spec = fde_spec(FdeSettings(), dim=identity.dim)
    encoded = [_encoded(encoder, question) for question in questions]
    shape = (len(questions), n_texts)
    scores = {name: np.full(shape, -np.inf, np.float32) for name in (DENSE, MAXSIM, FDE)}
    lexical = _Bm25(questions, n_texts)
    vectors = _Vectors(encoded, FdeEncoder(spec))
    at = 0
    for batch in _batches(texts):
        pages = [PageInput(PageRef("limit", 1), 1.0, 1.0, _one_line(text)) for text in batch]
        lexical.add([page.text for page in pages])
        for name, rows in vectors.scores(encoder, pages).items():
            scores[name][:, at : at + len(batch)] = rows
        at += len(batch)
        if progress is not None:
            progress(at, n_texts)
    scores[BM25] = lexical.scores()
    scores[HYBRID] = _hybrid(scores)
    weights = ", ".join(f"{name} {_weights()[name]:g}" for name in _LEGS)
    return Scored(
        scores,
        {
            BM25: "BM25 as the words of pages are searched, k1 1.2, b 0.75",
            MAXSIM: f"exact MaxSim over one vector a content word, {identity.dim} dimensions",
            HYBRID: f"sum of z-scores over all texts, as retrieval.fusion zscore: {weights}",
            FDE: f"fixed dimensional encoding of the same vectors, {spec.repetitions} repetitions "
            f"of 2^{spec.simhash_bits} cells of {spec.block_dim}: {spec.fde_size} dimensions",
            DENSE: f"mean of the token vectors, {identity.dense_dim} dimensions; best window",
        },
        spec,
    )


def ranked(scores: FloatArray, *, k: int) -> list[int]:
    """Places of the k best texts, best first; ties by place, what is not found left out."""
    order = np.argsort(-scores, kind="stable")[:k]
    return [int(place) for place in order if np.isfinite(scores[place])]


def _encoded(encoder: PageEncoder, question: str) -> EncodedQuery:
    try:
        encoded = encoder.encode_query(question)
    except InputError as error:
        raise InputError(f"question {question!r}: {error.message}") from error
    if encoded.dense is None:
        raise ConfigError(
            f"the {encoder.identity.name} encoder gives questions no pooled vector, and "
            f"{DENSE} and {HYBRID} compare such",
            next_step="Leave out --encoder.",
        )
    return encoded


class _Vectors:
    """The three arms that compare vectors, over the same encoding of a batch."""

    def __init__(self, questions: Sequence[EncodedQuery], fde: FdeEncoder) -> None:
        self._tokens = [question.tokens.vectors for question in questions]
        self._fde = fde
        self._fdes = np.stack([fde.encode_query(tokens) for tokens in self._tokens])
        dense = [question.dense for question in questions]
        self._dense = np.stack([each for each in dense if each is not None])

    def scores(self, encoder: PageEncoder, pages: Sequence[PageInput]) -> dict[str, FloatArray]:
        """Arm to (n_questions, n_pages); -inf for a page without words."""
        encoded = encoder.encode_pages(pages)
        patches = [page.patches.vectors for page in encoded]
        maxsim = np.stack([maxsim_many(tokens, patches) for tokens in self._tokens])
        fde = np.full_like(maxsim, -np.inf)
        dense = np.full_like(maxsim, -np.inf)
        held = [at for at, rows in enumerate(patches) if len(rows)]
        if held:
            with one_blas_thread():
                fdes = self._fde.encode_pages([patches[at] for at in held])
                fde[:, held] = self._fdes @ fdes.T
        with one_blas_thread():
            for at, page in enumerate(encoded):
                if len(page.dense):
                    dense[:, at] = (self._dense @ page.dense.T).max(axis=1)
        return {MAXSIM: maxsim, FDE: fde, DENSE: dense}


class _Bm25:
    """BM25 over the sparse vectors that pages are stored with; the store's half is the IDF."""

    def __init__(self, questions: Sequence[str], n_texts: int) -> None:
        self._questions = [query_vector(query_terms(question)) for question in questions]
        asked = np.concatenate([question.indices for question in self._questions])
        self._terms = np.unique(asked)
        self._n_texts = n_texts
        self._n_read = 0
        self._postings: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []

    def add(self, texts: Sequence[PageText]) -> None:
        """Keeps of each text what any question asks for."""
        for text in texts:
            stored = lexical_fields(text).get(PageField.WORDS)
            if stored is None:
                empty = np.zeros(0, np.int64)
                self._postings.append((empty, np.zeros(0, np.float32)))
            else:
                asked = np.isin(stored.indices, self._terms)
                terms = np.searchsorted(self._terms, stored.indices[asked])
                self._postings.append((terms.astype(np.int64), stored.values[asked]))

    def scores(self) -> Scores:
        """(n_questions, n_texts): -inf where no term of the question stands in the text."""
        lengths = [len(terms) for terms, _ in self._postings]
        texts = np.repeat(np.arange(len(self._postings)), lengths)
        terms = np.concatenate([terms for terms, _ in self._postings])
        weights = np.concatenate([values for _, values in self._postings])
        order = np.argsort(terms, kind="stable")
        texts, weights = texts[order], weights[order]
        counts = np.bincount(terms, minlength=len(self._terms))
        ends = np.cumsum(counts)
        # As the store has it (Qdrant): ln((N - n + 1/2) / (n + 1/2) + 1).
        idf = np.log((self._n_texts - counts + 0.5) / (counts + 0.5) + 1.0)
        found = np.full((len(self._questions), self._n_texts), -np.inf, np.float32)
        for row, question in enumerate(self._questions):
            total = np.zeros(self._n_texts)
            held = np.zeros(self._n_texts, np.bool_)
            places = np.searchsorted(self._terms, question.indices)
            for term, weight in zip(places.tolist(), question.values.tolist(), strict=True):
                span = slice(int(ends[term] - counts[term]), int(ends[term]))
                total[texts[span]] += weight * idf[term] * weights[span]
                held[texts[span]] = True
            found[row, held] = total[held]
        return found


def _hybrid(scores: Mapping[str, Scores]) -> Scores:
    """Question by question: the scores of the full set are 200 MB an arm."""
    weights = _weights()
    found = np.full_like(scores[MAXSIM], -np.inf)
    for row in range(len(found)):
        legs = {name.value: _or_missing(scores[arm][row]) for name, arm in _LEGS.items()}
        held = ~np.isnan(np.stack([*legs.values()])).all(axis=0)
        found[row, held] = summed_zscores(legs, weights)[held]
    return found


def _or_missing(scores: FloatArray) -> npt.NDArray[np.float64]:
    """NaN, which fusion takes for a page that a leg does not name, in place of -inf."""
    return np.where(np.isfinite(scores), scores, np.nan).astype(np.float64)


def _weights() -> dict[str, float]:
    weights: dict[str, float] = RetrievalSettings().weights.model_dump()
    return weights


def _one_line(text: str) -> PageText:
    """Words without places or type: no line of it is a heading."""
    words = tuple(text.split())
    n = len(words)
    return PageText(
        words,
        np.zeros((n, 4), np.float32),
        np.zeros(n, np.int32),
        np.zeros(n, np.float32),
        np.zeros(n, np.bool_),
    )


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(texts)
    while batch := list(islice(rest, _TEXTS_AT_ONCE)):
        yield batch
