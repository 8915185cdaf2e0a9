"""Finds a model's files on this machine, and says exactly which they are.

Only safetensors are read: other formats can run code when they are loaded. What did not load is an
error, never a warning.
"""

from __future__ import annotations

import fnmatch
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from rag.encoders.folder_digest import folder_digest
from rag.encoders.hub import BASE_FOLDER, UNREACHABLE, wanted_files
from rag.encoders.library_reasons import library_reason
from rag.errors import ConfigError, ModelFailed, RagError
from rag.hub_errors import hub_errors
from rag.settings import EncoderSettings
from rag.types import Json

_UNSAFE = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack")
_INDEX = "model.safetensors.index.json"
_ADAPTER_CONFIG, _ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
_SHORT = 16
_PULL_AGAIN = "Fetch the model again with `octavo models pull`."


@dataclass(frozen=True)
class Checkpoint:
    """A model's files, whole and readable as far as their headers tell.

    Attributes:
        name: the id on the hub, or the folder's last name.
        folder: what `encoder.model` means on this machine; for an adapter, the adapter's.
        revision: commit on the hub, or digest of a local folder; an adapter's with its base's.
        config: config.json of the whole model, for an adapter its base's.
        adapter: adapter_config.json; None for a whole model.
        base: what an adapter goes on top of.
        trust_remote_code: code that lives with the weights may run; `revision` says which.
    """

    name: str
    folder: Path
    revision: str
    config: Json
    adapter: Json | None = None
    base: Checkpoint | None = None
    trust_remote_code: bool = False

    @property
    def model_folder(self) -> Path:
        """Where config.json and the weights of the whole model are."""
        return self.folder if self.base is None else self.base.folder

    @property
    def processor_folder(self) -> Path:
        """An adapter has its own processor, or none and takes its base's."""
        own = any((self.folder / name).is_file() for name in _PROCESSOR_FILES)
        return self.folder if own else self.model_folder

    @property
    def folders(self) -> dict[Path, str]:
        """Where its files are, an adapter's base's too, and the name of the model in each."""
        own = {self.folder: self.name}
        if _is_snapshot(self.folder):  # whose files are links to others beside it
            own[self.folder.parent.parent] = self.name
        return own if self.base is None else {**own, **self.base.folders}


def find_checkpoint(settings: EncoderSettings, *, fetch: bool = True) -> Checkpoint:
    """The model of `encoder.model`: a folder, else the hub's cache, else fetched from the hub.

    Args:
        settings: of the encoder.
        fetch: False asks no hub, and takes what is on this machine.

    Raises:
        ConfigError: no model named; `no_model`, `bad_model`, `unsafe_weights`; `wrong_revision`, a
            folder's files are not those `encoder.revision` names; code to run at no revision.
        InputError: `unknown_model`, `unknown_revision`, `gated_model`, as the hub says.
        ModelFailed: `weights_missing`, `weights_damaged`.
    """
    if not settings.model:
        raise ConfigError(
            f"the {settings.name} encoder wants a model",
            next_step="Set encoder.model to a model id on the hub or to a folder.",
        )
    return _find(settings.model, settings.revision, code=settings.trust_remote_code, fetch=fetch)


def weight_files(checkpoint: Checkpoint) -> list[Path]:
    """The files that are loaded; an adapter's without its base's."""
    return _weights(checkpoint.name, checkpoint.folder, is_adapter=checkpoint.adapter is not None)


