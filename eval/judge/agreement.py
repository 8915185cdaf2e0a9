"""How far a judge agrees with people, on the questions that people labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.judge.votes import cohens_kappa
from eval.runs import read_json_lines
from rag.errors import InputError
from rag.types import Json

Labels = Mapping[str, Mapping[str, str]]  # name -> id of a question -> label

ENOUGH = 50  # labels, below which no agreement validates a judge
SUBSTANTIAL = 0.6  # Landis & Koch 1977, The measurement of observer agreement
_PREFERENCES = {1: "first", -1: "second", 0: "tie"}
_WRITTEN = (
    'A line is a JSON object with "id" and one or more of "complete" and "faithful" (true or '
    'false), or with "preferred" ("first", "second" or "tie") for --pairwise.'
)


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Label by id of a question, by name: complete, faithful, preferred.

    Raises:
        InputError: a line that is no label, or an id that comes twice.
    """
    labels: dict[str, dict[str, str]] = {}
    for number, row in enumerate(read_json_lines(path), start=1):
        where, identity = f"{path.name} line {number}", row.get("id")
        if not isinstance(identity, str):
            raise InputError(f"{where}: there is no 'id'", next_step=_WRITTEN)
        given = {name: row[name] for name in ("complete", "faithful", "preferred") if name in row}
        for name, label in given.items():
            is_known = isinstance(label, bool) if name != "preferred" else label in _wanted()
            if not is_known:
                raise InputError(f"{where}: {name!r} is {label!r}", next_step=_WRITTEN)
            of_name = labels.setdefault(name, {})
            if identity in of_name:
                raise InputError(f"{where}: id {identity!r} is labelled twice")
            of_name[identity] = str(label).lower()
        if not given:
            raise InputError(f"{where}: there is no label", next_step=_WRITTEN)
    if not labels:
        raise InputError(f"{path.name} has no label", next_step=_WRITTEN)
    return labels


def require_known(labels: Labels | None, ids: Sequence[str]) -> None:
    """Raises InputError for a label of a question that the run has not."""
    labelled = {identity for of_name in (labels or {}).values() for identity in of_name}
    if strange := sorted(labelled - {*ids}):
        raise InputError(
            f"{len(strange)} labels are of no question of the run, such as {strange[0]!r}",
            next_step="Label questions by the ids in its questions.jsonl.",
        )


def agreements(labels: Labels | None, judged: Labels) -> Json:
    """`agreement`: by the name of each label that people gave; nothing where they gave none."""
    if labels is None:
        return {}
    return {"agreement": {name: agreement(labels[name], judged.get(name, {})) for name in labels}}


def _wanted() -> tuple[str, ...]:
    return tuple(_PREFERENCES.values())


def labels_of_claims(rows: Mapping[str, Json]) -> dict[str, dict[str, str]]:
    """What the judge says in the words of labels: complete is every claim, and so is faithful."""
    return {
        label: {
            identity: str(row[score]["value"] == 1).lower()
            for identity, row in rows.items()
            if row.get(score) and row[score]["value"] is not None
        }
        for label, score in (("complete", "completeness"), ("faithful", "faithfulness"))
    }


def labels_of_pairs(rows: Mapping[str, Json]) -> dict[str, dict[str, str]]:
    return {
        "preferred": {
            identity: _PREFERENCES[row["preference"]]
            for identity, row in rows.items()
            if row["preference"] is not None
        }
    }


def agreement(labels: Mapping[str, str], judged: Mapping[str, str]) -> Json:
    """Cohen's kappa over the questions that both people and the judge have labelled.

    Returns:
        kappa (None where it is not defined), the share that agrees, n, how many labels the judge
        has no verdict for, whether the judge may be called validated, and why.
    """
    both = sorted(labels.keys() & judged.keys())
    ours, theirs = [labels[each] for each in both], [judged[each] for each in both]
    kappa = cohens_kappa(ours, theirs)
    agreed = [one == other for one, other in zip(ours, theirs, strict=True)]
    return {
        "kappa": kappa,
        "agreement": sum(agreed) / len(agreed) if agreed else None,
        "n": len(both),
        "without_verdict": len(labels) - len(both),
        **_validation(kappa, len(both)),
    }


def _validation(kappa: float | None, n: int) -> Json:
    if n < ENOUGH:
        why = f"not validated: {n} labels with a verdict, and it takes {ENOUGH}"
    elif kappa is None:
        why = "not validated: every label is the same, so that chance alone would agree"
    elif kappa < SUBSTANTIAL:
        why = f"not validated: kappa {kappa:.3f} is below {SUBSTANTIAL}"
    else:
        return {"validated": True, "why": f"kappa {kappa:.3f} over {n} labels"}
    return {"validated": False, "why": why}
