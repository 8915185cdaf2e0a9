"""What an ingest would cost, before anything is ingested: pages, bytes in memory and on disk, time.

Every file is opened and its pages counted. What a page costs is measured on a few pages of these
very files, read, encoded and packed as an ingest does it but not stored; what cannot be measured
without storing comes from constants that name where they were measured.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ingestion.embed import EmbeddedPage, Embedder
from ingestion.events import document_event
from ingestion.render import open_document, read_pages
from ingestion.source import Refusal, SourceFile, places
from rag.errors import DocumentError, InputError, RagError
from rag.page_pack import PackedPage, PackSpec
from rag.page_pack.layout import ENTRY, Part, encode
from rag.ports import ScannedPage
from rag.renderers.isolated import IsolatedReader
from rag.scoring.quantize import BITS_BLOCK
from rag.settings import Settings
from rag.types import Json, PageField, SparseVector

Progress = Callable[[str, int, int], None]

SAMPLE_PAGES = 48
_ENCODED_AT_ONCE = 16


@dataclass(frozen=True)
class PageCost:
    """Means over pages.

    Attributes:
        seconds: read, encoded, pooled, packed.
        rows: vectors for MaxSim.
        floats: values of all vectors but the sparse ones, the FDE's among them.
        terms: entries of the sparse vectors.
        text_bytes: words and their vectors' places, compressed.
    """

    seconds: float
    rows: float
    floats: float
    terms: float
    text_bytes: float


# --- measured elsewhere -------------------------------------------------------------------------
# 25 annual reports and filings, 2,851 pages, encoder `words` (dim 128), on 2 shared cores of an AMD
# EPYC: `octavo ingest`, then the sizes of its files. The FDE's values are added from the settings.
MEASURED_ON = "2,851 pages of annual reports, encoder words, 2 shared cores"
_TYPICAL = PageCost(seconds=0.13, rows=332.0, floats=47_500.0, terms=225.0, text_bytes=7_160.0)
_TYPICAL_DIM = 128
# Beside what the sample shows: index and pack take this a page to store durably.
_STORE_S_PER_PAGE = 0.005
# The embedded index: every value as float16; of a sparse entry its storage and its place in the
# inverted index; payloads and their indexes; a folder without pages; its write-ahead log, which
# grows with what is written until it is cut.
_INDEX_FIXED_BYTES = 1_600_000
_INDEX_BYTES_PER_TERM = 14.0
_INDEX_BYTES_PER_PAGE = 600.0
_LOG_BYTES_PER_FLOAT = 5.0
_LOG_MOST_BYTES = 60_000_000
# The manifest beside the words: rows of pages, features of documents, an empty database.
_MANIFEST_BYTES_PER_PAGE = 1_050.0
_MANIFEST_BYTES_PER_DOCUMENT = 12_000.0
_MANIFEST_FIXED_BYTES = 80_000


@dataclass(frozen=True)
class Sample:
    """The pages that were measured; `failed` of them could not be read."""

    n_pages: int
    failed: int
    seconds: float
    cost: PageCost


@dataclass(frozen=True)
class Estimate:
    """What an ingest of these files would cost; see `as_dict`.

    Attributes:
        n_pages: of all documents that can be opened.
        sources_bytes: of the files that are kept, each content once.
        open_s: what opening all of them took.
        unreadable: (source, error) of those that would be refused.
        sample: None where only constants were used.
        matrices_bytes: of the FDE, one set a collection.
    """

    n_documents: int
    n_pages: int
    sources_bytes: int
    open_s: float
    unreadable: tuple[tuple[str, RagError], ...]
    sample: Sample | None
    spec: PackSpec
    matrices_bytes: int
    is_embedded: bool

    @property
    def cost(self) -> PageCost:
        if self.sample is not None:
            return self.sample.cost
        floats = _TYPICAL.floats + self.spec.fde_size
        return PageCost(
            _TYPICAL.seconds, _TYPICAL.rows, floats, _TYPICAL.terms, _TYPICAL.text_bytes
        )

    @property
    def memory_bytes(self) -> dict[str, int]:
        """What searches keep reading: sign bits and FDE signs of every page, and the table."""
        bits = -(-self.cost.rows // BITS_BLOCK) * self.spec.unit_bytes(Part.BITS)
        return _whole(
            {
                "sign_bits": self.n_pages * bits,
                "fde_signs": self.n_pages * self.spec.unit_bytes(Part.FDE),
                "table": self.n_pages * ENTRY.itemsize,
            }
        )

    @property
    def disk_bytes(self) -> dict[str, int]:
        cost, n = self.cost, self.n_pages
        logged = min(n * cost.floats * _LOG_BYTES_PER_FLOAT, _LOG_MOST_BYTES)
        index = (
            _INDEX_FIXED_BYTES
            + self.matrices_bytes
            + n * (2 * cost.floats + self.spec.unit_bytes(Part.FDE))
            + n * (_INDEX_BYTES_PER_TERM * cost.terms + _INDEX_BYTES_PER_PAGE)
            + logged
        )
        manifest = (
            _MANIFEST_FIXED_BYTES
            + n * (cost.text_bytes + _MANIFEST_BYTES_PER_PAGE)
            + self.n_documents * _MANIFEST_BYTES_PER_DOCUMENT
        )
        return _whole(
            {
                "sources": self.sources_bytes,
                "index": index,
                "packed": n * self.spec.page_bytes(round(cost.rows)),
                "manifest": manifest,
            }
        )

    @property
    def seconds(self) -> float:
        return self.open_s + self.n_pages * (self.cost.seconds + _STORE_S_PER_PAGE)

    def as_dict(self) -> Json:
        memory, disk = self.memory_bytes, self.disk_bytes
        return {
            "documents": self.n_documents,
            "pages": self.n_pages,
            "unreadable": [
                {"source": event["source"], "error": event["error"]}
                for event in (
                    document_event(source=source, document_id=None, state="refused", error=error)
                    for source, error in self.unreadable
                )
            ],
            "memory_bytes": {**memory, "total": sum(memory.values())},
            "disk_bytes": {**disk, "total": sum(disk.values())},
            "index_is_here": self.is_embedded,
            "minutes": round(self.seconds / 60, 3),
            "pages_per_s": round(1 / (self.cost.seconds + _STORE_S_PER_PAGE), 2),
            "sample": None
            if self.sample is None
            else {
                "pages": self.sample.n_pages,
                "failed_pages": self.sample.failed,
                "seconds": round(self.sample.seconds, 3),
            },
            "rates": self._rates(),
        }

    def _rates(self) -> list[Json]:
        page = "constant" if self.sample is None else "sample"
        cost = self.cost
        rates: list[tuple[str, float, str]] = [
            ("seconds_per_page", cost.seconds, page),
            ("vectors_per_page", cost.rows, page),
            ("floats_per_page", cost.floats, page),
            ("terms_per_page", cost.terms, page),
            ("text_bytes_per_page", cost.text_bytes, page),
            ("store_seconds_per_page", _STORE_S_PER_PAGE, "constant"),
            ("index_bytes_per_term", _INDEX_BYTES_PER_TERM, "constant"),
            ("index_bytes_per_page", _INDEX_BYTES_PER_PAGE, "constant"),
            ("log_bytes_per_float", _LOG_BYTES_PER_FLOAT, "constant"),
            ("manifest_bytes_per_page", _MANIFEST_BYTES_PER_PAGE, "constant"),
            ("manifest_bytes_per_document", _MANIFEST_BYTES_PER_DOCUMENT, "constant"),
        ]
        return [
            {
                "name": name,
                "value": float(f"{value:.4g}"),
                "from": origin,
                "measured_on": MEASURED_ON if origin == "constant" else "a sample of these pages",
            }
            for name, value, origin in rates
        ]


def typical_spec(settings: Settings) -> PackSpec:
    """The shape of packed pages where no encoder is loaded to say it."""
    chosen = settings.fde
    fde_size = chosen.repetitions * 2**chosen.simhash_bits * chosen.projection_dim
    return PackSpec(_TYPICAL_DIM, fde_size, "")


def estimate(
    files: Sequence[SourceFile | Refusal],
    *,
    isolated: IsolatedReader,
    embedder: Embedder | None,
    spec: PackSpec,
    settings: Settings,
    password: str | None = None,
    progress: Progress = lambda _what, _done, _whole: None,
) -> Estimate:
    """Count the pages of files, and measure a sample of them. Writes nothing.

    Args:
        files: from `discover`.
        isolated: reads them.
        embedder: encodes the sample; None takes what was measured elsewhere.
        spec: of the packed pages.
        settings: of the ingest.
        password: opens protected files.
        progress: called with `files`, then `pages`.

    Raises:
        InputError: `nothing_to_ingest`, where no file can be opened.
    """
    start = time.perf_counter()
    unreadable: list[tuple[str, RagError]] = []
    documents: list[tuple[SourceFile, int]] = []
    isolated.will_read(places(files))
    for number, file in enumerate(files, start=1):
        if isinstance(file, Refusal):
            error = DocumentError(file.message, code=file.code, next_step=file.next_step)
            unreadable.append((file.source, error))
        else:
            try:
                limit = settings.render.max_pages
                info = open_document(isolated, file.path, max_pages=limit, password=password)
                documents.append((file, info.n_pages))
            except InputError as error:
                unreadable.append((file.source, error))
        progress("files", number, len(files))
    open_s = time.perf_counter() - start
    if not documents:
        raise _nothing_to_ingest(unreadable)
    sample = None
    if embedder is not None:
        sample = _sampled(documents, isolated, embedder, spec, password, progress)
    return Estimate(
        n_documents=len(documents),
        n_pages=sum(n for _, n in documents),
        sources_bytes=_sources_bytes([file for file, _ in documents]),
        open_s=open_s,
        unreadable=tuple(unreadable),
        sample=sample,
        spec=spec,
        matrices_bytes=4
        * settings.fde.repetitions
        * spec.dim
        * (settings.fde.simhash_bits + settings.fde.projection_dim),
        is_embedded=settings.store.qdrant_url is None,
    )


def sample_pages(n_pages: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Pages evenly spaced over all documents, or all of them where they are few.

    Args:
        n_pages: of each document.

    Returns:
        (document, page numbers from 1), both ascending.
    """
    whole = sum(n_pages)
    wanted = min(whole, SAMPLE_PAGES)
    places = iter([int((i + 0.5) * whole / wanted) for i in range(wanted)])
    found: list[tuple[int, list[int]]] = []
    place, before = next(places, None), 0
    for document, n in enumerate(n_pages):
        pages: list[int] = []
        while place is not None and place < before + n:
            pages.append(place - before + 1)
            place = next(places, None)
        if pages:
            found.append((document, pages))
        before += n
    return found


