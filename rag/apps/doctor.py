"""What is installed and would be used, and what is missing with how to get it. Opens no index."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from rag.apps.check import EncoderExamination, check, failed, qdrant_server, version
from rag.encoders.weights import find_weights
from rag.errors import ConfigError, RagError
from rag.ocr.choose import choose_engine, describe_engine, how_to_get_one, installed_engines
from rag.renderers.choose import choose_renderer, pdf_readers
from rag.renderers.sandbox import missing, probe
from rag.scoring import native
from rag.scoring.device import choose_device
from rag.settings import OcrSettings, RenderSettings, RetrievalSettings, Settings
from rag.types import Json

_PACKAGES = ("octavo", "numpy", "onnxruntime", "qdrant-edge-py", "qdrant-client", "tokenizers")


def examine(settings: Settings, *, tuning_fault: RagError | None = None) -> Json:
    """Checks of name, ok, detail and next step; `usable` when none that counts fails.

    Args:
        settings: what would be used.
        tuning_fault: why what was tuned for the collection cannot be read, which ends its searches.
    """
    device = check("scoring device", lambda: _scoring_device(settings.retrieval))
    encoder = _encoder(settings)
    needed = [
        check("renderer", lambda: choose_renderer(settings.render.renderer).name),
        *encoder.needed,
        check("data folder", lambda: _data_folder(settings.store.data_dir)),
        device,
    ]
    readers = check("reading processes", lambda: _reading(settings.render))
    if settings.render.sandbox == "require":
        needed.append(readers)
    if tuning_fault is not None:
        needed.append(failed("tuning", tuning_fault))
    optional = [
        {
            "name": f"renderer {reader.name}",
            "ok": reader.is_installed,
            "detail": "installed" if reader.is_installed else "not installed",
            "next_step": "" if reader.is_installed else reader.how_to_get,
        }
        for reader in pdf_readers()
    ]
    if settings.render.sandbox != "require":
        optional.append(readers)
    optional += [*encoder.optional, _native_kernels()]
    if (server := qdrant_server(settings.store)) is not None:
        # Says nothing of what is installed here: a server can be down for a while.
        optional.append(server)
    if settings.ocr.mode != "off":
        ocr = _ocr(settings.ocr)
        # Without any engine pages keep their own words; what is asked for by name has to be there.
        (optional if settings.ocr.engine == "auto" and not installed_engines() else needed).append(
            ocr
        )
    answers_by_chat = settings.answer.model == "chat"
    if settings.chat.model is not None or answers_by_chat:
        found = check("chat model", lambda: _chat(settings))
        (needed if answers_by_chat else optional).append(found)
    if (method := settings.retrieval.rerank.method) != "none":
        found = check("reranker", lambda: _reranker(settings))
        # A search goes on without a server; without the files of a model it does not begin.
        (needed if method in ("cross_encoder", "qwen3_vl") else optional).append(found)
    return {
        "usable": all(each["ok"] for each in needed),
        "encoder": settings.encoder.name,
        **encoder.facts,
        "device": device["detail"].split(":")[0]
        if device["ok"]
        else f"{settings.retrieval.device}, which cannot be had",
        "store": settings.store.qdrant_url or "embedded (Qdrant Edge)",
        "answer_model": f"chat: {settings.chat.model}"
        if answers_by_chat
        else settings.answer.model,
        "checks": [*needed, *optional],
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(terse=True),
            "cpus": os.cpu_count(),
            "packages": {name: version(name) for name in _PACKAGES} | encoder.packages,
        },
        "settings": settings.model_dump(mode="json"),
    }


def _encoder(settings: Settings) -> EncoderExamination:
    if settings.encoder.name in ("colpali", "dense"):
        from rag.apps.vision_checks import examine_vision  # what words do without

        return examine_vision(settings.encoder)
    if settings.encoder.name == "remote":
        return EncoderExamination([check("encoder server", lambda: _server(settings))])
    return EncoderExamination([check("encoder weights", lambda: _weights(settings))])


def _reading(render: RenderSettings) -> str:
    limits = f"{render.worker_memory_bytes / 1e9:g} GB each, {render.page_timeout_s:g} s a page"
    if render.sandbox == "off":
        return f"not confined, as render.sandbox is off; {limits}"
    found = probe()
    if not found.is_whole:
        raise missing(found, found.describe())
    return f"{found.describe()}, {limits}"


def _native_kernels() -> Json:
    status = native.status()
    return {
        "name": "native kernels",
        "ok": status.is_used,
        "detail": f"in use: {status.detail}" if status.is_used else f"not in use: {status.detail}",
        "next_step": status.next_step,
    }


def _scoring_device(retrieval: RetrievalSettings) -> str:
    choice = choose_device(retrieval.device)
    if choice.name == "cpu":
        return f"cpu: {choice.reason}"
    budget = retrieval.device_bytes
    most = "80 % of what is free then" if budget is None else f"{budget:,} bytes"
    return (
        f"{choice.name}: {choice.reason}; a collection's pages go there at its first search, "
        f"within {most}"
    )


def _weights(settings: Settings) -> str:
    files = find_weights(settings.encoder.weights, fetch=False)
    return f"all-MiniLM-L6-v2, verified ({files.model.stat().st_size / 1e6:.0f} MB)"


def _server(settings: Settings) -> str:
    from rag.encoders.parity import describe_server  # these two bring every encoder
    from rag.wiring import load_encoder

    return describe_server(settings.encoder, load_encoder)


def _ocr(chosen: OcrSettings) -> Json:
    def found() -> str:
        engine = choose_engine(chosen.engine, chosen.languages)
        if engine is None:
            raise ConfigError(
                "no engine is installed: pages without words of their own are not found by words",
                next_step=how_to_get_one(),
            )
        return describe_engine(engine)

    return check("OCR", found)


def _reranker(settings: Settings) -> str:
    from rag.rerankers.choose import describe
    from rag.wiring import load_chat  # brings what the provider needs

    chosen = settings.retrieval.rerank
    chat = load_chat(settings.chat) if chosen.method.startswith("vlm") else None
    try:
        return describe(chosen, chat)
    finally:
        if chat is not None:
            chat.close()


def _chat(settings: Settings) -> str:
    if settings.chat.model is None:
        raise ConfigError(
            "answer.model is chat, and there is no chat model",
            next_step="Set chat.model with chat.url or chat.provider, or answer.model extractive.",
        )
    if settings.chat.provider == "openai":
        from rag.chat.choose import describe  # a client that only servers want

        return describe(settings.chat)
    if settings.chat.provider == "local":
        from rag.local_chat.choose import describe as describe_local  # what other ways do without

        return describe_local(settings.chat)
    from rag.langchain_adapter import LangChainChat  # a library that other ways do without

    chat = LangChainChat.connect(settings.chat)
    return f"{chat.model_id} of {settings.chat.provider}; it was not asked anything"


def _data_folder(folder: Path) -> str:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise RagError(f"{folder} cannot be written", next_step="Choose another with --data-dir.")
    state = "there" if folder.exists() else "made at first use"
    return f"{state}, {shutil.disk_usage(place).free / 1e9:.0f} GB free"
