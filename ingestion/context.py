"""What a page does not say but its document does: its title, who wrote it, the section it is in.

Known page by page, in page order, as an ingest reads them; a page's context hangs on the pages
before it alone, so that an ingest that goes on after a stop gives every page the same one.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rag.page_text import PageText
from rag.ports import OutlineEntry, PdfInfo

_HEAD_WORDS = 400
_TITLE_LINES = 3
_LARGER_TYPE = 1.15
_LINE_CHARS = 200
_SECTION_LINE_WORDS = 12  # a longer line is running text, however it is set
_MAX_STARTING = 12  # sections that begin on one page, as in a glossary
_MAX_CAPTIONS = 12
_MAX_NAMES = 5

_YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")
_CAPTION = re.compile(
    r"(?i:table|figure|fig\.|exhibit|chart|graph|map|box|appendix|tableau|tabelle|abbildung|abb\."
    r"|tabla|figura|gr\u00e1fico|tabella|tabel|tabell|\u8868|\u56fe|\u5716|\u56f3)"
    r"\s*(?:\d|[A-Z]\b)"
)
_FORMS = (
    "Inc|Incorporated|Corp|Corporation|Company|Co|Ltd|Limited|LLC|LLP|PLC|plc|GmbH|AG|SE|SA"
    r"|S\.A|S\.p\.A|NV|N\.V|BV|AB|ASA|Oyj|University|Institute|Foundation|Agency|Ministry"
    "|Department|Association|Commission|Council|Bank|Center|Centre"
)
# A run of words with capitals that ends in what organisations call themselves.
_ORGANISATION = re.compile(
    rf"(?<!\w)(?:[A-Z\u00c0-\u00de][\w&.'\u2019-]{{0,40}},?\s+){{1,5}}(?:{_FORMS}|{_FORMS.upper()})\b"
)
_APPLICATION = re.compile(r"^Microsoft (?:Word|PowerPoint|Excel) - ")


@dataclass(frozen=True)
class PageContext:
    """Words of other places of the document that hold for a page.

    Attributes:
        title: of the file's metadata, its name and the largest lines of the first page.
        head: organisations and years of the document's first words.
        section: titles from the outermost in, of the outline or the heading last seen.
        captions: lines of the page that name a table or figure.
    """

    title: str = ""
    head: str = ""
    section: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(part for part in (self.title, self.head, *self.section, *self.captions))


class DocumentContext:
    """Contexts of one document's pages. Not for several threads.

    Args:
        source: path below the ingest root.
        info: title and outline of the file.
        texts: words by page number of pages known before, of an ingest that goes on.
    """

    def __init__(
        self, source: str, info: PdfInfo, texts: Mapping[int, PageText] | None = None
    ) -> None:
        self._title = f"{_APPLICATION.sub('', info.title)} {_name_words(source)}".strip()
        self._sections = _Sections(info.outline)
        self._headings: dict[int, str] = {}  # page number -> its last one
        self._with_heading: list[int] = []  # ascending
        self._heads: dict[int, tuple[str, str]] = {}  # page number -> (large lines, names)
        self._with_words: list[int] = []  # ascending
        for page_number, text in sorted((texts or {}).items()):
            self._learn(page_number, text)

    def of(self, page_number: int, text: PageText) -> PageContext:
        """The context of the next page; those before it that have words were given or known."""
        self._learn(page_number, text)
        first = self._with_words[0] if self._with_words else page_number
        title, head = self._heads.get(first, ("", "")) if first <= page_number else ("", "")
        section = self._sections.on(page_number)
        if not section:
            before = bisect_right(self._with_heading, page_number - 1)
            section = (self._headings[self._with_heading[before - 1]],) if before else ()
        return PageContext(
            title=f"{self._title} {title}".strip(),
            head=head,
            section=section,
            captions=_captions(text),
        )

    def _learn(self, page_number: int, text: PageText) -> None:
        if not len(text):
            return
        if page_number not in self._heads:
            insort(self._with_words, page_number)
            # Only the first page's is asked for, and which one that is may change once.
            is_first = self._with_words[0] == page_number
            self._heads[page_number] = (_large_lines(text), _names(text)) if is_first else ("", "")
        heading = _last_heading(text)
        if heading and page_number not in self._headings:
            insort(self._with_heading, page_number)
            self._headings[page_number] = heading


class _Sections:
    """Which titles of an outline hold on a page: the section it starts in, and those it begins."""

    def __init__(self, outline: Sequence[OutlineEntry]) -> None:
        in_order = sorted(outline, key=lambda entry: entry.page_number)  # stable
        self._pages: list[int] = []
        self._begun: list[tuple[str, ...]] = []  # on that page: path before, then what begins
        self._paths: list[tuple[str, ...]] = []  # at the end of that page
        path: list[OutlineEntry] = []
        at = 0
        while at < len(in_order):
            page_number = in_order[at].page_number
            before = [entry.title for entry in path]
            begun: list[str] = []
            while at < len(in_order) and in_order[at].page_number == page_number:
                entry = in_order[at]
                path = [*(outer for outer in path if outer.level < entry.level), entry]
                begun.append(entry.title)
                at += 1
            self._pages.append(page_number)
            self._begun.append(tuple(dict.fromkeys([*before, *begun[:_MAX_STARTING]])))
            self._paths.append(tuple(each.title for each in path))

    def on(self, page_number: int) -> tuple[str, ...]:
        index = bisect_right(self._pages, page_number) - 1
        if index < 0:
            return ()
        return self._begun[index] if self._pages[index] == page_number else self._paths[index]


def _name_words(source: str) -> str:
    stem = re.sub(r"\.\w{1,5}$", "", source.rsplit("/", 1)[-1])
    return re.sub(r"[\W_]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)).strip()


def _large_lines(text: PageText) -> str:
    """The largest lines, in reading order; the first ones where no size is known."""
    sizes = [float(text.sizes_pt[start:end].max()) for start, end in text.line_spans]
    largest = sorted(range(len(sizes)), key=lambda index: (-sizes[index], index))[:_TITLE_LINES]
    return " ".join(_line(text, *text.line_spans[index]) for index in sorted(largest))


def _names(text: PageText) -> str:
    head = text.span_text(0, _HEAD_WORDS)
    organisations = list(dict.fromkeys(_ORGANISATION.findall(head)))[:_MAX_NAMES]
    return " ".join([*organisations, *dict.fromkeys(_YEAR.findall(head))])


def _last_heading(text: PageText) -> str:
    """The last line in larger type than the page's; its first where no size is known."""
    known = text.sizes_pt[text.sizes_pt > 0]
    threshold = _LARGER_TYPE * float(np.median(known)) if len(known) else 0.0
    found = ""
    for start, end in text.line_spans if len(known) else text.line_spans[:1]:
        is_large = not len(known) or float(text.sizes_pt[start:end].max()) > threshold
        if is_large and end - start <= _SECTION_LINE_WORDS and _has_word(text, start, end):
            found = _line(text, start, end)
    return found


def _line(text: PageText, start: int, end: int) -> str:
    """The line, cut where it is no line as people set them."""
    return text.span_text(start, end)[:_LINE_CHARS]


def _has_word(text: PageText, start: int, end: int) -> bool:
    return any(sum(map(str.isalpha, word)) >= 2 for word in text.words[start:end])


def _captions(text: PageText) -> tuple[str, ...]:
    lines = (_line(text, start, end) for start, end in text.line_spans)
    return tuple(line for line in lines if _CAPTION.match(line))[:_MAX_CAPTIONS]
