"""Pages that have not changed are not encoded again, and nothing shows that they were not."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting_encoders import LOG
from ingest_place import Place
from PIL import Image
from scans import scanned_pdf

from ingestion.migrate import migrate
from ingestion.reuse import PageReuse, input_digest
from rag.apps.cli.app import run
from rag.apps.service import Service
from rag.encoders.words import WordsEncoder
from rag.failpoints import VARIABLE
from rag.geometry import Box
from rag.index.contract import MAX_MULTI_VECTOR_FLOATS
from rag.ocr import choose
from rag.page_text import PageText
from rag.ports import EncodedPage, PageEncoder, PageInput, ScannedPage
from rag.renderers.worker import PageRequest, scan_page
from rag.repository import HeldVectors
from rag.settings import load_settings
from rag.testing import PdfPage, PdfText, make_pdf
from rag.testing.palette_encoder import PaletteEncoder
from rag.types import PageField, PageRecord, Principal, SparseVector
from rag.wiring import Engine, load_encoder

N_PAGES = 20
OWNER = Principal.owner()


def chapter(number: int) -> str:
    return f"# Pier {number}\nHerons stand in {7 * number} inches of water beside pier {number}."


CHAPTERS = [chapter(number) for number in range(1, N_PAGES + 1)]
CHANGED = [*CHAPTERS[:6], "# Pier 7\nOtters sleep beside pier 7 now.", *CHAPTERS[7:]]


class Counting:
    """An encoder that counts the pages it is given."""

    def __init__(self, encoder: PageEncoder) -> None:
        self._encoder = encoder
        self.identity, self.wants_image = encoder.identity, encoder.wants_image
        self.encode_query, self.close = encoder.encode_query, encoder.close
        self._given: list[int] = []

    def encode_pages(self, pages: Sequence[PageInput]) -> list[EncodedPage]:
        self._given += [page.ref.page_number for page in pages]
        return self._encoder.encode_pages(pages)

    def take_given(self) -> list[int]:
        """Numbers of the pages that were encoded since this was asked last."""
        given, self._given = sorted(self._given), []
        return given


@contextmanager
def opened(folder: Path, encoder: Counting, **settings: Any) -> Iterator[Engine]:
    chosen = {"store": {"data_dir": folder}, "render": {"workers": 1}, **settings}
    with (
        pytest.MonkeyPatch.context() as patch,
        Engine(load_settings(overrides=chosen, environ={})) as engine,
    ):
        patch.setattr("rag.wiring.engine.load_encoder", lambda _: encoder)
        yield engine


class Shelf:
    """A collection of its own and a folder of documents."""

    def __init__(self, engine: Engine, encoder: Counting, docs: Path, collection: str) -> None:
        self.engine, self.encoder, self.collection = engine, encoder, collection
        self.docs = docs
        self.docs.mkdir()
        encoder.take_given()

    def write(self, name: str, pages: Sequence[PdfPage | str]) -> None:
        (self.docs / name).write_bytes(make_pdf(pages))

    def copy(self, name: str, to: str) -> None:
        shutil.copy(self.docs / name, self.docs / to)

    def service(self, who: Principal = OWNER) -> Service:
        return Service(self.engine, who)

    def ingest(self, who: Principal = OWNER, **options: Any) -> dict[str, dict[str, Any]]:
        """What became of each file, and the totals as ""."""
        told: dict[str, dict[str, Any]] = {}

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "document":
                told[event["source"]] = event

        totals = self.service(who).ingest(
            paths=[self.docs], collection=self.collection, on_event=hear, **options
        )
        return told | {"": totals}

    def delete(self, name: str) -> dict[str, int]:
        left: dict[str, int] = self.service().delete(documents=[name], collection=self.collection)[
            "left"
        ]
        return left

    def versions(self, name: str) -> list[dict[str, Any]]:
        shown = self.service().show(document=name, collection=self.collection)
        found: list[dict[str, Any]] = shown["versions"]
        return found

    def records(self) -> dict[tuple[str, int], tuple[PageRecord, list[bytes | None]]]:
        """By source and page number: the record, and what the manifest says its vectors are of."""
        reader = self.engine.repository.reader(OWNER, self.collection)
        ids = reader.ids()
        pages = reader.pages(ids)
        found = {}
        for record in self.engine._index(self.collection).records(ids):
            page = pages[record.record_id]
            stored = reader.page(page.ref.document_id, page.ref.page_number)
            places = [
                None if each is None else each.to_bytes()
                for each in (stored.vector_words, stored.vector_boxes)
            ]
            found[page.source, page.ref.page_number] = (record, places)
        return found

    def found(self, query: str, mode: str) -> dict[int, tuple[object, ...]]:
        """Snippet, boxes and score by page; a store adds up scores of words in no fixed order."""
        hits = self.service().search(query=query, collection=self.collection, top_k=50, mode=mode)[
            "hits"
        ]
        return {
            hit["page_number"]: (
                hit["snippet"],
                hit["boxes"],
                hit["score"],
            )
            for hit in hits
        }


def same(one: PageRecord, other: PageRecord, *, but: Sequence[PageField] = ()) -> bool:
    """Whether two records have the same vectors, to the bit."""
    return one.vectors.keys() == other.vectors.keys() and all(
        np.array_equal(a, b)
        for name in one.vectors.keys() - set(but)
        for a, b in zip(_arrays(one.vectors[name]), _arrays(other.vectors[name]), strict=True)
    )


def _arrays(vector: Any) -> tuple[np.ndarray, ...]:
    return (vector.indices, vector.values) if isinstance(vector, SparseVector) else (vector,)


@pytest.fixture(scope="module")
def words() -> Iterator[Counting]:
    encoder = load_encoder(load_settings(environ={}).encoder)
    assert isinstance(encoder, WordsEncoder)
    counting = Counting(encoder)
    counting.close = lambda: None  # engines come and go
    yield counting
    encoder.close()


@pytest.fixture(scope="module")
def engine(words: Counting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with opened(tmp_path_factory.mktemp("data"), words) as engine:
        yield engine


@pytest.fixture
def shelf(engine: Engine, words: Counting, tmp_path: Path) -> Shelf:
    return Shelf(engine, words, tmp_path / "docs", f"c{tmp_path.name[-12:]}")


@pytest.fixture(scope="module")
def changed(
    engine: Engine, words: Counting, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Shelf, Shelf, dict[str, Any]]:
    """A file of which a page changed, ingested before and after, and elsewhere all encoded again.

    Both are replaced: scores by words count a deleted record for a while.
    """
    place = tmp_path_factory.mktemp("changed")
    twice = Shelf(engine, words, place / "twice", "twice")
    forced = Shelf(engine, words, place / "forced", "forced")
    for each in (twice, forced):
        each.write("piers.pdf", CHAPTERS)
    said: dict[str, Any] = {"first": twice.ingest(), "given first": words.take_given()}
    forced.ingest()
    words.take_given()
    for each in (twice, forced):
        each.write("piers.pdf", CHANGED)
    said |= {"second": twice.ingest(), "given second": words.take_given()}
    forced.ingest(force=True)
    assert len(words.take_given()) == N_PAGES
    return twice, forced, said


# --- a new version ------------------------------------------------------------------------------
def test_of_a_new_version_the_changed_page_alone_is_encoded(changed):
    *_, said = changed
    assert said["first"]["piers.pdf"]["reused_pages"] == 0
    assert said["given first"] == list(range(1, N_PAGES + 1))
    event, totals = said["second"]["piers.pdf"], said["second"][""]
    assert (event["state"], event["pages"]) == ("replaced", N_PAGES)
    assert (event["reused_pages"], totals["reused_pages"]) == (N_PAGES - 1, N_PAGES - 1)
    assert totals["pages"] == {"indexed": N_PAGES, "blank": 0, "failed": 0}
    assert said["given second"] == [7]


def test_records_are_those_that_encoding_again_would_give(changed):
    twice, forced, _ = changed
    ours, theirs = twice.records(), forced.records()
    assert ours.keys() == theirs.keys()
    assert len(ours) == N_PAGES
    for key, (record, places) in ours.items():
        wanted, wanted_places = theirs[key]
        assert {PageField.PATCHES, PageField.FDE, PageField.DENSE} <= record.vectors.keys()
        assert same(record, wanted), key
        assert places == wanted_places
        assert places[0] is not None


@pytest.mark.parametrize("mode", ["hybrid", "visual", "text"])
@pytest.mark.parametrize("query", ["how deep is pier 7", "otters", "herons at pier 13"])
def test_searches_find_what_they_find_where_all_was_encoded_again(changed, query, mode):
    twice, forced, _ = changed
    ours, theirs = twice.found(query, mode), forced.found(query, mode)
    assert len(ours) > 0
    assert ours.keys() == theirs.keys()
    for page_number, (snippet, boxes, score) in ours.items():
        assert (snippet, boxes) == theirs[page_number][:2]
        assert theirs[page_number][2] == pytest.approx(score, rel=1e-5, abs=1e-6)


def test_show_tells_the_versions_newest_first(changed):
    twice, _, _ = changed
    shown = twice.service().show(document="piers.pdf", collection="twice")
    newest, oldest = shown["versions"]
    assert newest["sha256"] == shown["sha256"] != oldest["sha256"]
    assert (newest["reused_pages"], oldest["reused_pages"]) == (N_PAGES - 1, 0)
    wanted = {"pages": N_PAGES, "source": "piers.pdf", "ingested_by": "owner", "ended_at": None}
    assert newest | wanted == newest
    assert oldest["published_at"] < oldest["ended_at"] == newest["published_at"]


def test_people_read_how_many_pages_were_unchanged(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OCTAVO_RENDER__WORKERS", "1")
    place = Place(tmp_path)
    told = []
    for last in ("# Old", "# New"):
        (place.docs / "a.pdf").write_bytes(make_pdf([*CHAPTERS[:2], last]))
        assert run(["ingest", str(place.docs), "--data-dir", str(place.data)]) == 0
        told.append(capsys.readouterr().out)
    assert "unchanged" not in told[0]
    assert "a.pdf  3 pages (2 of 3 pages unchanged)" in told[1]
    assert run(["show", "a.pdf", "--data-dir", str(place.data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (place_of_versions,) = [n for n, line in enumerate(lines) if "until" in line]
    assert "now" in lines[place_of_versions + 2]


def test_a_page_put_in_shifts_numbers_and_encodes_nothing_else(shelf):
    shelf.write("a.pdf", CHAPTERS[:8])
    shelf.ingest()
    shelf.encoder.take_given()
    shelf.write("a.pdf", ["# Preface\nA word before.", *CHAPTERS[:8]])
    assert shelf.ingest()["a.pdf"]["reused_pages"] == 8
    assert shelf.encoder.take_given() == [1]
    reused = shelf.records()
    assert sorted(number for _, number in reused) == list(range(1, 10))
    told = shelf.ingest(force=True)
    assert shelf.encoder.take_given() == list(range(1, 10))
    assert (told["a.pdf"]["reused_pages"], told[""]["reused_pages"]) == (0, 0)
    for key, (record, places) in shelf.records().items():
        assert same(record, reused[key][0]), key
        assert places == reused[key][1]


# --- a second document --------------------------------------------------------------------------
def test_the_same_bytes_under_another_name_encode_nothing(shelf):
    shelf.write("a.pdf", CHAPTERS[:5])
    shelf.ingest()
    shelf.encoder.take_given()
    shelf.copy("a.pdf", "b.pdf")
    told = shelf.ingest()
    assert (told["b.pdf"]["state"], told["b.pdf"]["reused_pages"]) == ("indexed", 5)
    assert (told["a.pdf"]["state"], told["a.pdf"]["reused_pages"]) == ("unchanged", 0)
    assert shelf.encoder.take_given() == []
    records = shelf.records()
    for number in range(1, 6):
        # The name of its file is among a page's context words, and nowhere else.
        ours, theirs = records["b.pdf", number][0], records["a.pdf", number][0]
        assert same(ours, theirs, but=[PageField.CONTEXT_WORDS])
        assert ours.payload["document_id"] != theirs.payload["document_id"]
    left = shelf.delete("a.pdf")
    assert left["past_versions"] == 0
    assert set(left.values()) == {0}
    assert {source for source, _ in shelf.records()} == {"b.pdf"}


def test_nobody_learns_from_a_count_what_others_hold(shelf):
    shelf.write("a.pdf", CHAPTERS[:3])
    ann, bob, eve, dan = (
        Shelf(shelf.engine, shelf.encoder, shelf.docs / who, shelf.collection)
        for who in ("ann", "bob", "eve", "dan")
    )
    # Each from a folder of their own: the same path would be the same document.
    for each in (ann, bob, eve, dan):
        shutil.copy(shelf.docs / "a.pdf", each.docs / "a.pdf")

    def reused(who: Shelf, name: str, *readers: str) -> int:
        totals = who.ingest(Principal(name), readers=list(readers) or None)[""]
        n: int = totals["reused_pages"]
        assert len(who.encoder.take_given()) == 3 - n
        return n

    assert reused(ann, "ann") == 0
    assert reused(bob, "bob", "user:eve") == 0  # though ann has it
    assert reused(eve, "eve") == 3  # bob lets eve read his
    assert reused(dan, "dan") == 0
    shelf.copy("a.pdf", "bob/again.pdf")
    assert reused(bob, "bob") == 3  # what bob wrote, who may not read it himself


# --- what comes between -------------------------------------------------------------------------
@pytest.mark.parametrize("first", ["the deletion", "the read"])
def test_a_document_deleted_while_its_pages_are_taken_loses_nobody_a_page(
    shelf, first, monkeypatch
):
    shelf.write("a.pdf", CHAPTERS[:3])
    shelf.ingest()
    # Another root as well as another name: no move of the same document.
    elsewhere = shelf.docs.with_name("elsewhere")
    elsewhere.mkdir()
    shutil.copy(shelf.docs / "a.pdf", elsewhere / "b.pdf")
    shelf.docs = elsewhere
    shelf.encoder.take_given()
    index = shelf.engine._index(shelf.collection)
    read = type(index).records
    left: list[dict[str, int]] = []

    def records(self: object, ids: Sequence[str]) -> list[PageRecord]:
        found = read(self, ids) if first == "the read" else []
        if not left:
            left.append({"unfinished": 1})
            deleting = threading.Thread(target=lambda: left.append(shelf.delete("a.pdf")))
            deleting.start()
            deleting.join()
        return found or read(self, ids)

    monkeypatch.setattr(type(index), "records", records)
    totals = shelf.ingest()[""]
    monkeypatch.undo()
    assert set(left[1].values()) == {0}
    assert totals["pages"]["indexed"] == 3
    assert totals["reused_pages"] == (3 if first == "the read" else 0)
    assert len(shelf.encoder.take_given()) == 3 - totals["reused_pages"]
    assert sorted(shelf.records()) == [("b.pdf", number) for number in (1, 2, 3)]
    assert index.count() == 3


def test_vectors_that_are_not_those_that_were_stored_are_not_taken(shelf):
    shelf.write("a.pdf", CHAPTERS[:3])
    shelf.ingest()
    shelf.encoder.take_given()
    index = shelf.engine._index(shelf.collection)
    damaged, _ = shelf.records()["a.pdf", 2]
    vectors = {**damaged.vectors, PageField.DENSE: -np.asarray(damaged.vectors[PageField.DENSE])}
    index.upsert([dataclasses.replace(damaged, vectors=vectors)])
    index.flush()
    shelf.copy("a.pdf", "b.pdf")
    assert shelf.ingest()["b.pdf"]["reused_pages"] == 2
    assert shelf.encoder.take_given() == [2]


@pytest.mark.parametrize(
    "step", ["upserted:2", pytest.param("published", marks=pytest.mark.nightly)]
)
def test_an_ingest_killed_on_the_way_counts_and_keeps_what_it_reused(tmp_path, monkeypatch, step):
    monkeypatch.setenv("OCTAVO_RENDER__WORKERS", "1")
    place = Place(tmp_path)
    log = tmp_path / "encoded.txt"
    log.touch()
    monkeypatch.setenv(LOG, str(log))
    flags = ("ingest", place.docs, "--encoder", "custom:counting_encoders:counted_words")
    (place.docs / "a.pdf").write_bytes(make_pdf(CHAPTERS[:8]))
    assert place.here(*flags).code == 0
    log.write_text("")
    (place.docs / "a.pdf").write_bytes(make_pdf([*CHAPTERS[:7], "# Pier 8\nGulls."]))
    environment = {
        VARIABLE: step,
        "OCTAVO_STORE__BATCH_PAGES": "3",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    with place.start(*flags, **environment) as running:
        running.communicate(timeout=100)
    assert running.returncode == -9
    event = place.here(*flags).json[0]
    if step == "published":
        assert event["state"] == "unchanged"
    else:
        assert (event["state"], event["reused_pages"]) == ("replaced", 7)
    assert {line.split()[1] for line in log.read_text().splitlines()} == {"8"}
    shown = place.here("show", "a.pdf").json[0]
    assert [each["reused_pages"] for each in shown["versions"]] == [7, 0]
    assert [page["state"] for page in shown["page_list"]] == ["indexed"] * 8


# --- pages of other kinds -----------------------------------------------------------------------
def test_a_document_of_which_pages_failed_takes_those_that_did_not(shelf):
    def broken(pages: Sequence[str]) -> bytes:
        """One page cannot be read: the page tree bites its tail."""
        kids = [b"%d 0 R" % (6 + 2 * index) for index in range(len(pages))]
        made = make_pdf(pages)
        assert b" ".join(kids) in made
        return made.replace(b" ".join(kids), b" ".join([kids[0], b"2 0 R", *kids[2:]]))

    (shelf.docs / "a.pdf").write_bytes(broken(CHAPTERS[:4]))
    assert shelf.ingest()["a.pdf"]["state"] == "partial"
    assert len(shelf.encoder.take_given()) == 3
    (shelf.docs / "a.pdf").write_bytes(broken([*CHAPTERS[:3], "# Gulls"]))
    told = shelf.ingest()
    assert (told["a.pdf"]["state"], told["a.pdf"]["reused_pages"]) == ("partial", 2)
    assert told[""]["pages"] == {"indexed": 3, "blank": 0, "failed": 1}
    assert len(shelf.encoder.take_given()) == 1
    # Mended. Another reader may have read pages of the broken file, with boxes of its own.
    shelf.write("a.pdf", [*CHAPTERS[:3], "# Gulls"])
    event = shelf.ingest()["a.pdf"]
    assert event["state"] == "replaced"
    assert 1 <= event["reused_pages"] <= 3
    assert len(shelf.encoder.take_given()) == 4 - event["reused_pages"]


@pytest.mark.skipif(not choose.installed_engines(), reason="no OCR engine is installed")
def test_a_page_whose_words_were_read_from_pixels_is_taken_with_them(shelf):
    scans = ["# Wheat Harvest\nThe northern valley sold wheat.", "# Patents\nA turbine blade."]
    (shelf.docs / "a.pdf").write_bytes(scanned_pdf(scans))
    assert shelf.ingest()["a.pdf"]["ocr_pages"] == [1, 2]
    shelf.encoder.take_given()
    (shelf.docs / "a.pdf").write_bytes(scanned_pdf([scans[0], "# Patents\nA glass lens."]))
    event = shelf.ingest()["a.pdf"]
    assert (event["ocr_pages"], event["reused_pages"]) == ([1, 2], 1)
    assert shelf.encoder.take_given() == [2]
    assert shelf.found("wheat of the valley", "hybrid")[1][0].startswith("Wheat")


def test_an_encoder_that_sees_pixels_is_given_the_changed_page_alone(tmp_path):
    def page(*marks: Box) -> PdfPage:
        return PdfPage([PdfText("A page of bars", 72, 72)], marks=list(marks))

    bars = [page(Box(100, 100 * n, 300, 100 * n + 90)) for n in range(1, 5)]
    encoder = Counting(PaletteEncoder("late"))
    with opened(tmp_path / "data", encoder) as engine:
        shelf = Shelf(engine, encoder, tmp_path / "docs", "seen")
        shelf.write("a.pdf", bars)
        shelf.ingest()
        before = shelf.records()
        assert encoder.take_given() == [1, 2, 3, 4]
        shelf.write("a.pdf", [*bars[:3], page(Box(100, 400, 300, 490), Box(500, 500, 501, 501))])
        assert shelf.ingest()["a.pdf"]["reused_pages"] == 3
        assert encoder.take_given() == [4]
        after = shelf.records()
    for number in (1, 2, 3):
        assert same(after["a.pdf", number][0], before["a.pdf", number][0])
        assert after["a.pdf", number][1] == before["a.pdf", number][1]
        assert after["a.pdf", number][1][1] is not None


def test_a_change_that_the_content_hash_is_blind_to_is_none_that_pixels_are_reused_over(tmp_path):
    def read(grey: int, *, want_image: bool) -> ScannedPage:
        path = tmp_path / f"{grey}.png"
        picture = Image.new("L", (1275, 1650), 255)
        picture.paste(0, (100, 100, 600, 300))
        picture.putpixel((800, 800), grey)
        picture.save(path, dpi=(150, 150))
        request = PageRequest(path, ("image",), page_number=1, want_image=want_image)
        return scan_page(request).page

    one, other = read(255, want_image=True), read(251, want_image=True)
    assert one.content_hash == other.content_hash
    assert input_digest(one) != input_digest(other)
    # To an encoder that reads words alone the two are one page.
    assert input_digest(read(255, want_image=False)) == input_digest(read(251, want_image=False))


def text(words: Sequence[str], size_pt: float = 10.0, bold: bool = False) -> PageText:
    n = len(words)
    return PageText(
        tuple(words),
        np.zeros((n, 4), np.float32),
        np.zeros(n, np.int32),
        np.full(n, size_pt, np.float32),
        np.full(n, bold),
    )


def test_all_that_an_encoder_is_given_is_in_the_digest():
    page = ScannedPage(1, 612.0, 792.0, text(["a", "b"]), has_ink=True, content_hash="one")
    others = [
        dataclasses.replace(page, width_pt=613.0),
        dataclasses.replace(page, height_pt=793.0),
        dataclasses.replace(page, text=text(["a b"])),
        dataclasses.replace(page, text=text(["b", "a"])),
        dataclasses.replace(page, text=text(["a", "b"], size_pt=11.0)),
        dataclasses.replace(page, text=text(["a", "b"], bold=True)),
        dataclasses.replace(page, caption={"description": {"title": "x"}}),
        dataclasses.replace(page, caption={"description": {"title": "y"}}),
    ]
    assert len({input_digest(each) for each in [page, *others]}) == 1 + len(others)
    same_page = dataclasses.replace(page, page_number=9, content_hash="other", notices=())
    assert input_digest(same_page) == input_digest(page)


@pytest.mark.parametrize(("n_short", "is_held"), [(1, True), (0, False)])
def test_a_page_that_fills_its_record_is_encoded_for_what_was_left_out(n_short, is_held):
    page = ScannedPage(1, 612.0, 792.0, text(["a"]), has_ink=True, content_hash="one")
    full = np.ones((MAX_MULTI_VECTOR_FLOATS // 512 - n_short, 512), np.float32)
    vectors = HeldVectors({PageField.PATCHES: full}, None, None)

    class Writer:
        class equal_pages:  # noqa: N801 - in the place of an attribute
            @staticmethod
            def vectors(digests: set[str]) -> dict[str, HeldVectors]:
                return dict.fromkeys(digests, vectors)

    found = PageReuse(Writer()).held([page], {1: "digest"})
    assert (found == {1: vectors}) is is_held


# --- versions -----------------------------------------------------------------------------------
def test_versions_keep_their_order_when_the_clock_is_set_back(shelf, monkeypatch):
    now = time.time()
    for days, word in enumerate(("first", "second", "third")):
        monkeypatch.setattr(time, "time", lambda days=days: now - 86_400 * days)
        shelf.write("a.pdf", [word])
        shelf.ingest()
    monkeypatch.undo()
    newest, middle, oldest = shelf.versions("a.pdf")
    assert newest["ended_at"] is None
    assert middle["ended_at"] == newest["published_at"]
    assert oldest["ended_at"] == middle["published_at"] > oldest["published_at"]


def test_a_document_that_is_deleted_and_comes_back_has_no_past(shelf):
    shelf.write("a.pdf", ["one"])
    shelf.ingest()
    shelf.write("a.pdf", ["two"])
    shelf.ingest()
    assert len(shelf.versions("a.pdf")) == 2
    assert set(shelf.delete("a.pdf").values()) == {0}
    shelf.ingest()
    assert len(shelf.versions("a.pdf")) == 1


def test_versions_of_before_and_after_a_migration_stand_in_one_history(words, tmp_path):
    with opened(tmp_path / "data", words) as old:
        shelf = Shelf(old, words, tmp_path / "docs", "moved")
        shelf.write("a.pdf", CHAPTERS[:2])
        shelf.copy("a.pdf", "b.pdf")
        shelf.ingest()
        words.take_given()
        pooling = {"method": "runs", "factor": 2}
        with opened(tmp_path / "data", words, pooling=pooling) as new:
            totals = migrate(old, new, OWNER, "moved")
            assert totals["switched"]
            # Both are the same pages: those of the second are taken, of the new encoder's.
            assert totals["reused_pages"] == 2
            assert words.take_given() == [1, 2]
    with opened(tmp_path / "data", words, pooling=pooling) as moved:
        shelf.engine = moved
        after, before = shelf.versions("a.pdf")
        assert after["sha256"] == before["sha256"]
        assert before["ended_at"] == after["published_at"]
        assert set(shelf.delete("a.pdf").values()) == {0}
    with sqlite3.connect(tmp_path / "data" / "manifest.sqlite3") as manifest:
        rows = manifest.execute("select distinct collection from past_versions").fetchall()
    assert rows == [("moved",)]


def test_a_file_that_was_moved_is_where_it_is_in_the_newest_version_alone(shelf):
    for word in ("one", "two"):
        shelf.write("a.pdf", [word])
        shelf.ingest()
    shelf.encoder.take_given()
    (shelf.docs / "a.pdf").rename(shelf.docs / "b.pdf")
    shelf.service().sync(folder=shelf.docs, collection=shelf.collection)
    assert [each["source"] for each in shelf.versions("b.pdf")] == ["b.pdf", "a.pdf"]
    assert shelf.encoder.take_given() == []
