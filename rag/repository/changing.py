"""Records brought to say what the manifest says of their documents; safe to stop at any step.

The manifest goes first, and is what readers go by until the records say the same (docs/adr/0044).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from rag import failpoints
from rag.errors import BackendError
from rag.manifest import Change, Incoming, PlacedDocument, Unstamped
from rag.repository.writer_base import WriterBase, of_version

_log = logging.getLogger(__name__)


class ChangingWriter(WriterBase):
    """Changes documents without a new version, and knows where their files were."""

    def change(self, document_id: str, change: Change) -> bool:
        """Say something else of a document, from now on and for whoever asks.

        Its records follow with `finish_changes`; until then readers go by the manifest.

        Returns:
            Whether anything was not said before.

        Raises:
            NotFound: `unknown_document`.
            InputError: `not_permitted` for another's document.
        """
        with self._lock:
            self._require_known(document_id)
            if self._manifest.document(self.collection, document_id) is None:
                raise self._unknown_document(document_id)  # begun, and not a document yet
            changed = self._manifest.note_change(self.collection, document_id, change)
            failpoints.reached("change_noted")
            return changed

    def change_to(self, incoming: Incoming) -> bool:
        """Where the live version has the file's bytes: say of it what the ingest says.

        Returns:
            False where it has other bytes, or its kept file is gone: there is a version to make.

        Raises:
            InputError: `not_permitted` for another's document.
        """
        with self._lock:
            self._require_may_write(incoming.document_id)
            document = self._manifest.document(self.collection, incoming.document_id)
            if (
                document is None
                or document.version_id is None
                or document.sha256 != incoming.sha256
                or self._page_store.source_path(incoming.sha256) is None
            ):
                return False
            if self._manifest.give_up_staging(self.collection, incoming.document_id):
                self._sweep_retired()
            change = Change(
                metadata=incoming.metadata,
                readers=incoming.readers,
                place=(incoming.root, incoming.source),
            )
            self._manifest.note_change(
                self.collection, incoming.document_id, change, takes_back=True
            )
            failpoints.reached("change_noted")
            return True

    def finish_changes(self) -> None:
        """Bring the records of changed documents to say what the manifest says.

        Raises:
            BackendError: `disk_full`, or the index failed; the changes hold all the same, and the
                next write brings the records after.
        """
        with self._lock:
            if self._manifest.unstamped(self.collection):
                self._stamp(must_succeed=True)

    def _stamp(self, *, must_succeed: bool) -> None:
        try:
            self._require_space(0)
            waiting = self._manifest.unstamped(self.collection)
            self._durably(partial(self._set_payloads, waiting))
            failpoints.reached("payload_changed")
            for version in waiting:
                self._manifest.change_done(version)
            failpoints.reached("change_done")
        except BackendError:
            if must_succeed:
                raise
            _log.warning("changed documents could not be stamped now", exc_info=True)

    def _set_payloads(self, changed: Sequence[Unstamped]) -> None:
        for version in changed:
            self._index.set_payload(of_version(version.version_id), version.payload())

    def placed(self) -> list[PlacedDocument]:
        """Where the file of every document was, also of one that is being filled; by source."""
        return self._manifest.placed(self.collection)

    def known(self, placed: Sequence[PlacedDocument]) -> list[PlacedDocument]:
        """Of these, the ones that the principal may know of."""
        who = self._principal
        return [
            each
            for each in placed
            if who.is_owner
            or each.ingested_by == who.subject
            or not set(each.readers).isdisjoint(who.readers)
        ]

    def with_bytes(self, sha256: str) -> Sequence[PlacedDocument]:
        """The principal's own documents with these bytes."""
        return self._manifest.with_bytes(
            self.collection, sha256, ingested_by=self._principal.subject
        )
