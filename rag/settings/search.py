"""Settings of the read path: which pages are scored, and how their scores make one ranking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from rag.settings.section import Section

_MOST = 1e6  # of a weight: sums of such are finite, and one alone drowns all others
_MANY = 1_000_000_000  # of pages or rows: more than any index has, and stores can count to it


class LegWeights(Section):
    """What each leg's z-score counts for in the fused score (docs/adr/0009-fusion.md)."""

    words: float = Field(1.0, ge=0, le=_MOST, description="BM25 over the page's words.")
    dense: float = Field(1.0, ge=0, le=_MOST, description="Best window's pooled vector.")
    patches: float = Field(0.5, ge=0, le=_MOST, description="MaxSim over the page's vectors.")
    heading_words: float = Field(0.5, ge=0, le=_MOST, description="BM25 over headings.")
    headings: float = Field(0.5, ge=0, le=_MOST, description="MaxSim over headings.")
    document: float = Field(
        2.0, ge=0, le=_MOST, description="How well the document fits the question."
    )
    prior: float = Field(
        1.0, ge=0, le=_MOST, description="Page prior: figures repeated elsewhere, as log."
    )
    context: float = Field(
        1.0, ge=0, le=_MOST, description="What `context` adds, in standard deviations."
    )
    context_words: float = Field(
        0.0, ge=0, le=_MOST, description="BM25 over what the document says of it."
    )
    caption_words: float = Field(0.5, ge=0, le=_MOST, description="BM25 over a page's description.")
    captions: float = Field(
        0.5, ge=0, le=_MOST, description="Best part of a page's description, pooled."
    )


class ContextSettings(Section):
    """What a page's document, neighbours and number add (docs/adr/0022-document-context.md)."""

    neighbours: float = Field(
        0.0, ge=0, le=1, description="Share of the neighbouring pages' scores added to a page's."
    )
    document_pages: Literal["none", "mean", "max"] = Field(
        "none", description="Which scores of its pages speak for a document, beside its name."
    )
    document_vector: float = Field(
        0.0, ge=0, le=_MOST, description="Weight of the mean of a document's pooled vectors."
    )
    named_page: float = Field(
        4.0,
        ge=0,
        le=_MOST,
        description="Added to pages that the question names by number, as page 12.",
    )
    documents: int = Field(
        25, ge=1, le=_MANY, description="Documents that the first of two stages keeps."
    )


class RefineSettings(Section):
    """Moving the query until two searches agree (docs/adr/0019-fusion-and-refinement.md)."""

    method: Literal["none", "gqr"] = Field("none", description="Whether the query is refined.")
    variant: Literal["pool", "search", "tutorial"] = Field(
        "pool",
        description="Score the pages compared again, search again, or search again with the sums "
        "and averages of the published tutorial.",
    )
    order: Literal["fused", "maxsim"] = Field(
        "fused",
        description="Refined MaxSim as one leg among the others, or first by itself, as published.",
    )
    pages: int = Field(10, ge=1, le=100, description="Pages of either search that are compared.")
    alpha: float = Field(0.5, ge=0, le=1, description="Share of the second search in the target.")
    temperature: float = Field(1.0, ge=1e-6, le=1e6, description="Of the softmax over pages.")
    learning_rate: float = Field(
        5e-4, ge=1e-9, le=1, description="Step of Adam; times `steps`, how far a coordinate moves."
    )
    steps: int = Field(25, ge=1, le=1000, description="Steps of Adam.")


class RerankSettings(Section):
    """Reading the best pages again, each beside the question."""

    method: Literal["none", "cross_encoder", "http", "qwen3_vl", "vlm_yes_no", "vlm_listwise"] = (
        Field(
            "none",
            description="Who reads (docs/adr/0020-rerankers.md); the last two ask the model of "
            "`chat`.",
        )
    )
    model: str | None = Field(
        None, description="Model id on the hub or a folder (cross_encoder, qwen3_vl, http)."
    )
    revision: str | None = Field(None, description="Commit of the model on the hub.")
    url: str | None = Field(
        None, description="For http: what stands before /rerank, such as http://127.0.0.1:8000/v1."
    )
    api_key: SecretStr | None = Field(None, description="For http: bearer key of the server.")
    pages: int = Field(20, ge=1, le=200, description="Best pages that are read again.")
    page_as: Literal["image", "words", "both"] = Field(
        "image", description="For qwen3_vl and the last two: what they are shown of a page."
    )
    instruction: str | None = Field(
        None, description="For qwen3_vl: what is looked for; None is the model's own."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where local models run.")
    batch_size: int = Field(4, ge=1, le=256, description="Pages or texts a forward pass.")
    weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the reranker's rank against the rank before, by reciprocal ranks.",
    )
    timeout_s: float = Field(
        60.0, gt=0, le=86_400, description="For http: time that reranking a search may take."
    )


