"""Image files made to harm who reads them: each kind by its file name, made when asked for."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterable

from PIL import Image

from rag.testing.raw_pdf import repeated_packed

_SIDE = 60


def hostile_images() -> dict[str, Callable[[], bytes]]:
    """Makers by file name, which tells what is wrong in the file."""
    return dict(_IMAGES)


def _sample(mode: str = "RGB") -> Image.Image:
    """Noise on which something can be seen."""
    grey = Image.frombytes("L", (_SIDE, _SIDE), random.Random(0).randbytes(_SIDE * _SIDE))
    return grey.convert(mode)


def _saved(image: Image.Image, file_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, file_format, **options)
    return out.getvalue()


# --- PNG, chunk by chunk ------------------------------------------------------------------------
def _chunk(kind: bytes, data: bytes, *, checksum: int | None = None) -> bytes:
    told = zlib.crc32(kind + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", told)


def _png(
    width: int, height: int, data: bytes, *, depth: int = 8, colour: int = 0, more: bytes = b""
) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = _chunk(b"IDAT", data) if data else b""
    return b"\x89PNG\r\n\x1a\n" + head + more + body + _chunk(b"IEND", b"")


def _png_bomb(width: int, height: int, *, depth: int = 8) -> bytes:
    """All of the pixels that its head tells of, black."""
    row_bytes = (width * depth + 7) // 8 + 1
    return _png(width, height, repeated_packed(0, row_bytes * height), depth=depth)


def _grey_rows() -> bytes:
    rows = b"".join(b"\0" + random.Random(row).randbytes(_SIDE) for row in range(_SIDE))
    return zlib.compress(rows)


def _profile_chunk(profile: bytes) -> bytes:
    return _chunk(b"iCCP", b"profile\0\0" + profile)


def _flipped(data: bytes, places: Iterable[int]) -> bytes:
    hurt = bytearray(data)
    for place in places:
        hurt[place % len(hurt)] ^= 0xFF
    return bytes(hurt)


# --- JPEG ---------------------------------------------------------------------------------------
def _jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose head tells of another size."""
    data = bytearray(_saved(_sample(), "JPEG"))
    head = data.index(b"\xff\xc0") + 5
    data[head : head + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _jpeg_of_scans(n: int) -> bytes:
    """A progressive JPEG whose last scan is told over and over."""
    data = _saved(_sample(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * n + data[-2:]


def _mpo() -> bytes:
    others = [_sample("RGB").rotate(90), _sample("RGB").rotate(180)]
    return _saved(_sample(), "MPO", save_all=True, append_images=others)


def _exif_loop() -> bytes:
    """EXIF whose directory is its own successor, with an orientation of 99."""
    directory = struct.pack(">HHHIHH", 1, 0x0112, 3, 1, 99, 0) + struct.pack(">I", 8)
    exif = b"Exif\0\0MM\0*" + struct.pack(">I", 8) + directory
    data = _saved(_sample(), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


# --- TIFF, GIF, WebP, BMP -----------------------------------------------------------------------
def _tiff(entries: list[tuple[int, int, int, int]], *, following: int = 0) -> bytes:
    """One directory at byte 8; `following` is where the next one is said to be."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + rows + struct.pack("<I", following)


def _tiff_claiming(width: int, height: int, *, following: int = 0) -> bytes:
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)]
    entries += [(262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, height), (279, 4, 1, 64)]
    return _tiff(entries, following=following)


def _tiff_pages(n: int) -> bytes:
    """As many pages, none larger than four pixels."""
    first, *others = (Image.new("L", (2, 2), index % 256) for index in range(n))
    return _saved(first, "TIFF", save_all=True, append_images=others)


def _animated(file_format: str, n: int) -> bytes:
    first, *others = (_sample().rotate(index) for index in range(n))
    return _saved(first, file_format, save_all=True, append_images=others, duration=10)


def _gif_claiming(width: int, height: int) -> bytes:
    data = bytearray(_saved(_sample("P"), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def _bmp_claiming(width: int, height: int) -> bytes:
    data = bytearray(_saved(_sample(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


_IMAGES: dict[str, Callable[[], bytes]] = {
    "bomb-50000-by-50000.png": lambda: _png_bomb(50_000, 50_000, depth=1),
    "bomb-10900-by-10900.png": lambda: _png_bomb(10_900, 10_900),
    "bomb-1-by-100-million.png": lambda: _png_bomb(1, 100_000_000),
    "bomb-100-million-by-1.png": lambda: _png_bomb(100_000_000, 1),
    "claims-2-to-the-31.png": lambda: _png(2_147_483_647, 2_147_483_647, _grey_rows()),
    "claims-no-area.png": lambda: _png(0, 0, _grey_rows()),
    "claims-30000-by-3000.png": lambda: _png(30_000, 3000, _grey_rows()),
    "bits-3.png": lambda: _png(_SIDE, _SIDE, _grey_rows(), depth=3),
    "no-pixels.png": lambda: _png(_SIDE, _SIDE, b""),
    "checksums-wrong.png": lambda: _flipped(_saved(_sample(), "PNG"), [30, 31]),
    "flipped.png": lambda: _flipped(_saved(_sample(), "PNG"), range(60, 2000, 97)),
    "cut.png": lambda: _saved(_sample(), "PNG")[:900],
    "head-alone.png": lambda: b"\x89PNG\r\n\x1a\n",
    "text-bomb.png": lambda: _png(
        _SIDE,
        _SIDE,
        _grey_rows(),
        more=_chunk(b"zTXt", b"Comment\0\0" + repeated_packed(65, 1 << 30)),
    ),
    "profile-bomb.png": lambda: _png(
        _SIDE, _SIDE, _grey_rows(), more=_profile_chunk(repeated_packed(0, 1 << 30))
    ),
    "profile-of-noise.png": lambda: _png(
        _SIDE, _SIDE, _grey_rows(), more=_profile_chunk(zlib.compress(bytes(range(256)) * 9))
    ),
    "dots-per-inch-none.png": lambda: _png(
        _SIDE, _SIDE, _grey_rows(), more=_chunk(b"pHYs", struct.pack(">IIB", 0, 4294967295, 1))
    ),
    "16-bit.png": lambda: _saved(_sample("I;16"), "PNG"),
    "animated.png": lambda: _animated("PNG", 30),
    "page-of-html.png": lambda: b"<!doctype html><html><script>alert(1)</script></html>",
    "is-a-pdf.png": lambda: b"%PDF-1.7\nnot an image",
    "is-postscript.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    "noise.png": lambda: random.Random(1).randbytes(4000),
    "claims-65535-by-65535.jpg": lambda: _jpeg_claiming(65_535, 65_535),
    "claims-10000-by-10000.jpg": lambda: _jpeg_claiming(10_000, 10_000),
    "claims-no-area.jpg": lambda: _jpeg_claiming(0, 0),
    "scans-2000.jpg": lambda: _jpeg_of_scans(2000),
    "cut.jpg": lambda: _saved(_sample(), "JPEG")[:700],
    "flipped.jpg": lambda: _flipped(_saved(_sample(), "JPEG"), range(700, 3000, 211)),
    "cmyk.jpg": lambda: _saved(_sample("CMYK"), "JPEG"),
    "profile-of-noise.jpg": lambda: _saved(_sample(), "JPEG", icc_profile=bytes(range(256)) * 300),
    "exif-in-a-ring.jpg": _exif_loop,
    "several.jpg": _mpo,
    "also-a-script.jpg": lambda: _saved(_sample(), "JPEG") + b"\n<script>alert(1)</script>PK\3\4",
    "directories-in-a-ring.tif": lambda: _tiff_claiming(_SIDE, _SIDE, following=8),
    "claims-2-to-the-31.tif": lambda: _tiff_claiming(2_147_483_647, 2_147_483_647),
    "claims-no-area.tif": lambda: _tiff_claiming(0, 0),
    "entries-beyond-the-end.tif": lambda: _tiff([(256, 4, 4_000_000_000, 4_000_000_000)] * 9),
    "pages-500.tif": lambda: _tiff_pages(500),
    "float.tif": lambda: _saved(_sample("F"), "TIFF"),
    "cut.tif": lambda: _saved(_sample(), "TIFF", compression="tiff_lzw")[:800],
    "animated.gif": lambda: _animated("GIF", 30),
    "claims-65535-by-65535.gif": lambda: _gif_claiming(65_535, 65_535),
    "cut.gif": lambda: _saved(_sample("P"), "GIF")[:900],
    "animated.webp": lambda: _animated("WEBP", 30),
    "cut.webp": lambda: _saved(_sample(), "WEBP")[:200],
    "claims-2-to-the-31.bmp": lambda: _bmp_claiming(2_147_483_647, 2_147_483_647),
    "claims-negative.bmp": lambda: _bmp_claiming(-5, -2_147_483_648),
}
