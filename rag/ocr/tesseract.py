"""Tesseract: in this process by tesserocr where that is installed, else its program by a pipe.

Both give the same table; docs/adr/0018-ocr.md has what they cost. Language data is the system's.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import shutil
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from rag.errors import BackendError
from rag.ocr.read_lines import ReadLine, ReadWord, page_text
from rag.page_text import PageText
from rag.processes import ends_with_programs
from rag.types import RenderedPage

_PLACES = (
    "/usr/share/tesseract-ocr/*/tessdata",
    "/usr/share/tesseract-ocr/tessdata",
    "/usr/share/tessdata",
    "/usr/share/tesseract/tessdata",
    "/usr/local/share/tessdata",
    "/opt/homebrew/share/tessdata",
    "/opt/local/share/tessdata",
)
_SUFFIX = ".traineddata"
_PAGE_LAYOUT = 3  # fully automatic, the page upright
# Of anything smaller it says that it is too small, or fails.
_LEAST_PX = 10
# Below it stand textures of photographs read as letters.
_LEAST_CONFIDENCE = 0.3
_WORD_ROW = "5"
_N_COLUMNS = 12

# What a letter rises above the baseline and falls below it, of the size of its type; means of
# Helvetica and Times.
_CAPITAL, _SMALL, _BELOW = 0.70, 0.49, 0.21
_LOW_LETTERS = frozenset("acemnorsuvwxz")
_FALLING_LOW = frozenset("gpqy")
_FALLING_HIGH = frozenset("jQ")
_NO_SIZE = frozenset("-\u2013\u2014_.,:;'\"`*~=+^\u00b7\u2022\u2026|()[]{}/\\<>")


# --- what is there ------------------------------------------------------------------------------
def has_library() -> bool:
    return importlib.util.find_spec("tesserocr") is not None


def program() -> str | None:
    return shutil.which("tesseract")


def data_folder(languages: Sequence[str] = ()) -> Path | None:
    """Where language data lies: the first folder that has all the languages, or has any data."""
    found = list(_data_folders())
    for folder in found:
        if all((folder / f"{language}{_SUFFIX}").is_file() for language in languages):
            return folder
    return found[0] if found else None


def installed_languages(wanted: Sequence[str] = ()) -> list[str]:
    """Sorted; of the folder that would be used to read the wanted ones."""
    folder = data_folder(wanted)
    return [] if folder is None else _languages_in(folder)


def describe() -> str:
    """Version, and by what it is reached; as whoever reads with it would find it."""
    if has_library() and data_folder() is not None:
        import tesserocr

        return f"tesseract {_version(tesserocr.tesseract_version())} by tesserocr"
    name = program()
    return f"tesseract {_version(_said([name, '--version'])) if name else ''} by its program"


def _data_folders() -> Iterator[Path]:
    told = os.environ.get("TESSDATA_PREFIX")
    places = [Path(told), Path(told, "tessdata")] if told else []
    for pattern in _PLACES:
        # The newest version first.
        places += sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    asked = _folder_of_program()
    if asked is not None:
        places.append(asked)
    for place in dict.fromkeys(places):
        if _languages_in(place):
            yield place


def _languages_in(folder: Path) -> list[str]:
    found = [*folder.glob(f"*{_SUFFIX}"), *folder.glob(f"script/*{_SUFFIX}")]
    names = {path.relative_to(folder).as_posix().removesuffix(_SUFFIX) for path in found}
    return sorted(names - {"osd", "equ"})  # orientation and equations are data, not languages


@functools.cache
def _folder_of_program() -> Path | None:
    """Where the program was built to look; None where it does not say."""
    name = program()
    if name is None:
        return None
    head = _said([name, "--list-langs"]).partition("\n")[0]  # ... in "/usr/share/tessdata/" (2):
    parts = head.split('"')
    return Path(parts[1]) if len(parts) == 3 else None


def _said(command: Sequence[str]) -> str:
    """What a program prints; empty where it does not run."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).decode(errors="replace")


# --- reading ------------------------------------------------------------------------------------
class TesseractEngine:
    """OcrEngine over Tesseract; loaded when made, one thread.

    Raises:
        BackendError: `ocr_failed`, it cannot be loaded.
    """

    name = "tesseract"

    def __init__(self, languages: Sequence[str]) -> None:
        folder = data_folder(languages)
        wanted = "+".join(languages)
        self._reader: _Reader
        if has_library() and folder is not None:
            self._reader = _Library(folder, wanted)
        else:
            self._reader = _Program(folder, wanted)
        self.identity = f"tesseract {self._reader.version} {wanted}"

    def read(self, page: RenderedPage) -> PageText:
        if min(page.image.size) < _LEAST_PX:
            return PageText.empty()
        table = self._reader.table(page, dpi=max(70, round(72 * page.px_per_pt)))
        return page_text(list(_lines(table)), page)


