"""Any retrieval task of mteb as a published set. The one file that loads data through mteb.

mteb fetches the task's pinned revision from the hub, or takes it from the cache of `datasets`; a
text is a page of words, an image a page, and both together a page of both.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.datasets.folder import Query
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    ReadImage,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    query_id,
)
from rag.errors import BackendError, ConfigError, InputError

if TYPE_CHECKING:
    from eval.datasets.prepare import Source

NAME = "mteb"
PREFIX = "mteb:"  # of a SOURCE that names a task
_LAYOUT = "no files: SOURCE is the name of a task (LIMITSmallRetrieval), which mteb fetches"
# Of mteb's names of measures to ours.
_MEASURES = {
    "ndcg_at": "nDCG",
    "recall_at": "R",
    "precision_at": "P",
    "map_at": "AP",
    "mrr_at": "RR",
    "hit_rate_at": "Success",
}


def load(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """A part a split and subset of the task that is named.

    Args:
        source: as `task_source` gives it; not a folder.
        wanted: parts, and the options `split` and `subset`.

    Raises:
        InputError: `unknown_task`, `unknown_part`, `dataset_field`.
        BackendError: `hub_unreachable`.
        ConfigError: `extra_missing`.
    """
    yield from load_task(find_task(str(source)), wanted)


def task_source(name: str, *, revision: str | None = None) -> Source:
    """A task as the source of a set, at the revision that mteb pins.

    Args:
        name: of the task, with or without "mteb:" before it.
        revision: is refused: the task says which.

    Raises:
        InputError: `unknown_task`, `one_revision`.
        ConfigError: `extra_missing`.
    """
    from eval.datasets.prepare import Source  # which writes folders; a list of sets does not

    task = find_task(name.removeprefix(PREFIX))
    if revision not in (None, revision_of(task)):
        raise InputError(
            f"mteb pins {task.metadata.name} at revision {revision_of(task)}",
            code="one_revision",
            next_step="Leave --revision out.",
        )
    return Source(Path(task.metadata.name), given_revision=revision_of(task))


def find_task(name: str) -> Any:
    """The task of a name, as mteb knows it; nothing is fetched yet.

    Raises:
        InputError: `unknown_task`, also for one that is not about retrieval.
        ConfigError: `extra_missing`.
    """
    mteb = _mteb()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tasks that were renamed; the new name is taken
            task = mteb.get_task(name)
    except KeyError as error:
        raise InputError(
            f"mteb knows no task {name!r}: {str(error.args[0])[:200]}",
            code="unknown_task",
            next_step="`mteb available-tasks` lists them.",
        ) from error
    return _checked(task)


def revision_of(task: Any) -> str:
    """The commit of the hub that mteb pins."""
    return str(task.metadata.revision)


def load_task(task: Any, wanted: Wanted) -> Iterator[SetPart]:
    """A part a subset and split of a task: "default" and "test" are left out of its name.

    Args:
        task: an `AbsTaskRetrieval`.
        wanted: its options: `split`, `subset`; None of them takes all that the task is judged by.

    Raises:
        InputError: `dataset_field`, `unknown_part`; a task that is not about retrieval.
        BackendError: `hub_unreachable`.
    """
    task = _checked(task)
    _fetch(task)
    split, subset = wanted.options.get("split"), wanted.options.get("subset")
    n_parts = 0
    for found_subset, splits in task.dataset.items():
        for found_split in splits:
            name = _part_name(task.metadata.name, found_subset, found_split)
            if split is not None and found_split != split:
                continue
            if split is None and found_split not in task.metadata.eval_splits:
                continue
            if subset is not None and found_subset != subset:
                continue
            if wanted.parts and name not in wanted.parts:
                continue
            n_parts += 1
            yield _load_part(task, name, splits[found_split])
    if not n_parts:
        there = sorted(
            _part_name(task.metadata.name, found_subset, found_split)
            for found_subset, splits in task.dataset.items()
            for found_split in splits
        )
        raise InputError(
            f"mteb: {task.metadata.name} has no such part",
            code="unknown_part",
            next_step=f"There are {', '.join(there)}.",
        )


def _fetch(task: Any) -> None:
    """From the hub, or from what `datasets` keeps of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that fetch
            task.load_data()
            task.convert_v1_dataset_format_to_v2(num_proc=None)
    except OSError as error:  # a hub out of reach, and a set that is not there or not open, alike
        raise BackendError(
            f"mteb cannot fetch {task.metadata.name}: {str(error)[:200]}",
            code="hub_unreachable",
            next_step="Check the network, and HF_TOKEN where the set is gated. Without a network, "
            "copy the cache of `datasets` (HF_HOME) from a machine that has fetched the task.",
        ) from error


def _mteb() -> Any:
    try:
        import mteb
    except ImportError as error:
        raise ConfigError(
            "tasks of mteb are loaded by mteb, which is not installed",
            code="extra_missing",
            next_step='pip install "octavo[mteb]"',
        ) from error
    return mteb


def _checked(task: Any) -> Any:
    retrieval = _mteb().abstasks.retrieval.AbsTaskRetrieval
    if not isinstance(task, retrieval):
        raise InputError(
            f"mteb: {task.metadata.name} is of type {task.metadata.type}, not about retrieval",
            code="unknown_task",
        )
    return task


