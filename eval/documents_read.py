"""What became of a dataset's documents when they were read: what could not be, and which gold pages
they do not have. A question about either is lost before any search, and figures say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eval.datasets.folder import Dataset, PageKey, Query
from rag.types import Json

UNREAD, PAGE_MISSING = "documents_unread", "gold_page_missing"
_NAMED = 5  # of documents in a message


@dataclass(frozen=True)
class DocumentsRead:
    """The documents of a dataset, as a collection has them.

    Attributes:
        n_pages: of each document that could be read.
        failed: document to the code of why it could not be.
        failed_pages: of documents that could be read but for these.
    """

    n_pages: Mapping[str, int]
    failed: Mapping[str, str]
    failed_pages: frozenset[PageKey]

    @classmethod
    def of(cls, dataset: Dataset, listed: Iterable[Mapping[str, Any]]) -> DocumentsRead:
        """From the collection's documents, as `octavo list --json` shows them."""
        found = {document["source"]: document for document in listed}
        failed = {name: _fault(found.get(name)) for name in dataset.documents}
        read = {name: found[name] for name, fault in failed.items() if not fault}
        return cls(
            {name: int(document["pages"]) for name, document in read.items()},
            {name: fault for name, fault in failed.items() if fault},
            frozenset(
                PageKey(name, int(page["page_number"]))
                for name, document in read.items()
                for page in document["failed_pages"]
            ),
        )

    def unread(self) -> Json:
        """`index.failed` of a run: documents with their codes, and a number of pages of others."""
        return {"documents": dict(self.failed), "pages": len(self.failed_pages)}

    def notices(self, dataset: Dataset, queries: Iterable[Query]) -> dict[str, Json]:
        """By code, for questions about what could not be read, or about pages that are not there.

        Args:
            dataset: whose gold pages are meant.
            queries: those that are asked.
        """
        gold = [(query.id, page) for query in queries for page in sorted(dataset.gold(query.id))]
        lost = {
            query_id
            for query_id, page in gold
            if page.doc in self.failed or page in self.failed_pages
        }
        missing = [
            (query_id, page)
            for query_id, page in gold
            if page.page_number > self.n_pages.get(page.doc, page.page_number)
        ]
        told: dict[str, Json] = {}
        if self.failed or self.failed_pages:
            told[UNREAD] = {"questions": len(lost), "message": self._said()}
        if missing:
            query_id, page = missing[0]
            n_pages = self.n_pages[page.doc]
            told[PAGE_MISSING] = {
                "questions": len({query_id for query_id, _ in missing}),
                "message": f"{_count(len({page for _, page in missing}), 'gold page')} not in the "
                f"documents, such as page {page.page_number} of {page.doc} (question {query_id}), "
                f"which has {_count(n_pages, 'page')}: no search can find it; mend qrels.tsv",
            }
        return told

    def _said(self) -> str:
        named = [f"{name} ({code})" for name, code in list(self.failed.items())[:_NAMED]]
        more = len(self.failed) - len(named)
        parts = []
        if named:
            of_all = f"{len(self.failed)} of {len(self.failed) + len(self.n_pages)} documents"
            parts.append(f"{of_all}: {', '.join(named)}{f' and {more} more' if more else ''}")
        if self.failed_pages:
            first = min(self.failed_pages)
            such = f"such as page {first.page_number} of {first.doc}"
            parts.append(f"{_count(len(self.failed_pages), 'page')} of others, {such}")
        return f"could not be read: {'; '.join(parts)}. Questions about them count as not found"


def _fault(document: Mapping[str, Any] | None) -> str:
    """The code of why a document could not be read; "" where it could."""
    if document is None:
        return "not_listed"
    error = document["error"]
    return "" if error is None else str(error["code"])


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
