import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.answers.run import answerable_queries
from eval.datasets.folder import PageKey, load_dataset
from rag.errors import InputError

QUERIES: list[dict[str, Any]] = [
    {"id": "q1", "text": "How much?", "answer": "7", "type": "number"},
    {
        "id": "q2",
        "text": "What is on the cover?",
        "answer": "a boat",
        "type": "picture",
        "doc": "b.pdf",
        "scope": "document",
        "gold_mode": "any",
        "modality": ["figure"],
    },
    {"id": "q3", "text": "And why?", "answer": "", "type": "number", "doc": "a.pdf"},
]
QRELS = "query_id\tdoc\tpage\trelevance\nq1\ta.pdf\t3\t1\nq1\tb.pdf\t1\t2\nq2\tb.pdf\t1\t1\n"

Write = Callable[..., Path]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(**files: str | None) -> Path:
        """A good dataset with some files changed, or left out with None."""
        folder = tmp_path / "small"
        (folder / "docs").mkdir(parents=True, exist_ok=True)
        for doc in ("a.pdf", "b.pdf"):
            (folder / "docs" / doc).write_bytes(doc.encode())
        (folder / "docs" / "notes.txt").write_text("not a document")
        contents = {
            "queries.jsonl": lines(QUERIES),
            "qrels.tsv": QRELS,
            "unanswerable.jsonl": lines([{"id": "u1", "text": "Who?", "doc": "a.pdf"}]),
        }
        contents |= {name.replace("__", "."): text for name, text in files.items()}
        for name, text in contents.items():
            if text is None:
                (folder / name).unlink(missing_ok=True)
            else:
                (folder / name).write_text(text, encoding="utf-8")
        return folder

    return write


def test_a_dataset_is_read_whole(write: Write) -> None:
    dataset = load_dataset(write())
    assert dataset.name == "small"
    assert dataset.documents == ("a.pdf", "b.pdf")
    assert list(dataset.queries) == ["q1", "q2", "q3"]
    assert dataset.queries["q1"].scope == "corpus"
    assert dataset.queries["q1"].gold_mode == "all"
    assert dataset.queries["q2"].gold_mode == "any"
    assert dataset.qrels == {
        "q1": {PageKey("a.pdf", 3): 1, PageKey("b.pdf", 1): 2},
        "q2": {PageKey("b.pdf", 1): 1},
    }
    assert [query.id for query in dataset.unanswerable] == ["u1"]


def test_questions_count_in_their_scope_and_only_with_gold_pages(write: Write) -> None:
    dataset = load_dataset(write())
    assert [query.id for query in dataset.counted("corpus")] == ["q1"]
    assert [query.id for query in dataset.counted("document")] == ["q2"]  # q1 names no document
    assert list(dataset.first(1, "document").queries) == ["q2"]


def test_a_question_whose_pages_are_all_of_grade_0_is_not_counted(write: Write) -> None:
    graded = QRELS + "q3\ta.pdf\t1\t0\n"
    dataset = load_dataset(write(qrels__tsv=graded))
    assert [query.id for query in dataset.counted("corpus")] == ["q1"]
    assert [query.id for query in dataset.without_gold("corpus")] == ["q3"]
    assert dataset.gold("q3") == {}
    assert dataset.qrels["q3"] == {PageKey("a.pdf", 1): 0}
    one_is_gold = load_dataset(write(qrels__tsv=graded + "q3\ta.pdf\t2\t1\n"))
    assert [query.id for query in one_is_gold.counted("corpus")] == ["q1", "q3"]
    assert one_is_gold.gold("q3") == {PageKey("a.pdf", 2): 1}


def test_unanswerable_questions_may_be_absent_or_none(write: Write) -> None:
    assert load_dataset(write(unanswerable__jsonl=None)).unanswerable == ()
    assert load_dataset(write(unanswerable__jsonl="\n")).unanswerable == ()


