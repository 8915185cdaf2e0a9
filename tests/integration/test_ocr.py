"""Scans through the reading processes and the command line: found, read once, never lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import losing_ocr
import numpy as np
import pytest
from commands import Commands
from PIL import Image
from scans import picture_file, scanned_pdf

from rag.errors import ConfigError
from rag.ocr import choose
from rag.ocr.cache import FOLDER, OcrCache
from rag.page_text import PageText, heading_spans
from rag.ports import ScannedPage
from rag.renderers import worker
from rag.renderers.isolated import IsolatedReader
from rag.renderers.ocr_pages import DocumentOcr, OcrPlan
from rag.settings import OcrSettings, RenderSettings
from rag.testing import PdfPage, PdfText, make_pdf
from rag.types import RenderedPage

WHEAT = "# Wheat Harvest\nThe northern valley sold 1,200 tonnes of wheat in autumn."
PATENT = "# Patents\nA turbine blade of ceramic was granted a patent."
SHA = "5" * 64

pytestmark = pytest.mark.skipif(not choose.installed_engines(), reason="no OCR engine is installed")


def pages_of(outcomes: Iterator[object]) -> list[ScannedPage]:
    pages = []
    for outcome in outcomes:
        assert isinstance(outcome, ScannedPage), outcome
        pages.append(outcome)
    return pages


def codes(page: ScannedPage) -> list[str]:
    return [notice.code for notice in page.notices]


@pytest.fixture(scope="module")
def reader() -> Iterator[IsolatedReader]:
    with IsolatedReader(RenderSettings(renderer="pypdfium2"), ocr=OcrSettings()) as reader:
        yield reader


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.pdf"
    path.write_bytes(scanned_pdf([WHEAT, PATENT]))
    return path


# --- reading processes --------------------------------------------------------------------------
def test_pages_of_pixels_have_words_and_say_who_read_them(reader, scan):
    wheat, patent = pages_of(reader.scan(scan, [1, 2]))
    assert "tonnes of wheat" in wheat.text.text
    assert "ceramic" in patent.text.text
    assert wheat.text.is_ocr.all()
    assert wheat.ocr is not None
    assert wheat.ocr.split()[0] in choose.ENGINES
    assert "Wheat Harvest" in [wheat.text.span_text(*span) for span in heading_spans(wheat.text)]
    assert wheat.notices == ()


def test_pages_come_in_their_order_whether_or_not_they_are_read_by_ocr(reader, tmp_path):
    path = tmp_path / "mixed.pdf"
    path.write_bytes(make_pdf([WHEAT, PATENT]))
    (own,) = pages_of(reader.scan(path, [1]))
    assert (own.ocr, own.text.confidences) == (None, None)

    picture = tmp_path / "scan.pdf"
    picture.write_bytes(scanned_pdf([f"page number {n}" for n in range(1, 7)]))
    pages = pages_of(reader.scan(picture, [6, 1, 3]))
    assert [page.page_number for page in pages] == [6, 1, 3]
    assert [page.text.text for page in pages] == [f"page number {n}" for n in (6, 1, 3)]


def test_the_hash_of_a_page_covers_what_ocr_read(reader, scan):
    with IsolatedReader(RenderSettings(renderer="pypdfium2")) as without:
        (unread,) = pages_of(without.scan(scan, [1]))
    (read,) = pages_of(reader.scan(scan, [1]))
    assert (len(unread.text), unread.ocr) == (0, None)
    assert read.content_hash != unread.content_hash
    assert pages_of(reader.scan(scan, [1]))[0].content_hash == read.content_hash


def test_image_files_are_read_too(reader, tmp_path):
    for file_format in ("PNG", "JPEG", "TIFF"):
        path = tmp_path / f"photo.{file_format.lower()}"
        path.write_bytes(picture_file(WHEAT, file_format=file_format))
        (page,) = pages_of(reader.scan(path, [1]))
        assert "wheat" in page.text.words, file_format


def test_a_page_with_ink_and_no_words_was_read_nevertheless(reader, tmp_path):
    path = tmp_path / "disc.png"
    Image.radial_gradient("L").save(path)
    (page,) = pages_of(reader.scan(path, [1]))
    assert (len(page.text), page.notices) == (0, ())
    assert page.ocr is not None


def test_words_that_an_engine_reads_where_nobody_sees_any_are_left_out(tmp_path, monkeypatch):
    class Seer:
        """Reads one word where there is ink and one where there is none."""

        name = identity = "seer"

        def read(self, page: RenderedPage) -> PageText:
            ink, blank = (72, 90, 150, 112), (72, 600, 150, 612)
            return PageText(
                ("Wheat", "obey"),
                np.array([ink, blank], np.float32),
                np.arange(2, dtype=np.int32),
                np.full(2, 12, np.float32),
                np.zeros(2, np.bool_),
                np.ones(2, np.float32),
            )

    path = tmp_path / "own.pdf"
    path.write_bytes(make_pdf([PdfPage([PdfText("Wheat", 72, 110, 24)])]))
    monkeypatch.setattr(worker, "_engine", lambda _: Seer())
    engine = choose.ChosenEngine("tesseract", ("eng",))
    read = worker.read_words(worker.OcrRequest(path=path, renderers=("pypdfium2",), engine=engine))
    assert read.text is not None
    assert read.text.words == ("Wheat",)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_scan_that_stands_on_its_side_is_read_where_its_words_are(reader, tmp_path, turn):
    upright, turned = tmp_path / "upright.png", tmp_path / "turned.png"
    upright.write_bytes(picture_file(WHEAT))
    with Image.open(upright) as image:
        image.rotate(turn, expand=True).save(turned, dpi=(150, 150))
    (expected,), (page,) = (pages_of(reader.scan(path, [1])) for path in (upright, turned))
    assert (page.text.text, page.notices) == (expected.text.text, ())
    width, height = expected.width_pt, expected.height_pt
    x, y = (expected.text.boxes[:, [side, side + 2]].mean(axis=1) for side in (0, 1))
    places = {90: (y, width - x), 180: (width - x, height - y), 270: (height - y, x)}
    found = [page.text.boxes[:, [side, side + 2]].mean(axis=1) for side in (0, 1)]
    np.testing.assert_allclose(found, places[turn], atol=2)


def test_words_that_ocr_is_not_sure_of_are_left_out_and_the_page_says_so(tmp_path, monkeypatch):
    path = tmp_path / "scan.png"
    path.write_bytes(picture_file(WHEAT))
    monkeypatch.setattr(worker, "read_words", losing_ocr.guesses)
    with IsolatedReader(RenderSettings(), ocr=OcrSettings()) as reader:
        (page,) = pages_of(reader.scan(path, [1]))
    assert (len(page.text), codes(page)) == (0, ["ocr_unsure"])
    assert page.ocr is not None  # so that the next ingest does not read it again


@pytest.mark.parametrize(("mode", "is_read"), [("off", False), ("auto", False), ("always", True)])
def test_pages_with_words_of_their_own_are_read_only_where_all_are(tmp_path, mode, is_read):
    path = tmp_path / "own.pdf"
    path.write_bytes(make_pdf([WHEAT]))
    ocr, cache = OcrSettings(mode=mode), OcrCache(tmp_path / FOLDER, 10_000)
    with IsolatedReader(RenderSettings(renderer="pypdfium2"), ocr=ocr, ocr_cache=cache) as reader:
        (page,) = pages_of(reader.scan(path, [1], kept_as=SHA))
    assert page.text.words.count("wheat") == 1
    assert not page.text.is_ocr.any()
    assert bool(list(tmp_path.glob(f"{FOLDER}/??/*"))) is is_read


# --- what OCR cannot do -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("read_words", "code"),
    [
        (losing_ocr.fails, "ocr_failed"),
        (losing_ocr.crashes, "ocr_failed"),
        (losing_ocr.never_ends, "ocr_timeout"),
    ],
    ids=["fails", "crashes", "hangs"],
)
def test_a_page_that_ocr_loses_keeps_its_own_words_and_says_so(
    tmp_path, monkeypatch, read_words, code
):
    path = tmp_path / "own.pdf"
    path.write_bytes(make_pdf([WHEAT, PATENT, WHEAT, PATENT]))
    monkeypatch.setattr(worker, "read_words", read_words)
    # Short where it is waited for; elsewhere a busy machine may take its time to load the engine.
    timeout_s = 1 if read_words is losing_ocr.never_ends else 60
    ocr = OcrSettings(mode="always", page_timeout_s=timeout_s)
    with IsolatedReader(RenderSettings(renderer="pypdfium2", workers=1), ocr=ocr) as reader:
        pages = pages_of(reader.scan(path, [1, 2, 3, 4]))
    assert ["wheat" in page.text.words for page in pages] == [True, False, True, False]
    assert [page.ocr for page in pages] == [None] * 4
    assert codes(pages[0]) == [code]
    # A document on which OCR is lost again and again does not hold up the others.
    last = pages[3].notices[0].message
    assert ("not tried" in last) is (read_words is not losing_ocr.fails)


def test_a_page_that_ocr_loses_is_tried_again_with_force_alone(ingest, scan, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(worker, "read_words", losing_ocr.fails)
        document, _ = ingest(str(scan))
    assert document["no_text_pages"] == [1, 2]
    (lost,) = [each for each in document["warnings"] if each["code"] == "ocr_failed"]
    assert "--force" in lost["message"]
    assert ingest(str(scan))[0]["state"] == "unchanged"
    assert ingest(str(scan), "--force")[0]["ocr_pages"] == [1, 2]


@pytest.mark.parametrize(
    ("reason", "engine", "codes_of_it", "is_looked_at"),
    [
        (None, choose.ChosenEngine("tesseract", ("eng",)), [], False),
        ("no_text", None, ["ocr_missing"], False),
        ("no_text", choose.ChosenEngine("tesseract", ("eng",)), ["ocr_timeout"], True),
    ],
)
def test_a_page_of_a_file_that_is_given_up_says_that_ocr_was_not_tried(
    reason, engine, codes_of_it, is_looked_at
):
    page = ScannedPage(3, 612, 792, PageText.empty(), has_ink=True, content_hash="seen")
    plan = OcrPlan(OcrSettings(), engine, None)
    document = DocumentOcr(plan, RenderSettings(), lambda _: "tesseract 5", kept_as=None)
    scanned = worker.Scanned(page, "pypdfium2", reason)
    document.request(scanned, worker.PageRequest(Path("a.pdf"), ("pypdfium2",)))
    left = document.cut_short(scanned)
    assert codes(left) == codes_of_it
    assert left.ocr == ("tesseract 5" if is_looked_at else None)


def test_a_hostile_image_ends_within_its_limits(tmp_path):
    path = tmp_path / "noise.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (6000, 6000), np.uint8)
    Image.fromarray(noise).save(path, quality=50)
    ocr = OcrSettings(page_timeout_s=1)
    with IsolatedReader(RenderSettings(workers=1), ocr=ocr) as reader:
        (page,) = pages_of(reader.scan(path, [1]))
    assert codes(page) in ([], ["ocr_timeout"])
    assert len(page.text) < 20


def test_without_an_engine_a_page_says_what_is_missing_and_how_to_get_it(scan, monkeypatch):
    monkeypatch.setattr(choose, "is_installed", lambda _: False)
    with IsolatedReader(RenderSettings(renderer="pypdfium2"), ocr=OcrSettings()) as reader:
        page, _ = pages_of(reader.scan(scan, [1, 2]))
    (notice,) = page.notices
    assert notice.code == "ocr_missing"
    assert "tesseract-ocr" in notice.message
    assert "octavo[ocr]" in notice.message


def test_an_engine_asked_for_by_name_has_to_be_there(scan, monkeypatch):
    monkeypatch.setattr(choose, "is_installed", lambda _: False)
    ocr = OcrSettings(engine="rapidocr")
    with (
        IsolatedReader(RenderSettings(renderer="pypdfium2"), ocr=ocr) as reader,
        pytest.raises(ConfigError, match="'rapidocr' is not installed"),
    ):
        next(reader.scan(scan, [1]))


def test_a_page_is_read_once_for_all_files_it_is_in(scan, tmp_path, monkeypatch):
    def read(times: int) -> list[ScannedPage]:
        settings = RenderSettings(renderer="pypdfium2")
        cache = OcrCache(tmp_path / FOLDER, 100_000)
        with IsolatedReader(settings, ocr=OcrSettings(), ocr_cache=cache) as reader:
            return pages_of(reader.scan(scan, [1, 2], kept_as=str(times) * 64))

    first = read(1)
    monkeypatch.setattr(worker, "read_words", losing_ocr.knows_pixels)
    again = read(2)
    assert [page.text.words for page in again] == [page.text.words for page in first]
    assert [page.content_hash for page in again] == [page.content_hash for page in first]
    assert [page.ocr for page in again] == [page.ocr for page in first]


def test_a_page_that_only_looks_like_anothers_small_is_read_by_its_own_pixels(tmp_path):
    first, second = tmp_path / "first.pdf", tmp_path / "second.pdf"
    for path, words in ((first, "Wheat Harvest"), (second, "Barley at home")):
        path.write_bytes(scanned_pdf([f"# {words}"]))
    cache = OcrCache(tmp_path / FOLDER, 100_000)
    plan = OcrPlan(OcrSettings(), choose.choose_engine("auto", ("eng",)), cache)
    page = ScannedPage(1, 612, 792, PageText.empty(), has_ink=True, content_hash="the same")
    words = []
    for number, path in enumerate((first, second, first)):
        document = DocumentOcr(
            plan, RenderSettings(), lambda _: "engine 1", kept_as=str(number) * 64
        )
        scanned = worker.Scanned(page, "pypdfium2", "no_text")
        request = document.request(scanned, worker.PageRequest(path, ("pypdfium2",)))
        assert isinstance(request, worker.OcrRequest)
        assert len(request.known) == number
        read = worker.read_words(request)
        assert (read.text is None) is (number == 2)
        words.append(document.finished(scanned, read, request).text.words)
    assert "Barley" in words[1]
    assert words[2] == words[0] != words[1]


# --- the command line ---------------------------------------------------------------------------
@pytest.fixture
def octavo(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "data")


@pytest.fixture
def ingest(octavo: Commands) -> Callable[..., tuple[dict[str, Any], dict[str, Any]]]:
    """(event of the document, totals)."""

    def ingested(*arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
        code, printed = octavo.outcome("ingest", *arguments)
        assert code == 0, printed
        events = [json.loads(line) for line in printed.splitlines()]
        (document,) = [event for event in events if event["event"] == "document"]
        return document, events[-1]

    return ingested


def kept(octavo: Commands) -> list[Path]:
    return sorted((octavo.data / FOLDER).glob("??/*"))


def test_a_scan_is_found_by_its_words_and_read_once(octavo, ingest, scan, monkeypatch):
    document, totals = ingest(str(scan))
    assert (document["ocr_pages"], document["no_text_pages"]) == ([1, 2], [])
    assert (document["warnings"], totals["warnings"]) == ([], [])

    found = octavo("search", "ceramic turbine")
    assert found["hits"][0]["page_number"] == 2
    assert "ceramic" in found["hits"][0]["snippet"]
    assert len(kept(octavo)) == 2
    monkeypatch.setattr(worker, "read_words", losing_ocr.fails)
    document, _ = ingest(str(scan), "--force")
    assert (document["state"], document["ocr_pages"]) == ("replaced", [1, 2])
    document, _ = ingest(str(scan), "--collection", "other")
    assert (document["state"], document["ocr_pages"]) == ("indexed", [1, 2])

    # What was read of a file goes with the last document that was made from it.
    octavo("rm", "scan.pdf")
    assert len(kept(octavo)) == 2
    octavo("rm", "scan.pdf", "--collection", "other")
    assert kept(octavo) == []


def test_a_file_that_nobody_could_read_is_read_when_somebody_can(octavo, ingest, scan, monkeypatch):
    with monkeypatch.context() as without:
        without.setattr(choose, "is_installed", lambda _: False)
        document, totals = ingest(str(scan))
        assert document["no_text_pages"] == [1, 2]
        for warnings in (document["warnings"], totals["warnings"]):
            (missing,) = [each for each in warnings if each["code"] == "ocr_missing"]
            assert "tesseract-ocr" in missing["message"]
        document, totals = ingest(str(scan))
        assert document["state"] == "unchanged"
        assert "ocr_missing" in {each["code"] for each in totals["warnings"]}
    document, totals = ingest(str(scan))
    assert (document["state"], document["ocr_pages"]) == ("replaced", [1, 2])
    assert totals["warnings"] == []
    assert ingest(str(scan))[0]["state"] == "unchanged"


def test_pages_in_which_ocr_found_nothing_are_not_read_again_and_again(ingest, tmp_path):
    path = tmp_path / "disc.png"
    Image.radial_gradient("L").save(path)
    assert ingest(str(path))[0]["no_text_pages"] == [1]
    assert ingest(str(path))[0]["state"] == "unchanged"


def test_a_language_that_is_not_installed_ends_the_ingest_before_it_begins(octavo, scan):
    error = octavo.refused("ingest", str(scan), "--set", "ocr.languages=eng+xyz")
    assert error["code"] == "ocr_language_missing"
    assert "xyz" in error["message"]


def test_an_ingest_that_is_killed_while_it_reads_loses_nothing(octavo, tmp_path):
    path = tmp_path / "long.pdf"
    words = ["barley", "copper", "denim", "ember", "fjord", "garnet"]
    filler = "\n".join(["Of all the things that grow and shine this page is about one."] * 20)
    path.write_bytes(scanned_pdf([f"# Page of {word}\n{filler}" for word in words]))
    flags = ("--set", "store.batch_pages=1", "--set", "render.workers=1")
    with octavo.started("ingest", str(path), *flags) as running:
        until_s = time.monotonic() + 60
        while not kept(octavo):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        running.kill()
    assert len(kept(octavo)) < len(words)
    done = octavo("ingest", str(path), *flags)
    assert done["pages"] == {"indexed": 6, "blank": 0, "failed": 0}
    for number in (1, 6):
        assert octavo("search", words[number - 1])["hits"][0]["page_number"] == number


def test_doctor_says_who_reads_pixels_and_what_is_missing(octavo, monkeypatch):
    def ocr_check(*flags: str) -> dict[str, Any]:
        _, printed = octavo.outcome("doctor", *flags)
        (found,) = [each for each in json.loads(printed)["checks"] if each["name"] == "OCR"]
        return found

    found = ocr_check()
    assert found["ok"]
    assert found["detail"].split()[0] in choose.ENGINES
    found = ocr_check("--set", "ocr.languages=xyz")
    assert (found["ok"], "xyz" in found["detail"]) == (False, True)
    monkeypatch.setattr(choose, "is_installed", lambda _: False)
    found = ocr_check()
    assert (found["ok"], "tesseract-ocr" in found["next_step"]) == (False, True)


def test_an_estimate_counts_the_words_that_ocr_reads(octavo, scan):
    rates = {rate["name"]: rate["value"] for rate in octavo("estimate", str(scan))["rates"]}
    assert rates["terms_per_page"] > 5
