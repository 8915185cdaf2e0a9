"""Runs arms over the parts of a set: a run folder for every arm and part, searched or taken
together from the runs of others.

How an arm searches is handed in: this module opens no index and loads no encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.datasets.folder import Dataset, PageKey
from eval.paradigms.fusion import given_pages, interleaved, quotas
from eval.paradigms.plan import Arm, Plan
from eval.questions import Question
from eval.run_eval import Evaluation, Found, Searched, evaluate
from eval.runs import Hit, read_json_lines, read_run
from rag.errors import InputError

SearchArm = Callable[[Arm, Dataset, Path], Evaluation]


@dataclass(frozen=True)
class ArmRun:
    """What an arm found in one part.

    Attributes:
        run: question id to pages, best first.
        given: question id to the k pages that an answer model is handed; a page that two rankings
            gave is in it twice.
        ms: question id to the time of its search, or of both searches of an arm that fuses.
    """

    dataset: Dataset
    run: Mapping[str, Sequence[Hit]]
    given: Mapping[str, Sequence[Hit]]
    ms: Mapping[str, float]
    evaluation: Evaluation

    def pages(self, query_id: str) -> list[PageKey]:
        """The pages an answer is made from, each once, in the order they are given."""
        return list(dict.fromkeys(hit.page for hit in self.given[query_id]))


ArmRuns = Mapping[str, Mapping[str, ArmRun]]  # by name of the arm, then of the part


def run_arms(
    plan: Plan, parts: Mapping[str, Dataset], *, out: Path, search: SearchArm
) -> dict[str, dict[str, ArmRun]]:
    """Every arm over every part, each run in `out/<arm>/<part>/`.

    Args:
        plan: what is measured.
        parts: datasets by the names of their folders in `out`.
        out: runs of the same settings that are in it are taken over.
        search: writes the run folder of an arm that searches, all parts of one arm in a row.
    """
    runs: dict[str, dict[str, ArmRun]] = {}
    for arm in plan.searching():
        runs[arm.name] = {
            name: _searched(dataset, search(arm, dataset, folder), folder, plan.k)
            for name, dataset in parts.items()
            for folder in (out / arm.name / name,)
        }
    for arm in plan.arms:
        if arm.fuses is not None:
            first, second = (runs[name] for name in arm.fuses)
            runs[arm.name] = {
                name: _fused(arm, (first[name], second[name]), plan.k, out / arm.name / name)
                for name in parts
            }
    return {arm.name: runs[arm.name] for arm in plan.arms}


def _searched(dataset: Dataset, evaluation: Evaluation, folder: Path, k: int) -> ArmRun:
    run = _whole_run(dataset, folder)
    given = {query_id: hits[:k] for query_id, hits in run.items()}
    return ArmRun(dataset, run, given, _times(folder), evaluation)


def _fused(arm: Arm, sides: tuple[ArmRun, ArmRun], k: int, folder: Path) -> ArmRun:
    """Two runs as one: its times are of both searches, and it says what one of them refused."""
    names = arm.fuses or ()
    first, second = sides
    dataset = first.dataset

    def take(question: Question) -> Found:
        asked = question.id
        refused = [
            f"{name} refused the question: {side.evaluation.refused[asked]}"
            for name, side in zip(names, sides, strict=True)
            if asked in side.evaluation.refused
        ]
        if len(refused) == len(sides):
            raise InputError("; ".join(refused))
        return Found(
            interleaved(first.run[asked], second.run[asked], k=k),
            {"side_refused": refused[0]} if refused else {},
            ms=first.ms[asked] + second.ms[asked],
        )

    evaluation = evaluate(
        dataset,
        take,
        out_dir=folder,
        searched=Searched(
            config={
                "fuses": arm.fuses,
                "quotas": quotas(k),
                "of": [side.evaluation.config_hash for side in sides],
            },
            encoder=" + ".join(side.evaluation.encoder for side in sides),
        ),
        resume=False,  # it is made of runs that are there, and costs nothing
    )
    return ArmRun(
        dataset,
        _whole_run(dataset, folder),
        {each: given_pages(first.run[each], second.run[each], k=k) for each in first.run},
        _times(folder),
        evaluation,
    )


def _whole_run(dataset: Dataset, folder: Path) -> dict[str, list[Hit]]:
    """With the questions that nothing was found for, which no line of a run file tells."""
    found = read_run(folder / "run.tsv")
    return {query.id: found.get(query.id, []) for query in dataset.counted("corpus")}


def _times(folder: Path) -> dict[str, float]:
    return {row["id"]: float(row["ms"]) for row in read_json_lines(folder / "per_query.jsonl")}
