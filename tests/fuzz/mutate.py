"""Files changed at random, the same for the same number: what nobody thought to make by hand."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

from rag.geometry import Box
from rag.testing import PdfPage, PdfText, make_pdf
from rag.testing.hostile_pdfs import hostile_pdfs, hostile_remotes

MAX_SEED_BYTES = 40_000
MAX_MUTATIONS = 8
# What means something to a reader of PDFs, so that a change gets past its first look.
TOKENS = (
    *(f"/{name}".encode() for name in (
        "Kids", "Parent", "Count", "Type", "Pages", "Page", "Contents", "Resources", "Font",
        "XObject", "Form", "Image", "Filter", "FlateDecode", "LZWDecode", "DCTDecode",
        "JBIG2Decode", "JPXDecode", "CCITTFaxDecode", "RunLengthDecode", "ASCII85Decode",
        "DecodeParms", "Predictor", "Columns", "Length", "ObjStm", "XRef", "W", "Index", "Prev",
        "Size", "Root", "Encrypt", "MediaBox", "CropBox", "Rotate", "UserUnit", "SMask",
        "ColorSpace", "Indexed", "Separation", "ICCBased", "Pattern", "Shading", "Type0", "Type3",
        "ToUnicode", "Encoding", "Widths", "FontFile2", "Annots", "AP", "Outlines", "First",
        "Next", "Dest", "A", "S", "GoTo", "URI", "Width", "Height", "BitsPerComponent",
    )),
    *(b"null", b"true", b"0 R", b"1 0 R", b"3 0 R", b"4 0 R", b"obj", b"endobj", b"stream\n"),
    *(b"endstream", b"xref", b"trailer", b"startxref", b"%%EOF", b"<<", b">>", b"[", b"]", b"("),
    *(b")", b"<", b">", b"BT", b"ET", b"q", b"Q", b"Do", b"cm", b"Tj", b"TJ", b"Tf", b"re f"),
)  # fmt: skip
NUMBERS = (
    *(b"0", b"-1", b"1", b"2", b"255", b"65535", b"65536", b"2147483647", b"-2147483648"),
    *(b"4294967295", b"4294967296", b"9999999999999999999", b"0.0000001", b"-0.0", b"1e308"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")


def seeds() -> dict[str, bytes]:
    """The small files of the generators, by name; whole ones and such as are hostile already."""
    words = "# Annual report\nRevenue grew by 12 % to 4,512 million.\nDividend: 2.40 a share."
    whole = {
        "words": make_pdf([words, words, words], title="A report"),
        "marks": make_pdf(
            [PdfPage([PdfText("marked", 72, 72)], [Box(9, 90, 300, 400)], rotate=90)]
        ),
        "crop": make_pdf([PdfPage([PdfText("cropped", 99, 99)], crop=Box(50, 50, 400, 500))] * 2),
        "locked": make_pdf([words], password="secret"),
        "long": make_pdf([words] * 12),
    }
    made = {name: _small(make) for name, make in hostile_pdfs().items() if name not in _SLOW}
    made |= hostile_remotes("127.0.0.1:9")
    return whole | {
        name: data for name, data in made.items() if data is not None and len(data) > 200
    }


# Made slowly, or read slowly by themselves: a thousand mutants of them would say nothing new.
_SLOW = frozenset(
    name
    for name in hostile_pdfs()
    if name.startswith(("bomb-", "picture-1", "picture-2", "words-a", "content-of-10", "pages-1"))
    or name in {
        "forms-10-to-the-12", "objects-stream-bomb", "xref-stream-bomb", "annotations-a-million",
        "content-a-million-parts", "pages-that-are-slow", "picture-of-speckles", "pages-3000",
        "outline-100000-long", "outline-20000-deep", "title-of-10-megabytes", "forms-20000-deep",
    }
)  # fmt: skip


def _small(make: Callable[[], bytes]) -> bytes | None:
    data = make()
    return data if len(data) <= MAX_SEED_BYTES else None


def mutant(files: Mapping[str, bytes], number: int, *, seed: int) -> tuple[str, bytes]:
    """The mutant of a number: the name of the file it comes from, and its bytes."""
    chance = random.Random(f"{seed}:{number}")
    name = chance.choice(sorted(files))
    data = files[name]
    for _ in range(chance.randint(1, MAX_MUTATIONS)):
        data = chance.choices(_MUTATIONS, _WEIGHTS)[0](data, chance)
    return name, data


def _flip_bits(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + int(chance.expovariate(1 / 60)) + 1)


def _delete(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _duplicate(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    times = chance.choice((1, 1, 1, 10, 200))
    return data[:end] + data[start:end] * times + data[end:]


def _swap(data: bytes, chance: random.Random) -> bytes:
    (a, b), (c, d) = sorted((_span(data, chance), _span(data, chance)))
    if b > c:
        return data
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _noise(data: bytes, chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[end:]


def _other_number(data: bytes, chance: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return data
    place = chance.choice(found)
    number = chance.choice(NUMBERS) if chance.random() < 0.6 else b"%d" % chance.randint(0, 12)
    return data[: place.start()] + number + data[place.end() :]


def _token(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + b" " + chance.choice(TOKENS) + b" " + data[start:]


def _other_token(data: bytes, chance: random.Random) -> bytes:
    found = list(re.finditer(rb"/[A-Za-z0-9]+", data))
    if not found:
        return data
    place = chance.choice(found)
    return data[: place.start()] + chance.choice(TOKENS) + data[place.end() :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) // 3, len(data) + 1)]


_MUTATIONS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _flip_bits, _delete, _duplicate, _swap, _noise, _other_number, _token, _other_token, _cut,
)  # fmt: skip
_WEIGHTS = (3, 2, 2, 1, 2, 5, 4, 4, 0.5)
