"""What the vectors and records of a collection mean; a difference in any part is refused."""

from __future__ import annotations

from rag.ports import PageEncoder
from rag.scoring.pool import pooling_identity
from rag.settings import Settings
from rag.types import Json

# Raised when records, manifest or the meaning of a stored field change.
SCHEMA_VERSION = 2


def collection_identity(settings: Settings, encoder: PageEncoder, *, fde_fingerprint: str) -> Json:
    """As JSON, of a collection made with these settings."""
    identity = encoder.identity
    return {
        "schema": SCHEMA_VERSION,
        "encoder": str(identity),
        "dim": identity.dim,
        "dense_dim": identity.dense_dim,
        **{f"encoder.{key}": value for key, value in identity.settings.items()},
        # Another resolution makes other vectors of the same page.
        **({"render.dpi": settings.render.dpi} if encoder.wants_image else {}),
        # Nothing where pages stay as they are: collections made before pooling stay readable.
        **{f"pooling.{key}": value for key, value in pooling_identity(settings.pooling).items()},
        "fde": fde_fingerprint,
    }
