"""Collections as a whole: exported, imported, copied, dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ingestion.archive.contents import Archive
from ingestion.archive.read import Importer, require_same_identity
from ingestion.archive.write import export
from ingestion.events import OnEvent
from rag.apps.service_base import ConnectionBase, ServiceBase
from rag.errors import BackendError
from rag.types import Json

# The methods another process may ask the owner of a data folder for.
REMOTE_METHODS: frozenset[str] = frozenset({"export", "snapshot", "drop_collection"})
# Of these, the ones that tell of their work before they have a result.
STREAMED_METHODS: frozenset[str] = frozenset({"export"})


class ArchiveService(ServiceBase):
    """Here, on the engine."""

    def export(self, *, collection: str, path: str, on_event: OnEvent | None = None) -> Json:
        """Write every document that the principal may read to one file."""
        reader = self._engine.reader(self._principal, collection)
        identity = self._engine.repository.identity(self._principal, collection)
        return export(reader, identity, Path(path), on_event or (lambda _: None))

    def import_archive(
        self, *, path: Path, collection: str | None = None, on_event: OnEvent = lambda _: None
    ) -> Json:
        """Bring an archive into a collection; None is the one it was exported from.

        The whole archive is read and believed before anything is written.
        """
        engine = self._engine
        with Archive(path) as archive:
            name = archive.contents.collection if collection is None else collection
            require_same_identity(archive, engine.identity(name), name)
            archive.check()
            if not engine.has_room(2 * archive.size_bytes):
                raise BackendError(
                    f"the archive wants {2 * archive.size_bytes / 1e6:.0f} MB of disk, and there "
                    "is less",
                    code="disk_full",
                    next_step="Make room in the data folder and run the command again.",
                )
            importer = Importer(
                archive,
                engine.writer(self._principal, name),
                lambda: engine.repository.reader(self._principal, name),
                encoder_name=str(engine.encoder.identity),
            )
            totals = importer.run(on_event)
        return {**totals, "collection": name}

    def snapshot(self, *, path: str) -> Json:
        """A copy of the data folder as it is at one moment; searches go on, writes wait."""
        self._require_owner("snapshot")
        return self._engine.snapshot(Path(path))

    def drop_collection(self, *, collection: str) -> Json:
        """Delete a collection with everything in it, and say what is left of it."""
        return self._engine.drop_collection(self._principal, collection)


class ArchiveConnection(ConnectionBase):
    """The same, from wherever the engine is."""

    def export(
        self,
        path: Path | str,
        *,
        collection: str = "default",
        on_event: Callable[[Json], None] = lambda _: None,
    ) -> Json:
        """Every document of a collection in one file, as `octavo export --json` tells it."""
        return self._call(
            "export", on_event=on_event, collection=collection, path=str(Path(path).absolute())
        )

    def import_archive(
        self,
        path: Path | str,
        *,
        collection: str | None = None,
        on_event: Callable[[Json], None] = lambda _: None,
    ) -> Json:
        """An archive's documents into a collection; the totals of `octavo import --json`.

        Raises:
            DataFolderBusy: another process owns the folder.
        """
        return self._owning().import_archive(
            path=Path(path), collection=collection, on_event=on_event
        )

    def snapshot(self, path: Path | str) -> Json:
        """A copy of the data folder, which opens like any other."""
        return self._call("snapshot", path=str(Path(path).absolute()))

    def drop_collection(self, collection: str) -> Json:
        return self._call("drop_collection", collection=collection)
