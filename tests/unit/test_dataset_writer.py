from __future__ import annotations

import json

import pypdfium2
import pytest
from page_copies import picture

from eval.datasets.documents import Sample
from eval.datasets.folder import Origin, PageKey, Query, UnanswerableQuery, load_dataset
from eval.datasets.published import PageName, SetDocument, SetPage, SetPart, query_id
from eval.datasets.writer import write_part
from rag.errors import BackendError, InputError

ORIGIN = Origin(
    published="a-set", source="owner/a-set", revision="abc", licence="MIT", main_measure="nDCG@5"
)


def image_page(item: str, words: str | None = None, **kept) -> SetPage:
    return SetPage(item, image=lambda: picture(words or item), **kept)


def one_page(name: str, item: str | None = None) -> SetDocument:
    return SetDocument(name, pages=(image_page(item or name),))


def question(number: str, **rest) -> Query:
    return Query(
        id=number, text=f"question {number}?", **{"answer": "", "type": "question", **rest}
    )


def part(documents, qrels, queries=None, **rest) -> SetPart:
    queries = queries if queries is not None else [question(each) for each in qrels]
    return SetPart("", documents, queries, qrels, "nDCG@5", **rest)


def refused(tmp_path, *args, **kept) -> InputError:
    with pytest.raises(InputError) as caught:
        write_part(part(*args, **kept), tmp_path / "set", ORIGIN)
    assert not (tmp_path / "set").exists()
    return caught.value


def test_a_part_becomes_a_dataset_that_tells_where_it_is_from(tmp_path):
    whole = part(
        [
            one_page("a", "item-a"),
            SetDocument("b", pages=(image_page("b1"), SetPage("b2", text="words here"))),
        ],
        {"q1": {"item-a": 1}, "q2": {"b2": 2, "b1": 0}},
        unanswerable=[UnanswerableQuery(id="u1", text="nothing?", doc="b")],
        notes=("a note of the loader",),
    )
    told = write_part(whole, tmp_path / "set", ORIGIN)
    dataset = load_dataset(tmp_path / "set")
    assert dataset.documents == ("a.png", "b.pdf")
    assert dataset.qrels == {
        "q1": {PageKey("a.png", 1): 1},
        "q2": {PageKey("b.pdf", 2): 2, PageKey("b.pdf", 1): 0},
    }
    assert dataset.unanswerable[0].doc == "b.pdf"
    assert dataset.origin == ORIGIN.model_copy(update={"notes": ("a note of the loader",)})
    assert (told.n_documents, told.n_pages, told.n_queries, told.n_graded) == (2, 3, 2, 2)
    assert told.n_unanswerable == 1
    items = (tmp_path / "set" / "items.tsv").read_text().splitlines()
    assert items == ["item\tdoc\tpage", "item-a\ta.png\t1", "b1\tb.pdf\t1", "b2\tb.pdf\t2"]


def test_an_image_that_is_one_page_is_the_file_it_came_as(tmp_path):
    data = picture("x", "JPEG")
    documents = [SetDocument("x", pages=(SetPage("i", image=lambda: data),))]
    write_part(part(documents, {"q": {"i": 1}}), tmp_path / "set", ORIGIN)
    assert (tmp_path / "set" / "docs" / "x.jpg").read_bytes() == data


def test_files_are_taken_as_they_are_and_graded_by_page(tmp_path):
    source = tmp_path / "source.pdf"
    with pypdfium2.PdfDocument.new() as made:
        made.new_page(100, 100)
        made.new_page(100, 100)
        made.save(source)
    documents = [SetDocument("Report 1.pdf", path=source, item_ids={"r/2": 2})]
    whole = part(
        documents,
        {
            "q": {PageName("Report 1.pdf", 1): 1},
            "p": {"r/2": 1},
            "z": {PageName("Report 1.pdf", 9): 1},
        },
    )
    told = write_part(whole, tmp_path / "set", ORIGIN)
    dataset = load_dataset(tmp_path / "set")
    assert dataset.qrels["q"] == {PageKey("Report_1.pdf", 1): 1}
    assert dataset.qrels["p"] == {PageKey("Report_1.pdf", 2): 1}
    assert (dataset.folder / "docs" / "Report_1.pdf").read_bytes() == source.read_bytes()
    assert told.n_pages == 2
    assert told.origin.notes == ("1 graded pages lie beyond the end of their document",)
    documents_file = (tmp_path / "set" / "documents.tsv").read_text().splitlines()
    assert documents_file[1] == "Report_1.pdf\tReport%201.pdf\t2"


