from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from eval.datasets.documents import safe_name
from eval.datasets.folder import Query
from eval.datasets.published import published_id, query_id

# Ids come from tables, whose texts are UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(texts)
@example("%20 ")
def test_a_mended_id_is_accepted_and_gives_back_the_one_it_was(original):
    written = query_id(original)
    assert Query(id=written, text="x", answer="", type="t").id == written
    assert published_id(written) == original


@given(st.sets(texts, min_size=2))
@example({" ", "%20", "%2520"})
def test_no_two_ids_are_mended_into_one(originals):
    assert len({query_id(each) for each in originals}) == len(originals)


@given(st.lists(texts, unique=True), st.sampled_from(["", ".pdf", ".png"]))
def test_file_names_are_unlike_each_other_on_every_disk(names, suffix):
    taken: set[str] = set()
    files = [safe_name(name, taken, suffix) for name in names]
    assert len({file.lower() for file in files}) == len(names)
    for file in files:
        assert file.isprintable()
        assert not set(file) & set('/\\:*?"<>| \t\n')
        assert file.endswith(suffix)
        assert len(file.encode()) <= 150
