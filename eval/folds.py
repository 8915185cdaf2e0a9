"""Settings chosen on some documents and measured on others.

A setting that was tried on the questions it is measured with looks better than it is. Here the
questions of one document, or of one group of documents, are in one fold; what is measured on a fold
was chosen on the other folds alone.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.datasets.folder import Dataset, Query, Scope
from eval.tuning.sweep_plan import Axis
from rag.errors import InputError

Choice = tuple[int, ...]  # which value of each axis
Values = Mapping[str, Mapping[str, float]]  # question id -> measure -> value

LARGEST_GRID = 64  # combinations; beyond it one axis is moved at a time
_MOST_ROUNDS = 5


@dataclass(frozen=True)
class Fold:
    """One fold, held out.

    Attributes:
        number: from 1.
        questions: ids.
        groups: of documents.
        choice: made on all other folds.
        chosen_at: mean of the measure there.
        held_out: mean of the measure on this fold, with that choice.
    """

    number: int
    questions: tuple[str, ...]
    groups: tuple[str, ...]
    choice: Choice
    chosen_at: float
    held_out: float


@dataclass(frozen=True)
class Folded:
    """What cross-validation gave.

    Attributes:
        held_out: question id to its values, with the choice that was made without it.
        in_sample: the choice made on all questions.
        in_sample_values: of that choice, for all questions.
        is_greedy: not all combinations were tried.
        n_tried: combinations that were.
    """

    folds: tuple[Fold, ...]
    held_out: Values
    in_sample: Choice
    in_sample_values: Values
    is_greedy: bool
    n_tried: int


# --- which questions belong together ------------------------------------------------------------
def document_groups(dataset: Dataset, *, by_name: bool = False) -> dict[str, str]:
    """Document to its group: column `group` of docs.tsv where there is one, else the document.

    Args:
        dataset: as read.
        by_name: without that column, documents whose names begin with the same word are a group.
    """
    groups = {doc: doc for doc in dataset.documents}
    if by_name:
        first = {doc: _first_word(doc) for doc in dataset.documents}
        shared = {word for word in first.values() if list(first.values()).count(word) > 1}
        groups |= {doc: word for doc, word in first.items() if word in shared}
    return groups | _column(dataset.folder / "docs.tsv", dataset.documents)


def _first_word(doc: str) -> str:
    """Of at least two letters: a year or a number joins nothing."""
    word = re.split(r"[\W_]+", doc.casefold().removesuffix(".pdf"), maxsplit=1)[0]
    return word if sum(map(str.isalpha, word)) >= 2 else doc


def _column(path: Path, documents: Sequence[str]) -> dict[str, str]:
    if not path.exists():
        return {}
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    names = rows[0] if rows else []
    if "group" not in names:
        return {}
    file = next((names.index(name) for name in ("file", "doc") if name in names), None)
    if file is None:
        raise InputError(
            "docs.tsv has a column 'group' and none that names the document",
            next_step="Name the documents in a column 'file'.",
        )
    group = names.index("group")
    found = {
        row[file]: row[group] for row in rows[1:] if len(row) > max(file, group) and row[group]
    }
    return {doc: found[doc] for doc in documents if doc in found}


def question_groups(
    dataset: Dataset, scope: Scope, group_of: Mapping[str, str]
) -> dict[str, frozenset[str]]:
    """Question to the groups of documents it is about: its own, and those of its gold pages."""

    def about(query: Query) -> frozenset[str]:
        docs = {page.doc for page in dataset.gold(query.id)}
        return frozenset(group_of[doc] for doc in docs | ({query.doc} if query.doc else set()))

    return {query.id: about(query) for query in dataset.counted(scope)}


def assign_folds(
    groups_of: Mapping[str, frozenset[str]], n_folds: int, *, seed: int = 0
) -> dict[str, int]:
    """Question to its fold, from 1; the same for the same seed.

    Groups that share a question stay together. Large ones are dealt first, each to the fold with
    the fewest questions, in an order that the seed shuffles.

    Raises:
        InputError: fewer groups than folds.
    """
    bundles = _bundles(groups_of)
    if len(bundles) < n_folds or n_folds < 2:
        raise InputError(
            f"{n_folds} folds want 2 or more, and as many groups of documents that share no "
            f"question; there are {len(bundles)}",
            next_step="Ask for fewer folds, or use a larger dataset.",
        )

    def order(bundle: tuple[frozenset[str], list[str]]) -> tuple[int, str]:
        named = f"{seed}\n" + "\n".join(sorted(bundle[0]))
        return -len(bundle[1]), hashlib.sha256(named.encode()).hexdigest()

    sizes = [0] * n_folds
    fold_of: dict[str, int] = {}
    for _, questions in sorted(bundles, key=order):
        fold = min(range(n_folds), key=lambda i: (sizes[i], i))
        sizes[fold] += len(questions)
        fold_of |= dict.fromkeys(questions, fold + 1)
    return {question: fold_of[question] for question in groups_of}


def _bundles(
    groups_of: Mapping[str, frozenset[str]],
) -> list[tuple[frozenset[str], list[str]]]:
    """Groups that questions tie together, and those questions."""
    bundles: list[tuple[frozenset[str], list[str]]] = []
    for question, groups in groups_of.items():
        tied = [bundle for bundle in bundles if bundle[0] & groups]
        bundles = [bundle for bundle in bundles if not bundle[0] & groups]
        joined = groups.union(*(names for names, _ in tied))
        bundles.append((joined, [*(each for _, ids in tied for each in ids), question]))
    return bundles


# --- choosing -----------------------------------------------------------------------------------
def cross_validate(
    axes: Sequence[Axis],
    values: Callable[[Choice], Values],
    fold_of: Mapping[str, int],
    groups_of: Mapping[str, frozenset[str]],
    *,
    measure: str,
    largest_grid: int = LARGEST_GRID,
) -> Folded:
    """Choose on all folds but one, measure on that one, for each; and choose once on all.

    Args:
        axes: what may be chosen; without any there is one choice, which folds only show the
            spread of.
        values: a choice's values for every question; asked for once a choice.
        fold_of: question to its fold.
        groups_of: question to its groups, which are told with each fold.
        measure: whose mean is to be large. Of equal choices the first in the order of values wins.
        largest_grid: combinations that are all tried; of more, one axis at a time is moved to its
            best value until none moves, from the first values of all.
    """
    known: dict[Choice, Values] = {}

    def remembered(choice: Choice) -> Values:
        if choice not in known:
            known[choice] = values(choice)
        return known[choice]

    sizes = [len(of_axis) for _, of_axis in axes]
    is_greedy = math.prod(sizes) > largest_grid

    def best(questions: Sequence[str]) -> tuple[Choice, float]:
        def mean_of(choice: Choice) -> float:
            found = remembered(choice)
            return math.fsum(found[question][measure] for question in questions) / len(questions)

        choice = _moved(sizes, mean_of) if is_greedy else _of_all(sizes, mean_of)
        return choice, mean_of(choice)

    folds: list[Fold] = []
    held_out: dict[str, Mapping[str, float]] = {}
    for number in sorted({*fold_of.values()}):
        inside = tuple(question for question, fold in fold_of.items() if fold == number)
        outside = [question for question, fold in fold_of.items() if fold != number]
        choice, chosen_at = best(outside)
        measured = {question: remembered(choice)[question] for question in inside}
        held_out |= measured
        folds.append(
            Fold(
                number,
                inside,
                tuple(sorted(frozenset[str]().union(*(groups_of[each] for each in inside)))),
                choice,
                chosen_at,
                math.fsum(row[measure] for row in measured.values()) / len(inside),
            )
        )
    in_sample, _ = best(list(fold_of))
    ordered = {question: held_out[question] for question in fold_of}
    chosen = {question: remembered(in_sample)[question] for question in fold_of}
    return Folded(tuple(folds), ordered, in_sample, chosen, is_greedy, len(known))


def _of_all(sizes: Sequence[int], mean_of: Callable[[Choice], float]) -> Choice:
    # max() keeps the first of equal ones.
    return max(itertools.product(*(range(size) for size in sizes)), key=mean_of)


def _moved(sizes: Sequence[int], mean_of: Callable[[Choice], float]) -> Choice:
    """Coordinate search from the first values."""
    choice: Choice = (0,) * len(sizes)
    for _ in range(_MOST_ROUNDS):
        before = choice
        for axis, size in enumerate(sizes):
            ways = [(*choice[:axis], index, *choice[axis + 1 :]) for index in range(size)]
            # Where it stands comes first: what is only as good does not move it.
            choice = max([choice, *ways], key=mean_of)
        if choice == before:
            break
    return choice


def settings_of(axes: Sequence[Axis], choice: Choice) -> dict[str, Any]:
    """Dotted names and values."""
    return {name: values[index] for (name, values), index in zip(axes, choice, strict=True)}
