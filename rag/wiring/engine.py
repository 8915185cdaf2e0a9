"""One data folder, opened: what one process needs of it, each part made when first wanted."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from functools import cached_property
from pathlib import Path
from typing import Self, assert_never

from rag.answer.extractive import ExtractiveAnswers
from rag.answer.generated.model import GeneratedAnswers
from rag.ask import Asker
from rag.chat.choose import require_chat
from rag.disk_room import DiskRoom, SpareRoom
from rag.errors import IndexMismatch, IndexUnavailable, InputError
from rag.index.process import IndexProcess
from rag.integrity import keeping, places
from rag.manifest import (
    Manifest,
    is_replacement,
    is_same_identity,
    replacement_name,
    require_collection_name,
)
from rag.manifest.conversations import Conversations
from rag.manifest.fatal_files import KeptFatalFiles
from rag.ocr.cache import FOLDER as OCR_FOLDER
from rag.ocr.cache import OcrCache
from rag.page_pack import PackSpec, PagePack, open_synced
from rag.page_store import PageStore
from rag.patch_search import PatchSearch
from rag.ports import (
    AnswerModel,
    ChatModel,
    IndexSpec,
    PageEncoder,
    PageIndex,
    RemoteIndex,
    TellsNotices,
)
from rag.ranking.rank import DocumentCaches
from rag.renderers.isolated import IsolatedReader
from rag.repository import (
    CollectionReader,
    CollectionWriter,
    PrincipalConversations,
    Repository,
)
from rag.rerankers.choose import Rerankers
from rag.retrieve import Retriever, SearchModels
from rag.scoring.coded_pages import CodedPages
from rag.scoring.fde import FdeEncoder
from rag.settings import (
    AnswerSettings,
    RetrievalSettings,
    Settings,
    changed_answers,
    changed_retrieval,
)
from rag.tuned import Tuning, read_tuning, tuning_path, with_tuning
from rag.types import Json, Notice, Principal
from rag.wiring.identity import collection_identity
from rag.wiring.indexes import FDE_FILE, PACK_FOLDER, delete_index, open_index, starting_child
from rag.wiring.models import fde_spec, load_chat, load_encoder, packed_search
from rag.wiring.whole_folder import copy_data_folder, replace_tuning, require_whole_folder

_log = logging.getLogger(__name__)

_MAX_RETRIEVERS = 32  # of one process; each keeps what it learned of documents
_MATTER_TO_MAXSIM = {
    "candidates",
    "int8_candidates",
    "scan_rows",
    "exact_pages",
    "device",
    "device_bytes",
    "codes",
    "code_bits",
}
_SPARE_FILE = "spare-room"  # while the folder is open


class Engine:
    """One data folder, opened: repository, encoder, indexes. Parts are made when first wanted.

    The caller holds the folder's lock. Close it, or use it as a context manager.

    Args:
        settings: of everything.
        chat: in place of the chat model that the settings name; closed with the engine.

    Raises:
        BackendError: `data_damaged`, for a folder that is not as it was left.
    """

    def __init__(self, settings: Settings, *, chat: ChatModel | None = None) -> None:
        self.settings = settings
        if chat is not None:
            self.chat = chat
        self.folder = settings.store.data_dir
        keeping.opening(self.folder)
        self._is_kept = True
        try:
            self._open_parts()
        except BaseException:
            self._leave()
            raise

    def _open_parts(self) -> None:
        settings = self.settings
        self._room = DiskRoom(self.folder, settings.store.disk_reserve_bytes)
        self._spare = SpareRoom(self.folder / _SPARE_FILE)
        self._fatal_files = KeptFatalFiles.in_folder(self.folder)
        sources = self.folder / places.SOURCES
        sources.mkdir(exist_ok=True)  # reading processes are told what they may read
        self.isolated = IsolatedReader(
            settings.render,
            ocr=settings.ocr,
            ocr_cache=OcrCache(self.folder / OCR_FOLDER, settings.ocr.cache_bytes, self._room),
            fatal_files=self._fatal_files,
            readable=[sources],
        )
        self.repository = Repository(
            Manifest.in_folder(self.folder),
            PageStore(
                self.folder,
                self.isolated,
                cache_bytes=settings.render.image_cache_bytes,
                max_px=settings.render.max_px,
                room=self._room,
            ),
            self._index,
            pack_for=self.pack,
            room=self._room,
        )
        self._indexes: dict[str, PageIndex] = {}
        self._fdes: dict[str, FdeEncoder] = {}
        self._retrievers: dict[tuple[str, str], Retriever] = {}
        self._document_caches = DocumentCaches()
        self._patch_searches: dict[tuple[str, str], PatchSearch] = {}
        self._tunings: dict[str, Tuning | None] = {}
        self._packs: dict[str, PagePack] = {}
        self._encoder_notices: list[Notice] = []
        self._lock = threading.RLock()
        # Its own: packing the pages of an old collection can take minutes.
        self._packing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            self._close_parts()
        except BaseException:
            self._leave(has_failed=True)
            raise
        self._leave()

    def _leave(self, *, has_failed: bool = False) -> None:
        if self._is_kept:
            self._is_kept = False
            keeping.closed(self.folder, has_failed=has_failed)

    def _close_parts(self) -> None:
        self.isolated.close()
        if "encoder" in self.__dict__:  # made at all
            self.encoder.close()
        if "rerankers" in self.__dict__:
            self.rerankers.close()
        if (chat := self.__dict__.get("chat")) is not None:
            chat.close()
        with self._packing:
            for pack in self._packs.values():
                pack.close()
            self._packs.clear()
        with self._lock:
            for index in self._indexes.values():
                index.close()
            self._indexes.clear()
        self._fatal_files.close()
        self.repository.close()
        if "_conversations" in self.__dict__:
            self._conversations.close()

    @cached_property
    def encoder(self) -> PageEncoder:
        with self._lock:
            return load_encoder(self.settings.encoder)

    @cached_property
    def chat(self) -> ChatModel | None:
        """Raises ConfigError where `chat.model` has no server."""
        with self._lock:
            return load_chat(self.settings.chat)

    @cached_property
    def rerankers(self) -> Rerankers:
        return Rerankers(self.settings.retrieval.rerank, lambda: self.chat)

    @cached_property
    def _conversations(self) -> Conversations:
        with self._lock:
            return Conversations.in_folder(self.folder)

    def conversations(self, principal: Principal) -> PrincipalConversations:
        return PrincipalConversations(principal, self._conversations)

    def answer_model(self, settings: AnswerSettings) -> AnswerModel:
        """Raises ConfigError where a chat model is to answer and there is none."""
        match settings.model:
            case "extractive":
                return ExtractiveAnswers(settings)
            case "chat":
                return GeneratedAnswers(require_chat(self.chat, "answer.model"), settings)
            case other:
                assert_never(other)

    # --- one collection -------------------------------------------------------------------------
    def reader(self, principal: Principal, collection: str) -> CollectionReader:
        """Raises NotFound `unknown_collection`, IndexMismatch."""
        reader = self.repository.reader(principal, collection)
        self.repository.ensure_collection(collection, self._identity(collection))
        return reader

    def writer(self, principal: Principal, collection: str) -> CollectionWriter:
        """Makes the collection where there is none.

        Raises:
            IndexMismatch: it was made by another encoder or other settings.
            ModelFailed: `parity_failed`, before anything is made.
        """
        if not self.repository.has_collection(collection):
            self._compare_encoder()
            self.finish_drops()  # one of this name would take the new one's index with it
        self.repository.ensure_collection(collection, self._identity(collection))
        return self.repository.writer(principal, collection)

    def retriever(self, collection: str, changes: Json | None = None) -> Retriever:
        """Searches with this process's settings, and the changes that a request makes to them.

        Raises:
            ConfigError: `retrieval.device` cannot be had, or the changes are no settings.
        """
        key = (collection, json.dumps(changes or {}, sort_keys=True))
        with self._lock:
            if key not in self._retrievers:
                asked = changed_retrieval(self.settings.retrieval, changes or {})
                chosen = with_tuning(asked, self.tuning(collection))
                if len(self._retrievers) >= _MAX_RETRIEVERS:
                    self._retrievers.pop(next(iter(self._retrievers)))
                patches = self._patch_search(collection, chosen)
                models = SearchModels(self.rerankers.of, lambda: self.chat)
                self._retrievers[key] = Retriever(
                    self.encoder, patches, chosen, models, self._document_caches
                )
            return self._retrievers[key]

    def _patch_search(self, collection: str, chosen: RetrievalSettings) -> PatchSearch:
        """One for all settings that find the same: on a GPU it holds the collection's vectors."""
        key = (collection, chosen.model_dump_json(include=_MATTER_TO_MAXSIM))
        if key not in self._patch_searches:
            if len(self._patch_searches) >= _MAX_RETRIEVERS:
                self._patch_searches.pop(next(iter(self._patch_searches)))
            codes = CodedPages(chosen.code_bits) if chosen.codes == "bebr" else None
            found = PatchSearch(packed_search(self.fde(collection), chosen), codes)
            self._patch_searches[key] = found
        return self._patch_searches[key]

    def tuning(self, collection: str) -> Tuning | None:
        """What `keep_tuning` kept. Raises ConfigError `bad_tuning`."""
        with self._lock:
            if collection not in self._tunings:
                require_collection_name(collection)
                self._tunings[collection] = read_tuning(tuning_path(self.folder, collection))
            return self._tunings[collection]

    def keep_tuning(self, collection: str, tuning: Tuning | None) -> bool:
        """Search the collection with these settings from now on; None goes back to the defaults.

        Returns:
            Whether there was a tuning before.

        Raises:
            ConfigError: `not_written`; what was there before still holds.
        """
        require_collection_name(collection)
        path = tuning_path(self.folder, collection)
        with self._lock:
            was_there = replace_tuning(path, collection, tuning)
            self._tunings.pop(collection, None)
            for key in [key for key in self._retrievers if key[0] == collection]:
                del self._retrievers[key]
            return was_there

    def asker(
        self, collection: str, retrieval: Json | None = None, answering: Json | None = None
    ) -> Asker:
        """Answers with this process's settings, and the changes that a request makes to them.

        Raises:
            ConfigError: as `retriever` and `answer_model`.
        """
        chosen = changed_answers(self.settings.answer, answering or {})
        return Asker(self.retriever(collection, retrieval), self.answer_model(chosen), chosen)

    def fde(self, collection: str) -> FdeEncoder:
        """The collection's own matrices: drawn once, kept beside its index."""
        with self._lock:
            if collection not in self._fdes:
                spec = fde_spec(self.settings.fde, dim=self.encoder.identity.dim)
                path = self._collection_folder(collection) / FDE_FILE
                if path.exists():
                    self._fdes[collection] = FdeEncoder.load(path, spec=spec)
                else:
                    self._fdes[collection] = FdeEncoder(spec)
            return self._fdes[collection]

    def pack(self, collection: str) -> PagePack:
        """The collection's packed pages, made equal to its index when first asked for.

        Raises:
            BackendError: as the index and `open_synced` raise it.
        """
        with self._packing:
            if collection not in self._packs:
                fde = self.fde(collection)
                spec = PackSpec(self.encoder.identity.dim, fde.spec.fde_size, fde.fingerprint)
                index = self._index(collection)
                folder = self._collection_folder(collection) / PACK_FOLDER
                with self._unhurried(index):
                    self._packs[collection], _ = open_synced(folder, spec, index)
            return self._packs[collection]

    # --- a collection made again with these settings --------------------------------------------
    def replacement_writer(self, principal: Principal, collection: str) -> CollectionWriter:
        """Writes what will replace the collection; what other settings began is dropped.

        Raises:
            InputError: `same_encoder`, these settings made the collection as it is.
        """
        identity = self._identity(collection)
        held = self.repository.identity(principal, collection)
        if is_same_identity(held, json.loads(json.dumps(identity))):
            raise InputError(
                f"collection {collection!r} is made by {self.encoder.identity} already, with the "
                "same settings",
                code="same_encoder",
                next_step="Name another encoder with --to-encoder or --to-config.",
            )
        self._compare_encoder()
        if not self.repository.begin_replacement(collection, identity):
            self.drop_replacement(collection)
            self.repository.begin_replacement(collection, identity)
        return self.repository.writer(principal, replacement_name(collection))

    def drop_replacement(self, collection: str) -> bool:
        """Forget what was being made to replace the collection; whether there was something."""
        was_there = self.repository.drop_replacement(collection)
        self.remove_unused()
        return was_there

    def remove_unused(self) -> None:
        """Delete indexes of collections that were replaced; nobody may have them open."""
        collections = self.folder / "collections"
        found = sorted(path.name for path in collections.glob("*"))
        for name in self.repository.unused_folders(found):
            try:
                delete_index(self.settings.store, collections / name)
            except IndexUnavailable as error:  # nobody is in the way of what nobody uses
                _log.warning("an unused index stays until the next time: %s", error.message)
        try:
            self.finish_drops()
        except IndexUnavailable as error:
            _log.warning("a dropped collection goes the next time: %s", error.message)

    # --- collections and folders as a whole -----------------------------------------------------
    def identity(self, collection: str) -> Json:
        """What vectors and records of the collection mean, made with these settings."""
        return self._identity(collection)

    def has_room(self, n_bytes: int) -> bool:
        """Whether so much can be written to the disk of the data folder."""
        return self._room.has(n_bytes)

    def drop_collection(self, principal: Principal, collection: str) -> Json:
        """Delete a collection with everything in it.

        Raises:
            NotFound: `unknown_collection`.
            InputError: `not_permitted`; `collection_in_use` while a job is at work in it.
        """
        self.repository.identity(principal, collection)
        self.repository.dropping.require_idle(collection)
        self.finish_drops()  # of another collection that had this name
        if self.repository.drop_replacement(collection):
            self.remove_unused()
        self.repository.dropping.begin(principal, collection)
        self._forget(collection)
        left = self.finish_drops()[collection]
        self._forget(collection)  # a search that was on its way may have opened it again
        return {"dropped": collection, "left": left}

    def _forget(self, collection: str) -> None:
        """Whatever this process holds of a collection that is dropped: its name may come again."""
        with self._lock:
            for key in [key for key in self._patch_searches if key[0] == collection]:
                del self._patch_searches[key]
            # They hold the caches, and those know documents by collection and generation.
            self._retrievers.clear()
            self._document_caches = DocumentCaches()
            self._fdes.pop(collection, None)
            self._tunings.pop(collection, None)
        self.let_go_of(collection)

    def finish_drops(self) -> dict[str, dict[str, int]]:
        """Delete the indexes of dropped collections, and then forget these; what is left of them.

        Raises:
            IndexUnavailable: a Qdrant server does not answer.
        """
        left = {}
        for name, folder in self.repository.dropping.begun().items():
            place = self.folder / "collections" / folder
            tuning_path(self.folder, name).unlink(missing_ok=True)
            delete_index(self.settings.store, place)
            left[name] = self.repository.dropping.finish(name) | {"indexes": int(place.exists())}
        return left

    def snapshot(self, target: Path) -> Json:
        """A copy of the data folder as it is at one moment; writes wait for it, searches do not.

        Raises:
            ConfigError: `index_elsewhere`: a Qdrant server has the vectors.
            InputError: as `copy_folder`, and `inside_folder`.
            BackendError: `disk_full`.
        """
        require_whole_folder(self.settings, target)
        start = time.monotonic()
        with self.repository.standing_still():
            with self._lock:
                indexes = list(self._indexes.values())
            for index in indexes:
                index.flush()
            size_bytes = copy_data_folder(self.folder, target)
        return {
            "snapshot": target.name,
            "size_bytes": size_bytes,
            "seconds": round(time.monotonic() - start, 3),
        }

    def optimize(self, collection: str) -> None:
        """Where the disk has room for another copy of the index."""
        if not self._room.has(self.size_bytes(collection)):
            _log.warning("the index of %r is not merged: the disk has no room", collection)
            return
        self._index(collection).optimize()

    def page_index(self, collection: str) -> PageIndex:
        """The collection's records, whoever may see them: for upkeep alone."""
        return self._index(collection)

    def index_state(self) -> Json:
        """Where the page indexes run: on a `server`, in this process (`here`), or in a `process`
        of their own, with those that are open.
        """
        if self.settings.store.qdrant_url is not None:
            return {"kind": "server"}
        if not self.settings.store.index_process:
            return {"kind": "here"}
        with self._lock:
            opened = dict(self._indexes)
        return {
            "kind": "process",
            "open": {
                name: index.state()
                for name, index in opened.items()
                if isinstance(index, IndexProcess)
            },
        }

    def let_go_of(self, collection: str) -> None:
        """Close the index and the pack of a collection; they are opened again when wanted."""
        with self._packing, self._lock:
            if (pack := self._packs.pop(collection, None)) is not None:
                pack.close()
            if (index := self._indexes.pop(collection, None)) is not None:
                index.close()

    def _index(self, collection: str) -> PageIndex:
        with self._lock:
            if collection not in self._indexes:
                with starting_child(self.settings.store) as child:
                    fde = self.fde(collection)
                    identity = self.encoder.identity
                    spec = IndexSpec(identity.dim, identity.dense_dim, fde.spec.fde_size)
                    folder = self._collection_folder(collection)
                    folder.mkdir(parents=True, exist_ok=True)
                    self._indexes[collection] = open_index(
                        self.settings.store,
                        folder,
                        spec,
                        child=child,
                        spare=self._spare,
                        has_records=lambda: self._has_records(collection),
                    )
                if not (folder / FDE_FILE).exists():
                    fde.save(folder / FDE_FILE)
            return self._indexes[collection]

    def _unhurried(self, index: PageIndex) -> contextlib.AbstractContextManager[None]:
        """For what may take longer than a search, once the server answers."""
        if not isinstance(index, RemoteIndex):
            return contextlib.nullcontext()
        index.require_ready()
        return index.unhurried()

    def _has_records(self, collection: str) -> bool:
        return self.repository.reader(Principal.owner(), collection).n_pages() > 0

    def _collection_folder(self, collection: str) -> Path:
        if not is_replacement(collection):
            require_collection_name(collection)
        return self.folder / "collections" / self.repository.folder(collection)

    def size_bytes(self, collection: str) -> int:
        """What the collection's vectors and words take on this machine's disk."""
        folder = self._collection_folder(collection)
        # Blocks, not lengths: the store makes files longer than what it has written.
        return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())

    def take_encoder_notices(self) -> list[Notice]:
        """What was found out of the encoder when collections and pages were made; told once."""
        notices, self._encoder_notices = self._encoder_notices, []
        if isinstance(self.encoder, TellsNotices):
            notices += self.encoder.take_notices()
        return notices

    def _compare_encoder(self) -> None:
        """Before a collection is made with vectors from elsewhere: are they what they should be?

        Raises:
            ModelFailed: `parity_failed`.
        """
        if self.settings.encoder.name == "remote":
            from rag.encoders.parity import check_parity

            found = check_parity(self.encoder, self.settings.encoder, load_encoder)
            self._encoder_notices.append(found.notice())

    def _identity(self, collection: str) -> Json:
        """What vectors and records of the collection mean; a difference in any part is refused."""
        return collection_identity(
            self.settings, self.encoder, fde_fingerprint=self._fde_fingerprint(collection)
        )

    def _fde_fingerprint(self, collection: str) -> str:
        try:
            return self.fde(collection).fingerprint
        except IndexMismatch:
            # Those beside the index are for vectors of another size: not the ones asked for, as
            # whoever compares identities is about to say, with the encoders that made both.
            return FdeEncoder(
                fde_spec(self.settings.fde, dim=self.encoder.identity.dim)
            ).fingerprint
