"""What filters mean, and what is refused before it reaches a store."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import InputError
from rag.filters import Condition, Filter, parse_assignment, parse_filters

PAGE: dict[str, Any] = {
    "source": "sub/a.pdf",
    "document_id": "doc-1",
    "page_number": 7,
    "metadata": {
        "year": 2023,
        "rate": 2.5,
        "final": True,
        "tags": ["red", 3, False],
        "nothing": None,
        "empty": [],
        "office": {"city": "Zürich"},
    },
}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"year": 2023},
        {"year": 2023.0},
        {"year": {"$eq": 2023}},
        {"year": {"$gte": 2023, "$lt": 2024}},
        {"year": {"$ne": 2022}},
        {"rate": {"$gt": 2, "$lte": 2.5}},
        {"final": True},
        {"tags": "red"},
        {"tags": {"$in": ["blue", 3]}},
        {"tags": {"$gt": 2}},
        {"tags": {"$nin": ["blue", 4]}},
        {"absent": {"$ne": 1}},
        {"absent": {"$nin": [1, "x"]}},
        {"absent": {"$exists": False}},
        {"nothing": {"$exists": False}},
        {"empty": {"$exists": False}},
        {"tags": {"$exists": True}},
        {"office.city": "Zürich"},
        {"source": "sub/a.pdf", "document_id": "doc-1", "page_number": {"$gte": 7}},
        {"$or": [{"year": 1999}, {"final": True}]},
        {"$and": [{"year": 2023}, {"final": True}]},
        {"$not": {"year": 1999}},
        {"$not": {"$not": {"year": 2023}}},
        {"$not": {"year": {"$in": []}}},
    ],
    ids=str,
)
def test_a_page_that_fits_passes(raw):
    assert parse_filters(raw).matches(PAGE)


@pytest.mark.parametrize(
    "raw",
    [
        {"year": 2022},
        {"year": "2023"},
        {"year": {"$gt": 2023}},
        {"year": {"$lt": 2023}},
        {"year": {"$gte": 2020, "$lt": 2023}},
        {"year": {"$in": []}},
        {"year": {"$exists": False}},
        {"final": 1},
        {"final": {"$gte": 0}},
        {"tags": 0},
        {"tags": {"$ne": "red"}},
        {"tags": {"$nin": ["blue", "red"]}},
        {"absent": {"$gt": 0}},
        {"absent": {"$exists": True}},
        {"office.city": "Zurich"},
        {"source": {"$gt": 0}},
        {"year": 2023, "final": False},
        {"$or": [{"year": 1999}, {"final": False}]},
        {"$and": [{"year": 2023}, {"final": False}]},
        {"$not": {"year": 2023}},
    ],
    ids=str,
)
def test_a_page_that_does_not_fit_is_kept_out(raw):
    assert not parse_filters(raw).matches(PAGE)


@pytest.mark.parametrize(
    "raw",
    [
        {"year": {"$between": [1, 2]}},
        {"$nor": [{"year": 1}]},
        {"year": {"$gt": "2020"}},
        {"year": {"$gt": True}},
        {"year": {"$in": 2020}},
        {"year": {"$in": [[1]]}},
        {"year": {"$exists": 1}},
        {"year": None},
        {"year": [2020]},
        {"$or": []},
        {"$or": {"year": 1}},
        {"$or": [1]},
        {"$not": [{"year": 1}]},
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused(raw):
    with pytest.raises(InputError):
        parse_filters(raw)


def test_an_unknown_operator_is_named_with_the_known_ones():
    with pytest.raises(InputError, match=r"\$like") as raised:
        parse_filters({"year": {"$like": "20"}})
    assert raised.value.code == "unknown_operator"
    assert "$gte" in raised.value.next_step


def test_the_users_keys_do_not_reach_the_keys_of_access():
    where = parse_filters({"readers": "*", "version_id": "v"})
    assert {part.key for part in where.must if isinstance(part, Condition)} == {
        "metadata.readers",
        "metadata.version_id",
    }


@pytest.mark.parametrize(
    ("flag", "key", "value"),
    [
        ("year=2023", "year", 2023),
        ("rate=2.5", "rate", 2.5),
        ("final=true", "final", True),
        ("name=Best Buy", "name", "Best Buy"),
        ('name="2023"', "name", "2023"),
        ("formula=a=b", "formula", "a=b"),
        ("tags=[1]", "tags", "[1]"),
        ("empty=", "empty", ""),
        (" year =2023", "year", 2023),
    ],
)
def test_a_flag_reads_as_json_where_it_can(flag, key, value):
    assert parse_assignment(flag) == (key, value)


@pytest.mark.parametrize("flag", ["year", "=2023", " =1", ""])
def test_a_flag_without_a_key_is_refused(flag):
    with pytest.raises(InputError):
        parse_assignment(flag)


payloads = st.dictionaries(
    st.sampled_from("abc"),
    st.one_of(st.booleans(), st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["", "x"])),
)
conditions = st.one_of(
    st.builds(Condition, st.sampled_from("abcd"), st.just("$eq"), st.sampled_from([0, 1, "x"])),
    st.builds(Condition, st.sampled_from("abcd"), st.just("$gt"), st.integers(-3, 3)),
)


@given(part=conditions, payload=payloads)
def test_not_is_the_opposite(part, payload):
    assert Filter(must_not=(part,)).matches(payload) != part.matches(payload)


@given(left=conditions, right=conditions, payload=payloads)
def test_and_is_both_and_or_is_either(left, right, payload):
    one, other = Filter(must=(left,)), Filter(must=(right,))
    assert Filter(must=(one, other)).matches(payload) == (
        left.matches(payload) and right.matches(payload)
    )
    either = Filter(should=(left, right))
    assert either.matches(payload) == (left.matches(payload) or right.matches(payload))


def test_filters_nested_too_deep_are_refused_before_python_gives_up():
    nested = {"year": 1}
    for _ in range(5000):
        nested = {"$not": nested}
    with pytest.raises(InputError, match="deep"):
        parse_filters(nested)


@pytest.mark.parametrize("operator", ["$eq", "$gt"])
def test_a_number_that_is_none_is_refused(operator):
    with pytest.raises(InputError, match="finite"):
        parse_filters({"year": {operator: float("nan")}})
