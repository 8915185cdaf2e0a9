import pytest

from eval.datasets.folder import Query
from eval.groups import by_group, macro_mean
from eval.measures import NAMES
from rag.errors import InputError


def query(query_id: str, kind: str, **groups: str) -> Query:
    return Query(id=query_id, text="?", answer="", type=kind, groups=groups)


QUERIES = [
    query("q1", "table", domain="crm", language="fr"),
    query("q2", "table", domain="legal"),
    query("q3", "text", domain="crm", type="odd"),
]
VALUES = {
    name: dict.fromkeys(NAMES, value) for name, value in (("q1", 1.0), ("q2", 0.0), ("q3", 0.5))
}


def test_figures_are_told_by_type_and_by_every_dimension_of_the_questions() -> None:
    found = by_group(QUERIES, VALUES)
    assert {
        dimension: {value: (each["n"], each["nDCG@5"]) for value, each in of_dimension.items()}
        for dimension, of_dimension in found.items()
    } == {
        "type": {"table": (2, 0.5), "text": (1, 0.5)},
        "domain": {"crm": (2, 0.75), "legal": (1, 0)},
        "groups.type": {"odd": (1, 0.5)},
        "language": {"fr": (1, 1)},
    }
    assert list(found) == ["type", "domain", "groups.type", "language"]
    assert tuple(found["type"]["table"]) == ("n", *NAMES)
    assert by_group([], {}) == {"type": {}}


def test_only_the_measures_asked_for_are_told() -> None:
    assert by_group(QUERIES[:1], VALUES, names=["R@5"])["type"] == {"table": {"n": 1, "R@5": 1}}


def test_every_part_is_as_heavy_as_any_other() -> None:
    domains = by_group(QUERIES, VALUES)["domain"]
    assert macro_mean(domains) == dict.fromkeys(NAMES, 0.375)  # 0.5 over the questions
    assert macro_mean(domains, ["R@5"]) == {"R@5": 0.375}


def test_a_mean_over_no_parts_or_without_a_measure_is_refused() -> None:
    with pytest.raises(InputError, match="at least one"):
        macro_mean({})
    with pytest.raises(InputError, match="no measure 'AP' for 'crm'"):
        macro_mean(by_group(QUERIES, VALUES)["domain"], ["AP"])
