"""Other writings of what a question asks: which they are, and that they never drown it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.scoring.lexical import content_terms
from rag.wording.variants import query_terms


@pytest.mark.parametrize(
    ("question", "writings"),
    [
        ("organisation of labour", {"organization", "labor"}),
        ("organization of labor", {"organisation", "labour"}),
        ("programs of the theatre", {"programme", "theater"}),
        ("grey tyres", {"gray", "tire"}),
        ("e-mail", {"email"}),
        ("email", {"mail"}),
        ("working-capital ratio", {"workingcapital"}),
        ("websites at year end", {"web", "site", "yearend"}),
        ("Mueller in Muenchen", {"muller", "munchen"}),
        ("Müller", {"mueller"}),
        ("cost in $", {"usd", "dollar"}),
        ("share in %", {"percent"}),
        ("12 kilometers", {"km", "kilometre"}),
        ("2.5 million", {"2500000", "2500"}),
        ("$3m", {"3000000", "3000"}),
        ("2,500,000 shares", {"2500", "2.5"}),
        ("3.20 percent", {"3.2"}),
        ("kosteten 1.234,5 Mio", {"1234.5"}),
        ("Wie hoch war der Umsatz von 1 234 567,8 Mark?", {"1234567.8"}),
        ("three plants", {"3"}),
        ("12 plants", {"twelve"}),
        ("FY22", {"2022", "fiscal"}),
        ("FY2022", {"22", "fiscal"}),
        ("fiscal year 2022", {"fy", "22"}),
        ("2019-20", {"2020"}),
        ("Q2 FY24", {"second", "quarter", "2024"}),
        ("1Q23", {"first", "quarter", "2023"}),
        ("second quarter", {"q", "2"}),
        ("H1 2020", {"first", "half"}),
    ],
)
def test_other_writings_are_looked_for(question, writings):
    found = query_terms(question)
    assert writings <= found.keys()
    assert all(0 < found[term] < 1 for term in writings)


@pytest.mark.parametrize(
    "question",
    [
        "revenue of 3M",
        "Q2 2023 in a table of 2023-25",
        "statement of Boeing",
        "the contour of a tour",
        "model K2 at 4.125.7",
        "",
    ],
)
def test_what_has_no_other_writing_gets_none(question):
    own = set(content_terms(question))
    assert query_terms(question).keys() - own <= {"second", "quarter"}


def test_without_variants_a_question_looks_for_its_own_terms():
    question = "Q2 FY24 revenue in USD"
    assert query_terms(question, variants=False) == dict.fromkeys(content_terms(question), 1.0)


questions = st.lists(
    st.sampled_from(
        "Q2 FY24 2.5 million organisation $ USD % 2019-20 three e-mail Müller 1,234,567 what is"
        " the revenue km fiscal year 2022 of second quarter H1 12".split()
    )
).map(" ".join)


@given(questions | st.text())
def test_other_writings_never_weigh_more_than_half_of_what_is_asked(question):
    own = content_terms(question)
    found = query_terms(question)
    assert all(found[term] == 1 for term in own)
    assert sum(found.values()) <= 1.5 * len(set(own)) + 1e-9


def test_stems_are_looked_for_in_the_languages_there_are():
    found = query_terms("Wie hoch sind die Umsätze?", languages=["de", "fr"])
    assert found["umsatze"] == 1
    assert found["de~umsatz"] == 1  # the question's own language
    assert 0 < found["fr~umsatz"] < 1
    assert not [term for term in query_terms("Wie hoch sind die Umsätze?") if "~" in term]


@pytest.mark.parametrize("number", ["9" * 5000, "1" + ",234" * 1300, "$" + "9" * 21 + " trillion"])
def test_a_number_that_is_no_amount_is_looked_for_as_it_stands(number):
    own = set(content_terms(f"page {number}"))
    assert set(query_terms(f"page {number}")) <= own | {"usd", "dollar", "us", "tn"}


@given(
    digits=st.from_regex(r"[$]?[0-9]{1,24}([.][0-9]{1,24})?", fullmatch=True),
    scale=st.sampled_from(["", "k", " million", "tn"]),
)
def test_every_number_can_be_asked_for(digits, scale):
    assert query_terms(f"revenue of {digits}{scale}")
