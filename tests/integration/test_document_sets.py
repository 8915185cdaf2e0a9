"""MMDocIR, MMLongBench-Doc, M3DocVQA, Wiki-SS and captions: read as published, written as dataset
folders, and read again as such.
"""

from __future__ import annotations

import ast
import json

import pytest

from eval.datasets import image_captions, m3docvqa, mmdocir, mmlongbench_doc, wiki_ss
from eval.datasets.folder import Dataset, Origin, PageKey, load_dataset
from eval.datasets.published import LoaderInfo, Wanted
from eval.datasets.registry import find_set
from eval.datasets.writer import write_part
from eval.layout_recall import PageBox, layout_recall
from rag.errors import InputError
from rag.geometry import Box
from tests import published_copies as copies


def _prepared(info: LoaderInfo, source, folder, *, parts=(), **options: str) -> dict[str, Dataset]:
    """Part to dataset, through the writer."""
    found = {}
    for part in info.load(source, Wanted(tuple(parts), options)):
        to = folder / (part.name or "all")
        origin = Origin(
            published=info.name,
            part=part.name,
            source="local",
            revision="sha256:0",
            licence=info.licence,
            main_measure=part.main_measure,
            notes=part.notes,
        )
        write_part(part, to, origin)
        found[part.name] = load_dataset(to)
    return found


def _failure(info: LoaderInfo, source, **options: str) -> InputError:
    with pytest.raises(InputError) as caught:
        _read_whole(info, source, options)
    return caught.value


def _read_whole(info: LoaderInfo, source, options) -> None:
    for part in info.load(source, Wanted(options=options)):
        list(part.documents)


# --- MMDocIR --------------------------------------------------------------------------------------
MMDOCIR = mmdocir.SETS[0]


def test_mmdocir_counts_its_pages_from_one_and_asks_within_documents(tmp_path):
    source = copies.mmdocir(tmp_path / "copy")
    dataset = _prepared(MMDOCIR, source, tmp_path)[""]
    assert dataset.documents == ("news.pdf", "report.pdf")
    assert list(dataset.queries) == ["d0-q0", "d0-q1", "d1-q0"]
    query = dataset.queries["d0-q0"]
    assert (query.doc, query.scope, query.type) == ("report.pdf", "document", "Chart+Table")
    assert query.groups == {"domain": "Research report / Introduction"}
    assert dataset.qrels == {
        "d0-q0": {PageKey("report.pdf", 1): 1, PageKey("report.pdf", 3): 1},
        "d1-q0": {PageKey("news.pdf", 2): 1},
    }
    assert dataset.queries["d1-q0"].answer == "7"
    assert not dataset.counted("corpus")
    assert len(dataset.counted("document")) == 2


def test_the_pages_of_mmdocir_are_the_rows_of_their_document(tmp_path):
    source = copies.mmdocir(tmp_path)
    (part,) = mmdocir.load(source, Wanted(options={"text": "ocr"}))
    read = {document.name: document.pages for document in part.documents}
    rows = copies.mmdocir_pages()
    assert [page.image() for page in read["news.pdf"]] == [row["image_binary"] for row in rows[:2]]
    assert [page.image() for page in read["report.pdf"]] == [
        row["image_binary"] for row in rows[2:]
    ]
    assert read["report.pdf"][0].text == "words of row 2"
    assert any("ocr_text" in note for note in part.notes)


def test_the_gold_layouts_of_mmdocir_are_shares_of_their_page(tmp_path):
    gold = mmdocir.gold_layouts(copies.mmdocir(tmp_path))
    assert gold["d0-q0"] == (
        PageBox(1, Box(0, 0, 0.5, 0.5)),
        PageBox(3, Box(0.5, 0.5, 1, 1)),
    )
    assert gold["d1-q0"] == ()
    assert layout_recall([PageBox(1, Box(0, 0, 1, 1))], gold["d0-q0"]) == 0.5


