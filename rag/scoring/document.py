"""What a document is about, and how well that fits a question.

The right table in the wrong filing is the commonest miss of page retrieval; a document's name, the
words that run through its pages, and the year it reports on tell the filings apart. The score is
added softly to the pages' own scores, never used as a cut.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from rag.language.detection import page_language
from rag.language.stemming import LANGUAGES
from rag.scoring.lexical import content_terms, is_content_word, terms

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_PERIOD_END = re.compile(r"\bend(?:ed|ing)\b[^.;]{0,30}?((?:19|20)\d\d)(?!\d)", re.IGNORECASE)
_HEAD_WORDS = 400
_MAX_THEMES = 400
_MIN_THEME_SHARE = 0.15
# Of a question's term in the head of a document, which is full of words that many questions use;
# those that are names in the question are what tells heads apart.
_HEAD_WEIGHT = 0.5
_NAME_IN_HEAD_WEIGHT = 1.0


class DocumentFeatures(BaseModel):
    """What is kept of a document to tell it from its neighbours.

    Attributes:
        name_terms: terms of file name and title, with neighbours joined ("best buy", "bestbuy").
        head_terms: terms of the first words of the document.
        themes: share of pages on which a term stands, for terms of many pages.
        name_years: years in the file name.
        period_years: years its head says a period ended in, else the years its head names.
        languages: that its pages have stems in; English has none.
        has_captions: whether any of its pages is described; True also where nobody looked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name_terms: tuple[str, ...] = ()
    head_terms: tuple[str, ...] = ()
    themes: dict[str, float] = {}
    name_years: tuple[int, ...] = ()
    period_years: tuple[int, ...] = ()
    languages: tuple[str, ...] = ()
    has_captions: bool = True


def name_terms(text: str) -> list[str]:
    """Terms of a name: runs of letters and digits whole and split, and neighbours joined."""
    runs = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text))
    folded = [run.lower() for run in runs]
    joined = [left + right for left, right in pairwise(folded)]
    return [*folded, *joined, *terms(" ".join(runs))]


def named_terms(question: str) -> set[str]:
    """Terms of the words that a question writes as names: with a capital, inside a sentence.

    Empty where most of its words have one, as in a headline, where a capital tells nothing.
    """
    words = [word.strip("?.,!:;()\"'") for word in question.split()]
    starts = [True, *(word.endswith((".", "?", "!", ":")) for word in question.split())]
    inside = [word for word, at_start in zip(words, starts, strict=False) if word and not at_start]
    capital = [word for word in inside if word[0].isupper()]
    lower = [word for word in inside if word[0].islower() and is_content_word(word)]
    if len(capital) > len(lower):
        return set()
    return {term for word in capital for term in name_terms(word)}


def years(text: str) -> list[int]:
    return [int(found) for found in _YEAR.findall(text)]


def describe_document(*, source: str, title: str, page_texts: Sequence[str]) -> DocumentFeatures:
    """Features of a whole document.

    Args:
        source: path below the ingest root; its last part is the name.
        title: from the file's own metadata, "" if none.
        page_texts: words of every page, in page order.
    """
    stem = re.sub(r"\.\w{1,5}$", "", source.rsplit("/", 1)[-1])
    head_words: list[str] = []
    for text in page_texts:
        head_words.extend(text.split())
        if len(head_words) >= _HEAD_WORDS:
            break
    head = " ".join(head_words[:_HEAD_WORDS])
    pages_with = Counter(term for text in page_texts for term in set(terms(text)))
    n_pages = max(1, sum(1 for text in page_texts if text))
    themes = {
        term: round(count / n_pages, 3)
        for term, count in pages_with.most_common(_MAX_THEMES)
        if count / n_pages >= _MIN_THEME_SHARE and not term[0].isdigit()
    }
    period = [int(year) for year in _PERIOD_END.findall(head)] or years(head)
    return DocumentFeatures(
        name_terms=tuple(sorted(set(name_terms(f"{stem} {title}")))),
        head_terms=tuple(sorted(set(name_terms(head)))),
        themes=themes,
        name_years=tuple(sorted(set(years(stem)))),
        period_years=tuple(sorted({max(period)} if period else set())),
        languages=tuple(sorted(LANGUAGES.intersection(map(page_language, page_texts)))),
    )


class DocumentScorer:
    """Scores every document of a collection against a question; build once per generation."""

    def __init__(self, documents: Sequence[tuple[str, DocumentFeatures]]) -> None:
        self._documents = list(documents)
        n = len(self._documents)

        def idf(frequency: float) -> float:
            return math.log(1 + (n - frequency + 0.5) / (frequency + 0.5))

        names = Counter(term for _, doc in self._documents for term in doc.name_terms)
        heads = Counter(term for _, doc in self._documents for term in doc.head_terms)
        shares: Counter[str] = Counter()
        for _, document in self._documents:
            shares.update(document.themes)
        self._name_idf = {term: idf(count) for term, count in names.items()}
        self._head_idf = {term: idf(count) for term, count in heads.items()}
        self._theme_idf = {term: idf(share) for term, share in shares.items()}

    def scores(self, question: str) -> dict[str, float]:
        """document_id -> score; comparable within one question only."""
        asked_years = years(re.sub(r"(?i)fy", " ", question))
        latest = max(asked_years, default=None)
        kept = " ".join(content_terms(question))
        asked = {*name_terms(question), *content_terms(kept)} - {str(year) for year in asked_years}
        asked = {term for term in asked if term in content_terms(term)}
        names = named_terms(question)
        found: dict[str, float] = {}
        for document_id, document in self._documents:
            score = 0.0
            score += sum(self._name_idf[term] for term in asked.intersection(document.name_terms))
            score += sum(
                self._head_idf[term] * (_NAME_IN_HEAD_WEIGHT if term in names else _HEAD_WEIGHT)
                for term in asked.intersection(document.head_terms)
            )
            score += sum(
                document.themes[term] * self._theme_idf[term]
                for term in asked
                if term in document.themes
            )
            if latest is not None:
                score += 2.0 * (latest in document.name_years)
                score += 2.0 * (latest in document.period_years)
            found[document_id] = score
        return found


_FIGURE = re.compile(r"\d[\d.,]*\d")
_HUB_PAGES = 3


def figure_hubs(page_texts: Sequence[str]) -> list[float]:
    """How much each page is where a document's figures come together: log(1 + its hub figures).

    A hub figure stands on three or more pages of the document. The primary statements of a report
    collect them, so this is a prior for questions about figures that knows no line of business.
    """
    figures = [
        {
            figure
            for figure in _FIGURE.findall(text)
            if sum(map(str.isdigit, figure)) >= 3 and not _YEAR.fullmatch(figure)
        }
        for text in page_texts
    ]
    n_pages = Counter(figure for found in figures for figure in found)
    return [math.log1p(sum(n_pages[figure] >= _HUB_PAGES for figure in found)) for found in figures]
