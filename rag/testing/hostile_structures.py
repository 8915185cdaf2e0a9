"""Hostile files, first half: page trees, cross-references, boxes, encryption and headers that lie.

Each maker gives the bytes of one file; what is wrong in it is its name in `STRUCTURES`.
"""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Callable

from rag.testing.pdfs import make_pdf
from rag.testing.raw_pdf import (
    CONTENT,
    FIRST_FREE,
    FONT,
    HEADER,
    LETTER,
    PAGE,
    PAGES,
    assemble,
    leaf,
    page_pdf,
    repeated_packed,
    shown,
    stream,
    tree_pdf,
    updated,
)

_LINE = shown("A line that is there.")


# --- page trees ---------------------------------------------------------------------------------
def _tree(kids: str, count: object, **nodes: str) -> bytes:
    numbered = {int(name.removeprefix("n")): node for name, node in nodes.items()}
    return tree_pdf({PAGES: f"<< /Type /Pages /Count {count} /Kids {kids} >>", **numbered})


def _count_too_large() -> bytes:
    return _tree("[10 0 R]", 5000, n10=leaf())


def _count_too_small() -> bytes:
    pages = {number: leaf() for number in range(10, 20)}
    kids = " ".join(f"{number} 0 R" for number in pages)
    return tree_pdf({PAGES: f"<< /Type /Pages /Count 2 /Kids [{kids}] >>", **pages})


def _tree_deep() -> bytes:
    depth = 5000
    nodes = {PAGES: "<< /Type /Pages /Count 1 /Kids [10 0 R] >>"}
    for level in range(10, 10 + depth):
        nodes[level] = (
            f"<< /Type /Pages /Count 1 /Parent {level - 1} 0 R /Kids [{level + 1} 0 R] >>"
        )
    return tree_pdf(nodes | {10 + depth: leaf(9 + depth)})


def _tree_doubling() -> bytes:
    """A thousand objects are 2^40 pages: every node lists its child twice."""
    nodes = {PAGES: f"<< /Type /Pages /Count {1 << 30} /Kids [10 0 R 10 0 R] >>"}
    for level in range(10, 50):
        nodes[level] = (
            f"<< /Type /Pages /Count {1 << max(0, 49 - level)} /Parent {level - 1} 0 R "
            f"/Kids [{level + 1} 0 R {level + 1} 0 R] >>"
        )
    return tree_pdf(nodes | {50: leaf(49)})


def _pages(n_pages: int) -> Callable[[], bytes]:
    """As many pages, each an object of its own; all show one content."""

    def make() -> bytes:
        pages = {number: leaf() for number in range(FIRST_FREE, FIRST_FREE + n_pages)}
        kids = " ".join(f"{number} 0 R" for number in pages)
        return tree_pdf({PAGES: f"<< /Type /Pages /Count {n_pages} /Kids [{kids}] >>", **pages})

    return make


def _one_page_many_times() -> bytes:
    return _tree(f"[{'10 0 R ' * 300}]", 300, n10=leaf())


def _parents_in_a_ring() -> bytes:
    """The box of the page is inherited, from parents that are each other's."""
    page = f"<< /Type /Page /Parent 11 0 R /Contents {CONTENT} 0 R >>"
    ring = {
        11: "<< /Type /Pages /Parent 12 0 R /Count 1 /Kids [10 0 R] >>",
        12: "<< /Type /Pages /Parent 11 0 R /Count 1 /Kids [11 0 R] >>",
    }
    return tree_pdf({PAGES: "<< /Type /Pages /Count 1 /Kids [10 0 R] >>", 10: page, **ring})


_TREES: dict[str, Callable[[], bytes]] = {
    "tree-count-says-5000-of-1": _count_too_large,
    "tree-count-says-2-of-10": _count_too_small,
    "tree-count-negative": lambda: _tree("[10 0 R]", -7, n10=leaf()),
    "tree-count-2-to-the-31": lambda: _tree("[10 0 R]", 1 << 31, n10=leaf()),
    "tree-count-no-number": lambda: _tree("[10 0 R]", "(many)", n10=leaf()),
    "tree-without-kids": lambda: _tree("[]", 3),
    "tree-zero-pages": lambda: _tree("[]", 0),
    "tree-kids-missing": lambda: _tree("[77 0 R 10 0 R 78 0 R]", 3, n10=leaf()),
    "tree-kids-no-array": lambda: _tree("(no array)", 1),
    "tree-kids-its-own": lambda: _tree("[2 0 R 10 0 R]", 2, n10=leaf()),
    "tree-kids-in-a-ring": lambda: _tree(
        "[10 0 R]",
        3,
        n10="<< /Type /Pages /Count 2 /Parent 2 0 R /Kids [11 0 R 12 0 R] >>",
        n11="<< /Type /Pages /Count 1 /Parent 10 0 R /Kids [10 0 R] >>",
        n12=leaf(10),
    ),
    "tree-parents-in-a-ring": _parents_in_a_ring,
    "tree-5000-deep": _tree_deep,
    "tree-2-to-the-40-pages": _tree_doubling,
    "tree-one-page-300-times": _one_page_many_times,
    "tree-root-missing": lambda: tree_pdf({}, root=99),
    "tree-page-is-null": lambda: _tree("[10 0 R]", 1, n10="null"),
    "pages-3000": _pages(3000),
    "pages-100000": _pages(100_000),
}