def _changed_mmdocir(folder, change):
    """With the first document's annotation changed."""
    source = copies.mmdocir(folder)
    rows = json.loads(json.dumps(copies.MMDOCIR_ANNOTATIONS))
    change(rows[0])
    copies.write_lines(source / "MMDocIR_annotations.jsonl", rows)
    return source


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda row: row.pop("domain"), ("row 1", "'domain'", "is not there")),
        (lambda row: row.update(page_indices=[4, 2]), ("row 1", "'page_indices'")),
        (lambda row: row.update(page_indices=[1, 3]), ("row 1", "'page_indices'", "row 1 is of")),
        (lambda row: row.update(doc_name="r.pdf"), ("parquet row 3", "'doc_name'", "'r.pdf'")),
        (lambda row: row.update(page_indices=[2, 9]), ("row 1", "'page_indices'", "no row 9")),
        (lambda row: row["questions"][0].pop("Q"), ("questions 1", "'Q'", "is not there")),
        (lambda row: row["questions"][0].update(Q=" "), ("questions 1", "'Q'")),
        (lambda row: row["questions"][0].update(A=[]), ("questions 1", "'A'", "a text")),
        (lambda row: row["questions"][1].update(page_id=[3]), ("questions 2", "'page_id'", "3")),
        (lambda row: row["questions"][1].update(page_id="3"), ("questions 2", "'page_id'")),
        (lambda row: row.update(doc_name="news.pdf"), ("row 2", "'doc_name'", "twice")),
    ],
)
def test_mmdocir_names_file_row_and_field_of_what_is_wrong(tmp_path, change, named):
    failure = _failure(MMDOCIR, _changed_mmdocir(tmp_path, change))
    assert failure.code == "dataset_field"
    for name in named:
        assert name in failure.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda box: box.update(page_size=[0, 5]), "page_size"),
        (lambda box: box.update(bbox=[0, 1, 2]), "bbox"),
        (lambda box: box.update(page=True), "page"),
    ],
)
def test_mmdocir_names_the_field_of_an_ill_layout(tmp_path, change, field):
    source = _changed_mmdocir(
        tmp_path, lambda row: change(row["questions"][0]["layout_mapping"][0])
    )
    with pytest.raises(InputError, match=f"layout_mapping 1: field '{field}'"):
        mmdocir.gold_layouts(source)


@pytest.mark.parametrize("name", ["MMDocIR_annotations.jsonl", "MMDocIR_pages.parquet"])
def test_mmdocir_names_a_file_that_is_missing(tmp_path, name):
    source = copies.mmdocir(tmp_path)
    (source / name).unlink()
    failure = _failure(MMDOCIR, source)
    assert failure.code == "dataset_layout"
    assert name in failure.message


def test_mmdocir_knows_no_other_text(tmp_path):
    assert _failure(MMDOCIR, copies.mmdocir(tmp_path), text="asr").code == "bad_option"


# --- MMLongBench-Doc ------------------------------------------------------------------------------
MMLONGBENCH = mmlongbench_doc.SETS[0]


