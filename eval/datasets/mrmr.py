"""MRMR: expert questions of words and images over documents of words and images, in five parts.

Source: Zhang et al. 2025 (arXiv:2510.09510); tables as the hub has them (MRMRbenchmark).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eval.datasets.folder import Query
from eval.datasets.local_copy import part_folders
from eval.datasets.parquet import (
    WHERE,
    ImageColumn,
    column_names,
    may,
    must,
    read_rows,
    table_files,
)
from eval.datasets.published import (
    ItemOrPage,
    LoaderInfo,
    PageName,
    ReadImage,
    SetDocument,
    SetPage,
    SetPart,
    Wanted,
    ill_field,
    query_id,
)
from eval.datasets.stacked_images import stacked
from rag.errors import InputError

NAME = "mrmr"
_LAYOUT = (
    "a folder a part (knowledge, theorem, negation, design, traffic), each with corpus/, query/ "
    "and qrels/ of test-*.parquet"
)
_HUB_IDS = {
    part: f"MRMRbenchmark/{part}"
    for part in ("knowledge", "theorem", "negation", "design", "traffic")
}
# What mteb pins, where it has these parts as tasks.
REVISIONS = {
    "knowledge": "c4e9395dfd01e875e5b4d204d2f9fd285c2a9d2e",
    "theorem": "2a4b0d370ed0e2d322cf092ab1d35348997b3fed",
    "negation": "ee5e669c8b257790a9c66c4d9464f6d77f33636b",
    "design": "fc6325cdffd332e69da9144d55a0fdb4cfb98848",
    "traffic": "5de2aa10c61753c2c23cbf8c42b2743859c709a5",
}
_GROUPS = {"knowledge": "Knowledge", "theorem": "Theorem"}
_IMAGES = ("image", *(f"image {number}" for number in range(1, 8)))
_CHOICES = 4  # descriptions of an image of the negation part, one of which contradicts it
_REVISION_NOTE = (
    "the preprint tells 1,502 questions, the ICLR version 1,435, with other figures: compare with "
    "figures of the same revision alone"
)


def load(source: Path, wanted: Wanted) -> Iterable[SetPart]:
    """The parts that are there.

    Raises:
        InputError: `unknown_part`, `unknown_option`, `dataset_layout`, `dataset_field`.
    """
    looks = wanted.options.get("corpus", "items")
    if looks not in ("items", "vision"):
        raise InputError(
            f"{NAME}: option 'corpus' is items or vision, got {looks!r}", code="unknown_option"
        )
    folders = part_folders(source, _HUB_IDS, wanted, published=NAME, layout=_LAYOUT)
    for name, folder in folders.items():
        yield _Part(name, folder, looks).load()


@dataclass(frozen=True)
class _Part:
    name: str
    folder: Path
    looks: str

    def files(self, table: str) -> tuple[Path, ...]:
        return table_files(self.folder, table, "test", published=NAME, layout=_LAYOUT)

    def load(self) -> SetPart:
        item_ids = [row["id"] for row in self._rows("corpus", must("id", "id"))]
        grades = self._grades(set(item_ids))
        queries, images = self._queries(grades)
        notes = [
            f"{len(queries)} questions; mteb pins revision {REVISIONS[self.name][:8]}; "
            + _REVISION_NOTE
        ]
        documents = _Documents(self, {})
        qrels = {query_id(asked): gold for asked, gold in grades.items()}
        if self.name == "negation":
            choices = _choices(item_ids, grades)
            if choices is None:
                notes.append(
                    f"descriptions do not lie in fours, so each is searched among all "
                    f"{len(item_ids)}; the authors search the four of an image (chance 0.25)"
                )
            else:
                documents = _Documents(self, choices)
                queries = [_among_four(query, choices) for query in queries]
                qrels = {q: _as_pages(gold, item_ids) for q, gold in qrels.items()}
                notes.append(
                    "an image's four descriptions are a document: run with --scope document "
                    "(chance 0.25)"
                )
        return SetPart(
            name=self.name,
            documents=documents,
            queries=queries,
            qrels=qrels,
            main_measure="Success@1" if self.name == "negation" else "nDCG@10",
            images=images,
            notes=tuple(notes),
        )

    def _rows(self, table: str, *fields: Any) -> Iterator[dict[str, Any]]:
        return read_rows(self.files(table), *fields, published=NAME)

    def _grades(self, known: set[str]) -> dict[str, dict[ItemOrPage, int]]:
        fields = (
            must("query-id", "id", "query_id"),
            must("corpus-id", "id", "corpus_id"),
            must("score", "int"),
        )
        grades: dict[str, dict[ItemOrPage, int]] = {}
        for row in self._rows("qrels", *fields):
            if row["corpus-id"] not in known:
                raise ill_field(
                    NAME, row[WHERE], "corpus-id", f"{row['corpus-id']!r} is not in corpus"
                )
            grades.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
        return grades

    def _queries(
        self, grades: Mapping[str, Mapping[ItemOrPage, int]]
    ) -> tuple[list[Query], dict[str, ReadImage]]:
        files = self.files("query")
        columns = _image_columns(files)
        fields = (
            must("id", "id"),
            may("text", "text"),
            may("category", "text", "domain"),
            may("answer", "text"),
            *(may(name, "image") for name in columns),
        )
        queries: list[Query] = []
        images: dict[str, ReadImage] = {}
        for number, row in enumerate(read_rows(files, *fields, published=NAME)):
            if row["id"] not in grades:
                raise ill_field(NAME, row[WHERE], "id", f"{row['id']!r} has no row in qrels")
            held = _own_images({name: row[name] for name in columns})
            readers = [columns[name].reader(number) for name in held]
            image = None
            if (read := stacked(readers)) is not None:
                image = f"{number:06d}"
                images[image] = read
            text = (row["text"] or "").strip()
            if not text and image is None:
                raise ill_field(NAME, row[WHERE], "text", "is empty, and there is no image")
            groups = {"group": _GROUPS.get(self.name, "Contradiction")}
            if row["category"]:
                groups["category"] = row["category"]
            queries.append(
                Query(
                    id=query_id(row["id"]),
                    text=text or "-",
                    answer=row["answer"] or "",
                    type=self.name,
                    image=image,
                    groups=groups,
                )
            )
        return queries, images


def _image_columns(files: Sequence[Path]) -> dict[str, ImageColumn]:
    """The image columns that there are, in the order of the item."""
    names = column_names(files[0], published=NAME)
    return {
        name: ImageColumn(files, must(name, "image"), published=NAME)
        for name in _IMAGES
        if name in names
    }


def _own_images(row: Mapping[str, bytes | None]) -> list[str]:
    """Which columns hold what the authors' code looks at: `image`, which has all images of an item
    where it has several, else those that are numbered.
    """
    if row.get("image"):
        return ["image"]
    return [name for name in _IMAGES[1:] if row.get(name)]


class _Documents:
    """Items in the order of the table; a document each, or one of an image's descriptions."""

    def __init__(self, part: _Part, choices: Mapping[str, str]) -> None:
        self._part = part
        self._in_fours = bool(choices)

    def __iter__(self) -> Iterator[SetDocument]:
        pages: list[SetPage] = []
        for number, page in enumerate(self._pages(), start=1):
            if not self._in_fours:
                yield SetDocument(name=page.item_id, pages=(page,))
                continue
            pages.append(page)
            if number % _CHOICES == 0:
                yield SetDocument(name=_document_name(number - 1), pages=tuple(pages))
                pages = []

    def _pages(self) -> Iterator[SetPage]:
        part = self._part
        wanted = ("vision",) if part.looks == "vision" else _IMAGES
        fields = (
            must("id", "id"),
            may("text", "text"),
            *((must("vision", "image"),) if part.looks == "vision" else ()),
            *(may(name, "image") for name in wanted if name != "vision"),
        )
        for row in read_rows(part.files("corpus"), *fields, published=NAME):
            if part.looks == "vision":
                # The whole item as the authors render it; its words are in the pixels.
                image = partial(bytes, row["vision"])
                yield SetPage(item_id=row["id"], image=image)
                continue
            held = _own_images({name: row[name] for name in _IMAGES})
            text = (row["text"] or "").strip()
            if not text and not held:
                raise ill_field(NAME, row[WHERE], "text", "is empty, and there is no image")
            yield SetPage(
                item_id=row["id"],
                image=stacked([partial(bytes, row[name]) for name in held]),
                text=text,
            )


