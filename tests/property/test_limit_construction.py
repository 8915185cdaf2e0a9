"""Sets made as LIMIT is made: who likes what is true of exactly the two that qrels name."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.limit.construction import (
    FULL,
    SMALL,
    LimitSet,
    LimitSpec,
    all_likes,
    all_names,
    dense_documents,
)
from rag.errors import InputError

specs = st.builds(
    LimitSpec,
    n_documents=st.integers(20, 60),
    n_queries=st.integers(1, 190),
    n_likes=st.integers(1, 30),
    seed=st.integers(0, 1000),
)


@given(spec=specs)
@settings(max_examples=40, deadline=None)
def test_each_question_is_answered_by_its_two_documents_and_no_other(spec: LimitSpec) -> None:
    made = LimitSet(spec)
    documents = list(made.documents())
    for query in made.queries:
        holders = [at for at, document in enumerate(documents) if query.like in document.likes]
        assert holders == sorted(query.pair)
    assert len({query.pair for query in made.queries}) == spec.n_queries
    assert len({query.like for query in made.queries}) == spec.n_queries


@given(spec=specs)
@settings(max_examples=40, deadline=None)
def test_lists_are_full_and_name_nothing_twice(spec: LimitSpec) -> None:
    made = LimitSet(spec)
    asked_of = Counter(index for query in made.queries for index in query.pair)
    for index, document in enumerate(made.documents()):
        assert len(document.likes) == max(spec.n_likes, asked_of[index])
        assert len(set(document.likes)) == len(document.likes)
    assert len(set(made.names)) == spec.n_documents


@given(spec=specs, index=st.integers(0, 19))
@settings(max_examples=20, deadline=None)
def test_a_document_is_the_same_alone_and_in_the_set(spec: LimitSpec, index: int) -> None:
    made = LimitSet(spec)
    assert made.document(index) == list(LimitSet(spec).documents())[index]


def test_limit_small_has_the_published_numbers() -> None:
    made = LimitSet(SMALL)
    documents = list(made.documents())
    assert (len(documents), len(made.queries), math.comb(46, 2)) == (46, 1000, 1035)
    assert {len(document.likes) for document in documents} == {45}
    assert dense_documents(1000) == 46
    assert dense_documents(1035) == 46
    assert dense_documents(1036) == 47
    likes, first = set(documents[0].likes), documents[0]
    assert first.text.startswith(f"{first.name} likes ")
    assert first.text.endswith(f" and {first.likes[-1]}.")
    assert sum(query.like in likes for query in made.queries) == 45


def test_of_the_full_set_the_first_46_documents_alone_are_relevant() -> None:
    made = LimitSet(FULL)
    assert {index for query in made.queries for index in query.pair} == set(range(46))
    assert len(set(made.names)) == 50_000
    asked = {query.like for query in made.queries}
    assert not asked.intersection(made.document(46).likes, made.document(49_999).likes)
    assert len(made.document(49_999).likes) == 45


def test_another_seed_makes_another_set() -> None:
    assert LimitSet(SMALL).names != LimitSet(LimitSpec(seed=43)).names
    assert LimitSet(SMALL).queries != LimitSet(LimitSpec(seed=43)).queries


def test_things_and_names_are_all_different() -> None:
    first, last = all_names()
    for words in (all_likes(), first, last):
        assert len(set(words)) == len(words)
        assert all(word and word == word.strip() and "," not in word for word in words)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (LimitSpec(n_documents=45), "46 documents, there are 45"),
        (LimitSpec(n_documents=100_000), "100000 names"),
        (LimitSpec(n_documents=90, n_queries=3000), "things to ask for"),
        (LimitSpec(n_likes=1000), "2000 things to fill lists with"),
    ],
)
def test_a_set_that_the_words_do_not_suffice_for_is_refused(spec: LimitSpec, what: str) -> None:
    with pytest.raises(InputError, match=what):
        LimitSet(spec)
