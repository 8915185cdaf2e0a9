import pytest

from eval.datasets.folder import PageKey
from eval.measures import exponential_ndcg
from eval.unidoc_measures import unidoc_names, unidoc_values

A, B, C = (PageKey("a.pdf", number) for number in (1, 2, 3))
OTHER = PageKey("other.pdf", 1)


def test_their_ndcg_is_over_what_was_found_and_the_proper_one_over_what_is_gold() -> None:
    # The worked numbers: labels [1, 0, 1], three gold pages.
    theirs = unidoc_values([A, OTHER, B], [A, B, C], k=10)["unidoc_ndcg@10"]
    proper = exponential_ndcg([1, 0, 1], [1, 1, 1], k=10)
    assert theirs == pytest.approx(0.9197, abs=5e-5)
    assert proper == pytest.approx(0.7039, abs=5e-5)
    assert unidoc_values([A], [A, B, C], k=10)["unidoc_ndcg@10"] == 1


def test_precision_counts_repeats_of_what_was_found_and_recall_and_gains_do_not() -> None:
    values = unidoc_values([OTHER, A, A, A], [A, B], k=10)
    assert values["unidoc_P@10"] == 3 / 4  # of four hits, not of ten
    assert values["unidoc_R@10"] == 1 / 2
    assert values["unidoc_ndcg@10"] == pytest.approx(0.63093, abs=1e-5)


def test_only_the_first_k_hits_count() -> None:
    hits = [OTHER] * 10 + [A]
    assert set(unidoc_values(hits, [A], k=10).values()) == {0}
    assert unidoc_values(hits, [A], k=11) == {
        "unidoc_P@11": pytest.approx(1 / 11),
        "unidoc_R@11": 1,
        "unidoc_ndcg@11": pytest.approx(0.27894, abs=1e-5),
    }


def test_pages_of_one_number_in_two_documents_are_two_pages() -> None:
    assert unidoc_values([PageKey("b.pdf", 1)], [A], k=10)["unidoc_R@10"] == 0


@pytest.mark.parametrize(("hits", "gold"), [([], [A]), ([A], []), ([], []), ([OTHER], [A])])
def test_nothing_found_or_nothing_gold_is_zero(hits: list[PageKey], gold: list[PageKey]) -> None:
    assert unidoc_values(hits, gold, k=10) == dict.fromkeys(unidoc_names(), 0.0)