@pytest.mark.parametrize("as_repository", [False, True])
def test_mmlongbench_is_read_as_on_the_hub_and_as_in_its_repository(tmp_path, as_repository):
    source = copies.mmlongbench_doc(tmp_path / "copy", as_repository=as_repository)
    dataset = _prepared(MMLONGBENCH, source, tmp_path)[""]
    assert dataset.documents == ("economy.pdf", "manual.pdf")
    query = dataset.queries["q0001"]
    assert (query.answer, query.answer_format) == ("18.29%", "Float")
    assert (query.doc, query.scope, query.type) == ("economy.pdf", "document", "cross-page")
    assert query.groups == {
        "doc_type": "Research report / Introduction",
        "source Chart": "yes",
        "source Pure-text (Plain-text)": "yes",
    }
    assert dataset.queries["q0003"].type == "single-page"
    assert dataset.qrels == {
        "q0001": {PageKey("economy.pdf", 1): 1, PageKey("economy.pdf", 3): 1},
        "q0003": {PageKey("manual.pdf", 2): 1},
    }
    (unanswerable,) = dataset.unanswerable
    assert (unanswerable.id, unanswerable.doc) == ("q0002", "economy.pdf")
    assert "q0004" in dataset.queries  # it has an answer and no page
    assert any("1 questions with an answer name no" in note for note in dataset.origin.notes)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"evidence_pages": "[0]"}, "evidence_pages"),
        ({"evidence_pages": "['1']"}, "evidence_pages"),
        ({"evidence_pages": "three"}, "evidence_pages"),
        ({"evidence_sources": "Chart"}, "evidence_sources"),
        ({"answer_format": "Number"}, "answer_format"),
        ({"question": "  "}, "question"),
        ({"doc_id": 5}, "doc_id"),
        ({"answer": None}, "answer"),
    ],
)
def test_mmlongbench_names_file_row_and_field_of_what_is_wrong(tmp_path, changed, field):
    source = copies.mmlongbench_doc(tmp_path, as_repository=True)
    rows = [copies.mmlongbench_row(), copies.mmlongbench_row(**changed)]
    copies.write_json(source / "data" / "samples.json", rows)
    failure = _failure(MMLONGBENCH, source)
    assert failure.code == "dataset_field"
    assert f"data/samples.json row 2: field '{field}'" in failure.message


def test_mmlongbench_names_a_document_a_table_and_a_folder_that_is_missing(tmp_path):
    source = copies.mmlongbench_doc(tmp_path)
    (source / "documents" / "manual.pdf").unlink()
    assert "documents/manual.pdf" in _failure(MMLONGBENCH, source).message
    (source / "documents" / "economy.pdf").unlink()
    (source / "documents").rmdir()
    assert "documents/" in _failure(MMLONGBENCH, source).message
    (source / "data" / "train-00000-of-00001.parquet").unlink()
    assert "data/train-" in _failure(MMLONGBENCH, source).message


def test_mmlongbench_reads_no_file_outside_its_documents(tmp_path):
    source = copies.mmlongbench_doc(tmp_path / "copy", as_repository=True)
    (source / "data" / "secret.pdf").write_bytes(b"%PDF")
    rows = [copies.mmlongbench_row(doc_id="../secret.pdf")]
    copies.write_json(source / "data" / "samples.json", rows)
    assert _failure(MMLONGBENCH, source).code == "dataset_layout"


# --- M3DocVQA -------------------------------------------------------------------------------------
M3DOCVQA = m3docvqa.SETS[0]


def test_m3docvqa_grades_every_page_of_the_documents_that_support_an_answer(tmp_path):
    dataset = _prepared(M3DOCVQA, copies.m3docvqa(tmp_path / "copy"), tmp_path)[""]
    assert dataset.documents == ("aa11.pdf", "bb22.pdf", "cc33.pdf")
    assert dataset.qrels == {
        "5454c1": {PageKey("aa11.pdf", 1): 1},
        "77f0a2": {
            PageKey("bb22.pdf", 1): 1,
            PageKey("bb22.pdf", 2): 1,
            PageKey("aa11.pdf", 1): 1,
        },
    }
    one, several = dataset.queries.values()
    assert (one.answer, one.answer_format, one.gold_mode) == ("Warner", "List", "any")
    assert one.groups == {"modality": "text", "hops": "single-hop"}
    assert ast.literal_eval(several.answer) == ["Jaws", "1975"]
    assert several.groups == {"modality": "image", "hops": "multi-hop"}
    assert several.doc is None
    assert any("gold is documents" in note for note in dataset.origin.notes)


def test_pages_of_pdfs_are_counted_in_a_process_of_their_own(tmp_path, monkeypatch):
    def opened_here(*_):
        raise AssertionError

    source = copies.m3docvqa(tmp_path / "copy")
    monkeypatch.setattr("rag.renderers.pypdfium2_renderer.Pypdfium2Renderer.open", opened_here)
    _prepared(M3DOCVQA, source, tmp_path)  # the loader counts, and the writer does


