"""The seams: Protocols that the algorithm knows instead of the libraries behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.deadline import Deadline
from rag.filters import Filter
from rag.geometry import Box, FloatArray
from rag.page_text import PageText
from rag.types import (
    Answer,
    Candidate,
    Citation,
    Claim,
    Json,
    MultiVector,
    Notice,
    PageField,
    PageHit,
    PageRecord,
    PageRef,
    RenderedPage,
    SparseVector,
    TokenUsage,
)


# --- PDF in, pixels and words out ---------------------------------------------------------------
@dataclass(frozen=True)
class OutlineEntry:
    """A line of a document's table of contents, as the file carries it.

    Attributes:
        level: from 1, which is outermost.
        page_number: where it leads, from 1.
    """

    level: int
    title: str
    page_number: int


@dataclass(frozen=True)
class PdfInfo:
    """What opening a file told: its pages, and whether the reader had to mend it.

    Attributes:
        outline: its bookmarks; empty where there are none.
        lost_outline: there may be some, and the reader failed on them.
    """

    n_pages: int
    title: str = ""
    is_repaired: bool = False
    outline: tuple[OutlineEntry, ...] = ()
    lost_outline: bool = False


@dataclass(frozen=True)
class ScannedPage:
    """One page as read for ingest: its frame, its words, whether any ink is in its pixels.

    Attributes:
        content_hash: SHA-256 over the small rendering and the words: equal pages, equal hash.
        image: only where the encoder asked for pixels.
        hidden: words of the file that nobody sees on the page (white, covered, off the page); in no
            field of the index, no prompt, no quote.
        ocr: identity of the engine that read `text`, or a part of it; None for the file's own.
        caption: what a chat model wrote of the page, a JSON object; None where none was asked.
        notices: what the reader of the ingest should know of this page.
    """

    page_number: int
    width_pt: float
    height_pt: float
    text: PageText
    has_ink: bool
    content_hash: str
    image: RenderedPage | None = None
    hidden: PageText = field(default_factory=PageText.empty)
    ocr: str | None = None
    caption: Json | None = None
    notices: tuple[Notice, ...] = ()


class OcrEngine(Protocol):
    """Reads words from pixels with one library. Called in isolated processes.

    Raises BackendError `ocr_failed` where the library fails on an image.
    """

    name: str

    @property
    def identity(self) -> str:
        """Engine, version and languages: what words it read may differ by."""
        ...

    def read(self, page: RenderedPage) -> PageText:
        """Words in reading order, in page points, with `confidences`."""
        ...


class PageRenderer(Protocol):
    """Reads PDFs with one library. Called in isolated processes, on files nobody trusts.

    All raise DocumentError with code `not_a_pdf`, `password_required`, `wrong_password`, `damaged`,
    `zero_pages` or `render_failed`.
    """

    name: str

    def open(self, path: Path, *, password: str | None = None) -> PdfInfo: ...

    def words(self, path: Path, page_number: int, *, password: str | None = None) -> PageText:
        """Words with boxes in the page frame (after /Rotate, on the crop box)."""
        ...

    def render(
        self, path: Path, page_number: int, *, dpi: float, max_px: int, password: str | None = None
    ) -> RenderedPage:
        """Pixels at `dpi`, or fewer where the page would have more than `max_px` pixels in all."""
        ...


# --- encoders -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class EncoderIdentity:
    """Who made the vectors of an index; a difference in any part is an IndexMismatch."""

    name: str  # "words"
    revision: str  # digest of weights, short
    dim: int  # of patches and headings
    dense_dim: int
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}"


@dataclass(frozen=True)
class PageInput:
    """What an encoder may look at: words, and pixels where it asked for them."""

    ref: PageRef
    width_pt: float
    height_pt: float
    text: PageText
    image: RenderedPage | None = None


@dataclass(frozen=True)
class EncodedPage:
    """A page as vectors; every part is empty (0 rows) for a page the encoder sees nothing on.

    Attributes:
        patches: (n, dim) unit rows, with boxes and kinds.
        patch_words: (n,) word of the page's text each row stands for; None for an encoder that
            looks at pixels, whose rows stand for their boxes.
        dense: (n_windows, dense_dim) unit rows.
        headings: (n, dim) unit rows, with boxes.
    """

    patches: MultiVector
    patch_words: npt.NDArray[np.int32] | None
    dense: FloatArray
    headings: MultiVector


@dataclass(frozen=True)
class EncodedQuery:
    """A query as vectors.

    Attributes:
        tokens: (n_query, dim) unit rows; an image's rows have boxes in its own pixels.
        dense: (dense_dim,) unit.
        labels: what each row of `tokens` stands for, for people; empty where nobody knows.
    """

    tokens: MultiVector
    dense: FloatArray
    labels: tuple[str, ...] = ()


class PageEncoder(Protocol):
    """Turns pages and questions into vectors; a page's vectors never depend on its batch mates.

    Thread-safe: questions are encoded several at a time.
    """

    @property
    def identity(self) -> EncoderIdentity: ...

    @property
    def wants_image(self) -> bool: ...

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]: ...

    def encode_query(self, text: str, *, image: Image.Image | None = None) -> EncodedQuery:
        """A query of words, of an image (`text` is empty), or of both together.

        Raises:
            InputError: `empty_query`, neither word nor image; `query_not_supported`, an image where
                the model reads none, or both where it reads one at a time.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class TellsNotices(Protocol):
    """An encoder that finds things out while it works which the reader of an ingest should know."""

    def take_notices(self) -> list[Notice]:
        """Each is told once."""
        ...


