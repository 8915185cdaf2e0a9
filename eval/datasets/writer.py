"""Writes a part of a published set as a dataset folder: whole or not at all.

Documents are taken one at a time, so that a set larger than memory goes through. A folder that was
left half-written goes on where it was; one that is there is left as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from eval.datasets.documents import (
    DocumentWriter,
    Progress,
    Sample,
    WrittenDocument,
    check_grades,
    contents_of,
    safe_name,
)
from eval.datasets.folder import ORIGIN_FILE, Origin, PageKey
from eval.datasets.page_images import image_suffix
from eval.datasets.published import PageName, SetPart, published_id, query_id
from rag.errors import BackendError, InputError

ITEMS_FILE = "items.tsv"  # item id of the set, file below docs/, page number
DOCUMENTS_FILE = "documents.tsv"  # file below docs/, name in the set, number of pages

PARTIAL_FOLDER = ".partial"  # beside the folders that are whole


@dataclass(frozen=True)
class Prepared:
    """A dataset folder that was written, or was there already.

    Attributes:
        n_pages: of documents whose pages are known: made here, or PDFs that can be opened.
        n_graded: questions with a page of grade 1 or more.
    """

    folder: Path
    part: str
    state: Literal["written", "unchanged"]
    origin: Origin
    n_documents: int = 0
    n_pages: int = 0
    n_queries: int = 0
    n_graded: int = 0
    n_unanswerable: int = 0


def write_part(
    part: SetPart,
    folder: Path,
    origin: Origin,
    *,
    sample: Sample | None = None,
    unsampled: Path | None = None,
    sibling: Path | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Writes docs/, images/, queries.jsonl, qrels.tsv, items.tsv, documents.tsv, dataset.json.

    Args:
        part: what a loader read.
        folder: to be; must not be there, or be of the same origin.
        origin: of the part; its notes are added to.
        sample: take only some of the documents without a graded page.
        unsampled: the folder in place of `folder` where the sample leaves nothing out, and is none.
        sibling: folder of another part whose documents may be the same files; those share their
            place on disk.
        progress: is told of each document.

    Raises:
        InputError: `folder_taken`; `dataset_graded` where a grade is of nothing; of pages, as
            `make_pdf`.
        BackendError: `not_written`, `not_read`; what was written so far is kept, and gone on with.
    """
    if _is_there(folder, origin):
        return _told(folder, part.name, "unchanged", _read_origin(folder) or origin)
    whole = folder if unsampled is None else unsampled
    whole_origin = origin.model_copy(update={"sampled": None})
    if sample is not None and _holds_sample(whole, whole_origin, sample):
        return _told(whole, part.name, "unchanged", _read_origin(whole) or whole_origin)
    # Two folders down, where nobody looks for datasets.
    partial = folder.parent / PARTIAL_FOLDER / folder.name
    with _told_what_is_left(partial), _disk_errors(folder):
        if isinstance(part.documents, Sequence):
            check_grades(part, (contents_of(document) for document in part.documents))
        _begin(partial, origin)
        documents = DocumentWriter(part, partial / "docs", sample, sibling)
        documents.write_all(progress)
        written = documents.kept()
        check_grades(part, (each.contents for each in written))
        files = {each.contents.name: each.file for each in written}
        images = _write_images(part, partial / "images")
        _write_queries(part, partial, files, images)
        _write_qrels(part, partial / "qrels.tsv", written)
        _write_items(partial, written)
        notes = [*origin.notes, *part.notes, *documents.notes()]
        notes += _notes_of_questions(part, written)
        if sample is not None and not documents.n_left_out:
            folder, origin = whole, whole_origin
            _is_there(folder, origin)  # or it is of another origin, which is refused
        final = origin.model_copy(update={"notes": tuple(notes)})
        _write_text(partial / ORIGIN_FILE, final.model_dump_json(indent=2) + "\n")
        partial.replace(folder)
        _remove_if_empty(partial.parent)
    return _told(folder, part.name, "written", final)


