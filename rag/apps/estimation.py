"""`estimate` for every face: no data folder is opened or made, so nobody has to let go of one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ingestion.embed import Embedder
from ingestion.estimate import Estimate, Progress, estimate, typical_spec
from ingestion.source import discover
from rag.page_pack import PackSpec
from rag.renderers.isolated import IsolatedReader
from rag.scoring.fde import FdeEncoder
from rag.settings import Settings
from rag.types import Json, Notice
from rag.wiring import fde_spec, load_encoder


def estimate_ingest(
    settings: Settings,
    paths: Sequence[Path],
    *,
    sample: bool,
    password: str | None,
    progress: Progress,
) -> Json:
    """Raises InputError for paths without any document that can be read, and as `load_encoder`."""
    files = discover(paths, max_file_bytes=settings.render.max_file_bytes)
    with ExitStack() as opened:
        isolated = opened.enter_context(IsolatedReader(settings.render, ocr=settings.ocr))
        embedder, spec = None, typical_spec(settings)
        if sample:
            encoder = load_encoder(settings.encoder)
            opened.callback(encoder.close)
            fde = FdeEncoder(fde_spec(settings.fde, dim=encoder.identity.dim))
            embedder = Embedder(encoder, fde, settings.pooling)
            spec = PackSpec(encoder.identity.dim, fde.spec.fde_size, fde.fingerprint)
        found = estimate(
            files,
            isolated=isolated,
            embedder=embedder,
            spec=spec,
            settings=settings,
            password=password,
            progress=progress,
        )
    free_bytes = _free_bytes(settings.store.data_dir)
    return {
        **found.as_dict(),
        "free_bytes": free_bytes,
        "warnings": [notice.as_dict() for notice in _notices(found, settings, free_bytes)],
    }


def _free_bytes(folder: Path) -> int:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _notices(found: Estimate, settings: Settings, free_bytes: int) -> list[Notice]:
    notices: list[Notice] = []
    disk = found.disk_bytes
    if not found.is_embedded:
        disk.pop("index")
        notices.append(
            Notice(
                "index_elsewhere",
                "the index goes to the Qdrant server, not to this disk; its size there is "
                "estimated as that of the embedded one",
            )
        )
    wanted = sum(disk.values())
    if wanted > free_bytes:
        notices.append(
            Notice(
                "too_little_disk",
                f"the data folder needs {wanted:,} bytes and {free_bytes:,} are free; make room, "
                "or choose another disk with --data-dir",
            )
        )
    if found.sample is None and settings.pooling.method != "none":
        notices.append(
            Notice(
                "pooling_not_counted",
                "without a sample the sizes are those of pages that are not pooled",
            )
        )
    return notices
