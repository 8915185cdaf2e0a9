"""Every setting: a default, a bound, a unit, a sentence.

Precedence: flag > environment (`OCTAVO_...`, `QDRANT_URL`, `QDRANT_API_KEY`) > file > what was
tuned for the collection (`rag.tuned`) > default.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from rag.errors import ConfigError


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RenderSettings(Section):
    """Reading PDFs in isolated processes."""

    renderer: Literal["auto", "pymupdf", "pypdfium2", "pdf2image"] = Field(
        "auto", description="Which library reads PDFs; auto takes the fastest installed."
    )
    workers: int = Field(2, ge=1, le=64, description="Processes that read pages.")
    dpi: float = Field(150.0, gt=0, le=1200, description="Resolution of page images.")
    max_px: int = Field(36_000_000, ge=10_000, description="Pixels of one page image at most.")
    page_timeout_s: float = Field(30.0, gt=0, description="Time one page may take to read.")
    worker_memory_bytes: int = Field(
        1_500_000_000, ge=200_000_000, description="Address space one reading process may add."
    )
    max_file_bytes: int = Field(200_000_000, ge=1, description="Size of one file at most.")
    max_pages: int = Field(10_000, ge=1, description="Pages of one file at most.")
    image_cache_bytes: int = Field(
        256_000_000, ge=0, description="Disk that rendered page images may take."
    )


class EncoderSettings(Section):
    """Who makes the vectors. `words` needs nothing else; the others want `model`."""

    name: Literal["words", "colpali", "dense", "remote"] = Field(
        "words", description="Which encoder makes the vectors."
    )
    model: str | None = Field(
        None, description="Model id on the hub, or a folder with its files (not for words)."
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
    timeout_s: float = Field(60.0, gt=0, description="For remote: time one request may take.")
    retry_s: float = Field(
        120.0, ge=0, description="For remote: time that tries of one request may take together."
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
    batch_pages: int = Field(64, ge=1, le=4096, description="Pages made durable at a time.")


class LegWeights(Section):
    """What each leg's z-score counts for in the fused score (docs/adr/0009-fusion.md)."""

    words: float = Field(1.0, ge=0, description="BM25 over the page's words.")
    dense: float = Field(1.0, ge=0, description="Best window's pooled vector.")
    patches: float = Field(0.5, ge=0, description="MaxSim over the page's vectors.")
    heading_words: float = Field(0.5, ge=0, description="BM25 over headings.")
    headings: float = Field(0.5, ge=0, description="MaxSim over headings.")
    document: float = Field(2.0, ge=0, description="How well the document fits the question.")
    prior: float = Field(0.75, ge=0, description="Page prior: figures repeated elsewhere, as log.")


class RetrievalSettings(Section):
    """Which pages are scored, and how the legs are weighted."""

    top_k: int = Field(5, ge=1, le=50, description="Pages that come back.")
    candidates: int = Field(500, ge=1, description="Pages the FDE stage hands to the sign bits.")
    int8_candidates: int = Field(100, ge=1, description="Pages the sign bits hand to int8 MaxSim.")
    scan_rows: int = Field(
        2_000_000, ge=0, description="Up to so many page vectors in scope, sign bits see all pages."
    )
    exact_pages: int = Field(
        12, ge=0, description="Best pages, those shown at least, whose MaxSim is made exact."
    )
    leg_candidates: int = Field(60, ge=1, description="Pages every other leg hands on.")
    top_documents: int = Field(3, ge=0, description="Best-fitting documents searched once more.")
    document_candidates: int = Field(100, ge=1, description="Pages a leg hands on from those.")
    scan_pages: int = Field(
        200, ge=0, description="Up to so many pages in scope, all of them are scored."
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
    fusion: Literal["zscore", "rrf"] = Field("zscore", description="How the legs are joined.")
    rrf_k: int = Field(60, ge=1, description="Reciprocal rank fusion constant.")
    weights: LegWeights = LegWeights()


class AnswerSettings(Section):
    model: Literal["extractive"] = Field("extractive", description="Who answers.")
    answer_pages: int = Field(5, ge=1, le=50, description="Pages shown to the answer model.")
    min_confidence: float = Field(
        0.45, ge=0, le=1, description="An answer below this is withheld (docs/calibration.md)."
    )


class Settings(Section):
    render: RenderSettings = RenderSettings()
    encoder: EncoderSettings = EncoderSettings()
    pooling: PoolingSettings = PoolingSettings()
    fde: FdeSettings = FdeSettings()
    store: StoreSettings = StoreSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    answer: AnswerSettings = AnswerSettings()


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


_PREFIX = "OCTAVO_"
# They begin like a setting and are none: one is short for a setting, one chooses the kernels, one
# is the command line's, by one the tests find the processes they started.
_NO_SETTINGS = frozenset(
    {"OCTAVO_DATA_DIR", "OCTAVO_NATIVE", "OCTAVO_TRACEBACK", "OCTAVO_TEST_MARK"}
)


def _fields(
    section: type[BaseModel], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every setting below a section, with the names that lead to it."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from _fields(inner, (*path, name))
        else:
            yield (*path, name), field


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """`OCTAVO_SECTION__KEY=value`, `__` for each level, and the names other programs share.

    Raises:
        ConfigError: a name that begins with OCTAVO_ and is no setting.
    """
    known = {_PREFIX + "__".join(path).upper(): path for path, _ in _fields(Settings)}
    found: dict[str, Any] = {}
    for name, value in environ.items():
        if not name.startswith(_PREFIX) or name in _NO_SETTINGS:
            continue
        if name not in known:
            raise _no_setting(name, known)
        *sections, key = known[name]
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    for name, key in (
        ("OCTAVO_DATA_DIR", "data_dir"),
        ("QDRANT_URL", "qdrant_url"),
        ("QDRANT_API_KEY", "qdrant_api_key"),
    ):
        if environ.get(name):
            found.setdefault("store", {})[key] = environ[name]
    return found


def load_settings(
    file: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read settings in their order of precedence.

    Args:
        file: TOML, sections as in Settings.
        overrides: what flags said, nested by section.
        environ: defaults to the process environment.

    Raises:
        ConfigError: a file that is missing or not TOML, an unknown key, a value out of bounds.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        try:
            merged = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(
                f"no settings file {file.name!r}", next_step="Check the path given to --config."
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{file.name} is not readable TOML: {error}") from error
    merged = _merge(merged, _from_environment(os.environ if environ is None else environ))
    merged = _merge(merged, overrides or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        fields = {".".join(path): field for path, field in _fields(Settings)}
        if first["type"] == "extra_forbidden":
            raise _no_setting(where, fields) from error
        about = f". {_described(fields[where])}" if where in fields else ""
        raise ConfigError(
            f"setting {where}: {first['msg']}{about}",
            next_step="Correct it in the flag, the environment or the settings file that sets it.",
        ) from error


def _no_setting(name: str, known: Iterable[str]) -> ConfigError:
    spellings = {each.upper(): each for each in known}
    (nearest,) = difflib.get_close_matches(name.upper(), spellings, n=1, cutoff=0)
    return ConfigError(
        f"there is no setting {name}", next_step=f"Did you mean {spellings[nearest]}?"
    )


_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _described(field: FieldInfo) -> str:
    """As in "Pages that come back. At least 1, at most 50; default 5."."""
    bounds = ", ".join(
        f"{words} {getattr(bound, name)}"
        for bound in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(bound, name)
    )
    default = f"default {'none' if field.default is None else field.default}"
    text = f"{bounds}; {default}" if bounds else default
    return f"{field.description} {text[0].upper()}{text[1:]}."