def _told(
    folder: Path, part: str, state: Literal["written", "unchanged"], origin: Origin
) -> Prepared:
    """What a whole folder holds, counted from its files."""
    pages = [line.rpartition("\t")[2] for line in _rows(folder / DOCUMENTS_FILE)]
    graded = {
        line.partition("\t")[0] for line in _rows(folder / "qrels.tsv") if not line.endswith("\t0")
    }
    return Prepared(
        folder=folder,
        part=part,
        state=state,
        origin=origin,
        n_documents=len(pages),
        n_pages=sum(int(each) for each in pages if each),
        n_queries=len(_rows(folder / "queries.jsonl", header=False)),
        n_graded=len(graded),
        n_unanswerable=len(_rows(folder / "unanswerable.jsonl", header=False)),
    )


def _rows(path: Path, *, header: bool = True) -> list[str]:
    if not path.exists():
        return []
    # Not splitlines(): a question may hold a line separator that JSON leaves as it is.
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    return lines[1:] if header else lines


def _is_there(folder: Path, origin: Origin) -> bool:
    """Whether the folder is of this origin already.

    Raises:
        InputError: it is of another, or of none.
    """
    if not folder.exists():
        return False
    there = _read_origin(folder)
    if there is not None and _without_notes(there) == _without_notes(origin):
        return True
    holds = "something else"
    if there is not None:
        new, old = _without_notes(origin).model_dump(), there.model_dump()
        differing = [f"{key} {old[key]}" for key in new if new[key] != old[key] and key != "notes"]
        holds = f"another of {origin.published} ({', '.join(differing)})"
    raise InputError(
        f"{folder.name} is there already, and holds {holds}",
        code="folder_taken",
        next_step="Name another folder with --to, or delete that one.",
    )


def _holds_sample(whole: Path, origin: Origin, sample: Sample) -> bool:
    """Whether a folder has all there is of this origin, and no more than the sample may take."""
    there = _read_origin(whole)
    if there is None or _without_notes(there) != _without_notes(origin):
        return False
    asked_of = [
        json.loads(line).get("doc")
        for name in ("queries.jsonl", "unanswerable.jsonl")
        for line in _rows(whole / name, header=False)
    ]
    needed = {line.split("\t")[1] for line in _rows(whole / "qrels.tsv")}.union(asked_of)
    files = {line.partition("\t")[0] for line in _rows(whole / DOCUMENTS_FILE)}
    return len(files - needed) <= sample.n_others


def _read_origin(folder: Path) -> Origin | None:
    try:
        return Origin.model_validate_json((folder / ORIGIN_FILE).read_bytes())
    except (OSError, ValidationError):  # not written by `write_part`
        return None


def _without_notes(origin: Origin) -> Origin:
    return origin.model_copy(update={"notes": ()})


def _begin(partial: Path, origin: Origin) -> None:
    """A folder to write to; what a run of the same origin left in it is kept."""
    if partial.exists():
        left = _read_origin(partial)
        if left is None or _without_notes(left) != _without_notes(origin):
            shutil.rmtree(partial)
    (partial / "docs").mkdir(parents=True, exist_ok=True)
    _write_text(partial / ORIGIN_FILE, _without_notes(origin).model_dump_json())


def _write_images(part: SetPart, folder: Path) -> dict[str, str]:
    """Writes the images of questions; name in the set to file name."""
    taken: set[str] = set()
    files: dict[str, str] = {}
    for name in dict.fromkeys(query.image for query in part.queries if query.image is not None):
        folder.mkdir(exist_ok=True)
        data = part.images[name]()
        files[name] = safe_name(name, taken, image_suffix(data) or Path(name).suffix.lower())
        (folder / files[name]).write_bytes(data)
    return files


