"""What a report shows, whatever its form: figures, questions and where they come from.

Everything here is plain data of the run folders; nothing of it is marked up, drawn or rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eval.compare import Difference
from eval.datasets.folder import PageKey
from eval.reports.intervals import Figure
from eval.reports.pictures import Wanted


@dataclass(frozen=True)
class Group:
    """Questions told apart by one dimension: their type, or a group of the dataset.

    Attributes:
        figures: of each measure that any of its questions has.
    """

    dimension: str
    name: str
    n: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Latency:
    """How long the questions of a run took, in milliseconds; quantiles by their percent.

    Attributes:
        of: what was timed: a search, or a whole question from the search to its answer.
    """

    of: str
    n: int
    quantiles_ms: dict[int, float]
    values_ms: tuple[float, ...]


@dataclass(frozen=True)
class StageTime:
    """Of one stage of answering, or of several together."""

    stage: str
    n: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Fact:
    """Where a figure comes from, as label and value."""

    label: str
    value: str


@dataclass(frozen=True)
class NoticeSeen:
    code: str
    n_questions: int
    message: str

    @property
    def is_grave(self) -> bool:
        """Documents or pages are missing, which no search can make good."""
        return self.code in _GRAVE


_GRAVE = frozenset({"documents_unread", "gold_page_missing"})


@dataclass(frozen=True)
class Further:
    """A figure that the run tells as a whole, without a value for each question.

    Attributes:
        n: of how many it is; None where the run does not say.
    """

    label: str
    value: float
    n: int | None


@dataclass(frozen=True)
class RunShown:
    """One run.

    Attributes:
        label: unique in the report.
        kind: searches or answers.
        main: measure by which runs are ranked and questions are bad.
        recall: (k, mean recall of the first k pages); empty where gold pages are not known.
        stages: of answers, the whole question first.
        asked: how many questions at a time; empty where the run does not say.
        bytes_per_page: of the index; None where the run does not say.
        refused: question id to reason.
    """

    label: str
    kind: str
    main: str
    figures: tuple[Figure, ...]
    further: tuple[Further, ...]
    groups: tuple[Group, ...]
    recall: tuple[tuple[int, float], ...]
    latency: Latency | None
    stages: tuple[StageTime, ...]
    asked: str
    bytes_per_page: float | None
    facts: tuple[Fact, ...]
    notices: tuple[NoticeSeen, ...]
    refused: dict[str, str]

    @property
    def headline(self) -> Figure:
        return next(each for each in self.figures if each.measure == self.main)


@dataclass(frozen=True)
class ComparedRuns:
    """A run beside the first; p values corrected over all differences of the report.

    Attributes:
        n_parts: datasets; of several, means are theirs, each as heavy as any other.
    """

    first: str
    second: str
    kind: str
    n_questions: int
    n_parts: int
    n_resamples: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Preferred:
    """Which of two runs a judge prefers, question by question.

    Attributes:
        n_judged: pairs; the first is better in `n_first`, the second in `n_second` of them.
        n_left_out: questions that one of the two did not answer, or without a gold answer.
        orders_disagree: share of pairs judged otherwise with the answers changed over: ties.
        differences: second less first, where 1 is preferred and a half a tie; p values are
            corrected over these alone.
    """

    first: str
    second: str
    judge: str
    n_votes: int
    n_judged: int
    n_first: int
    n_second: int
    n_ties: int
    n_left_out: int
    n_unreadable: int
    orders_disagree: float | None
    n_resamples: int
    differences: tuple[Difference, ...]
    notices: tuple[NoticeSeen, ...]


@dataclass(frozen=True)
class PictureShown:
    """A picture a report has room for, where it was drawn."""

    label: str
    alt: str
    wanted: Wanted


@dataclass(frozen=True)
class CitationShown:
    marker: str
    page: PageKey
    quote: str
    is_gold: bool
    picture: PictureShown | None


@dataclass(frozen=True)
class AnswerShown:
    """What a run answered.

    Attributes:
        outcome: right_cited, right, wrong, abstained, error, or what another judge said.
        error: why there is no answer; empty where there is one.
    """

    text: str
    short: str
    outcome: str
    confidence: float | None
    citations: tuple[CitationShown, ...]
    error: str


@dataclass(frozen=True)
class Seen:
    """A question in one run.

    Attributes:
        values: of each measure it counts for.
        first: the page found first; None where nothing was, or pages are not told.
        first_is_gold: ... it is a gold page.
        gold_rank: of the best gold page; None where none was found.
    """

    run: str
    values: dict[str, float]
    first: PageKey | None
    first_is_gold: bool
    gold_rank: int | None
    n_found: int
    refusal: str
    heat: tuple[PictureShown, ...]
    answer: AnswerShown | None


@dataclass(frozen=True)
class QuestionShown:
    """A question with what each run made of it.

    Attributes:
        text: empty where the run folder does not tell it.
        gold: pages that answer it, the best grade first.
    """

    id: str
    text: str
    type: str
    expected: str
    groups: dict[str, str]
    gold: tuple[PageKey, ...]
    pages: tuple[PictureShown, ...]
    seen: tuple[Seen, ...]


@dataclass(frozen=True)
class Moved:
    """A question whose main measure differs between runs, by run label."""

    id: str
    text: str
    values: dict[str, float]


@dataclass(frozen=True)
class Listed:
    """One answer in the list of all: run, question, what was said and what it was worth."""

    run: str
    id: str
    question: str
    expected: str
    said: str
    outcome: str


@dataclass(frozen=True)
class Report:
    """A run, or several compared with the first.

    Attributes:
        n_below: questions whose main measure is below 1; the worst are of these.
        n_best: those of which it is 1, in every run.
        remarks: what is left out and how to get it.
        command: makes this report again, run beside the run folders.
    """

    title: str
    dataset: str
    scope: str
    n_questions: int
    main: str
    runs: tuple[RunShown, ...]
    compared: tuple[ComparedRuns, ...] = ()
    preferred: tuple[Preferred, ...] = ()
    front: tuple[str, ...] = ()
    worst: tuple[QuestionShown, ...] = ()
    n_below: int = 0
    n_best: int = 0
    moved: tuple[Moved, ...] = ()
    answers: tuple[Listed, ...] = ()
    n_answers: int = 0
    remarks: tuple[str, ...] = ()
    command: str = ""
    folders: Sequence[str] = field(default=())

    @property
    def is_comparison(self) -> bool:
        return len(self.runs) > 1

    @property
    def kind(self) -> str:
        return self.runs[0].kind


_SAME_SIZE = 1.05
# What tables that are to be read have room for, the main measure before them.
_KEY = {
    "searches": ("nDCG@5", "nDCG@10", "R@1", "R@5", "R@10", "RR@10"),
    "answers": (
        *("right_cited", "right", "wrong", "abstained", "EM", "F1", "ANLS", "numeric_match"),
        *("completeness", "faithfulness"),
    ),
}


def differ_in_bytes(runs: Sequence[RunShown]) -> bool:
    """Every run tells bytes per page, and not the same but for how full its files are."""
    sizes = [run.bytes_per_page for run in runs if run.bytes_per_page is not None]
    return len(sizes) == len(runs) and max(sizes) > _SAME_SIZE * min(sizes)


def key_measures(report: Report) -> list[str]:
    """Of all that the runs tell, the few that stand in tables by group."""
    told = dict.fromkeys(figure.measure for run in report.runs for figure in run.figures)
    wanted = dict.fromkeys([report.main, *_KEY[report.kind]])
    return [name for name in wanted if name in told]
