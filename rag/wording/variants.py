"""Other writings of what a question asks, as terms that count for less than its own.

A page may spell a word, a number, a year or a unit as the question does not. Each such writing is a
term to look for beside the question's own; together they never weigh more than half of these.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from rag.language.detection import question_language
from rag.scoring.lexical import content_stems, content_terms, terms
from rag.wording.numbers import number_writings
from rag.wording.periods import period_writings

# Of a question's own term, which counts 1.
_SAME, _NEAR = 0.5, 0.3  # another writing of the same thing; of what may be the same
_MOST = 0.5  # all writings together, of all own terms
# Of a stem in a language that the question was not told to be in: short questions tell little.
_OTHER_LANGUAGE = 0.3


def query_terms(
    question: str, *, languages: Collection[str] = (), variants: bool = True
) -> dict[str, float]:
    """What a question looks for in the words of pages, with what each counts.

    Args:
        question: as asked.
        languages: that pages have stems in, from `DocumentFeatures.languages`.
        variants: whether other writings are looked for too.
    """
    own = dict.fromkeys(content_terms(question), 1.0)
    found = dict(own)
    if languages:
        asked_in = question_language(question)
        for stem in content_stems(question, languages):
            found[stem] = 1.0 if stem.startswith(f"{asked_in}~") else _OTHER_LANGUAGE
    if variants:
        found = {**other_writings(question, own), **found}
    return found


def other_writings(question: str, own: Collection[str]) -> dict[str, float]:
    """Terms beside the question's own, with what each counts."""
    found: dict[str, float] = {}
    for writing, weight in (
        *((spelling, _SAME) for spelling in _spellings(question)),
        *((joined, _SAME) for joined in _joined(question)),
        *((name, _NEAR) for name in _umlauts(question)),
        *((unit, _NEAR) for unit in _units(question)),
        *((number, _SAME if is_same else _NEAR) for number, is_same in number_writings(question)),
        *((period, _SAME if is_same else _NEAR) for period, is_same in period_writings(question)),
    ):
        for term in terms(writing):
            if term not in own:
                found[term] = max(found.get(term, 0.0), weight)
    most, total = _MOST * len(own), sum(found.values())
    scale = min(1.0, most / total) if total else 1.0
    return {term: weight * scale for term, weight in found.items()}


# --- spellings ----------------------------------------------------------------------------------
# Endings that British and American English write differently, either way, in words of six letters
# or more: a word that neither writes stands on no page and costs nothing.
_ENDINGS = (
    ("isation", "ization"), ("isations", "izations"), ("ise", "ize"), ("ises", "izes"),
    ("ised", "ized"), ("ising", "izing"), ("yse", "yze"), ("ysed", "yzed"), ("ysing", "yzing"),
    ("our", "or"), ("ours", "ors"), ("oured", "ored"), ("ouring", "oring"), ("ourable", "orable"),
    ("metre", "meter"), ("metres", "meters"), ("litre", "liter"), ("litres", "liters"),
    ("centre", "center"), ("centres", "centers"), ("theatre", "theater"), ("theatres", "theaters"),
    ("ogue", "og"), ("ogues", "ogs"), ("elled", "eled"), ("elling", "eling"),
    ("programme", "program"), ("programmes", "programs"), ("dgement", "dgment"),
    ("fulfilment", "fulfillment"), ("enrolment", "enrollment"), ("instalment", "installment"),
)  # fmt: skip
_LEAST_LETTERS = 6
_WORDS = (
    "cheque check", "cheques checks", "aluminium aluminum", "grey gray", "tyre tire",
    "tyres tires", "sulphur sulfur", "plough plow", "kerb curb", "mould mold", "colour color",
    "paediatric pediatric", "anaemia anemia", "oestrogen estrogen", "orthopaedic orthopedic",
    "haemoglobin hemoglobin", "haematology hematology", "gynaecology gynecology",
    "manoeuvre maneuver", "draught draft", "cancelled canceled", "metre meter", "litre liter",
    "fibre fiber", "fibres fibers", "calibre caliber", "advisor adviser", "artefact artifact",
    "ageing aging", "sceptical skeptical", "defence defense", "offence offense",
    "labour labor", "favour favor", "honour honor", "humour humor", "tumour tumor",
    "vapour vapor", "armour armor", "rumour rumor",
    "licence license", "licences licenses",
)  # fmt: skip
# Written as one word, as two, and with a hyphen.
_COMPOUNDS = """back-log buy-back cash-flow data-base e-commerce e-mail ground-water head-count
health-care land-fill life-cycle off-shore on-line on-shore pay-roll share-holder spin-off
stock-holder time-line waste-water web-site work-force write-down write-off year-end""".split()
_PAIRS = {
    one: other
    for pair in _WORDS
    for one, other in (pair.split(), pair.split()[::-1])
}  # fmt: skip
_SWAPS = [
    pair for british, american in _ENDINGS for pair in ((british, american), (american, british))
]
_SWAPS.sort(key=lambda swap: -len(swap[0]))
_SAME_IN_BOTH = frozenset("contour detour exercise otherwise precise promise".split())


