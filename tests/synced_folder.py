"""A folder of PDFs, and the service that a collection is kept equal to it by."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from rag.apps.service import Service
from rag.settings import load_settings
from rag.testing import make_pdf
from rag.types import Principal
from rag.wiring import Engine


class Folder:
    """Documents below `docs`, a data folder in `data`, one engine over both."""

    def __init__(self, place: Path, engine: Engine) -> None:
        self.docs, self.data = place / "docs", place / "data"
        self.engine = engine
        self.service = Service(engine, Principal.owner())
        self.docs.mkdir(exist_ok=True)

    def write(self, name: str, *pages: str) -> Path:
        path = self.docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            make_pdf(list(pages or (f"# {name}\nThe tide of {name} comes and goes.",)))
        )
        return path

    def sync(self, folder: Path | None = None, **options: Any) -> dict[str, str]:
        """State by source."""
        self.events: list[dict[str, Any]] = []
        self.totals = self.service.sync(
            folder=folder or self.docs, collection="default", on_event=self._hear, **options
        )
        return {event["source"]: event["state"] for event in self.events}

    def ingest(self, *paths: Path, by: Service | None = None, **options: Any) -> dict[str, str]:
        self.events = []
        self.totals = (by or self.service).ingest(
            paths=list(paths) or [self.docs],
            collection="default",
            on_event=self._hear,
            **options,
        )
        return {event["source"]: event["state"] for event in self.events}

    def _hear(self, event: dict[str, Any]) -> None:
        if event["event"] == "document":
            self.events.append(event)

    def known(self) -> dict[str, str]:
        """Document id by source."""
        listed = self.service.list_documents(collection="default")["documents"]
        return {document["source"]: document["document_id"] for document in listed}

    def versions(self) -> dict[str, str]:
        """Id of the live version by document id."""
        rows = self.rows("select document_id, version_id from versions where state = 'live'")
        return dict(rows)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.data / "manifest.sqlite3", timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def found(self, words: str, by: Principal | None = None, **options: Any) -> list[str]:
        """Sources of the pages found, best first."""
        service = self.service if by is None else Service(self.engine, by)
        hits = service.search(query=words, collection="default", top_k=5, **options)["hits"]
        return [hit["source"] for hit in hits]


@contextmanager
def opened(place: Path) -> Iterator[Folder]:
    settings = load_settings(
        overrides={"store": {"data_dir": place / "data"}, "render": {"workers": 1}}, environ={}
    )
    with Engine(settings) as engine:
        yield Folder(place, engine)
