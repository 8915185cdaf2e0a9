"""Ingest as its callers have it: what each file ends as, what is said of it, and what stays."""

from __future__ import annotations

import contextlib
import io
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from rag.apps.cli.app import run
from rag.apps.service import Service
from rag.encoders.words import WordsEncoder
from rag.errors import InputError
from rag.geometry import Box
from rag.settings import load_settings
from rag.testing import PdfPage, PdfText, make_pdf
from rag.types import Principal
from rag.wiring import Engine

EVENT_KEYS = {
    "event",
    "source",
    "document_id",
    "state",
    "pages",
    "blank_pages",
    "no_text_pages",
    "ocr_pages",
    "failed_pages",
    "reused_pages",
    "error",
    "warnings",
}
TOTALS_KEYS = {
    "event",
    "job_id",
    "documents",
    "pages",
    "reused_pages",
    "seconds",
    "encoder",
    "warnings",
}
LIST_KEYS = {
    "document_id",
    "source",
    "state",
    "pages",
    "blank_pages",
    "no_text_pages",
    "failed_pages",
    "metadata",
    "readers",
}
INK = PdfPage(marks=[Box(100, 100, 300, 200)])


def with_bad_pages(*pages: str, bad: Sequence[int]) -> bytes:
    """A PDF in which these pages, numbered from 1, cannot be read: the page tree bites its tail."""
    kids = [b"%d 0 R" % (6 + 2 * index) for index in range(len(pages))]
    broken = [b"2 0 R" if number in bad else kid for number, kid in enumerate(kids, start=1)]
    made = make_pdf(pages)
    assert b" ".join(kids) in made
    return made.replace(b" ".join(kids), b" ".join(broken))


class Events:
    """What one ingest told."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        *self.documents, self.totals = [line for line in lines if line["event"] != "progress"]
        self.by_source = {event["source"]: event for event in self.documents}

    @property
    def states(self) -> dict[str, str]:
        return {source: event["state"] for source, event in self.by_source.items()}


def octavo(data: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """The command in this process: exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*map(str, arguments), "--data-dir", str(data)])
    return code, out.getvalue(), err.getvalue()


# --- a folder in which everything is wrong that can be, through the command ---------------------
class Mixed:
    """What the command says of good and bad files, without and then with the password."""

    def __init__(self, place: Path) -> None:
        self.data, self.docs = place / "data", place / "docs"
        (self.docs / "sub").mkdir(parents=True)
        for name, content in {
            "good.pdf": make_pdf(["# Otters\nOtters hold hands while they sleep.", PdfPage(), INK]),
            "sub/partial.pdf": with_bad_pages("# Herons\nHerons stand still.", "Gulls", bad=[2]),
            "text.pdf": b"a letter, saved under the wrong name",
            "locked.pdf": make_pdf(["# Vault\nThe password opens it."], password="tide"),
            "memo.docx": b"PK\x03\x04",
            "empty.pdf": b"",
            "cut.pdf": b"%PDF-1.4\n1 0 obj\n<< /Type /Cat",
            "notes.txt": b"no document, and not worth a word",
        }.items():
            (self.docs / name).write_bytes(content)
        picture = Image.new("RGB", (300, 200), "white")
        ImageDraw.Draw(picture).rectangle((50, 50, 200, 150), fill="black")
        picture.save(self.docs / "photo.png")
        (place / "password").write_text("tide\n")
        self.code, out, self.err = octavo(self.data, "ingest", self.docs, "--json")
        self.told = Events([json.loads(line) for line in out.splitlines()])
        self.code_again, out, _ = octavo(
            self.data, "ingest", self.docs, "--json", "--password-file", place / "password"
        )
        self.told_again = Events([json.loads(line) for line in out.splitlines()])
        _, self.listed, _ = octavo(self.data, "list", "--json")
        _, self.found, _ = octavo(self.data, "search", "vault", "--json", "--mode", "text")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    return Mixed(tmp_path_factory.mktemp("mixed"))


