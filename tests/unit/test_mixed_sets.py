"""MRMR, MR2-Bench and M-BEIR, whose questions and documents mix words and images."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eval.datasets import m_beir, mr2_bench, mrmr
from eval.datasets.published import PageName, SetPart, Wanted
from eval.datasets.stacked_images import stacked
from rag.errors import InputError


def picture(colour: str, size: tuple[int, int] = (8, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, format="PNG")
    return out.getvalue()


def colour_of(data: bytes, at: tuple[int, int] = (0, 0)) -> tuple[int, int, int]:
    pixel = Image.open(io.BytesIO(data)).convert("RGB").getpixel(at)
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


RED, BLUE = (255, 0, 0), (0, 0, 255)


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(path: Path, rows: list[dict[str, Any]], *images: str) -> None:
    """Parquet as the hub writes it; an image is a struct of bytes and path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0])
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {}
    for name in names:
        values = [row[name] for row in rows]
        if name in images:
            cells = [None if value is None else {"bytes": value, "path": None} for value in values]
            columns[name] = pa.array(cells, struct)
        else:
            columns[name] = pa.array(values)
    pq.write_table(pa.table(columns), path)


def one(parts: Any) -> SetPart:
    (part,) = parts
    return part


def pages(part: SetPart) -> Iterator[Any]:
    return (page for document in part.documents for page in document.pages)


# --- images one below the other -----------------------------------------------------------------
def test_images_of_one_item_stand_one_below_the_other() -> None:
    assert stacked([]) is None
    alone = stacked([lambda: picture("red")])
    assert alone is not None
    assert alone() == picture("red")
    both = stacked([lambda: picture("red", (8, 6)), lambda: picture("blue", (20, 4))])
    assert both is not None
    whole = both()
    assert Image.open(io.BytesIO(whole)).size == (20, 6 + 16 + 4)
    assert colour_of(whole) == RED
    assert colour_of(whole, (19, 25)) == BLUE
    assert colour_of(whole, (19, 0)) == (255, 255, 255)


# --- MRMR ---------------------------------------------------------------------------------------
@pytest.fixture
def mrmr_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "knowledge"
    corpus = [
        {"id": "d1", "text": "A heart.", "image": None, "image 1": None, "vision": picture("blue")},
        {"id": "d2", "text": None, "image": picture("red"), "image 1": None,
         "vision": picture("blue")},
        {"id": "d3", "text": "Two.", "image": None, "image 1": picture("red"),
         "vision": picture("blue")},
    ]  # fmt: skip
    table(folder / "corpus/test-00000-of-00001.parquet", corpus, "image", "image 1", "vision")
    queries = [
        {"id": "Biology 1", "text": "What is <image>?", "image": picture("red"),
         "category": "Biology", "answer": "B"},
        {"id": "q2", "text": "Why?", "image": None, "category": "History", "answer": "A"},
    ]  # fmt: skip
    table(folder / "query/test-00000-of-00001.parquet", queries, "image")
    qrels = [
        {"query_id": "Biology 1", "corpus_id": "d1", "score": 1},
        {"query_id": "q2", "corpus_id": "d3", "score": 1},
    ]
    table(folder / "qrels/test-00000-of-00001.parquet", qrels)
    return tmp_path


def test_mrmr_has_items_of_words_and_images(mrmr_copy: Path) -> None:
    part = one(mrmr.load(mrmr_copy, Wanted()))
    assert part.main_measure == "nDCG@10"
    first, second, third = pages(part)
    assert (first.item_id, first.text, first.image) == ("d1", "A heart.", None)
    assert (second.text, colour_of(second.image())) == ("", RED)
    assert colour_of(third.image()) == RED
    asked, plain = part.queries
    assert asked.id == "Biology%201"
    assert asked.groups == {"group": "Knowledge", "category": "Biology"}
    assert colour_of(part.images[str(asked.image)]()) == RED
    assert plain.image is None
    assert part.qrels == {"Biology%201": {"d1": 1}, "q2": {"d3": 1}}
    assert "1,502" in part.notes[0]
    assert "1,435" in part.notes[0]


def test_mrmr_can_show_items_as_its_authors_rendered_them(mrmr_copy: Path) -> None:
    part = one(mrmr.load(mrmr_copy, Wanted(options={"corpus": "vision"})))
    assert [(page.text, colour_of(page.image())) for page in pages(part)] == [("", BLUE)] * 3
    with pytest.raises(InputError, match="items or vision"):
        list(mrmr.load(mrmr_copy, Wanted(options={"corpus": "x"})))


