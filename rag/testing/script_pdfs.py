"""PDFs whose words are in any script, without a font that has its letters.

Every letter is drawn as a black box. What it stands for is in the table that readers of text look
it up in, so that the text is all there, in view, and no font is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ADVANCE = 600  # of 1000, each letter
_SIZE_PT = 12.0
_LINE_PT = 22.0
_LEFT_PT, _TOP_PT = 72.0, 720.0
_MOST_LETTERS = 255  # of a page, in one font
_CMAP = """/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CMapName /Made def /CMapType 2 def
1 begincodespacerange <00> <FF> endcodespacerange
{ranges}
endcmap end end"""


def make_script_pdf(pages: Sequence[str], *, right_to_left: bool = False) -> bytes:
    """A PDF with the pages' lines, one below the other.

    Args:
        pages: lines in logical order, as they are read; up to 255 different letters a page.
        right_to_left: draw each line as its letters are seen, from the left: the last word first,
            each from its last letter, but numbers and Latin words from their first. Most programs
            write Arabic and Hebrew so. Otherwise letters are drawn from the left as they come,
            which puts Arabic and Hebrew on the page backwards.
    """
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        (
            f"<< /Type /Pages /Count {len(pages)} /Kids "
            f"[{' '.join(f'{5 + 4 * index} 0 R' for index in range(len(pages)))}] >>"
        ).encode(),
        _stream(b"%d 0 0 0 500 700 d1 50 0 450 700 re f" % _ADVANCE),
        _stream(b"%d 0 d0" % _ADVANCE),
    ]
    for page in pages:
        number = len(objects) + 1
        letters = sorted(set(page.replace("\n", "")))
        assert len(letters) <= _MOST_LETTERS
        codes = {letter: code for code, letter in enumerate(letters, start=1)}
        objects += [
            (
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font "
                b"<< /F1 %d 0 R >> >> /Contents %d 0 R >>" % (number + 1, number + 3)
            ),
            _font(codes, to_unicode=number + 2),
            _stream(_CMAP.format(ranges=_ranges(codes)).encode()),
            _stream(_drawn(page.splitlines(), codes, right_to_left=right_to_left)),
        ]
    return _assembled(objects)


def _font(codes: dict[str, int], *, to_unicode: int) -> bytes:
    names = " ".join(f"/{'blank' if letter.isspace() else 'box'}" for letter in codes)
    widths = " ".join([str(_ADVANCE)] * len(codes))
    return (
        "<< /Type /Font /Subtype /Type3 /FontBBox [0 0 600 700] /FontMatrix [.001 0 0 .001 0 0] "
        f"/CharProcs << /box 3 0 R /blank 4 0 R >> /FirstChar 1 /LastChar {len(codes)} "
        f"/Encoding << /Type /Encoding /Differences [1 {names}] >> /Widths [{widths}] "
        f"/Resources << >> /ToUnicode {to_unicode} 0 R >>"
    ).encode()


def _ranges(codes: dict[str, int]) -> str:
    rows = [
        f"<{code:02X}> <{char.encode('utf-16-be').hex().upper()}>" for char, code in codes.items()
    ]
    blocks = [rows[start : start + 100] for start in range(0, len(rows), 100)]
    return "\n".join(
        f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks
    )


def _drawn(lines: Sequence[str], codes: dict[str, int], *, right_to_left: bool) -> bytes:
    shown = []
    for number, line in enumerate(lines):
        glyphs = _seen(line) if right_to_left else line
        text = "".join(f"{codes[char]:02X}" for char in glyphs)
        y_pt = _TOP_PT - number * _LINE_PT
        shown.append(f"BT /F1 {_SIZE_PT} Tf {_LEFT_PT} {y_pt} Td <{text}> Tj ET\n")
    return "".join(shown).encode()


def _seen(line: str) -> str:
    """From the left, in a paragraph that runs from the right."""
    return re.sub(r"[\da-zA-Z.,]+", lambda match: match.group()[::-1], line)[::-1]


def _stream(data: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(data), data)


def _assembled(objects: Sequence[bytes]) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\n" % (len(objects) + 1)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)
