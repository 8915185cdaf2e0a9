"""What an answer model is shown of the pages found, on pages made of words alone."""

import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from rag.answer.evidence.gather import gather
from rag.answer.evidence.neighbours import runs_over
from rag.deadline import Cancelled, Deadline
from rag.errors import ConfigError, DocumentError, NotFound
from rag.filters import Condition, Filter
from rag.manifest import PageState
from rag.page_text import PageText, VectorWords
from rag.ports import EncodedQuery
from rag.ranking.route import ROUTES, RouteName
from rag.repository import StoredPage
from rag.settings import AnswerSettings
from rag.types import MultiVector, PageHit, PageRef, RenderedPage

BOTH = ROUTES[RouteName.TEXT_IMAGE]
QUERY = EncodedQuery(MultiVector(np.eye(2, 4, dtype=np.float32)), np.ones(4, np.float32))


def words_at(rows, *, top_pt=100.0, pitch_pt=14.0) -> PageText:
    """Rows of words, a line each, from the top; the first word of each row starts at 50 pt."""
    words, boxes, lines = [], [], []
    for line, row in enumerate(rows):
        x0 = 50.0
        for word in row.split():
            y0 = top_pt + pitch_pt * line
            words.append(word)
            boxes.append([x0, y0, x0 + 6 * len(word), y0 + 10])
            lines.append(line)
            x0 += 6 * len(word) + 4
    return PageText(
        tuple(words),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(lines, np.int32),
        np.full(len(words), 10, np.float32),
        np.zeros(len(words), np.bool_),
    )


def stored(ref: PageRef, text: PageText, *, of_words=True) -> StoredPage:
    return StoredPage(
        ref=ref,
        source=f"{ref.document_id}.pdf",
        sha256="0" * 64,
        version_id="v",
        state=PageState.INDEXED,
        no_text=not len(text),
        reason="",
        width_pt=612.0,
        height_pt=792.0,
        record_id=f"{ref.document_id}-{ref.page_number}",
        text=text,
        vector_words=VectorWords(np.arange(len(text), dtype=np.int32)) if of_words else None,
        vector_boxes=None,
        hidden=PageText.empty(),
        ocr=None,
        caption=None,
    )


@dataclass
class Reader:
    """A CollectionReader over pages in memory; images are white."""

    pages: dict[PageRef, StoredPage]
    broken: frozenset[PageRef] = frozenset()
    wait_s: float = 0.0
    in_scope: bool = True
    rendered: list[PageRef] = field(default_factory=list)

    def stored_pages(self, refs):
        for ref in refs:
            if ref not in self.pages:
                raise NotFound("no such page")
        return {ref: self.pages[ref] for ref in refs}

    def vectors(self, record_ids, page_field):
        by_id = {page.record_id: page for page in self.pages.values()}
        return {
            record_id: np.ones((len(by_id[record_id].text), 4), np.float32)
            for record_id in record_ids
            if record_id in by_id
        }

    def n_pages(self, scope):
        return int(self.in_scope)

    def page_image(self, ref, dpi=150.0, *, max_px=36_000_000):
        self.rendered.append(ref)
        time.sleep(self.wait_s)
        if ref in self.broken:
            raise DocumentError("page is broken")
        scale = min(dpi / 72, (max_px / (612 * 792)) ** 0.5)
        size = (int(612 * scale), int(792 * scale))
        return RenderedPage(Image.new("RGB", size, "white"), 612.0, 792.0)


def world(*texts, **options) -> Reader:
    """A document "d" of so many pages; each text is a list of rows."""
    refs = [PageRef("d", number) for number in range(1, len(texts) + 1)]
    of_words = options.pop("of_words", True)
    pages = {
        ref: stored(ref, words_at(rows), of_words=of_words)
        for ref, rows in zip(refs, texts, strict=True)
    }
    return Reader(pages, **options)


def hits(*numbers, scores=None):
    return [
        PageHit(rank, PageRef("d", number), "d.pdf", 1.0, 1.0, "", (), {"words": 1.0})
        if scores is None
        else PageHit(rank, PageRef("d", number), "d.pdf", 1.0, 1.0, "", (), scores[number])
        for rank, number in enumerate(numbers, start=1)
    ]


def gathered(reader, found, *, reads_images=True, route=BOTH, deadline=None, scope=None, **chosen):
    settings = AnswerSettings(**{"model": "chat", "neighbours": False, **chosen})
    return gather(
        reader,
        found,
        [],
        query=QUERY,
        settings=settings,
        route=route,
        reads_images=reads_images,
        deadline=deadline or Deadline(),
        scope=scope,
    )


