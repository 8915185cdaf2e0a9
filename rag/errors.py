"""Every error Octavo raises on purpose: a code for programs, a sentence for people, a next step."""

from __future__ import annotations


class RagError(Exception):
    """Base of all errors raised on purpose; anything else reaching a user is a bug.

    Attributes:
        code: Stable snake_case name, the same in every face (command line, JSON, REST).
        message: What happened, where, expected and got. Never a path or stack of a server.
        next_step: What the reader can do about it; empty when nothing helps.
    """

    code = "error"

    def __init__(self, message: str, *, next_step: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step
        if code is not None:
            self.code = code

    def as_dict(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "next_step": self.next_step}


class InputError(RagError, ValueError):
    """What was handed in cannot be used as it is."""

    code = "bad_input"


class DocumentError(InputError):
    """A document cannot be read; `code` says why (`not_a_pdf`, `password_required`, ...)."""

    code = "unreadable"


class ShapeError(InputError):
    """An array has the wrong shape, a non-finite value, or no rows where some are needed."""

    code = "wrong_shape"


class NotFound(InputError):
    """A collection, document or page that is not there, or that this reader may not see."""

    code = "not_found"


class ConfigError(RagError):
    """Settings that contradict each other or what is installed."""

    code = "bad_config"


class IndexMismatch(ConfigError):
    """The index was written by another encoder, FDE or schema than the settings ask for."""

    code = "index_mismatch"


class BackendError(RagError):
    """The machine, a store or a model failed; trying again may help."""

    code = "backend_failed"


class IndexUnavailable(BackendError):
    """The index cannot be opened or reached.

    On a server `code` says how: `index_down`, `index_slow`, `index_busy`, `index_failed` may pass;
    `index_refused` (the key) and `index_lost` (the collection is gone) do not.
    """

    code = "index_unavailable"


class IndexDied(IndexUnavailable):
    """The process of the index ended at a write; the same write again is as if it were the first.

    What was acknowledged stays.
    """

    code = "index_died"


class PackDamaged(BackendError):
    """The packed page vectors are not what was written; they can be made again from the index.

    Attributes:
        record_ids: of the damaged pages; none where it is more than pages.
    """

    code = "pack_damaged"

    def __init__(
        self, message: str, *, record_ids: tuple[str, ...] = (), next_step: str = ""
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.record_ids = record_ids


class DataFolderBusy(BackendError):
    """Another process owns the data folder and does not do what was asked."""

    code = "data_folder_busy"


class ModelFailed(BackendError):
    """A model could not be loaded, or did not prove itself at load."""

    code = "model_failed"


class PageCrashesEncoder(ModelFailed):
    """Pages that end the process of an encoder again and again; others of their batch do not.

    Attributes:
        page_numbers: of them.
    """

    code = "page_crashes_encoder"

    def __init__(self, message: str, *, page_numbers: tuple[int, ...], next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.page_numbers = page_numbers
