"""PDFs put together from raw objects: nothing is checked, so that anything can be wrong in them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

HEADER = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
LETTER = "[0 0 612 792]"
# Objects of `page_pdf`; whatever else it is given goes from FIRST_FREE on.
CATALOG, PAGES, PAGE, CONTENT, HELVETICA, FIRST_FREE = 1, 2, 3, 4, 5, 10
_PIECE_BYTES = 1 << 20


def stream(data: bytes, entries: str = "") -> bytes:
    return b"<< %s /Length %d >>\nstream\n%s\nendstream" % (entries.encode(), len(data), data)


def packed(data: bytes, entries: str = "", *, times: int = 1) -> bytes:
    """A stream under /FlateDecode, `times` over."""
    for _ in range(times):
        data = zlib.compress(data)
    filters = "/FlateDecode " * times
    return stream(data, f"/Filter [{filters}] {entries}")


def repeated_packed(byte: int, n_bytes: int) -> bytes:
    """One byte over and over, under zlib: a thousandth of it, made at once however much it is."""
    whole, rest = divmod(n_bytes, _PIECE_BYTES)
    packer = zlib.compressobj(9, wbits=-15)
    piece = packer.compress(bytes([byte]) * _PIECE_BYTES) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, wbits=-15)
    tail = last.compress(bytes([byte]) * rest) + last.flush()
    # Adler-32 (RFC 1950) of equal bytes in closed form.
    low = (1 + byte * n_bytes) % 65521
    high = (n_bytes + byte * n_bytes * (n_bytes + 1) // 2) % 65521
    return b"\x78\xda" + piece * whole + tail + (high << 16 | low).to_bytes(4, "big")


def shown(text: str, *, y_pt: float = 700.0, operators: str = "") -> bytes:
    """A line of Helvetica, 12 pt, that anybody can read."""
    return f"BT /F1 12 Tf {operators} 72 {y_pt} Td ({text}) Tj ET\n".encode("cp1252")


def page_pdf(
    content: bytes | None = b"",
    *,
    resources: str = "",
    page: str = "",
    box: str = LETTER,
    catalog: str = "",
    objects: Mapping[int, bytes] | None = None,
    trailer: str = "",
) -> bytes:
    """One page; entries given are added to its dictionaries, objects replace those of the same
    number.

    Args:
        content: of the page; None where `objects` bring it.
        resources: beside the font /F1.
        page: entries of the page.
        box: its /MediaBox.
        catalog: entries of the catalog.
        objects: by their number.
        trailer: entries of the trailer.
    """
    own = {
        CATALOG: f"<< /Type /Catalog /Pages {PAGES} 0 R {catalog} >>".encode(),
        PAGES: f"<< /Type /Pages /Count 1 /Kids [{PAGE} 0 R] >>".encode(),
        PAGE: (
            f"<< /Type /Page /Parent {PAGES} 0 R /MediaBox {box} /Contents {CONTENT} 0 R "
            f"/Resources << /Font << /F1 {HELVETICA} 0 R >> {resources} >> {page} >>"
        ).encode(),
        HELVETICA: FONT,
    }
    if content is not None:
        own[CONTENT] = stream(content)
    return assemble(own | dict(objects or {}), trailer=trailer)


def tree_pdf(
    nodes: Mapping[int, str], *, root: int = PAGES, others: Mapping[int, bytes] | None = None
) -> bytes:
    """Page tree nodes and pages as given, by their number; /Contents 4 0 R shows a line."""
    return assemble(
        {
            CATALOG: f"<< /Type /Catalog /Pages {root} 0 R >>".encode(),
            CONTENT: stream(shown("A page of the tree.")),
            HELVETICA: FONT,
            **{number: node.encode() for number, node in nodes.items()},
            **dict(others or {}),
        }
    )


def leaf(parent: int = PAGES) -> str:
    return (
        f"<< /Type /Page /Parent {parent} 0 R /MediaBox {LETTER} /Contents {CONTENT} 0 R "
        f"/Resources << /Font << /F1 {HELVETICA} 0 R >> >> >>"
    )


def assemble(
    objects: Mapping[int, bytes],
    *,
    header: bytes = HEADER,
    trailer: str = "",
    startxref: int | None = None,
) -> bytes:
    """A file with a right cross-reference table; `startxref` is told in place of where it is."""
    out = bytearray(header)
    offsets: dict[int, int] = {}
    for number, body in sorted(objects.items()):
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += cross_references(offsets)
    out += f"trailer\n<< /Size {max(objects) + 1} /Root {CATALOG} 0 R {trailer} >>\n".encode()
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % (start if startxref is None else startxref))


def cross_references(offsets: Mapping[int, int]) -> bytes:
    """The table, with a section for each run of numbers."""
    out = bytearray(b"xref\n0 1\n0000000000 65535 f \n")
    for run in _runs(sorted(offsets)):
        out += b"%d %d\n" % (run[0], len(run))
        out += b"".join(b"%010d 00000 n \n" % offsets[number] for number in run)
    return bytes(out)


def updated(pdf: bytes, objects: Mapping[int, bytes], *, previous: int, size: int) -> bytes:
    """The file with an incremental update after it; `previous` is the /Prev that it tells."""
    out = bytearray(pdf)
    offsets: dict[int, int] = {}
    for number, body in sorted(objects.items()):
        offsets[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += cross_references(offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        previous,
        start,
    )
    return bytes(out)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