class SelectSettings(Section):
    """How many of the ranked pages come back."""

    method: Literal["top_k", "up_to_k"] = Field(
        "top_k", description="All of them, or those that speak to the question, maybe none."
    )
    threshold: float = Field(
        0.5, ge=0, le=1, description="Relevance by the reranker that a page wants for up_to_k."
    )


class RouteSettings(Section):
    """Which evidence a question is answered from."""

    method: Literal["fixed", "rules", "chat"] = Field(
        "fixed", description="Always `route`, by the question's wording, or by the chat model."
    )
    route: Literal["none", "text-chunk", "page-image", "text+image", "whole-document"] = Field(
        "text+image", description="The route where none is chosen or the choice fails."
    )


class WordingSettings(Section):
    """How a question is read before it is searched for."""

    variants: bool = Field(True, description="Other spellings and forms of numbers count too.")
    decompose: Literal["none", "rules", "chat"] = Field(
        "none",
        description="Whether a question of several parts is searched for in parts, and who finds "
        "them.",
    )
    dialogue: Literal["none", "rules", "chat"] = Field(
        "rules", description="Who puts back into a follow-up what was said before."
    )


class RetrievalSettings(Section):
    """Which pages are scored, and how the legs are weighted."""

    top_k: int = Field(5, ge=1, le=50, description="Pages that come back.")
    candidates: int = Field(
        500, ge=1, le=_MANY, description="Pages the FDE stage hands to the sign bits."
    )
    int8_candidates: int = Field(
        100, ge=1, le=_MANY, description="Pages the sign bits hand to int8 MaxSim."
    )
    scan_rows: int = Field(
        2_000_000,
        ge=0,
        le=_MANY,
        description="Up to so many page vectors in scope, sign bits see all pages.",
    )
    exact_pages: int = Field(
        12,
        ge=0,
        le=_MANY,
        description="Best pages, those shown at least, whose MaxSim is made exact.",
    )
    leg_candidates: int = Field(60, ge=1, le=_MANY, description="Pages every other leg hands on.")
    top_documents: int = Field(
        3, ge=0, le=_MANY, description="Best-fitting documents searched once more."
    )
    document_candidates: int = Field(
        100, ge=1, le=_MANY, description="Pages a leg hands on from those."
    )
    scan_pages: int = Field(
        200, ge=0, le=_MANY, description="Up to so many pages in scope, all of them are scored."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where MaxSim finds pages; auto takes cuda where torch sees such a device.",
    )
    device_bytes: int | None = Field(
        None,
        ge=0,
        description="Device memory that a collection's int8 vectors may take; None is 80 % of what "
        "is free when they are first wanted.",
    )
    fusion: Literal[
        "zscore",
        "rrf",
        "average_rank",
        "min_max",
        "softmax",
        "ucmr",
        "quota",
        "bayes",
        "modality_max",
        "modality_text",
        "modality_image",
    ] = Field(
        "zscore",
        description="How the legs of hybrid are joined (docs/adr/0019-fusion-and-refinement.md).",
    )
    rrf_k: int = Field(60, ge=1, le=1_000_000, description="Reciprocal rank fusion constant.")
    image_share: float = Field(
        0.5, ge=0, le=1, description="For ucmr: 0 is the words alone, 1 the page vectors alone."
    )
    codes: Literal["int8", "bebr"] = Field(
        "int8", description="What MaxSim reads of pages that are scored but not shown."
    )
    code_bits: int = Field(2, ge=1, le=8, description="Bits a dimension, for bebr.")
    weights: LegWeights = LegWeights()
    wording: WordingSettings = WordingSettings()
    context: ContextSettings = ContextSettings()
    refine: RefineSettings = RefineSettings()
    rerank: RerankSettings = RerankSettings()
    select: SelectSettings = SelectSettings()
    route: RouteSettings = RouteSettings()
