"""What a judge preferred, pair by pair: `judge_pairwise_OTHER.json` of a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval.compare import Difference
from eval.reports.model import NoticeSeen, Preferred
from eval.reports.run_folder import RunFolder, is_number
from eval.runs import read_json
from rag.errors import InputError
from rag.types import Json

_FILES = "judge_pairwise_*.json"


def preferred(label: str, run: RunFolder) -> tuple[Preferred, ...]:
    """Of a run over several datasets, those of each part.

    Raises:
        InputError: a file that `octavo eval judge` did not write so.
    """
    return tuple(
        _told(f"{label}/{part.name}" if run.parts else label, path, read_json(path))
        for part in run.parts or (run,)
        for path in sorted(part.folder.glob(_FILES))
    )


def _told(label: str, path: Path, figures: Json) -> Preferred:
    try:
        judge, orders = figures["judge"], figures["orders_disagree"]
        return Preferred(
            first=label,
            second=str(figures["other"]),
            judge=str(judge["model_id"]),
            n_votes=int(judge["votes"]),
            n_judged=int(figures["n_judged"]),
            n_first=int(figures["first_better"]),
            n_second=int(figures["second_better"]),
            n_ties=int(figures["ties"]),
            n_left_out=int(figures["left_out"]),
            n_unreadable=int(figures["failures"]["pairwise"]["unparsed"]),
            orders_disagree=None if orders["value"] is None else float(orders["value"]),
            n_resamples=int(figures["n_resamples"]),
            differences=tuple(_difference(each) for each in figures["differences"]),
            notices=tuple(_notices(figures)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path.parent.name}/{path.name} is not as `octavo eval judge` writes it: "
            f"{type(error).__name__} {error}",
            next_step=f"Judge again with --pairwise {path.stem.removeprefix('judge_pairwise_')}, "
            "or delete the file.",
        ) from error


def _difference(told: Mapping[str, Any]) -> Difference:
    names = ("first", "second", "difference", "low", "high", "p_value", "p_holm")
    if not all(is_number(told[name]) for name in names):
        raise ValueError(f"{told['measure']!r} wants finite numbers")
    measure = str(told["measure"]).replace("_", " ")
    return Difference(measure, *(float(told[name]) for name in names))


def _notices(figures: Json) -> Iterator[NoticeSeen]:
    for code, message in figures["notices"].items():
        yield NoticeSeen(str(code), 0, str(message))
    for code, seen in figures["errors"].items():
        yield NoticeSeen(str(code), int(seen["questions"]), str(seen["message"]))