def shown(result):
    """(number, page, words shown, image shown) of each page."""
    return [
        (each.number, each.hit.ref.page_number, each.shows_text, each.image is not None)
        for each in result.evidence
    ]


def codes(result):
    return [notice.code for notice in result.notices]


THREE = (["Tides rise."], ["Storms fall."], ["Harbours stay."])


# --- words or pixels ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("evidence", "reads_images", "route", "words", "pixels"),
    [
        ("auto", True, RouteName.TEXT_IMAGE, True, True),
        ("auto", True, RouteName.TEXT_CHUNK, True, False),
        ("auto", True, RouteName.PAGE_IMAGE, False, True),
        ("auto", False, RouteName.PAGE_IMAGE, True, False),
        ("auto", False, RouteName.TEXT_IMAGE, True, False),
        ("text", True, RouteName.PAGE_IMAGE, True, False),
        ("image", True, RouteName.TEXT_CHUNK, False, True),
        ("both", True, RouteName.TEXT_CHUNK, True, True),
    ],
)
def test_what_is_shown_follows_settings_model_and_route(
    evidence, reads_images, route, words, pixels
):
    result = gathered(
        world(*THREE), hits(2), evidence=evidence, reads_images=reads_images, route=ROUTES[route]
    )
    assert shown(result) == [(1, 2, words, pixels)]
    assert codes(result) == []


def test_images_alone_for_a_model_that_reads_none_are_refused():
    with pytest.raises(ConfigError, match="reads no images") as raised:
        gathered(world(*THREE), hits(1), evidence="image", reads_images=False)
    assert raised.value.next_step


def test_the_extractive_model_reads_the_words_of_all_pages_whatever_is_set():
    reader = world(*THREE, [])
    result = gathered(
        reader,
        hits(3, 4, 1),
        model="extractive",
        reads_images=False,
        evidence="image",
        answer_pages=1,
        text_chars=500,
        order="document",
        neighbours=True,
    )
    assert shown(result) == [(1, 3, True, False), (2, 4, True, False), (3, 1, True, False)]
    assert result.evidence[0].vectors.shape == (2, 4)
    assert reader.rendered == []
    assert codes(result) == []


def test_pages_with_vectors_of_places_are_told_of_where_words_are_looked_for():
    reader = world(*THREE, of_words=False)
    result = gathered(reader, hits(1, 2), model="extractive", reads_images=False)
    assert [each.vectors.shape for each in result.evidence] == [(0, 4), (0, 4)]
    assert codes(result) == ["no_word_vectors"]
    assert "2 of the 2" in result.notices[0].message


def test_a_page_without_words_is_shown_as_an_image_or_left_out_and_told():
    reader = world(["Tides rise."], [])
    seen = gathered(reader, hits(2, 1), evidence="text")
    assert shown(seen) == [(1, 2, False, True), (2, 1, True, False)]
    assert codes(seen) == ["pages_without_words"]
    unseen = gathered(reader, hits(2, 1), reads_images=False)
    assert shown(unseen) == [(2, 1, True, False)]  # with the number it has by rank
    assert codes(unseen) == ["pages_left_out"]


def test_pages_are_shown_by_words_and_pixels_up_to_their_quotas():
    five = world(*THREE, ["One."], ["Two."])
    result = gathered(five, hits(1, 2, 3, 4, 5), answer_pages=2, image_pages=3)
    assert shown(result) == [(1, 1, True, True), (2, 2, True, True), (3, 3, False, True)]


def test_vectors_of_places_choose_the_pages_that_are_seen():
    scores = {1: {"maxsim": 1.0}, 2: {"maxsim": 2.0}, 3: {"maxsim": 3.0}}
    chosen = {"answer_pages": 1, "image_pages": 1}
    by_places = gathered(world(*THREE, of_words=False), hits(1, 2, 3, scores=scores), **chosen)
    assert shown(by_places) == [(1, 1, True, False), (3, 3, False, True)]
    by_words = gathered(world(*THREE), hits(1, 2, 3, scores=scores), **chosen)
    assert shown(by_words) == [(1, 1, True, True)]


def test_pages_named_by_whoever_asks_are_all_shown():
    named = hits(1, 2, 3, scores={1: {}, 2: {}, 3: {}})
    result = gathered(world(*THREE), named, answer_pages=1, image_pages=1)
    assert shown(result) == [(1, 1, True, True), (2, 2, True, True), (3, 3, True, True)]
    assert all(each.vectors.shape == (2, 4) for each in result.evidence)