def require_loaded(
    loading_info: Mapping[str, Any], name: str, *, given: Iterable[str] = ()
) -> None:
    """Refuse a model of which some weights are still random.

    Args:
        loading_info: as `from_pretrained(..., output_loading_info=True)` returns it.
        name: of the model, for people.
        given: keys that something else (an adapter) brings.

    Raises:
        ModelFailed: `weights_incomplete`.
    """
    given = set(given)
    missing = sorted(key for key in loading_info.get("missing_keys", ()) if key not in given)
    mismatched = sorted(
        key if isinstance(key, str) else str(key[0])
        for key in loading_info.get("mismatched_keys", ())
    )
    errors = sorted(str(each) for each in loading_info.get("error_msgs") or ())
    if not (missing or mismatched or errors):
        return
    found = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for keys, what in (
            (missing, "missing"),
            (mismatched, "of another shape"),
            (errors, "unreadable"),
        )
        if keys
    ]
    raise ModelFailed(
        f"the weights of {name} did not all load: {'; '.join(found)}",
        code="weights_incomplete",
        next_step="Fetch the model again with `octavo models pull`, or name a model that was made "
        "for retrieving pages.",
    )


@contextmanager
def load_errors(checkpoint: Checkpoint) -> Iterator[None]:
    """What a library raises while it reads a checkpoint, as ModelFailed `load_failed`."""
    name = checkpoint.name
    try:
        yield
    except RagError:
        raise
    except MemoryError as error:
        raise ModelFailed(
            f"{name} does not fit in memory",
            code="out_of_memory",
            next_step="Choose a smaller model, or a machine with more memory.",
        ) from error
    except Exception as error:  # raised again as ours
        # Libraries for weights, configurations and tokenizers share no base of their errors.
        if "out of memory" in str(error):
            raise ModelFailed(
                f"{name} does not fit in the memory of the GPU",
                code="out_of_memory",
                next_step="Set encoder.device to cpu, or choose a smaller model.",
            ) from error
        raise ModelFailed(
            f"{name} could not be loaded: {library_reason(error, checkpoint.folders)}",
            code="load_failed",
            next_step="Fetch the model again with `octavo models pull`, or choose another.",
        ) from error


# --- a folder, or an id on the hub --------------------------------------------------------------
def _find(
    model: str, revision: str | None, *, code: bool, fetch: bool, inside: Path | None = None
) -> Checkpoint:
    folder = inside if inside is not None else Path(model).expanduser()
    if folder.is_dir():
        name = model if inside is not None else folder.resolve().name
        digest = _pinned_digest(name, folder, revision, code)
        return _described(name, folder, digest, code=code, fetch=fetch)
    if _is_path(model):
        raise ConfigError(
            f"there is no folder {model}",
            code="no_model",
            next_step="Set encoder.model to a model id on the hub, or to a folder that is there.",
        )
    if code and revision is None:
        raise _code_unpinned(model, "a commit of the model on the hub")
    folder = _snapshot(model, revision, code=code, fetch=fetch)
    return _described(model, folder, folder.name, code=code, fetch=fetch)


def _described(name: str, folder: Path, revision: str, *, code: bool, fetch: bool) -> Checkpoint:
    """Read what the folder says of itself, and look whether its weights are whole."""
    if (folder / _ADAPTER_CONFIG).is_file():
        if any((folder / whole).is_file() for whole in (_INDEX, "model.safetensors")):
            # Libraries read such a folder as both, and tell only of the adapter what did not load.
            raise ConfigError(
                f"{name} holds a whole model and an adapter",
                code="bad_model",
                next_step=f"Keep them in two folders, or remove {_ADAPTER_CONFIG}.",
            )
        config, adapter = {}, _read_json(name, folder / _ADAPTER_CONFIG)
    elif (folder / "config.json").is_file():
        config, adapter = _read_json(name, folder / "config.json"), None
    else:
        raise ConfigError(
            f"{name} is no model: it has no config.json",
            code="no_model",
            next_step="Name the folder that `octavo models pull` wrote, or a model id.",
        )
    for path in _weights(name, folder, is_adapter=adapter is not None):
        _require_whole(name, path)
    short = revision[:_SHORT]
    if adapter is None:
        return Checkpoint(name, folder, short, config, trust_remote_code=code)
    base = _base_of(name, folder, adapter, fetch=fetch)
    return Checkpoint(
        name,
        folder,
        f"{short}+{base.revision}",
        base.config,
        adapter=adapter,
        base=base,
        trust_remote_code=code,
    )


