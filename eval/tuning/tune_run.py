"""One tuning from questions to a setting: reads or samples them, encodes, measures, chooses."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.tuning.tune import Progress, Setting, Tuner, TuneResult
from eval.tuning.tune_questions import drawing_order, read_questions, sample_questions
from rag.errors import InputError
from rag.geometry import FloatArray
from rag.page_text import PageText
from rag.ports import PageEncoder
from rag.repository import CollectionReader
from rag.scoring.fde import FdeEncoder
from rag.settings import RetrievalSettings
from rag.tuned import TunedWidths, Tuning, TuningFacts
from rag.types import Json, Notice

_TEXTS_AT_ONCE = 32
_MOST_QUESTIONS = 10_000


@dataclass(frozen=True)
class TuneRequest:
    """What a tuning is asked for.

    Attributes:
        questions: a file as `read_questions` takes it; None samples from the pages' words.
        n_questions: asked at most; of a file the first.
        target_recall: share of the exact top k that is to be found, above 0 and at most 1.
        k: depth.
        seed: of the sample.
    """

    questions: Path | None = None
    n_questions: int = 50
    target_recall: float = 0.99
    k: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.target_recall <= 1:  # written so that NaN fails too
            raise InputError(
                f"a target recall is above 0 and at most 1, got {self.target_recall:g}",
                code="bad_target",
                next_step="Give a share of the exact top pages, as in --target-recall 0.99.",
            )
        if min(self.n_questions, self.k) < 1:
            raise InputError(
                f"a tuning wants at least one question and one page, got {self.n_questions} "
                f"questions and a top {self.k}",
                code="bad_count",
                next_step="Give at least 1, as in --n-queries 50 --k 10.",
            )
        if self.n_questions > _MOST_QUESTIONS:
            raise InputError(
                f"a tuning asks {_MOST_QUESTIONS:,} questions at most, got {self.n_questions:,}",
                code="bad_count",
                next_step="Give fewer, as in --n-queries 50.",
            )


@dataclass(frozen=True)
class TuneOutcome:
    """What was measured on which questions; `tuning` is None where no setting meets the target."""

    request: TuneRequest
    result: TuneResult
    encode_ms: float

    @property
    def questions_from(self) -> str:
        return "sampled" if self.request.questions is None else "file"

    @property
    def tuning(self) -> Tuning | None:
        chosen = self.result.chosen
        if chosen is None:
            return None
        return Tuning(
            retrieval=TunedWidths(
                candidates=chosen.setting.candidates,
                int8_candidates=chosen.setting.int8_candidates,
                scan_rows=chosen.setting.scan_rows,
            ),
            tuning=TuningFacts(
                pages=self.result.n_pages,
                questions=self.result.n_questions,
                questions_from=self.questions_from,
                k=self.result.k,
                target_recall=self.result.target_recall,
                recall=round(chosen.recall, 5),
                recall_low=round(chosen.recall_low, 5),
                recall_high=round(chosen.recall_high, 5),
                median_ms=round(chosen.median_ms, 4),
            ),
        )

    @property
    def notices(self) -> tuple[Notice, ...]:
        found = list(self.result.warnings)
        if self.questions_from == "sampled":
            found.append(
                Notice(
                    "sampled_questions",
                    "the questions are runs of the pages' own words, not what people ask; give "
                    "real questions with --queries",
                )
            )
        if self.result.chosen and self.result.chosen.recall_low < self.result.target_recall:
            found.append(
                Notice(
                    "target_within_interval",
                    f"the lower end of the 95 % interval, {self.result.chosen.recall_low:.4f}, is "
                    "below the target; more questions narrow it",
                )
            )
        return tuple(found)

    def as_dict(self) -> Json:
        result = self.result

        def shown(setting: Setting) -> Json:
            return next(each.as_dict() for each in result.measured if each.setting == setting)

        return {
            "questions": {
                "from": self.questions_from,
                "n": result.n_questions,
                "seed": self.request.seed if self.questions_from == "sampled" else None,
            },
            "k": result.k,
            "target_recall": result.target_recall,
            "pages": result.n_pages,
            "rows": result.n_rows,
            "settings": [each.as_dict() for each in result.measured],
            "current": shown(result.current),
            "best": result.best.as_dict(),
            "chosen": None if result.chosen is None else result.chosen.as_dict(),
            "tuning": None if (tuning := self.tuning) is None else tuning.model_dump(),
            "besides_ms": {
                "encode": round(self.encode_ms, 3),
                **{name: round(ms, 3) for name, ms in result.other_ms.items()},
            },
        }


def tune(
    reader: CollectionReader,
    encoder: PageEncoder,
    fde: FdeEncoder,
    retrieval: RetrievalSettings,
    request: TuneRequest,
    *,
    progress: Progress = lambda _what, _done, _whole: None,
) -> TuneOutcome:
    """Measure one collection and choose.

    Raises:
        InputError: `too_few_pages`, `no_words`, `no_questions`, `bad_questions`, and
            `empty_query` for a question of a file that holds no word.
    """
    if reader.n_pages() < request.k:
        # Before sampling, which would say of an empty collection that it has no words.
        raise InputError(
            f"collection {reader.collection!r} has {reader.n_pages()} pages; "
            f"recall@{request.k} wants at least {request.k}",
            code="too_few_pages",
            next_step="Ingest more documents, or give a smaller --k.",
        )
    questions = _questions(reader, request)
    queries, encode_ms = _encoded(encoder, questions, progress)
    tuner = Tuner(reader, fde, retrieval, progress=progress)
    result = tuner.tune(queries, k=request.k, target_recall=request.target_recall)
    return TuneOutcome(request, result, encode_ms)


def _questions(reader: CollectionReader, request: TuneRequest) -> list[str]:
    if request.questions is not None:
        return read_questions(request.questions)[: request.n_questions]
    return sample_questions(_texts(reader, request.seed), request.n_questions, seed=request.seed)


def _texts(reader: CollectionReader, seed: int) -> Iterator[PageText]:
    """Words of all pages in the index, in random order, read as they are wanted."""
    refs = [page.ref for page in reader.pages(reader.ids()).values()]
    order = list(drawing_order(len(refs), seed=seed))
    for start in range(0, len(order), _TEXTS_AT_ONCE):
        batch = [refs[index] for index in order[start : start + _TEXTS_AT_ONCE]]
        texts = reader.page_texts(batch)
        yield from (texts[ref] for ref in batch)


def _encoded(
    encoder: PageEncoder, questions: Sequence[str], progress: Progress
) -> tuple[list[FloatArray], float]:
    """(n_query, dim) of each question, and the median milliseconds one took."""
    queries: list[FloatArray] = []
    times: list[float] = []
    for number, question in enumerate(questions, start=1):
        start = time.perf_counter()
        try:
            queries.append(encoder.encode_query(question).tokens.vectors)
        except InputError as error:
            raise InputError(
                f"question {number}, {question[:60]!r}: {error.message}",
                code=error.code,
                next_step=error.next_step,
            ) from error
        times.append((time.perf_counter() - start) * 1000)
        progress("questions", number, len(questions))
    return queries, float(np.median(times))
