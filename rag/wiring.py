"""Chooses implementations, and builds what one process needs of them; nowhere else does."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path
from typing import Self, assert_never

from rag.answer.extractive import ExtractiveAnswers
from rag.ask import Asker
from rag.encoders.minilm import MiniLm
from rag.encoders.words import WordsEncoder
from rag.index.edge import EdgeIndex
from rag.manifest import Manifest, require_collection_name
from rag.page_store import PageStore
from rag.ports import AnswerModel, IndexSpec, PageEncoder, PageIndex
from rag.renderers.isolated import IsolatedReader
from rag.repository import CollectionReader, CollectionWriter, Repository
from rag.retrieve import Retriever
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.settings import Settings
from rag.types import Json, Principal

# Raised when records, manifest or the meaning of a stored field change.
SCHEMA_VERSION = 1


class Engine:
    """One data folder, opened: repository, encoder, indexes. Parts are made when first wanted.

    The caller holds the folder's lock. Close it, or use it as a context manager.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.store.data_dir
        self.isolated = IsolatedReader(settings.render)
        self.repository = Repository(
            Manifest.in_folder(self.folder),
            PageStore(
                self.folder,
                self.isolated,
                cache_bytes=settings.render.image_cache_bytes,
                max_px=settings.render.max_px,
            ),
            self._index,
        )
        self._indexes: dict[str, PageIndex] = {}
        self._fdes: dict[str, FdeEncoder] = {}
        self._retrievers: dict[str, Retriever] = {}
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.isolated.close()
        if "encoder" in self.__dict__:  # made at all
            self.encoder.close()
        with self._lock:
            for index in self._indexes.values():
                index.close()
            self._indexes.clear()
        self.repository.close()

    @cached_property
    def encoder(self) -> PageEncoder:
        chosen = self.settings.encoder
        with self._lock:
            match chosen.name:
                case "words":
                    return WordsEncoder(MiniLm.load(chosen.weights, threads=chosen.threads))
                case other:
                    assert_never(other)

    @cached_property
    def answer_model(self) -> AnswerModel:
        match self.settings.answer.model:
            case "extractive":
                return ExtractiveAnswers(self.settings.answer)
            case other:
                assert_never(other)

    # --- one collection -------------------------------------------------------------------------
    def reader(self, principal: Principal, collection: str) -> CollectionReader:
        """Raises NotFound `unknown_collection`, IndexMismatch."""
        reader = self.repository.reader(principal, collection)
        self.repository.ensure_collection(collection, self._identity(collection))
        return reader

    def writer(self, principal: Principal, collection: str) -> CollectionWriter:
        """Makes the collection where there is none. Raises IndexMismatch."""
        self.repository.ensure_collection(collection, self._identity(collection))
        return self.repository.writer(principal, collection)

    def retriever(self, collection: str) -> Retriever:
        with self._lock:
            if collection not in self._retrievers:
                self._retrievers[collection] = Retriever(
                    self.encoder, self.fde(collection), self.settings.retrieval
                )
            return self._retrievers[collection]

    def asker(self, collection: str) -> Asker:
        return Asker(self.retriever(collection), self.answer_model, self.settings.answer)

    def fde(self, collection: str) -> FdeEncoder:
        """The collection's own matrices: drawn once, kept beside its index."""
        with self._lock:
            if collection not in self._fdes:
                chosen = self.settings.fde
                spec = FdeSpec(
                    dim=self.encoder.identity.dim,
                    repetitions=chosen.repetitions,
                    simhash_bits=chosen.simhash_bits,
                    projection_dim=chosen.projection_dim,
                    seed=chosen.seed,
                )
                path = self._collection_folder(collection) / "fde.npz"
                if path.exists():
                    self._fdes[collection] = FdeEncoder.load(path, spec=spec)
                else:
                    self._fdes[collection] = FdeEncoder(spec)
            return self._fdes[collection]

    def optimize(self, collection: str) -> None:
        self._index(collection).optimize()

    def _index(self, collection: str) -> PageIndex:
        with self._lock:
            if collection not in self._indexes:
                fde = self.fde(collection)
                identity = self.encoder.identity
                spec = IndexSpec(identity.dim, identity.dense_dim, fde.spec.fde_size)
                folder = self._collection_folder(collection)
                folder.mkdir(parents=True, exist_ok=True)
                self._indexes[collection] = self._opened_index(collection, folder, spec)
                if not (folder / "fde.npz").exists():
                    fde.save(folder / "fde.npz")
            return self._indexes[collection]

    def _opened_index(self, collection: str, folder: Path, spec: IndexSpec) -> PageIndex:
        store = self.settings.store
        if store.qdrant_url is None:
            return EdgeIndex.open(folder / "index", spec)
        # Half a second of imports that the embedded store does without.
        from rag.index.qdrant import QdrantIndex

        key = store.qdrant_api_key
        return QdrantIndex.open(
            store.qdrant_url,
            collection=f"octavo-{collection}",
            spec=spec,
            api_key=None if key is None else key.get_secret_value(),
        )

    def _collection_folder(self, collection: str) -> Path:
        require_collection_name(collection)
        return self.folder / "collections" / collection

    def _identity(self, collection: str) -> Json:
        """What vectors and records of the collection mean; a difference in any part is refused."""
        identity = self.encoder.identity
        return {
            "schema": SCHEMA_VERSION,
            "encoder": str(identity),
            "dim": identity.dim,
            "dense_dim": identity.dense_dim,
            **{f"encoder.{key}": value for key, value in identity.settings.items()},
            "fde": self.fde(collection).fingerprint,
        }
