"""What stands on every page of the synthetic set, and what is asked about it: one plan a domain.

Eight kinds of question, each as often as the others. A kind is defined by what can find its gold
pages: words, pixels or both; `expectation.py` says what follows from that. The plan draws nothing.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations

from eval.synthetic.vocabulary import ADJECTIVES, DOMAINS, NOUNS, PLACES, Vocabulary
from rag.errors import InputError
from rag.testing.palette_encoder import PALETTE

PAGES_A_DOCUMENT = 15
_WORDED_PAGES = 11  # more than the ten that count: a page without words stands behind them
_PLATES_ASKED = PAGES_A_DOCUMENT - _WORDED_PAGES
_GALLERY_PLATES = 12  # pages of charts that nobody asks for: more than ten of them are always there
SURVEY_PAGES = 7  # more than the five that a fusion takes of either side, fewer than ten
_FILLER_SENTENCES = 12  # more words than the joint fixture reads of a page
_LEADS = {"bars": "has the tallest bar", "slices": "has the largest slice", "lines": "ends highest"}
_N_COLUMNS = 3
_N_ROWS = 5
_KINDS_WITH_NAMES = 6  # all but those of plates


class Kind(StrEnum):
    """Kinds of question; the first word of a value is what can find the gold pages."""

    FACT = "words-fact"
    SURVEY = "words-survey"
    CELL = "words-cell"
    BANDED = "colours-banded"
    PLATE = "colours-plate"
    NEGATED = "colours-negated"
    APART = "both-apart"
    TOGETHER = "both-together"


ANSWER_TYPES = {
    Kind.FACT: "text_only",
    Kind.SURVEY: "text_only",
    Kind.CELL: "table_required",
    Kind.BANDED: "table_required",
    Kind.PLATE: "image_only",
    Kind.NEGATED: "image_only",
    Kind.APART: "image_plus_text_as_answer",
    Kind.TOGETHER: "image_plus_text_as_answer",
}
QUESTION_TYPES = {
    Kind.FACT: "factual_retrieval",
    Kind.SURVEY: "summarization",
    Kind.CELL: "factual_retrieval",
    Kind.BANDED: "comparison",
    Kind.PLATE: "comparison",
    Kind.NEGATED: "causal_reasoning",
    Kind.APART: "causal_reasoning",
    Kind.TOGETHER: "summarization",
}


@dataclass(frozen=True)
class Chart:
    """A chart without a word: what it shows is told by its colours alone.

    Attributes:
        form: "bars", "slices" or "lines".
        values: of each colour, in the order of `colours`.
    """

    form: str
    colours: tuple[str, ...]
    values: tuple[int, ...]

    @property
    def leader(self) -> str:
        return self.colours[self.values.index(max(self.values))]


@dataclass(frozen=True)
class Table:
    """Rows under columns; `bands` are the colours of its head, none where it is plain."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bands: tuple[str, ...] = ()


@dataclass
class Page:
    """A page before it is drawn. A plate has a chart and nothing else."""

    heading: str = ""
    has_title: bool = True
    sentences: list[str] = field(default_factory=list)
    filler: list[str] = field(default_factory=list)
    table: Table | None = None
    table_below: bool = False
    chart: Chart | None = None

    @property
    def is_plate(self) -> bool:
        return self.chart is not None and not self.filler


@dataclass
class Document:
    name: str
    pages: list[Page] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """A question; `gold` are the pages themselves, numbered once the documents are put together."""

    kind: Kind
    text: str
    answer: str
    gold: tuple[Page, ...]


@dataclass(frozen=True)
class DomainPlan:
    domain: str
    title: str
    documents: tuple[Document, ...]
    questions: tuple[Asked, ...]


