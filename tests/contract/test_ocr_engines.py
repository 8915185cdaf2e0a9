"""One suite over every engine that reads pixels, on pages made in code; then what each is alone."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scans import pictures, scanned_pdf

from rag.errors import BackendError, ConfigError
from rag.geometry import as_boxes
from rag.ocr import choose, rapid, tesseract
from rag.ocr.choose import ChosenEngine, choose_engine, describe_engine, load_engine
from rag.ocr.tesseract import type_size
from rag.page_text import PageText, heading_spans
from rag.ports import OcrEngine
from rag.renderers.pypdfium2_renderer import Pypdfium2Renderer
from rag.testing import PdfPage, PdfText, make_pdf
from rag.types import RenderedPage

LETTER = [
    PdfText("Wheat Harvest Report", 72, 90, 24, bold=True),
    PdfText("The northern valley sold 1,200 tonnes of wheat in autumn.", 72, 140, 12),
    PdfText("Prices rose by twelve percent, and buyers came from abroad.", 72, 160, 12),
    PdfText("Barley was sold at home.", 72, 400, 12),
    PdfText("Closing Remarks", 72, 500, 24, bold=True),
]
CARD = PdfPage([PdfText("Barley at home", 20, 50, 14)], width_pt=200, height_pt=80)

PAGE = PdfPage(LETTER)


def by_program(monkeypatch: pytest.MonkeyPatch) -> OcrEngine:
    if tesseract.program() is None:
        missing("the program tesseract")
    monkeypatch.setattr(tesseract, "has_library", lambda: False)
    return load_engine(ChosenEngine("tesseract", ("eng",)))


def by_library() -> OcrEngine:
    if not (tesseract.has_library() and tesseract.installed_languages()):
        missing("tesserocr, or language data")
    return load_engine(ChosenEngine("tesseract", ("eng",)))


def by_rapidocr() -> OcrEngine:
    if not rapid.is_installed():
        missing("rapidocr")
    return load_engine(ChosenEngine("rapidocr", ("eng",)))


def missing(what: str) -> None:
    pytest.skip(f"{what} is not installed")


@pytest.fixture(scope="module", params=["tesserocr", "program", "rapidocr"])
def engine(request: pytest.FixtureRequest) -> Iterator[OcrEngine]:
    with pytest.MonkeyPatch.context() as patched:
        made: dict[str, Callable[[], OcrEngine]] = {
            "tesserocr": by_library,
            "program": lambda: by_program(patched),
            "rapidocr": by_rapidocr,
        }
        yield made[request.param]()


# --- words and places ---------------------------------------------------------------------------
@pytest.fixture(scope="module")
def read(engine: OcrEngine) -> PageText:
    return engine.read(pictures([PAGE], dpi=110)[0])


def test_words_are_found_where_the_file_has_them(read, tmp_path):
    require_places(read, own_words(tmp_path))


def test_words_of_a_page_scanned_sideways_are_found_where_it_shows_them(engine, tmp_path):
    path = tmp_path / "turned.pdf"
    path.write_bytes(scanned_pdf([PAGE], rotate=90))
    picture = Pypdfium2Renderer().render(path, 1, dpi=130, max_px=10**8)
    assert picture.width_pt < picture.height_pt
    require_places(engine.read(picture), own_words(tmp_path))


def own_words(folder: Path) -> PageText:
    """As the file tells them."""
    path = folder / "page.pdf"
    path.write_bytes(make_pdf([PAGE]))
    return Pypdfium2Renderer().words(path, 1)


def require_places(read: PageText, own: PageText) -> None:
    assert read.words == own.words
    places = zip(as_boxes(read.boxes), as_boxes(own.boxes), own.sizes_pt, strict=True)
    for word, (there, box, size_pt) in zip(own.words, places, strict=True):
        # Own boxes are as high as the font's line; the letters stand within.
        assert abs(there.x0 - box.x0) < 2 + 0.25 * size_pt, word
        assert abs(there.x1 - box.x1) < 2 + 0.25 * size_pt, word
        assert box.y0 - 4 < there.y0 < there.y1 < box.y1 + 4, word


def test_words_come_in_reading_order_with_their_lines_and_confidences(read):
    lines = [item.text for item in LETTER]
    assert [read.span_text(*span) for span in read.line_spans] == lines
    assert read.is_ocr.all()
    assert 0.6 < read.confidences.min() <= read.confidences.max() <= 1.0


def test_type_sizes_tell_a_title_from_text(read):
    sizes = {read.span_text(*span): float(read.sizes_pt[span[0]]) for span in read.line_spans}
    for item in LETTER:
        assert sizes[item.text] == pytest.approx(item.size_pt, rel=0.25)
    # Its place does not make it a heading: three lines stand before it.
    assert "Closing Remarks" in [read.span_text(*span) for span in heading_spans(read)]


# --- pages with nothing to read -----------------------------------------------------------------
@pytest.mark.parametrize(
    "size_px", [(800, 600), (1, 1), (3, 2000), (2000, 5)], ids=lambda size: f"{size[0]}x{size[1]}"
)
def test_a_blank_image_has_no_words(engine, size_px):
    image = Image.new("RGB", size_px, "white")
    assert len(engine.read(RenderedPage(image, size_px[0] / 2, size_px[1] / 2))) == 0


def test_noise_has_hardly_a_word_and_harms_nothing(engine):
    noise = np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8)
    assert len(engine.read(RenderedPage(Image.fromarray(noise), 200.0, 150.0))) < 5
    assert engine.read(pictures([CARD])[0]).text == "Barley at home"


def test_the_identity_names_engine_version_and_languages(engine):
    name, version, *_ = engine.identity.split()
    assert name == engine.name
    assert version[0].isdigit()
    if name == "tesseract":
        assert engine.identity.endswith(" eng")


# --- what is installed --------------------------------------------------------------------------
def test_a_language_that_is_not_there_is_refused_by_name(tmp_path, monkeypatch):
    (tmp_path / "eng.traineddata").touch()
    (tmp_path / "osd.traineddata").touch()
    monkeypatch.setattr(tesseract, "_PLACES", ())
    monkeypatch.setattr(tesseract, "_folder_of_program", lambda: None)
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    monkeypatch.setattr(tesseract, "has_library", lambda: True)

    assert choose_engine("auto", ("eng",)) == ChosenEngine("tesseract", ("eng",))
    with pytest.raises(ConfigError, match="cannot read chi_sim here; it can read eng") as caught:
        choose_engine("auto", ("eng", "chi_sim"))
    assert caught.value.code == "ocr_language_missing"
    assert "tesseract-ocr-chi-sim" in caught.value.next_step


def test_data_is_taken_from_the_folder_that_has_all_languages(tmp_path, monkeypatch):
    for name in ("a/eng", "b/eng", "b/heb", "b/script/Latin"):
        path = tmp_path / f"{name}.traineddata"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.delenv("TESSDATA_PREFIX", raising=False)
    monkeypatch.setattr(tesseract, "_PLACES", (str(tmp_path / "a"), str(tmp_path / "b")))
    monkeypatch.setattr(tesseract, "_folder_of_program", lambda: None)
    assert tesseract.data_folder(("eng",)) == tmp_path / "a"
    assert tesseract.data_folder(("eng", "heb")) == tmp_path / "b"
    assert tesseract.data_folder(("script/Latin",)) == tmp_path / "b"
    monkeypatch.setattr(tesseract, "has_library", lambda: True)
    both = choose_engine("tesseract", ("eng", "heb"))
    assert both == ChosenEngine("tesseract", ("eng", "heb"))
    assert "languages here: eng, heb, script/Latin" in describe_engine(both)


def test_rapidocr_refuses_scripts_it_has_no_model_for(monkeypatch):
    monkeypatch.setattr(rapid, "is_installed", lambda: True)
    assert choose_engine("rapidocr", ("eng", "deu")) is not None
    with pytest.raises(ConfigError, match="rapidocr cannot read heb here"):
        choose_engine("rapidocr", ("eng", "heb"))


def test_without_an_engine_auto_finds_none_and_a_name_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(choose, "is_installed", lambda _: False)
    assert choose_engine("auto", ("eng",)) is None
    with pytest.raises(ConfigError, match="not installed") as caught:
        choose_engine("tesseract", ("eng",))
    assert "tesseract-ocr" in caught.value.next_step
    with pytest.raises(ConfigError, match="there is no OCR engine 'magic'"):
        choose_engine("magic", ("eng",))


def test_tesseract_comes_before_rapidocr(monkeypatch):
    monkeypatch.setattr(choose, "is_installed", lambda _: True)
    monkeypatch.setattr(tesseract, "installed_languages", lambda *_: ["eng"])
    assert choose_engine("auto", ("eng",)) == ChosenEngine("tesseract", ("eng",))
    monkeypatch.setattr(choose, "is_installed", lambda name: name == "rapidocr")
    assert choose_engine("auto", ("eng",)) == ChosenEngine("rapidocr", ("eng",))


def test_data_that_is_no_data_is_told_of_and_not_fatal(tmp_path, monkeypatch):
    if not tesseract.has_library():
        missing("tesserocr")
    (tmp_path / "eng.traineddata").write_bytes(b"no such thing")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    with pytest.raises(BackendError, match="Tesseract cannot be loaded") as caught:
        load_engine(ChosenEngine("tesseract", ("eng",)))
    assert caught.value.code == "ocr_failed"


@pytest.mark.skipif(os.name != "posix", reason="a script stands for the program")
def test_a_program_that_fails_says_why(tmp_path, monkeypatch):
    fake = tmp_path / "tesseract"
    fake.write_text("#!/bin/sh\ncat >/dev/null\necho 'it is full' >&2\nexit 3\n", encoding="ascii")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(tesseract, "has_library", lambda: False)
    assert shutil.which("tesseract") == str(fake)
    engine = load_engine(ChosenEngine("tesseract", ("eng",)))
    with pytest.raises(BackendError, match="ends with 3: it is full"):
        engine.read(pictures([CARD])[0])


# --- sizes --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("word", "height", "size"),
    [
        ("Hat", 7.0, 10.0),  # capitals and ascenders: 0.70 of the size
        ("1,200", 7.0, 10.0),
        ("sun", 4.9, 10.0),  # 0.49
        ("gap", 7.0, 10.0),  # 0.49 + 0.21
        ("Query", 9.1, 10.0),  # 0.70 + 0.21
    ],
)
def test_the_letters_of_a_word_tell_its_size(word, height, size):
    assert type_size(word, height) == pytest.approx(size)


def test_marks_alone_tell_no_size():
    assert type_size("--", 1.0) is None
