"""What a library says of a model that it cannot load, in a line for people. A folder of this
machine goes by the model's name.
"""

from __future__ import annotations

from pathlib import Path

_MAX_LENGTH = 300


def library_reason(error: Exception, folders: dict[Path, str]) -> str:
    """Kind of the error and the first line of what it says.

    Args:
        error: of a library for weights, configurations or tokenizers.
        folders: what stands for each; relative ones are looked for as the system resolves them.
    """
    said = str(error).strip()
    spelled = {
        str(spelling): name
        for folder, name in folders.items()
        for spelling in (folder.absolute(), folder.resolve())
    }
    for spelling in sorted(spelled, key=len, reverse=True):  # one may lie in another
        said = said.replace(spelling, spelled[spelling])
    first = next(iter(said.splitlines()), "")[:_MAX_LENGTH]
    return f"{type(error).__name__}: {first}"
