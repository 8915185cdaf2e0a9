"""The one way to pages, for reading and for writing: every call says who asks.

The condition of access, and that of visibility, are joined to each request below this line, so a
face can neither forget them nor ask past them (docs/adr/0007).
"""

from rag.repository.conversations import PrincipalConversations
from rag.repository.copies import DocumentCopy, PageCopy
from rag.repository.equal_pages import EqualPages, HeldVectors
from rag.repository.jobs import PrincipalJobs, WorkQueue, asker_of, options_of
from rag.repository.reading import CollectionReader
from rag.repository.repository import Repository
from rag.repository.snapshot import DocumentSummary, PageSummary, Snapshot, StoredPage
from rag.repository.writing import CollectionWriter

__all__ = [
    "CollectionReader",
    "CollectionWriter",
    "DocumentCopy",
    "DocumentSummary",
    "EqualPages",
    "HeldVectors",
    "PageCopy",
    "PageSummary",
    "PrincipalConversations",
    "PrincipalJobs",
    "Repository",
    "Snapshot",
    "StoredPage",
    "WorkQueue",
    "asker_of",
    "options_of",
]
