"""What a judge is shown of a question: gold answer, answer of a run, words of the gold pages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eval.answers.evaluation import MEASURES_FILE
from eval.answers.judged import text_of
from eval.answers.run import ANSWERS_FILE, gold_pages
from eval.datasets.folder import Dataset, PageKey
from eval.questions import QUESTIONS_FILE
from eval.runs import read_json, read_json_lines
from rag.chat.shown_text import shown_page
from rag.errors import InputError
from rag.types import Json

if TYPE_CHECKING:
    from rag.renderers.isolated import IsolatedReader

State = Literal["answered", "abstained", "failed", "no_gold"]
PageWords = Mapping[PageKey, str]

_MOST_PAGE_CHARS = 20_000
_MOST_CHARS = 60_000  # of all pages of a question


@dataclass(frozen=True)
class Material:
    """One question as a judge sees it.

    Attributes:
        reference: the gold answer, and the others that are as right.
        answer: without the markers of citations.
        pages: name and words of each gold page that has any; none where nobody read them.
        is_cut: words of pages were left out, as there are too many.
    """

    id: str
    question: str
    reference: str
    answer: str
    pages: tuple[tuple[str, str], ...] = ()
    is_cut: bool = False

    @property
    def digest(self) -> str:
        """Equal where a judge is shown the same."""
        shown = [self.id, self.question, self.reference, self.answer, self.pages]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class ToJudge:
    """One question of a run, whether or not there is anything to judge.

    Attributes:
        state: of its answer; `no_gold` has no gold answer to be judged by.
        model_id: who answered; empty where nobody did.
    """

    material: Material
    type: str
    groups: Mapping[str, str]
    state: State
    model_id: str

    @property
    def id(self) -> str:
        return self.material.id


@dataclass(frozen=True)
class JudgedRun:
    """A folder of `octavo eval run --answers`.

    Attributes:
        head: what `answer_measures.json` holds.
    """

    folder: Path
    head: Json
    questions: tuple[ToJudge, ...]
    shows_pages: bool

    @property
    def generators(self) -> list[str]:
        """Models that answered, ascending."""
        return sorted({each.model_id for each in self.questions if each.model_id})


def read_judged_run(
    folder: Path, dataset: Dataset | None = None, words: PageWords | None = None
) -> JudgedRun:
    """Questions and answers of a run.

    Args:
        folder: of the run.
        dataset: with the gold answers; by default those of `questions.jsonl` in the folder.
        words: of the gold pages; None shows a judge none.

    Raises:
        InputError: no run of answers, another dataset than it was over, a question without its
            answer.
    """
    head = read_json(folder / MEASURES_FILE)
    if dataset is not None and dataset.digest != head["dataset_digest"]:
        raise InputError(
            f"{folder.name} is a run over another version of the dataset than {dataset.name!r}",
            next_step="Name the folder that the run was over.",
        )
    answers = {str(row["id"]): row for row in read_json_lines(folder / ANSWERS_FILE)}
    asked = asked_rows(folder, dataset)
    if missing := [row["id"] for row in asked if row["id"] not in answers]:
        raise InputError(
            f"{folder.name} has no answer to {len(missing)} of its questions, such as "
            f"{missing[0]!r}",
            next_step="Let `octavo eval run --answers` with the same --out come to its end.",
        )
    return JudgedRun(
        folder,
        head,
        tuple(_to_judge(row, answers[row["id"]], words) for row in asked),
        shows_pages=words is not None,
    )


def asked_rows(folder: Path, dataset: Dataset | None) -> list[Json]:
    """Rows as of questions.jsonl, of the questions that the run measured.

    Raises:
        InputError: the folder lacks its files.
    """
    if dataset is None:
        return read_json_lines(folder / QUESTIONS_FILE)
    measured = {str(row["id"]) for row in read_json_lines(folder / "answers_per_query.jsonl")}
    return [
        {
            **query.model_dump(mode="json"),
            "gold": [[*page, 1] for page in gold_pages(dataset, query.id)],
        }
        for query in dataset.queries.values()
        if query.id in measured
    ]


def gold_pages_of(rows: Iterable[Mapping[str, Any]]) -> list[PageKey]:
    """All gold pages of rows as of questions.jsonl, ascending."""
    return sorted({PageKey(doc, page) for row in rows for doc, page, grade in row["gold"] if grade})


def read_words(dataset: Dataset, reader: IsolatedReader, pages: Sequence[PageKey]) -> PageWords:
    """Words of pages, by the reader's settings; a page that cannot be read has none."""
    from rag.renderers.isolated import PageFailure

    words: dict[PageKey, str] = {}
    reader.will_read([dataset.folder / "docs"])
    for doc in sorted({page.doc for page in pages}):
        numbers = [page.page_number for page in pages if page.doc == doc]
        for scanned in reader.scan(dataset.folder / "docs" / doc, numbers):
            key = PageKey(doc, scanned.page_number)
            words[key] = (
                "" if isinstance(scanned, PageFailure) else shown_page(scanned.text).strip()
            )
    return words


def _to_judge(
    row: Mapping[str, Any], answer: Mapping[str, Any], words: PageWords | None
) -> ToJudge:
    pages, is_cut = _pages_shown(gold_pages_of([row]), words or {})
    return ToJudge(
        Material(
            id=str(row["id"]),
            question=str(row["text"]),
            reference=_reference(str(row["answer"]), row.get("answers") or ()),
            answer=text_of(answer),
            pages=pages,
            is_cut=is_cut,
        ),
        type=str(row["type"]),
        groups=row.get("groups") or {},
        state=_state(row, answer),
        model_id=str(answer.get("model_id") or ""),
    )


def _state(row: Mapping[str, Any], answer: Mapping[str, Any]) -> State:
    if not str(row["answer"]).strip():
        return "no_gold"
    if answer.get("error"):
        return "failed"
    return "abstained" if answer["abstained"] else "answered"


def _reference(answer: str, others: Sequence[str]) -> str:
    return "\n".join([answer, *(f"Equally right: {other}" for other in others)])


def _pages_shown(
    pages: Sequence[PageKey], words: PageWords
) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Name and words of each page that has any, and whether words were left out."""
    shown: list[tuple[str, str]] = []
    left, is_cut = _MOST_CHARS, False
    for page in pages:
        text = words.get(page, "")
        kept = text[: min(_MOST_PAGE_CHARS, left)]
        is_cut |= len(kept) < len(text)
        left -= len(kept)
        if kept:
            shown.append((f"page {page.page_number} of {page.doc}", kept))
    return tuple(shown), is_cut
