"""Wiki-SS: screenshots of Wikipedia pages, asked the test questions of Natural Questions; a sample.

A page counts that says one of a question's answers in its first 500 words. All 1.3 million pages
are read, and a part of them is kept: for each question the few that a seed draws of those that
answer it, and beside them pages drawn of all.

Source: Ma et al. 2024, Document Screenshot Embedding (arXiv:2406.11251), section 4.1.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.answers.answer_string import AnswerMatcher
from eval.datasets.folder import Query
from eval.datasets.parquet import WHERE, must, read_rows
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    missing_file,
    query_id,
)
from rag.errors import InputError

NAME = "wiki-ss"
_CORPUS = "wiki-ss-corpus"
_QUESTIONS = "wiki-ss-nq"
_LAYOUT = (
    f"{_CORPUS}/train/*.arrow (or {_CORPUS}/data/train-*.parquet) and {_QUESTIONS}/ with its test "
    "split as .jsonl, .parquet or .arrow."
)
_N_PAGES = 10_000
_N_GOLD = 5
_TOLD_EVERY = 1000  # pages read
_TABLES = (".parquet", ".arrow", ".jsonl")


@dataclass(frozen=True)
class _Sample:
    """How much is kept.

    Attributes:
        n_pages: drawn of all pages.
        n_gold: drawn of the pages that answer a question, for each.
        n_questions: drawn of all; None for all.
    """

    n_pages: int
    n_gold: int
    n_questions: int | None
    seed: int

    @classmethod
    def of(cls, options: Mapping[str, str]) -> _Sample:
        return cls(
            n_pages=_whole(options, "pages", _N_PAGES),
            n_gold=max(1, _whole(options, "gold", _N_GOLD)),
            n_questions=_whole(options, "questions", 0) or None,
            seed=_whole(options, "seed", 0),
        )

    def rank(self, name: str) -> int:
        """The lower, the sooner it is drawn; of the seed and the name alone."""
        digest = hashlib.blake2b(f"{self.seed}:{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


@dataclass(frozen=True)
class _Question:
    id: str
    text: str
    answers: tuple[str, ...]


def load(source: Path, wanted: Wanted) -> Iterator[SetPart]:
    """One part: the sampled pages, and the questions that one of them answers.

    The corpus is read three times: to draw pages, to see what they answer, and for their pixels.

    Raises:
        InputError: a missing file, a field that is not what it should be, an ill option.
    """
    sample = _Sample.of(wanted.options)
    questions = _questions(source, sample)
    corpus = _tables(source, _CORPUS, "train")
    matcher = AnswerMatcher({question.id: question.answers for question in questions})
    pages = _Pages(corpus, wanted.tell)
    kept, n_all = _drawn(pages.texts("drawing pages", None), matcher, sample)
    qrels: dict[str, dict[ItemOrPage, int]] = defaultdict(dict)
    for page_id, text in pages.texts("grading pages", n_all):
        if page_id in kept:
            for question_id in matcher.said_in(text):
                qrels[question_id][page_id] = 1
    yield SetPart(
        name="",
        documents=_Screenshots(corpus, kept),
        queries=[
            Query(
                id=question.id,
                text=question.text,
                answer=question.answers[0],
                answers=question.answers[1:],
                type="nq",
                gold_mode="any",
            )
            for question in questions
        ],
        qrels=qrels,
        main_measure="Success@1",
        notes=tuple(_notes(sample, len(kept), n_all, len(questions), len(qrels))),
    )


def _notes(
    sample: _Sample, n_kept: int, n_all: int, n_questions: int, n_answered: int
) -> Iterator[str]:
    yield (
        f"A sample: {n_kept} of {n_all} pages (seed {sample.seed}; {sample.n_pages} of all, and "
        f"for each question {sample.n_gold} of those that answer it where there are as many). "
        "Fewer pages are easier: figures are no match for published ones."
    )
    yield (
        "A page counts that says an answer in its first 500 words; Success@k is the top-k accuracy "
        "that is published."
    )
    yield (
        f"{n_questions - n_answered} of {n_questions} questions are answered by no page of the set "
        "and are not counted; published figures count them as not found."
    )


def _whole(options: Mapping[str, str], name: str, default: int) -> int:
    value = options.get(name, str(default))
    if not (value.isascii() and value.isdigit()):
        raise InputError(
            f"{NAME}: option {name}: wants a whole number from 0, got {value!r}",
            code="bad_option",
            next_step="See `octavo eval sets`.",
        )
    return int(value)


def _tables(source: Path, repository: str, split: str) -> tuple[Path, ...]:
    """The files of a split, in any of the forms that the hub or `datasets` write."""
    for pattern in (f"{split}/*", f"data/{split}-*", f"data/{split}/*", f"{split}.*"):
        found = sorted((source / repository).glob(pattern))
        for suffix in _TABLES:
            if tables := tuple(path for path in found if path.suffix == suffix):
                return tables
    raise missing_file(NAME, f"{repository}/{split}", _LAYOUT)


def _questions(source: Path, sample: _Sample) -> list[_Question]:
    fields = (must("query_id", "id"), must("query", "text"), must("answers", "texts"))
    found: list[_Question] = []
    for row in read_rows(_tables(source, _QUESTIONS, "test"), *fields, published=NAME):
        text, answers = row["query"].strip(), tuple(row["answers"])
        if not text:
            raise ill_field(NAME, row[WHERE], "query", "wants a question, got none")
        if not answers:
            raise ill_field(NAME, row[WHERE], "answers", "wants an answer, got none")
        found.append(_Question(query_id(row["query_id"]), text, answers))
    if sample.n_questions is None:
        return found
    drawn = sorted(found, key=lambda question: sample.rank(f"q{question.id}"))
    ids = {question.id for question in drawn[: sample.n_questions]}
    return [question for question in found if question.id in ids]


@dataclass(frozen=True)
class _Pages:
    """The corpus; whoever waits is told each time it is read."""

    corpus: Sequence[Path]
    tell: Callable[[str, int, int | None], None] | None

    def texts(self, what: str, whole: int | None) -> Iterator[tuple[str, str]]:
        fields = (must("docid", "id"), must("text", "text"))
        n_read = 0
        for n_read, row in enumerate(read_rows(self.corpus, *fields, published=NAME), start=1):
            if self.tell is not None and n_read % _TOLD_EVERY == 0:
                self.tell(what, n_read, whole)
            yield row["docid"], row["text"]
        if self.tell is not None:
            self.tell(what, n_read, n_read)


def _drawn(
    texts: Iterator[tuple[str, str]], matcher: AnswerMatcher, sample: _Sample
) -> tuple[frozenset[str], int]:
    """Ids of the pages that are kept; how many there are."""
    of_all = _Lowest(sample.n_pages)
    of_question: dict[str, _Lowest] = defaultdict(lambda: _Lowest(sample.n_gold))
    n_all = 0
    for page_id, text in texts:
        n_all += 1
        rank = sample.rank(page_id)
        of_all.offer(rank, page_id)
        for question_id in matcher.said_in(text):
            of_question[question_id].offer(rank, page_id)
    drawn = [of_all, *of_question.values()]
    return frozenset(name for lowest in drawn for name in lowest.names()), n_all


class _Lowest:
    """The so many names of lowest rank."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[int, str]] = []  # ranks below zero, so that the highest is on top

    def offer(self, rank: int, name: str) -> None:
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, (-rank, name))
        elif self._heap:
            heapq.heappushpop(self._heap, (-rank, name))

    def names(self) -> list[str]:
        return [name for _rank, name in self._heap]


