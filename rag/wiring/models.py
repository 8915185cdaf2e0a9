"""Models and searches as the settings name them; what an extra or a GPU brings is imported then."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import assert_never

from rag.chat.choose import chat_model
from rag.encoders.minilm import MiniLm
from rag.encoders.words import WordsEncoder
from rag.errors import ConfigError
from rag.ports import ChatModel, PageEncoder
from rag.scoring.cascade import Cascade, CascadeWidths, PackedSearch
from rag.scoring.device import choose_device
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.settings import ChatSettings, EncoderSettings, FdeSettings, RetrievalSettings


def cascade_widths(settings: RetrievalSettings) -> CascadeWidths:
    return CascadeWidths(
        fde=settings.candidates,
        bits=settings.int8_candidates,
        rescore=settings.exact_pages,
        scan_rows=settings.scan_rows,
    )


def packed_search(fde: FdeEncoder, settings: RetrievalSettings) -> PackedSearch:
    """What finds pages by MaxSim on this machine.

    Raises:
        ConfigError: a CUDA device is asked for and cannot be had.
    """
    widths = cascade_widths(settings)
    cascade = Cascade(fde, widths)
    device = choose_device(settings.device).name
    if device == "cpu":
        return cascade
    from rag.scoring.device_scan import DeviceScan  # brings torch

    return DeviceScan(
        cascade, device=device, rescore=widths.rescore, budget_bytes=settings.device_bytes
    )


def load_encoder(chosen: EncoderSettings) -> PageEncoder:
    """Raises ConfigError or BackendError where its weights are not to be had. Close it."""
    if chosen.name not in ("colpali", "dense"):
        return load_encoder_here(chosen)
    from rag.encoders.process import EncoderProcess  # processes that words do without

    # Without a GPU to be seen there is nothing to share the pages among.
    devices = ("",) if chosen.device == "cpu" else None
    load = partial(load_encoder_here, chosen)
    return EncoderProcess(load, devices=devices, restarts=chosen.restarts)


def load_encoder_here(chosen: EncoderSettings) -> PageEncoder:
    """The encoder in this process, where a crash of its libraries is ours."""
    match chosen.name:
        case "words":
            return WordsEncoder(MiniLm.load(chosen.weights, threads=chosen.threads))
        case "colpali":
            _require_vision_extra(chosen.name)
            if chosen.trust_remote_code:
                from rag.encoders.own_rows import OwnRowsEncoder

                return OwnRowsEncoder.load(chosen)
            from rag.encoders.colpali import ColPaliEncoder  # brings torch

            return ColPaliEncoder.load(chosen)
        case "dense":
            _require_vision_extra(chosen.name)
            from rag.encoders.dense import DenseEncoder  # brings torch

            return DenseEncoder.load(chosen)
        case "remote":
            from rag.encoders.remote import RemoteEncoder  # a client that only servers want

            return RemoteEncoder.connect(chosen)
        case "custom":
            from rag.encoders.custom import load_custom_encoder  # runs code that settings name

            return load_custom_encoder(chosen)
        case other:
            assert_never(other)


def _require_vision_extra(name: str) -> None:
    if importlib.util.find_spec("colpali_engine") is None:
        raise ConfigError(
            f"the {name} encoder is not installed",
            next_step="Install it with pip install 'octavo[vision]'.",
        )


def load_chat(chosen: ChatSettings) -> ChatModel | None:
    """The chat model of the settings, None where they name none. Close it.

    Raises:
        ConfigError: a model without a server, a provider without its package.
        ModelFailed: a local model that cannot be loaded.
    """
    if chosen.model is None or chosen.provider == "openai":
        return chat_model(chosen)
    if chosen.provider == "local":
        from rag.local_chat.choose import local_chat  # brings torch where it is asked for

        return local_chat(chosen)
    from rag.langchain_adapter import LangChainChat  # a library that other providers do without

    return LangChainChat.connect(chosen)


def fde_spec(chosen: FdeSettings, *, dim: int) -> FdeSpec:
    return FdeSpec(
        dim=dim,
        repetitions=chosen.repetitions,
        simhash_bits=chosen.simhash_bits,
        projection_dim=chosen.projection_dim,
        seed=chosen.seed,
    )
