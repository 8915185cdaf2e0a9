"""A question read by a chat model, or by rules where the model cannot be followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rag.deadline import Cancelled
from rag.errors import BackendError
from rag.types import Notice

_T = TypeVar("_T")


def read_by_chat(
    ask: Callable[[], _T | None], *, code: str, no_use: str
) -> tuple[_T | None, tuple[Notice, ...]]:
    """What the model made of a question; None and a notice where the rules have to read it.

    Args:
        ask: None where what came is not held to.
        code: of the notice.
        no_use: why that is.

    Raises:
        Cancelled: nobody wants to know any more.
    """
    why = no_use
    try:
        found = ask()
    except Cancelled:
        raise
    except BackendError as error:
        found, why = None, error.message
    if found is not None:
        return found, ()
    return None, (Notice(code, f"The question was read by rules: {why}."),)