def test_m3docvqa_names_what_is_missing_or_leaves_out_what_needs_it(tmp_path):
    source = copies.m3docvqa(tmp_path / "copy")
    (source / "splits" / "pdfs_dev" / "bb22.pdf").unlink()
    failure = _failure(M3DOCVQA, source)
    assert "pdfs_dev/bb22.pdf" in failure.message
    assert "1 of 3" in failure.message
    assert "missing=skip" in failure.next_step
    dataset = _prepared(M3DOCVQA, source, tmp_path, missing="skip")[""]
    assert list(dataset.queries) == ["5454c1"]
    assert any("1 PDFs are not in the copy; 1 questions" in note for note in dataset.origin.notes)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda row: row.pop("answers"), "answers"),
        (lambda row: row.update(answers=[]), "answers"),
        (lambda row: row["answers"][0].pop("answer"), "answer"),
        (lambda row: row.update(metadata=None), "metadata"),
        (lambda row: row.update(metadata="TextQ"), "metadata"),
        (lambda row: row["metadata"].pop("type"), "type"),
        (lambda row: row.update(supporting_context=[]), "supporting_context"),
        (lambda row: row["supporting_context"][0].update(doc_id="dd44"), "supporting_context"),
        (lambda row: row.update(question=""), "question"),
    ],
)
def test_m3docvqa_names_file_row_and_field_of_what_is_wrong(tmp_path, change, field):
    source = copies.m3docvqa(tmp_path)
    rows = json.loads(json.dumps(copies.M3DOCVQA_QUESTIONS))
    change(rows[1])
    copies.write_lines(source / "multimodalqa" / "MMQA_dev.jsonl", rows)
    failure = _failure(M3DOCVQA, source)
    assert failure.code == "dataset_field"
    assert "MMQA_dev.jsonl row 2" in failure.message
    assert f"field '{field}'" in failure.message


@pytest.mark.parametrize("name", ["dev_doc_ids.json", "multimodalqa/MMQA_dev.jsonl"])
def test_m3docvqa_names_a_file_that_is_missing(tmp_path, name):
    source = copies.m3docvqa(tmp_path)
    (source / name).unlink()
    failure = _failure(M3DOCVQA, source)
    assert failure.code == "dataset_layout"
    assert name in failure.message


@pytest.mark.parametrize("written", ['{"aa11": 1}', "[1, 2]", "[", '"aa11"'])
def test_m3docvqa_wants_a_list_of_documents(tmp_path, written):
    source = copies.m3docvqa(tmp_path)
    (source / "dev_doc_ids.json").write_text(written, encoding="utf-8")
    assert "dev_doc_ids.json" in _failure(M3DOCVQA, source).message


def test_m3docvqa_knows_no_other_split_and_misses_the_folder_of_one(tmp_path):
    source = copies.m3docvqa(tmp_path)
    assert _failure(M3DOCVQA, source, split="test").code == "bad_option"
    assert "pdfs_train" in _failure(M3DOCVQA, source, split="train").message


# --- Wiki-SS --------------------------------------------------------------------------------------
WIKI_SS = wiki_ss.SETS[0]


def test_a_page_of_wiki_ss_counts_that_says_an_answer_in_its_first_words(tmp_path):
    dataset = _prepared(WIKI_SS, copies.wiki_ss(tmp_path / "copy"), tmp_path)[""]
    assert len(dataset.documents) == 5
    found = {
        query_id: {page.doc.partition(".")[0] for page in grades}
        for query_id, grades in dataset.qrels.items()
    }
    assert found == {"0": {"0", "1"}, "2": {"2"}}  # Berlin is word 501 of its page
    query = dataset.queries["1"]
    assert (query.answer, query.answers, query.gold_mode) == ("Berlin", ("Bonn",), "any")
    assert any("1 of 3 questions are answered by no page" in note for note in dataset.origin.notes)