class _Reader(Protocol):
    version: str

    def table(self, page: RenderedPage, *, dpi: int) -> str:
        """Rows of level, page, block, paragraph, line, word, box, confidence and text."""
        ...


class _Library:
    def __init__(self, folder: Path, languages: str) -> None:
        import tesserocr

        tesserocr.set_leptonica_log_level(tesserocr.LeptLogLevel.NONE)
        try:
            self._api: Any = tesserocr.PyTessBaseAPI(
                path=str(folder), lang=languages, psm=_PAGE_LAYOUT
            )
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"Tesseract cannot be loaded: {error}", code="ocr_failed") from error
        self._api.SetVariable("debug_file", os.devnull)
        self.version = _version(tesserocr.tesseract_version())

    def table(self, page: RenderedPage, *, dpi: int) -> str:
        try:
            self._api.SetImage(page.image.convert("RGB"))
            self._api.SetSourceResolution(dpi)
            return str(self._api.GetTSVText(0))
        except RuntimeError as error:
            raise BackendError(f"Tesseract fails: {error}", code="ocr_failed") from error
        finally:
            with contextlib.suppress(RuntimeError):
                self._api.Clear()


class _Program:
    def __init__(self, folder: Path | None, languages: str) -> None:
        name = program()
        if name is None:
            raise BackendError("there is no Tesseract here", code="ocr_failed")
        self.version = _version(_said([name, "--version"]))
        self._command = [name, "stdin", "stdout", "-l", languages, "--psm", str(_PAGE_LAYOUT)]
        if folder is not None:
            self._command += ["--tessdata-dir", str(folder)]

    def table(self, page: RenderedPage, *, dpi: int) -> str:
        image = io.BytesIO()
        page.image.convert("RGB").save(image, "PPM")
        with ends_with_programs():
            done = subprocess.run(
                [*self._command, "--dpi", str(dpi), "tsv"],
                input=image.getbuffer(),
                capture_output=True,
                check=False,
            )
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()
            raise BackendError(
                f"Tesseract ends with {done.returncode}: {reason[-1] if reason else 'no reason'}",
                code="ocr_failed",
            )
        return done.stdout.decode(errors="replace")


def _version(said: str) -> str:
    """Of `tesseract 5.5.4` and what follows."""
    parts = said.split(None, 2)
    return parts[1].removeprefix("v") if len(parts) > 1 else "of unknown version"


def _lines(table: str) -> Iterator[ReadLine]:
    place: list[str] = []
    words: list[ReadWord] = []
    for row in table.splitlines():
        cells = row.split("\t", _N_COLUMNS - 1)
        if len(cells) < _N_COLUMNS or cells[0] != _WORD_ROW:
            continue
        if cells[1:5] != place and words:
            yield _line(words)
            words = []
        place = cells[1:5]
        left, top, width, height = map(float, cells[6:10])
        confidence = float(cells[10]) / 100.0
        if confidence >= _LEAST_CONFIDENCE and cells[11].strip():
            box = (left, top, left + width, top + height)
            words.append(ReadWord(cells[11], box, confidence))
    if words:
        yield _line(words)


def _line(words: Sequence[ReadWord]) -> ReadLine:
    sizes = [size for word in words if (size := type_size(word.word, _height(word))) is not None]
    # A dash alone has no height to tell a size from.
    size_px = statistics.median(sizes) if sizes else max(_height(word) for word in words)
    return ReadLine(tuple(words), size_px)


def _height(word: ReadWord) -> float:
    return word.box_px[3] - word.box_px[1]


def type_size(word: str, height: float) -> float | None:
    """Size of the type of a word as high as `height`, by the letters that it is made of.

    Returns:
        In the unit of `height`; None for a word of marks only.
    """
    letters = [letter for letter in word if letter not in _NO_SIZE]
    if not letters:
        return None
    is_low = all(letter in _LOW_LETTERS or letter in _FALLING_LOW for letter in letters)
    falls = any(letter in _FALLING_LOW or letter in _FALLING_HIGH for letter in letters)
    return height / ((_SMALL if is_low else _CAPITAL) + (_BELOW if falls else 0.0))
