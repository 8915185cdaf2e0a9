"""Reads documents and proposes questions of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.starter.candidate import Candidate, Kind
from eval.starter.from_model import ModelQuestions
from eval.starter.from_pages import (
    Document,
    chosen_of,
    heading_questions,
    spread,
    table_questions,
    title_of,
)
from ingestion.render import open_document, read_pages
from rag.errors import DocumentError
from rag.ports import ChatModel
from rag.renderers.isolated import IsolatedReader
from rag.settings import RenderSettings
from rag.types import Notice, RenderedPage


@dataclass(frozen=True)
class Proposed:
    """Questions in the order of documents and pages; which documents could be read; what went
    wrong.
    """

    candidates: list[Candidate]
    documents: list[str]
    notices: list[Notice]


Progress = Callable[[str, int, int], None]  # document, pages read, pages in all

_BATCH_PAGES = 16


def propose(
    files: Mapping[str, Path],
    kinds: Sequence[Kind],
    *,
    per_document: int,
    render: RenderSettings,
    chat: ChatModel | None = None,
    progress: Progress = lambda _name, _done, _whole: None,
) -> Proposed:
    """Questions of each document that can be read.

    Args:
        files: name below docs/ to the file.
        kinds: what they are made of; `chat` is asked where Kind.MODEL is among them.
        per_document: so many at most of each.
        render: how pages are read.
        chat: writes questions; None where nobody does.
        progress: heard while pages are read.

    Raises:
        BackendError: the chat model cannot be reached or refuses.
    """
    found: list[Candidate] = []
    documents: list[str] = []
    notices: list[Notice] = []
    model = None if chat is None else ModelQuestions(chat)
    with IsolatedReader(render) as reader:
        for name, path in files.items():
            try:
                document, failed = _read(reader, name, path, render.max_pages, progress)
            except DocumentError as error:
                notices.append(Notice(error.code, f"{name}: {error.message}"))
                continue
            documents.append(name)
            if failed:
                notices.append(Notice("pages_failed", f"{name}: pages {failed} could not be read"))
            groups = [_MAKERS[kind](document) for kind in kinds if kind in _MAKERS]
            if Kind.MODEL in kinds and model is not None:
                groups.append(_written(reader, path, document, model, per_document))
            chosen = chosen_of(groups, per_document)
            if not chosen:
                notices.append(Notice("nothing_to_ask", f"{name}: nothing was found to ask about"))
            found += chosen
    return Proposed(found, documents, notices + ([] if model is None else model.notices()))


_MAKERS: Mapping[Kind, Callable[[Document], list[Candidate]]] = {
    Kind.HEADING: heading_questions,
    Kind.TABLE: table_questions,
}


def _read(
    reader: IsolatedReader, name: str, path: Path, max_pages: int, progress: Progress
) -> tuple[Document, list[int]]:
    """The document's words, and the numbers of pages that could not be read."""
    info = open_document(reader, path, max_pages=max_pages)
    document = Document(name, title_of(name, info.title), {})
    failed: list[int] = []
    done = 0
    numbers = range(1, info.n_pages + 1)
    for batch in read_pages(reader, path, numbers, batch_pages=_BATCH_PAGES):
        document.pages.update({page.page_number: page.text for page in batch.read})
        failed += [failure.page_number for failure in batch.failures]
        done += len(batch)
        progress(name, done, info.n_pages)
    return document, failed


def _written(
    reader: IsolatedReader,
    path: Path,
    document: Document,
    model: ModelQuestions,
    per_document: int,
) -> list[Candidate]:
    """By the chat model, of pages that lie evenly over the document."""
    numbers = sorted(document.pages)
    step = max(1.0, len(numbers) / per_document)
    asked = sorted({numbers[int(place * step)] for place in range(min(per_document, len(numbers)))})
    images: dict[int, RenderedPage | None] = dict.fromkeys(asked)
    if model.chat.reads_images:
        for batch in read_pages(reader, path, asked, batch_pages=_BATCH_PAGES, want_image=True):
            images.update({page.page_number: page.image for page in batch.read})
    written = [each for number in asked for each in model.of_page(document, number, images[number])]
    return spread(written, per_document)