def _sampled(
    documents: Sequence[tuple[SourceFile, int]],
    isolated: IsolatedReader,
    embedder: Embedder,
    spec: PackSpec,
    password: str | None,
    progress: Progress,
) -> Sample:
    chosen = [(documents[i][0], pages) for i, pages in sample_pages([n for _, n in documents])]
    n = sum(len(pages) for _, pages in chosen)

    def scanned(files: Sequence[tuple[SourceFile, list[int]]]) -> Iterator[ScannedPage | None]:
        """None for a page that cannot be read."""
        for file, pages in files:
            for batch in read_pages(
                isolated,
                file.path,
                pages,
                batch_pages=_ENCODED_AT_ONCE,
                password=password,
                want_image=embedder.wants_image,
            ):
                yield from batch.read
                yield from [None] * len(batch.failures)

    # Once untimed: the first page waits for what every later one finds ready.
    first_file, first_pages = chosen[0]
    embedder.embed("sample", "sample", [p for p in scanned([(first_file, first_pages[:1])]) if p])
    totals: Counter[str] = Counter()
    done = failed = 0
    start = time.perf_counter()
    pages = scanned(chosen)
    while batch := list(itertools.islice(pages, _ENCODED_AT_ONCE)):
        read = [page for page in batch if page is not None]
        for page in embedder.embed("sample", "sample", read):
            totals.update(_counted(page, spec))
        done, failed = done + len(batch), failed + len(batch) - len(read)
        progress("pages", done, n)
    seconds = time.perf_counter() - start
    cost = PageCost(
        seconds=seconds / n,
        rows=totals["rows"] / n,
        floats=totals["floats"] / n,
        terms=totals["terms"] / n,
        text_bytes=totals["text_bytes"] / n,
    )
    return Sample(n, failed, seconds, cost)


