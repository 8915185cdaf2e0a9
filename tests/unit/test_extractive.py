import numpy as np
import pytest

from rag.answer.checks.citations import cite, locate_quote
from rag.answer.extractive import ExtractiveAnswers
from rag.answer.passages import PassageKind, cut_passages
from rag.deadline import Cancelled
from rag.page_text import PageText
from rag.ports import AnswerModel, AnswerRequest, Delta, EncodedQuery, Evidence
from rag.settings import AnswerSettings
from rag.types import Citation, Claim, MultiVector, PageHit, PageRef

LINE_PT, CHAR_PT = 14.0, 6.0
_REPORT = [
    (72, 100, "Results of the year"),
    (300, 128, "2022 @350 2021"),
    (72, 142, "Harbour fees @300 1,204 @350 1,180"),
    (72, 156, "Net income @300 318 @350 295"),
    (72, 184, "The harbour was dredged in spring, at a cost of $2.1 million. Mr. Okafor led"),
    (72, 198, "the work until it was handed over to the port authority in June."),
    (72, 240, "Two hundred ships called at the new quay."),
]


def page_text(lines: list[tuple[float, float, str]], *, size_pt: float = 10.0) -> PageText:
    """Lines as (x_pt, y_pt, text) in a type of one width; `@300` in a line goes on at x = 300."""
    words, boxes, numbers = [], [], []
    for number, (x0, y0, line) in enumerate(lines):
        at = x0
        for word in line.split():
            if word.startswith("@"):
                at = float(word[1:])
                continue
            width = CHAR_PT * len(word)
            words.append(word)
            boxes.append((at, y0, at + width, y0 + size_pt))
            numbers.append(number)
            at += width + CHAR_PT
    return PageText(
        tuple(words),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(numbers, np.int32),
        np.full(len(words), size_pt, np.float32),
        np.zeros(len(words), np.bool_),
    )


def evidence(text: PageText, *, number: int = 1, source: str = "port.pdf") -> Evidence:
    return Evidence(
        number=number,
        hit=PageHit(number, PageRef("d1", number + 6), source, 1.0, 1.0, "", ()),
        text=text,
        vectors=np.zeros((0, 4), np.float32),
        vector_words=np.zeros(0, np.int32),
    )


def query() -> EncodedQuery:
    return EncodedQuery(
        MultiVector(np.eye(1, 4, dtype=np.float32)), np.eye(1, 4, dtype=np.float32)[0]
    )


def ask(question: str, *pages: Evidence, min_confidence: float = 0.45):
    model = ExtractiveAnswers(AnswerSettings(min_confidence=min_confidence))
    return model.answer(AnswerRequest(question, query(), pages))


def passages_of(text: PageText, kind: PassageKind) -> list[str]:
    return [
        " | ".join(text.span_text(*span) for span in passage.spans)
        for passage in cut_passages(text)
        if passage.kind is kind
    ]


# --- quotes -------------------------------------------------------------------------------------
@pytest.fixture(name="prose", scope="module")
def _prose() -> PageText:
    return page_text(
        [
            (72, 100, "The infor-"),
            (72, 114, "mation is long-"),
            (72, 128, 'term. "Net sales" were'),
            (72, 142, "1.5 million, then 15 million; Net sales fell."),
        ]
    )


@pytest.mark.parametrize(
    ("quote", "words"),
    [
        ("The infor- mation is", (0, 4)),
        ("The  information\n is", (0, 4)),
        ("long-term.", (4, 6)),
        ("longterm", (4, 6)),
        ("Net sales were", None),
        ('"Net sales" were', (6, 9)),
        ("Net sales", (6, 8)),
        ("Net sales fell", (14, 17)),
        ("15 million", (12, 14)),
        ("5 million", None),
        ("net sales fell", (14, 17)),
        ("Net Sales fell", None),
        ("sales rose", None),
        ("", None),
    ],
)
def test_a_quote_is_found_where_the_page_says_it_and_nowhere_else(prose, quote, words):
    if quote == "Net sales":
        # Word for word it stands at the end; between quotation marks it stands earlier.
        assert locate_quote(prose, quote) == (14, 16)
    else:
        assert locate_quote(prose, quote) == words


def test_of_several_places_the_one_nearest_to_where_the_quote_came_from_is_taken():
    text = page_text([(72, 100, "total 5 a b c total 5")])
    assert locate_quote(text, "total 5") == (0, 2)
    assert locate_quote(text, "total 5", near=4) == (5, 7)


def test_a_quote_the_page_does_not_hold_makes_no_citation():
    page = evidence(page_text(_REPORT))
    assert cite(page, "Net income 319 295", marker=1) is None


