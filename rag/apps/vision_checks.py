"""What a vision encoder needs on this machine: its weights, the libraries, a device.

Nothing is fetched, and no model is loaded. torch is imported, to ask it for its devices.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from huggingface_hub import constants
from packaging.requirements import Requirement  # comes with huggingface-hub

from rag.apps.check import EncoderExamination, check, failed, passed, version
from rag.encoders import colpali_families, dense_families
from rag.encoders.checkpoint import Checkpoint, find_checkpoint, weight_files
from rag.errors import ConfigError, RagError
from rag.settings import EncoderSettings
from rag.types import Json

# A model of more makes a page in seconds to minutes on a CPU.
_LARGE_BYTES = 10**9
_INSTALL = "pip install 'octavo[vision]'"
# Of the hub's cache, for people.
_MOST_NAMES = 4
# Reads its own folders; no other model needs it, so it is in no extra.
_OWN_LIBRARY = "sentence-transformers"
# Brought by colpali-engine, for adapters.
_ADAPTERS_WANT = ("peft", "accelerate")

T = TypeVar("T")


@dataclass(frozen=True)
class FoundModel:
    """Weights on this machine that the encoder can read, as far as their headers tell.

    Attributes:
        revision: as a collection remembers it.
        size_bytes: of the files that are loaded, without its base's.
        base: what an adapter goes on top of.
    """

    name: str
    family: str
    revision: str
    folder: Path
    n_files: int
    size_bytes: int
    base: FoundModel | None = None

    @property
    def total_bytes(self) -> int:
        return self.size_bytes + (0 if self.base is None else self.base.size_bytes)

    def as_dict(self) -> Json:
        return {
            "name": self.name,
            "family": self.family,
            "revision": self.revision,
            "folder": str(self.folder),
            "files": self.n_files,
            "size_bytes": self.size_bytes,
            "base": None if self.base is None else self.base.as_dict(),
        }

    def in_words(self) -> str:
        said = f"{self.name}, {self.family}, revision {self.revision}: {self._files()}"
        if self.base is None:
            return said
        return f"{said}, an adapter of {self.base.name}: {self.base._files()}"

    def _files(self) -> str:
        files = "1 file" if self.n_files == 1 else f"{self.n_files} files"
        return f"{files}, {_size(self.size_bytes)}, in {self.folder}"


@dataclass(frozen=True)
class FoundDevice:
    """Where the model would run, and in which numbers."""

    device: str
    reason: str
    dtype: str
    attention: str
    gpus: tuple[tuple[str, int], ...] = ()  # name and memory in bytes

    def as_dict(self) -> Json:
        return {
            "device": self.device,
            "reason": self.reason,
            "dtype": self.dtype,
            "attention": self.attention,
            "gpus": [{"name": name, "memory_bytes": memory} for name, memory in self.gpus],
        }

    def in_words(self) -> str:
        return f"{self.device}: {self.reason}; {self.dtype}, attention {self.attention}"


def examine_vision(settings: EncoderSettings) -> EncoderExamination:
    model = _tried(lambda: find_model(settings))
    missing = _missing_packages()
    needed = [
        failed("encoder weights", model)
        if isinstance(model, RagError)
        else passed("encoder weights", model.in_words()),
        check("vision extra", lambda: _vision_extra(missing)),
    ]
    if isinstance(model, FoundModel) and model.family == _OWN_LIBRARY:
        needed.append(check(_OWN_LIBRARY, _own_library))
    device: FoundDevice | RagError | None = None
    if "torch" not in missing:
        device = _tried(lambda: find_device(settings))
        size_bytes = 0 if isinstance(model, RagError) else model.total_bytes
        needed.append(_device_check(device, size_bytes))
    in_cache = models_in_cache()
    return EncoderExamination(
        needed,
        [passed("hub cache", _cache_in_words(in_cache))],
        {each: version(each) for each in (*(want.name for want in _wanted()), *_ADAPTERS_WANT)},
        {
            "encoder_model": model.as_dict() if isinstance(model, FoundModel) else None,
            "encoder_device": device.as_dict() if isinstance(device, FoundDevice) else None,
            "hub_models": [each.as_dict() for each in in_cache],
        },
    )


# --- weights ------------------------------------------------------------------------------------
def find_model(settings: EncoderSettings) -> FoundModel:
    """Raises as `find_checkpoint` and the encoder's `family_of` do, but asks no hub."""
    checkpoint = find_checkpoint(settings, fetch=False)
    if settings.name == "colpali":
        return _described(checkpoint, colpali_families.family_of(checkpoint).name)
    return _described(checkpoint, dense_families.family_of(checkpoint).name)


def _described(checkpoint: Checkpoint, family: str) -> FoundModel:
    files = weight_files(checkpoint)
    return FoundModel(
        name=checkpoint.name,
        family=family,
        revision=checkpoint.revision,
        folder=checkpoint.folder.absolute(),
        n_files=len(files),
        size_bytes=sum(file.stat().st_size for file in files),
        base=None if checkpoint.base is None else _described(checkpoint.base, family),
    )