def _spellings(question: str) -> Iterable[str]:
    for word in re.findall(r"[a-z]+", question.lower()):
        if word in _PAIRS:
            yield _PAIRS[word]
        elif len(word) >= _LEAST_LETTERS and word not in _SAME_IN_BOTH:
            for ending, other in _SWAPS:
                if word.endswith(ending):
                    yield word.removesuffix(ending) + other
                    break


def _joined(question: str) -> Iterable[str]:
    """Compounds in their other writings; what has a hyphen, in one word.

    Neighbours that the question writes apart are joined only where they are known to be: in PDFs
    words lose the space between them, and pages would be found for that.
    """
    text = question.lower().translate(_HYPHENS)
    for one, other in re.findall(r"(?<![\w-])([^\W\d_]+)-([^\W\d_]+)(?![\w-])", text):
        yield f"{one}{other}"
    for compound in _COMPOUNDS:
        if re.search(rf"\b{compound.replace('-', '[ -]?')}s?\b", text):
            yield compound.replace("-", "")
            yield compound.partition("-")[2] if compound.startswith("e-") else compound


_HYPHENS = {0x2010: "-", 0x2011: "-"}
_UMLAUT = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"}
_TYPED = re.compile(r"(?<![aeiouqAEIOUQ])([aouAOU])e(?=[b-df-hj-np-tv-z])")


def _umlauts(question: str) -> Iterable[str]:
    """Names with ae for a-umlaut, and the other way: Mueller, Müller."""
    for word in re.findall(r"[^\W\d_]+", question):
        lowered = word.lower()
        if not lowered.isascii():
            yield "".join(_UMLAUT.get(char, char) for char in lowered)
        elif word[0].isupper() and len(word) >= 5 and _TYPED.search(word):
            yield _TYPED.sub(r"\1", word)


# --- units --------------------------------------------------------------------------------------
# What is the same unit, each group in all its writings; signs first, where there is one.
_UNITS = (
    ("$", "us$", "usd", "dollars"), ("\u20ac", "eur", "euros"), ("\u00a3", "gbp", "pounds"),
    ("\u00a5", "jpy", "yen"), ("\u20b9", "inr", "rupees"), ("%", "percent"),
    ("bn", "billion"), ("mn", "mm", "million"), ("tn", "trillion"),
    ("km", "kilometres", "kilometers"), ("kg", "kilograms", "kilogrammes"), ("cm", "centimetres"),
    ("mm", "millimetres"), ("sqft", "square feet"), ("kwh", "kilowatt hours"),
    ("mwh", "megawatt hours"), ("gwh", "gigawatt hours"), ("mw", "megawatts"),
    ("gw", "gigawatts"), ("mph", "miles per hour"), ("ghg", "greenhouse gas"),
    ("co2", "carbon dioxide"),
)  # fmt: skip


def _units(question: str) -> Iterable[str]:
    asked = set(re.findall(r"us\$|[$\u20ac\u00a3\u00a5\u20b9%]|[^\W\d_]+2?", question.lower()))
    singular = {word.removesuffix("s") for word in asked}
    for group in _UNITS:
        if asked.intersection(group) or singular.intersection(
            name.removesuffix("s") for name in group if len(name) > 3
        ):
            yield from (name for name in group if name.isalnum() or " " in name)
