"""ViDoRe, REAL-MM-RAG and MMEB-V2 in the layouts they are published in, as dataset folders."""

from __future__ import annotations

import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pypdfium2
import pytest
from page_copies import beir, held, picture, real_mm_rag, vidore_v2, vidore_v3, write_table

from eval.datasets.folder import Dataset, PageKey, load_dataset
from eval.datasets.prepare import Source, prepare
from eval.datasets.published import LoaderInfo, Wanted
from eval.datasets.registry import SETS, find_set
from rag.errors import InputError


def prepared(name, source, tmp_path, *parts, **options) -> dict[str, Dataset]:
    wanted = Wanted(tuple(parts), options)
    told = prepare(find_set(name), Source(source), tmp_path / "to", wanted)
    return {each.part: load_dataset(each.folder) for each in told}


def refused(name, source, tmp_path, *parts, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        prepared(name, source, tmp_path, *parts, **options)
    return caught.value


# --- ViDoRe v1 ------------------------------------------------------------------------------------
def test_vidore_v1_has_ten_sets_of_page_images(tmp_path):
    info = find_set("vidore-v1")
    for hub_id in info.hub_ids:
        beir(tmp_path / "copy" / hub_id.rpartition("/")[2])
    datasets = prepared("vidore-v1", tmp_path / "copy", tmp_path)
    assert list(datasets) == list(info.parts)
    assert len(datasets) == 10
    dataset = datasets["docvqa"]
    assert dataset.documents == ("0.png", "1.png", "2.png")
    assert dataset.qrels["1"] == {PageKey("1.png", 1): 1}
    assert dataset.queries["1"].text == "where is beta?"
    assert dataset.origin is not None
    assert dataset.origin.main_measure == "nDCG@5"
    assert dataset.origin.source == "vidore/docvqa_test_subsampled_beir"
    assert (dataset.folder / "docs" / "1.png").read_bytes() == picture("beta")


def test_vidore_v1_is_read_as_first_published_too(tmp_path):
    rows = [
        {"image": held(picture(name)), "image_filename": name, "query": query, "answer": answer}
        for name, query, answer in [
            ("a.jpg", "who?", "me"),
            ("b.jpg", None, None),
            ("a.jpg", "and who else?", "['you']"),
        ]
    ]
    copy = tmp_path / "arxivqa_test_subsampled_beir"
    write_table(copy / "data", rows)
    dataset = prepared("vidore-v1", copy, tmp_path)["arxivqa"]
    assert dataset.documents == ("a.jpg.png", "b.jpg.png")
    assert {query.text for query in dataset.queries.values()} == {"who?", "and who else?"}
    assert dataset.origin is not None
    assert "1 rows have no question" in dataset.origin.notes[0]


# --- ViDoRe v2 ------------------------------------------------------------------------------------
def test_vidore_v2_keeps_grades_and_tells_languages_apart(tmp_path):
    vidore_v2(tmp_path / "copy" / "esg_reports_v2")
    dataset = prepared("vidore-v2", tmp_path / "copy", tmp_path)["esg_reports"]
    assert dataset.qrels["1"] == {PageKey("1.png", 1): 2, PageKey("2.png", 1): 1}
    assert dataset.queries["1"].groups == {"language": "french"}


def test_one_language_can_be_taken_alone(tmp_path):
    vidore_v2(tmp_path / "copy" / "esg_reports_v2")
    source = tmp_path / "copy"
    dataset = prepared("vidore-v2", source, tmp_path, language="english")["esg_reports"]
    assert list(dataset.queries) == ["0"]
    assert dataset.origin is not None
    assert dataset.origin.options == {"language": "english"}
    error = refused("vidore-v2", source, tmp_path / "other", language="klingon")
    assert "english, french" in error.next_step


# --- ViDoRe v3 ------------------------------------------------------------------------------------
def test_vidore_v3_puts_the_pages_of_a_document_together_in_order(tmp_path):
    vidore_v3(tmp_path / "copy" / "vidore_v3_hr")
    dataset = prepared("vidore-v3", tmp_path / "copy", tmp_path)["hr"]
    assert dataset.documents == ("report.pdf", "slides.jpg")
    # Page 1 of the report stands first in the table, page 0 third.
    assert dataset.qrels["0"] == {PageKey("report.pdf", 2): 2, PageKey("report.pdf", 3): 1}
    assert dataset.qrels["2"] == {PageKey("slides.jpg", 1): 1, PageKey("report.pdf", 1): 2}
    with pypdfium2.PdfDocument(dataset.folder / "docs" / "report.pdf") as document:
        assert len(document) == 3
    items = (dataset.folder / "items.tsv").read_text().splitlines()
    assert "0\treport.pdf\t2" in items


def test_vidore_v3_tells_types_formats_and_modalities(tmp_path):
    vidore_v3(tmp_path / "copy" / "vidore_v3_hr")
    query = prepared("vidore-v3", tmp_path / "copy", tmp_path)["hr"].queries["0"]
    assert query.type == "multi-hop+numerical"
    assert query.groups == {
        "language": "english",
        "format": "question",
        "modality": "Table+Text",
        "written by": "human",
        "type numerical": "yes",
        "type multi-hop": "yes",
    }
    assert (query.answer, query.answers) == ("seven", ("7",))
    assert query.doc == "report.pdf"
    assert query.scope == "corpus"


# --- REAL-MM-RAG ----------------------------------------------------------------------------------
def test_real_mm_rag_keeps_levels_apart_and_pages_without_a_question(tmp_path):
    real_mm_rag(tmp_path / "copy" / "REAL-MM-RAG_FinReport")
    datasets = prepared("real-mm-rag", tmp_path / "copy", tmp_path)
    assert list(datasets) == [f"finreport-level{level}" for level in range(4)]
    for level, dataset in enumerate(datasets.values()):
        assert dataset.documents == ("p1.png", "p2.png", "p3.png")
        wording = "what was earned?" + (f" ({level})" if level else "")
        assert dataset.queries["0"].text == wording
        assert dataset.queries["0"].groups == {"level": str(level)}
        assert dataset.qrels["3"] == {PageKey("p3.png", 1): 1}
        assert len(dataset.queries) == 3
        assert dataset.origin is not None
        assert dataset.origin.notes == (
            "1 rows have no question: their pages are in the corpus alone",
        )
    first, last = (datasets[f"finreport-level{level}"].folder for level in (0, 3))
    assert (first / "docs" / "p1.png").samefile(last / "docs" / "p1.png")


def test_real_mm_rag_gives_one_level_where_it_is_asked_for(tmp_path):
    real_mm_rag(tmp_path / "copy" / "REAL-MM-RAG_FinReport")
    assert list(prepared("real-mm-rag", tmp_path / "copy", tmp_path, level="2")) == [
        "finreport-level2"
    ]
    error = refused("real-mm-rag", tmp_path / "copy", tmp_path / "other", level="4")
    assert "no level '4'" in error.message


def test_real_mm_rag_is_read_in_its_other_layout_too(tmp_path):
    queries = [
        {"query-id": 0, "query": "as asked", "rephrase_level_1": "in other words"},
    ]
    beir(tmp_path / "copy" / "REAL-MM-RAG_TechReport_BEIR", queries=queries)
    parts = ("techreport-level0", "techreport-level1")
    datasets = prepared("real-mm-rag", tmp_path / "copy", tmp_path, *parts)
    assert [dataset.queries["0"].text for dataset in datasets.values()] == [
        "as asked",
        "in other words",
    ]


# --- MMEB-V2 --------------------------------------------------------------------------------------
def test_mmeb_v2_has_24_tasks_on_visual_documents(tmp_path):
    parts = find_set("mmeb-v2").parts
    assert len(parts) == 24
    assert len(set(parts.values())) == 24
    families = [part.partition("_")[0] for part in parts]
    assert families.count("ViDoRe") == 14
    assert families.count("VisRAG") == 6
    assert parts["ViDoSeek-page"] == "VLM2Vec/ViDoSeek-page-fixed"


def test_mmeb_v2_reads_visrag_from_what_is_published_as_train(tmp_path):
    copy = tmp_path / "copy" / "visdoc-tasks" / "data"
    ids = ["3960.png", "two words.png", "c.png"]
    queries = [{"query-id": f"{item}-2", "query": "how many?"} for item in ids]
    folder = beir(copy / "VisRAG-Ret-Test-ChartQA", ids=ids, queries=queries, split="train")
    (folder / "qrels" / "chartqa-eval-qrels.tsv").write_text("another form of the same")
    beir(copy / "ViDoSeek-page-fixed")
    datasets = prepared("mmeb-v2", tmp_path / "copy", tmp_path)
    assert list(datasets) == ["VisRAG_ChartQA", "ViDoSeek-page"]
    dataset = datasets["VisRAG_ChartQA"]
    assert dataset.documents == ("3960.png", "c.png", "two_words.png")
    assert dataset.qrels["two%20words.png-2"] == {PageKey("two_words.png", 1): 1}
    items = (dataset.folder / "items.tsv").read_text()
    assert "two%20words.png\ttwo_words.png\t1" in items


def test_pages_that_were_set_right_later_are_not_read_from_the_older_copy(tmp_path):
    beir(tmp_path / "copy" / "ViDoSeek-page")
    assert refused("mmeb-v2", tmp_path / "copy", tmp_path).code == "dataset_layout"


# --- What is wrong with a copy --------------------------------------------------------------------
COPIES = {
    "vidore-v1": lambda at: beir(at / "docvqa_test_subsampled_beir"),
    "vidore-v2": lambda at: vidore_v2(at / "esg_reports_v2"),
    "vidore-v3": lambda at: vidore_v3(at / "vidore_v3_hr"),
    "mmeb-v2": lambda at: beir(at / "ViDoSeek"),
}
every_copy = pytest.mark.parametrize("name", COPIES)


def changed(folder, table, change) -> None:
    """Rewrites the rows of a table."""
    paths = sorted((folder / table).glob("*.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    for path in paths:
        path.unlink()
    write_table(folder / table, [change(row) for row in rows])


@every_copy
@pytest.mark.parametrize("table", ["corpus", "queries", "qrels"])
def test_a_missing_table_is_named(name, table, tmp_path):
    folder = COPIES[name](tmp_path / "copy")
    for path in (folder / table).iterdir():
        path.unlink()
    error = refused(name, tmp_path / "copy", tmp_path)
    assert error.code == "dataset_layout"
    assert error.message == f"{name}: there is no {table}/test-*.parquet"
    assert "corpus/" in error.next_step


@every_copy
@pytest.mark.parametrize(
    ("table", "column"),
    [("corpus", "image"), ("queries", "query"), ("qrels", "score")],
)
def test_a_missing_column_is_named(name, table, column, tmp_path):
    folder = COPIES[name](tmp_path / "copy")
    changed(folder, table, lambda row: {key: row[key] for key in row if key != column})
    error = refused(name, tmp_path / "copy", tmp_path)
    assert error.code == "dataset_field"
    assert f"{table}/test-00000-of-00001.parquet" in error.message
    assert f"field '{column}': is not there" in error.message


@every_copy
@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("corpus", "image", 7), ("queries", "query", 7), ("qrels", "score", "high")],
)
def test_a_column_of_another_type_is_named(name, table, column, value, tmp_path):
    folder = COPIES[name](tmp_path / "copy")
    changed(folder, table, lambda row: {**row, column: value})
    error = refused(name, tmp_path / "copy", tmp_path)
    assert error.code == "dataset_field"
    assert re.search(rf"row \d: field '{column}': wants .*, got", error.message)


@every_copy
@pytest.mark.parametrize("dashed", ["query-id", "corpus-id"])
def test_a_grade_of_something_unknown_is_named(name, dashed, tmp_path):
    folder = COPIES[name](tmp_path / "copy")
    changed(
        folder,
        "qrels",
        lambda row: {
            key: 999 if key in (dashed, dashed.replace("-", "_")) else row[key] for key in row
        },
    )
    error = refused(name, tmp_path / "copy", tmp_path)
    assert error.code == "dataset_field"
    assert f"field '{dashed}': '999' is not" in error.message
    assert not (tmp_path / "to").exists()


def test_a_page_that_is_there_twice_is_named(tmp_path):
    beir(tmp_path / "copy" / "docvqa_test_subsampled_beir", ids=[1, 2, 1])
    error = refused("vidore-v1", tmp_path / "copy", tmp_path)
    assert "field 'corpus-id': '1' is there twice" in error.message


@pytest.mark.parametrize("column", ["image", "image_filename", "id", "query"])
def test_a_missing_column_of_real_mm_rag_is_named(column, tmp_path):
    folder = real_mm_rag(tmp_path / "copy" / "REAL-MM-RAG_FinReport")
    changed(folder, "data", lambda row: {key: row[key] for key in row if key != column})
    error = refused("real-mm-rag", tmp_path / "copy", tmp_path)
    assert f"field '{column}': is not there" in error.message


def test_an_image_without_bytes_is_named_by_its_row(tmp_path):
    folder = beir(tmp_path / "copy" / "docvqa_test_subsampled_beir")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"corpus-id": [0], "image": pa.array([{"bytes": None, "path": "x"}], kind)})
    for path in (folder / "corpus").iterdir():
        path.unlink()
    pq.write_table(table, folder / "corpus" / "test-00000-of-00001.parquet")
    write_table(folder / "queries", [{"query-id": 0, "query": "x?"}])
    write_table(folder / "qrels", [{"query-id": 0, "corpus-id": 0, "score": 1}])
    error = refused("vidore-v1", tmp_path / "copy", tmp_path)
    assert "row 1: field 'image': wants an image" in error.message


