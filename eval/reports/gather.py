"""From run folders to what a report shows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from eval.answers.compare import ANSWERS
from eval.compare import holm
from eval.compare_many import SEARCHES, ManyCompared, RunKind, compare_many
from eval.reports.facts import bytes_per_page, facts, notices, refused
from eval.reports.further import further
from eval.reports.intervals import Figure, figures
from eval.reports.model import (
    ComparedRuns,
    Group,
    Listed,
    Moved,
    Report,
    RunShown,
    differ_in_bytes,
)
from eval.reports.preferred import preferred
from eval.reports.questions import shown_question
from eval.reports.run_folder import OUTCOMES, Asked, RunFolder, Side
from eval.reports.times import asked_at_a_time, latency, stages
from rag.errors import InputError

WORST = 10
_MOST_MOVED, _MOST_LISTED = 20, 200
_DEFAULT_MAIN = ("nDCG@10", "right_cited")
_TYPE = "type"
_DEEPEST = 100


def report_of(
    runs: Mapping[str, RunFolder], *, worst: int = WORST, named: Sequence[str] = ()
) -> Report:
    """What a report of these runs shows.

    Args:
        runs: by label; the first is what others are compared with.
        worst: how many of the worst questions.
        named: folders, as they were asked for.

    Raises:
        InputError: runs that cannot be compared.
    """
    compared = _compared(runs)
    shown = {label: _shown(label, run) for label, run in runs.items()}
    first = next(iter(runs.values()))
    main = main_measure(first)
    listed = list(_listed(runs))
    below, n_best = _by_badness(runs, main)
    names = list(runs)
    return Report(
        title=_title(first, names),
        dataset=str(first.head.get("dataset") or ""),
        scope=str(first.head.get("scope") or ""),
        n_questions=len(first.sides[0].rows),
        main=main,
        runs=tuple(shown.values()),
        compared=compared,
        preferred=tuple(each for label, run in runs.items() for each in preferred(label, run)),
        front=_front(list(shown.values())),
        worst=tuple(shown_question(query_id, runs) for query_id in below[:worst]),
        n_below=len(below) if worst else 0,
        n_best=n_best if worst else 0,
        moved=_moved(runs, main) if len(runs) > 1 else (),
        answers=tuple(listed[:_MOST_LISTED]),
        n_answers=len(listed),
        remarks=tuple(_remarks(runs)),
        command=shlex.join(["octavo", "eval", "report", *(named or runs), "-o", "report.html"]),
    )


def labelled(runs: Sequence[RunFolder]) -> dict[str, RunFolder]:
    """By folder name; with the name of the folder around it where two are called alike."""
    names = [run.name for run in runs]
    labels: dict[str, RunFolder] = {}
    for run in runs:
        label = run.name
        if names.count(label) > 1:
            label = f"{run.folder.resolve().parent.name}/{label}"
        base, number = label, 2
        while label in labels:
            label, number = f"{base} ({number})", number + 1
        labels[label] = run
    return labels


def main_measure(run: RunFolder) -> str:
    """What its dataset's authors rank by, where the run has it for any question."""
    side = run.sides[0]
    origin = side.head.get("origin")
    told = origin.get("main_measure") if isinstance(origin, Mapping) else None
    # No outcome is known of answers that no rule can count as right or wrong.
    known = [
        name
        for name in side.measures
        if any(side.value(query_id, name) is not None for query_id in run.questions)
    ]
    if not known:
        raise InputError(
            f"the rows of {run.name} hold no measure",
            next_step="`octavo eval run` writes them; run it again with the same --out.",
        )
    return next((str(name) for name in (told, *_DEFAULT_MAIN) if name in known), known[0])


def _title(first: RunFolder, labels: Sequence[str]) -> str:
    dataset = str(first.head.get("dataset") or first.name)
    if len(labels) == 1:
        return f"{dataset}: {labels[0]}" if labels[0] != dataset else dataset
    if len(labels) <= 3:
        return f"{dataset}: {' against '.join(labels)}"
    return f"{dataset}: {len(labels)} runs"