def test_events_and_totals_have_the_shapes_of_the_interface(mixed: Mixed) -> None:
    assert all(event.keys() == EVENT_KEYS for event in mixed.told.documents)
    assert mixed.told.totals.keys() == TOTALS_KEYS | {"throughput"}
    throughput = mixed.told.totals["throughput"]
    shares = ["read_busy", "encode_busy", "records_busy", "write_busy"]
    assert list(throughput) == ["pages_per_s", *shares]
    assert all(0 < throughput[share] <= 1 for share in shares)
    assert mixed.told.totals["encoder"].startswith("words@")
    assert all(
        event["error"].keys() == {"code", "message", "next_step"}
        for event in mixed.told.documents
        if event["error"]
    )
    documents = json.loads(mixed.listed)["documents"]
    assert all(document.keys() >= LIST_KEYS for document in documents)
    assert {document["source"] for document in documents} == mixed.told.by_source.keys()


def test_one_bad_file_does_not_stop_the_rest(mixed: Mixed) -> None:
    assert (mixed.code, mixed.err) == (3, "")
    assert mixed.told.states == {
        "cut.pdf": "failed",
        "empty.pdf": "refused",
        "good.pdf": "indexed",
        "locked.pdf": "refused",
        "memo.docx": "refused",
        "photo.png": "indexed",
        "sub/partial.pdf": "partial",
        "text.pdf": "refused",
    }
    assert mixed.told.totals["documents"] == {
        "failed": 1,
        "indexed": 2,
        "partial": 1,
        "refused": 4,
    }


def test_a_bad_file_is_named_with_its_code_and_what_to_do(mixed: Mixed) -> None:
    errors = {event["source"]: event["error"] for event in mixed.told.documents if event["error"]}
    assert {source: error["code"] for source, error in errors.items()} == {
        "cut.pdf": "damaged",
        "empty.pdf": "empty_file",
        "locked.pdf": "password_required",
        "memo.docx": "office_file",
        "text.pdf": "not_a_pdf",
    }
    for source, error in errors.items():
        assert source in error["message"]
        assert error["next_step"], source
        assert str(mixed.docs) not in error["message"]


def test_every_page_is_indexed_blank_or_failed_and_they_add_up(mixed: Mixed) -> None:
    good, partial = mixed.told.by_source["good.pdf"], mixed.told.by_source["sub/partial.pdf"]
    assert (good["pages"], good["blank_pages"], good["no_text_pages"]) == (3, [2], [3])
    assert mixed.told.by_source["photo.png"]["no_text_pages"] == [1]
    assert partial["failed_pages"] == [{"page_number": 2, "reason": "render_failed"}]
    assert mixed.told.totals["pages"] == {"indexed": 4, "blank": 1, "failed": 1}
    assert sum(event["pages"] for event in mixed.told.documents) == 6


def test_a_page_without_words_says_what_to_do_about_it(mixed: Mixed) -> None:
    for source in ("good.pdf", "photo.png"):
        (warning,) = mixed.told.by_source[source]["warnings"]
        assert warning["code"] == "no_text_pages"
        assert "text layer" in warning["message"]
        assert warning["message"].startswith("1 page shows something but holds ")
    assert not mixed.told.by_source["sub/partial.pdf"]["warnings"]


def test_a_locked_file_is_read_with_its_password_and_the_others_stay(mixed: Mixed) -> None:
    assert mixed.code_again == 3
    assert mixed.told_again.states == mixed.told.states | {
        "good.pdf": "unchanged",
        "photo.png": "unchanged",
        "sub/partial.pdf": "unchanged",
        "locked.pdf": "indexed",
    }
    (hit,) = json.loads(mixed.found)["hits"]
    assert (hit["source"], hit["page_number"]) == ("locked.pdf", 1)