@pytest.fixture
def negation(tmp_path: Path) -> Path:
    folder = tmp_path / "negation"
    corpus = [{"id": str(n), "text": f"No dog {n}.", "image": None} for n in range(8)]
    table(folder / "corpus/test-00000-of-00001.parquet", corpus, "image")
    queries = [{"id": f"q{n}", "text": None, "image": picture("red")} for n in range(2)]
    table(folder / "query/test-00000-of-00001.parquet", queries, "image")
    gold = [
        {"query-id": "q0", "corpus-id": "6", "score": 1},
        {"query-id": "q1", "corpus-id": "1", "score": 1},
    ]
    table(folder / "qrels/test-00000-of-00001.parquet", gold)
    return tmp_path


def test_an_image_of_the_negation_part_is_asked_about_its_four_descriptions(negation: Path) -> None:
    part = one(mrmr.load(negation, Wanted(parts=("negation",))))
    assert part.main_measure == "Success@1"
    assert [len(document.pages) for document in part.documents] == [4, 4]
    assert [(query.text, query.doc, query.scope) for query in part.queries] == [
        ("-", "choices-0002", "document"),
        ("-", "choices-0001", "document"),
    ]
    assert part.qrels["q0"] == {PageName("choices-0002", 3): 1}
    assert part.qrels["q1"] == {PageName("choices-0001", 2): 1}


def test_descriptions_that_do_not_lie_in_fours_are_one_corpus_and_it_is_told(
    negation: Path,
) -> None:
    gold = [
        {"query-id": "q0", "corpus-id": "0", "score": 1},
        {"query-id": "q1", "corpus-id": "1", "score": 1},
    ]
    table(negation / "negation/qrels/test-00000-of-00001.parquet", gold)
    part = one(mrmr.load(negation, Wanted()))
    assert len(list(part.documents)) == 8
    assert all(query.doc is None for query in part.queries)
    assert any("do not lie in fours" in note for note in part.notes)


@pytest.mark.parametrize("name", ["corpus", "query", "qrels"])
def test_a_missing_table_of_mrmr_is_named(mrmr_copy: Path, name: str) -> None:
    next((mrmr_copy / "knowledge" / name).iterdir()).unlink()
    with pytest.raises(InputError, match=name) as found:
        list(mrmr.load(mrmr_copy, Wanted()))
    assert found.value.code == "dataset_layout"


def test_a_question_of_mrmr_without_a_grade_is_named(mrmr_copy: Path) -> None:
    rows = [{"query_id": "q2", "corpus_id": "d3", "score": 1}]
    table(mrmr_copy / "knowledge/qrels/test-00000-of-00001.parquet", rows)
    with pytest.raises(InputError, match="'Biology 1' has no row in qrels"):
        list(mrmr.load(mrmr_copy, Wanted()))
    rows = [{"query_id": "q2", "corpus_id": "d9", "score": 1}]
    table(mrmr_copy / "knowledge/qrels/test-00000-of-00001.parquet", rows)
    with pytest.raises(InputError, match="'d9' is not in corpus"):
        list(mrmr.load(mrmr_copy, Wanted()))


# --- MR2-Bench ----------------------------------------------------------------------------------
@pytest.fixture
def mr2_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "puzzle"
    lines(
        folder / "corpus.jsonl",
        [
            {"id": 1, "text": "A", "image": ["images/a.png", "images/b.png"]},
            {"id": 2, "text": "B", "image": None},
        ],
    )
    lines(
        folder / "queries.jsonl",
        [{"id": 7, "text": "Next?", "image": "images/a.png"}, {"id": 8, "text": "And?"}],
    )
    lines(
        folder / "qrels.jsonl",
        [
            {"query-id": 7, "corpus-id": 1, "score": 1},
            {"query-id": 8, "corpus-id": 2, "score": 2},
        ],
    )
    (folder / "images").mkdir()
    (folder / "images/a.png").write_bytes(picture("red"))
    (folder / "images/b.png").write_bytes(picture("blue"))
    return tmp_path


def test_mr2_bench_is_a_part_for_each_sub_task(mr2_copy: Path) -> None:
    part = one(mr2_bench.load(mr2_copy, Wanted()))
    assert (part.name, part.main_measure) == ("puzzle", "nDCG@10")
    first, second = pages(part)
    assert Image.open(io.BytesIO(first.image())).size == (8, 28)
    assert second.image is None
    assert [query.id for query in part.queries] == ["7", "8"]
    assert colour_of(part.images[str(part.queries[0].image)]()) == RED
    assert part.qrels == {"7": {"1": 1}, "8": {"2": 2}}
    assert any("has 1 sub-tasks" in note for note in part.notes)