def test_names_that_no_file_can_have_become_others_that_stay_apart(tmp_path):
    names = ["a/b", "a:b", "A_B", "..", "con", "-x", "x" * 300, "x" * 299 + "y", "日本", ".hidden"]
    documents = [one_page(name) for name in names]
    write_part(part(documents, {"q": {names[0]: 1}}), tmp_path / "set", ORIGIN)
    files = [path.name for path in (tmp_path / "set" / "docs").iterdir()]
    assert len({name.lower() for name in files}) == len(names)
    assert not any(name.startswith((".", "-")) or "/" in name for name in files)
    assert max(len(name.encode()) for name in files) < 130
    assert load_dataset(tmp_path / "set").qrels["q"].keys() == {PageKey("a_b.png", 1)}


def test_a_question_id_with_blanks_is_mended_and_kept(tmp_path):
    queries = [question(query_id("chart 7\t%.png")), question("100%"), question("x%41")]
    whole = part([one_page("a")], {queries[0].id: {"a": 1}}, queries)
    write_part(whole, tmp_path / "set", ORIGIN)
    rows = [
        json.loads(line) for line in (tmp_path / "set" / "queries.jsonl").read_text().splitlines()
    ]
    assert rows[0]["id"] == "chart%207%09%25.png"
    assert rows[0]["published_id"] == "chart 7\t%.png"
    assert "published_id" not in rows[1] | rows[2]  # of a loader that mended nothing
    assert list(load_dataset(tmp_path / "set").qrels) == ["chart%207%09%25.png"]


def test_images_of_questions_lie_in_images(tmp_path):
    queries = [question("q", image="dir/pic ture.png")]
    images = {"dir/pic ture.png": lambda: picture("asked")}
    write_part(
        part([one_page("a")], {"q": {"a": 1}}, queries, images=images), tmp_path / "set", ORIGIN
    )
    assert load_dataset(tmp_path / "set").queries["q"].image == "dir_pic_ture.png"
    assert (tmp_path / "set" / "images" / "dir_pic_ture.png").read_bytes() == picture("asked")


def test_what_is_graded_has_to_be_there(tmp_path):
    documents = [one_page("a")]
    assert "no item 'b'" in refused(tmp_path, documents, {"q": {"b": 1}}).message
    no_page = refused(tmp_path, documents, {"q": {PageName("c", 1): 1}})
    assert "no document 'c'" in no_page.message
    assert "no such question" in refused(tmp_path, documents, {"q": {"a": 1}}, []).message
    assert "grade of 'a' is -1" in refused(tmp_path, documents, {"q": {"a": -1}}).message
    asks = [question("q", doc="z")]
    assert "no document 'z'" in refused(tmp_path, documents, {"q": {"a": 1}}, asks).message
    shows = [question("q", image="i.png")]
    assert "no image 'i.png'" in refused(tmp_path, documents, {"q": {"a": 1}}, shows).message
    assert not list((tmp_path).rglob("*.png"))  # it was seen before anything was written


def test_documents_that_come_one_by_one_are_checked_all_the_same(tmp_path):
    stream = (one_page(name) for name in "ab")
    assert "no item 'c'" in refused(tmp_path, stream, {"q": {"c": 1}}).message


def test_names_and_items_are_there_once(tmp_path):
    twice = [one_page("a", "x"), one_page("a", "y")]
    assert "two documents are named 'a'" in refused(tmp_path, twice, {"q": {"x": 1}}).message
    twice = [one_page("a", "x"), one_page("b", "x")]
    assert "item 'x' is in the documents 'a' and 'b'" in refused(tmp_path, twice, {}).message
    twice = [SetDocument("a", pages=(image_page("x"), image_page("x")))]
    assert "names a page twice" in refused(tmp_path, twice, {}).message


def test_no_more_than_one_document_is_held_at_a_time(tmp_path):
    alive: list[int] = []
    most = 0

    class Held(bytes):
        def __del__(self) -> None:
            alive.pop()

    def stream():
        nonlocal most
        for number in range(20):

            def read(number: int = number) -> bytes:
                alive.append(number)
                return Held(picture(str(number)))

            most = max(most, len(alive))
            yield SetDocument(str(number), pages=(SetPage(str(number), image=read),))

    write_part(part(stream(), {"q": {"3": 1}}), tmp_path / "set", ORIGIN)
    assert most <= 1