def _base_of(name: str, folder: Path, adapter: Json, *, fetch: bool) -> Checkpoint:
    """The whole model that an adapter goes on top of."""
    base_id = adapter.get("base_model_name_or_path")
    if not isinstance(base_id, str) or not base_id:
        raise ConfigError(
            f"{name} is an adapter of no model: {_ADAPTER_CONFIG} names no base_model_name_or_path",
            code="bad_model",
            next_step=f"Name its base model in {_ADAPTER_CONFIG}, or choose a merged model.",
        )
    pulled = folder / BASE_FOLDER
    # Its code was not asked for: the pinned revision is the adapter's.
    try:
        base = _find(
            base_id,
            None if pulled.is_dir() else adapter.get("revision"),
            code=False,
            fetch=fetch,
            inside=pulled if pulled.is_dir() else None,
        )
    except ModelFailed as error:
        if error.code != "weights_missing" or pulled.is_dir():
            raise
        reason = f"not complete: {error.message}"
        if _is_snapshot(folder):
            raise _missing(name, reason) from error
        raise _missing(name, reason, pulled=base_id, into=pulled) from error
    if base.adapter is not None:
        raise ConfigError(
            f"{name} is an adapter of an adapter, {base.name}",
            code="bad_model",
            next_step="Merge the inner adapter into its model, or choose a whole model.",
        )
    return base


def _is_path(model: str) -> bool:
    """An id on the hub is OWNER/NAME, or NAME alone; below a folder that is here it is a path."""
    path = Path(model)
    if path.is_file() or (path.parent != Path() and path.parent.is_dir()):
        return True
    return model.startswith((".", "~", "/")) or model.count("/") > 1 or "\\" in model


def _snapshot(model: str, revision: str | None, *, code: bool, fetch: bool) -> Path:
    wanted = wanted_files(code=code)
    try:
        cached = Path(
            snapshot_download(
                model,
                revision=revision,
                local_files_only=True,
                allow_patterns=wanted,
                cache_dir=constants.HF_HUB_CACHE,
            )
        )
    except LocalEntryNotFoundError:
        cached = None
    except HFValidationError:
        with hub_errors("model", model, revision, UNREACHABLE):
            raise
    if cached is not None and _looks_whole(cached):
        return cached
    if not fetch:
        reason = "not on this machine" if cached is None else "not complete in the hub's cache"
        raise _missing(model, reason, revision=revision, code=code)
    try:
        with hub_errors("model", model, revision, UNREACHABLE):
            return Path(
                snapshot_download(
                    model,
                    revision=revision,
                    allow_patterns=wanted,
                    cache_dir=constants.HF_HUB_CACHE,
                )
            )
    except ModelFailed as error:
        reason = f"not on this machine, and {error.message}"
        raise _missing(model, reason, revision=revision, code=code) from error


def _looks_whole(folder: Path) -> bool:
    """Whether the cache has more of a model than what a look at its configuration leaves there."""
    names = {path.name for path in folder.iterdir() if path.exists()}
    if _INDEX in names:
        try:
            listed = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        except (OSError, ValueError, KeyError):
            return False
        return set(listed.values()) <= names
    return any(name.endswith(".safetensors") for name in names) or bool(_unsafe(folder))