def test_positives_of_a_question_stand_for_qrels(mr2_copy: Path) -> None:
    (mr2_copy / "puzzle/qrels.jsonl").unlink()
    with pytest.raises(InputError, match="field 'positive'"):
        list(mr2_bench.load(mr2_copy, Wanted()))
    lines(
        mr2_copy / "puzzle/queries.jsonl",
        [{"qid": "x", "query": "Next?", "pos": [1, {"did": "2"}]}],
    )
    part = one(mr2_bench.load(mr2_copy, Wanted(parts=("puzzle",))))
    assert part.qrels == {"x": {"1": 1, "2": 1}}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("corpus", {"id": 1, "text": "", "image": None}, "field 'text': is empty"),
        ("corpus", {"id": 1, "image": "../../x.png"}, "no file '../../x.png'"),
        ("queries", {"id": 7, "text": "", "image": ""}, "field 'text': is empty"),
        ("qrels", {"query-id": 7, "corpus-id": 9, "score": 1}, "'9' is not in corpus"),
    ],
)
def test_a_wrong_row_of_mr2_bench_is_named(
    mr2_copy: Path, name: str, change: dict[str, Any], said: str
) -> None:
    path = mr2_copy / f"puzzle/{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    lines(path, [change, *rows[1:]])
    with pytest.raises(InputError, match=said) as found:
        _ = [list(part.documents) for part in mr2_bench.load(mr2_copy, Wanted())]
    assert found.value.code == "dataset_field"


def test_a_copy_of_mr2_bench_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus\.jsonl"):
        list(mr2_bench.load(tmp_path, Wanted()))


# --- M-BEIR -------------------------------------------------------------------------------------
HEAD = "query_modality\tcand_modality\tdataset_name\tdataset_id\tprompt_1\tprompt_2"


@pytest.fixture
def beir_copy(tmp_path: Path) -> Path:
    lines(
        tmp_path / "query/test/mbeir_cirr_task7_test.jsonl",
        [
            {"qid": "8:1", "query_txt": "make it blue", "query_img_path": "mbeir_images/a.png",
             "query_modality": "image,text", "pos_cand_list": ["8:10"]},
            {"qid": "8:2", "query_txt": "two dogs", "query_img_path": "mbeir_images/a.png",
             "query_modality": "image,text", "pos_cand_list": ["9:99"]},
        ],
    )  # fmt: skip
    lines(
        tmp_path / "cand_pool/local/mbeir_cirr_task7_cand_pool.jsonl",
        [
            {"did": "8:10", "txt": None, "img_path": "mbeir_images/a.png", "modality": "image"},
            {"did": "8:11", "txt": "words", "img_path": None, "modality": "text"},
            {"did": "8:12", "txt": "both", "img_path": "mbeir_images/a.png",
             "modality": "image,text"},
        ],
    )  # fmt: skip
    qrels = tmp_path / "qrels/test/mbeir_cirr_task7_test_qrels.txt"
    qrels.parent.mkdir(parents=True)
    qrels.write_text("8:1 0 8:10 1 7\n8:1 0 8:11 0 7\n8:2 0 9:99 1 7\n")
    prompts = tmp_path / "instructions/query_instructions.tsv"
    prompts.parent.mkdir()
    prompts.write_text(f"{HEAD}\nimage,text\timage\tCIRR\t8\tfind the image\tlook for it!\n")
    (tmp_path / "mbeir_images").mkdir()
    (tmp_path / "mbeir_images/a.png").write_bytes(picture("red"))
    return tmp_path


def test_m_beir_has_16_parts_of_10_sets_in_8_tasks() -> None:
    parts = m_beir.PARTS.values()
    assert len(m_beir.PARTS) == 16
    assert (len({part.dataset for part in parts}), len({part.task for part in parts})) == (10, 8)


