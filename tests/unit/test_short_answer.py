import pytest

from rag.answer.question import Question
from rag.answer.ranking import rank_passages
from rag.answer.short.propose import read_short_answer, short_proposal
from rag.answer.short.wanted import Kind, asks_of_cover, wanted_of
from tests.unit.test_extractive import evidence, page_text, query

_TABLE = [
    (72, 100, "Port survey"),
    (200, 128, "Spring @300 Autumn"),
    (72, 142, "Number of quays @200 31 @300 44"),
    (72, 156, "Number of cranes @200 12 @300 17"),
]


def said(question: str, *pages) -> str | None:
    asked = Question(question)
    ranked = rank_passages(asked, query().tokens.vectors, pages)
    found = short_proposal(asked, ranked, pages)
    return None if found is None else found.draft.short


def page(*lines: str, number: int = 1, step_pt: float = 30.0):
    return evidence(
        page_text([(72, 100 + step_pt * row, line) for row, line in enumerate(lines)]),
        number=number,
    )


@pytest.mark.parametrize(
    ("question", "kind", "noun"),
    [
        ("How many districts were sampled?", Kind.COUNT, ("district",)),
        ("What percentage of ships were late?", Kind.PERCENT, ()),
        ("In what year was the quay built?", Kind.YEAR, ()),
        ("When was the quay built?", Kind.DATE, ()),
        ("Who led the work?", Kind.PERSON, ()),
        ("Which officer signed the form?", Kind.PERSON, ("officer",)),
        ("Where is the quay?", Kind.PLACE, ()),
        ("What is the licence number of the port?", Kind.CODE, ()),
        ("What is the maximum hours of the scheme?", Kind.NUMBER, ("maximum", "hour")),
        ("Which dataset was used?", Kind.NAME, ("dataset",)),
        ("What is the title of the slides?", Kind.TITLE, ()),
        ("How many steps are needed to close it?", Kind.STEPS, ()),
        ("What colour is the crane?", Kind.NONE, ()),
        ("How many pictures are on the page?", Kind.NONE, ()),
        ("How much more did A cost compared to B?", Kind.NONE, ()),
        ("Is the quay old?", Kind.NONE, ()),
        ("List all quays.", Kind.NONE, ()),
        ("Which two ports are named?", Kind.NONE, ()),
        ("Why was it closed?", Kind.NONE, ()),
    ],
)
def test_the_kind_of_answer_is_read_from_the_words_of_the_question(question, kind, noun):
    wanted = wanted_of(Question(question))
    assert wanted.kind is kind
    if noun:
        assert wanted.noun == noun


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many quays were there in Autumn?", "44"),
        ("How many quays were there in Spring?", "31"),
        ("How many cranes were there in Autumn?", "17"),
    ],
)
def test_a_count_is_taken_from_its_row_and_column(question, answer):
    assert said(question, evidence(page_text(_TABLE))) == answer


def test_a_number_that_names_is_taken_whole():
    lines = ("Filed in the port of Ostend on 3 May", "Dated: May 3 (Bar No. 239516)", "15")
    assert said("What is the bar number?", page(*lines)) == "239516"


def test_a_person_is_a_name_that_the_page_never_writes_small():
    lines = (
        "The Federal Case of the harbour was led by Amina Okafor until June.",
        "Each case before was led by nobody.",
    )
    assert said("Who led the case of the harbour?", page(*lines)) == "Amina Okafor"


def test_whoever_made_a_document_is_named_on_its_cover_alone():
    cover = ("Harbours and Tides", "Amina Okafor")
    assert said("Who is the presenter of these slides?", page(*cover, number=-5)) == "Amina Okafor"
    assert said("Who is the presenter of these slides?", page(*cover, number=3)) is None


def test_the_title_is_the_largest_type_of_the_cover():
    text = page_text([(72, 100, "Harbours and Tides"), (72, 130, "Amina Okafor")])
    text.sizes_pt[:3] = 30.0
    assert (
        said("What is the title of the slides?", evidence(text, number=-5)) == "Harbours and Tides"
    )
    assert said("What is the title of the slides?", evidence(text)) is None


