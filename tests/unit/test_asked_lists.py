from dataclasses import replace

import pytest
from listed_pages import page
from PIL import Image

from rag.answer.asked_lists.naming import held_terms, is_held, names_in
from rag.answer.asked_lists.propose import list_proposal
from rag.answer.checks.arithmetic import COUNT_OF_SOURCES
from rag.answer.checks.check import Checker
from rag.answer.draft import Draft, DraftClaim, Source
from rag.answer.question import Question
from rag.types import RenderedPage

SALES = page(
    1,
    "Sales by region",
    "Region | Revenue | Staff",
    "North | 120 | 14",
    "South | 340 | 9",
    "East | 95 | 22",
    "Total | 555 | 45",
)
STEPS = page(
    2,
    "To change the filter:",
    "1. Turn the handle.",
    "2. Pull the filter out.",
    "3. Push the new filter in.",
    "Safety",
    "To clean the lamp:",
    "1. Switch it off.",
    "2. Wipe the glass.",
    "Call us where it still does not work.",
)
YEARS = page(
    3,
    "Company figures",
    "Item | 2019 | 2020 | 2021",
    "Orders | 41 | 77 | 63",
    "Returns | 9 | 4 | 6",
)
VALUES = page(
    4, "Our values are:", "\u2022 Honesty", "\u2022 Courage", "\u2022 Patience", "Contact us"
)
PAGES = (SALES, STEPS, YEARS, VALUES)


def answered(draft, *pages):
    return Checker(pages, policy="strict", is_ours=True).answer_of(draft, model_id="m")


def short_of(question, *pages):
    """The short answer that the checks leave; None where nothing is proposed."""
    found = list_proposal(Question(question), pages or PAGES)
    if found is None:
        return None
    answer = answered(found.draft, *(pages or PAGES))
    assert not answer.abstained
    assert not answer.unsupported
    return answer.short


@pytest.mark.parametrize(
    ("question", "short"),
    [
        ("Which region has the highest revenue?", "South"),
        ("Which region had the second largest revenue?", "North"),
        ("Which region has the fewest staff?", "South"),
        ("What is the highest revenue of any region?", "340"),
        ("In which year were orders the highest?", "2020"),
        ("Which year had the lowest returns?", "2020"),
        ("Which region had more staff, North or East?", "East"),
        ("Which region had fewer staff, North or East?", "North"),
        ("Does North have more revenue than South?", "No"),
        ("Does North have less revenue than South?", "Yes"),
        ("How many more staff does East have than South?", "13"),
        ("What is the total revenue of North and South?", "460"),
        ("North, South and East collectively have how much revenue?", "555"),
        ("How many regions have revenue over 100?", "2"),
        ("How many regions have revenue of at least 95?", "3"),
        ("How many regions are listed?", "3"),
        ("How many steps does it take to change the filter?", "3"),
        ("How many values are listed?", "3"),
        ("Which takes more steps, to change the filter or to clean the lamp?", "change the filter"),
        ("Which takes fewer steps, to change the filter or to clean the lamp?", "clean the lamp"),
        ("What is the second step to change the filter?", "Pull the filter out"),
        ("What is the last step of cleaning the lamp?", "Wipe the glass"),
        ("What comes between Honesty and Patience?", "Courage"),
        ("Which step comes after pull the filter out?", "Push the new filter in"),
        ("What comes before wipe the glass?", "Switch it off"),
    ],
)
def test_what_a_page_lists_is_compared_counted_added_and_ordered(question, short):
    assert short_of(question) == short


@pytest.mark.parametrize(
    "question",
    [
        "Which region has the most customers?",
        "How many steps does it take to replace the battery?",
        "What is the fifth step to change the filter?",
        "What comes between Honesty and Modesty?",
        "What comes after push the new filter in?",
        "How many more staff does East have than West?",
        "What is the total revenue of North and West?",
        "Which region had more staff, North or West?",
        "How many colours are in the filter?",
        "What is the most important value?",
        "What is the revenue of North?",
        "What is the total revenue of North and South, in millions?",
    ],
)
def test_what_no_list_says_is_not_answered(question):
    assert short_of(question) is None


def test_nothing_has_the_most_where_two_have_as_much():
    tied = page(1, "Region | Revenue", "North | 120", "South | 120", "East | 95")
    assert short_of("Which region has the highest revenue?", tied) is None
    assert short_of("Which region has the lowest revenue?", tied) == "East"


def test_nothing_is_chosen_where_two_tables_tell_two():
    other = page(2, "Region | Revenue", "North | 700", "South | 120", "East | 95")
    assert short_of("Which region has the highest revenue?", SALES, other) is None


def test_names_that_share_a_part_are_told_by_the_other():
    scores = page(
        1,
        "Model Align. Corr.",
        "Large (0.5) 92.0(1.5) 97.6(0.1)",
        "Small (0.1) 84.5(2.5) 94.8(0.4)",
        "Small (0.9) 85.9(0.5) 94.2(0.4)",
    )
    asked = "Which temperature gives Small the highest alignment?"
    assert short_of(asked, scores) == "0.9"


def test_roman_numbers_are_read_where_ocr_took_them_for_strokes():
    waves = page(
        1,
        "Survey | Wave | | Wave Il | Wave Ill",
        "Interviewers | 52 | 50 | 72",
        "Hours | 5 | 6 | 7",
    )
    heads = "Survey | Wave l | Wave Il | Wave Ill"
    waves = page(1, heads, "Interviewers | 52 | 50 | 72", "Hours | 5 | 6 | 7")
    assert short_of("How many interviewers in all for Wave I and Wave II?", waves) == "102"
    assert short_of("How many interviewers in all for Wave I and Wave IV?", waves) is None