# --- negation -----------------------------------------------------------------------------------
def _choices(
    item_ids: Sequence[str], grades: Mapping[str, Mapping[ItemOrPage, int]]
) -> dict[str, str] | None:
    """Question to the document of its four; None where items do not lie in fours by question."""
    if len(item_ids) != _CHOICES * len(grades):
        return None
    place = {item_id: at for at, item_id in enumerate(item_ids)}
    found: dict[str, str] = {}
    for asked, gold in grades.items():
        names = {_document_name(place[str(item)]) for item, grade in gold.items() if grade > 0}
        if len(names) != 1:
            return None
        found[query_id(asked)] = names.pop()
    return found if len(set(found.values())) == len(found) else None


def _document_name(place: int) -> str:
    return f"choices-{place // _CHOICES + 1:04d}"


def _among_four(query: Query, choices: Mapping[str, str]) -> Query:
    return query.model_copy(update={"doc": choices[query.id], "scope": "document"})


def _as_pages(gold: Mapping[ItemOrPage, int], item_ids: Sequence[str]) -> dict[ItemOrPage, int]:
    place = {item_id: at for at, item_id in enumerate(item_ids)}
    return {
        PageName(_document_name(place[str(item)]), place[str(item)] % _CHOICES + 1): grade
        for item, grade in gold.items()
    }


SETS = (
    LoaderInfo(
        name=NAME,
        title="MRMR: reasoning over expert questions of words and images",
        hub_ids=tuple(_HUB_IDS.values()),
        licence="see source",
        layout=_LAYOUT,
        main_measure="nDCG@10, Success@1 of negation",
        load=load,
        options={
            "corpus": "items (default): words and images of each document; vision: the image of "
            "it that its authors made"
        },
        home="https://github.com/rebeccaz4/MRMR",
        parts=_HUB_IDS,
    ),
)