# --- boxes and turns ----------------------------------------------------------------------------
def _boxed(box: str, page: str = "") -> Callable[[], bytes]:
    return lambda: page_pdf(_LINE, box=box, page=page)


_BOXES: dict[str, Callable[[], bytes]] = {
    "box-14400": _boxed("[0 0 14400 14400]"),
    "box-10-to-the-9": _boxed("[0 0 1000000000 1000000000]"),
    "box-10-to-the-38": _boxed(f"[0 0 1{'0' * 38} 1{'0' * 38}]"),
    "box-one-line-high": _boxed("[0 0 14400 0.01]"),
    "box-negative": _boxed("[612 792 0 0]"),
    "box-below-zero": _boxed("[-100000 -100000 -99000 -99000]"),
    "box-no-area": _boxed("[0 0 0 0]"),
    "box-nan": _boxed("[nan inf -inf nan]"),
    "box-words": _boxed("[(a) /b null true]"),
    "box-three-numbers": _boxed("[0 0 612]"),
    "box-none": _boxed("null"),
    "box-its-own-reference": lambda: page_pdf(_LINE, box="11 0 R", objects={11: b"11 0 R"}),
    "box-crop-elsewhere": _boxed(LETTER, "/CropBox [5000 5000 6000 6000]"),
    "box-user-unit-75000": _boxed(LETTER, "/UserUnit 75000"),
    "box-user-unit-zero": _boxed(LETTER, "/UserUnit 0"),
    "rotate-45": _boxed(LETTER, "/Rotate 45"),
    "rotate-2-to-the-31": _boxed(LETTER, "/Rotate 2147483647"),
    "rotate-by-a-word": _boxed(LETTER, "/Rotate (left)"),
}


# --- cross-references ---------------------------------------------------------------------------
def _plain() -> bytes:
    return page_pdf(_LINE)


def _start_of_table(pdf: bytes) -> int:
    return pdf.rindex(b"xref\n0 1\n")


def _table_its_own_previous() -> bytes:
    pdf = _plain()
    return updated(pdf, {9: b"null"}, previous=_end(pdf, 9), size=10)


def _end(pdf: bytes, number: int) -> int:
    """Where the table of an update with the one object `number 0 obj null` starts."""
    return len(pdf) + len(b"%d 0 obj\nnull\nendobj\n" % number)


def _tables_in_a_ring() -> bytes:
    pdf = _plain()
    second = _end(pdf, 9)
    first = updated(pdf, {9: b"null"}, previous=0, size=10)
    # The first update's table names the second's, which names the first's.
    ring = _end(first, 9)
    first = updated(pdf, {9: b"null"}, previous=ring, size=10)
    return updated(first, {9: b"null"}, previous=second, size=10)


def _updates(n: int) -> bytes:
    pdf = _plain()
    previous = _start_of_table(pdf)
    parts = [pdf]
    at = len(pdf)
    for number in range(n):
        body = stream(shown(f"Update {number} of this page."))
        new = b"%d 0 obj\n%s\nendobj\n" % (CONTENT, body)
        table = b"xref\n%d 1\n%010d 00000 n \n" % (CONTENT, at)
        tail = b"trailer\n<< /Size 6 /Root 1 0 R /Prev %d >>\nstartxref\n%d\n%%%%EOF\n" % (
            previous,
            at + len(new),
        )
        previous = at + len(new)
        parts.append(new + table + tail)
        at += len(parts[-1])
    return b"".join(parts)