def test_a_line_separator_inside_a_question_does_not_end_its_line(write: Write) -> None:
    row = {**QUERIES[0], "text": "one\u2028two"}
    text = json.dumps(row, ensure_ascii=False) + "\r\n"
    dataset = load_dataset(write(queries__jsonl=text, qrels__tsv=QRELS.split("q2")[0]))
    assert dataset.queries["q1"].text == "one\u2028two"


@pytest.mark.parametrize("name", ["queries.jsonl", "qrels.tsv", "unanswerable.jsonl", "docs/b.pdf"])
def test_the_digest_changes_with_every_file(write: Write, name: str) -> None:
    folder = write()
    before = load_dataset(folder).digest
    assert load_dataset(folder).digest == before
    with (folder / name).open("a") as file:
        file.write("\n")
    assert load_dataset(folder).digest != before


def test_the_digest_is_over_documents_and_images_that_share_a_name(write: Write) -> None:
    row = QUERIES[0] | {"image": "shared.png"}
    folder = write(queries__jsonl=lines([row, *QUERIES[1:]]))
    (folder / "images" / "more").mkdir(parents=True)
    places = [folder / name for name in ("docs/shared.png", "images/shared.png")]
    for place in places:
        place.write_bytes(b"one")
    seen = {load_dataset(folder).digest}
    for place in places:
        place.write_bytes(b"two")
        seen.add(load_dataset(folder).digest)
    assert len(seen) == 3


@pytest.mark.parametrize("name", ["../docs/a.pdf", "/etc/hosts", "none.png", "."])
def test_an_image_that_is_no_file_below_images_is_refused(write: Write, name: str) -> None:
    folder = write(queries__jsonl=lines([QUERIES[0] | {"image": name}, *QUERIES[1:]]))
    (folder / "images").mkdir()
    with pytest.raises(InputError, match=r"line 1: field 'image'"):
        load_dataset(folder)


def test_a_folder_that_is_not_there_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder '.*/nowhere'"):
        load_dataset(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="/file' is no folder"):
        load_dataset(tmp_path / "file")


def test_a_file_without_questions_is_blamed_itself(write: Write) -> None:
    for text in ("", "\n\n"):
        with pytest.raises(InputError, match=r"^small/queries.jsonl has no question"):
            load_dataset(write(queries__jsonl=text))


@pytest.mark.parametrize("name", ["queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(write: Write, name: str) -> None:
    with pytest.raises(InputError, match=f"'small' has no {name}"):
        load_dataset(write(**{name.replace(".", "__"): None}))


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no PDF and no image in docs/"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, "queries.jsonl line 2: field 'id'"),
        ({"id": "a b"}, "queries.jsonl line 2: field 'id'"),
        ({"id": "q1"}, "queries.jsonl line 2: id 'q1' is used twice"),
        ({"text": ""}, "queries.jsonl line 2: field 'text'"),
        ({"scope": "page"}, "queries.jsonl line 2: field 'scope'"),
        ({"gold_mode": "some"}, "queries.jsonl line 2: field 'gold_mode'"),
        ({"doc": "c.pdf"}, "queries.jsonl line 2: field 'doc': 'c.pdf' is not in docs/"),
        ({"doc": None}, "queries.jsonl line 2: .*scope 'document' wants a 'doc'"),
    ],
)
def test_a_wrong_question_is_named_by_line_and_field(
    write: Write, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(write(queries__jsonl=lines([QUERIES[0], QUERIES[1] | change])))


def test_a_missing_field_is_named(write: Write) -> None:
    with pytest.raises(InputError, match=r"queries.jsonl line 1: field 'answer'"):
        load_dataset(write(queries__jsonl='{"id": "q1", "text": "?", "type": "x"}\n'))
    with pytest.raises(InputError, match=r"queries.jsonl line 2: Invalid JSON"):
        load_dataset(write(queries__jsonl=lines(QUERIES[:1]) + "{\n"))
    with pytest.raises(InputError, match=r"unanswerable.jsonl line 1: field 'doc'"):
        load_dataset(write(unanswerable__jsonl='{"id": "u1", "text": "?"}\n'))
    with pytest.raises(InputError, match=r"id 'q1' is taken"):
        load_dataset(write(unanswerable__jsonl='{"id": "q1", "text": "?", "doc": "a.pdf"}\n'))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q9\ta.pdf\t1\t1", "line 5: field 'query_id': 'q9'"),
        ("q1\tc.pdf\t1\t1", "line 5: field 'doc': 'c.pdf'"),
        ("q1\ta.pdf\t0\t1", "line 5: field 'page': .* got '0'"),
        ("q1\ta.pdf\tiv\t1", "line 5: field 'page'"),
        ("q1\ta.pdf\t1\t-1", "line 5: field 'relevance'"),
        ("q1\ta.pdf\t1\t1.5", "line 5: field 'relevance': wants a whole number from 0 .* '1.5'"),
        ("q1\ta.pdf\t1\t1001", "line 5: field 'relevance': .* from 0 to 1000, got '1001'"),
        ("q1\ta.pdf\t1\t" + "9" * 5000, "line 5: field 'relevance': .* got '9{20}...'"),
        ("q1\ta.pdf\t" + "9" * 5000 + "\t1", "line 5: field 'page'"),
        ("q1\ta.pdf\t1\t\u0661", "line 5: field 'relevance'"),
        ("q1\ta.pdf\t3\t1", "line 5: a.pdf page 3 is graded twice for 'q1'"),
        ("q1 a.pdf 3 1", "line 5: wants 4 fields between tabs, got 1"),
    ],
)
def test_a_wrong_gold_page_is_named_by_line_and_field(
    write: Write, line: str, message: str
) -> None:
    with pytest.raises(InputError, match=f"qrels.tsv {message}"):
        load_dataset(write(qrels__tsv=f"{QRELS}{line}\n"))


