"""Bookmarks: what every reader tells of them, also where they lead nowhere or in circles."""

import importlib.util
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.ports import OutlineEntry, PageRenderer
from rag.renderers.choose import choose_renderer
from rag.renderers.outline import MAX_ENTRIES, MAX_TITLE_CHARS, read_outline
from rag.testing import make_pdf

WITH_OUTLINE = ("pymupdf", "pypdfium2")  # poppler's programs tell none
_FIRST_PAGE_OBJECT = 6  # of `make_pdf`, and every second one after it


@pytest.fixture(params=WITH_OUTLINE)
def renderer(request: pytest.FixtureRequest) -> PageRenderer:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return choose_renderer(request.param)


def with_objects(pdf: bytes, catalog: str, objects: Mapping[int, str]) -> bytes:
    """The file with new objects and more entries in its catalog, as an update at its end."""
    size = int(re.findall(rb"/Size (\d+)", pdf)[-1])
    before = int(re.findall(rb"startxref\n(\d+)", pdf)[-1])
    out = bytearray(pdf)
    written = {1: f"<< /Type /Catalog /Pages 2 0 R {catalog} >>"} | {
        size + number: body for number, body in objects.items()
    }
    offsets: dict[int, int] = {}
    for number, body in written.items():
        offsets[number] = len(out)
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    start = len(out)
    out += b"xref\n" + b"".join(
        b"%d 1\n%010d 00000 n \n" % (number, offset) for number, offset in offsets.items()
    )
    out += b"trailer\n<< /Size %d /Root 1 0 R /Info 5 0 R /Prev %d >>\n" % (
        max(written) + 1,
        before,
    )
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def bookmarked(pdf: bytes, entries: Sequence[tuple[int, str, str]]) -> bytes:
    """With bookmarks of (level, title as a PDF string, what leads to a page)."""
    size = int(re.findall(rb"/Size (\d+)", pdf)[-1])
    links: list[dict[str, int]] = [{} for _ in entries]
    last: list[int] = []  # of each level, outermost first, the bookmark that may get a sibling
    for index, (level, _, _) in enumerate(entries):
        if level <= len(last):
            links[last[level - 1]]["Next"] = index
        elif last:
            links[last[-1]]["First"] = index
        last[level - 1 :] = [index]

    def reference(index: int) -> str:
        return f"{size + 1 + index} 0 R"

    objects = {
        0: f"<< /Type /Outlines /First {reference(0)} /Last {reference(0)} /Count {len(entries)} >>"
    } | {
        index + 1: f"<< /Title {title} /Parent {size} 0 R {destination} "
        + " ".join(f"/{name} {reference(to)}" for name, to in links[index].items())
        + " >>"
        for index, (_, title, destination) in enumerate(entries)
    }
    return with_objects(pdf, f"/Outlines {size} 0 R", objects)


def to_page(number: int) -> str:
    return f"/Dest [{_FIRST_PAGE_OBJECT + 2 * (number - 1)} 0 R /Fit]"


def outline_of(renderer: PageRenderer, path: Path, pdf: bytes) -> list[tuple[int, str, int]]:
    path.write_bytes(pdf)
    outline = renderer.open(path).outline
    assert all(isinstance(entry, OutlineEntry) for entry in outline)
    return [(entry.level, entry.title, entry.page_number) for entry in outline]


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    return tmp_path / "made.pdf"


PAGES = ["one", "two", "three"]


def test_bookmarks_come_in_their_order_with_level_title_and_page(
    renderer: PageRenderer, pdf: Path
) -> None:
    made = bookmarked(
        make_pdf(PAGES),
        [
            (1, "(Part I)", to_page(1)),
            (2, "(Business)", to_page(2)),
            (3, "(Risks)", to_page(2)),
            (1, "<FEFF0041006E006E00650078002000E9>", to_page(3)),
        ],
    )
    assert outline_of(renderer, pdf, made) == [
        (1, "Part I", 1),
        (2, "Business", 2),
        (3, "Risks", 2),
        (1, "Annex é", 3),
    ]


def test_an_action_and_a_name_lead_to_a_page_too(renderer: PageRenderer, pdf: Path) -> None:
    entries = [
        (1, "(Action)", "/A << /S /GoTo /D [8 0 R /XYZ 0 700 0] >>"),
        (1, "(Name)", "/Dest /chapter"),
    ]
    made = bookmarked(make_pdf(PAGES), entries)
    made = made.replace(b"/Outlines", b"/Dests << /chapter [10 0 R /Fit] >> /Outlines", 1)
    # The insertion moved everything behind the catalog.
    shift = len(b"/Dests << /chapter [10 0 R /Fit] >> ")
    catalog = made.rindex(b"1 0 obj\n<< /Type /Catalog")
    head, table = made.rsplit(b"xref\n", 2)[0], made[made.rindex(b"\nxref\n") :]
    moved = re.sub(
        rb"(\d{10}) 00000 n",
        lambda m: b"%010d 00000 n" % (int(m[1]) + shift * (int(m[1]) > catalog)),
        table,
    )
    moved = re.sub(rb"startxref\n(\d+)", lambda m: b"startxref\n%d" % (int(m[1]) + shift), moved)
    assert outline_of(renderer, pdf, head + moved[1:]) == [(1, "Action", 2), (1, "Name", 3)]