def test_m_beir_has_candidates_of_every_kind_and_instructed_questions(beir_copy: Path) -> None:
    part = one(m_beir.load(beir_copy, Wanted()))
    assert (part.name, part.main_measure) == ("cirr_task7", "R@5")
    image, words, both = pages(part)
    assert (image.text, colour_of(image.image())) == ("", RED)
    assert (words.text, words.image) == ("words", None)
    assert (both.text, colour_of(both.image())) == ("both", RED)
    (query,) = part.queries
    assert query.text == "Find the image. make it blue."
    assert query.gold_mode == "any"  # as the authors count recall
    assert query.groups == {
        "set": "cirr", "task": "image and text to image", "domain": "common",
    }  # fmt: skip
    assert colour_of(part.images[str(query.image)]()) == RED
    assert part.qrels == {"8:1": {"8:10": 1}}
    assert any("1 graded candidates are not in the pool" in note for note in part.notes)
    assert any("1 questions without" in note for note in part.notes)


def test_instructions_of_m_beir_can_be_chosen_or_left_out(beir_copy: Path) -> None:
    def text(value: str) -> str:
        part = one(m_beir.load(beir_copy, Wanted(options={"instruction": value})))
        return part.queries[0].text

    assert text("2") == "Look for it! make it blue."
    assert text("none") == "make it blue"
    with pytest.raises(InputError, match="prompt_3"):
        text("3")
    with pytest.raises(InputError, match="no instruction '9'") as told:
        text("9")
    assert told.value.next_step == "There are 1, 2, 3, 4, none."


def test_fashion_sets_are_ranked_by_recall_at_10(beir_copy: Path) -> None:
    for path in beir_copy.rglob("*cirr*"):
        path.rename(path.with_name(path.name.replace("cirr", "fashioniq")))
    assert one(m_beir.load(beir_copy, Wanted())).main_measure == "R@10"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("cand_pool/local/mbeir_cirr_task7_cand_pool.jsonl", "mbeir_cirr_task7_cand_pool.jsonl"),
        ("qrels/test/mbeir_cirr_task7_test_qrels.txt", "mbeir_cirr_task7_test_qrels.txt"),
        ("instructions/query_instructions.tsv", "query_instructions.tsv"),
        ("query/test/mbeir_cirr_task7_test.jsonl", "mbeir_.*_test.jsonl"),
    ],
)
def test_a_missing_file_of_m_beir_is_named(beir_copy: Path, path: str, said: str) -> None:
    (beir_copy / path).unlink()
    with pytest.raises(InputError, match=said) as found:
        list(m_beir.load(beir_copy, Wanted()))
    assert found.value.code == "dataset_layout"


@pytest.mark.parametrize("grade", ["²", "high", "-1", "1" * 5000])
def test_a_grade_of_m_beir_that_is_no_number_is_told_by_its_line(
    beir_copy: Path, grade: str
) -> None:
    qrels = beir_copy / "qrels/test/mbeir_cirr_task7_test_qrels.txt"
    qrels.write_text(f"8:1 0 8:10 1 7\n8:2 0 8:10 {grade} 7\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2: field 'relevance'") as found:
        list(m_beir.load(beir_copy, Wanted()))
    assert found.value.code == "dataset_field"


@pytest.mark.parametrize(
    "path",
    ["qrels/test/mbeir_cirr_task7_test_qrels.txt", "instructions/query_instructions.tsv"],
)
def test_a_file_of_m_beir_that_is_not_utf_8_is_named(beir_copy: Path, path: str) -> None:
    (beir_copy / path).write_bytes(b"\xff\n")
    with pytest.raises(InputError, match=f"{Path(path).name} is not UTF-8"):
        list(m_beir.load(beir_copy, Wanted()))


def test_an_image_of_m_beir_that_is_not_unpacked_is_named(beir_copy: Path) -> None:
    (beir_copy / "mbeir_images/a.png").unlink()
    with pytest.raises(InputError, match=r"unpack mbeir_images.tar.gz"):
        list(m_beir.load(beir_copy, Wanted()))


def test_a_candidate_that_lacks_what_its_modality_says_is_named(beir_copy: Path) -> None:
    path = beir_copy / "cand_pool/local/mbeir_cirr_task7_cand_pool.jsonl"
    lines(path, [{"did": "8:10", "txt": "x", "img_path": None, "modality": "image"}])
    part = one(m_beir.load(beir_copy, Wanted()))
    with pytest.raises(InputError, match="field 'img_path': is empty"):
        list(part.documents)
    lines(path, [{"did": "8:10", "txt": "x", "img_path": None, "modality": "sound"}])
    with pytest.raises(InputError, match="'sound'"):
        list(one(m_beir.load(beir_copy, Wanted(options={"instruction": "none"}))).documents)