def test_the_same_again_writes_nothing(tmp_path):
    whole = part([one_page("a")], {"q": {"a": 1}})
    first = write_part(whole, tmp_path / "set", ORIGIN)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    again = write_part(whole, tmp_path / "set", ORIGIN)
    assert (first.state, again.state) == ("written", "unchanged")
    assert again.n_documents == first.n_documents == 1
    assert again.n_graded == first.n_graded == 1
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")} == before


def test_a_folder_of_another_revision_is_left_alone(tmp_path):
    whole = part([one_page("a")], {"q": {"a": 1}})
    write_part(whole, tmp_path / "set", ORIGIN)
    with pytest.raises(InputError) as caught:
        write_part(whole, tmp_path / "set", ORIGIN.model_copy(update={"revision": "def"}))
    assert caught.value.code == "folder_taken"
    assert "revision abc" in caught.value.message
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="something else"):
        write_part(whole, tmp_path / "mine", ORIGIN)


def test_a_run_that_ended_early_goes_on_and_leaves_no_dataset_behind(tmp_path):
    pdf = SetDocument("many", pages=tuple(image_page(f"p{number}") for number in range(3)))

    class Ended(Exception):
        pass

    def until_killed():
        yield pdf
        raise Ended

    with pytest.raises(Ended):
        write_part(part(until_killed(), {"q": {"p1": 1}}), tmp_path / "set", ORIGIN)
    assert not (tmp_path / "set").exists()
    left = tmp_path / ".partial" / "set" / "docs" / "many.pdf"
    made_at = left.stat().st_mtime_ns
    (left.parent / "stale.png").write_bytes(b"x")
    write_part(part([pdf, one_page("a")], {"q": {"p1": 1}}), tmp_path / "set", ORIGIN)
    assert (tmp_path / "set" / "docs" / "many.pdf").stat().st_mtime_ns == made_at
    assert load_dataset(tmp_path / "set").documents == ("a.png", "many.pdf")
    assert not (tmp_path / ".partial").exists()


def test_what_another_revision_left_is_not_gone_on_with(tmp_path):
    def pages(n_pages: int) -> SetDocument:
        return SetDocument("d", pages=tuple(image_page(f"p{each}") for each in range(n_pages)))

    def until_killed():
        yield pages(3)
        raise KeyboardInterrupt

    other = ORIGIN.model_copy(update={"revision": "old"})
    with pytest.raises(KeyboardInterrupt):
        write_part(part(until_killed(), {"q": {"p0": 1}}), tmp_path / "set", other)
    write_part(part([pages(2)], {"q": {"p0": 1}}), tmp_path / "set", ORIGIN)
    with pypdfium2.PdfDocument(tmp_path / "set" / "docs" / "d.pdf") as document:
        assert len(document) == 2


def sampled(tmp_path, n_others, seed, *, streamed=False):
    documents = [one_page(f"d{number}") for number in range(30)]
    if streamed:
        documents.reverse()
    whole = part(iter(documents) if streamed else documents, {"q": {"d3": 1}, "r": {"d4": 0}})
    sample = Sample(n_others, seed)
    folder = tmp_path / f"{n_others}-{seed}-{streamed}"
    origin = ORIGIN.model_copy(update={"sampled": sample.as_dict()})
    write_part(whole, folder, origin, sample=sample)
    return load_dataset(folder)


def test_a_sample_keeps_every_graded_page_and_so_many_others(tmp_path):
    for n_others in (0, 5, 27):
        dataset = sampled(tmp_path, n_others, 1)
        assert {"d3.png", "d4.png"} <= set(dataset.documents)
        assert len(dataset.documents) == 2 + n_others
        assert dataset.origin.sampled == {"seed": 1, "others": n_others}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("n_others", [28, 29, 1000])
def test_a_sample_that_leaves_nothing_out_is_none(tmp_path, n_others, streamed):
    dataset = sampled(tmp_path, n_others, 1, streamed=streamed)
    assert len(dataset.documents) == 30
    assert dataset.origin.sampled is None