# --- index --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class IndexSpec:
    """The shape of a collection's records."""

    dim: int
    dense_dim: int
    fde_size: int


class PageIndex(Protocol):
    """The records of one collection. Thread-safe. Writes are durable once `flush` returns.

    Scores: MaxSim (sum over query rows of the best dot product) for the multi-vectors, dot product
    for `fde` (float query against what the store keeps of the page), BM25 with IDF for the sparse.
    Ties are broken by record id, ascending.
    """

    def upsert(self, records: Sequence[PageRecord]) -> None:
        """Insert or replace whole records. Raises ShapeError for NaN, zero rows or a wrong dim."""
        ...

    def flush(self) -> None: ...

    def optimize(self) -> None:
        """Let the store merge and index what was written; searching works before and after."""
        ...

    def search(
        self,
        page_field: PageField,
        query: FloatArray | SparseVector,
        *,
        limit: int,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[Candidate]:
        """The best records that pass the filter (and are among `record_ids`, where given)."""
        ...

    def search_many(
        self,
        queries: Sequence[tuple[PageField, FloatArray | SparseVector, int]],
        *,
        where: Filter | None = None,
        record_ids: Sequence[str] | None = None,
    ) -> list[list[Candidate]]:
        """Several searches, (field, query, limit) each, under one filter, in one request."""
        ...

    def vectors(self, record_ids: Sequence[str], page_field: PageField) -> dict[str, FloatArray]:
        """Stored vectors of a dense or multi-vector field; a missing record or field is absent."""
        ...

    def payloads(self, record_ids: Sequence[str]) -> dict[str, Json]: ...

    def records(self, record_ids: Sequence[str]) -> list[PageRecord]:
        """Whole records as they are stored, dense values rounded to float16; one missing is absent.

        In the order of their ids.
        """
        ...

    def set_payload(self, where: Filter, changes: Json) -> None:
        """Give these keys these values in every record that passes; vectors stay as they are."""
        ...

    def ids(self, where: Filter | None = None) -> list[str]:
        """All record ids that pass the filter, ascending."""
        ...

    def count(self, where: Filter | None = None) -> int: ...

    def delete(self, where: Filter) -> None:
        """Delete every record that passes the filter."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class RemoteIndex(PageIndex, Protocol):
    """An index on a server, which may be slow, or away for a while.

    Calls end as IndexUnavailable within a time that suits a search.
    """

    def patient(self) -> RemoteIndex:
        """The same records for one writer: its calls wait for a server that is away."""
        ...

    def require_ready(self) -> None:
        """Returns once the records can be asked for; raises as every call does."""
        ...

    def stop_waiting(self) -> None:
        """What waits ends as Cancelled, a request under way within seconds."""
        ...

    @property
    def waited_s(self) -> float:
        """How long calls have waited for the server, in all."""
        ...

    def one_search(self) -> AbstractContextManager[None]:
        """Within the block calls of this thread share the time of one search."""
        ...

    def unhurried(self) -> AbstractContextManager[None]:
        """Within the block they do not: each has that time to itself."""
        ...


# --- models that read and write -----------------------------------------------------------------
@dataclass(frozen=True)
class ChatMessage:
    """What is said to a chat model: texts and images in their order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[str | Image.Image, ...]


@dataclass(frozen=True)
class ChatReply:
    """What it said.

    Attributes:
        first_token: log probability of each candidate for the first token of the reply; empty where
            the server tells none.
        is_cut: the reply ends where the limit of tokens was reached.
        usage: None where the server does not count.
    """

    text: str
    first_token: Mapping[str, float] = field(default_factory=dict)
    is_cut: bool = False
    usage: TokenUsage | None = None


class ChatModel(Protocol):
    """Completes a chat. Thread-safe.

    Raises:
        BackendError: `chat_unreachable`, `chat_refused` (key, model or request), `chat_timeout`,
            `chat_bad_reply`; `cancelled`.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def reads_images(self) -> bool:
        """Whether it may be shown images; a model that nobody knows better of may."""
        ...

    def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        json_schema: Json | None = None,
        first_token: bool = False,
        on_piece: Callable[[str], None] | None = None,
        deadline: Deadline | None = None,
    ) -> ChatReply:
        """One reply at temperature 0.

        Args:
            messages: in order.
            max_tokens: at most so many; None is the setting's.
            json_schema: the reply's shape, where the server can hold a model to one; whoever asks
                checks the reply all the same.
            first_token: ask for log probabilities of the first token.
            on_piece: hears each piece of the reply as it arrives; together they are the reply's
                text. A reply that was heard in part is not tried again. What it raises ends the
                reply.
            deadline: all tries, waits and reading end with it.
        """
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class RerankPage:
    """A candidate as a reranker may read it; `image` only where it asked for pixels."""

    record_id: str
    ref: PageRef
    source: str
    text: PageText
    image: RenderedPage | None = None


class Reranker(Protocol):
    """Reads each page beside the question. Thread-safe; scores never depend on batch mates.

    Raises:
        BackendError: it cannot be reached or fails; the ranking before then stands, and says so.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def wants_image(self) -> bool: ...

    @property
    def is_probability(self) -> bool:
        """Whether a score is the probability that the page is relevant, which up-to-k cuts at."""
        ...

    def scores(self, question: str, pages: Sequence[RerankPage]) -> list[float]:
        """One finite score a page, in the order given; higher is better."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class HeedsDeadline(Protocol):
    """A reranker that ends when whoever asked has no more time."""

    def scores_within(
        self, deadline: Deadline | None, question: str, pages: Sequence[RerankPage]
    ) -> list[float]:
        """As `Reranker.scores`.

        Raises:
            BackendError: as Reranker; the deadline is over.
            Cancelled: the deadline was.
        """
        ...


# --- answers ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Evidence:
    """A page shown to an answer model.

    Attributes:
        number: what the model cites it by, from 1; the same for as long as the question lasts.
        text: the page's words, without those nobody sees.
        vectors: (n, dim) of the page, one for each word; 0 rows where it has none.
        vector_words: (n,) the word of `text` each row stands for.
        image: pixels, where the answer model is to see them.
        shows_text: whether the answer model is to read the words. Checks read them in any case.
        crops: parts of the page shown larger, beside the whole.
    """

    number: int
    hit: PageHit
    text: PageText
    vectors: FloatArray
    vector_words: npt.NDArray[np.int32]
    image: RenderedPage | None = None
    shows_text: bool = True
    crops: tuple[PageCrop, ...] = ()


@dataclass(frozen=True)
class PageCrop:
    """A part of a page, rendered larger than the page around it."""

    box: Box  # page points
    image: Image.Image


@dataclass(frozen=True)
class Delta:
    """A piece of an answer's text as it arrives: safe to show, and not checked yet."""

    text: str


@dataclass(frozen=True)
class Restarted:
    """Deltas, citations and claims so far are void: the answer begins anew, abstains or fails."""


AnswerEvent = Delta | Citation | Claim | Restarted
OnAnswerEvent = Callable[[AnswerEvent], None]


def unheard(_event: AnswerEvent) -> None:
    """For whoever wants the answer alone; a model need not send it piece by piece then."""


@dataclass(frozen=True)
class AnswerRequest:
    """What an answer model is asked.

    Attributes:
        question: in words that stand alone.
        query: the question as vectors.
        evidence: in the order they are to be shown in; numbers go by rank.
        on_event: hears text as it arrives, each citation once it is checked, and each claim once it
            is complete.
        deadline: when the answer must be there.
    """

    question: str
    query: EncodedQuery
    evidence: Sequence[Evidence]
    on_event: OnAnswerEvent = unheard
    deadline: Deadline = field(default_factory=Deadline)


class AnswerModel(Protocol):
    """Answers from the evidence given and nothing else. Thread-safe.

    Raises:
        BackendError: the model behind it fails, as ChatModel; `answer_timeout`, `cancelled`.
    """

    @property
    def model_id(self) -> str: ...

    @property
    def reads_images(self) -> bool:
        """Whether evidence should carry pixels."""
        ...

    def answer(self, request: AnswerRequest) -> Answer: ...


@dataclass(frozen=True)
class FurtherSearch:
    """What an answer model wants looked for beside the question, in one document.

    Attributes:
        page_numbers: the pages that are looked at; none given means all.
    """

    text: str
    document_id: str
    page_numbers: tuple[int, ...] = ()


@runtime_checkable
class SearchesFurther(Protocol):
    """An answer model that knows what pages it needs once it sees which were found."""

    def further_searches(self, question: str, hits: Sequence[PageHit]) -> list[FurtherSearch]: ...