@pytest.mark.parametrize(
    ("content", "code"),
    [(make_pdf(["fine"]), 0), (b"no PDF at all", 1)],
    ids=["a good file", "a bad file"],
)
def test_a_dry_run_says_what_would_be_read_and_writes_nothing(
    tmp_path: Path, content: bytes, code: int
) -> None:
    (tmp_path / "a.pdf").write_bytes(content)
    ended, out, _ = octavo(tmp_path / "data", "ingest", tmp_path / "a.pdf", "--dry-run", "--json")
    told = Events([json.loads(line) for line in out.splitlines()])
    assert ended == code
    assert told.states == {"a.pdf": "refused" if code else "would_ingest"}
    assert all(event.keys() == EVENT_KEYS for event in told.documents)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf"]


def test_what_was_opened_is_let_go(mixed: Mixed) -> None:
    """A closed folder can be copied, moved and deleted: nothing of it is open, nothing pending."""
    opened = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert not [path for path in opened if path.startswith(str(mixed.data))]
    assert not list(mixed.data.glob("manifest.sqlite3-*"))


# --- one open data folder, a collection for each test -------------------------------------------
class World:
    """Files, and a collection to bring them to."""

    def __init__(self, engine: Engine, place: Path, collection: str) -> None:
        self.engine = engine
        self.place = place
        self.collection = collection
        self.service = Service(engine, Principal.owner())

    def write(self, name: str, *pages: str | PdfPage) -> Path:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_pdf(pages))
        return path

    def ingest(self, *paths: Path, **options: Any) -> Events:
        told: list[dict[str, Any]] = []
        totals = self.service.ingest(
            paths=paths or [self.place],
            collection=self.collection,
            on_event=told.append,
            **options,
        )
        return Events([*told, totals])

    def found(self, word: str) -> list[tuple[str, int]]:
        """The pages that hold the word."""
        answer = self.service.search(
            query=word, collection=self.collection, top_k=50, mode="text", highlights=False
        )
        return [(hit["source"], hit["page_number"]) for hit in answer["hits"]]

    def listed(self) -> dict[str, dict[str, Any]]:
        documents = self.service.list_documents(collection=self.collection)["documents"]
        return {document["source"]: document for document in documents}

    @property
    def n_records(self) -> int:
        """All that the index holds of the collection, visible or not."""
        return self.engine._index(self.collection).count()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("open") / "data"
    settings = load_settings(
        overrides={
            "store": {"data_dir": folder, "batch_pages": 2},
            "render": {"workers": 1},
        }
    )
    with Engine(settings) as engine:
        yield engine