def test_a_citation_shows_the_words_of_the_page_and_a_box_a_line():
    text = page_text([(72, 100, "an obser-"), (72, 114, "vation of note")])
    citation = cite(evidence(text), "an observation", marker=3)
    assert citation is not None
    assert (citation.quote, citation.marker, citation.verified) == ("an obser- vation", 3, True)
    assert [box.y0 for box in citation.boxes] == [100, 114]


# --- passages -----------------------------------------------------------------------------------
def test_running_text_is_cut_at_sentences_and_not_at_abbreviations():
    assert passages_of(page_text(_REPORT), PassageKind.SENTENCE)[-3:] == [
        "The harbour was dredged in spring, at a cost of $2.1 million.",
        "Mr. Okafor led the work until it was handed over to the port authority in June.",
        "Two hundred ships called at the new quay.",
    ]


def test_a_label_with_its_figures_is_a_row():
    assert passages_of(page_text(_REPORT), PassageKind.ROW) == [
        "Harbour fees 1,204 1,180",
        "Net income 318 295",
    ]


def test_a_row_whose_cells_are_lines_of_their_own_is_gathered_by_its_baseline():
    text = page_text(
        [
            (72, 100, "Harbour fees"),
            (72, 120, "Net income"),
            (300, 121, "318"),
            (300, 101, "1,204"),
            (400, 101, "1,180"),
        ]
    )
    assert passages_of(text, PassageKind.ROW) == [
        "Harbour fees | 1,204 1,180",
        "Net income 318",
    ]


def test_two_columns_of_prose_make_no_rows():
    left = "the first column of a page tells about many ships"
    right = "in 1998 and 1999 the second column tells of trains"
    text = page_text([(72, 100, left), (72, 114, left), (400, 100, right), (400, 114, right)])
    assert passages_of(text, PassageKind.ROW) == []


def test_a_label_that_began_on_the_line_before_belongs_to_its_row():
    text = page_text([(72, 100, "Earnings from operations"), (72, 112, "before tax 82 72")])
    assert passages_of(text, PassageKind.ROW) == ["Earnings from operations before tax 82 72"]


def test_a_heading_leads_to_what_stands_below_it():
    text = page_text([(72, 100, "Pets allowed"), (72, 130, "• Cats"), (72, 150, "• Dogs")])
    assert "Pets allowed • Cats • Dogs" in passages_of(text, PassageKind.LINES)


# --- answers ------------------------------------------------------------------------------------
def test_it_is_an_answer_model():
    model: AnswerModel = ExtractiveAnswers(AnswerSettings())
    assert model.model_id == "extractive"


def test_a_figure_of_a_table_is_the_answer_and_its_row_and_head_are_cited():
    answer = ask("What was the net income in 2022?", evidence(page_text(_REPORT)))
    assert not answer.abstained
    assert answer.short == "318"
    assert {"2022 2021", "Net income 318 295"} <= {each.quote for each in answer.citations}
    assert all(citation.verified for citation in answer.citations)
    assert answer.citations[0].ref == PageRef("d1", 7)


def test_a_row_is_quoted_below_the_line_that_names_its_columns():
    answer = ask("Net income of 2022, told in short", evidence(page_text(_REPORT)))
    assert [citation.quote for citation in answer.citations][:2] == [
        "2022 2021",
        "Net income 318 295",
    ]
    assert answer.text.startswith("2022 2021 [1]. Net income 318 295 [2].")
    assert answer.short == ""


def test_an_answer_is_heard_claim_by_claim_as_it_is_checked():
    heard: list[object] = []
    model = ExtractiveAnswers(AnswerSettings())
    pages = [evidence(page_text(_REPORT))]
    answer = model.answer(
        AnswerRequest("Net income of 2022, told in short", query(), pages, on_event=heard.append)
    )
    assert tuple(each for each in heard if isinstance(each, Citation)) == answer.citations
    assert tuple(each for each in heard if isinstance(each, Claim)) == answer.claims
    told = "".join(each.text for each in heard if isinstance(each, Delta))
    assert [claim.text in told for claim in answer.claims] == [True] * len(answer.claims)


def test_an_answer_that_is_no_longer_wanted_is_not_given():
    request = AnswerRequest("What was the net income?", query(), [evidence(page_text(_REPORT))])
    request.deadline.cancel()
    with pytest.raises(Cancelled):
        ExtractiveAnswers(AnswerSettings()).answer(request)


def test_heads_just_above_their_row_are_one_quote_with_it():
    lines = [
        (72, 100, "Accounts of the port"),
        (300, 128, "2022 @350 2021"),
        (72, 142, "Net income @300 3 @350 2"),
    ]
    answer = ask("Show the net income", evidence(page_text(lines)))
    assert answer.citations[0].quote == "2022 2021 Net income 3 2"