def test_a_copy_of_nothing_known_is_refused_with_the_layout(tmp_path):
    (tmp_path / "copy").mkdir()

    def read(info: LoaderInfo) -> None:
        for part in info.load(tmp_path / "copy", Wanted()):
            list(part.documents)

    for info in SETS:
        if info.name == "mteb":
            continue  # whose source is the name of a task
        with pytest.raises(InputError) as caught:
            read(info)
        assert caught.value.code == "dataset_layout", info.name


def test_options_and_parts_that_are_not_there_are_named(tmp_path):
    vidore_v2(tmp_path / "copy" / "esg_reports_v2")
    error = refused("vidore-v2", tmp_path / "copy", tmp_path, lang="x")
    assert error.code == "unknown_option"
    assert "language" in error.next_step
    assert refused("vidore-v2", tmp_path / "copy", tmp_path, "sport").code == "unknown_part"


# --- The list of sets -----------------------------------------------------------------------------
def test_sets_have_names_of_their_own_and_say_what_they_are():
    names = [info.name for info in SETS]
    assert len(set(names)) == len(names)
    for info in SETS:
        assert info.licence, info.name
        assert info.layout, info.name
        assert info.hub_ids or info.home, info.name
        assert set(info.parts.values()) <= {*info.hub_ids, ""}, info.name


def test_the_list_of_sets_needs_no_library_of_tables_or_pages():
    heavy = "pyarrow reportlab PIL.Image datasets torch huggingface_hub pandas".split()
    code = f"import sys, eval.datasets.registry; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['PIL.Image']")  # the suffixes of images come with Pillow
