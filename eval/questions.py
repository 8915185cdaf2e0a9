"""Questions as they are put to a system, and as a run folder keeps them.

The leakage guard: what a dataset knows of a question (its document, answer, gold pages, type) is
left behind here. A search is handed a `Question`, and one over the corpus has no document to give
away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.datasets.folder import Dataset, PageKey, Query, Scope
from eval.runs import read_json, write_json_lines
from rag.errors import InputError
from rag.types import Json

QUESTIONS_FILE = "questions.jsonl"
_NO_TEXT = "-"  # of a question that is an image alone; dataset folders want some text


@dataclass(frozen=True)
class Question:
    """All that a search is told.

    Attributes:
        text: empty where the image is all of it.
        image: a file.
        doc: the one document to look in; None is all of them.
    """

    id: str
    text: str
    image: Path | None = None
    doc: str | None = None

    def key(self) -> str:
        """Equal for questions that are asked alike, whatever their ids: 64 hex digits."""
        digest = hashlib.sha256(f"{self.text}\0{self.doc or ''}\0".encode())
        if self.image is not None:
            digest.update(self.image.read_bytes())
        return digest.hexdigest()


def question_of(query: Query, dataset: Dataset, scope: Scope) -> Question:
    """A dataset's question without what a search must not know."""
    is_image_alone = query.image is not None and query.text == _NO_TEXT
    return Question(
        query.id,
        "" if is_image_alone else query.text,
        None if query.image is None else dataset.folder / "images" / query.image,
        query.doc if scope == "document" else None,
    )


def check_same_questions(head: Path, dataset: Dataset) -> None:
    """Raises InputError where the other run of a folder, of searches or of answers, is over another
    dataset: both are told of by one `questions.jsonl`.

    Args:
        head: of the other run, where there is one.
        dataset: that is to be asked.
    """
    if not head.exists():
        return
    told = read_json(head)
    if told.get("dataset_digest") != dataset.digest:
        kind = "answers" if "answer" in head.name else "searches"
        raise InputError(
            f"{str(head.parent)!r} holds a run of {kind} over {told.get('dataset')!r} in another "
            f"version, or over another dataset; this one is {dataset.name!r}",
            next_step="Choose another folder with --out.",
        )


def write_questions(path: Path, dataset: Dataset, queries: Sequence[Query]) -> None:
    """What a report tells of each question, so that it needs no dataset."""
    write_json_lines(path, (_row(query, dataset.qrels.get(query.id, {})) for query in queries))


def _row(query: Query, grades: Mapping[PageKey, int]) -> Json:
    return {
        "id": query.id,
        "text": query.text,
        "type": query.type,
        "answer": query.answer,
        "answers": query.answers,
        "groups": query.groups,
        "image": query.image,
        "doc": query.doc,
        "scope": query.scope,
        "gold_mode": query.gold_mode,
        "gold": [[page.doc, page.page_number, grade] for page, grade in sorted(grades.items())],
    }