def test_a_sample_of_wiki_ss_keeps_pages_with_answers_and_goes_by_its_seed(tmp_path):
    texts = [*copies.WIKI_SS_TEXTS, *(f"Paris or so {n}" for n in range(40))]
    source = copies.wiki_ss(tmp_path, texts)

    def kept(**options):
        (part,) = wiki_ss.load(source, Wanted(options={"pages": "3", "gold": "2", **options}))
        return {document.name for document in part.documents}, part.qrels

    pages, qrels = kept()
    assert "2" in pages  # the only page with that answer
    assert 3 <= len(pages) <= 6
    # Each page that is kept and says the answer is graded, drawn for it or not.
    assert set(qrels["0"]) == {page for page in pages if "Paris" in texts[int(page)]}
    assert kept() == (pages, qrels)
    assert any(kept(seed=str(seed)) != (pages, qrels) for seed in range(1, 5))
    assert kept(pages="0")[0] < pages | {"2"}
    (part,) = wiki_ss.load(source, Wanted(options={"questions": "1"}))
    assert len(part.queries) == 1


def test_whoever_waits_for_wiki_ss_is_told_each_time_its_pages_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(wiki_ss, "_TOLD_EVERY", 2)
    source = copies.wiki_ss(tmp_path, ["Paris", "Rome", "Oslo"])
    told = []
    wanted = Wanted(options={"pages": "2"}, tell=lambda *each: told.append(each))
    (part,) = wiki_ss.load(source, wanted)
    assert told == [
        *(("drawing pages", 2, None), ("drawing pages", 3, 3)),
        *(("grading pages", 2, 3), ("grading pages", 3, 3)),
    ]
    assert len(part.documents) == len(list(part.documents))


def test_a_sample_of_wiki_ss_hangs_on_no_order_and_a_larger_one_holds_a_smaller(tmp_path):
    source = copies.wiki_ss(tmp_path, [f"Paris or so {n}" for n in range(40)])

    def kept(n_pages, n_gold):
        options = {"pages": str(n_pages), "gold": str(n_gold)}
        (part,) = wiki_ss.load(source, Wanted(options=options))
        return {document.name for document in part.documents}

    samples = [kept(n, n) for n in (2, 5, 9)]
    assert samples[0] < samples[1] < samples[2]
    first, second = sorted((source / "wiki-ss-corpus" / "train").iterdir())
    first.rename(first.with_name("third.arrow"))
    second.rename(first)
    first.with_name("third.arrow").rename(second)
    assert [kept(n, n) for n in (2, 5, 9)] == samples


def test_wiki_ss_names_what_is_missing_or_wrong(tmp_path):
    source = copies.wiki_ss(tmp_path)
    assert _failure(WIKI_SS, source, pages="many").code == "bad_option"
    rows = [{"query_id": "0", "query": "?", "answers": []}]
    table = source / "wiki-ss-nq" / "data" / "test-00000-of-00001.parquet"
    table.unlink()
    copies.write_lines(source / "wiki-ss-nq" / "test.jsonl", rows)
    assert "test.jsonl row 1: field 'answers'" in _failure(WIKI_SS, source).message
    (source / "wiki-ss-nq" / "test.jsonl").unlink()
    assert "wiki-ss-nq/test" in _failure(WIKI_SS, source).message


def test_a_cut_file_of_wiki_ss_is_told_by_name(tmp_path):
    source = copies.wiki_ss(tmp_path)
    path = source / "wiki-ss-corpus" / "train" / "data-00001-of-00002.arrow"
    path.write_bytes(path.read_bytes()[:-200])
    failure = _failure(WIKI_SS, source)
    assert failure.code == "dataset_layout"
    assert "data-00001-of-00002.arrow" in failure.message


def test_a_table_of_wiki_ss_without_text_is_told_by_field(tmp_path):
    source = copies.wiki_ss(tmp_path)
    rows = [{"docid": "0", "image": {"bytes": copies.png(), "path": None}}]
    copies.write_arrow(source / "wiki-ss-corpus" / "train" / "data-00000-of-00002.arrow", rows)
    assert "field 'text'" in _failure(WIKI_SS, source).message