# --- one run --------------------------------------------------------------------------------------
def _shown(label: str, run: RunFolder) -> RunShown:
    return RunShown(
        label=label,
        kind="searches" if run.searches is not None else "answers",
        main=main_measure(run),
        figures=tuple(_figures(run, list(run.questions), by_part=bool(run.parts)).values()),
        further=further(run),
        groups=tuple(_groups(run)),
        recall=recall_by_k(run),
        latency=latency(run),
        stages=stages(run),
        asked=asked_at_a_time(run),
        bytes_per_page=bytes_per_page(run.head),
        facts=facts(run),
        notices=notices(run),
        refused=refused(run),
    )


def _figures(run: RunFolder, ids: Sequence[str], *, by_part: bool = False) -> dict[str, Figure]:
    return figures(
        {
            measure: [side.value(query_id, measure) for query_id in ids]
            for side in run.sides
            for measure in side.measures
        },
        parts=[run.questions[query_id].part for query_id in ids] if by_part else None,
        shares=OUTCOMES,
    )


def _groups(run: RunFolder) -> Iterator[Group]:
    """By type, then by each group of the dataset; none of a dimension with one value alone, or that
    says the same of each question as one before it.
    """
    members: dict[str, dict[str, list[str]]] = {}
    for query_id, asked in run.questions.items():
        named = {
            f"groups.{key}" if key == _TYPE else key: asked.groups[key] for key in asked.groups
        }
        for dimension, name in {_TYPE: asked.type, **named}.items():
            if name:
                members.setdefault(dimension, {}).setdefault(name, []).append(query_id)
    told: list[dict[str, list[str]]] = []
    for dimension, by_name in members.items():
        if len(by_name) > 1 and by_name not in told:
            told.append(by_name)
            for name in sorted(by_name):
                found = _figures(run, by_name[name])
                yield Group(dimension, name, len(by_name[name]), found)


def recall_by_k(run: RunFolder) -> tuple[tuple[int, float], ...]:
    """Mean share of the gold pages among the first k found, for k up to 100.

    As the measures do it: a question that any one gold page answers has all or nothing, and within
    a document other documents' pages do not count. Of several datasets each is as heavy as any
    other.
    """
    counted = [
        asked
        for query_id, asked in run.questions.items()
        if run.searches is not None and query_id in run.searches.rows and asked.gold
    ]
    if not run.found or not counted:
        return ()
    is_within = run.head.get("scope") == "document"
    hits = np.zeros((len(counted), _DEEPEST))
    deepest = 1
    for row, asked in zip(hits, counted, strict=True):
        pages = [
            hit.page
            for hit in run.found.get(asked.id, ())
            if not is_within or asked.doc in (None, hit.doc)
        ][:_DEEPEST]
        deepest = max(deepest, len(pages))
        for rank, page in enumerate(pages):
            row[rank] = page in asked.gold
        row[:] = _recalled(np.cumsum(row), asked)
    parts = np.array([asked.part for asked in counted])
    means = np.mean([hits[parts == part].mean(axis=0) for part in np.unique(parts)], axis=0)
    return tuple((k, float(means[k - 1])) for k in range(1, deepest + 1))


def _recalled(found: np.ndarray, asked: Asked) -> np.ndarray:
    """(100,) gold pages found by rank -> (100,) recall."""
    return np.minimum(found, 1) if asked.any_page else found / len(asked.gold)


# --- several runs ---------------------------------------------------------------------------------
def _compared(runs: Mapping[str, RunFolder]) -> tuple[ComparedRuns, ...]:
    """Each with the first; Holm over all that is looked at together."""
    (first_label, first), *others = runs.items()
    if not others:
        return ()
    sides = (
        (SEARCHES, "searches", first.searches, [run.searches for _, run in others]),
        (ANSWERS, "answers", first.answers, [run.answers for _, run in others]),
    )
    found = [
        (name, _many(list(runs.values()), kind, _looked_at(kind, of_first, first)))
        for kind, name, of_first, of_others in sides
        if of_first is not None and all(of_others)
    ]
    if not found:
        raise InputError(
            "some of the runs are of searches, and others of answers",
            next_step="Compare runs of one kind.",
        )
    systems = [system for _, many in found for system in many.systems[1:]]
    p_values = [each.p_value for system in systems for each in system.differences]
    corrected = iter(holm(p_values))
    return tuple(
        ComparedRuns(
            first_label,
            label,
            name,
            sum(part.n_questions for part in many.parts),
            len(many.parts),
            many.n_resamples,
            tuple(replace(each, p_holm=next(corrected)) for each in system.differences),
        )
        for name, many in found
        for (label, _), system in zip(others, many.systems[1:], strict=True)
    )


