"""Words as BM25 sees them: one tokenisation for pages and questions, hashed to sparse vectors.

The store multiplies by the inverse document frequency; the page side carries the term-frequency
half of BM25. Lengths are compared with a constant, so that a page's weights never depend on others.

A page has its words as `terms` gives them, whatever their language. A page that is not in English
also has their stems, under names that say the language (docs/adr/0025-languages.md).
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from rag.language.detection import ENGLISH, page_language, question_language
from rag.language.direction import in_reading_order
from rag.language.folding import TOKEN, characters, fold, is_unspaced, runs, written
from rag.language.function_words import function_words, without_function_runs
from rag.language.numerals import DECIMAL_COMMA, local_numbers
from rag.language.stemming import LANGUAGES, languages_of, stem
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
_HIRAGANA = re.compile(r"[\u3041-\u309f]+")
_PUNCTUATION = (
    "?.,!:;()\"'\u00bf\u00a1\u00ab\u00bb\u201c\u201d\u201e\u2018\u2019\u037e"
    "\u061f\u060c\u061b\u0964"  # Arabic, Indic
    "\u3001\u3002\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f\u300c\u300d"  # East Asian
)
K1, B = 1.2, 0.75
# What a word of a page not in English counts for by itself; its stem counts for the rest, so that
# the same word found is 1 in any language.
_WORD_SHARE = 0.4


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


def _pairs(run: str) -> list[str]:
    """Neighbouring characters of writing without spaces; a lone one by itself."""
    units = characters(run)
    return ["".join(units[i : i + 2]) for i in range(max(1, len(units) - 1))]


def terms(text: str) -> list[str]:
    """Index terms in order: `FY2022` is fy 2022, `1,234.50` is 1234.50, writing without spaces
    (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) is character pairs, other words are
    folded and stemmed.
    """
    found: list[str] = []
    for token in TOKEN.findall(fold(text)):
        if token[0].isdigit():
            found.append(token.replace(",", "").rstrip("."))
        elif is_unspaced(token):
            for run, is_unspaced_run in runs(token):
                found.extend(_pairs(run) if is_unspaced_run else [_stem(run)])
        else:
            found.append(_stem(token))
    return found


# --- questions ----------------------------------------------------------------------------------
def _content_pieces(question: str) -> tuple[list[str], frozenset[str]]:
    """What stands between spaces and is no function word, and the function words there are."""
    language = question_language(question)
    function = _STOP_WORDS if language == ENGLISH else function_words(language)
    pieces = [piece.strip(_PUNCTUATION) for piece in without_function_runs(question).split()]
    return [piece for piece in pieces if fold(piece) not in function], function


def content_terms(question: str) -> list[str]:
    """The terms of a question that say what to look for; all of them if none is left."""
    pieces, function = _content_pieces(question)
    kept = [term for piece in pieces for term in terms(piece) if term not in function]
    # Hiragana between other characters are endings and particles.
    named = [term for term in kept if not _HIRAGANA.fullmatch(term)]
    return named or kept or terms(question)


def content_stems(question: str, languages: Collection[str] = LANGUAGES) -> list[str]:
    """The content words' stems in each of the languages, as pages in them hold them.

    A question is too short to be sure of its language, so none is left out that its letters allow.
    Words may lack the accents they have on the page, or have those that the page lacks.

    Args:
        question: as asked.
        languages: that pages are in; others would only be looked for in vain.
    """
    pieces, function = _content_pieces(question)
    words = [
        word
        for piece in pieces or question.split()
        for word in TOKEN.findall(written(piece))
        if not word[0].isdigit() and (not pieces or fold(word) not in function)
    ]
    found = [
        name
        for word in dict.fromkeys(words)
        for language in sorted(languages_of(word).intersection(languages))
        for form in (word, fold(word))
        # With the stem the word: what is cut off it as a prefix may be its own first letter.
        for name in (_named(form, language), f"{language}~{form}")[: 1 + (language == "he")]
    ]
    return list(dict.fromkeys(found))


def is_content_word(word: str) -> bool:
    """Whether a word says something by itself: letters or digits, and not a function word."""
    return any(map(str.isalnum, word)) and word.strip("?.,!:;()\"'").lower() not in _STOP_WORDS


# --- vectors ------------------------------------------------------------------------------------
def _named(word: str, language: str) -> str:
    """The name under which the stem of a word stands in the index; no term has a tilde."""
    return f"{language}~{stem(word, language)}"


def _page_stems(text: str, language: str) -> list[str]:
    return [
        _named(word, language)
        for word in TOKEN.findall(written(text))
        if language in languages_of(word)
    ]


def _page_characters(text: str) -> list[str]:
    """Single characters of writing without spaces, for questions that have but one."""
    if text.isascii():
        return []
    return [
        unit
        for token in TOKEN.findall(fold(text))
        if is_unspaced(token)
        for run, is_unspaced_run in runs(token)
        if is_unspaced_run and len(units := characters(run)) > 1
        for unit in units
    ]


def _term_id(term: str) -> int:
    return zlib.crc32(term.encode())


def _sparse(weights: dict[int, float]) -> SparseVector:
    indices = np.fromiter(weights.keys(), np.uint32, len(weights))
    values = np.fromiter(weights.values(), np.float32, len(weights))
    order = np.argsort(indices)
    return SparseVector(indices[order], values[order])


def text_vector(text: str, *, typical_length: float, language: str | None = None) -> SparseVector:
    """The page half of BM25: its terms, and what else it is found by.

    tf (k1 + 1) / (tf + k1 (1 - b + b length / typical_length)); stems add nothing to the length.

    Args:
        text: of a page, or a part of it.
        typical_length: terms that such texts have on average.
        language: of the page, where the text is too short to tell; None tells it from the text.

    Source: Robertson & Zaragoza 2009, The Probabilistic Relevance Framework, section 3.
    """
    text = in_reading_order(text)
    language = page_language(text) if language is None else language
    page_terms = terms(text)
    stems = _page_stems(text, language) if language in LANGUAGES else []
    also = _page_characters(text)
    if language in DECIMAL_COMMA:
        also += local_numbers(fold(text))
    norm = K1 * (1 - B + B * len(page_terms) / typical_length)
    weights: dict[int, float] = {}
    for found, share in ((page_terms, _WORD_SHARE), (stems, 1 - _WORD_SHARE), (also, 1.0)):
        for term, count in Counter(found).items():
            key = _term_id(term)
            has_two_names = bool(stems) and language in languages_of(term)
            weight = (share if has_two_names else 1.0) * count * (K1 + 1) / (count + norm)
            weights[key] = weights.get(key, 0.0) + weight
    return _sparse(weights)


def query_vector(query_terms: Iterable[str] | Mapping[str, float]) -> SparseVector:
    """Weight 1 a term, however often the question repeats it, where no weights are given."""
    if not isinstance(query_terms, Mapping):
        query_terms = dict.fromkeys(query_terms, 1.0)
    weights: dict[int, float] = {}
    for term, weight in query_terms.items():
        key = _term_id(term)
        weights[key] = max(weights.get(key, 0.0), weight)
    return _sparse(weights)