# --- captions -------------------------------------------------------------------------------------
COCO, FLICKR30K = image_captions.SETS


def test_captions_find_their_image_and_images_any_of_their_five_captions(tmp_path):
    parts = _prepared(COCO, copies.coco(tmp_path / "copy"), tmp_path)
    captions, images = parts["text-to-image"], parts["image-to-text"]
    assert len(captions.documents) == 2
    assert list(captions.queries) == [f"c{10 * image + n}" for image in (0, 1) for n in range(5)]
    assert captions.queries["c11"].text == "COCO_val2014_2.jpg told a 1. way"
    (page,) = captions.qrels["c11"]
    assert page.doc.startswith("COCO_val2014_2")
    assert page.page_number == 1

    assert len(images.documents) == 10
    query = images.queries["i1"]
    assert (query.text, query.gold_mode) == ("-", "any")
    assert (images.folder / "images" / query.image).read_bytes() == copies.png(101, kind="JPEG")
    assert sorted(page.doc for page in images.qrels["i1"]) == [f"c1{n}.pdf" for n in range(5)]
    assert len(query.answers) == 4
    assert any("2 captions beyond the first five" in note for note in images.origin.notes)


def test_flickr30k_has_its_images_in_a_folder_of_their_own(tmp_path):
    parts = _prepared(FLICKR30K, copies.flickr30k(tmp_path / "copy"), tmp_path)
    assert {name: len(part.queries) for name, part in parts.items()} == {
        "text-to-image": 10,
        "image-to-text": 2,
    }
    assert not any("left out" in note for note in parts["text-to-image"].origin.notes)


def test_one_direction_can_be_had_alone(tmp_path):
    source = copies.flickr30k(tmp_path / "copy")
    assert list(_prepared(FLICKR30K, source, tmp_path, parts=["image-to-text"])) == [
        "image-to-text"
    ]
    with pytest.raises(InputError) as caught:
        list(FLICKR30K.load(source, Wanted(("sideways",))))
    assert caught.value.code == "unknown_part"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda row: row.pop("split"), ("images 1", "'split'")),
        (lambda row: row.update(sentences=[]), ("images 1", "'sentences'")),
        (lambda row: row["sentences"][2].pop("raw"), ("images 1 sentences 3", "'raw'")),
        (lambda row: row["sentences"][2].update(sentid="x"), ("sentences 3", "'sentid'")),
        (lambda row: row.update(filename="gone.jpg"), ("val2014/gone.jpg",)),
        (lambda row: row.update(filepath="../.."), ("../../COCO_val2014_1.jpg",)),
        (lambda row: row.pop("filepath"), ("there is no COCO_val2014_1.jpg",)),
    ],
)
def test_captions_name_file_row_and_field_of_what_is_wrong(tmp_path, change, named):
    source = copies.coco(tmp_path / "a" / "b")
    (tmp_path / "COCO_val2014_1.jpg").write_bytes(copies.png())
    path = source / "dataset_coco.json"
    read = json.loads(path.read_bytes())
    change(read["images"][0])
    copies.write_json(path, read)
    failure = _failure(COCO, source)
    for name in named:
        assert name in failure.message


@pytest.mark.parametrize(("written", "named"), [("[]", "'images'"), ("{", "no JSON")])
def test_captions_want_a_list_of_images(tmp_path, written, named):
    source = copies.coco(tmp_path)
    (source / "dataset_coco.json").write_text(written, encoding="utf-8")
    assert named in _failure(COCO, source).message
    (source / "dataset_coco.json").unlink()
    assert "dataset_coco.json" in _failure(COCO, source).message
    assert (
        _failure(FLICKR30K, copies.flickr30k(tmp_path / "f"), split="test1k").code == "bad_option"
    )


def test_all_sets_are_found_by_name():
    for name in ("mmdocir", "mmlongbench-doc", "m3docvqa", "wiki-ss"):
        assert find_set(name).layout
    for name in ("coco-captions", "flickr30k-captions"):
        assert find_set(name).parts
