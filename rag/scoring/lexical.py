"""Words as BM25 sees them: one tokenisation for pages and questions, hashed to sparse vectors.

The store multiplies by the inverse document frequency; the page side carries the term-frequency
half of BM25. Lengths are compared with a constant, so that a page's weights never depend on others.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable

import numpy as np

from rag.types import SparseVector

# Words that make a sentence a question and say nothing about where its answer stands.
_STOP_WORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing down during each few for from further give had
    has have having he her here hers him his how i if in into is it its just let list me more most
    my no nor not of off on once only or other our out over own please provide same she should show
    so some such tell than that the their them then there these they this those through to too
    under until up us very was we were what when where which while who whom why will with would you
    your""".split()
)
_TOKEN = re.compile(r"\d[\d.,]*|[^\W\d_]+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]")
K1, B = 1.2, 0.75


def _fold(text: str) -> str:
    """Lower case, ligatures and full-width forms opened, accents of Latin letters dropped."""
    if text.isascii():
        return text.lower()
    opened = unicodedata.normalize("NFKD", text)
    return "".join(char for char in opened if not unicodedata.combining(char)).lower()


def _stem(word: str) -> str:
    """Harman's S-stemmer (1991): plural to singular, nothing that changes a word's kind."""
    if len(word) <= 3 or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if not word.endswith(("us", "ss")):
        return word[:-1]
    return word


def terms(text: str) -> list[str]:
    """Index terms in order: `FY2022` is fy 2022, `1,234.50` is 1234.50, Chinese and Japanese runs
    and Hangul are character pairs, other words are folded and stemmed.
    """
    found: list[str] = []
    for match in _TOKEN.finditer(_fold(text)):
        token = match.group()
        if token[0].isdigit():
            found.append(token.replace(",", "").rstrip("."))
        elif _CJK.search(token):
            found.extend(token[i : i + 2] for i in range(max(1, len(token) - 1)))
        else:
            found.append(_stem(token))
    return found


def content_terms(question: str) -> list[str]:
    """The terms of a question that say what to look for; all of them if none is left."""
    kept = [
        term
        for match in re.finditer(r"\S+", question)
        if (word := match.group().strip("?.,!:;()\"'").lower()) not in _STOP_WORDS
        for term in terms(word)
        if term not in _STOP_WORDS
    ]
    return kept or terms(question)


def is_content_word(word: str) -> bool:
    """Whether a word says something by itself: letters or digits, and not a function word."""
    return any(map(str.isalnum, word)) and word.strip("?.,!:;()\"'").lower() not in _STOP_WORDS


def _term_id(term: str) -> int:
    return zlib.crc32(term.encode())


def _sparse(weights: dict[int, float]) -> SparseVector:
    indices = np.fromiter(weights.keys(), np.uint32, len(weights))
    values = np.fromiter(weights.values(), np.float32, len(weights))
    order = np.argsort(indices)
    return SparseVector(indices[order], values[order])


def page_vector(page_terms: Iterable[str], *, typical_length: float) -> SparseVector:
    """The page half of BM25: tf (k1 + 1) / (tf + k1 (1 - b + b length / typical_length)).

    Source: Robertson & Zaragoza 2009, The Probabilistic Relevance Framework, section 3.
    """
    counts = Counter(page_terms)
    norm = K1 * (1 - B + B * counts.total() / typical_length)
    weights: dict[int, float] = {}
    for term, count in counts.items():
        key = _term_id(term)
        weights[key] = weights.get(key, 0.0) + count * (K1 + 1) / (count + norm)
    return _sparse(weights)


def query_vector(query_terms: Iterable[str]) -> SparseVector:
    """Weight 1 a term, however often the question repeats it."""
    return _sparse({_term_id(term): 1.0 for term in query_terms})