def plan_domain(domain: str, *, questions: int, pages: int, seed: int) -> DomainPlan:
    """The same for the same arguments, on every machine.

    Args:
        domain: of `DOMAINS`.
        questions: a multiple of 8.
        pages: at least so many; more where the questions want more.
        seed: of all that is drawn by lot.

    Raises:
        InputError: a number of questions that the kinds cannot share, or that names run out for.
    """
    if questions < len(Kind) or questions % len(Kind):
        raise InputError(
            f"{questions} questions a domain cannot be shared among {len(Kind)} kinds",
            next_step="Ask for 8, 16, ... 200.",
        )
    most = len(Kind) * (min(len(ADJECTIVES), len(NOUNS)) // _KINDS_WITH_NAMES)
    if questions > most:
        raise InputError(
            f"{questions} questions a domain want more names than there are",
            next_step=f"Ask for at most {most}.",
        )
    return _Planner(domain, questions // len(Kind), seed).plan(pages)


class _Planner:
    """One domain under way.

    Attributes:
        bodies, plates: pages with words, and gold plates, of each document so far.
        gallery: plates that are gold of nothing.
    """

    def __init__(self, domain: str, n_each: int, seed: int) -> None:
        self._domain = domain
        self._words: Vocabulary = DOMAINS[domain]
        self._n_each = n_each
        self._random = random.Random(f"octavo/{seed}/{domain}")
        self._nouns = iter(self._random.sample(NOUNS, len(NOUNS)))
        self._adjectives = iter(self._random.sample(ADJECTIVES, len(ADJECTIVES)))
        half = len(self._words.attributes) // 2
        self._facts = self._words.attributes[:half]  # told in sentences, never in tables
        self._columns = self._words.attributes[half:]
        self._values = iter(self._random.sample(range(100, 1000), 900))
        self._used_triples: set[frozenset[str]] = set()
        self._questions: list[Asked] = []
        self._bodies: list[list[Page]] = []
        self._plates: list[list[Page]] = []
        self._gallery: list[Page] = []

    def plan(self, pages: int) -> DomainPlan:
        n = self._n_each
        n_gallery = _GALLERY_PLATES + n
        n_documents = max(
            math.ceil(3 * n / _PLATES_ASKED),
            math.ceil(6 * n / _WORDED_PAGES),
            math.ceil(n / 2),  # two surveys a document at most
            math.ceil((pages - n_gallery) / PAGES_A_DOCUMENT),
        )
        self._bodies = [[] for _ in range(n_documents)]
        self._plates = [[] for _ in range(n_documents)]
        self._gallery = [self._plate(self._colours(3)) for _ in range(_GALLERY_PLATES)]
        for index in range(n):
            self._fact(index)
            self._cell(index)
            self._banded(index)
            self._plate_alone()
            self._negated()
            self._apart(index)
            self._together()
        for body in self._bodies:
            while len(body) < _WORDED_PAGES:
                body.append(self._worded())
        for index in range(n):
            self._survey(index)
        mixed = [
            self._random.sample(body + plates, len(body) + len(plates))
            for body, plates in zip(self._bodies, self._plates, strict=True)
        ]
        first = 1000 * (1 + list(DOMAINS).index(self._domain))
        documents = [
            Document(f"{first + number:07d}", each)
            for number, each in enumerate([*mixed, *_shared_out(self._gallery)], start=1)
        ]
        self._random.shuffle(self._questions)
        return DomainPlan(self._domain, self._words.title, tuple(documents), tuple(self._questions))

    # --- kinds ----------------------------------------------------------------------------------
    def _fact(self, index: int) -> None:
        name, (attribute, unit), value = self._name("programme"), *self._figure(index, self._facts)
        page = self._worded(f"{name}")
        page.sentences.append(f"The {name} sets the {attribute} at {value} {unit}.")
        _least(self._bodies).append(page)
        self._ask(Kind.FACT, f"What {attribute} does the {name} set?", f"{value} {unit}", page)

    def _survey(self, index: int) -> None:
        """Seven pages of one document, none with a chart."""
        name = self._name("review")
        body = self._bodies[index % len(self._bodies)]
        plain = [page for page in body if page.chart is None and not _is_banded(page)]
        hosts = self._random.sample(plain, SURVEY_PAGES)
        findings = []
        for page in hosts:
            finding = self._sentence(capital=False)
            # Behind what the page is about, before what else it says.
            page.sentences.insert(1, f"The {name} finds that {finding}")
            findings.append(finding.rstrip("."))
        answer = f"That {'; that '.join(findings)}."
        self._ask(Kind.SURVEY, f"What is it that the {name} finds, page by page?", answer, *hosts)

    def _cell(self, index: int) -> None:
        """Below more words than the joint fixture reads; its page has no title to be found by."""
        name, (attribute, unit), value = self._name(""), *self._figure(index, self._columns)
        page = self._worded()
        page.has_title = False
        page.table = self._table("", name, attribute, unit, value)
        page.table_below = True
        _least(self._bodies).append(page)
        text = f"In the {self._words.title.split()[-1]}, what is the {attribute} of {name}?"
        self._ask(Kind.CELL, text, f"{value} {unit}", page)

    def _banded(self, index: int) -> None:
        """Two tables with the row: words point to the first, and only colours tell the second."""
        name, (attribute, unit), value = self._name("depot"), *self._figure(index, self._columns)
        other = next(self._values)
        decoy = self._worded(name)
        decoy.sentences += [
            f"The {name} reports its {attribute} every month.",
            f"Readers ask for the {attribute} of the {name} first.",
        ]
        decoy.table = self._table(f"{attribute} of the {name}", name, attribute, unit, other)
        gold = self._worded()
        gold.sentences.append(f"One of the rows below is the {name}.")
        colours = self._colours(3)
        gold.table = self._table("", name, attribute, unit, value, bands=colours)
        _least(self._bodies).extend([decoy, gold])
        text = f"In the table banded in {_listed(colours)}, what is the {attribute} of the {name}?"
        self._ask(Kind.BANDED, text, f"{value} {unit}", gold)

    def _plate_alone(self) -> None:
        page = self._plate(self._colours(3))
        _least(self._plates).append(page)
        chart = _chart(page)
        text = f"Which colour {_LEADS[chart.form]} in the chart of {_named(chart)}?"
        self._ask(Kind.PLATE, text, chart.leader, page)

    def _negated(self) -> None:
        """A plate has the colour that is not wanted, and all that are."""
        colours = self._colours(4)
        decoy = self._plate(colours)
        wanted, unwanted = colours[:3], colours[3]
        page = self._plate(wanted, form=_chart(decoy).form)
        self._gallery.append(decoy)
        _least(self._plates).append(page)
        chart = _chart(page)
        text = (
            f"Which colour {_LEADS[chart.form]} in the chart of {_named(chart)} that shows no "
            f"{unwanted}?"
        )
        self._ask(Kind.NEGATED, text, chart.leader, page)

    def _apart(self, index: int) -> None:
        """Words on one page, pixels on another."""
        name, (attribute, unit), value = self._name("scheme"), *self._figure(index, self._facts)
        page = self._worded(name)
        page.sentences.append(f"The {name} fixes the {attribute} at {value} {unit}.")
        plate = self._plate(self._colours(3))
        _least(self._bodies).append(page)
        _least(self._plates).append(plate)
        chart = _chart(plate)
        text = (
            f"At what does the {name} fix the {attribute}, and which colour "
            f"{_LEADS[chart.form]} in the chart of {_named(chart)}?"
        )
        self._ask(Kind.APART, text, f"{value} {unit}; {chart.leader}", page, plate)

    def _together(self) -> None:
        """Words and pixels on one page."""
        name = self._name("campaign")
        page = self._worded(name)
        page.sentences.append(f"The {name} is drawn below.")
        page.chart = _chart(self._plate(self._colours(3)))
        _least(self._bodies).append(page)
        text = (
            f"Of the {name}, which colour {_LEADS[page.chart.form]} in the chart of "
            f"{_named(page.chart)}?"
        )
        self._ask(Kind.TOGETHER, text, page.chart.leader, page)

    def _ask(self, kind: Kind, text: str, answer: str, *gold: Page) -> None:
        self._questions.append(Asked(kind, text, answer, gold))

    # --- parts of pages -------------------------------------------------------------------------
    def _name(self, what: str) -> str:
        """No two names of a domain share a noun or an adjective."""
        return f"{next(self._adjectives).title()} {next(self._nouns).title()} {what}".strip()

    def _figure(
        self, index: int, attributes: Sequence[tuple[str, str]]
    ) -> tuple[tuple[str, str], int]:
        """An attribute with its unit, each as often as the others, and a value of its own."""
        return attributes[index % len(attributes)], next(self._values)

    def _worded(self, heading: str = "") -> Page:
        heading = heading or f"Notes on {self._random.choice(self._words.objects)}"
        return Page(heading=heading, filler=[self._sentence() for _ in range(_FILLER_SENTENCES)])

    def _sentence(self, *, capital: bool = True) -> str:
        words = self._words
        parts = (words.subjects, words.verbs, words.objects, words.tails)
        text = " ".join(self._random.choice(part) for part in parts)
        return f"{text[0].upper() if capital else text[0]}{text[1:]}."

    def _table(
        self,
        caption: str,
        name: str,
        attribute: str,
        unit: str,
        value: int,
        *,
        bands: tuple[str, ...] = (),
    ) -> Table:
        others = [each for each in self._columns if each[0] != attribute]
        columns = [(attribute, unit), *self._random.sample(others, _N_COLUMNS - 1)]
        self._random.shuffle(columns)
        asked = columns.index((attribute, unit))
        rows = []
        labels = [name, *self._random.sample(PLACES, _N_ROWS - 1)]
        self._random.shuffle(labels)
        for label in labels:
            cells = [str(self._random.randrange(10, 100)) for _ in columns]
            if label == name:
                cells[asked] = str(value)
            rows.append((label, *cells))
        heads = tuple(f"{each} ({its_unit})" for each, its_unit in columns)
        return Table(caption, heads, tuple(rows), bands)

    def _plate(self, colours: tuple[str, ...], *, form: str | None = None) -> Page:
        values = tuple(self._random.sample(range(20, 100, 5), len(colours)))
        return Page(chart=Chart(form or self._random.choice(list(_LEADS)), colours, values))

    def _colours(self, n: int) -> tuple[str, ...]:
        """Three or four colours of which no other page has three."""
        while True:
            colours = tuple(self._random.sample(list(PALETTE), n))
            triples = {frozenset(triple) for triple in combinations(colours, 3)}
            if not triples & self._used_triples:
                self._used_triples |= triples
                return colours


def _shared_out(plates: Sequence[Page]) -> list[list[Page]]:
    """In documents of about the same length."""
    n = math.ceil(len(plates) / PAGES_A_DOCUMENT)
    return [list(plates[start::n]) for start in range(n)]


def _least(lists: list[list[Page]]) -> list[Page]:
    return min(lists, key=len)


def _chart(page: Page) -> Chart:
    assert page.chart is not None
    return page.chart


def _is_banded(page: Page) -> bool:
    return page.table is not None and bool(page.table.bands)


def _listed(colours: Sequence[str]) -> str:
    return f"{', '.join(colours[:-1])} and {colours[-1]}"


def _named(chart: Chart) -> str:
    return f"{_listed(chart.colours)} {chart.form}"