def _stream_table(entries: str, data: bytes) -> bytes:
    """A file whose cross-references are a stream, which says what is given."""
    plain = assemble(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
            3: leaf().encode(),
            4: stream(_LINE),
            5: FONT,
        }
    )
    body = plain[: _start_of_table(plain)]
    table = b"8 0 obj\n" + stream(data, f"/Type /XRef /Root 1 0 R {entries}") + b"\nendobj\n"
    return body + table + b"startxref\n%d\n%%%%EOF\n" % len(body)


def _offsets_wrong() -> bytes:
    """The table says of every object that it is seven bytes before its place."""
    pdf = _plain()
    start = _start_of_table(pdf)
    told = re.sub(
        rb"(\d{10}) 00000 n", lambda found: b"%010d 00000 n" % (int(found[1]) - 7), pdf[start:]
    )
    return pdf[:start] + told


def _object_stream_of_itself() -> bytes:
    """An object stream that is said to be inside of itself, and extends itself."""
    inner = b"11 0 12 2 10 0 R 10 0 R"
    body = stream(inner, "/Type /ObjStm /N 2 /First 10 /Extends 10 0 R")
    return page_pdf(None, objects={10: body, CONTENT: b"10 0 R"})


def _object_stream_bomb() -> bytes:
    """The pages are in an object stream that unpacks to 1 GiB."""
    data = repeated_packed(0, 1 << 30)
    entries = "/Type /ObjStm /N 100000000 /First 800000000 /Filter /FlateDecode"
    body = _plain()[: _start_of_table(_plain())]
    at = len(body)
    body += b"9 0 obj\n" + stream(data, entries) + b"\nendobj\n"
    # Object 2, the page tree, is said to be the first of object stream 9.
    rows = b"".join(
        [
            _row(0, 0, 65535),
            _row(1, body.index(b"1 0 obj"), 0),
            _row(2, 9, 0),
            *(_row(1, body.index(b"%d 0 obj" % number), 0) for number in (3, 4, 5)),
            *(_row(0, 0, 0) for _ in (6, 7, 8)),
            _row(1, at, 0),
        ]
    )
    start = len(body)
    table = stream(rows, "/Type /XRef /Root 1 0 R /Size 10 /W [1 4 2]")
    return body + b"10 0 obj\n" + table + b"\nendobj\nstartxref\n%d\n%%%%EOF\n" % start


def _row(kind: int, second: int, third: int) -> bytes:
    return bytes([kind]) + second.to_bytes(4, "big") + third.to_bytes(2, "big")


def _references_in_a_ring() -> bytes:
    return page_pdf(None, objects={CONTENT: b"10 0 R", 10: b"11 0 R", 11: b"10 0 R"})


def _length_of_itself() -> bytes:
    body = b"<< /Length 4 0 R >>\nstream\n" + _LINE + b"\nendstream"
    return page_pdf(None, objects={CONTENT: body})


def _length_beyond_the_end() -> bytes:
    body = b"<< /Length 2147483647 >>\nstream\n" + _LINE + b"\nendstream"
    return page_pdf(None, objects={CONTENT: body})


def _length_negative() -> bytes:
    body = b"<< /Length -5 >>\nstream\n" + _LINE + b"\nendstream"
    return page_pdf(None, objects={CONTENT: body})


def _arrays_deep() -> bytes:
    deep = b"[" * 200_000 + b"]" * 200_000
    return page_pdf(_LINE, page="/Deep 10 0 R", objects={10: deep})


def _catalog_deep() -> bytes:
    return page_pdf(_LINE, catalog="/Deep " + "<< /D " * 50_000 + "null" + " >>" * 50_000)


_REFERENCES: dict[str, Callable[[], bytes]] = {
    "xref-its-own-previous": _table_its_own_previous,
    "xref-tables-in-a-ring": _tables_in_a_ring,
    "xref-2000-updates": lambda: _updates(2000),
    "xref-start-beyond-the-end": lambda: assemble({1: b"<< >>"}, startxref=1 << 40),
    "xref-start-negative": lambda: assemble({1: b"<< >>"}, startxref=-5),
    "xref-start-zero": lambda: _plain().replace(b"startxref\n", b"startxref\n0 "),
    "xref-offsets-wrong": _offsets_wrong,
    "xref-none": lambda: _plain()[: _start_of_table(_plain())],
    "xref-trailer-cut": lambda: _plain().split(b"trailer")[0],
    "xref-size-2-to-the-31": lambda: _stream_table(
        "/Size 2147483647 /W [1 4 2] /Index [0 2147483647]", bytes(70)
    ),
    "xref-widths-huge": lambda: _stream_table("/Size 10 /W [2147483647 2147483647 9]", bytes(70)),
    "xref-widths-zero": lambda: _stream_table("/Size 1000000000 /W [0 0 0]", b""),
    "xref-stream-bomb": lambda: _stream_table(
        "/Size 100000000 /W [1 4 2] /Filter /FlateDecode", repeated_packed(0, 700 << 20)
    ),
    "objects-in-their-own-stream": _object_stream_of_itself,
    "objects-stream-bomb": _object_stream_bomb,
    "references-in-a-ring": _references_in_a_ring,
    "length-is-the-stream-itself": _length_of_itself,
    "length-beyond-the-end": _length_beyond_the_end,
    "length-negative": _length_negative,
    "arrays-200000-deep": _arrays_deep,
    "dictionaries-50000-deep": _catalog_deep,
}


