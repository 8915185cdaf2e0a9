"""The words of the system: small frozen values that every layer passes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from rag.errors import ShapeError
from rag.geometry import Box, FloatArray

Json = dict[str, Any]


class VectorKind(IntEnum):
    """What a page vector stands for."""

    PATCH = 0
    WORD = 1
    OCR_WORD = 2
    CAPTION = 3
    SPECIAL = 4


@dataclass(frozen=True, order=True)
class PageRef:
    """One page of one document; `page_number` is physical and counts from 1."""

    document_id: str
    page_number: int


@dataclass(frozen=True)
class MultiVector:
    """Late-interaction vectors of a page or a query.

    Attributes:
        vectors: (n_vectors, dim) float32, finite, no padding rows.
        boxes: (n_vectors, 4) page points, of an image query its own pixels; None for a query of
            words alone.
        kinds: (n_vectors,) uint8 of VectorKind.
    """

    vectors: FloatArray
    boxes: FloatArray | None = None
    kinds: npt.NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2:
            raise ShapeError(f"a multi-vector wants (n_vectors, dim), got {self.vectors.shape}")
        if not np.isfinite(self.vectors).all():
            raise ShapeError("a multi-vector holds NaN or infinite values")
        if self.boxes is not None and self.boxes.shape != (len(self.vectors), 4):
            raise ShapeError(
                f"{len(self.vectors)} vectors want boxes of shape ({len(self.vectors)}, 4), "
                f"got {self.boxes.shape}"
            )
        if self.kinds is not None and self.kinds.shape != (len(self.vectors),):
            raise ShapeError(f"{len(self.vectors)} vectors, but kinds of shape {self.kinds.shape}")

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])


@dataclass(frozen=True)
class SparseVector:
    """Weighted terms: (n_terms,) uint32 term ids, ascending and unique, and float32 weights."""

    indices: npt.NDArray[np.uint32]
    values: FloatArray

    def __len__(self) -> int:
        return len(self.indices)


class PageField(StrEnum):
    """The named vectors of a record. `patches`, `dense`, `headings`, `captions` are multi-vectors
    (MaxSim); `fde` is one vector; the rest are sparse with IDF applied by the store.
    """

    PATCHES = "patches"
    FDE = "fde"
    DENSE = "dense"
    HEADINGS = "headings"
    WORDS = "words"
    HEADING_WORDS = "heading_words"
    CONTEXT_WORDS = "context_words"
    CAPTION_WORDS = "caption_words"
    CAPTIONS = "captions"


@dataclass(frozen=True)
class PageRecord:
    """One row of the page index. A field a page has nothing for is absent, never zeros."""

    record_id: str  # a UUID, derived from version and page number
    vectors: dict[PageField, FloatArray | SparseVector]
    payload: Json


@dataclass(frozen=True)
class RenderedPage:
    """Pixels of one page and the frame they show."""

    image: Image.Image
    width_pt: float
    height_pt: float

    @property
    def px_per_pt(self) -> float:
        return self.image.width / self.width_pt


@dataclass(frozen=True)
class Candidate:
    """A record with its score in one stage of one query; higher is better."""

    record_id: str
    score: float


@dataclass(frozen=True)
class StageReport:
    """What one search stage handed on, and what it took."""

    name: str
    candidates: int
    ms: float

    def as_dict(self) -> Json:
        return {"name": self.name, "candidates": self.candidates, "ms": round(self.ms, 2)}


@dataclass(frozen=True)
class Principal:
    """Who asks. `is_owner` is the local command line acting for the owner of the data folder."""

    subject: str
    groups: frozenset[str] = frozenset()
    is_owner: bool = False

    @classmethod
    def owner(cls) -> Principal:
        return cls(subject="owner", is_owner=True)

    @property
    def readers(self) -> list[str]:
        """The entries of a document's `readers` that let this principal in, sorted."""
        return sorted({"*", f"user:{self.subject}", *(f"group:{name}" for name in self.groups)})


@dataclass(frozen=True)
class Notice:
    """A degraded mode or a finding that the reader of a result should know."""

    code: str
    message: str

    def as_dict(self) -> Json:
        return {"code": self.code, "message": self.message}


@dataclass(frozen=True)
class PageHit:
    """A page found for a question."""

    rank: int
    ref: PageRef
    source: str
    score: float
    score_normalized: float
    snippet: str
    boxes: tuple[tuple[Box, float], ...]  # box, weight 0 to 1
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Citation:
    """A page the answer points to.

    Attributes:
        marker: from 1, in the order of the answer.
        quote: verbatim in that page's words; empty where the page was seen and not read.
        boxes: of the quote, one a line, in page points; none without a quote.
        verified: whether the quote was found on its page.
        is_visual: the model says it saw this in the page's image, where no word can be held
            against it.
    """

    marker: int
    ref: PageRef
    source: str
    quote: str
    boxes: tuple[Box, ...]
    verified: bool
    is_visual: bool = False


class ClaimState(StrEnum):
    """What the checks found of a claim."""

    SUPPORTED = "supported"
    VISUAL = "visual"  # seen in an image of a page that was shown; no words to hold it against
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class Calculation:
    """Arithmetic that was done again here, on figures that stand on cited pages.

    Attributes:
        formula: in words, as in "total current assets - total current liabilities".
        expression: the same in figures as the pages write them.
        value: what it comes to, in the unit of the operands.
    """

    formula: str
    expression: str
    value: float


@dataclass(frozen=True)
class Claim:
    """One statement of an answer, and what the checks found of it.

    Attributes:
        text: plain text without markers.
        markers: of its citations, ascending.
        reasons: why it is not supported, a sentence each.
    """

    text: str
    state: ClaimState
    markers: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    calculation: Calculation | None = None


@dataclass(frozen=True)
class Support:
    """How far an answer is held by what it cites, before anything was left out of it.

    Attributes:
        citation_precision: share of the citations offered whose words were found on their page;
            1 where none was offered.
        citation_recall: share of the claims that are supported; 1 for no claim.
    """

    citation_precision: float
    citation_recall: float


@dataclass(frozen=True)
class TokenUsage:
    """Tokens as the server counts them."""

    prompt: int
    completion: int
    cached: int = 0  # of the prompt, those the server had read before


@dataclass(frozen=True)
class Answer:
    """An answer made of cited evidence, or an abstention that says why.

    Attributes:
        text: the claims with their markers, plain text.
        short: the value, date or name alone that was asked for; empty where the answer is none.
        unsupported: quotes and statements that did not hold.
        confidence: 0 to 1; of a chat model, its support.
        prompt_hash: of the prompt's files; empty where no model was asked.
    """

    text: str
    abstained: bool
    model_id: str
    citations: tuple[Citation, ...] = ()
    unsupported: tuple[str, ...] = ()
    confidence: float = 0.0
    short: str = ""
    claims: tuple[Claim, ...] = ()
    support: Support | None = None
    prompt_hash: str = ""
    usage: TokenUsage | None = None
    notices: tuple[Notice, ...] = ()