def models_in_cache() -> list[FoundModel]:
    """Whole models in the hub's cache that were made for one of the vision encoders, by name."""
    found = []
    for folder in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        model = folder.name.removeprefix("models--").replace("--", "/")
        for name in ("colpali", "dense"):
            try:
                each = find_model(EncoderSettings(name=name, model=model))
            except (RagError, OSError):
                continue
            if name == "dense" or _is_for_pages(each):
                found.append(each)
                break
    return found


def _is_for_pages(model: FoundModel) -> bool:
    """Whether its class says so; the chat models that these families grew from are of no use."""
    config = model.folder / "config.json"
    return model.base is not None or f'"{model.family}"' in config.read_text(encoding="utf-8")


def _cache_in_words(models: list[FoundModel]) -> str:
    if not models:
        return f"no model for colpali or dense in {constants.HF_HUB_CACHE}"
    named = [f"{model.name} ({_size(model.total_bytes)})" for model in models[:_MOST_NAMES]]
    if len(models) > _MOST_NAMES:
        named.append(f"{len(models) - _MOST_NAMES} more (--json names them)")
    return ", ".join(named)


# --- libraries ----------------------------------------------------------------------------------
def _wanted() -> list[Requirement]:
    """What the extra of this version of Octavo asks for."""
    stated = [Requirement(each) for each in importlib.metadata.requires("octavo") or ()]
    return [
        each
        for each in stated
        if each.marker
        and each.marker.evaluate({"extra": "vision"})
        and not each.marker.evaluate({"extra": ""})
    ]


def _missing_packages() -> list[str]:
    return [each.name for each in _wanted() if not _is_importable(each.name)]


def _is_importable(distribution: str) -> bool:
    return importlib.util.find_spec(distribution.replace("-", "_")) is not None


def _vision_extra(missing: list[str]) -> str:
    if missing:
        raise ConfigError(f"{', '.join(missing)} not installed", next_step=f"Run `{_INSTALL}`.")
    versions = [(each, version(each.name)) for each in _wanted()]
    wrong = [
        f"{each.name} {version}, wanted {each.specifier}"
        for each, version in versions
        if version is None or not each.specifier.contains(version, prereleases=True)
    ]
    if wrong:
        raise ConfigError(
            f"untried versions, which may load weights wrongly: {'; '.join(wrong)}",
            next_step=f"Run `{_INSTALL}`.",
        )
    said = ", ".join(f"{each.name} {version}" for each, version in versions)
    if _torchvision() == "named":
        return f"{said}; torchvision's operators, missing beside this torch, are mended"
    return said


def _own_library() -> str:
    if not _is_importable(_OWN_LIBRARY):
        raise ConfigError(
            "the model is a folder of this library, which is not installed",
            next_step=f"Run `pip install {_OWN_LIBRARY}`.",
        )
    return str(version(_OWN_LIBRARY))


def _torchvision() -> str:
    from rag.encoders.torchvision_guard import ensure_torchvision

    try:
        return ensure_torchvision()
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"torchvision does not load: {_first_line(error)}",
            next_step=f"Install torch and torchvision anew, with `{_INSTALL}`.",
        ) from error


# --- device -------------------------------------------------------------------------------------
def find_device(settings: EncoderSettings) -> FoundDevice:
    """Raises ConfigError where torch does not load, or what the settings ask for is not there."""
    try:
        import torch

        from rag.encoders.torch_runtime import choose_attention, choose_device, choose_dtype
    except (ImportError, OSError) as error:  # OSError: a library that torch loads is missing
        raise ConfigError(
            f"torch does not load: {_first_line(error)}", next_step="Install torch anew."
        ) from error
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    attention = choose_attention(settings.attention, device, dtype)
    gpus: tuple[tuple[str, int], ...] = ()
    if device.type == "cuda":
        every = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        gpus = tuple((str(each.name), int(each.total_memory)) for each in every)
        reason = ", ".join(f"{name} with {_size(memory)}" for name, memory in gpus)
    elif settings.device == "cpu":
        reason = "encoder.device is cpu"
    elif torch.version.cuda is None:
        reason = "this torch is built for the CPU"
    else:
        reason = "torch sees no GPU"
    return FoundDevice(device.type, reason, str(dtype).removeprefix("torch."), attention, gpus)


def _device_check(device: FoundDevice | RagError, size_bytes: int) -> Json:
    name = "encoder device"
    if isinstance(device, RagError):
        return failed(name, device)
    if device.device != "cpu" or size_bytes <= _LARGE_BYTES:
        return passed(name, device.in_words())
    return passed(
        name,
        f"{device.in_words()}; a model of {_size(size_bytes)} takes seconds to minutes a page here",
        next_step="For more than a few pages use a GPU (with torch built for it), a server "
        "(encoder remote), or a smaller model.",
    )


# --- words --------------------------------------------------------------------------------------
def _tried(run: Callable[[], T]) -> T | RagError:
    try:
        return run()
    except RagError as error:
        return error


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 10**7 else f"{size_bytes / 1e6:.2f} MB"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:300]