# --- heads, tails and other formats -------------------------------------------------------------
def _also_a_zip() -> bytes:
    out = io.BytesIO(_plain())
    out.seek(0, io.SEEK_END)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("../../evil.txt", "outside")
    return out.getvalue()


def _also_html() -> bytes:
    page = b"<html><script>fetch('http://127.0.0.1/')</script><!--\n"
    return page + _plain() + b"--></html>"


_HEADS: dict[str, Callable[[], bytes]] = {
    "head-after-1000-bytes": lambda: b"\n" * 1000 + _plain(),
    "head-after-5000-bytes": lambda: b"\n" * 5000 + _plain(),
    "head-alone": lambda: b"%PDF-1.7\n",
    "head-twice": lambda: HEADER + HEADER + _plain(),
    "head-version-99": lambda: _plain().replace(b"%PDF-1.7", b"%PDF-99.9999999999999"),
    "head-then-noise": lambda: HEADER + bytes(range(256)) * 400,
    "head-then-zeros": lambda: HEADER + bytes(1 << 20),
    "also-a-zip": _also_a_zip,
    "also-html": _also_html,
    "is-html": lambda: b"<!doctype html><html><body>no PDF</body></html>",
    "cut-in-half": lambda: (lambda pdf: pdf[: len(pdf) // 2])(make_pdf(["some words"] * 20)),
    "cut-by-200-bytes": lambda: make_pdf(["some words"] * 20)[:-200],
    "cut-in-the-first-object": lambda: _plain()[:40],
    "line-ends-of-old-macs": lambda: _plain().replace(b"\n", b"\r"),
}


# --- encryption ---------------------------------------------------------------------------------
def _encrypted(dictionary: str) -> Callable[[], bytes]:
    return lambda: page_pdf(
        _LINE, trailer=f"/Encrypt << {dictionary} >> /ID [<{'00' * 16}> <{'00' * 16}>]"
    )


_HASHES = (
    f"/O <{'11' * 48}> /U <{'22' * 48}> /OE <{'33' * 32}> /UE <{'44' * 32}> /Perms <{'55' * 16}>"
)
_ENCRYPTED: dict[str, Callable[[], bytes]] = {
    "locked-by-a-password": lambda: make_pdf(["secret words"], password="open sesame"),
    "locked-by-an-unknown-handler": _encrypted("/Filter /Octavo.Unknown /V 1 /R 2"),
    "locked-by-version-99": _encrypted(f"/Filter /Standard /V 99 /R 99 /P -4 {_HASHES}"),
    "locked-by-aes-256-of-noise": _encrypted(
        f"/Filter /Standard /V 5 /R 6 /Length 256 /P -4 {_HASHES} /CF << /StdCF << /CFM /AESV3 "
        "/Length 32 >> >> /StmF /StdCF /StrF /StdCF"
    ),
    "locked-by-a-key-of-2-gigabits": _encrypted(
        f"/Filter /Standard /V 2 /R 3 /Length 2147483640 /P -4 {_HASHES}"
    ),
    "locked-by-nothing": _encrypted(""),
    "locked-by-its-own-reference": lambda: page_pdf(
        _LINE, trailer="/Encrypt 10 0 R", objects={10: b"10 0 R"}
    ),
    "locked-by-certificates": _encrypted(
        "/Filter /Adobe.PubSec /SubFilter /adbe.pkcs7.s4 /V 1 /Recipients [<00>]"
    ),
}


# --- what hangs on the catalog ------------------------------------------------------------------
def _outline(items: dict[int, str]) -> Callable[[], bytes]:
    return lambda: page_pdf(
        _LINE,
        catalog="/Outlines 10 0 R",
        objects={number: item.encode() for number, item in items.items()},
    )


def _outline_deep() -> bytes:
    depth = 20_000
    items = {10: b"<< /Type /Outlines /First 11 0 R /Last 11 0 R >>"}
    for number in range(11, 11 + depth):
        items[number] = (
            f"<< /Title (level {number}) /Parent {number - 1} 0 R /First {number + 1} 0 R "
            f"/Last {number + 1} 0 R /Dest [{PAGE} 0 R /Fit] >>"
        ).encode()
    return page_pdf(_LINE, catalog="/Outlines 10 0 R", objects=items)


def _outline_long() -> bytes:
    n = 100_000
    items = {10: f"<< /Type /Outlines /First 11 0 R /Last {10 + n} 0 R >>".encode()}
    for number in range(11, 11 + n):
        after = f"/Next {number + 1} 0 R" if number < 10 + n else ""
        items[number] = (
            f"<< /Title (entry {number}) /Parent 10 0 R {after} /Dest [{PAGE} 0 R /Fit] >>"
        ).encode()
    return page_pdf(_LINE, catalog="/Outlines 10 0 R", objects=items)


def _title(text: bytes) -> Callable[[], bytes]:
    return lambda: page_pdf(
        _LINE, trailer="/Info 10 0 R", objects={10: b"<< /Title " + text + b" >>"}
    )


def _laughing_metadata() -> bytes:
    entities = "".join(f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, 12))
    xml = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{entities}]><x>&l11;</x>'
    body = stream(xml.encode(), "/Type /Metadata /Subtype /XML")
    return page_pdf(_LINE, catalog="/Metadata 10 0 R", objects={10: body})


