"""What a data folder still holds of a document, counted in every place that may hold something."""

from __future__ import annotations

from rag.filters import Condition, Filter
from rag.manifest import Manifest, Traces
from rag.page_pack import PagePack
from rag.page_store import PageStore
from rag.ports import PageIndex


def count_left(
    manifest: Manifest,
    page_store: PageStore,
    index: PageIndex,
    pack: PagePack,
    *,
    collection: str,
    traces: Traces,
) -> dict[str, int]:
    """Things left of a document by kind; a file that another document has too does not count."""
    unused = [digest for digest in traces.files if not manifest.is_used(digest)]
    return {
        **manifest.left_of(collection, traces.document_id),
        **manifest.left_of_versions(traces.version_ids),
        "jobs": manifest.n_jobs_naming(traces),
        # Each holds the page's vectors, its FDE and its words.
        "records": index.count(Filter(must=(Condition("document_id", "$eq", traces.document_id),))),
        "packed": sum(record_id in pack for record_id in traces.record_ids),
        "sources": sum(page_store.source_path(digest) is not None for digest in unused),
        "images": sum(page_store.n_images(digest) for digest in unused),
        "ocr_words": sum(page_store.n_ocr_words(digest) for digest in unused),
    }
