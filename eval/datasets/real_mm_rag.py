"""REAL-MM-RAG: reports and slides whose questions are also asked in three degrees of other words.

Source: Wasserman et al. 2025 (arXiv:2502.12342). Figures of different degrees say different things,
so each degree is a part of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.datasets.beir import PagePerRow, PageTable, Row, answer_of, beir_part, rows_part
from eval.datasets.local_copy import part_folders
from eval.datasets.parquet import Field, may, must
from eval.datasets.published import LoaderInfo, SetPart, Wanted
from rag.errors import InputError

_NAME = "real-mm-rag"
_REPOSITORIES = {
    "finreport": "ibm-research/REAL-MM-RAG_FinReport",
    "finslides": "ibm-research/REAL-MM-RAG_FinSlides",
    "techreport": "ibm-research/REAL-MM-RAG_TechReport",
    "techslides": "ibm-research/REAL-MM-RAG_TechSlides",
}
_COLUMNS = ("query", "rephrase_level_1", "rephrase_level_2", "rephrase_level_3")  # by level
_PARTS = {
    f"{name}-level{level}": hub_id
    for name, hub_id in _REPOSITORIES.items()
    for level in range(len(_COLUMNS))
}
_LAYOUT = (
    "A folder of each repository's name, or one of them itself, with data/test-*.parquet (id, "
    "image, image_filename, query, rephrase_level_1 to 3, answer); or corpus/, queries/ and qrels/ "
    "as in the repositories with _BEIR."
)
_MAIN_MEASURE = "nDCG@5"
_ANSWER = (may("answer", "any"),)


def load(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """A part for each collection and level that is there."""
    level = wanted.options.get("level")
    if level is not None and level not in {str(each) for each in range(len(_COLUMNS))}:
        raise InputError(
            f"{_NAME} has no level {level!r}",
            code="unknown_option",
            next_step="There are 0 (as first asked), 1, 2 and 3 (furthest from it).",
        )
    folders = _folders(source, wanted)
    return _parts({part: at for part, at in folders.items() if level in (None, part[-1])})


def _folders(source: Path, wanted: Wanted) -> dict[str, Path]:
    """Repositories with _BEIR hold the same in another layout, and are taken where they lie."""
    with_beir = {part: f"{hub_id}_BEIR" for part, hub_id in _PARTS.items()}
    names = {hub_id.rpartition("/")[2] for hub_id in with_beir.values()}
    is_beir = source.resolve().name in names or any((source / name).is_dir() for name in names)
    parts = with_beir if is_beir else _PARTS
    return part_folders(source, parts, wanted, published=_NAME, layout=_LAYOUT)


def _parts(folders: dict[str, Path]) -> Iterator[SetPart]:
    for part, folder in folders.items():
        level = int(part[-1])
        as_query = _as_query(part.partition("-")[0], level)
        if (folder / "corpus").exists():
            table = replace(_TABLE, question=_question(level), as_query=as_query)
            yield beir_part(folder, part, table)
        else:
            rows = replace(_ROWS, question=_question(level), as_query=as_query)
            yield rows_part(folder, part, rows)


def _question(level: int) -> Field:
    return must(_COLUMNS[level], "text")


def _as_query(kind: str, level: int) -> Any:
    def as_query(row: Row) -> dict[str, Any]:
        return {**answer_of(row["answer"]), "type": kind, "groups": {"level": str(level)}}

    return as_query


_ROWS = PagePerRow(
    _NAME,
    _LAYOUT,
    _MAIN_MEASURE,
    names=must("image_filename", "id"),
    question=_question(0),
    row_id=must("id", "id"),
    query_fields=_ANSWER,
)
_TABLE = PageTable(_NAME, _LAYOUT, _MAIN_MEASURE, query_fields=_ANSWER)

SETS: tuple[LoaderInfo, ...] = (
    LoaderInfo(
        name=_NAME,
        title="REAL-MM-RAG: reports and slides, questions in other words by degree",
        hub_ids=tuple(_REPOSITORIES.values()),
        licence="CDLA-Permissive-2.0",
        layout=_LAYOUT,
        main_measure=_MAIN_MEASURE,
        load=load,
        options={"level": "Only parts of it: 0 (as first asked), 1, 2, 3 (furthest from it)."},
        choosing=frozenset({"level"}),
        home="https://arxiv.org/abs/2502.12342",
        parts=_PARTS,
    ),
)