def _write_queries(
    part: SetPart, folder: Path, files: Mapping[str, str], images: Mapping[str, str]
) -> None:
    rows = []
    for query in part.queries:
        row = query.model_dump(exclude_defaults=True) | _ids(query.id)
        row["answer"], row["type"] = query.answer, query.type
        if query.doc is not None:
            row["doc"] = files[query.doc]
        if query.image is not None:
            row["image"] = images[query.image]
        rows.append(row)
    _write_text(folder / "queries.jsonl", _json_lines(rows))
    if part.unanswerable:
        unanswerable = [
            {**each.model_dump(), **_ids(each.id), "doc": files[each.doc]}
            for each in part.unanswerable
        ]
        _write_text(folder / "unanswerable.jsonl", _json_lines(unanswerable))


def _ids(written: str) -> dict[str, str]:
    original = published_id(written)
    # An id that was never mended may look as if it was; it is its own original then.
    if original == written or query_id(original) != written:
        return {"id": written}
    return {"id": written, "published_id": original}


def _json_lines(rows: Iterable[object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write_qrels(part: SetPart, path: Path, written: Sequence[WrittenDocument]) -> None:
    places: dict[str, PageKey] = {}
    files = {each.contents.name: each.file for each in written}
    for each in written:
        for item, number in each.contents.items.items():
            places[item] = PageKey(each.file, number)
    lines = ["query_id\tdoc\tpage\trelevance\n"]
    for query in part.queries:
        grades: dict[PageKey, int] = {}
        for key, grade in part.qrels.get(query.id, {}).items():
            if isinstance(key, PageName):
                page = PageKey(files[key.document], key.page_number)
            else:
                page = places[key]
            grades[page] = max(grade, grades.get(page, 0))
        lines += [f"{query.id}\t{page[0]}\t{page[1]}\t{grade}\n" for page, grade in grades.items()]
    _write_text(path, "".join(lines))


def _write_items(folder: Path, written: Sequence[WrittenDocument]) -> None:
    with (folder / ITEMS_FILE).open("w", encoding="utf-8", newline="\n") as items:
        items.write("item\tdoc\tpage\n")
        for each in written:
            for item, number in each.contents.items.items():
                items.write(f"{query_id(item)}\t{each.file}\t{number}\n")
    lines = [
        f"{each.file}\t{query_id(each.contents.name)}\t{each.contents.n_pages or ''}\n"
        for each in written
    ]
    _write_text(folder / DOCUMENTS_FILE, "doc\tname\tpages\n" + "".join(lines))


def _notes_of_questions(part: SetPart, written: Sequence[WrittenDocument]) -> Iterator[str]:
    without = sum(query.id not in part.qrels for query in part.queries)
    if without:
        yield f"{without:,} questions have no graded page, and are not counted"
    pages = {each.contents.name: each.contents.n_pages for each in written}
    beyond = sum(
        key.page_number > (pages[key.document] or key.page_number)
        for grades in part.qrels.values()
        for key in grades
        if isinstance(key, PageName)
    )
    if beyond:
        yield f"{beyond:,} graded pages lie beyond the end of their document"


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def _told_what_is_left(partial: Path) -> Iterator[None]:
    """Of a set that is refused nothing is kept; where the machine failed, what was written is."""
    try:
        yield
    except InputError as error:
        shutil.rmtree(partial, ignore_errors=True)
        _remove_if_empty(partial.parent)
        error.next_step = f"{error.next_step} Nothing of {partial.name} was kept.".strip()
        raise
    except BackendError as error:
        if partial.is_dir():
            kept = f"What was written of {partial.name} is kept: the same command goes on there."
            error.next_step = f"{error.next_step} {kept}".strip()
        raise


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # others are on their way in it
        folder.rmdir()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        named = None if error.filename is None else Path(error.filename)
        if named is not None and folder.parent not in named.parents and named != folder.parent:
            raise BackendError(
                f"{named.name} cannot be read: {error.strerror}",
                code="not_read",
                next_step="Check the local copy.",
            ) from error
        raise BackendError(
            f"{folder.name} cannot be written: {error.strerror or error}",
            code="not_written",
            next_step="Check the folder given with --to, and the room on its disk.",
        ) from error