# --- weights ------------------------------------------------------------------------------------
def _weights(name: str, folder: Path, *, is_adapter: bool) -> list[Path]:
    if is_adapter:
        paths = [folder / _ADAPTER_WEIGHTS]
    elif (folder / _INDEX).is_file():
        shards = _read_json(name, folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ConfigError(
                f"{_INDEX} of {name} lists no weights", code="bad_model", next_step=_PULL_AGAIN
            )
        paths = [folder / str(shard) for shard in sorted(set(shards.values()))]
    else:
        paths = sorted(folder.glob("*.safetensors")) or [folder / "model.safetensors"]
    absent = [path for path in paths if not path.is_file()]
    if not absent:
        return paths
    unsafe = _unsafe(folder)
    if unsafe and not any(path.is_file() for path in paths):
        raise ConfigError(
            f"{name} has no weights as safetensors, only {unsafe[0]}",
            code="unsafe_weights",
            next_step="Choose a model or revision that has them; other formats can run code when "
            "they are loaded, and are never read.",
        )
    reason = f"not complete: {absent[0].name} is not there"
    if _is_snapshot(folder):
        raise _missing(name, reason)
    is_named_by_folder = name == folder.resolve().name
    raise _missing(name, reason, pulled="ID" if is_named_by_folder else name, into=folder)


def _unsafe(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir())
    return [
        name
        for name in names
        if any(fnmatch.fnmatch(name, pattern) for pattern in _UNSAFE)
        and name != "training_args.bin"
    ]


def _require_whole(name: str, path: Path) -> None:
    """A safetensors file is as long as its header says. Raises ModelFailed `weights_damaged`."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            n_header = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(n_header) if n_header < size else b"")
        ends = [each["data_offsets"][1] for key, each in header.items() if key != "__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise _damaged(name, path, "its header cannot be read") from error
    wanted = 8 + n_header + max(ends, default=0)
    if size != wanted:
        raise _damaged(name, path, f"it has {size:,} bytes and should have {wanted:,}")


def _damaged(name: str, path: Path, reason: str) -> ModelFailed:
    return ModelFailed(
        f"{path.name} of {name} is damaged: {reason}",
        code="weights_damaged",
        next_step="Delete the file and fetch the model again with `octavo models pull`.",
    )


def _missing(
    name: str,
    reason: str,
    *,
    pulled: str | None = None,
    into: Path | None = None,
    revision: str | None = None,
    code: bool = False,
) -> ModelFailed:
    """With the command that brings them: all into a new folder, or what lacks `into` an old one."""
    command = ["octavo", "models", "pull", pulled or name]
    command += ["--revision", revision] if revision is not None else []
    command += ["--with-code"] if code else []
    command += ["--to", "DIR" if into is None else str(into)]
    then = "" if into is not None else ", and set encoder.model to DIR"
    if revision is not None:  # of a folder it is made of the files
        then += ", encoder.revision to what octavo doctor then names" if code else ", no revision"
    return ModelFailed(
        f"the weights of {name} are {reason}",
        code="weights_missing",
        next_step=f"Run `{shlex.join(command)}` where the hub can be reached{then}.",
    )


def _code_unpinned(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"encoder.trust_remote_code runs code of {name} and wants encoder.revision beside it",
        next_step=f"Read the code, then set encoder.revision to {what}.",
    )


def _read_json(name: str, path: Path) -> Json:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path.name} of {name} is not JSON: {error}",
            code="bad_model",
            next_step=_PULL_AGAIN,
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(
            f"{path.name} of {name} holds no settings", code="bad_model", next_step=_PULL_AGAIN
        )
    return found


# --- which files they are -----------------------------------------------------------------------
def _pinned_digest(name: str, folder: Path, revision: str | None, code: bool) -> str:
    digest = folder_digest(folder, code=code)
    if code and revision is None:
        raise _code_unpinned(name, f"{digest[:_SHORT]}, which stands for its files as they are")
    if revision is not None and not digest.startswith(revision) and not _commit(folder, revision):
        raise ConfigError(
            f"encoder.revision is {revision}, and the files of {name} are {digest[:_SHORT]}",
            code="wrong_revision",
            next_step="Fetch that revision, or set encoder.revision to what the files are.",
        )
    return digest


def _commit(folder: Path, revision: str) -> bool:
    """Whether the folder is a snapshot of the hub's cache, named by that commit."""
    return _is_snapshot(folder) and folder.name.startswith(revision)


def _is_snapshot(folder: Path) -> bool:
    return folder.parent.name == "snapshots"