# --- limits -------------------------------------------------------------------------------------
def test_images_shrink_before_the_last_are_dropped_whose_words_stay():
    reader = world(*THREE)
    roomy = gathered(reader, hits(3, 1, 2), image_px=1_500_000)
    assert [each.image is not None for each in roomy.evidence] == [True] * 3
    assert codes(roomy) == []
    tight = gathered(reader, hits(3, 1, 2), image_px=700_000, evidence="image")
    assert shown(tight) == [(1, 3, False, True), (2, 1, False, True), (3, 2, True, False)]
    assert codes(tight) == ["images_dropped"]
    for result, budget_px in ((roomy, 1_500_000), (tight, 700_000)):
        sizes = [each.image.image.size for each in result.evidence if each.image]
        assert sum(width * height for width, height in sizes) <= budget_px
        assert all(width * height > 290_000 for width, height in sizes)


def test_every_page_is_rendered_once_and_only_if_it_is_shown():
    reader = world(*THREE)
    gathered(reader, hits(3, 1, 2), image_px=700_000)
    assert sorted(reader.rendered) == [PageRef("d", 1), PageRef("d", 3)]


def test_a_page_that_cannot_be_rendered_is_shown_by_its_words():
    reader = world(["Tides rise."], ["Storms fall."], [])
    reader.broken = frozenset({PageRef("d", 2), PageRef("d", 3)})
    result = gathered(reader, hits(1, 2, 3), evidence="image")
    assert shown(result) == [(1, 1, False, True), (2, 2, True, False)]
    assert codes(result) == ["pages_not_rendered", "pages_left_out"]
    assert "page is broken" in result.notices[0].message


def test_images_take_half_of_the_time_left_and_no_more():
    reader = world(*THREE, wait_s=2.0)
    start = time.monotonic()
    result = gathered(reader, hits(1, 2), deadline=Deadline(0.4))
    assert time.monotonic() - start < 1.5
    assert shown(result) == [(1, 1, True, False), (2, 2, True, False)]
    assert codes(result) == ["pages_not_rendered"]


def test_a_cancelled_question_renders_nothing():
    deadline, reader = Deadline(5), world(*THREE)
    deadline.cancel()
    with pytest.raises(Cancelled):
        gathered(reader, hits(1, 2), deadline=deadline)
    assert reader.rendered == []


LONG = ["words of a long page " * 4] * 10  # 839 characters


def test_the_last_texts_are_left_out_and_the_page_with_them_unless_it_is_seen():
    reader = world(LONG, LONG, LONG)
    read = gathered(reader, hits(1, 2, 3), evidence="text", text_chars=1700)
    assert shown(read) == [(1, 1, True, False), (2, 2, True, False)]
    seen = gathered(reader, hits(1, 2, 3), text_chars=1700)
    assert shown(seen) == [(1, 1, True, True), (2, 2, True, True), (3, 3, False, True)]
    assert codes(read) == codes(seen) == ["texts_left_out"]


def test_the_best_text_is_cut_at_a_line_with_the_vectors_of_its_words():
    result = gathered(world(LONG, LONG), hits(1, 2), evidence="text", text_chars=500)
    (only,) = result.evidence
    assert len(only.text) == 20 * 5 == len(only.vectors) == len(only.vector_words)
    assert len(only.text.text) <= 500
    assert codes(result) == ["text_cut", "texts_left_out"]


# --- order --------------------------------------------------------------------------------------
EIGHT = [[f"Page {word}."] for word in "abcdefgh"]


def test_numbers_go_by_rank_in_every_order():
    reader = world(*EIGHT)
    found = hits(8, 2, 7, 1)
    first = gathered(reader, found, order="best_first", evidence="text")
    assert [(each.number, each.hit.ref.page_number) for each in first.evidence] == [
        (1, 8),
        (2, 2),
        (3, 7),
        (4, 1),
    ]
    document = gathered(reader, found, order="document", evidence="text")
    assert [each.number for each in document.evidence] == [4, 2, 3, 1]
    last = gathered(reader, found, order="best_last", evidence="text")
    assert [each.number for each in last.evidence] == [1, 2, 3, 4]


@pytest.mark.parametrize("evidence", ["text", "image", "both"])
def test_of_many_pages_the_best_is_shown_once_more_at_the_end(evidence):
    reader = world(*EIGHT)
    chosen = {"answer_pages": 8, "image_pages": 8, "evidence": evidence, "order": "best_last"}
    result = gathered(reader, hits(5, 1, 2, 3, 4, 6, 7), **chosen)
    assert [each.number for each in result.evidence] == [1, 2, 3, 4, 5, 6, 7, 1]
    again = result.evidence[-1]
    assert again.hit.ref.page_number == 5
    assert (again.shows_text, again.image is not None) == (evidence != "image", evidence == "image")
    pixels = [each.image.image for each in result.evidence if each.image]
    assert sum(image.width * image.height for image in pixels) <= 8_000_000