def test_a_list_goes_on_over_the_page_that_follows():
    first = page(7, "Areas of the course", "1. Reading", "2. Writing")
    second = page(8, "3. Speaking", "4. Listening", "The end of the course.")
    proposal = list_proposal(Question("How many areas does the course have?"), [first, second])
    assert proposal.draft.short == "4"
    cut = list_proposal(Question("How many areas does the course have?"), [first])
    assert cut.confidence < 0.5 < proposal.confidence


def test_of_two_lists_that_may_go_on_the_one_whose_numbers_stand_there_does():
    first = page(7, "Areas of the course", "1. Reading", "2. Writing", " | Notes on rooms",
                 " | 1. Bring a pen", " | 2. Be quiet")  # fmt: skip
    second = page(8, "3. Speaking", "The end of the course.")
    areas = "How many areas does the course have?"
    assert list_proposal(Question(areas), [first, second]).draft.short == "3"
    rooms = "How many notes on rooms are listed?"
    assert list_proposal(Question(rooms), [first, second]).draft.short == "2"


def test_a_list_at_the_end_of_its_page_is_whole_where_the_next_page_does_not_go_on():
    first = page(7, "Areas of the course", "1. Reading", "2. Writing")
    areas = Question("How many areas does the course have?")
    alone = list_proposal(areas, [first])
    followed = list_proposal(areas, [first, page(8, "How to register", "Write to us.")])
    assert (followed.draft.short, alone.draft.short) == ("2", "2")
    assert followed.confidence > 0.5 > alone.confidence


def test_nothing_is_counted_where_two_lists_have_the_same_heading_and_differ():
    other = page(5, "To change the filter:", "1. Ask us.", "2. Wait.", "Thank you")
    asked = "How many steps does it take to change the filter?"
    assert short_of(asked, STEPS) == "3"
    assert short_of(asked, STEPS, other) is None


def test_nothing_is_added_where_two_tables_have_other_figures_for_the_same_names():
    other = page(5, "Region | Revenue", "North | 700", "South | 120")
    asked = "What is the total revenue of North and South?"
    assert short_of(asked, SALES, other) is None
    assert short_of(asked, SALES, page(5, *other.text.text.splitlines()[:1])) == "460"


def test_captions_of_a_page_are_counted_where_there_is_little_else():
    chairs = ("red wooden chair", "white chair", "folding chair of steel", "oak chair")
    garden = page(1, "OUR GARDEN", *(line for chair in chairs for line in (chair, "")))
    assert short_of("How many types of chairs are introduced in total?", garden) == "4"
    prose = page(1, *["We sell one chair and many other things that are not listed here."] * 4)
    assert short_of("How many types of chairs are introduced in total?", prose) is None


def test_a_name_that_stands_nowhere_makes_an_answer_unsure():
    known, unknown = (
        list_proposal(Question(f"How many steps for {name} to change the filter?"), PAGES)
        for name in ("us", "Zorgon")
    )
    named = list_proposal(Question("How many steps, Call, to change the filter?"), PAGES)
    assert unknown.confidence < 0.5 * known.confidence
    assert named.confidence > 1.5 * unknown.confidence


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("for Wave I and Wave II", ("Wave I", "Wave II")),
        ("by Recruiter A and B", ("Recruiter A", "Recruiter B")),
        ("of Mr. R.A. Roy, Mr. Sen, and Mr. Das", ("Mr. R.A. Roy", "Mr. Sen", "Mr. Das")),
        ("of all of them", ()),
    ],
)  # fmt: skip
def test_names_side_by_side_are_each_read(text, names):
    assert names_in(text) == names


@pytest.mark.parametrize(
    ("term", "said", "is_same"),
    [
        ("alignment", "Align.", True),
        ("course", "Coursework", True),
        ("requiremnt", "Requirement", True),
        ("car", "carbon", False),
        ("2021", "20211", False),
    ],
)
def test_words_that_are_cut_or_misspelt_are_the_same_and_others_are_not(term, said, is_same):
    assert is_held(term, held_terms(said)) is is_same


# --- the check of a count -------------------------------------------------------------------------
SHED = page(1, "Tools in the shed", "Hammer", "Saw", "Drill")


@pytest.mark.parametrize(("said", "is_held"), [("3", True), ("2", False), ("4", False)])
def test_a_count_holds_where_as_many_places_are_cited(said, is_held):
    sources = tuple(Source(1, quote) for quote in ("Hammer", "Saw", "Drill"))
    claim = DraftClaim(
        f"{said} tools: Hammer, Saw, Drill", sources, "number of tools", COUNT_OF_SOURCES
    )
    answer = answered(Draft((claim,), short=said), SHED)
    assert answer.abstained is not is_held
    assert answer.short == (said if is_held else "")


def test_a_place_cited_twice_or_not_found_does_not_count():
    twice = tuple(Source(1, quote) for quote in ("Hammer", "Hammer", "Spanner"))
    claim = DraftClaim("3 tools: Hammer, Spanner", twice, "", COUNT_OF_SOURCES)
    assert answered(Draft((claim,), short="3"), SHED).abstained


def test_a_place_that_was_seen_and_not_read_does_not_count():
    image = RenderedPage(Image.new("RGB", (6, 8)), 600, 800)
    shed = replace(SHED, image=image)
    sources = (Source(1, "Hammer"), Source(1, "Saw"), Source(1))
    claim = DraftClaim("2 tools: Hammer, Saw", sources, "", COUNT_OF_SOURCES)
    (counted,) = answered(Draft((claim,), short="2"), shed).claims
    assert counted.calculation.value == 2