def test_a_bookmark_that_leads_nowhere_stands_where_the_first_below_it_leads(
    renderer: PageRenderer, pdf: Path
) -> None:
    made = bookmarked(
        make_pdf(PAGES),
        [
            (1, "(Part I)", ""),
            (2, "(Found)", to_page(2)),
            (1, "(Elsewhere)", "/A << /S /URI /URI (https://example.org) >>"),
            (1, "()", to_page(3)),
        ],
    )
    assert outline_of(renderer, pdf, made) == [(1, "Part I", 2), (2, "Found", 2)]


def test_a_page_that_is_not_there_costs_its_own_bookmark_and_no_other(
    renderer: PageRenderer, pdf: Path
) -> None:
    entries = [(1, "(Lost)", "/Dest [99 0 R /Fit]"), (1, "(Found)", to_page(2))]
    found = outline_of(renderer, pdf, bookmarked(make_pdf(PAGES), entries))
    # MuPDF takes a page that is not there for the first one.
    assert found[-1] == (1, "Found", 2)
    assert found[:-1] == ([(1, "Lost", 1)] if renderer.name == "pymupdf" else [])


def test_bookmarks_that_lead_in_a_circle_are_read_once(renderer: PageRenderer, pdf: Path) -> None:
    base = make_pdf(PAGES)
    size = int(re.findall(rb"/Size (\d+)", base)[-1])
    made = with_objects(
        base,
        f"/Outlines {size} 0 R",
        {
            0: f"<< /First {size + 1} 0 R /Last {size + 2} 0 R >>",
            1: f"<< /Title (A) {to_page(1)} /Next {size + 2} 0 R /First {size + 2} 0 R >>",
            2: f"<< /Title (B) {to_page(2)} /Next {size + 1} 0 R /First {size + 1} 0 R >>",
        },
    )
    titles = [title for _, title, _ in outline_of(renderer, pdf, made)]
    # MuPDF cuts the circle itself, and may read less than there is.
    assert len(titles) == len(set(titles))
    assert renderer.open(pdf).n_pages == len(PAGES)


def test_more_bookmarks_than_the_bound_and_long_titles_are_cut(
    renderer: PageRenderer, pdf: Path
) -> None:
    entries = [(1, f"({'word ' * 100}{n})", to_page(1)) for n in range(MAX_ENTRIES + 50)]
    found = outline_of(renderer, pdf, bookmarked(make_pdf(PAGES), entries))
    assert len(found) == MAX_ENTRIES
    assert {len(title) for _, title, _ in found} <= {MAX_TITLE_CHARS - 1, MAX_TITLE_CHARS}


def test_bookmarks_nested_without_end_leave_the_pages_readable(
    renderer: PageRenderer, pdf: Path
) -> None:
    entries = [(level, f"(L{level})", to_page(1)) for level in range(1, 20_000)]
    assert len(outline_of(renderer, pdf, bookmarked(make_pdf(PAGES), entries))) <= MAX_ENTRIES
    assert renderer.words(pdf, 3).text == "three"


def test_a_file_without_bookmarks_has_an_empty_outline(renderer: PageRenderer, pdf: Path) -> None:
    assert outline_of(renderer, pdf, make_pdf(PAGES)) == []


def test_poppler_tells_no_outline(pdf: Path) -> None:
    if importlib.util.find_spec("pdf2image") is None or shutil.which("pdfinfo") is None:
        pytest.skip("poppler is not installed")
    made = bookmarked(make_pdf(PAGES), [(1, "(Part I)", to_page(1))])
    assert outline_of(choose_renderer("pdf2image"), pdf, made) == []


@given(
    n=st.integers(1, 30),
    links=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), min_size=30, max_size=30),
    pages=st.lists(st.none() | st.integers(-2, 12), min_size=30, max_size=30),
)
def test_any_tangle_of_links_ends_with_each_bookmark_at_most_once_on_a_page_of_the_file(
    n: int, links: list[tuple[int, int]], pages: list[int | None]
) -> None:
    found = read_outline(
        0,
        child=lambda node: links[node][0] if links[node][0] < n else None,
        sibling=lambda node: links[node][1] if links[node][1] < n else None,
        identity=lambda node: node,
        told=lambda node: (f"title\x00 {node}", pages[node]),
        n_pages=10,
    )
    titles = [entry.title for entry in found]
    assert len(titles) == len(set(titles))
    assert all("\x00" not in title for title in titles)
    assert all(1 <= entry.page_number <= 10 and entry.level >= 1 for entry in found)


def test_bookmarks_that_the_reader_fails_on_are_told_and_cost_no_page(
    monkeypatch: pytest.MonkeyPatch, pdf: Path
) -> None:
    pytest.importorskip("pymupdf")
    from rag.renderers import pymupdf_renderer

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a cycle in the outline")

    pdf.write_bytes(make_pdf(PAGES))
    monkeypatch.setattr(pymupdf_renderer, "read_outline", fail)
    info = choose_renderer("pymupdf").open(pdf)
    assert (info.n_pages, info.outline, info.lost_outline) == (len(PAGES), (), True)
