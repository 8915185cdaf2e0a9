"""What a collection's vectors mean, and whether two such meanings are one."""

from __future__ import annotations

from rag.scoring.fingerprint import is_same_fingerprint
from rag.types import Json

# Of an encoder whose weights nobody here can read: measured, so the same only within a tolerance.
_MEASURED = "encoder.fingerprint"
_ENCODER = "encoder"
_SCHEMA = "schema"
_ABOUT_ENCODERS = (_ENCODER, "encoder.model", "dim")


def is_same_identity(held: Json, asked: Json) -> bool:
    return not differing_keys(held, asked)


def differing_keys(held: Json, asked: Json) -> list[str]:
    return [
        key for key in sorted({*held, *asked}) if not _agree(key, held.get(key), asked.get(key))
    ]


def difference(held: Json, asked: Json) -> str:
    """As in "holds dim 128, but the settings ask for dim 320".

    Of two encoders names and sizes are enough: their settings differ because they do.
    """
    keys = differing_keys(held, asked)
    if _ENCODER in keys:
        keys = [key for key in keys if key in _ABOUT_ENCODERS]
    return f"holds {_listed(keys, held)}, but the settings ask for {_listed(keys, asked)}"


def way_out(held: Json, asked: Json) -> str:
    """What to do about two that differ."""
    if _SCHEMA in differing_keys(held, asked):
        # No setting reads it, and `migrate` reads the old one before it makes a new one.
        return (
            "Another version of Octavo made it. Ingest its files again into a new collection "
            "(--collection) or data folder (--data-dir), or use that version."
        )
    return (
        "Name what it was made with (--encoder, --config), change it with `octavo migrate`, or "
        "ingest into a new collection."
    )


def _listed(keys: list[str], identity: Json) -> str:
    several = len(keys) > 1
    shown = [key for key in keys if not several or identity.get(key) is not None]
    return "; ".join(f"{key} {_shown(key, identity.get(key))}" for key in shown or keys)


def _shown(key: str, value: object) -> str:
    return f"{value[:8]}..." if key == _MEASURED and isinstance(value, str) else repr(value)


def _agree(key: str, held: object, asked: object) -> bool:
    if key == _MEASURED and isinstance(held, str) and isinstance(asked, str):
        return is_same_fingerprint(held, asked)
    return held == asked
