"""The manifest: which documents, versions and pages there are, and which of them may be seen.

A version is staged, filled page by page, then made live in one transaction; see docs/adr/0007.
"""

from rag.manifest.changes import Change, PlacedDocument, Unstamped
from rag.manifest.equal_pages import EqualPage
from rag.manifest.forgetting import Traces
from rag.manifest.identity import is_same_identity
from rag.manifest.job_rows import AT_WORK, Job, JobDocument, JobRequest, JobState
from rag.manifest.jobs import JobAction, unknown_job
from rag.manifest.past_versions import PastVersion
from rag.manifest.replacing import dropped_name, is_dropped, is_replacement, replacement_name
from rag.manifest.rows import (
    Document,
    DocumentState,
    Incoming,
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
    "AT_WORK",
    "Change",
    "Document",
    "DocumentState",
    "EqualPage",
    "Incoming",
    "Job",
    "JobAction",
    "JobDocument",
    "JobRequest",
    "JobState",
    "LiveState",
    "Manifest",
    "PageInfo",
    "PageRow",
    "PageState",
    "PastVersion",
    "PlacedDocument",
    "StagedVersion",
    "TextRow",
    "Traces",
    "Unchanged",
    "Unstamped",
    "VersionState",
    "dropped_name",
    "is_dropped",
    "is_replacement",
    "is_same_identity",
    "page_record_id",
    "replacement_name",
    "require_collection_name",
    "unknown_job",
]
