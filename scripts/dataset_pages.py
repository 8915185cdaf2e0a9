"""Pages of a dataset folder as the words encoder makes them, for the scripts that measure."""

from __future__ import annotations

from pathlib import Path

from eval.datasets.folder import PageKey
from ingestion.render import open_document, read_pages
from rag.encoders.words import WordsEncoder
from rag.ports import EncodedPage, PageInput
from rag.renderers.isolated import IsolatedReader
from rag.settings import RenderSettings
from rag.types import PageRef


def encoded_pages(
    encoder: WordsEncoder, folder: Path, documents: tuple[str, ...]
) -> dict[PageKey, EncodedPage]:
    """All pages with words, in the order of documents and pages."""
    found: dict[PageKey, EncodedPage] = {}
    settings = RenderSettings()
    reader = IsolatedReader(settings)
    try:
        for name in documents:
            path = folder / name
            info = open_document(reader, path, max_pages=settings.max_pages)
            for batch in read_pages(reader, path, range(1, info.n_pages + 1), batch_pages=16):
                inputs = [
                    PageInput(PageRef(name, page.page_number), 0, 0, page.text)
                    for page in batch.read
                ]
                for given, page in zip(inputs, encoder.encode_pages(inputs), strict=True):
                    if len(page.patches):
                        found[PageKey(name, given.ref.page_number)] = page
    finally:
        reader.close()
    return found