def test_a_figure_is_preferred_where_the_question_asks_for_one():
    text = page_text(
        [
            (72, 100, "The quay was widened by masons."),
            (72, 140, "The quay was widened by 14 metres."),
        ]
    )
    how_much = ask("By how much was the quay widened?", evidence(text))
    assert how_much.citations[0].quote == "The quay was widened by 14 metres."
    by_whom = ask("By whom was the quay widened?", evidence(text))
    assert by_whom.citations[0].quote == "The quay was widened by masons."


def test_heads_come_from_the_rows_own_table():
    lines = [
        (72, 100, "Ships and trains of the port"),
        (300, 128, "2022 @350 2021"),
        (72, 142, "Ships @300 210 @350 198"),
        (300, 228, "2022 @350 2021"),
        (72, 242, "Where rails lead"),
        (72, 266, "Trains @300 77 @350 71"),
    ]
    first, *_ = ask("How many trains were there in 2022?", evidence(page_text(lines))).citations
    assert first.quote == "2022 2021"
    assert [box.y0 for box in first.boxes] == [228]


def test_a_question_on_the_page_answers_none():
    asked = "Who led the dredging of the harbour?"
    text = page_text(
        [
            (72, 100, asked),
            (72, 200, "Amina Okafor led the dredging of the harbour."),
            (72, 300, "Nothing else on this page is about that, or about anything."),
        ]
    )
    answer = ask(asked, evidence(text))
    assert [citation.quote for citation in answer.citations] == [
        "Amina Okafor led the dredging of the harbour."
    ]


def test_the_same_words_on_two_pages_are_told_once():
    pages = [evidence(page_text(_REPORT), number=number) for number in (1, 2)]
    answer = ask("How many ships called at the new quay?", *pages)
    quotes = [citation.quote for citation in answer.citations]
    assert len(quotes) == len(set(quotes))


def test_a_question_about_someone_the_page_does_not_name_is_abstained_from():
    answer = ask("Who is the bridegroom of Cordelia Winterbottom?", evidence(page_text(_REPORT)))
    assert answer.abstained
    assert answer.citations == ()
    assert answer.text.startswith("The documents do not answer this question.")
    assert "page 7 of port.pdf" in answer.text


@pytest.mark.parametrize("pages", [(), (evidence(PageText.empty()),)], ids=["none", "no words"])
def test_without_anything_to_quote_it_abstains(pages):
    answer = ask("What was the net income?", *pages, min_confidence=0)
    assert answer.abstained
    assert answer.citations == ()
    assert answer.confidence == 0


def test_vectors_lead_to_words_the_question_does_not_use():
    text = page_text(
        [
            (72, 100, "Ships moored"),
            (72, 200, "Feline visitors: seven of them came."),
            (72, 300, "Weather and tides were as they are in any other year here."),
        ]
    )
    page = evidence(text)
    pointing = Evidence(
        page.number, page.hit, text, np.eye(1, 4, dtype=np.float32), np.array([2], np.int32)
    )
    model = ExtractiveAnswers(AnswerSettings(min_confidence=0))
    answer = model.answer(AnswerRequest("cats?", query(), [pointing]))
    assert "Feline visitors" in answer.citations[0].quote


def test_a_figure_asked_for_as_a_figure_is_not_answered_by_passages_near_it():
    lines = [
        (72, 100, "The net income of the port in 2022 was thought to be good."),
        (72, 140, "Its harbours were dredged in spring."),
    ]
    page = evidence(page_text(lines))
    asked = "What was the net income in 2022? Answer in USD millions."
    assert ask(asked, page).abstained
    assert not ask("How good was the net income of the port in 2022?", page).abstained


def test_an_answer_cites_one_page_where_it_only_quotes():
    pages = [
        evidence(page_text(_REPORT), number=number, source=f"{number}.pdf") for number in (1, 2)
    ]
    answer = ask("Net income and ships of 2022, told in short", *pages)
    assert len({citation.ref for citation in answer.citations}) == 1


# --- pages beside those found -------------------------------------------------------------------
def hit_on(page_number: int, document_id: str = "d") -> PageHit:
    return PageHit(1, PageRef(document_id, page_number), "report.pdf", 1.0, 1.0, "", ())


@pytest.mark.parametrize(
    ("question", "documents", "pages"),
    [
        ("What is the title of the report?", "dd", [(1,)]),
        ("What does the table on page 15 show?", "dd", [(15,)]),
        ("What is the title of the report?", "de", []),  # which one is meant nobody knows
        ("Which harbour was dredged?", "dd", []),
    ],
)
def test_the_cover_and_pages_named_by_number_are_looked_for_in_the_only_document(
    question, documents, pages
):
    hits = [hit_on(number, document) for number, document in enumerate(documents, start=5)]
    wanted = ExtractiveAnswers(AnswerSettings()).further_searches(question, hits)
    assert [(each.document_id, each.page_numbers) for each in wanted] == [("d", p) for p in pages]
