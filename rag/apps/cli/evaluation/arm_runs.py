"""Arms over the parts of a set, as a command: what they are asked with, measured, told, written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rag.apps.cli import exit_codes, output
from rag.apps.cli.evaluation.arms_at_work import ArmsAtWork
from rag.apps.cli.flags import Common, Mode, made_folder

if TYPE_CHECKING:
    from eval.datasets.folder import Dataset
    from eval.paradigms.plan import Plan
    from eval.paradigms.run import ArmRuns
    from rag.types import Json

AnswersFlag = Annotated[
    bool, typer.Option("--answers", help="Answer the questions too, from the pages found.")
]
ExactFlag = Annotated[
    bool, typer.Option("--exact", help="Score every page, without a first stage.")
]
PagesFlag = Annotated[
    int, typer.Option("--k", min=1, help="Pages each way of searching gives: 5 or 10.")
]
WorkersFlag = Annotated[int, typer.Option(min=1, max=64, help="Questions asked at a time.")]
TextModeFlag = Annotated[
    Mode,
    typer.Option(
        "--mode",
        help="How text is searched: text is BM25, visual the vectors of words, hybrid both. "
        "Pictures are searched by their vectors alone.",
    ),
]
ArmsLimitFlag = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="Ask only the first N questions of a part."),
]

_MAX_PART_NAME = 100


@dataclass(frozen=True)
class ArmsRun:
    """Arms to measure, and where what they find goes.

    Attributes:
        command: as its user wrote it, without `octavo`.
        name: of the files with the figures, without their ending.
        told: measures of the table.
        compared: those that every two arms are compared by.
        answers: answer the questions too, from the pages that each arm found.
        workers: questions asked at a time.
        exact: score every page, without a first stage.
        head: what the figures say before anything else.
    """

    command: str
    name: str
    plan: Plan
    parts: Mapping[str, Dataset]
    out: Path
    told: Sequence[str]
    compared: Sequence[str]
    answers: bool = False
    workers: int = 1
    exact: bool = False
    head: Json = field(default_factory=dict)


def run_and_tell(run: ArmsRun, *, as_json: bool) -> int:
    """Measure, write `NAME.json` and `NAME.txt`, and print one of them; the exit code."""
    from eval.paradigms.figures import arms_figures, with_answers
    from eval.paradigms.report import arms_report
    from eval.paradigms.run import run_arms
    from eval.runs import write_atomically

    made_folder(run.out, flag="--out")
    with ArmsAtWork(run.command, workers=run.workers, exact=run.exact) as work:
        runs = run_arms(run.plan, run.parts, out=run.out, search=work.search)
        figures = arms_figures(run.plan, runs, told=run.told, compared=run.compared)
        if run.answers:
            figures = with_answers(figures, _answered(run, runs, work), _degraded(run.plan))
    shown = {**run.head, **figures, **_provenance(run)}
    text = arms_report(shown)
    write_atomically(run.out / f"{run.name}.json", json.dumps(shown, indent=2, ensure_ascii=False))
    write_atomically(run.out / f"{run.name}.txt", f"{text}\n")
    if as_json:
        output.emit(shown)
    else:
        output.line(text)
        output.note(f"written to {run.out}")
    has_failed = any(arm.get("answers", {}).get("n_failed") for arm in figures["arms"].values())
    return exit_codes.PARTIAL if work.is_partial or has_failed else exit_codes.DONE


def _answered(run: ArmsRun, runs: ArmRuns, work: ArmsAtWork) -> dict[str, dict[str, Json]]:
    """Arms that share an open folder after one another, from the one that searched last."""
    from eval.tuning.sweep_plan import engine_key

    keys = {arm.name: engine_key(run.plan.answering_settings(arm)) for arm in run.plan.arms}
    searched = list(dict.fromkeys(keys[arm.name] for arm in run.plan.searching()))
    arms = sorted(run.plan.arms, key=lambda arm: -searched.index(keys[arm.name]))
    return {
        arm.name: {
            part: work.answer(run.plan, arm, of_part, run.out / arm.name / part)
            for part, of_part in runs[arm.name].items()
        }
        for arm in arms
    }


def _degraded(plan: Plan) -> list[str]:
    """What keeps answers from being made of what the arms say they are made of."""
    models = {plan.answering_settings(arm).answer.model for arm in plan.arms}
    if "extractive" not in models or all(arm.evidence == "text" for arm in plan.arms):
        return []
    said = (
        "the extractive model reads the words of the pages found, whatever the evidence of an arm "
        "is: answers differ by the pages alone (answer.model=chat shows pictures too)"
    )
    return [said]


def _provenance(run: ArmsRun) -> Json:
    from eval.provenance import commit, machine

    origins = {
        part: dataset.origin.model_dump(mode="json")
        for part, dataset in run.parts.items()
        if dataset.origin is not None
    }
    return {
        "origins": origins,
        "dataset_digests": {part: dataset.digest for part, dataset in run.parts.items()},
        "workers": run.workers,
        "exact": run.exact,
        "commit": commit(),
        "machine": machine(),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "out": str(run.out),
    }


def refuse_collection(common: Common) -> None:
    """Raises typer.BadParameter where a collection is named."""
    if common.collection != "default":
        raise typer.BadParameter(
            "arms name their collections themselves, by dataset and encoder", param_hint="-c"
        )


def parts_of(
    folders: Sequence[Path], *, wanted: Sequence[str] = (), limit: int | None = None
) -> dict[str, Dataset]:
    """Datasets by the part of the set that they are, or by the names of their folders.

    Args:
        folders: dataset folders.
        wanted: names of parts; none is all.
        limit: ask only so many questions of each.

    Raises:
        InputError: a part that is not there, two of one name; as `load_dataset`.
    """
    from eval.datasets.folder import load_dataset
    from rag.errors import InputError

    parts: dict[str, Dataset] = {}
    for folder in folders:
        dataset = load_dataset(folder)
        name = _part_name(dataset)
        if name in parts:
            raise InputError(
                f"{parts[name].name} and {dataset.name} are both the part {name!r}",
                code="part_twice",
                next_step="Name the folder of one of them, or one that holds the parts of one set.",
            )
        parts[name] = dataset
    if unknown := [name for name in wanted if name not in parts]:
        raise InputError(
            f"there is no part {unknown[0]!r}",
            code="unknown_part",
            next_step=f"There are {', '.join(parts)}.",
        )
    return {
        name: dataset if limit is None else dataset.first(limit, "corpus")
        for name, dataset in parts.items()
        if not wanted or name in wanted
    }


def _part_name(dataset: Dataset) -> str:
    """Also that of a folder of runs: of the folder where what dataset.json says is no such name."""
    part = "" if dataset.origin is None else dataset.origin.part
    is_name = part.isprintable() and not set(part) & {"/", "\\", ":"} and not part.startswith(".")
    return part if is_name and 0 < len(part) <= _MAX_PART_NAME else dataset.name
