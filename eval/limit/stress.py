"""The arms side by side on one set of LIMIT: what each finds, and how that was asked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.datasets.folder import Dataset, PageKey, Query
from eval.datasets.published import SetPart
from eval.limit.arms import ARMS, DENSE, Progress, Scored, ranked, score_all
from eval.limit.construction import LimitSet
from eval.runs import Hit, Run, write_json_lines
from rag.errors import InputError
from rag.ports import PageEncoder

CUTOFFS = (2, 10, 20, 100)
MEASURES = (*(f"R@{k}" for k in CUTOFFS), "nDCG@10")
_DEPTH = max(CUTOFFS)
# As others tell them of LIMIT-small (secondary sources); on words of their own, so the order of
# arms can be compared with them and the figures only roughly.
LITERATURE = {"BM25": 0.978, "ModernColBERT (MaxSim)": 0.835, "Promptriever (one vector)": 0.543}
_LEAK_RECALL, _LEAK_DOCUMENTS = 0.5, 10_000


@dataclass(frozen=True)
class Texts:
    """A set to be searched in memory.

    Attributes:
        ids: of the texts, ascending, so that ties in score fall to the lower id.
        texts: aligned to `ids`.
        qrels: question id to the ids that answer it.
    """

    name: str
    ids: Sequence[str]
    texts: Sequence[str]
    questions: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Stress:
    """What the arms found.

    Attributes:
        values: arm to question id to measure to value.
        runs: arm to its run.
    """

    texts: Texts
    scored: Scored
    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    runs: Mapping[str, Run]
    seconds: float

    def means(self) -> dict[str, dict[str, float]]:
        return {
            arm: {
                name: sum(row[name] for row in values.values()) / len(values) for name in MEASURES
            }
            for arm, values in self.values.items()
        }

    def as_dict(self) -> dict[str, Any]:
        return {
            "set": self.texts.name,
            "n_documents": len(self.texts.ids),
            "n_queries": len(self.texts.questions),
            "arms": self.means(),
            "described": {arm: self.scored.described[arm] for arm in ARMS},
            "literature_R@2_of_limit_small": LITERATURE,
            "seconds": round(self.seconds, 1),
            "notes": self.notes(),
        }

    def notes(self) -> list[str]:
        """What the reader of the figures should know."""
        notes = []
        n_documents, recall = len(self.texts.ids), self.means()[DENSE]["R@100"]
        if n_documents <= _DEPTH:
            notes.append(
                f"R@100 says nothing: {n_documents} documents are all among the first 100."
            )
        elif n_documents >= _LEAK_DOCUMENTS and recall > _LEAK_RECALL:
            notes.append(
                f"A leak is likely: one vector a document has R@100 {recall:.3f} on {n_documents} "
                "documents, where published ones stay near 0.2. Look for what names the answer: "
                "file names, ids in the text, an order of the documents."
            )
        return notes


def texts_of(part: SetPart, *, name: str) -> Texts:
    """The words of each document of a part.

    Raises:
        InputError: a part without questions, or a document that is a file or an image.
    """
    rows: list[tuple[str, str]] = []
    for document in part.documents:
        if document.path is not None or any(page.image for page in document.pages):
            raise InputError(f"{name}: document {document.name!r} is not of words alone")
        rows.extend((page.item_id, page.text) for page in document.pages)
    rows.sort()
    questions = {query.id: query.text for query in part.queries}
    if not rows or not questions:
        raise InputError(f"{name}: there are {len(rows)} texts and {len(questions)} questions")
    return Texts(
        name,
        [item_id for item_id, _ in rows],
        [text for _, text in rows],
        questions,
        {
            query_id: {str(item): grade for item, grade in grades.items()}
            for query_id, grades in part.qrels.items()
        },
    )


def texts_made(made: LimitSet) -> Texts:
    """A set as it was constructed."""
    rows = sorted((document.name, document.text) for document in made.documents())
    return Texts(
        f"limit-made-{made.spec.n_documents}",
        [name for name, _ in rows],
        [text for _, text in rows],
        {query.id: query.text for query in made.queries},
        {query.id: {made.names[index]: 1 for index in query.pair} for query in made.queries},
    )


def stress(texts: Texts, encoder: PageEncoder, *, progress: Progress | None = None) -> Stress:
    """Every arm over every text.

    Args:
        texts: at least one, and at least one question.
        encoder: of words; closed by whoever opened it.
        progress: called with (texts scored, texts in all).

    Raises:
        InputError: as `score_all`.
        ConfigError: as `score_all`.
    """
    started = time.perf_counter()
    query_ids = list(texts.questions)
    scored = score_all(
        texts.texts,
        [texts.questions[query_id] for query_id in query_ids],
        encoder,
        n_texts=len(texts.ids),
        progress=progress,
    )
    runs = {
        arm: {
            query_id: _hits(texts.ids, ranked(scored.scores[arm][row], k=_DEPTH))
            for row, query_id in enumerate(query_ids)
        }
        for arm in ARMS
    }
    return Stress(
        texts,
        scored,
        {arm: _measured(texts, run) for arm, run in runs.items()},
        runs,
        time.perf_counter() - started,
    )


def write_stress(result: Stress, folder: Path) -> None:
    """`per_query.jsonl`: what each arm gave for each question."""
    write_json_lines(folder / "per_query.jsonl", _per_query(result))


def _per_query(result: Stress) -> Iterator[dict[str, Any]]:
    for query_id, text in result.texts.questions.items():
        yield {
            "id": query_id,
            "text": text,
            **{
                arm: {name: values[query_id][name] for name in MEASURES}
                for arm, values in result.values.items()
            },
        }


def _hits(ids: Sequence[str], places: Sequence[int]) -> list[Hit]:
    # By rank: the scores that go to the measures fall at every step.
    return [Hit(ids[place], 1, float(-rank)) for rank, place in enumerate(places)]


def _measured(texts: Texts, run: Run) -> dict[str, dict[str, float]]:
    """As runs of a dataset folder are measured: each text is a document of one page."""
    from eval.measures import measure_queries  # wants ir-measures

    dataset = Dataset(
        name=texts.name,
        folder=Path(),
        documents=tuple(texts.ids),
        queries={
            query_id: Query(id=query_id, text=text, answer="", type="who likes")
            for query_id, text in texts.questions.items()
        },
        qrels={
            query_id: {PageKey(doc, 1): grade for doc, grade in grades.items()}
            for query_id, grades in texts.qrels.items()
        },
        unanswerable=(),
        digest="",
    )
    return measure_queries(dataset, run, scope="corpus")