@pytest.mark.parametrize("text", ["", "q1\ta.pdf\t3\t1\n", "query_id doc page relevance\n"])
def test_gold_pages_without_their_header_are_refused(write: Write, text: str) -> None:
    with pytest.raises(InputError, match=r"qrels.tsv line 1: wants the header"):
        load_dataset(write(qrels__tsv=text))


def test_a_file_that_is_not_utf8_is_refused(write: Write) -> None:
    folder = write()
    (folder / "queries.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"queries.jsonl is not UTF-8"):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"queries__jsonl": lines([QUERIES[0] | {"scope": "document"}])}, "doc is the document"),
        ({"unanswerable__jsonl": '{"id": "u1", "text": "?"}\n'}, "id, text and doc"),
        ({"qrels__tsv": "q1\n"}, "Four columns"),
    ],
)
def test_who_writes_a_file_otherwise_is_told_how_it_is_written(
    write: Write, files: dict[str, str], named: str
) -> None:
    with pytest.raises(InputError) as refused:
        load_dataset(write(**files))
    assert named in refused.value.next_step


@pytest.mark.parametrize(
    ("scope", "named"), [("corpus", '"scope" is not "document"'), ("document", 'name their "doc"')]
)
def test_who_has_no_question_in_a_scope_is_told_which_count(
    write: Write, scope: Any, named: str
) -> None:
    dataset = load_dataset(write(qrels__tsv=QRELS.splitlines()[0]))
    with pytest.raises(InputError, match="no question with gold pages") as refused:
        answerable_queries(dataset, scope)
    assert named in refused.value.next_step


@pytest.mark.devset
@pytest.mark.parametrize(
    ("name", "n_corpus", "n_document", "n_gold_pages", "n_unanswerable"),
    [("finance", 65, 68, 91, 0), ("visual", 74, 110, 162, 39)],
)
def test_the_development_collections_are_read(
    devset: Path,
    name: str,
    n_corpus: int,
    n_document: int,
    n_gold_pages: int,
    n_unanswerable: int,
) -> None:
    dataset = load_dataset(devset / name)
    assert len(dataset.counted("corpus")) == n_corpus
    assert len(dataset.counted("document")) == n_document
    assert sum(len(grades) for grades in dataset.qrels.values()) == n_gold_pages
    assert len(dataset.unanswerable) == n_unanswerable