@pytest.fixture
def world(engine: Engine, tmp_path: Path) -> World:
    return World(engine, tmp_path, uuid.uuid4().hex)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The page numbers that the encoder was given, in their order."""
    numbers: list[int] = []
    real = WordsEncoder.encode_pages

    def encode_pages(self: WordsEncoder, pages: Any) -> Any:
        numbers.extend(page.ref.page_number for page in pages)
        return real(self, pages)

    monkeypatch.setattr(WordsEncoder, "encode_pages", encode_pages)
    return numbers


def test_the_same_bytes_again_are_unchanged_and_nothing_is_encoded(
    world: World, encoded: list[int]
) -> None:
    world.write("a.pdf", "one", "two", "three")
    first = world.ingest()
    assert encoded == [1, 2, 3]
    second = world.ingest()
    assert first.states == {"a.pdf": "indexed"}
    assert second.states == {"a.pdf": "unchanged"}
    assert second.totals["documents"] == {"unchanged": 1}
    assert second.totals["pages"] == {"indexed": 0, "blank": 0, "failed": 0}
    assert second.documents[0]["document_id"] == first.documents[0]["document_id"]
    assert encoded == [1, 2, 3]


def test_changed_bytes_replace_the_document_and_its_old_records_go(world: World) -> None:
    path = world.write("a.pdf", "Walrus on the ice", "Walrus in the sea", "Walrus asleep")
    first = world.ingest(path)
    assert len(world.found("walrus")) == 3
    world.write("a.pdf", "Penguin on the ice", "Penguin in the sea")
    second = world.ingest(path)
    assert second.states == {"a.pdf": "replaced"}
    assert second.documents[0]["document_id"] == first.documents[0]["document_id"]
    assert world.found("walrus") == []
    assert sorted(world.found("penguin")) == [("a.pdf", 1), ("a.pdf", 2)]
    assert world.n_records == 2
    assert world.listed()["a.pdf"]["pages"] == 2


def test_other_metadata_are_kept_with_the_page_and_silence_keeps_them(world: World) -> None:
    world.write("a.pdf", "Walrus")
    assert world.ingest(metadata={"year": 2023}).states == {"a.pdf": "indexed"}
    assert world.ingest().states == {"a.pdf": "unchanged"}
    assert world.listed()["a.pdf"]["metadata"] == {"year": 2023}
    assert world.ingest(metadata={"year": 2024}).states == {"a.pdf": "changed"}
    assert world.listed()["a.pdf"]["metadata"] == {"year": 2024}
    assert world.n_records == 1


def test_a_file_of_the_same_name_in_another_folder_is_another_document(world: World) -> None:
    one = world.write("2022/report.pdf", "Walrus")
    other = world.write("2023/report.pdf", "Walrus")
    told = world.ingest(one.parent, other.parent)
    assert [event["source"] for event in told.documents] == ["report.pdf", "report.pdf"]
    assert len({event["document_id"] for event in told.documents}) == 2
    assert world.found("walrus") == [("report.pdf", 1), ("report.pdf", 1)]
    with pytest.raises(InputError) as caught:
        world.service.delete(documents=["report.pdf"], collection=world.collection)
    assert caught.value.code == "ambiguous_document"
    assert all(event["document_id"] in caught.value.message for event in told.documents)
    assert world.n_records == 2


def test_a_file_is_one_document_whether_it_or_its_folder_is_given(
    world: World, encoded: list[int]
) -> None:
    path = world.write("sub/a.pdf", "Walrus")
    first = world.ingest(world.place)
    for again in (world.ingest(path), world.ingest(path.parent), world.ingest(path, world.place)):
        assert [event["state"] for event in again.documents] == ["unchanged"]
        assert again.documents[0]["document_id"] == first.documents[0]["document_id"]
    assert encoded == [1]
    assert world.listed().keys() == {"sub/a.pdf"}


def test_force_reads_and_encodes_what_is_unchanged(world: World, encoded: list[int]) -> None:
    world.write("a.pdf", "Walrus", "Penguin")
    world.ingest()
    assert world.ingest(force=True).states == {"a.pdf": "replaced"}
    assert encoded == [1, 2, 1, 2]
    assert world.n_records == 2


def test_what_a_forced_ingest_left_when_it_was_cut_short_goes_with_the_next(world: World) -> None:
    world.write("a.pdf", "Walrus", "Walrus", "Walrus", "Walrus")
    world.ingest()

    def cut_short(event: dict[str, Any]) -> None:
        if event.get("pages_done") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.service.ingest(
            paths=[world.place], collection=world.collection, force=True, on_event=cut_short
        )
    assert 6 <= world.n_records <= 8, "a batch is stored while another is told of"
    assert len(world.found("walrus")) == 4
    assert world.ingest().states == {"a.pdf": "unchanged"}
    assert world.n_records == 4


def test_a_file_that_was_refused_is_indexed_once_it_is_good(world: World) -> None:
    (world.place / "a.pdf").write_bytes(b"still being written")
    refused = world.ingest()
    assert refused.states == {"a.pdf": "refused"}
    assert world.listed()["a.pdf"]["state"] == "refused"
    world.write("a.pdf", "Walrus")
    told = world.ingest()
    assert told.states == {"a.pdf": "indexed"}
    assert told.documents[0]["document_id"] == refused.documents[0]["document_id"]
    assert (world.listed()["a.pdf"]["state"], world.listed()["a.pdf"]["error"]) == ("indexed", None)


@pytest.mark.parametrize(
    "bad", [b"", b"no PDF at all", b"%PDF-1.4\n1 0 obj", make_pdf(["x"], password="tide")]
)
def test_a_good_document_whose_file_turns_bad_stays_searchable(
    world: World, encoded: list[int], bad: bytes
) -> None:
    path = world.write("sub/a.pdf", "Walrus on the ice")
    good = path.read_bytes()
    world.ingest()
    path.write_bytes(bad)
    (event,) = world.ingest().documents
    assert event["state"] in ("failed", "refused")
    listed = world.listed()["sub/a.pdf"]
    assert (listed["state"], listed["error"]) == (event["state"], event["error"])
    assert world.found("walrus") == [("sub/a.pdf", 1)]
    path.write_bytes(good)
    assert world.ingest().states == {"sub/a.pdf": "unchanged"}
    assert world.listed()["sub/a.pdf"]["state"] == "indexed"
    assert encoded == [1]


def test_an_image_that_cannot_be_read_is_not_sent_to_a_pdf_viewer(world: World) -> None:
    made = io.BytesIO()
    Image.effect_noise((60, 40), 90).save(made, "PNG")
    world.write("a.pdf", "Walrus on the ice")
    (world.place / "photo.png").write_bytes(made.getvalue()[: len(made.getvalue()) // 2])
    error = world.ingest().by_source["photo.png"]["error"]
    assert error["message"].startswith("the image could not be read: ")
    assert "PDF" not in error["next_step"]


def test_a_document_whose_only_page_fails_says_so(world: World) -> None:
    (world.place / "b.pdf").write_bytes(with_bad_pages("Walrus", bad=[1]))
    error = world.ingest().by_source["b.pdf"]["error"]
    assert error["message"].startswith("its only page could not be read: ")
    assert "PDF viewer" in error["next_step"]


def test_a_document_whose_pages_all_fail_is_failed_and_disturbs_no_other(world: World) -> None:
    path = world.write("a.pdf", "Walrus on the ice")
    (world.place / "b.pdf").write_bytes(with_bad_pages("Walrus", "Walrus", bad=[1, 2]))
    world.write("c.pdf", "Walrus in the sea")
    told = world.ingest()
    assert told.states == {"a.pdf": "indexed", "b.pdf": "failed", "c.pdf": "indexed"}
    failed = told.by_source["b.pdf"]
    assert failed["error"]["code"] == "all_pages_failed"
    assert "render_failed" in failed["error"]["message"]
    assert (failed["pages"], len(failed["failed_pages"])) == (2, 2)
    assert told.totals["pages"] == {"indexed": 2, "blank": 0, "failed": 2}
    path.write_bytes((world.place / "b.pdf").read_bytes())
    assert world.ingest(path).states == {"a.pdf": "failed"}
    assert sorted(world.found("walrus")) == [("a.pdf", 1), ("c.pdf", 1)]
    assert world.n_records == 2


def test_names_that_are_hard_to_write_are_ingested_and_found(world: World) -> None:
    names = [b"caf\xe9.pdf", b"new\nline.pdf", b"-rf.pdf", b"[1].pdf", b"x" * 250 + b".pdf"]
    for name in names:
        world.write(os.fsdecode(name), "Walrus on the ice")
    shown = {r"caf\xe9.pdf", "new\nline.pdf", "-rf.pdf", "[1].pdf", "x" * 250 + ".pdf"}
    (world.place / os.fsdecode(b"bad\xff.pdf")).write_bytes(b"no PDF")
    told = world.ingest()
    assert told.states == dict.fromkeys(shown, "indexed") | {r"bad\xff.pdf": "refused"}
    json.dumps(told.documents, ensure_ascii=False).encode()
    assert {source for source, _ in world.found("walrus")} == shown
    assert world.listed().keys() == told.by_source.keys()
    given = world.ingest(world.place / os.fsdecode(names[0]))
    assert given.states == {r"caf\xe9.pdf": "unchanged"}


def test_a_page_with_more_words_than_a_record_has_vectors_for_is_indexed_and_said(
    world: World,
) -> None:
    lines = [PdfText("cat " * 84, 10, 5 + 7 * row, size_pt=2) for row in range(100)]
    world.write("a.pdf", PdfPage([*lines, PdfText("walrus", 10, 780, size_pt=2)]))
    world.write("b.pdf", "Penguin")
    told = world.ingest()
    assert told.states == {"a.pdf": "indexed", "b.pdf": "indexed"}
    (warning,) = told.by_source["a.pdf"]["warnings"]
    assert warning["code"] == "crowded_pages"
    assert world.found("walrus") == [("a.pdf", 1)]


def test_what_a_document_cannot_be_stored_with_fails_that_document_alone(world: World) -> None:
    world.write("a.pdf", "Walrus")
    told = world.ingest(metadata={"abstract": "x" * 1_100_000})
    assert told.states == {"a.pdf": "failed"}
    assert told.documents[0]["error"]["code"] == "wrong_shape"
    assert world.ingest(metadata={"abstract": "x"}).states == {"a.pdf": "indexed"}
    assert world.n_records == 1


def test_a_document_that_is_deleted_while_it_is_read_stays_deleted(world: World) -> None:
    path = world.write("a.pdf", "Walrus", "Walrus", "Walrus", "Walrus")
    world.write("b.pdf", "Penguin")
    world.ingest()
    world.write("a.pdf", *["Seal"] * 6)
    told: list[dict[str, Any]] = []

    def on_event(event: dict[str, Any]) -> None:
        told.append(event)
        if event.get("pages_done") == 2:
            world.service.delete(documents=["a.pdf"], collection=world.collection)

    totals = world.service.ingest(
        paths=[path, world.place / "b.pdf"], collection=world.collection, on_event=on_event
    )
    events = Events([*told, totals])
    assert events.states == {"a.pdf": "failed", "b.pdf": "unchanged"}
    assert events.by_source["a.pdf"]["error"]["code"] == "version_superseded"
    assert world.listed().keys() == {"b.pdf"}
    assert world.n_records == 1


def test_rm_leaves_nothing_of_a_document_and_all_of_the_others(world: World) -> None:
    world.write("a.pdf", "Walrus on the ice", "Walrus in the sea")
    world.write("b.pdf", "Penguin of a kind that no other test has")
    world.write("copy of b.pdf", "Penguin of a kind that no other test has")
    world.ingest()
    folder = world.engine.folder
    show = world.service.show
    digests = {
        source: show(document=source, collection=world.collection)["sha256"]
        for source in world.listed()
    }
    for source in world.listed():
        world.service.page_png(document=source, page_number=1, collection=world.collection, dpi=30)

    def files_of(source: str) -> list[Path]:
        return [path for path in folder.rglob(f"{digests[source]}*") if path.is_file()]

    assert len(files_of("a.pdf")) == len(files_of("b.pdf")) == 2  # the file and a page image
    removed = world.service.delete(documents=["a.pdf", "b.pdf"], collection=world.collection)
    assert set(removed["left"].values()) == {0}
    assert files_of("a.pdf") == []
    assert len(files_of("copy of b.pdf")) == 2  # the same bytes, still somebody's
    assert world.found("walrus") == []
    assert world.found("penguin") == [("copy of b.pdf", 1)]
    assert world.n_records == 1
    world.service.delete(documents=["copy of b.pdf"], collection=world.collection)
    assert files_of("copy of b.pdf") == []
    assert world.listed() == {}
    assert world.n_records == 0
