"""Questions made of what stands out on pages: headings, and figures in tables.

They use the words of their page, so that a search finds them more easily than what people ask; they
are a beginning, to be read and reworded.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from eval.datasets.published import query_id
from eval.starter.candidate import Candidate, Kind
from eval.starter.wording import is_made_of_words, is_sentence
from rag.answer.tables.read import read_tables
from rag.answer.tables.table import Column, Row, Table
from rag.page_text import PageText, heading_spans

_HEADING_CHARS = (8, 80)
_LABEL_CHARS = (3, 80)
_HEAD_CHARS, _TITLE_CHARS = 50, 60
_CONTEXT_WORDS = 40
_NUMBERING = re.compile(r"^(?:(?:item|note|section|chapter|part)\s+)?[\dIVXivx]+(?:[.):]\S*)?\s+")


@dataclass(frozen=True)
class Document:
    """A document as it is asked about.

    Attributes:
        name: file name below docs/.
        title: what questions call it.
        pages: page number to words, of the pages that could be read.
    """

    name: str
    title: str
    pages: dict[int, PageText]


def heading_questions(document: Document) -> list[Candidate]:
    """One for each heading that stands on one page of the document alone.

    The answer is what stands below the heading, for whoever reviews it to cut.
    """
    found = [
        (heading, page_number, text, end)
        for page_number, text in document.pages.items()
        for heading, end in _headings(text)
    ]
    on_pages = Counter(
        folded for folded, _ in {(heading.casefold(), page) for heading, page, _, _ in found}
    )
    asked: dict[str, Candidate] = {}
    for heading, page_number, text, end in found:
        below = " ".join(text.words[end : end + _CONTEXT_WORDS])
        if on_pages[heading.casefold()] > 1 or heading.casefold() in asked or not below:
            continue
        if below[0].islower():  # a sentence set large, which goes on
            continue
        asked[heading.casefold()] = Candidate(
            id=candidate_id(document, page_number, f"h{len(asked)}"),
            text=f"What does {document.title} say about {_in_a_sentence(heading)}?",
            answer=below,
            kind=Kind.HEADING,
            doc=document.name,
            page_number=page_number,
            context=f"{heading}: {below}",
        )
    return list(asked.values())


def table_questions(document: Document) -> list[Candidate]:
    """One for each figure whose row and column are found once in the document."""
    found = [
        (page_number, table, row, column, figure)
        for page_number, text in document.pages.items()
        for table in read_tables(text)
        for row, column, figure in _figures(table)
    ]
    times = Counter((_key(row), column.head.casefold()) for _, _, row, column, _ in found)
    return [
        Candidate(
            id=candidate_id(document, page_number, f"t{number}"),
            text=_asked(document, table, row, column),
            answer=figure,
            kind=Kind.TABLE,
            doc=document.name,
            page_number=page_number,
            context=" | ".join(
                part for part in (table.title, *row.section, row.label, column.head, figure) if part
            ),
        )
        for number, (page_number, table, row, column, figure) in enumerate(found)
        if times[_key(row), column.head.casefold()] == 1
    ]


def spread(candidates: Sequence[Candidate], limit: int) -> list[Candidate]:
    """At most so many, from as many pages as there are: the first of each page, then the second...

    In the order of their pages.
    """
    rank_on_page: Counter[int] = Counter()
    ranked = []
    # By a hash and not from the top: the first rows of a table are much alike.
    for each in sorted(candidates, key=lambda each: zlib.crc32(each.id.encode())):
        ranked.append((rank_on_page[each.page_number], each))
        rank_on_page[each.page_number] += 1
    # Of pages that have equally many, those that lie evenly over the document.
    chosen: list[Candidate] = []
    for rank in sorted({rank for rank, _ in ranked}):
        of_rank = sorted(
            (each for at, each in ranked if at == rank), key=lambda each: each.page_number
        )
        room = limit - len(chosen)
        if room <= 0:
            break
        step = max(1.0, len(of_rank) / room)
        chosen += [of_rank[int(place * step)] for place in range(min(room, len(of_rank)))]
    return sorted(chosen, key=lambda each: (each.page_number, each.id))


def title_of(name: str, title: str) -> str:
    """The title that a file carries, or its name where that is none a person would say."""
    title = " ".join(title.split())
    if len(title.split()) >= 2 and not re.search(
        r"\.\w{2,4}$|untitled|microsoft word", title, re.I
    ):
        return title
    return re.sub(r"[_\-]+", " ", name.rpartition(".")[0]).strip() or name


def _headings(text: PageText) -> Iterator[tuple[str, int]]:
    """Each heading without its number, and the index of the word after it."""
    for start, end in heading_spans(text):
        whole = " ".join(text.words[start:end])
        heading = _NUMBERING.sub("", whole).strip(" .:")
        letters = sum(map(str.isalpha, heading))
        fits = _HEADING_CHARS[0] <= len(heading) <= _HEADING_CHARS[1]
        is_text = letters > 0.7 * len(heading.replace(" ", "")) and _reads_as_words(heading)
        if fits and is_text and not is_sentence(whole):
            yield heading, end


def _reads_as_words(heading: str) -> bool:
    """Two words or more, none of them twice (as in heads of columns), and not letters set apart."""
    words = heading.casefold().split()
    n_letters_apart = sum(len(word) == 1 and word not in ("a", "i", "&", "-") for word in words)
    is_plain = 2 <= len(words) == len(set(words)) and n_letters_apart < len(words) / 3
    return is_plain and is_made_of_words(heading, wants_one=True)


def _figures(table: Table) -> Iterator[tuple[Row, Column, str]]:
    for row in table.rows:
        # A figure in a label is more often one of the next column than a part of its name.
        is_named = row.label[:1].isalpha() and not any(map(str.isdigit, row.label))
        if not is_named or not _LABEL_CHARS[0] <= len(row.label) <= _LABEL_CHARS[1]:
            continue
        if not is_made_of_words(row.label, wants_one=True):
            continue
        for cell in row.cells:
            column = table.columns[cell.column] if cell.column >= 0 else None
            if column is None or cell.is_dash or not 0 < len(column.head) <= _HEAD_CHARS:
                continue
            if is_made_of_words(column.head, wants_one=False):
                yield row, column, cell.figure.text


def _asked(document: Document, table: Table, row: Row, column: Column) -> str:
    """Reads right whichever is the thing and which its property: "Spade", "Price" or the other."""
    label = " ".join(row.label.split()).rstrip(" :.")
    about = f' under "{row.section[-1]}"' if row.section else ""
    is_title = table.title[:1].isupper() and len(table.title) <= _TITLE_CHARS
    named = f'the table "{table.title}"' if is_title else "the table"
    return f'In {document.title}, what does {named} say for "{label}"{about}, "{column.head}"?'


def _key(row: Row) -> tuple[str, ...]:
    return tuple(part.casefold() for part in (*row.section, row.label))


def _in_a_sentence(heading: str) -> str:
    """Without shouting: names keep their capitals, headings in capitals do not."""
    return heading.lower() if heading.isupper() else heading


def candidate_id(document: Document, page_number: int, ending: str) -> str:
    """Of one document alone, whatever its name is made of."""
    return f"{query_id(document.name)}-p{page_number}-{ending}"


def chosen_of(groups: Iterable[Sequence[Candidate]], per_document: int) -> list[Candidate]:
    """Of one document: each kind gets its share; what one leaves, the next may take."""
    waiting = [list(group) for group in groups]
    chosen: list[Candidate] = []
    for place, group in enumerate(sorted(waiting, key=len)):
        share = -(-(per_document - len(chosen)) // (len(waiting) - place))
        chosen += spread(group, share)
    return sorted(chosen, key=lambda each: (each.page_number, each.id))
