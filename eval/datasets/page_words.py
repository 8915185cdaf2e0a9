"""Words set on a page: which font has which character, where lines break, how tall it all is.

A character that no font of the machine has stays in the text layer and is counted: it shows as a
box. Nothing is shaped: scripts whose letters join (Arabic, Devanagari) are set letter by letter.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from rag.errors import InputError

_LEADING = 1.3  # line height in sizes
_LARGEST_PT, _READABLE_PT, _SMALLEST_PT = 11.0, 7.0, 1.0
_TAB = "    "
# Hebrew, Arabic, Syriac, Thaana and forms of presentation, with the blanks between their words.
_LETTER = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff"
_RIGHT_TO_LEFT = re.compile(f"[{_LETTER}]+(?: +[{_LETTER}]+)*")
# Fonts with TrueType outlines that systems have, in the order they are asked.
_FONT_FILES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "FreeSans.ttf",
    "Arial Unicode.ttf",
    "arialuni.ttf",
    "LiberationSans-Regular.ttf",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "msyh.ttc",
    "simsun.ttc",
    "msgothic.ttc",
    "ipag.ttf",
    "fonts-japanese-gothic.ttf",
    "malgun.ttf",
    "NanumGothic.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansThai-Regular.ttf",
    "NotoSansMath-Regular.ttf",
    "Symbola.ttf",
    "unifont.ttf",
)
_FONT_FOLDERS = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "win32": ("C:/Windows/Fonts",),
}
_FONT_FOLDERS_ELSE = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
)


@dataclass(frozen=True)
class Face:
    """A font of reportlab, registered as `name`, and the characters it has."""

    name: str
    family: str
    font: Any = field(compare=False)
    codes: frozenset[int] = field(compare=False)

    def has(self, character: str) -> bool:
        return ord(character) in self.codes

    @functools.cache  # noqa: B019 - faces live as long as the process
    def width(self, character: str) -> float:
        """Advance of a character in sizes."""
        code = ord(character) if self.has(character) else 0
        return float(self.font.face.getCharWidth(code)) / 1000


@dataclass(frozen=True)
class Run:
    """Characters of a line that one font sets."""

    face: Face
    text: str


@dataclass(frozen=True)
class SetWords:
    """Lines as they fit a column.

    Attributes:
        lines: runs of each.
        missing: characters no font has, of the lines.
        families: fonts beside the first that were needed.
    """

    lines: tuple[tuple[Run, ...], ...]
    size_pt: float
    missing: str
    families: frozenset[str]

    @property
    def line_pt(self) -> float:
        return self.size_pt * _LEADING

    @property
    def height_pt(self) -> float:
        return self.line_pt * len(self.lines)


def set_words(text: str, *, width_pt: float, wanted_pt: float, most_pt: float) -> SetWords:
    """Words in a column: smaller type before a taller column, as long as it can be read.

    Args:
        text: as it came; line ends are kept.
        width_pt: of the column.
        wanted_pt: height the column may have at any size.
        most_pt: height it may have at all.

    Raises:
        InputError: `text_too_long`, where not even the smallest type fits.
    """
    text = _printable(text)
    runs_of = {character: _face_of(character) for character in dict.fromkeys(text)}
    size_pt = _LARGEST_PT
    while True:
        lines = list(_wrapped(text, runs_of, width_pt / size_pt))
        height_pt = len(lines) * size_pt * _LEADING
        if height_pt <= wanted_pt or (size_pt <= _READABLE_PT and height_pt <= most_pt):
            break
        if size_pt <= _SMALLEST_PT:
            raise InputError(
                f"a text of {len(text):,} characters does not fit one page",
                code="text_too_long",
                next_step="Cut it: one item of a set is one page.",
            )
        size_pt -= 1.0
    used = {face.family for character, face in runs_of.items() if face.has(character)}
    missing = [each for each in runs_of if not runs_of[each].has(each) and each != "\n"]
    return SetWords(
        lines=tuple(_runs(line, runs_of) for line in lines),
        size_pt=size_pt,
        missing="".join(character for character in text if character in missing),
        families=frozenset(used - {_faces()[0].family}),
    )


def _printable(text: str) -> str:
    """Without what steers a printer; halves of surrogate pairs become the sign for that."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", _TAB)
    return "".join(
        "\ufffd"
        if unicodedata.category(character) == "Cs"
        else ""
        if unicodedata.category(character) == "Cc" and character != "\n"
        else character
        for character in text
    ).strip("\n")


