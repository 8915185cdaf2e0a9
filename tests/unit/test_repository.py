"""The one way to pages: who sees what, and what a crash at any step leaves behind."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rag.disk_room import DiskRoom
from rag.errors import BackendError, DocumentError, InputError, NotFound, ShapeError
from rag.filters import Condition, Filter
from rag.manifest import (
    DocumentState,
    Incoming,
    Manifest,
    PageRow,
    PageState,
    StagedVersion,
    Unchanged,
    page_record_id,
)
from rag.page_pack import PackSpec, Part, open_synced
from rag.page_store import PageStore
from rag.page_text import PageText, VectorWords
from rag.ports import IndexSpec
from rag.repository import CollectionReader, CollectionWriter, Repository
from rag.repository import repository as repository_module
from rag.testing import MemoryIndex
from rag.types import PageField, PageRecord, PageRef, Principal, RenderedPage

OWNER = Principal.owner()
ANN = Principal("ann", frozenset({"finance"}))
BOB = Principal("bob")
DIM = 16
EVERYTHING = np.ones((1, DIM), np.float32)


class NoReader:
    def render(self, path: Path, page_number: int, *, dpi: float, max_px: int) -> RenderedPage:
        return RenderedPage(Image.new("L", (page_number, 2)), 612.0, 792.0)


class World:
    """A data folder with its parts, opened again after each crash."""

    def __init__(self, folder: Path, index: MemoryIndex | None = None) -> None:
        self.folder = folder
        self.index = index or MemoryIndex(IndexSpec(dim=DIM, dense_dim=DIM, fde_size=8))
        self.free = 10**12
        self.open(lambda part: part)

    def open(self, around: Callable) -> None:
        self.manifest = Manifest.in_folder(self.folder)
        self.page_store = PageStore(self.folder, NoReader())
        index = around(self.index)
        spec = PackSpec(DIM, 8, "fingerprint")
        self.pack, _ = open_synced(self.folder / "packed", spec, self.index)
        self.repository = Repository(
            around(self.manifest),
            around(self.page_store),
            lambda _: index,
            lambda _: self.pack,
            room=DiskRoom(self.folder, 200_000_000, lambda _: self.free),
        )
        self.manifest.ensure_collection("default", {})

    def reader(self, principal: Principal = OWNER) -> CollectionReader:
        return self.repository.reader(principal, "default")

    def writer(self, principal: Principal = OWNER) -> CollectionWriter:
        return self.repository.writer(principal, "default")

    def incoming(self, name: str, content: bytes, n_pages: int, **changes) -> Incoming:
        path = self.folder / name
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        return Incoming(f"id-{name}", "/in", name, digest, n_pages, **changes)

    def ingest(
        self, name: str, content: bytes = b"one", n_pages: int = 3, by=OWNER, **changes
    ) -> StagedVersion | Unchanged:
        incoming = self.incoming(name, content, n_pages, **changes)
        writer = self.writer(by)
        version = writer.begin(self.folder / name, incoming)
        if isinstance(version, StagedVersion):
            for number in range(1, n_pages + 1):
                if number not in version.recorded:
                    writer.add_pages(version, [record(version, number)], [row(version, number)])
            writer.publish(version, state=DocumentState.INDEXED, priors={1: 0.25})
        return version


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.manifest.close()


def row(version: StagedVersion, number: int, state=PageState.INDEXED) -> PageRow:
    return PageRow(
        number,
        state,
        612.0,
        792.0,
        record_id=page_record_id(version.version_id, number)
        if state is PageState.INDEXED
        else None,
        reason="render_timeout" if state is PageState.FAILED else "",
        text=PageText(
            (f"{version.sha256[:6]}", f"page{number}"),
            np.zeros((2, 4), np.float32),
            np.zeros(2, np.int32),
            np.zeros(2, np.float32),
            np.zeros(2, np.bool_),
        ),
        vector_words=VectorWords(np.array([number], np.int32)),
    )


def record(version: StagedVersion, number: int) -> PageRecord:
    vectors = np.full((1, DIM), 1 / (1 + number), np.float32)
    return PageRecord(
        page_record_id(version.version_id, number),
        {PageField.PATCHES: vectors, PageField.FDE: np.ones(8, np.float32)},
        {"readers": ["*"], "version_id": "forged", "language": "en"},
    )


def found(reader: CollectionReader, scope: Filter | None = None, limit=1000) -> list[PageRef]:
    """Every page that a search finds, best first."""
    (hits,) = reader.search_many([(PageField.PATCHES, EVERYTHING, limit)], scope)
    pages = reader.pages([hit.record_id for hit in hits])
    return [pages[hit.record_id].ref for hit in hits]


def refs(name: str, n_pages: int = 3) -> list[PageRef]:
    return [PageRef(f"id-{name}", number) for number in range(1, n_pages + 1)]


# --- reading what was written -------------------------------------------------------------------
def test_a_document_is_found_once_it_is_published(world):
    incoming = world.incoming("a.pdf", b"one", 2)
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", incoming)
    writer.add_pages(version, [record(version, 1)], [row(version, 1)])
    writer.add_pages(version, [record(version, 2)], [row(version, 2)])
    reader = world.reader()
    assert found(reader) == []
    assert (reader.ids(), reader.n_pages(), reader.documents()) == ([], 0, [])
    writer.publish(version, state=DocumentState.INDEXED)
    assert found(reader) == refs("a.pdf", 2)
    assert reader.n_pages() == 2


def test_a_page_comes_back_with_its_words_and_its_image(world):
    version = world.ingest("a.pdf")
    page = world.reader().page("id-a.pdf", 2)
    assert page.text.words == (version.sha256[:6], "page2")
    assert page.vector_words.words.tolist() == [2]
    assert (page.source, page.state, page.record_id) == (
        "a.pdf",
        PageState.INDEXED,
        page_record_id(version.version_id, 2),
    )
    assert world.reader().page_image(PageRef("id-a.pdf", 2)).image.width == 2
    texts = world.reader().page_texts([PageRef("id-a.pdf", 3), PageRef("id-a.pdf", 1)])
    assert {ref.page_number: text.words[1] for ref, text in texts.items()} == {
        1: "page1",
        3: "page3",
    }


def test_every_page_is_accounted_for_by_number(world):
    incoming = world.incoming("a.pdf", b"one", 3)
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", incoming)
    rows = [row(version, 1), row(version, 2, PageState.BLANK), row(version, 3, PageState.FAILED)]
    writer.add_pages(version, [record(version, 1)], rows)
    writer.publish(version, state=DocumentState.PARTIAL, features={"title": "T"})
    (document,) = world.reader().documents()
    assert document.as_dict() == {
        "document_id": "id-a.pdf",
        "source": "a.pdf",
        "state": "partial",
        "pages": 3,
        "blank_pages": [2],
        "no_text_pages": [],
        "failed_pages": [{"page_number": 3, "reason": "render_timeout"}],
        "metadata": {},
        "readers": ["user:owner"],
        "error": None,
    }
    assert found(world.reader()) == [PageRef("id-a.pdf", 1)]
    assert world.reader().page("id-a.pdf", 3).reason == "render_timeout"
    assert world.reader().document_features() == [("id-a.pdf", {"title": "T"})]


def test_what_retrieval_asks_of_pages_is_there(world):
    version = world.ingest("a.pdf")
    record_ids = [page_record_id(version.version_id, n) for n in (1, 2)]
    pages = world.reader().pages([*record_ids, "not-a-record"])
    assert [(p.ref.page_number, p.prior, p.n_pages) for p in pages.values()] == [
        (1, 0.25, 3),
        (2, 0.0, 3),
    ]
    assert world.reader().vectors([*record_ids, "no"], PageField.PATCHES).keys() == set(record_ids)


def test_records_and_rows_that_name_different_pages_are_refused(world):
    incoming = world.incoming("a.pdf", b"one", 3)
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", incoming)
    for records, rows in (
        ([record(version, 1)], [row(version, 2)]),
        ([record(version, 1)], []),
        ([], [row(version, 1)]),
    ):
        with pytest.raises(ShapeError):
            writer.add_pages(version, records, rows)
    assert world.index.count() == 0


def test_ingesting_twice_is_unchanged_and_encodes_nothing(world):
    first = world.ingest("a.pdf")
    assert world.ingest("a.pdf") == Unchanged("id-a.pdf", first.version_id)
    assert found(world.reader()) == refs("a.pdf")


def test_force_makes_a_new_version_of_the_same_bytes(world):
    first = world.ingest("a.pdf")
    writer = world.writer()
    incoming = world.incoming("a.pdf", b"one", 3)
    again = writer.begin(world.folder / "a.pdf", incoming, force=True)
    assert isinstance(again, StagedVersion)
    assert again.version_id != first.version_id


def test_a_source_that_was_lost_is_kept_again_without_encoding(world):
    first = world.ingest("a.pdf")
    world.page_store.release_source(first.sha256)
    assert isinstance(world.ingest("a.pdf"), Unchanged)
    assert world.page_store.source_path(first.sha256)


def test_a_new_version_takes_the_place_of_the_old_one_and_leaves_nothing_of_it(world):
    first = world.ingest("a.pdf", b"one", 3)
    reader = world.reader()
    assert len(found(reader)) == 3
    second = world.ingest("a.pdf", b"two", 2)
    assert found(reader) == refs("a.pdf", 2)
    assert reader.page("id-a.pdf", 1).text.words[0] == second.sha256[:6]
    assert world.index.count() == 2
    assert world.page_store.source_ids() == {second.sha256} != {first.sha256}


def test_pages_that_ended_otherwise_the_second_time_leave_no_record(world):
    incoming = world.incoming("a.pdf", b"one", 2)
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", incoming)
    writer.add_pages(version, [record(version, 1)], [row(version, 1)])
    world.index.upsert([stamped(version, 2)])  # a crash came before the manifest knew
    again = writer.begin(world.folder / "a.pdf", incoming)
    assert again.recorded == {1}
    writer.add_pages(again, [], [row(again, 2, PageState.FAILED)])
    writer.publish(again, state=DocumentState.PARTIAL)
    assert found(world.reader()) == [PageRef("id-a.pdf", 1)]
    assert world.index.count() == 1


def stamped(version: StagedVersion, number: int) -> PageRecord:
    made = record(version, number)
    payload = {
        "version_id": version.version_id,
        "page_number": number,
        "document_id": version.document_id,
        "readers": ["*"],
    }
    return PageRecord(made.record_id, made.vectors, payload)


def test_an_index_that_lost_records_is_not_published(world):
    incoming = world.incoming("a.pdf", b"one", 1)
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", incoming)
    writer.add_pages(version, [record(version, 1)], [row(version, 1)])
    world.index.delete(Filter())
    with pytest.raises(BackendError) as caught:
        writer.publish(version, state=DocumentState.INDEXED)
    assert caught.value.code == "incomplete_index"
    assert world.reader().documents() == []


def test_parallel_uploads_of_one_file_make_one_document(world):
    failures = []
    world.incoming("a.pdf", b"one", 3)

    def upload() -> None:
        try:
            world.ingest("a.pdf")
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=upload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert found(world.reader()) == refs("a.pdf")
    assert world.index.count() == 3


def test_a_search_during_which_a_version_was_begun_shows_none_of_it(world):
    world.ingest("a.pdf")
    staged = []

    class Racing(MemoryIndex):
        def search_many(self, *args, **kwargs):
            if not staged:
                incoming = world.incoming("b.pdf", b"two", 2)
                writer = world.writer()
                version = writer.begin(world.folder / "b.pdf", incoming)
                writer.add_pages(version, [record(version, 1)], [row(version, 1)])
                staged.append(version)
            return super().search_many(*args, **kwargs)

    world.index.__class__ = Racing
    assert found(world.reader(), limit=3) == refs("a.pdf")
    assert staged


def test_a_search_during_which_a_document_was_replaced_finds_the_new_version(world):
    world.ingest("a.pdf", b"one")
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", world.incoming("a.pdf", b"two", 2))
    numbers = (1, 2)
    writer.add_pages(
        version, [record(version, n) for n in numbers], [row(version, n) for n in numbers]
    )

    class Racing(MemoryIndex):
        def search_many(self, *args, **kwargs):
            # The request leaves the new version out; meanwhile the old one is swept away.
            writer.publish(version, state=DocumentState.INDEXED)
            return super().search_many(*args, **kwargs)

    world.index.__class__ = Racing
    assert found(world.reader()) == refs("a.pdf", 2)


# --- finding documents --------------------------------------------------------------------------
def test_a_document_is_resolved_by_id_source_or_file_name(world):
    world.folder.joinpath("sub").mkdir()
    world.ingest("sub/a.pdf")
    for name in ("id-sub/a.pdf", "sub/a.pdf", "a.pdf"):
        assert world.reader().resolve_document(name) == "id-sub/a.pdf"


def test_an_ambiguous_name_lists_the_matches_and_an_exact_source_is_not_ambiguous(world):
    for folder in ("x", "y"):
        world.folder.joinpath(folder).mkdir()
        world.ingest(f"{folder}/a.pdf")
    with pytest.raises(InputError) as caught:
        world.reader().resolve_document("a.pdf")
    assert caught.value.code == "ambiguous_document"
    assert "x/a.pdf (id-x/a.pdf), y/a.pdf (id-y/a.pdf)" in caught.value.message
    world.ingest("a.pdf")
    assert world.reader().resolve_document("a.pdf") == "id-a.pdf"


def test_an_unknown_document_comes_with_near_names(world):
    world.ingest("annual-2023.pdf")
    with pytest.raises(NotFound) as caught:
        world.reader().resolve_document("annual-2024.pdf")
    assert caught.value.code == "unknown_document"
    assert "annual-2023.pdf" in caught.value.next_step


def test_an_unknown_collection_names_those_the_principal_may_see(world):
    world.repository.ensure_collection("secret", {})
    world.ingest("a.pdf", readers=("user:ann",))
    for principal, known in ((OWNER, "default, secret"), (ANN, "default")):
        with pytest.raises(NotFound) as caught:
            world.repository.reader(principal, "reports")
        assert caught.value.code == "unknown_collection"
        assert caught.value.next_step == f"There are: {known}."
    with pytest.raises(NotFound) as missing:
        world.repository.reader(BOB, "missing")
    with pytest.raises(NotFound) as foreign:
        world.repository.reader(BOB, "default")
    assert missing.value.next_step == foreign.value.next_step
    with pytest.raises(NotFound):
        world.repository.writer(OWNER, "missing")


def test_a_scope_narrows_by_metadata_documents_and_pages(world):
    world.ingest("a.pdf", metadata={"year": 2023})
    world.ingest("b.pdf", b"two", metadata={"year": 2024})
    reader = world.reader()
    assert set(found(reader, reader.scope({"year": {"$gte": 2024}}))) == set(refs("b.pdf"))
    assert found(reader, reader.scope(documents=["a.pdf"])) == refs("a.pdf")
    assert found(reader, reader.scope(documents=["a.pdf"], pages=(2, 3))) == refs("a.pdf")[1:]
    assert reader.n_pages(reader.scope(pages=(1, 1))) == 2
    assert len(reader.ids(reader.scope(documents=[]))) == 6
    for pages in ((0, 1), (3, 2)):
        with pytest.raises(InputError):
            reader.scope(pages=pages)
    with pytest.raises(NotFound):
        reader.scope(documents=["c.pdf"])


# --- who may see what ---------------------------------------------------------------------------
PRINCIPALS = (OWNER, ANN, BOB, Principal("eve", frozenset({"finance", "hr"})))
ENTRIES = ("*", "user:ann", "user:bob", "group:finance", "group:hr")
leaves = st.builds(
    Condition,
    st.sampled_from(["readers", "version_id", "document_id", "page_number"]),
    st.sampled_from(["$eq", "$ne"]),
    st.sampled_from(["*", "group:hr", "id-0", "x", 1]),
)
scopes = st.recursive(
    leaves,
    lambda inner: st.builds(
        Filter,
        must=st.lists(inner, max_size=2).map(tuple),
        should=st.lists(inner, max_size=2).map(tuple),
        must_not=st.lists(inner, max_size=2).map(tuple),
    ),
    max_leaves=4,
).map(lambda part: Filter(must=(part,)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    readers=st.lists(st.sets(st.sampled_from(ENTRIES)), min_size=1, max_size=4),
    principal=st.sampled_from(PRINCIPALS),
    scope=st.none() | scopes,
)
def test_nobody_sees_a_page_of_a_document_they_may_not_read(
    tmp_path_factory, readers, principal, scope
):
    world = World(tmp_path_factory.mktemp("world"))
    try:
        for number, entries in enumerate(readers):
            world.ingest(str(number), str(number).encode(), 1, readers=tuple(entries))
        permitted = {
            f"id-{number}"
            for number, entries in enumerate(readers)
            if principal.is_owner or entries & set(principal.readers)
        }
        if not permitted:
            with pytest.raises(NotFound):
                world.reader(principal)
            return
        reader = world.reader(principal)
        assert {ref.document_id for ref in found(reader)} == permitted
        assert {document.document_id for document in reader.documents()} == permitted
        assert {document_id for document_id, _ in reader.document_features()} == permitted
        assert {ref.document_id for ref in found(reader, scope)} <= permitted
        assert reader.n_pages() == len(permitted)
        assert reader.n_pages(scope) <= len(permitted)
        everything = world.index.ids()
        assert len(reader.ids()) == len(permitted)
        assert len(reader.pages(everything)) == len(permitted)
        assert len(reader.vectors(everything, PageField.PATCHES)) == len(permitted)
        for name in map(str, range(len(readers))):
            if f"id-{name}" not in permitted:
                refuses(reader.page, f"id-{name}", 1)
                refuses(reader.page_texts, [PageRef(f"id-{name}", 1)])
                refuses(reader.page_image, PageRef(f"id-{name}", 1))
                refuses(reader.resolve_document, name)
                refuses(reader.document, f"id-{name}")
    finally:
        world.manifest.close()


def refuses(call: Callable, *arguments) -> None:
    with pytest.raises(NotFound):
        call(*arguments)


def test_foreign_pages_take_no_place_among_the_best(world):
    world.ingest("best.pdf", b"one", 3)
    world.ingest("last.pdf", b"two", 5, readers=("*",))
    reader = world.reader(BOB)
    assert found(reader, limit=5) == refs("last.pdf", 5)
    assert reader.n_pages(reader.scope(pages=(1, 9))) == 5
    assert len(reader.ids(reader.scope(pages=(1, 9)))) == 5


def test_foreign_and_missing_are_told_apart_nowhere(world):
    world.ingest("open.pdf", readers=("*",))
    world.ingest("mine.pdf", b"two")
    for call in (
        lambda name: world.reader(BOB).page(f"id-{name}", 1),
        lambda name: world.reader(BOB).resolve_document(name),
        lambda name: world.writer(BOB).delete(f"id-{name}"),
    ):
        foreign, missing = (answer_of(call, name) for name in ("mine.pdf", "gone.pdf"))
        assert foreign.replace("mine", "gone") == missing


def answer_of(call: Callable, name: str) -> str:
    with pytest.raises(NotFound) as caught:
        call(name)
    return str(caught.value.as_dict())


def test_only_the_ingester_and_the_owner_replace_or_delete(world):
    world.ingest("a.pdf", by=ANN, readers=("*",))
    for call in (
        lambda: world.ingest("a.pdf", b"two", by=BOB),
        lambda: world.writer(BOB).delete("id-a.pdf"),
        lambda: world.writer(BOB).refuse(world.incoming("a.pdf", b"", 0), DocumentError("no")),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.code == "not_permitted"
    assert found(world.reader(BOB)) == refs("a.pdf")
    world.ingest("a.pdf", b"two", 1)  # the owner mends it, and it stays Ann's
    assert set(world.writer(ANN).delete("id-a.pdf").values()) == {0}


def test_a_document_without_readers_is_its_ingesters_alone(world):
    world.ingest("open.pdf", b"two", readers=("*",))
    world.ingest("a.pdf", by=ANN)
    assert set(found(world.reader(ANN))) == {*refs("a.pdf"), *refs("open.pdf")}
    assert found(world.reader(BOB)) == refs("open.pdf")


def test_what_a_record_says_of_its_readers_is_overwritten(world):
    version = world.ingest("a.pdf", readers=("user:ann",))
    record_id = page_record_id(version.version_id, 1)
    payload = world.index.payloads([record_id])[record_id]
    assert payload["readers"] == ["user:ann"]
    assert payload["version_id"] == version.version_id
    assert payload["language"] == "en"


def test_tighter_readers_hold_as_soon_as_they_are_published(world):
    world.ingest("a.pdf", readers=("*",))
    reader = world.reader(BOB)
    assert found(reader) == refs("a.pdf")
    world.ingest("a.pdf", readers=("user:ann",))
    assert found(reader) == []


def test_jobs_are_shown_to_who_started_them(world):
    job_id = world.writer(ANN).start_job("ingest")
    world.writer(ANN).finish_job(job_id, state="done", totals={})
    assert [job.job_id for job in world.repository.jobs(ANN).all()] == [job_id]
    assert [job.job_id for job in world.repository.jobs(OWNER).all()] == [job_id]
    assert world.repository.jobs(BOB).all() == []
    with pytest.raises(NotFound) as caught:
        world.repository.jobs(BOB).job(job_id)
    assert caught.value.code == "unknown_job"


# --- failures, deletion, disk -------------------------------------------------------------------
def test_a_refused_file_is_listed_and_what_was_staged_of_it_goes(world):
    incoming = world.incoming("a.pdf", b"one", 2)
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", incoming)
    writer.add_pages(version, [record(version, 1)], [row(version, 1)])
    writer.refuse(incoming, DocumentError("locked", code="password_required"))
    (document,) = world.reader().documents()
    assert (document.state, document.error["code"]) == ("refused", "password_required")
    assert world.index.count() == 0
    assert world.page_store.source_ids() == set()
    with pytest.raises(NotFound):
        world.reader().page("id-a.pdf", 1)


def test_a_deleted_document_is_gone_in_every_kind(world):
    version = world.ingest("a.pdf")
    world.ingest("b.pdf", b"two")
    world.reader().page_image(PageRef("id-a.pdf", 1))
    left = world.writer().delete("id-a.pdf")
    kinds = (
        *("documents", "versions", "past_versions", "pages", "texts", "unstamped", "jobs"),
        *("records", "packed", "sources", "images", "ocr_words"),
    )
    assert left == dict.fromkeys(kinds, 0)
    assert world.page_store.source_path(version.sha256) is None
    assert found(world.reader()) == refs("b.pdf")


def test_a_file_that_two_documents_share_stays_until_the_last_goes(world):
    version = world.ingest("a.pdf")
    world.ingest("copy.pdf")
    assert set(world.writer().delete("id-a.pdf").values()) == {0}
    assert world.page_store.source_path(version.sha256)
    assert set(world.writer().delete("id-copy.pdf").values()) == {0}
    assert world.page_store.source_path(version.sha256) is None


def test_an_interrupted_document_can_be_seen_and_deleted_by_who_began_it(world):
    incoming = world.incoming("a.pdf", b"one", 2)
    writer = world.writer(ANN)
    version = writer.begin(world.folder / "a.pdf", incoming)
    writer.add_pages(version, [record(version, 1)], [row(version, 1)])
    assert writer.interrupted() == {"id-a.pdf": "a.pdf"}
    assert world.writer(BOB).interrupted() == {}
    with pytest.raises(NotFound):
        world.writer(BOB).delete("id-a.pdf")
    assert set(writer.delete("id-a.pdf").values()) == {0}
    assert world.index.count() == 0


def test_a_disk_that_is_nearly_full_is_refused_before_anything_is_written(world):
    world.free = 150_000_000
    with pytest.raises(BackendError) as caught:
        world.ingest("a.pdf")
    assert caught.value.code == "disk_full"
    assert world.page_store.source_ids() == set()


def test_a_batch_larger_than_the_room_for_it_is_refused_and_goes_on_later(world):
    incoming = world.incoming("a.pdf", b"one", 1)
    writer = world.writer()
    version = writer.begin(world.folder / "a.pdf", incoming)
    large = PageRecord(
        page_record_id(version.version_id, 1),
        {PageField.PATCHES: np.broadcast_to(np.float32(1), (5_000_000, DIM))},
        {},
    )
    world.free = 1_000_000_000  # four times 320 MB are wanted
    with pytest.raises(BackendError) as caught:
        writer.add_pages(version, [large], [row(version, 1)])
    assert caught.value.code == "disk_full"
    assert world.index.count() == 0
    world.ingest("a.pdf", n_pages=1)
    assert found(world.reader()) == refs("a.pdf", 1)


def test_a_sweep_that_fails_does_not_take_back_what_was_published(world):
    world.ingest("a.pdf", b"one", 3)

    class Failing(MemoryIndex):
        def delete(self, where):
            raise BackendError("the store is away")

    world.index.__class__ = Failing
    world.ingest("a.pdf", b"two", 2)
    assert found(world.reader()) == refs("a.pdf", 2)
    world.index.__class__ = MemoryIndex
    assert world.index.count() == 5
    world.writer().sweep()
    assert world.index.count() == 2


# --- a crash at every step ----------------------------------------------------------------------
class Crash(BaseException):
    """The process is gone: nothing between here and the reopening runs."""


class CrashAt:
    """Counts the writing calls of every part, and ends the process before the n-th."""

    WRITES = frozenset(
        {
            *("keep_source", "release_source", "clear_temporary"),
            *("upsert", "flush", "delete"),
            *("begin_version", "record_pages", "publish", "record_failure"),
            *("delete_document", "forget_version", "find_unchanged"),
        }
    )

    def __init__(self, step: int) -> None:
        self.step = step
        self.n_calls = 0

    def __call__(self, part):
        crash = self

        class Around:
            def __getattr__(self, name):
                real = getattr(part, name)
                if name not in crash.WRITES:
                    return real

                def call(*args, **kwargs):
                    crash.n_calls += 1
                    if crash.n_calls == crash.step:
                        raise Crash
                    return real(*args, **kwargs)

                return call

        return Around()


class ForgetfulIndex(MemoryIndex):
    """What was not flushed is lost at a crash, or kept: a store promises neither."""

    def __init__(self, *, loses_unflushed: bool) -> None:
        super().__init__(IndexSpec(dim=DIM, dense_dim=DIM, fde_size=8))
        self._durable: dict[str, PageRecord] = {}
        self._loses_unflushed = loses_unflushed

    def flush(self) -> None:
        self._durable = dict(self._records)

    def crash(self) -> None:
        if self._loses_unflushed:
            self._records = dict(self._durable)


def acknowledged(world: World) -> dict[str, set[int]]:
    """Pages the manifest counts as durable, by version."""
    with world.manifest._reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT version_id, page_number FROM pages WHERE record_id IS NOT NULL"
        ).all()
    counted: dict[str, set[int]] = {}
    for version_id, number in rows:
        counted.setdefault(version_id, set()).add(number)
    return counted


def check_consistent(world: World) -> None:
    """Nothing acknowledged is missing, nothing is there twice, nothing half is shown."""
    records = set(world.index.ids())
    hidden = set(world.manifest.visibility("default")[1])
    for version_id, numbers in acknowledged(world).items():
        if version_id in world.manifest.retired("default"):
            continue
        wanted = {page_record_id(version_id, number) for number in numbers}
        assert wanted <= records
        if version_id not in hidden:
            held = world.index.ids(Filter(must=(Condition("version_id", "$eq", version_id),)))
            assert set(held) == wanted
    for document in world.reader().documents():
        if document.sha256:
            assert world.page_store.source_path(document.sha256)


ALLOWED = {
    # What a search may find of a.pdf around each operation: the old whole, or the new whole.
    "ingest": ([], refs("a.pdf", 4)),
    "replace": (refs("a.pdf", 3), refs("a.pdf", 4)),
    "delete": (refs("a.pdf", 3), []),
    "refuse": (refs("a.pdf", 3), refs("a.pdf", 3)),
}


def operate(world: World, operation: str) -> None:
    if operation in ("ingest", "replace"):
        world.ingest("a.pdf", b"new", 4)
    elif operation == "delete":
        try:
            world.writer().delete("id-a.pdf")
        except NotFound:
            world.writer().sweep()  # the crash came after it had become invisible
    else:
        incoming = world.incoming("a.pdf", b"bad", 0)
        world.writer().refuse(incoming, DocumentError("damaged"), state=DocumentState.FAILED)


def prepare(world: World, operation: str) -> None:
    if operation != "ingest":
        world.ingest("a.pdf", b"old", 3)
    world.ingest("other.pdf", b"other", 2)
    if operation == "refuse":  # something staged, to be thrown away
        writer = world.writer()
        version = writer.begin(world.folder / "a.pdf", world.incoming("a.pdf", b"half", 4))
        writer.add_pages(version, [record(version, 1)], [row(version, 1)])


@pytest.mark.parametrize("loses_unflushed", [True, False])
@pytest.mark.parametrize("operation", list(ALLOWED))
def test_a_crash_at_any_step_loses_nothing_and_shows_nothing_half(
    tmp_path, operation, loses_unflushed
):
    n_steps = 0
    for step in range(1, 100):
        folder = tmp_path / str(step)
        world = World(folder, ForgetfulIndex(loses_unflushed=loses_unflushed))
        prepare(world, operation)
        world.index.flush()
        world.manifest.close()
        crash = CrashAt(step)
        world.open(crash)
        try:
            operate(world, operation)
        except Crash:
            n_steps += 1
        else:
            break
        finally:
            world.manifest.close()
        world.index.crash()

        world.open(lambda part: part)
        old, new = ALLOWED[operation]
        check_consistent(world)
        of_a = [ref for ref in found(world.reader()) if ref.document_id == "id-a.pdf"]
        assert of_a in (old, new), f"step {step}"
        operate(world, operation)  # the user runs the command again
        check_consistent(world)
        reader = world.reader()
        of_a = [ref for ref in found(reader) if ref.document_id == "id-a.pdf"]
        assert of_a == new, f"step {step}"
        assert set(refs("other.pdf", 2)) <= set(found(reader))
        world.writer().sweep()
        assert world.index.count() == len(found(reader)), f"step {step}"
        assert world.page_store.source_ids() == world.manifest.used_bytes(), f"step {step}"
        world.manifest.close()
    else:
        pytest.fail("the operation never came to its end")
    assert n_steps >= {"ingest": 17, "replace": 20, "delete": 5, "refuse": 5}[operation]


# --- packed pages -------------------------------------------------------------------------------
class ClearedByAnother(dict):
    """Emptied by another thread as soon as something is put into it."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.clear()


