"""Fits the confidence of rag/answer/confidence.py and prints what abstaining by it costs and saves.

Every question is asked within its own document. Answerable are the questions of queries.jsonl,
unanswerable those of unanswerable.jsonl; a logistic of the two features is fitted to all of them,
both sides weighing the same, and cross-validated by document in five folds, drawn five times. A
second, easy set of unanswerable questions takes no part in the fit: answerable ones, asked of
another document.

    octavo ingest DATASET/docs -c NAME --data-dir DIR
    python scripts/calibrate_abstention.py DATASET -c NAME --data-dir DIR
"""

from __future__ import annotations

import argparse
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eval.answers.abstention import Roc, RocPoint, auc_interval, least_misled, roc, roc_text
from eval.datasets.folder import Dataset, load_dataset
from rag.answer.confidence import features, has_text
from rag.answer.extractive import ExtractiveAnswers
from rag.answer.question import Question
from rag.ask import Asker, AskRequest
from rag.ports import AnswerRequest, Evidence
from rag.settings import AnswerSettings, load_settings
from rag.types import Answer, Principal
from rag.wiring import Engine

_RIDGE = 1.0  # on standardised features: few questions, so nothing may grow large
_STEPS = 50
_FOLDS, _DRAWS = 5, 5
_REFUSED = 0.15  # of the answerable questions, at most

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """A question with what was found for it, and what the extractive model made of it."""

    doc: str
    has_text: bool
    gold_found: bool
    features: tuple[float, float]
    answer: Answer


class Recorder:
    """AnswerModel that keeps the pages found that it hands on."""

    def __init__(self, settings: AnswerSettings) -> None:
        self._model = ExtractiveAnswers(settings)
        self._n_pages = settings.answer_pages
        self.model_id = self._model.model_id
        self.reads_images = self._model.reads_images
        self.evidence: list[Evidence] = []

    def answer(self, request: AnswerRequest) -> Answer:
        self.evidence = list(request.evidence[: self._n_pages])  # without their next pages
        return self._model.answer(request)


class Questioner:
    def __init__(self, engine: Engine, collection: str, dataset: Dataset) -> None:
        settings = engine.settings.answer
        self._recorder = Recorder(settings)
        self._asker = Asker(engine.retriever(collection), self._recorder, settings)
        self._reader = engine.reader(Principal.owner(), collection)
        self._dataset = dataset

    def ask(self, text: str, doc: str, *, query_id: str | None = None) -> Asked:
        scope = self._reader.scope(documents=[doc])
        self._recorder.evidence = []
        result = self._asker.ask(self._reader, AskRequest(text, scope=scope))
        evidence = self._recorder.evidence
        found = features(Question(text), evidence)
        gold = self._dataset.qrels.get(query_id or "", {})
        return Asked(
            doc=doc,
            has_text=has_text(evidence),
            gold_found=any(
                len(page.text) > 0 and (page.hit.source, page.hit.ref.page_number) in gold
                for page in evidence
            ),
            features=(found.pairs, found.missing),
            answer=result.answer,
        )


