"""Whether a server makes what the same model makes here: both encode the built-in pages and
questions, and every score between them must come out alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rag.encoders.checkpoint import find_checkpoint
from rag.encoders.self_test import QUERIES, page_inputs
from rag.errors import ModelFailed, RagError
from rag.geometry import FloatArray
from rag.ports import PageEncoder, TellsNotices
from rag.scoring.maxsim import maxsim
from rag.settings import EncoderSettings
from rag.types import Notice

# bfloat16 and another attention kernel stay below these; another prompt, size of image, rotation
# of channels or checkpoint does not.
_MIN_COSINE = 0.99
_MIN_SHARE = 0.95  # of rows; the few that attend to next to nothing are noise in any precision
_MAX_DIFFERENCE = 0.02  # of a score, for each row of the question

_NEXT_STEP = (
    "Serve the checkpoint that encoder.model names, with its own prompts and its own limits of "
    "image size (vLLM: --mm-processor-kwargs), or point encoder.model at the checkpoint served."
)


@dataclass(frozen=True)
class Parity:
    """What the comparison said; `is_checked` is False where there was nothing to compare with."""

    is_checked: bool
    detail: str

    def notice(self) -> Notice:
        if self.is_checked:
            return Notice("parity_checked", f"The embedding server was compared: {self.detail}.")
        return Notice(
            "parity_not_checked",
            "Whether the embedding server runs the model as its makers do was not checked: "
            f"{self.detail}.",
        )


def describe_server(
    settings: EncoderSettings, load: Callable[[EncoderSettings], PageEncoder]
) -> str:
    """What runs behind `encoder.url`, and whether it does what it should, in a line.

    Raises:
        ConfigError, ModelFailed: as `RemoteEncoder.connect` and `check_parity` raise them.
    """
    remote = load(settings)
    try:
        found = check_parity(remote, settings, load)
        identity = remote.identity
        places = "" if identity.settings["boxes"] == "processor" else ", rows without places"
        if isinstance(remote, TellsNotices):
            places += "".join(f" ({notice.message})" for notice in remote.take_notices())
        checked = "compared with the weights here" if found.is_checked else "not compared"
        return f"{identity.revision}, dim {identity.dim}{places}; {checked}: {found.detail}"
    finally:
        remote.close()


def check_parity(
    remote: PageEncoder,
    settings: EncoderSettings,
    load: Callable[[EncoderSettings], PageEncoder],
) -> Parity:
    """Compare the server with the weights that `encoder.model` names, where they are here.

    Args:
        remote: already connected.
        settings: of the remote encoder.
        load: makes an encoder from settings; the one it makes is closed again.

    Raises:
        ModelFailed: `parity_failed`, and what the server answers wrong.
    """
    if settings.model is None:
        return Parity(False, "encoder.model does not say which weights to compare it with")
    try:
        # To look at what a server runs is no reason to download it.
        find_checkpoint(settings, fetch=False)
    except RagError as error:
        return Parity(False, error.message)
    kind = "colpali" if settings.api == "pooling" else "dense"
    try:
        local = load(settings.model_copy(update={"name": kind}))
    except RagError as error:
        return Parity(False, f"the weights here cannot be used: {error.message}")
    try:
        return Parity(True, compare(local, remote))
    finally:
        local.close()


def compare(local: PageEncoder, remote: PageEncoder) -> str:
    """How alike they are, in words. Raises ModelFailed `parity_failed`."""
    if local.identity.dim != remote.identity.dim:
        raise _failed(
            f"vectors of {remote.identity.dim} dimensions come from the server, "
            f"{local.identity.dim} from the weights here"
        )
    inputs = page_inputs()
    ours = [page.patches.vectors for page in local.encode_pages(inputs)]
    theirs = [page.patches.vectors for page in remote.encode_pages(inputs)]
    our_queries = [local.encode_query(text).tokens.vectors for text in QUERIES]
    their_queries = [remote.encode_query(text).tokens.vectors for text in QUERIES]

    cosines = [
        *_cosines("page", ours, theirs),
        *_cosines("question", our_queries, their_queries),
    ]
    expected = _scores(our_queries, ours)
    difference = 0.0
    for what, found in (
        ("pages", _scores(our_queries, theirs)),
        ("questions", _scores(their_queries, ours)),
        ("pages and questions", _scores(their_queries, theirs)),
    ):
        largest = float(np.abs(found - expected).max())
        if largest > _MAX_DIFFERENCE:
            raise _failed(
                f"scores with {what} of the server differ by up to {largest:.3f} for each row of "
                f"the question, where {_MAX_DIFFERENCE} is allowed"
            )
        difference = max(difference, largest)
    rows = f"rows agree to a cosine of {min(cosines):.4f}" if cosines else "rows are not paired"
    return f"{rows}, scores within {difference:.4f} for each row of the question"


def _cosines(what: str, ours: Sequence[FloatArray], theirs: Sequence[FloatArray]) -> list[float]:
    """Of rows that stand for the same token, one low quantile for each item; none where the server
    adds or leaves out tokens of its own, which the scores then tell about.
    """
    quantiles = []
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1):
        if len(one) != len(other):
            continue
        cosines = (one * other).sum(axis=1)
        quantiles.append(float(np.quantile(cosines, 1 - _MIN_SHARE)))
        if quantiles[-1] < _MIN_COSINE:
            raise _failed(
                f"of the {len(one)} rows of built-in {what} {number}, "
                f"{int((cosines < _MIN_COSINE).sum())} have a cosine below {_MIN_COSINE} with "
                "those made here"
            )
    return quantiles


def _scores(queries: Sequence[FloatArray], pages: Sequence[FloatArray]) -> FloatArray:
    """(n_queries, n_pages): MaxSim for each row of the query, within -1 and 1."""
    return np.array(
        [[maxsim(query, page) / len(query) for page in pages] for query in queries], np.float32
    )


def _failed(difference: str) -> ModelFailed:
    return ModelFailed(
        f"the embedding server is no replacement for its model: {difference}",
        code="parity_failed",
        next_step=_NEXT_STEP,
    )