def test_what_another_thread_forgets_of_packed_places_is_found_all_the_same(world):
    world.ingest("a.pdf")
    view = world.pack.view()
    snapshot = world.reader()._snapshot()
    snapshot._packed[view] = ClearedByAnother()
    among, missing = snapshot.packed_places(view, None, lambda _: True)
    assert ([view.ids[i] for i in among], missing) == (list(view.ids), ())


def fail_to_sync(monkeypatch, error: Exception) -> list[int]:
    """One element for every time that a search tries."""
    tries = []

    def failing(*_):
        tries.append(1)
        raise error

    monkeypatch.setattr(repository_module, "sync", failing)
    return tries


@pytest.mark.parametrize("error", [BackendError("disk full"), ShapeError("a row of zeros")])
def test_a_search_goes_on_where_pages_cannot_be_packed(world, monkeypatch, caplog, error):
    world.ingest("a.pdf")
    fail_to_sync(monkeypatch, error)
    world.pack.set_aside(world.reader().ids()[:1])
    packed = world.reader().packed()
    assert (len(packed.among), len(packed.missing)) == (2, 1)
    assert "could not be mended" in caplog.text


def test_packing_that_failed_is_left_alone_by_searches_for_a_while_and_by_writers_never(
    world, monkeypatch
):
    world.ingest("a.pdf")
    world.pack.set_aside(world.reader().ids()[:1])
    with monkeypatch.context() as patched:
        tries = fail_to_sync(patched, BackendError("disk full"))
        for _ in range(3):
            world.reader().packed()
        world.reader().mend_packed(world.reader().ids()[1:2])
        assert (len(tries), len(world.pack)) == (1, 1)
        patched.setattr(repository_module, "_MEND_AGAIN_S", 0.0)
        world.reader().packed()
        assert len(tries) == 2
    assert len(world.reader().packed().missing) == 2
    world.writer().sweep()
    assert world.reader().packed().missing == ()


def test_damaged_vectors_come_from_the_index_and_are_packed_anew(world, caplog):
    world.ingest("a.pdf")
    ids = world.reader().ids()
    sound = world.index.vectors(ids, PageField.PATCHES)
    state = world.pack._state
    rows = np.ones((1, DIM * 2), np.uint8)
    state.files.write(Part.FP16, int(state.table["first_row"][state.index_of[ids[0]]]), rows)
    for _ in range(2):
        found = world.reader().vectors(ids, PageField.PATCHES)
        for record_id in ids:
            np.testing.assert_allclose(found[record_id], sound[record_id], rtol=1e-3)
    assert caplog.text.count(f"packed anew: {ids[0]}") == 1
    assert world.pack.verify().damaged == ()
    assert world.pack.ids() == set(ids)