def test_a_set_that_is_there_whole_is_no_more_prepared_for_a_sample_of_all_of_it(tmp_path):
    asked = [question("q", doc="d1"), question("r")]
    documents = [one_page(f"d{number}") for number in range(4)]
    whole = part(documents, {"q": {"d0": 1}, "r": {"d2": 0}}, asked)
    to = {"folder": tmp_path / "some", "unsampled": tmp_path / "all"}

    def prepared(n_others: int) -> tuple[str, str]:
        sample = Sample(n_others)
        told = write_part(
            whole,
            origin=ORIGIN.model_copy(update={"sampled": sample.as_dict()}),
            sample=sample,
            **to,
        )
        return told.folder.name, told.state

    assert prepared(1) == ("all", "written")  # d3 alone is no question's
    assert prepared(1) == prepared(9) == ("all", "unchanged")
    assert prepared(0) == ("some", "written")
    assert not (tmp_path / ".partial").exists()


def test_a_smaller_sample_is_part_of_a_larger_one(tmp_path):
    few, more = (set(sampled(tmp_path, n_others, 1).documents) for n_others in (5, 12))
    assert few < more


def test_a_sample_goes_by_its_seed_and_not_by_the_order_of_documents(tmp_path):
    assert sampled(tmp_path, 5, 1).documents == sampled(tmp_path, 5, 1, streamed=True).documents
    assert sampled(tmp_path, 5, 1, streamed=True).documents != sampled(tmp_path, 5, 2).documents


def test_parts_with_the_same_pages_share_their_place_on_disk(tmp_path):
    whole = part([one_page("a")], {"q": {"a": 1}})
    write_part(whole, tmp_path / "one", ORIGIN)
    two = ORIGIN.model_copy(update={"part": "two"})
    write_part(whole, tmp_path / "two", two, sibling=tmp_path / "one")
    first, second = (tmp_path / name / "docs" / "a.png" for name in ("one", "two"))
    assert first.samefile(second)
    other = part([SetDocument("a", pages=(image_page("a", "other pixels"),))], {"q": {"a": 1}})
    three = ORIGIN.model_copy(update={"part": "three"})
    write_part(other, tmp_path / "three", three, sibling=tmp_path / "one")
    assert not (tmp_path / "three" / "docs" / "a.png").samefile(first)


def test_questions_without_a_grade_are_counted_in_a_note(tmp_path):
    told = write_part(
        part([one_page("a")], {"q": {"a": 1}}, [question("q"), question("r")]),
        tmp_path / "set",
        ORIGIN,
    )
    assert told.origin.notes == ("1 questions have no graded page, and are not counted",)


def test_a_disk_that_takes_nothing_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(BackendError) as caught:
        write_part(part([one_page("a")], {"q": {"a": 1}}), tmp_path / "file" / "set", ORIGIN)
    assert caught.value.code == "not_written"
    assert "kept" not in caught.value.next_step


def test_a_source_that_cannot_be_read_is_told_as_that(tmp_path):
    def gone() -> bytes:
        return (tmp_path / "gone.png").read_bytes()

    documents = [SetDocument("a", pages=(SetPage("a", image=gone),))]
    (tmp_path / "to").mkdir()
    with pytest.raises(BackendError) as caught:
        write_part(part(documents, {"q": {"a": 1}}), tmp_path / "to" / "set", ORIGIN)
    assert caught.value.code == "not_read"
    assert "gone.png" in caught.value.message


def test_a_set_that_is_refused_half_way_leaves_nothing_and_says_so(tmp_path):
    def documents():
        yield one_page("a")
        yield one_page("a")

    for each in (documents(), [one_page("a"), one_page("b", "a")]):
        (left := tmp_path / ".partial" / "set").mkdir(parents=True)  # of a run that was killed
        (left / "dataset.json").write_text(ORIGIN.model_dump_json())
        error = refused(tmp_path, each, {"q": {"a": 1}})
        assert error.next_step.endswith("Nothing of set was kept.")
        assert not (tmp_path / ".partial").exists()


def test_where_the_machine_failed_what_was_written_is_kept_and_that_is_said(tmp_path):
    def full() -> bytes:
        raise OSError(28, "No space left on device")

    documents = [one_page("a"), SetDocument("b", pages=(SetPage("b", image=full),))]
    with pytest.raises(BackendError, match="No space left") as caught:
        write_part(part(documents, {"q": {"a": 1}}), tmp_path / "set", ORIGIN)
    assert caught.value.next_step.endswith("kept: the same command goes on there.")
    assert (tmp_path / ".partial" / "set" / "docs" / "a.png").is_file()
