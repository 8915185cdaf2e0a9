"""Counting what an ingest would cost: which pages are measured, and what follows from a rate."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.estimate import (
    SAMPLE_PAGES,
    Estimate,
    PageCost,
    Sample,
    _sources_bytes,
    sample_pages,
    typical_spec,
)
from ingestion.source import SourceFile
from rag.settings import Settings


@given(n_pages=st.lists(st.integers(0, 400), max_size=30))
def test_the_sample_is_of_pages_that_are_there_and_none_twice(n_pages):
    chosen = sample_pages(n_pages)
    pages = [(document, page) for document, numbers in chosen for page in numbers]
    assert len(set(pages)) == len(pages) == min(sum(n_pages), SAMPLE_PAGES)
    assert all(1 <= page <= n_pages[document] for document, page in pages)


@given(n_pages=st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_no_stretch_of_pages_goes_without_a_sample(n_pages):
    whole = sum(n_pages)
    starts = [sum(n_pages[:index]) for index in range(len(n_pages))]
    places = [
        starts[document] + page - 1
        for document, numbers in sample_pages(n_pages)
        for page in numbers
    ]
    gaps = [b - a for a, b in zip([-1, *places], [*places, whole], strict=True)]
    assert max(gaps) <= 2 * max(1, whole / min(whole, SAMPLE_PAGES)) + 1


def an_estimate(n_pages: int, sample: Sample | None = None) -> Estimate:
    settings = Settings()
    return Estimate(
        n_documents=1,
        n_pages=n_pages,
        sources_bytes=1000,
        open_s=0.0,
        unreadable=(),
        sample=sample,
        spec=typical_spec(settings),
        matrices_bytes=0,
        is_embedded=True,
    )


def test_what_a_packed_page_takes_is_what_the_pack_says():
    sample = Sample(4, 0, 1.0, PageCost(0.5, rows=100, floats=40_000, terms=10, text_bytes=500))
    found = an_estimate(10, sample)
    # 100 rows of 128: float16 and int8 of each, 4 blocks of 512 bytes, 20,480 signs, 64 bytes.
    assert found.disk_bytes["packed"] == 10 * (100 * 128 * 3 + 4 * 512 + 2560 + 64)
    assert found.memory_bytes == {
        "sign_bits": 10 * 4 * 512,
        "fde_signs": 10 * 2560,
        "table": 10 * 64,
    }


def test_twice_the_pages_take_twice_the_memory_and_time():
    one, two = an_estimate(1000), an_estimate(2000)
    assert two.seconds == pytest.approx(2 * one.seconds)
    assert two.memory_bytes["sign_bits"] == 2 * one.memory_bytes["sign_bits"]


def test_each_rate_says_where_it_comes_from():
    sampled = Sample(4, 0, 1.0, PageCost(0.5, 100, 40_000, 10, 500))
    origins = {rate["name"]: rate["from"] for rate in an_estimate(10, sampled).as_dict()["rates"]}
    assert origins["seconds_per_page"] == "sample"
    assert origins["manifest_bytes_per_page"] == "constant"
    assert {rate["from"] for rate in an_estimate(10).as_dict()["rates"]} == {"constant"}


def test_equal_files_are_kept_once_and_files_of_equal_size_are_told_apart(tmp_path):
    def file(name: str, content: bytes) -> SourceFile:
        path = Path(tmp_path / name)
        path.write_bytes(content)
        return SourceFile(path, tmp_path, name, len(content), "pdf")

    files = [file("a", b"1234"), file("b", b"1234"), file("c", b"4321"), file("d", b"12345")]
    assert _sources_bytes(files) == 4 + 4 + 5