# --- neighbours ---------------------------------------------------------------------------------
CUT = [*["Sales grew in every region we serve."] * 35, "The rest of the year was marked by"]
REST = ["higher prices of raw materials and freight.", "Outlook", "We expect more."]


def test_the_next_page_is_added_where_a_sentence_runs_over_numbered_behind_all():
    reader = world(["Alone."], CUT, REST, ["Other."])
    result = gathered(reader, hits(2, 1), evidence="text", neighbours=True)
    assert shown(result) == [(1, 2, True, False), (2, 1, True, False), (3, 3, True, False)]
    assert shown(gathered(reader, hits(2, 1), evidence="text")) == shown(result)[:2]


def test_a_next_page_that_was_found_has_its_one_number():
    reader = world(["Alone."], CUT, REST)
    result = gathered(reader, hits(2, 3), evidence="text", neighbours=True)
    assert [each.number for each in result.evidence] == [1, 2]


def test_no_neighbour_comes_from_outside_the_scope_or_behind_the_last_page():
    scope = Filter(must=(Condition("page_number", "$lte", 2),))
    outside = world(["Alone."], CUT, REST, in_scope=False)
    assert len(gathered(outside, hits(2), neighbours=True, scope=scope).evidence) == 1
    assert len(gathered(outside, hits(2), neighbours=True).evidence) == 2
    assert len(gathered(world(["Alone."], CUT), hits(2), neighbours=True).evidence) == 1


def test_two_neighbours_are_added_at_most():
    reader = world(CUT, REST, CUT, REST, CUT, REST)
    result = gathered(reader, hits(1, 3, 5), evidence="text", neighbours=True)
    assert [each.hit.ref.page_number for each in result.evidence] == [1, 3, 5, 2, 4]


def ending(*rows):
    """A page whose rows end 100 pt above the page's end."""
    return words_at(rows, top_pt=692.0 - 14 * len(rows))


ROWS = ["Name 2022 2021", "Cash 12 34", "Debt 56 78", "Tax 90 12"]


@pytest.mark.parametrize(
    ("last", "first", "what"),
    [
        (CUT, REST, "sentence"),
        ([*CUT[:-1], "The year was marked by higher prices."], REST, None),
        (CUT, ["Higher prices of raw materials."], None),
        (ROWS, ["Land 3 4", "Plant 5 6", "Stock 7 8"], "table"),
        (ROWS, ["Land 3 4 5", "Plant 5 6 7", "Stock 7 8 9"], None),  # of three columns
        (ROWS, ["Name 2022 2021", "Land 3 4", "Plant 5 6"], "table"),  # its head again
        (ROWS, ["Name 2020 2019", "Land 3 4", "Plant 5 6"], None),  # that of another table
        (ROWS, ["Leases", "Name 2022 2021", "Land 3 4", "Plant 5 6"], None),
        (ROWS, ["Name 2022 2021", "Leases", "Land 3 4", "Plant 5 6"], "table"),
        (ROWS, ["Leases", "Land 3 4", "Plant 5 6"], None),  # perhaps a title
        ([*ROWS, "See the notes."], ["Land 3 4", "Plant 5 6"], None),
        (["(1) Filed in May 2020.", "(2) Filed in June 2020."], ["(3) Filed.", "(4) Filed."], None),
    ],
)
def test_what_runs_over_is_seen_by_marks_and_columns(last, first, what):
    assert runs_over(ending(*last), words_at(first)) == what


@pytest.mark.parametrize("foot", ["4", "Page 4", "Turbines Ltd | 4"])
def test_heads_and_feet_lie_between_no_sentence_wherever_the_text_ends(foot):
    head = "Annual report of the company"
    page = words_at([head, *CUT, foot])
    following = words_at([head, *REST, foot.replace("4", "5")])
    assert runs_over(page, following) == "sentence"
    assert runs_over(words_at([*CUT, "Sales"]), following) is None  # a heading is no foot


def test_two_pages_of_like_words_with_other_numbers_have_no_running_head():
    page = words_at(["Tax of 2021", *ROWS])
    other = ["Name 2022 2021", "Land 3 4", "Plant 5 6"]
    assert runs_over(page, words_at(["Tax of 2021", *other])) == "table"
    assert runs_over(page, words_at(["Tax of 2018", *other])) is None


def test_pages_without_words_run_over_to_nothing():
    assert runs_over(PageText.empty(), words_at(REST)) is None
    assert runs_over(ending(*CUT), PageText.empty()) is None