def _part_name(task: str, subset: str, split: str) -> str:
    named = [task]
    if subset != "default":
        named.append(subset)
    if split != "test":
        named.append(split)
    return "-".join(named)


def _load_part(task: Any, name: str, data: Mapping[str, Any]) -> SetPart:
    corpus, questions = data["corpus"], data["queries"]
    _check_columns(task, corpus, "corpus")
    _check_columns(task, questions, "queries")
    known = {str(item_id) for item_id in corpus["id"]}
    relevant: Mapping[str, Mapping[str, Any]] = data["relevant_docs"]
    queries: list[Query] = []
    images: dict[str, ReadImage] = {}
    qrels: dict[str, dict[ItemOrPage, int]] = {}
    n_dropped = 0
    for number, row in enumerate(questions):
        asked = str(row["id"])
        # mteb leaves out questions without anything relevant as well.
        if not relevant.get(asked):
            n_dropped += 1
            continue
        grades = _grades(name, asked, relevant[asked], known)
        image = None
        if row.get("image") is not None:
            image = f"{number:06d}"
            images[image] = partial(_png, questions, number)
        qrels[query_id(asked)] = grades
        queries.append(
            Query(
                id=query_id(asked),
                text=_question_text(row) or "-",
                answer="",
                type=task.metadata.name,
                image=image,
            )
        )
    notes = [f"mteb's {task.metadata.name}, revision {revision_of(task)}"]
    if data.get("top_ranked"):
        notes.append("the task ranks given candidates; here all documents are searched")
    if n_dropped:
        notes.append(f"{n_dropped} questions without a relevant document were left out")
    return SetPart(
        name=name,
        documents=_Documents(corpus),
        queries=queries,
        qrels=qrels,
        main_measure=measure_name(task.metadata.main_score),
        images=images,
        notes=tuple(notes),
    )


def _grades(
    part: str, asked: str, relevant: Mapping[str, Any], known: Set[str]
) -> dict[ItemOrPage, int]:
    """Of one question. Raises InputError for a part of a grade, or a document that is not there."""
    for item, grade in relevant.items():
        said = ""
        if int(grade) != grade:
            said = f"wants whole grades, got {grade} of {str(item)!r}"
        elif str(item) not in known:
            said = f"no document {str(item)!r}"
        if said:
            raise ill_field(part, f"question {asked!r}", "relevant_docs", said)
    return {str(item): int(grade) for item, grade in relevant.items()}


def _check_columns(task: Any, table: Any, name: str) -> None:
    columns = list(table.column_names)
    where = f"{task.metadata.name}, {name}"
    if "id" not in columns:
        raise ill_field(NAME, where, "id", f"is not there; there are {', '.join(columns)}")
    if not {"text", "image"}.intersection(columns):
        raise ill_field(
            NAME, where, "text", f"nor image is there; there are {', '.join(columns)}: "
            "sounds and films are not searched"
        )  # fmt: skip


def _question_text(row: Mapping[str, Any]) -> str:
    """Instructions come after the question, as mteb puts them; of a talk the last turn is asked."""
    text = row.get("text") or ""
    if isinstance(text, Sequence) and not isinstance(text, str):
        last = text[-1] if text else ""
        text = last.get("content", "") if isinstance(last, Mapping) else last
    return f"{text} {row.get('instruction') or ''}".strip()


class _Documents:
    """A document a row, read while it is asked for."""

    def __init__(self, corpus: Any) -> None:
        self._corpus = corpus

    def __iter__(self) -> Iterator[SetDocument]:
        for number, row in enumerate(self._corpus):
            text = f"{row.get('title') or ''}\n{row.get('text') or ''}".strip()
            image = None
            if row.get("image") is not None:
                image = partial(_png, self._corpus, number)
            page = SetPage(item_id=str(row["id"]), image=image, text=text)
            yield SetDocument(name=str(row["id"]), pages=(page,))


def _png(table: Any, number: int) -> bytes:
    """The image of a row as it is decoded, without a loss."""
    out = io.BytesIO()
    table[number]["image"].convert("RGB").save(out, format="PNG")
    return out.getvalue()


def measure_name(score: str) -> str:
    """`ndcg_at_10` as nDCG@10; a name that is not known as it is."""
    name, _, k = score.rpartition("_")
    return f"{_MEASURES[name]}@{k}" if name in _MEASURES and k.isdigit() else score


def score_name(measure: str) -> str | None:
    """`nDCG@10` as mteb names it; None where it has no such score."""
    name, _, k = measure.partition("@")
    names = {ours: theirs for theirs, ours in _MEASURES.items()}
    return f"{names[name]}_{k}" if name in names and k.isdigit() else None


SETS = (
    LoaderInfo(
        name=NAME,
        title="mteb: any of its retrieval tasks",
        hub_ids=(),
        licence="see source",
        layout=_LAYOUT,
        main_measure="as the task says",
        load=load,
        options={
            "split": "of the task; default: those it is judged by",
            "subset": "of the task (a language); default: all",
        },
        home="https://github.com/embeddings-benchmark/mteb",
    ),
)