def test_the_parties_of_a_case_stand_about_its_v():
    cover = page("Court of Ostend", "Diane HANSON", "v.", "PORT OF OSTEND.", "No. 7", number=-5)
    assert said("Who is the defendant of this case?", cover) == "PORT OF OSTEND"
    assert said("Who is the plaintiff of this case?", cover) == "Diane HANSON"


def test_steps_are_the_items_of_the_numbered_list_below_what_is_asked():
    lines = (
        "To remove the grille:",
        "1. Open both doors.",
        "2. Pull the grille.",
        "To replace the grille:",
        "1. Align the tabs.",
        "2. Push firmly.",
        "3. Close the doors.",
    )
    assert said("How many steps are required to replace the grille?", page(*lines)) == "3"
    assert said("How many steps are required to remove the grille?", page(*lines)) == "2"
    assert said("How many steps are required to paint a ship?", page(*lines)) is None


def test_a_bound_of_the_question_is_compared_with_and_not_looked_for():
    lines = (
        "Mr. Amos Abel @220 Non-Executive @320 6 meetings attended",
        "Mr. Bert Boll @220 Executive @320 7 meetings attended",
        "Mr. Carl Cole @220 Non-Executive @320 6 meetings attended",
    )
    question = "Which executive director attended more than 6 meetings?"
    assert said(question, page(*lines)) == "Mr. Bert Boll"


def test_which_is_the_most_is_said_only_where_the_page_says_so():
    plain = page("Ostend port handles cargo of steel, said the annual survey of ports.")
    stated = page("The survey found the largest cargo port of all to be Ostend in every year.")
    assert said("Which port handles the largest cargo?", plain) is None
    assert said("Which port handles the largest cargo?", stated) == "Ostend"


def test_two_answers_that_are_as_good_are_none():
    lines = ("Quays of the north: 31 quays", "Quays of the south: 44 quays")
    assert said("How many quays?", page(*lines)) is None


def test_an_answer_stands_in_what_it_quotes():
    pages = [evidence(page_text(_TABLE))]
    asked = Question("How many quays were there in Autumn?")
    found = short_proposal(asked, rank_passages(asked, query().tokens.vectors, pages), pages)
    assert found is not None
    (claim,) = found.draft.claims
    assert [source.quote for source in claim.sources] == ["Spring Autumn", "Number of quays 31 44"]
    assert "44" in claim.text
    assert all(source.evidence == 1 for source in claim.sources)


def test_a_page_named_by_its_number_is_the_only_one_read():
    first = page("The crane of the quay weighs 31 tonnes", number=1)
    second = page("The crane of the quay weighs 44 tonnes", number=2)
    asked = Question("On page 8, what is the weight of the crane of the quay?")
    found = read_short_answer(asked, (), [first, second])
    assert found is not None
    assert found.page == 1


@pytest.mark.parametrize("pages", [(), (page(),)], ids=["none", "no words"])
def test_nothing_to_read_is_no_answer(pages):
    assert said("How many quays were there?", *pages) is None


@pytest.mark.parametrize(
    ("question", "of_cover"),
    [
        ("What is the title of this report?", True),
        ("Who is the author of the paper?", True),
        ("Who is the defendant?", True),
        ("Who led the work?", False),
        ("How many quays?", False),
    ],
)
def test_it_is_known_what_the_first_page_would_tell(question, of_cover):
    assert asks_of_cover(Question(question)) is of_cover


@pytest.mark.parametrize(
    ("heads", "step_pt", "answer"),
    [
        (("Harbour Link",), 30.0, "4G"),
        (("Service of boats", "Harbour Link"), 14.0, None),  # a heading is no plain name
    ],
)
def test_a_plain_name_in_what_would_be_quoted_may_be_less_near(heads, step_pt, answer):
    lines = (*heads, "Turn your boat into an office with 4G", "Night watch")
    if answer:
        lines += ("Boat repair", "Buy parts for the boat")
    masts = tuple(f"Mast {letter} 4G" for letter in ("abc" if answer else "abcde"))
    question = "What technology does the boat's Harbour Link use?"
    assert said(question, page(*lines, *masts, step_pt=step_pt)) == answer