def _wrapped(text: str, faces: dict[str, Face], width: float) -> Iterator[str]:
    """Lines of at most `width` sizes, broken at blanks, and within words that are longer."""
    for paragraph in text.split("\n"):
        line, line_width = "", 0.0
        for is_blank, group in groupby(paragraph, str.isspace):
            word = "".join(group)
            word_width = sum(faces[each].width(each) for each in word)
            if line_width + word_width <= width:
                line, line_width = line + word, line_width + word_width
            elif is_blank:
                yield line
                line, line_width = "", 0.0
            else:
                if line.strip() and word_width <= width:
                    yield line
                    line, line_width = "", 0.0
                for character in word:
                    advance = faces[character].width(character)
                    if line_width + advance > width and line:
                        yield line
                        line, line_width = "", 0.0
                    line, line_width = line + character, line_width + advance
        yield line


def _runs(line: str, faces: dict[str, Face]) -> tuple[Run, ...]:
    return tuple(
        Run(face, "".join(group)) for face, group in groupby(_seen(line), lambda each: faces[each])
    )


def _seen(line: str) -> str:
    """A line in the order it is seen: what is written from right to left is turned.

    Readers turn it back, so that their text layer has the order it is read in.
    """
    if line.isascii():
        return line
    return _RIGHT_TO_LEFT.sub(lambda found: found[0][::-1], line)


@functools.cache
def _face_of(character: str) -> Face:
    """The first font that has it; where none does the first of all, which shows a box."""
    faces = _faces()
    if character == "\n" or faces[0].has(character):
        return faces[0]
    return next((face for face in _all_faces() if face.has(character)), faces[0])


@functools.cache
def _faces() -> tuple[Face, ...]:
    """The font that reportlab brings, which is the same on every machine."""
    import reportlab

    vera = Path(reportlab.__file__).parent / "fonts" / "Vera.ttf"
    return (_registered(vera),)


@functools.cache
def _all_faces() -> tuple[Face, ...]:
    from reportlab.pdfbase.ttfonts import TTFError

    found = [*_faces()]
    for path in _system_fonts():
        try:
            found.append(_registered(path))
        except (TTFError, OSError):
            continue  # PostScript outlines, or damaged: the next font may have the character
    return tuple(found)


def _system_fonts() -> list[Path]:
    paths: dict[str, Path] = {}
    for folder in _FONT_FOLDERS.get(sys.platform, _FONT_FOLDERS_ELSE):
        for top, _folders, files in os.walk(Path(folder).expanduser()):
            for name in files:
                if name in _FONT_FILES:
                    paths.setdefault(name, Path(top) / name)
    return [paths[name] for name in _FONT_FILES if name in paths]


def _registered(path: Path) -> Face:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    name = f"octavo-{path.stem}"
    font = TTFont(name, str(path))
    pdfmetrics.registerFont(font)
    return Face(name, path.stem, font, frozenset(font.face.charToGlyph))


def keep_searchable(face: Face, text: str) -> None:
    """Characters the font lacks get its box, and so a place in the text layer."""
    for character in text:
        if not face.has(character):
            face.font.face.charToGlyph.setdefault(ord(character), 0)


def mend_text_layer(document: Any) -> None:
    """Before a document is saved: characters beyond U+FFFF as text layers want them.

    reportlab writes the code of a character as it is; a text layer wants UTF-16, which here is two
    halves written one after the other.
    """
    for face in _all_faces() if _all_faces.cache_info().currsize else _faces():
        state = face.font.state.get(document)
        for subset in [] if state is None else state.subsets:
            for place, code in enumerate(subset):
                if 0xFFFF < code <= sys.maxunicode:
                    high, low = divmod(code - 0x10000, 0x400)
                    pair = (0xD800 + high) << 16 | (0xDC00 + low)
                    glyphs, widths = face.font.face.charToGlyph, face.font.face.charWidths
                    glyphs[pair] = glyphs.get(code, 0)
                    if code in widths:
                        widths[pair] = widths[code]
                    subset[place] = pair