def _many(runs: Sequence[RunFolder], kind: RunKind, measures: Sequence[str]) -> ManyCompared:
    return compare_many([run.folder for run in runs], kind=kind, measures=measures)


def _looked_at(kind: RunKind, side: Side, first: RunFolder) -> list[str]:
    """The main measure of the report, and those such runs are compared by."""
    wanted = dict.fromkeys([main_measure(first), *kind.measures])
    return [name for name in wanted if name in side.measures]


def _front(shown: Sequence[RunShown]) -> tuple[str, ...]:
    """Labels of runs that no other is both better and faster than (nor smaller, where told)."""
    timed = [each for each in shown if each.latency is not None]
    points = {each.label: _costs(each, timed) for each in timed}

    def is_beaten(label: str) -> bool:
        mine = points[label]
        return any(
            other != mine and all(a <= b for a, b in zip(other, mine, strict=True))
            for other in points.values()
        )

    return tuple(label for label in points if not is_beaten(label)) if len(points) > 1 else ()


def _costs(each: RunShown, timed: Sequence[RunShown]) -> tuple[float, ...]:
    """Less is better; bytes count only where every run tells them and they differ."""
    latency_ms = each.latency.quantiles_ms[50] if each.latency else 0.0
    costs = (-each.headline.value, latency_ms)
    if differ_in_bytes(timed):
        return (*costs, each.bytes_per_page or 0.0)
    return costs


def _main_values(runs: Mapping[str, RunFolder], main: str) -> dict[str, dict[str, float]]:
    """Question id to run label to value, of questions that count in every run."""
    values: dict[str, dict[str, float]] = {}
    for query_id in next(iter(runs.values())).sides[0].rows:
        row = {label: run.sides[0].value(query_id, main) for label, run in runs.items()}
        told = {label: value for label, value in row.items() if value is not None}
        if len(told) == len(runs):
            values[query_id] = told
    return values


def _by_badness(runs: Mapping[str, RunFolder], main: str) -> tuple[list[str], int]:
    """Questions below 1 by their main measure (its mean over the runs), lowest first, ties by id;
    and the number of the others.
    """
    values = _main_values(runs, main)
    means = {query_id: sum(row.values()) / len(row) for query_id, row in values.items()}
    below = [query_id for query_id, mean in means.items() if round(mean, 12) < 1]
    return sorted(below, key=lambda each: (round(means[each], 12), each)), len(means) - len(below)


def _moved(runs: Mapping[str, RunFolder], main: str) -> tuple[Moved, ...]:
    first = next(iter(runs.values()))
    values = _main_values(runs, main)
    spread = {
        query_id: round(max(row.values()) - min(row.values()), 12)
        for query_id, row in values.items()
    }
    order = sorted(spread, key=lambda query_id: (-spread[query_id], query_id))
    return tuple(
        Moved(query_id, first.questions[query_id].text, values[query_id])
        for query_id in order[:_MOST_MOVED]
        if spread[query_id] > 0
    )


def _listed(runs: Mapping[str, RunFolder]) -> Iterator[Listed]:
    for label, run in runs.items():
        if run.answers is None:
            continue
        for query_id, row in run.answers.rows.items():
            asked = run.questions[query_id]
            yield Listed(
                label,
                query_id,
                asked.text,
                asked.answer,
                str(row.get("said") or ""),
                str(row.get("outcome") or ""),
            )


def _remarks(runs: Mapping[str, RunFolder]) -> Iterator[str]:
    for label, run in runs.items():
        if not run.has_questions:
            yield (
                f"{label} has no questions.jsonl, which older runs did not write: questions are "
                "shown by id, without gold pages, groups and recall by k. Run it again with the "
                "same --out; what was asked is taken over."
            )
        elif run.searches is not None and not run.found:
            yield f"{label} has no run.tsv: what was found is not shown."
    if len(runs) > 1 and not all(bytes_per_page(run.head) for run in runs.values()):
        without = [label for label, run in runs.items() if not bytes_per_page(run.head)]
        yield (
            f"Bytes per page are left out: measures.json of {', '.join(without)} does not tell "
            "them."
        )
