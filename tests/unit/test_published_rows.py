from __future__ import annotations

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.datasets.local_copy import file_below, part_folders
from eval.datasets.parquet import WHERE, ImageColumn, may, must, read_rows, table_files
from eval.datasets.published import Wanted
from rag.errors import ConfigError, InputError


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


def read(path, *fields):
    return list(read_rows(path, *fields, published="a-set"))


def refused(path, *fields) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path, *fields)
    return caught.value


def test_the_same_rows_come_from_every_kind_of_file(tmp_path):
    rows = [{"id": 1, "text": "one", "score": 2.0}, {"id": 2, "text": "two, three", "score": 0.0}]
    paths = [table(tmp_path / "rows.parquet", rows)]
    for name, text in {
        "rows.jsonl": "\n".join(map(json.dumps, rows)),
        "rows.json": json.dumps(rows, indent=1),
        "rows.csv": 'id,text,score\n1,one,2.0\n2,"two, three",0\n',
        "rows.tsv": "id\ttext\tscore\n1\tone\t2.0\n2\ttwo, three\t0\n",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        paths.append(tmp_path / name)
    for path in paths:
        found = read(path, must("id", "id"), must("text", "text"), must("score", "int"))
        assert [(row["id"], row["text"], row["score"]) for row in found] == [
            ("1", "one", 2),
            ("2", "two, three", 0),
        ]


def test_a_column_is_found_under_the_names_it_was_published_by(tmp_path):
    path = table(tmp_path / "q.parquet", [{"query_id": 7}])
    assert read(path, must("query-id", "id", "query_id"))[0]["query-id"] == "7"


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path):
    path = table(tmp_path / "q" / "test.parquet", [{"qid": 7, "text": "x"}])
    error = refused(path, must("query-id", "id", "query_id"))
    assert error.code == "dataset_field"
    assert "q/test.parquet" in error.message
    assert "'query-id'" in error.message
    assert "query_id" in error.message
    assert "there are qid, text" in error.message


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("text", 3, "wants a text, got int 3"),
        ("int", "three", "wants a whole number, got str 'three'"),
        ("int", 1.5, "wants a whole number, got float 1.5"),
        ("int", True, "wants a whole number"),
        ("number", "x", "wants a number"),
        ("id", 1.5, "wants a text or a whole number"),
        ("texts", "one", "wants a list of texts"),
        ("rows", ["one"], "wants a list of objects"),
        ("image", "nowhere.png", "wants an image"),
        ("image", {"bytes": None, "path": "nowhere.png"}, "wants an image"),
        ("bool", 1, "wants true or false"),
    ],
)
def test_a_value_of_another_kind_is_named_by_file_row_and_field(kind, value, said, tmp_path):
    path = tmp_path / "rows.jsonl"
    good = {"text": "x", "int": 1, "number": 0.5, "id": "a", "texts": [], "rows": [], "bool": True}
    first = [] if kind == "image" else [json.dumps({"it": good[kind]})]
    path.write_text("\n".join([*first, json.dumps({"it": value})]), encoding="utf-8")
    error = refused(path, must("it", kind))
    assert f"rows.jsonl row {len(first) + 1}: field 'it': {said}" in error.message


def test_a_row_without_a_value_is_refused_where_one_has_to_be(tmp_path):
    path = table(tmp_path / "rows.parquet", [{"a": "x"}, {"a": None}])
    assert "row 2: field 'a': has no value" in refused(path, must("a", "text")).message
    assert read(path, may("a", "text"))[1]["a"] is None
    assert read(path, may("b", "text"))[0]["b"] is None


def test_images_come_as_their_bytes_and_from_files_beside_the_table(tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "one.png").write_bytes(b"beside")
    rows = [{"image": {"bytes": b"held", "path": None}}]
    rows.append({"image": {"bytes": None, "path": "pages/one.png"}})
    path = table(tmp_path / "rows.parquet", rows)
    assert [row["image"] for row in read(path, must("image", "image"))] == [b"held", b"beside"]


def test_a_table_cannot_name_files_outside_its_copy(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"x")
    path = table(tmp_path / "copy" / "data" / "rows.parquet", [{"image": "../../secret.png"}])
    assert refused(path, must("image", "image")).code == "dataset_field"


def test_images_are_read_by_row_over_groups_and_files(tmp_path):
    rows = [{"image": {"bytes": str(number).encode(), "path": None}} for number in range(7)]
    files = [table(tmp_path / "a.parquet", rows[:3]), table(tmp_path / "b.parquet", rows[3:])]
    column = ImageColumn(files, must("image", "image"), published="a-set")
    assert column.n_rows == 7
    for row in (0, 6, 3, 2, 5, 0):
        assert column.read(row) == str(row).encode()