@dataclass(frozen=True)
class _Screenshots:
    """The documents, read anew each time; how many there are is known before."""

    corpus: Sequence[Path]
    kept: frozenset[str]

    def __len__(self) -> int:
        return len(self.kept)

    def __iter__(self) -> Iterator[SetDocument]:
        fields = (must("docid", "id"), must("image", "image"))
        for row in read_rows(self.corpus, *fields, published=NAME):
            if row["docid"] in self.kept:
                yield _screenshot(row["docid"], row["image"])


def _screenshot(page_id: str, image: bytes) -> SetDocument:
    return SetDocument(page_id, pages=(SetPage(page_id, image=lambda: image),))


SETS = (
    LoaderInfo(
        name=NAME,
        title="Wiki-SS, a sample of 1.3 million screenshots of Wikipedia",
        hub_ids=("Tevatron/wiki-ss-corpus", "Tevatron/wiki-ss-nq"),
        licence="pages CC BY-SA, questions CC BY-SA 3.0; see source",
        layout=_LAYOUT,
        main_measure="Success@1",
        load=load,
        options={
            "pages": f"drawn of all ({_N_PAGES})",
            "gold": f"drawn of the pages with the answer, for each question ({_N_GOLD})",
            "questions": "drawn of all (0: all of them)",
            "seed": "of all draws (0)",
        },
        home="https://github.com/texttron/tevatron/tree/main/examples/dse",
    ),
)
