"""Settings of the write path: how pages are read, encoded and kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from rag.settings.section import Section


class RenderSettings(Section):
    """Reading PDFs in isolated processes."""

    renderer: Literal["auto", "pymupdf", "pypdfium2", "pdf2image"] = Field(
        "auto", description="Which library reads PDFs; auto takes the fastest installed."
    )
    workers: int = Field(2, ge=1, le=64, description="Processes that read pages.")
    dpi: float = Field(150.0, gt=0, le=1200, description="Resolution of page images.")
    max_px: int = Field(36_000_000, ge=10_000, description="Pixels of one page image at most.")
    page_timeout_s: float = Field(
        30.0, gt=0, le=86_400, description="Time one page may take to read."
    )
    stall_timeout_s: float = Field(
        600.0,
        gt=0,
        le=86_400,
        description="A file of which no page comes to an end for so long is read no further.",
    )
    worker_memory_bytes: int = Field(
        1_500_000_000, ge=200_000_000, description="Address space one reading process may add."
    )
    files_per_process: int = Field(
        200, ge=1, description="Files after which reading processes are started anew."
    )
    pages_per_process: int = Field(
        2000, ge=1, description="Pages after which a reading process is started anew."
    )
    sandbox: Literal["auto", "require", "off"] = Field(
        "auto",
        description="What keeps reading processes from the network and from your files; auto takes "
        "what this system has, require reads nothing without all of it.",
    )
    max_file_bytes: int = Field(200_000_000, ge=1, description="Size of one file at most.")
    max_pages: int = Field(10_000, ge=1, description="Pages of one file at most.")
    image_cache_bytes: int = Field(
        256_000_000, ge=0, description="Disk that rendered page images may take."
    )


class OcrSettings(Section):
    """Reading words from pixels where a page's own words are missing or wrong."""

    mode: Literal["off", "auto", "always"] = Field(
        "auto", description="Never, on pages whose own words will not do, or on every page."
    )
    engine: Literal["auto", "tesseract", "rapidocr"] = Field(
        "auto", description="Who reads; auto takes the first of these that is installed."
    )
    languages: tuple[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_/]+$")], ...] = Field(
        ("eng",),
        min_length=1,
        description="Languages of the pages, as Tesseract names them; as a flag eng+fra.",
    )
    dpi: float = Field(150.0, ge=50, le=600, description="Resolution pages are read at.")
    page_timeout_s: float = Field(
        60.0, gt=0, le=86_400, description="Time that reading one page may take."
    )
    cache_bytes: int = Field(
        256_000_000, ge=0, description="Disk that words read by OCR may take, to be used again."
    )

    @field_validator("languages", mode="before")
    @classmethod
    def _one_text(cls, given: object) -> object:
        """Flags and the environment give one text."""
        return tuple(re.split(r"[+,\s]+", given.strip())) if isinstance(given, str) else given


class CaptionSettings(Section):
    """Descriptions of pages, written by the model of `chat` at ingest."""

    mode: Literal["off", "on"] = Field("off", description="Whether pages are described.")
    dpi: float = Field(100.0, gt=0, le=600, description="Resolution pages are described at.")
    max_tokens: int = Field(4096, ge=64, description="Tokens of one description at most.")


class EncoderSettings(Section):
    """Who makes the vectors. `words` needs nothing else; the others want `model`."""

    name: Literal["words", "colpali", "dense", "remote", "custom"] = Field(
        "words", description="Which encoder makes the vectors."
    )
    model: str | None = Field(
        None,
        description="Model id on the hub, or a folder with its files (not for words); for custom "
        "module:function, which is given these settings and gives a PageEncoder.",
    )
    revision: str | None = Field(
        None, description="Commit of the model on the hub; None takes what is in the cache."
    )
    weights: Path | None = Field(
        None,
        description="For words: folder with model.safetensors and tokenizer.json; None looks "
        "around.",
    )
    threads: int = Field(2, ge=1, le=256, description="Threads the encoder may use.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where colpali and dense run; auto takes cuda where torch sees one."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Of weights and activations; auto is bfloat16 on cuda, else float32."
    )
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = Field(
        "auto", description="Attention kernel; auto takes flash_attention_2 where it is installed."
    )
    batch_size: int | None = Field(
        None, ge=1, le=1024, description="Pages a forward pass; None finds what fits the memory."
    )
    max_patches: int | None = Field(
        None,
        ge=16,
        le=16384,
        description="Visual tokens of a page at most; a limit of the model's own holds too.",
    )
    dim: int | None = Field(
        None, ge=16, le=8192, description="For dense: keep this many dimensions (MRL); None all."
    )
    instruction: str | None = Field(
        None, description="For dense: what a query asks for; None is the model's own."
    )
    trust_remote_code: bool = Field(
        False, description="Run code that lives with the weights; wants `revision`."
    )
    url: str | None = Field(None, description="For remote: address of the server.")
    api: Literal["pooling", "embeddings"] = Field(
        "pooling", description="For remote: token vectors (vLLM), or one vector (OpenAI)."
    )
    api_key: SecretStr | None = Field(None, description="For remote: bearer key of the server.")
    timeout_s: float = Field(
        60.0, gt=0, le=86_400, description="For remote: time one request may take."
    )
    retry_s: float = Field(
        120.0,
        ge=0,
        le=86_400,
        description="For remote: time that tries of one request may take together.",
    )
    requests: int = Field(4, ge=1, le=256, description="For remote: requests under way at a time.")
    restarts: int = Field(
        3, ge=0, le=100, description="Times one ingest starts a crashed encoder process again."
    )


class FdeSettings(Section):
    """MUVERA fixed-dimensional encoding of the first stage."""

    repetitions: int = Field(40, ge=1, le=100, description="Independent partitions of space.")
    simhash_bits: int = Field(5, ge=0, le=8, description="Hyperplanes a repetition; 2^bits cells.")
    projection_dim: int = Field(16, ge=1, le=1024, description="Dimensions a cell is projected to.")
    seed: int = Field(20240529, ge=0, description="Seed of hyperplanes and projections.")


class PoolingSettings(Section):
    """Fewer vectors a page, made at ingest (docs/adr/0010-token-pooling.md)."""

    method: Literal["none", "hierarchical", "runs", "carve", "grid_rows", "grid_columns"] = Field(
        "none", description="Which vectors of a page are joined."
    )
    factor: int = Field(
        3, ge=1, le=64, description="Vectors that become one, for hierarchical and runs."
    )
    min_similarity: float = Field(
        0.7, gt=0, le=1, description="Cosine with a centre that joins a vector to it, for carve."
    )


class StoreSettings(Section):
    data_dir: Path = Field(Path("octavo-data"), description="Folder of sources, index, manifest.")
    qdrant_url: str | None = Field(None, description="Qdrant server; None is the embedded store.")
    qdrant_api_key: SecretStr | None = Field(None, description="Key of the Qdrant server.")
    qdrant_wait_s: float = Field(
        120.0,
        ge=0,
        le=86_400,
        description="Time that a write waits for a Qdrant server that is away.",
    )
    search_timeout_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="Time that a Qdrant server may take for one search, another try included.",
    )
    batch_pages: int = Field(64, ge=1, le=4096, description="Pages made durable at a time.")
    index_process: bool = Field(
        True,
        description="Whether the embedded store runs in a process of its own, which a full disk or "
        "a crash may end without ending this one.",
    )
    disk_reserve_bytes: int | None = Field(
        None,
        ge=0,
        description="Disk that ingesting leaves free; None is a tenth of the disk, at least 64 MB "
        "and at most 200 MB.",
    )
