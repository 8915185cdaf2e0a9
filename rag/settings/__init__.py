"""Every setting: a default, a bound, a unit, a sentence.

Precedence: flag > environment (`OCTAVO_...`, `QDRANT_URL`, `QDRANT_API_KEY`) > file > what was
tuned for the collection (`rag.tuned`) > default. `loading` reads them; the sections are in files by
who uses them.
"""

from rag.settings.answers import AnswerSettings, ChatSettings
from rag.settings.ingest import (
    CaptionSettings,
    EncoderSettings,
    FdeSettings,
    OcrSettings,
    PoolingSettings,
    RenderSettings,
    StoreSettings,
)
from rag.settings.loading import (
    Settings,
    changed_answers,
    changed_retrieval,
    changed_settings,
    dotted,
    load_settings,
    merged,
    nested,
    secrets_in,
)
from rag.settings.search import (
    ContextSettings,
    LegWeights,
    RefineSettings,
    RerankSettings,
    RetrievalSettings,
    RouteSettings,
    SelectSettings,
    WordingSettings,
)
from rag.settings.section import Section
from rag.settings.watching import LogSettings, ObserveSettings

__all__ = [
    "AnswerSettings",
    "CaptionSettings",
    "ChatSettings",
    "ContextSettings",
    "EncoderSettings",
    "FdeSettings",
    "LegWeights",
    "LogSettings",
    "ObserveSettings",
    "OcrSettings",
    "PoolingSettings",
    "RefineSettings",
    "RenderSettings",
    "RerankSettings",
    "RetrievalSettings",
    "RouteSettings",
    "Section",
    "SelectSettings",
    "Settings",
    "StoreSettings",
    "WordingSettings",
    "changed_answers",
    "changed_retrieval",
    "changed_settings",
    "dotted",
    "load_settings",
    "merged",
    "nested",
    "secrets_in",
]
