"""The manifest: which documents, versions and pages there are, and which of them may be seen.

A version is staged, filled page by page, then made live in one transaction; see docs/adr/0007.
"""

from rag.manifest.identity import is_same_identity
from rag.manifest.replacing import is_replacement, replacement_name
from rag.manifest.rows import (
    Document,
    DocumentState,
    Incoming,
    Job,
    LiveState,
    PageInfo,
    PageRow,
    PageState,
    StagedVersion,
    TextRow,
    Unchanged,
    VersionState,
    page_record_id,
)
from rag.manifest.store import Manifest, require_collection_name

__all__ = [
    "Document",
    "DocumentState",
    "Incoming",
    "Job",
    "LiveState",
    "Manifest",
    "PageInfo",
    "PageRow",
    "PageState",
    "StagedVersion",
    "TextRow",
    "Unchanged",
    "VersionState",
    "is_replacement",
    "is_same_identity",
    "page_record_id",
    "replacement_name",
    "require_collection_name",
]