_CATALOGS: dict[str, Callable[[], bytes]] = {
    "outline-its-own-next": _outline(
        {
            10: "<< /First 11 0 R /Last 11 0 R >>",
            11: "<< /Title (again) /Parent 10 0 R /Next 11 0 R /Dest [3 0 R /Fit] >>",
        }
    ),
    "outline-its-own-child": _outline(
        {
            10: "<< /First 11 0 R /Last 11 0 R >>",
            11: "<< /Title (again) /Parent 11 0 R /First 10 0 R /Last 11 0 R >>",
        }
    ),
    "outline-20000-deep": _outline_deep,
    "outline-100000-long": _outline_long,
    "names-in-a-ring": lambda: page_pdf(
        _LINE,
        catalog="/Names << /Dests 10 0 R >> /OpenAction (there)",
        objects={10: b"<< /Kids [10 0 R 11 0 R] >>", 11: b"<< /Kids [10 0 R] >>"},
    ),
    "labels-in-a-ring": lambda: page_pdf(
        _LINE, catalog="/PageLabels 10 0 R", objects={10: b"<< /Kids [10 0 R] >>"}
    ),
    "fields-in-a-ring": lambda: page_pdf(
        _LINE,
        catalog="/AcroForm << /Fields [10 0 R] /NeedAppearances true >>",
        page="/Annots [10 0 R]",
        objects={
            10: b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (a) /Rect [9 9 99 99] "
            b"/Parent 11 0 R /Kids [11 0 R] >>",
            11: b"<< /T (b) /Parent 10 0 R /Kids [10 0 R 11 0 R] >>",
        },
    ),
    "layers-in-a-ring": lambda: page_pdf(
        b"/OC /L BDC " + _LINE + b" EMC",
        resources="/Properties << /L 10 0 R >>",
        catalog="/OCProperties << /OCGs [10 0 R] /D << /Order [11 0 R] >> >>",
        objects={
            10: b"<< /Type /OCMD /OCGs 10 0 R /VE [/And 12 0 R] >>",
            11: b"[11 0 R]",
            12: b"[/Not 12 0 R]",
        },
    ),
    "title-of-10-megabytes": _title(b"(" + b"word " * 2_000_000 + b")"),
    "title-that-steers-a-terminal": _title(b"(\x1b]0;owned\x07\x1b[2J\x9b31m evil \\r\\n line)"),
    "title-turned-round": _title(b"<feff202e006600640070002e0065007800652066>"),
    "title-of-lone-surrogates": _title(b"<feffd800d800dc00dc00ffff0000>"),
    "metadata-of-10-to-the-11-laughs": _laughing_metadata,
}

STRUCTURES: dict[str, Callable[[], bytes]] = dict(
    itertools.chain.from_iterable(
        group.items() for group in (_TREES, _BOXES, _REFERENCES, _HEADS, _ENCRYPTED, _CATALOGS)
    )
)
"""What is wrong in a file, and its maker."""