def _counted(page: EmbeddedPage, spec: PackSpec) -> dict[str, int]:
    """What one page takes; packs it, for that takes time too."""
    places = (page.vector_words, page.vector_boxes)
    text_bytes = len(page.page.text.to_bytes())
    text_bytes += sum(len(known.to_bytes()) for known in places if known is not None)
    record = page.record
    if record is None:
        return {"text_bytes": text_bytes}
    dense = [v for v in record.vectors.values() if not isinstance(v, SparseVector)]
    sparse = [v for v in record.vectors.values() if isinstance(v, SparseVector)]
    patches = record.vectors.get(PageField.PATCHES)
    fde = record.vectors.get(PageField.FDE)
    rows = 0
    if patches is not None:
        assert not isinstance(patches, SparseVector)
        assert not isinstance(fde, SparseVector)
        rows = len(encode(PackedPage(record.record_id, patches, fde), spec).int8)
    return {
        "rows": rows,
        "floats": sum(vector.size for vector in dense),
        "terms": sum(map(len, sparse)),
        "text_bytes": text_bytes,
    }


def _sources_bytes(files: Sequence[SourceFile]) -> int:
    """Bytes of all files, each content once; only files of equal size are read to compare them."""
    sizes = Counter(file.size_bytes for file in files)
    kept: dict[tuple[int, str], int] = {}
    for file in files:
        name = file.sha256 if sizes[file.size_bytes] > 1 else ""
        kept[file.size_bytes, name] = file.size_bytes
    return sum(kept.values())


def _nothing_to_ingest(unreadable: Sequence[tuple[str, RagError]]) -> InputError:
    source, first = unreadable[0]
    if len(unreadable) == 1:
        return InputError(first.message, code=first.code, next_step=first.next_step)
    return InputError(
        f"none of the {len(unreadable)} files can be read; the first, {source}: {first.message}",
        code="nothing_to_ingest",
        next_step=first.next_step or "`octavo ingest --dry-run` lists each with its reason.",
    )


def _whole(sizes: dict[str, float]) -> dict[str, int]:
    return {name: round(size) for name, size in sizes.items()}