def test_rows_of_several_files_are_one_table(tmp_path):
    files = [table(tmp_path / f"{name}.parquet", [{"a": name}]) for name in "xy"]
    found = list(read_rows(files, must("a", "text"), published="a-set"))
    assert [row["a"] for row in found] == ["x", "y"]
    assert found[1][WHERE].endswith("y.parquet row 1")


def test_a_pointer_of_git_lfs_is_told_as_what_it_is(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    error = refused(path, must("a", "text"))
    assert error.code == "dataset_layout"
    assert "git lfs pull" in error.next_step


@pytest.mark.parametrize(
    ("text", "said"), [("{", "line 1 is no JSON"), ("[1]", "row 1 is no object")]
)
def test_lines_that_are_no_objects_are_named(text, said, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    assert said in refused(path, must("a", "text")).message


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = table(tmp_path / "rows.parquet", [{"a": 1}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError) as caught:
        read(path, must("a", "int"))
    assert caught.value.code == "extra_missing"


@pytest.mark.parametrize(
    "name",
    [
        "corpus/test-00000-of-00002.parquet",
        "corpus/test/0000.parquet",
        "corpus/test.jsonl",
        "corpus.jsonl",
    ],
)
def test_the_files_of_a_table_are_found_in_every_form_of_the_hub(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    (tmp_path / "corpus").mkdir(exist_ok=True)
    (tmp_path / "corpus" / "train-00000-of-00001.parquet").write_text("")
    assert table_files(tmp_path, "corpus", "test", published="s", layout="l") == (path,)


def test_a_table_that_lies_there_twice_is_read_once(tmp_path):
    (tmp_path / "qrels").mkdir()
    for name in ("test-00000-of-00001.parquet", "test-qrels.tsv"):
        (tmp_path / "qrels" / name).write_text("")
    found = table_files(tmp_path, "qrels", "test", published="s", layout="l")
    assert [path.name for path in found] == ["test-00000-of-00001.parquet"]


def test_a_missing_table_is_named_with_the_layout(tmp_path):
    with pytest.raises(InputError) as caught:
        table_files(tmp_path, "corpus", "test", published="a-set", layout="this and that")
    assert "corpus/test-*.parquet" in caught.value.message
    assert "this and that" in caught.value.next_step


PARTS = {"one": "owner/Repo_one", "two": "owner/Repo_two"}


def folders(source, *parts):
    wanted = Wanted(tuple(parts))
    return part_folders(source, PARTS, wanted, published="a-set", layout="the layout")


def test_parts_are_found_by_the_names_of_their_repositories(tmp_path):
    (tmp_path / "Repo_one").mkdir()
    (tmp_path / "owner" / "Repo_two").mkdir(parents=True)
    found = {"one": tmp_path / "Repo_one", "two": tmp_path / "owner" / "Repo_two"}
    assert folders(tmp_path) == found


def test_a_copy_of_one_repository_stands_for_its_own_part_alone(tmp_path):
    copy = tmp_path / "Repo_two"
    copy.mkdir()
    assert folders(copy) == {"two": copy}
    other = tmp_path / "anything"
    other.mkdir()
    assert folders(other, "one") == {"one": other}
    with pytest.raises(InputError, match="any of Repo_one, Repo_two"):
        folders(other)


def test_a_part_that_is_asked_for_and_missing_is_named(tmp_path):
    (tmp_path / "Repo_one").mkdir()
    assert list(folders(tmp_path)) == ["one"]
    with pytest.raises(InputError) as caught:
        folders(tmp_path, "three")
    assert caught.value.code == "unknown_part"
    assert "one, two" in caught.value.next_step
    with pytest.raises(InputError, match="Repo_two"):
        folders(tmp_path, "one", "two")


def test_a_file_that_a_table_names_lies_below_the_copy_in_the_first_folder_that_has_it(tmp_path):
    copy = tmp_path / "copy"
    for name in ("a/1.png", "b/1.png", "b/2.png", "../outside.png"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(b"x")
    (copy / "b" / "link.png").symlink_to(tmp_path / "outside.png")
    folders = (copy / "a", copy / "b")
    assert file_below(copy, "1.png", *folders) == copy / "a" / "1.png"
    assert file_below(copy, "2.png", *folders) == copy / "b" / "2.png"
    assert file_below(copy, "b/2.png") == copy / "b" / "2.png"
    for name in ("3.png", "../../outside.png", str(tmp_path / "outside.png"), "link.png", ""):
        assert file_below(copy, name, *folders) is None, name
