"""Names of figures, made comparable: as a question writes them and as a row does."""

from __future__ import annotations

import re

from rag.scoring.lexical import terms

_POSSESSIVE = re.compile(r"(?<=\w)['\u2019]s?(?=\W|$)")
_ASIDE = re.compile(r"/?\s?\([^()]*\)")  # "(loss)", "(Note 5)", "/(benefit from)"
_FOOTNOTE = re.compile(r"(?<=[a-zA-Z])\s?\d\s*$|\.{3,}")
# What follows says how it was measured, not what it is.
_MEASURED = re.compile(
    r"(?<=\w)\s*[,\u2013\u2014-]?\s*(?:\b(?:net of|less:? allowances?|less accumulated|at cost)\b|"
    r"\u2014\s*net of).*",
    re.IGNORECASE,
)
_NO_NAME = frozenset("a an and at by for in of on or the to from".split())

Words = tuple[str, ...]


def name_words(text: str) -> Words:
    """Terms that tell one name from another, in order: "Cost of sales (1)" is cost, sale, 1."""
    plain = _POSSESSIVE.sub(" ", text.replace("&", " and "))
    return tuple(word for word in terms(plain) if word not in _NO_NAME)


def label_words(label: str) -> Words:
    """Words of a row's label without its asides; all of them where nothing else is left."""
    bare = _MEASURED.sub("", _FOOTNOTE.sub(" ", _ASIDE.sub(" ", label)))
    return name_words(bare) or name_words(label)
