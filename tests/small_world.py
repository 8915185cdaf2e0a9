"""A collection small enough for exact arithmetic: hashed words as vectors, all in memory."""

import hashlib
from pathlib import Path

import numpy as np

from ingestion.embed import Embedder
from ingestion.store import store_batch
from ingestion.text import document_view
from rag.errors import InputError
from rag.manifest import DocumentState, Incoming, Manifest
from rag.page_pack import PackSpec, open_synced
from rag.page_store import PageStore
from rag.page_text import PageText
from rag.patch_search import PatchSearch
from rag.ports import EncodedPage, EncodedQuery, EncoderIdentity, IndexSpec, ScannedPage
from rag.ranking.legs import Mode
from rag.repository import Repository
from rag.retrieve import Retriever, SearchRequest
from rag.scoring.fde import FdeEncoder, FdeSpec
from rag.settings import RetrievalSettings
from rag.testing import MemoryIndex
from rag.types import MultiVector, PageRef, Principal
from rag.wiring import packed_search

DIM = 16
OWNER = Principal.owner()


def word_vector(word: str) -> np.ndarray:
    """A unit vector that depends on the word alone."""
    seed = int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def rows(words) -> np.ndarray:
    return np.array([word_vector(word) for word in words], np.float32).reshape(-1, DIM)


def page_text(words) -> PageText:
    n = len(words)
    boxes = np.array([[20.0 * i, 10, 20.0 * i + 18, 20] for i in range(n)], np.float32)
    return PageText(
        tuple(words),
        boxes.reshape(n, 4),
        np.zeros(n, np.int32),
        np.full(n, 10, np.float32),
        np.zeros(n, np.bool_),
    )


class WordHasher:
    """A PageEncoder without a model."""

    wants_image = False
    identity = EncoderIdentity("hash", "1", DIM, DIM)

    def encode_pages(self, pages):
        return [
            EncodedPage(
                patches=MultiVector(rows(page.text.words), boxes=page.text.boxes),
                patch_words=np.arange(len(page.text), dtype=np.int32),
                dense=rows(page.text.words).mean(axis=0, keepdims=True)
                if len(page.text)
                else np.zeros((0, DIM), np.float32),
                headings=MultiVector(rows(page.text.words[:2]), boxes=page.text.boxes[:2]),
            )
            for page in pages
        ]

    def encode_query(self, text, *, image=None):
        if not text.split():
            raise InputError("no word")
        tokens = rows(text.split())
        return EncodedQuery(MultiVector(tokens), tokens.mean(axis=0))


class World:
    """Documents as lists of pages, each a list of words."""

    def __init__(self, folder: Path, documents, encoder=None, **retrieval) -> None:
        self.documents = documents
        encoder = self.encoder = encoder or WordHasher()
        fde = FdeEncoder(FdeSpec(DIM, repetitions=8, simhash_bits=3, projection_dim=8, seed=1))
        index = self.index = MemoryIndex(IndexSpec(DIM, DIM, fde.spec.fde_size))
        self.pack, _ = open_synced(
            folder / "packed", PackSpec(DIM, fde.spec.fde_size, fde.fingerprint), index
        )
        self.fde = fde
        self.repository = Repository(
            Manifest.in_folder(folder),
            PageStore(folder, None),
            lambda _: index,
            pack_for=lambda _: self.pack,
        )
        self.repository.ensure_collection("c", {})
        writer = self.repository.writer(OWNER, "c")
        embedder = Embedder(encoder, fde)
        for name, pages in documents.items():
            path = folder / f"{name}.pdf"
            path.write_bytes(name.encode())
            version = writer.begin(
                path,
                Incoming(
                    document_id=name,
                    root=str(folder),
                    source=f"{name}.pdf",
                    sha256=hashlib.sha256(name.encode()).hexdigest(),
                    n_pages=len(pages),
                    metadata={"name": name},
                    readers=("user:ann",) if name == "foreign" else ("*",),
                ),
            )
            scanned = [
                ScannedPage(number, 612, 792, page_text(words), True, f"{name}{number}")
                for number, words in enumerate(pages, start=1)
            ]
            store_batch(writer, version, embedder.embed(name, version.version_id, scanned), [])
            texts = {page.page_number: page.text for page in scanned}
            features, priors = document_view(f"{name}.pdf", "", texts, has_captions=False)
            writer.publish(version, state=DocumentState.INDEXED, features=features, priors=priors)
        self.reader = self.repository.reader(OWNER, "c")
        self.retriever = self.retriever_with(**retrieval)

    def retriever_with(self, **retrieval):
        settings = RetrievalSettings(**retrieval)
        return Retriever(self.encoder, PatchSearch(packed_search(self.fde, settings)), settings)

    def pages(self):
        return {
            PageRef(name, number): words
            for name, pages in self.documents.items()
            for number, words in enumerate(pages, start=1)
        }

    def found(self, question, reader=None, **options):
        options = {"top_k": 50, "mode": Mode.HYBRID, **options}
        return self.retriever.search(reader or self.reader, SearchRequest(question, **options)).hits
