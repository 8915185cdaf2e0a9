"""PDFs written by hand, byte by byte: every page, crop, turn and password a test wants."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rag.geometry import Box


def covers(outer: Box, inner: Box, *, tolerance_pt: float = 0.01) -> bool:
    return (
        outer.x0 <= inner.x0 + tolerance_pt
        and outer.y0 <= inner.y0 + tolerance_pt
        and outer.x1 >= inner.x1 - tolerance_pt
        and outer.y1 >= inner.y1 - tolerance_pt
    )


# PDF 32000-1, algorithm 2: what a password is padded with.
_PASSWORD_PADDING = bytes.fromhex(
    "28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a"
)
_FILE_ID = bytes(range(16))
_ENDLESS_DEPTH = 12


@dataclass(frozen=True)
class PdfText:
    """A run of text; `x_pt`, `y_pt` is the start of its baseline, from the media box's top left.

    Attributes:
        grey: of its ink, from 0, black, to 1, white.
        is_drawn: False for text rendering mode 3, as of the words that OCR lays over a scan.
    """

    text: str
    x_pt: float
    y_pt: float
    size_pt: float = 12.0
    bold: bool = False
    grey: float = 0.0
    is_drawn: bool = True


@dataclass(frozen=True)
class PdfPage:
    """A page to make; everything on it is placed before it is cropped and rotated.

    Attributes:
        marks: rectangles filled with black, from the media box's top left; text lies on them.
        rotate: the page's /Rotate, clockwise degrees.
        crop: its /CropBox, from the media box's top left.
        endless: drawn by forms within forms, 10^12 of them: no reader comes to an end.
        covers: as marks, over the text.
    """

    texts: Sequence[PdfText] = ()
    marks: Sequence[Box] = ()
    width_pt: float = 612.0
    height_pt: float = 792.0
    rotate: int = 0
    crop: Box | None = None
    endless: bool = False
    covers: Sequence[Box] = ()


def make_pdf(pages: Sequence[PdfPage | str], *, title: str = "", password: str = "") -> bytes:
    """A small valid PDF in Helvetica.

    Args:
        pages: as described, or as plain text: its lines from the top, wrapped at 80 characters,
            those that start with "# " as bold headings.
        title: of the document, in its metadata.
        password: asked for at opening (RC4, 40 bit); none where empty.
    """
    key = _file_key(password) if password else None
    made = [_typeset(page) if isinstance(page, str) else page for page in pages]
    kids = " ".join(f"{6 + 2 * index} 0 R" for index in range(len(made)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(made)} /Kids [{kids}] >>".encode(),
        _font("Helvetica"),
        _font("Helvetica-Bold"),
        b"<< /Title " + _string(title.encode("cp1252"), key, 5) + b" >>",
    ]
    for page in made:
        content = _content(page)
        number = len(objects) + 2
        dictionary = _page_dictionary(page, content_number=number, form_number=6 + 2 * len(made))
        objects.append(dictionary)
        objects.append(_stream(content, key, number))
    for depth in range(_ENDLESS_DEPTH if any(page.endless for page in made) else 0):
        number = len(objects) + 1
        inner = b"/F Do " * 10 if depth + 1 < _ENDLESS_DEPTH else b"0 0 9 9 re f"
        form = (
            f"/Type /XObject /Subtype /Form /BBox [0 0 99 99] /Resources << {_form(number + 1)} >>"
        )
        objects.append(_stream(inner, key, number, form))
    return _assemble(objects, password)


def _typeset(text: str) -> PdfPage:
    texts: list[PdfText] = []
    y_pt = 72.0
    for line in text.splitlines():
        is_heading = line.startswith("# ")
        size_pt = 18.0 if is_heading else 11.0
        for part in textwrap.wrap(line.removeprefix("# "), 80) or [""]:
            texts.append(PdfText(part, 72.0, y_pt, size_pt, bold=is_heading))
            y_pt += 1.4 * size_pt
    return PdfPage(texts)


def _font(name: str) -> bytes:
    return (
        f"<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>".encode()
    )


def _stream(data: bytes, key: bytes | None, number: int, entries: str = "") -> bytes:
    coded = _rc4(_object_key(key, number), data) if key else data
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries.encode(), len(coded), coded)


def _form(number: int) -> str:
    return f"/XObject << /F {number} 0 R >>"


def _page_dictionary(page: PdfPage, *, content_number: int, form_number: int) -> bytes:
    forms = _form(form_number) if page.endless else ""
    crop = ""
    if page.crop is not None:
        x0, y0, x1, y1 = page.crop
        crop = f"/CropBox [{x0} {page.height_pt - y1} {x1} {page.height_pt - y0}]"
    return (
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {page.width_pt} {page.height_pt}] {crop} "
        f"/Rotate {page.rotate} /Resources << /Font << /F1 3 0 R /F2 4 0 R >> {forms} >> "
        f"/Contents {content_number} 0 R >>"
    ).encode()


def _content(page: PdfPage) -> bytes:
    texts = [
        f"BT /{'F2' if item.bold else 'F1'} {item.size_pt} Tf {item.grey} g "
        f"{0 if item.is_drawn else 3} Tr {item.x_pt} {page.height_pt - item.y_pt} Td ".encode()
        + _literal(item.text.encode("cp1252"))
        + b" Tj ET 0 g\n"
        for item in page.texts
    ]
    drawn = [*_filled(page, page.marks), *texts, *_filled(page, page.covers)]
    return b"".join([*drawn, b"/F Do\n" if page.endless else b""])


def _filled(page: PdfPage, boxes: Sequence[Box]) -> list[bytes]:
    # PDF y grows upwards.
    return [
        f"{box.x0} {page.height_pt - box.y1} {box.width} {box.height} re f\n".encode()
        for box in boxes
    ]


def _literal(raw: bytes) -> bytes:
    for special in (b"\\", b"(", b")"):
        raw = raw.replace(special, b"\\" + special)
    return b"(" + raw + b")"


def _string(raw: bytes, key: bytes | None, number: int) -> bytes:
    data = _rc4(_object_key(key, number), raw) if key else raw
    return b"<" + data.hex().encode() + b">"


def _assemble(objects: Sequence[bytes], password: str) -> bytes:
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    encrypt = b""
    if password:
        encrypt = (
            b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<%s> <%s>]"
            % (
                _owner_entry(password).hex().encode(),
                _rc4(_file_key(password), _PASSWORD_PADDING).hex().encode(),
                _FILE_ID.hex().encode(),
                _FILE_ID.hex().encode(),
            )
        )
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R %s >>\n" % (len(objects) + 1, encrypt)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def _padded(password: str) -> bytes:
    return (password.encode("cp1252") + _PASSWORD_PADDING)[:32]


def _owner_entry(password: str) -> bytes:
    key = hashlib.md5(_padded(password), usedforsecurity=False).digest()[:5]
    return _rc4(key, _padded(password))


def _file_key(password: str) -> bytes:
    permissions = (-4).to_bytes(4, "little", signed=True)
    material = _padded(password) + _owner_entry(password) + permissions + _FILE_ID
    return hashlib.md5(material, usedforsecurity=False).digest()[:5]


def _object_key(key: bytes, number: int) -> bytes:
    material = key + number.to_bytes(3, "little") + bytes(2)
    return hashlib.md5(material, usedforsecurity=False).digest()[:10]


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
