"""Several systems against one, over one dataset or several.

A system is a folder: of one run, or of the runs over each of several datasets. What is asked of
all of them is the same questions, in the same scope, measured by the same rules; else nothing is
compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.compare import (
    Difference,
    Values,
    check_asked_alike,
    check_measured_alike,
    paired_bootstrap_of_many,
    rows_by_id,
)
from eval.measures import NAMES
from eval.runs import read_json
from rag.errors import InputError


@dataclass(frozen=True)
class RunKind:
    """How a run is kept: of searches, or (`eval.answers.compare.ANSWERS`) of answers.

    Attributes:
        measures: that it is compared by where none are asked for.
        scope_of: of its head, how its questions were asked; runs asked otherwise do not compare.
        is_counted: of the figures of a question, whether it is compared at all.
    """

    head_file: str
    rows_file: str
    measures: tuple[str, ...]
    scope_of: Callable[[Mapping[str, Any]], str]
    is_counted: Callable[[Mapping[str, Any]], bool]

    def is_run(self, folder: Path) -> bool:
        return (folder / self.head_file).exists()

    def runs_of(self, folder: Path) -> list[Path]:
        """The folder, where it is a run itself, or else the runs right below it."""
        if self.is_run(folder):
            return [folder]
        return sorted(found.parent for found in folder.glob(f"*/{self.head_file}"))


SEARCHES = RunKind(
    head_file="measures.json",
    rows_file="per_query.jsonl",
    measures=NAMES,
    scope_of=lambda head: str(head.get("scope", "")),
    is_counted=lambda _row: True,
)


@dataclass(frozen=True)
class Part:
    """A dataset in a scope, as every system was asked it."""

    dataset: str
    dataset_digest: str
    scope: str
    n_questions: int


@dataclass(frozen=True)
class Compared:
    """A system.

    Attributes:
        name: last part of its folder, or the folder where two have the same.
        means: measure to its mean; over several parts each is as heavy as any other.
        of_parts: the means of each part, in the order of the parts.
        differences: from the baseline, whose own are none. `p_holm` is corrected for all systems
            and measures.
    """

    name: str
    folder: str
    means: dict[str, float]
    of_parts: tuple[dict[str, float], ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class ManyCompared:
    """What came of it.

    Attributes:
        n_corrected: how many p values were corrected together.
        smallest_p_holm: no corrected p value can be below it with so few resamples.
        systems: the baseline first, the others as they were named.
    """

    parts: tuple[Part, ...]
    measures: tuple[str, ...]
    n_resamples: int
    seed: int
    n_corrected: int
    smallest_p_holm: float
    systems: tuple[Compared, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"baseline": self.systems[0].name, **asdict(self)}


@dataclass(frozen=True)
class _System:
    """Runs by the digest of their dataset and their scope."""

    name: str
    folder: Path
    heads: Mapping[tuple[str, str], Mapping[str, Any]]
    rows: Mapping[tuple[str, str], Values]


def compare_many(
    folders: Sequence[Path],
    *,
    baseline: Path | None = None,
    kind: RunKind = SEARCHES,
    measures: Sequence[str] | None = None,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> ManyCompared:
    """Each system against the baseline, with intervals of the differences.

    Args:
        folders: of systems.
        baseline: what they are held against, of `folders` or beside them; None is the first.
        kind: of the runs.
        measures: by name, of those that runs tell of each question; None are those of the kind.
        n_resamples: of the questions, within their dataset.
        seed: of the draws.

    Raises:
        InputError: fewer than two systems, or one named twice; a folder without a run, or with two
            over one dataset; systems over different datasets, scopes or questions, or measured by
            different rules; a measure that a run lacks.
    """
    ordered = baseline_first(folders, baseline)
    names = _names(ordered)
    systems = [
        _read_system(name, folder, kind) for name, folder in zip(names, ordered, strict=True)
    ]
    first, others = systems[0], systems[1:]
    for other in others:
        _check_same_parts(first, other)
    for key in first.rows:
        check_measured_alike(names, [system.heads[key] for system in systems])
        check_asked_alike(names, [system.rows[key] for system in systems])
    chosen = tuple(dict.fromkeys(measures or kind.measures))
    differences = paired_bootstrap_of_many(
        list(first.rows.values()),
        [[other.rows[key] for key in first.rows] for other in others],
        measures=chosen,
        n_resamples=n_resamples,
        seed=seed,
    )
    n_corrected = len(others) * len(chosen)
    return ManyCompared(
        parts=tuple(
            Part(str(first.heads[key].get("dataset", "")), *key, n_questions=len(rows))
            for key, rows in first.rows.items()
        ),
        measures=chosen,
        n_resamples=n_resamples,
        seed=seed,
        n_corrected=n_corrected,
        smallest_p_holm=min(1.0, n_corrected * 2 / (n_resamples + 1)),
        systems=tuple(
            _compared(system, first, chosen, of_system)
            for system, of_system in zip(systems, [(), *differences], strict=True)
        ),
    )


def baseline_first(folders: Sequence[Path], baseline: Path | None) -> list[Path]:
    """What is held against what: the first against none, all others against it.

    Raises:
        InputError: fewer than two, or one named twice.
    """
    given = [folder.resolve() for folder in folders]
    if twice := [
        str(folder) for at, folder in zip(given, folders, strict=True) if given.count(at) > 1
    ]:
        raise InputError(f"{twice[0]!r} is named twice", next_step="Name each run once.")
    ordered = list(folders)
    if baseline is not None:
        others = [
            folder for at, folder in zip(given, folders, strict=True) if at != baseline.resolve()
        ]
        ordered = [baseline, *others]
    if len(ordered) < 2:
        raise InputError(
            "a comparison wants two runs at least",
            next_step="`octavo eval compare A B ...` holds B and what follows against A.",
        )
    return ordered


def _names(folders: Sequence[Path]) -> list[str]:
    last = [folder.resolve().name for folder in folders]
    return [
        name if last.count(name) == 1 else str(folder)
        for name, folder in zip(last, folders, strict=True)
    ]


def _read_system(name: str, folder: Path, kind: RunKind) -> _System:
    runs = kind.runs_of(folder)
    if not runs:
        raise InputError(
            f"there is no run in {str(folder)!r}",
            next_step="`octavo eval run --out DIR` writes one; `octavo eval list DIR` names "
            "those that are there.",
        )
    heads: dict[tuple[str, str], dict[str, Any]] = {}
    rows: dict[tuple[str, str], Values] = {}
    where: dict[tuple[str, str], str] = {}
    for run in runs:
        head = read_json(run / kind.head_file)
        key = (str(head.get("dataset_digest", "")), kind.scope_of(head))
        if key in heads:
            raise InputError(
                f"{name} holds two runs over {_dataset(head, key)}: {where[key]} and {run.name}",
                next_step="Name the folder of one run, or one with a run of each dataset.",
            )
        heads[key], where[key] = head, run.name
        rows[key] = {
            each: row
            for each, row in rows_by_id(run, kind.head_file, head, kind.rows_file).items()
            if kind.is_counted(row)
        }
    return _System(name, folder, heads, rows)


def _check_same_parts(first: _System, other: _System) -> None:
    for ours, theirs in ((first, other), (other, first)):
        for key in ours.heads.keys() - theirs.heads.keys():
            name = ours.heads[key].get("dataset")
            near = [
                _dataset(head, at)
                for at, head in theirs.heads.items()
                if head.get("dataset") == name
            ]
            instead = f", but one over {near[0]}" if near else ""
            raise InputError(
                f"{theirs.name} has no run over {_dataset(ours.heads[key], key)}, which "
                f"{ours.name} has{instead}",
                next_step="Compare runs over the same versions of the same datasets, asked in the "
                "same scope.",
            )


def _dataset(head: Mapping[str, Any], key: tuple[str, str]) -> str:
    digest, scope = key
    return f"{head.get('dataset', '')!r} (digest {digest[:12]}, scope {scope})"


def _compared(
    system: _System, first: _System, measures: Sequence[str], differences: tuple[Difference, ...]
) -> Compared:
    of_parts = tuple(
        {
            name: sum(row[name] for row in system.rows[key].values()) / len(system.rows[key])
            for name in measures
        }
        for key in first.rows
    )
    return Compared(
        name=system.name,
        folder=str(system.folder),
        means={name: sum(means[name] for means in of_parts) / len(of_parts) for name in measures},
        of_parts=of_parts,
        differences=differences,
    )
