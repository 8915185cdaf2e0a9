"""A collection deleted with everything in it; begun in one transaction, ended when asked again."""

from __future__ import annotations

import threading

from rag import failpoints
from rag.errors import InputError
from rag.manifest import AT_WORK, Manifest, dropped_name, replacement_name
from rag.page_store import PageStore
from rag.repository.snapshot import Snapshots
from rag.types import Principal


class Dropping:
    """What a repository does with collections on their way out."""

    def __init__(
        self,
        manifest: Manifest,
        page_store: PageStore,
        snapshots: Snapshots,
        write_lock: threading.RLock,
    ) -> None:
        self._manifest = manifest
        self._page_store = page_store
        self._snapshots = snapshots
        self._write_lock = write_lock

    def require_idle(self, collection: str) -> None:
        """Raises InputError `collection_in_use` while a job writes to it or makes it again."""
        names = (collection, replacement_name(collection))
        busy = [
            job for job in self._manifest.jobs() if job.state in AT_WORK and job.collection in names
        ]
        if busy:
            raise InputError(
                f"collection {collection!r} is in use: job {busy[0].job_id} ({busy[0].kind})",
                code="collection_in_use",
                next_step="Wait until it is done, or stop it; `octavo jobs` shows it.",
            )

    def begin(self, principal: Principal, collection: str) -> None:
        """Make the collection invisible.

        Raises:
            InputError: `not_permitted` for all but the owner.
        """
        if not principal.is_owner:
            raise InputError(
                f"collection {collection!r} can only be dropped by the owner of the data folder",
                code="not_permitted",
                next_step="Delete your documents with `octavo rm`.",
            )
        with self._write_lock:
            self._manifest.begin_drop(collection)
            self._snapshots.forget(collection)
            failpoints.reached("collection_dropped")

    def begun(self) -> dict[str, str]:
        """By name, the folder of the index of each collection that is on its way out."""
        return self._manifest.dropped()

    def finish(self, collection: str) -> dict[str, int]:
        """Forget it, once its index is deleted.

        Returns:
            What is left of it by kind, as for a document; all are 0.
        """
        gone = dropped_name(collection)
        manifest, store = self._manifest, self._page_store
        with self._write_lock:
            traces = [manifest.traces(gone, each) for each in manifest.document_ids(gone)]
            digests = {digest for each in traces for digest in each.files}
            manifest.finish_drop(collection)
            for each in traces:
                manifest.forget_in_jobs(each)
            unused = [digest for digest in digests if not manifest.is_used(digest)]
            for digest in unused:
                store.release_source(digest)
            manifest.erase_log()
            versions = [version for each in traces for version in each.version_ids]
            return {
                "documents": len(manifest.document_ids(gone)),
                **manifest.left_of_versions(versions),
                "jobs": sum(manifest.n_jobs_naming(each) for each in traces),
                "sources": sum(store.source_path(digest) is not None for digest in unused),
                "images": sum(store.n_images(digest) for digest in unused),
                "ocr_words": sum(store.n_ocr_words(digest) for digest in unused),
            }