def fit(rows: Array, labels: Array) -> Array:
    """Weights of the features and the intercept: ridge logistic by Newton steps, classes even."""
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-9
    inputs = np.column_stack([(rows - mean) / scale, np.ones(len(rows))])
    positive = labels == 1
    counts = np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()) * len(labels)
    ridge = _RIDGE * np.diag([*np.ones(rows.shape[1]), 0.0])
    weights = np.zeros(inputs.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (counts * (chance - labels)) + ridge @ weights
        curvature = (inputs.T * (counts * chance * (1 - chance))) @ inputs + ridge
        weights -= np.linalg.solve(curvature, slope)
    in_units = weights[:-1] / scale
    return np.append(in_units, weights[-1] - in_units @ mean)


def predict(weights: Array, rows: Array) -> Array:
    chances: Array = 1 / (1 + np.exp(-(rows @ weights[:-1] + weights[-1])))
    return chances


def left_out(rows: Array, labels: Array, docs: npt.NDArray[np.str_], *, seed: int) -> Array:
    """Each question's confidence by the fit to the four folds its document is not in."""
    names = np.unique(docs)
    drawn = np.random.default_rng(seed).permutation(len(names)) % _FOLDS
    fold = dict(zip(names.tolist(), drawn.tolist(), strict=True))
    folds = np.array([fold[doc] for doc in docs.tolist()])
    confidences = np.zeros(len(labels))
    for number in range(_FOLDS):
        held_out = folds == number
        confidences[held_out] = predict(fit(rows[~held_out], labels[~held_out]), rows[held_out])
    return confidences


def rates(threshold: float, answerable: Array, unanswerable: Array) -> RocPoint:
    return RocPoint(
        threshold,
        float((answerable >= threshold).mean()),
        float((unanswerable >= threshold).mean()),
    )


def curve_of(answerable: Array, unanswerable: Array) -> Roc:
    return roc(answerable.tolist(), unanswerable.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("-c", "--collection", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    args = parser.parse_args()
    dataset = load_dataset(args.dataset)
    settings = load_settings(overrides={"store": {"data_dir": args.data_dir}})
    rng = random.Random(0)
    with Engine(settings) as engine:
        questioner = Questioner(engine, args.collection, dataset)
        answerable = [
            questioner.ask(query.text, query.doc, query_id=query.id)
            for query in dataset.counted("document")
            if query.doc is not None
        ]
        unanswerable = [questioner.ask(query.text, query.doc) for query in dataset.unanswerable]
        texts = sorted({asked.doc for asked in answerable if asked.has_text})
        elsewhere = [
            questioner.ask(query.text, rng.choice([doc for doc in texts if doc != query.doc]))
            for query in dataset.counted("corpus")
        ]
    report(dataset.name, answerable, unanswerable, elsewhere)
    print(f"settings: min_confidence {settings.answer.min_confidence}, commit {_commit()}")


def report(
    name: str,
    answerable: Sequence[Asked],
    unanswerable: Sequence[Asked],
    elsewhere: Sequence[Asked],
) -> None:
    asked = [*answerable, *unanswerable]
    labels = np.array([1.0] * len(answerable) + [0.0] * len(unanswerable))
    rows = np.array([question.features for question in asked])
    docs = np.array([question.doc for question in asked])
    can, cannot = labels == 1, labels == 0

    draws = [left_out(rows, labels, docs, seed=seed) for seed in range(_DRAWS)]
    aucs = [curve_of(draw[can], draw[cannot]).auc for draw in draws]
    held_out = np.mean(draws, axis=0)
    curve = curve_of(held_out[can], held_out[cannot])
    chosen = least_misled(curve, answered=1 - _REFUSED)
    low, high = auc_interval(held_out[can].tolist(), held_out[cannot].tolist())
    weights = fit(rows, labels)
    fitted = predict(weights, rows)

    print(
        f"dataset {name}: {len(answerable)} answerable, {len(unanswerable)} unanswerable, ", end=""
    )
    print(f"{len(set(docs.tolist()))} documents")
    n_text = [sum(question.has_text for question in side) for side in (answerable, unanswerable)]
    print(f"with text on the pages found: {n_text[0]} and {n_text[1]}")
    print(f"fitted to all of these: pairs {weights[0]:.2f}, missing {weights[1]:.2f}, ", end="")
    print(f"intercept {weights[2]:.2f}\n")
    print(f"cross-validated by document, {_FOLDS} folds, AUC of {_DRAWS} draws: ", end="")
    print(", ".join(f"{auc:.3f}" for auc in aucs))
    print(f"of the mean of the draws, 95 % of resampled questions: {low:.3f} to {high:.3f}")
    print(roc_text(curve, chosen=chosen))
    for step in (0.45, 0.5, 0.52, 0.55, 0.6):
        other = rates(step, held_out[can], held_out[cannot])
        print(f"  {step:.2f}: answered {other.answered:.0%}, misled {other.misled:.0%}")
    print(f"in-sample AUC {curve_of(fitted[can], fitted[cannot]).auc:.3f}\n")

    print("the extractive model as it is, weights in-sample:")
    sure = np.array([question.answer.confidence for question in asked])
    print(f"  AUC {curve_of(sure[can], sure[cannot]).auc:.3f}, ", end="")
    print(f"answered {_answered(answerable)}, misled {_answered(unanswerable)}")
    with_gold = [question for question in answerable if question.gold_found]
    print(f"  answered {_answered(with_gold)} of those whose gold page was found and has text")
    print(f"  asked of another document: misled {_answered(elsewhere)}")


def _answered(asked: Sequence[Asked]) -> str:
    n_answered = sum(not question.answer.abstained for question in asked)
    return f"{n_answered / max(1, len(asked)):.0%} of {len(asked)}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
