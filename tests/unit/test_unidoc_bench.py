"""UniDoc-Bench as it is hosted: what is read of it, and what is refused."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unidoc_copies import documents, rows, write_copy, write_split

from eval.datasets.pdf_archives import has_pdfs, pdfs_in
from eval.datasets.published import PageName, Wanted
from eval.datasets.unidoc_bench import DOMAINS, SETS, load, pages_named
from rag.errors import BackendError, InputError

THREE = {"expect": "3"}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return write_copy(tmp_path / "UniDoc-Bench")


def finance(folder: Path, **options: str):
    (part,) = load(folder, Wanted(("finance",), {**THREE, **options}))
    return part


# --- names of pages -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "document", "pages"),
    [
        ("images/finance/0002128/0002128_page_0004.png", "0002128", (4,)),
        ("/images/healthcare/1851094/1851094_page_0012.png", "1851094", (12,)),
        ("chunks/0355944_id7_text_pg3_pg5.txt", "0355944", (3, 4, 5)),
        ("0355944_id7_text_pg3.txt", "0355944", (3,)),
        ("0355944_pg9_pg2.txt", "0355944", (9,)),
        ("0355944_id1_pg1_pg4_pg6.txt", "0355944", (4, 5, 6)),
        ("x_pg1_pg1000.txt", "x", tuple(range(1, 1001))),
    ],
)
def test_a_name_tells_its_document_and_pages(path, document, pages):
    assert pages_named(path) == (document, pages)


@pytest.mark.parametrize(
    "path",
    [
        *("images/finance/0002128/cover.png", "x_page_0000.png", ""),
        f"x_page_{'9' * 5000}.png",  # more digits than int() takes
        "x_page_1234567.png",
        "x_pg1234567.txt",
        "x_pg1_pg1001.txt",
        "x_page_٣.png",
    ],
)
def test_a_name_without_a_page_tells_none(path):
    assert pages_named(path) is None


# --- what is read -------------------------------------------------------------------------------
def test_a_domain_has_its_questions_groups_and_gold_pages(copy):
    part = finance(copy)
    assert part.name == "finance"
    assert [query.id for query in part.queries] == ["finance-0001", "finance-0002", "finance-0003"]
    last = part.queries[2]
    assert last.type == "image_plus_text_as_answer"
    assert last.groups == {
        "domain": "finance",
        "question_type": "comparison",
        "answer_type": "image_plus_text_as_answer",
    }
    assert [query.doc for query in part.queries] == ["0000001", "0000003", None]
    assert part.qrels[last.id] == {PageName("0000001", 2): 1, PageName("0000003", 2): 1}
    assert part.notes == ()


def test_the_pool_is_every_pdf_of_the_domain_asked_about_or_not(copy):
    names = [document.name for document in finance(copy).documents]
    assert names == ["0000001", "0000002", "0000003"]


def test_domains_come_in_their_order_and_only_those_wanted(copy):
    parts = load(copy, Wanted(("legal", "finance"), THREE))
    assert [part.name for part in parts] == ["finance", "legal"]
    with pytest.raises(InputError, match="no part 'sports'"):
        list(load(copy, Wanted(("sports",), THREE)))


def test_a_split_over_several_files_is_one_part(copy):
    next((copy / "data").glob("finance-*")).unlink()
    for number, value in enumerate(rows("finance")):
        table = pa.Table.from_pylist([value])
        pq.write_table(table, copy / "data" / f"finance-0000{number}-of-00003.parquet")
    assert [query.text for query in finance(copy).queries] == [
        value["question"] for value in rows("finance")
    ]


# --- what is refused ----------------------------------------------------------------------------
def test_a_split_of_another_size_is_refused_by_name_and_count(copy):
    with pytest.raises(InputError, match=r"split 'finance' has 3 questions, expected 200") as told:
        list(load(copy, Wanted(("finance",))))
    assert "--option expect=any" in told.value.next_step
    assert told.value.code == "question_count"
    (part,) = load(copy, Wanted(("finance",), {"expect": "any"}))
    assert len(part.queries) == 3


@pytest.mark.parametrize("number", ["0", "many", "-3"])
def test_an_expected_number_that_is_none_is_refused(copy, number):
    with pytest.raises(InputError, match="no number of questions"):
        finance(copy, expect=number)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"domain": "legal"}, "field 'domain': wants 'finance', got 'legal'"),
        ({"question": "  "}, "field 'question': is empty"),
        ({"gt_image_paths": []}, "field 'gt_image_paths': is empty"),
        ({"gt_image_paths": ["images/finance/a/cover.png"]}, "names no page"),
        ({"longdoc_image_paths": ["a.png"]}, "field 'longdoc_image_paths': 'a.png' names no page"),
    ],
)
def test_an_ill_field_is_told_by_file_and_row(copy, change, said):
    values = rows("finance")
    values[1] |= change
    path = write_split(copy, "finance", values)
    with pytest.raises(InputError, match="row 2") as told:
        finance(copy)
    assert path.name in told.value.message
    assert said in told.value.message


@pytest.mark.parametrize("name", ["answer", "longdoc_image_paths"])
def test_a_missing_column_is_told(copy, name):
    write_split(
        copy,
        "finance",
        [{k: v for k, v in value.items() if k != name} for value in rows("finance")],
    )
    with pytest.raises(InputError, match=f"field '{name}'"):
        finance(copy)


def test_a_copy_without_a_split_is_told_what_is_missing(copy):
    (copy / "data" / "finance-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"there is no data/finance-\*\.parquet"):
        finance(copy)
    assert [part.name for part in load(copy, Wanted((), THREE))] == ["legal"]
    (copy / "data" / "legal-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"there is no data/<domain>-\*\.parquet in "):
        list(load(copy, Wanted((), THREE)))


@pytest.mark.parametrize("place", [".", "data/QA/filtered"])
def test_the_older_release_is_refused_and_the_hosted_one_named(tmp_path, place):
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "crm.json").write_text("[]")
    with pytest.raises(InputError, match="1,742") as told:
        list(load(tmp_path, Wanted()))
    assert "Salesforce/UniDoc-Bench" in told.value.next_step


def test_the_set_is_listed_with_its_eight_domains_and_licence():
    (info,) = SETS
    assert tuple(info.parts) == DOMAINS
    assert len(DOMAINS) == 8
    assert info.licence == "CC-BY-NC-4.0"


# --- documents as pictures ----------------------------------------------------------------------
def write_pictures(copy: Path, *numbers: int) -> None:
    (copy / "finance" / "0000003.pdf").unlink()
    place = copy / "images" / "finance" / "0000003"
    place.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (place / f"0000003_page_{number:04d}.png").write_bytes(b"picture %d" % number)


def test_a_document_that_is_no_pdf_is_made_of_its_pictures(copy):
    write_pictures(copy, 4, 2, 1, 3)
    documents = {document.name: document for document in finance(copy).documents}
    assert documents["0000002"].path is not None
    pages = documents["0000003"].pages
    assert [page.image() for page in pages] == [b"picture %d" % number for number in range(1, 5)]


@pytest.mark.parametrize("there", [(), (1, 2), (1, 3), (1, 2, 3, 5)])
def test_a_page_that_is_there_neither_way_is_told(copy, there):
    write_pictures(copy, *there)
    with pytest.raises(InputError, match="PDF of document 0000003 in finance, nor a picture"):
        list(finance(copy).documents)


def test_a_document_whose_name_holds_signs_of_a_pattern_has_its_own_pictures(tmp_path):
    copy = tmp_path / "UniDoc-Bench"
    name = "images/finance/a[1]*/a[1]*_page_0001.png"
    row = rows("finance")[0] | {"gt_image_paths": [name], "longdoc_image_paths": [name]}
    write_split(copy, "finance", [row])
    (copy / name).parent.mkdir(parents=True)
    (copy / name).write_bytes(b"picture")
    ((document,),) = ([*finance(copy, expect="1").documents],)
    assert document.name == "a[1]*"
    assert [page.image() for page in document.pages] == [b"picture"]


def test_pictures_alone_are_noted_as_having_no_words(copy):
    for path in (copy / "finance").iterdir():
        path.unlink()
    assert "ocr.mode" in finance(copy).notes[0]


# --- archives -----------------------------------------------------------------------------------
def tar_of(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def names_and_bytes(folder: Path) -> list[tuple[str, bytes]]:
    return [(name, path.read_bytes()) for name, path in pdfs_in(folder, "finance")]


def test_pdfs_come_out_of_an_archive_one_at_a_time_and_nothing_is_left(copy, tmp_path):
    files = [(f"finance/{name}.pdf", pdf) for name, pdf in documents("finance").items()]
    apple = ("finance/._0000001.pdf", b"what a Mac knows")
    folder = tmp_path / "packed"
    folder.mkdir()
    tar_of(folder / "finance_pdfs.tar.gz", apple, *files, ("finance/readme.txt", b"no"))
    assert has_pdfs(folder, "finance")
    seen = []
    for name, path in pdfs_in(folder, "finance"):
        # One at a time, under a name that the archive did not choose.
        assert name not in path.name
        assert [*path.parent.iterdir()] == [path]
        seen.append(path)
    assert names_and_bytes(folder) == [(Path(name).stem, pdf) for name, pdf in files]
    assert not any(path.parent.exists() for path in seen)
    assert [path.name for path in folder.iterdir()] == ["finance_pdfs.tar.gz"]


def test_zip_archives_and_unpacked_folders_are_read_alike(tmp_path):
    with zipfile.ZipFile(tmp_path / "finance.zip", "w") as zipped:
        zipped.writestr("a/1.pdf", b"one")
    assert names_and_bytes(tmp_path) == [("1", b"one")]
    unpacked = tmp_path / "finance_pdfs" / "deeper"
    unpacked.mkdir(parents=True)
    (unpacked / "2.PDF").write_bytes(b"two")
    (unpacked / "._2.PDF").write_bytes(b"mac")
    assert names_and_bytes(tmp_path) == [("2", b"two")]


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (link("finance/1.pdf", tarfile.SYMTYPE), "is a link"),
        (link("finance/1.pdf", tarfile.LNKTYPE), "is a link"),
        (link("finance/1.pdf", tarfile.FIFOTYPE), "is a link or a device"),
        (("../1.pdf", b"x"), "leads out"),
        (("/tmp/1.pdf", b"x"), "leads out"),
        (("finance\\..\\..\\1.pdf", b"x"), "leads out"),
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path, member, said):
    tar_of(tmp_path / "finance_pdfs.tar.gz", member)
    with pytest.raises(InputError, match=said) as told:
        names_and_bytes(tmp_path)
    assert told.value.code == "dataset_archive"


def test_a_zip_with_a_link_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "finance.zip", "w") as zipped:
        info = zipfile.ZipInfo("1.pdf")
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="is a link"):
        names_and_bytes(tmp_path)


def test_names_of_any_length_or_system_are_read_and_written_nowhere(tmp_path):
    odd = "x" * 300
    tar_of(tmp_path / "finance_pdfs.tar.gz", (f"{odd}.pdf", b"one"), ("a\\b\\2.pdf", b"two"))
    assert names_and_bytes(tmp_path) == [(odd, b"one"), ("2", b"two")]


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in members:
            zipped.writestr(name, data)
    return path


TWICE = (("a/1.pdf", b"one"), ("b/1.pdf", b"two"))


def unpacked_of(folder: Path, *members: tuple[str, bytes]) -> Path:
    for name, data in members:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("made", "name"),
    [(tar_of, "finance.tar"), (zip_of, "finance.zip"), (unpacked_of, "finance_pdfs")],
)
def test_two_documents_of_one_name_are_refused_and_not_one_of_them_left_out(tmp_path, made, name):
    if made is tar_of:
        with tarfile.open(tmp_path / name, "w") as tar:
            for member, data in TWICE:
                info = tarfile.TarInfo(member)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    else:
        made(tmp_path / name, *TWICE)
    with pytest.raises(InputError, match=r"two PDFs 1\.pdf of finance") as told:
        names_and_bytes(tmp_path)
    assert told.value.code == "dataset_archive"


@pytest.mark.parametrize("name", ["a\udcff.pdf", "a\nb.pdf", "a\tb.pdf"])
def test_a_name_that_no_file_of_a_dataset_can_hold_is_refused(tmp_path, name):
    tar_of(tmp_path / "finance_pdfs.tar.gz", (name, b"x"))
    with pytest.raises(InputError, match="cannot be written") as told:
        names_and_bytes(tmp_path)
    assert told.value.code == "dataset_archive"


def test_a_member_that_says_it_is_beyond_200_mb_is_refused_unread(tmp_path):
    info = tarfile.TarInfo("finance/1.pdf")
    info.size = 200_000_001
    (tmp_path / "finance_pdfs.tar").write_bytes(info.tobuf())
    with pytest.raises(InputError, match="beyond 200 MB") as told:
        names_and_bytes(tmp_path)
    assert "unpacked beside itself by hand" in told.value.next_step


@pytest.mark.parametrize("made", [tar_of, zip_of])
def test_an_archive_that_unpacks_to_more_than_a_limit_is_refused(tmp_path, monkeypatch, made):
    name = "finance.zip" if made is zip_of else "finance.tgz"
    made(tmp_path / name, ("1.pdf", b"x" * 60), ("readme", b"x" * 60))
    assert len(names_and_bytes(tmp_path)) == 1
    monkeypatch.setattr("eval.datasets.pdf_archives.MOST_UNPACKED_BYTES", 100)
    with pytest.raises(InputError, match="more than 1e-07 GB"):
        names_and_bytes(tmp_path)


def test_bytes_are_counted_while_they_are_unpacked_whatever_a_header_says(tmp_path, monkeypatch):
    tar_of(tmp_path / "finance.tgz", ("1.pdf", b"x" * 60))
    monkeypatch.setattr("eval.datasets.pdf_archives._Limits.check", lambda *_, **_kw: None)
    monkeypatch.setattr("eval.datasets.pdf_archives.LARGEST_PDF_BYTES", 59)
    with pytest.raises(InputError, match=r"'1\.pdf' is beyond"):
        names_and_bytes(tmp_path)


def test_a_pdf_that_there_is_no_room_for_is_told_before_it_is_unpacked(tmp_path, monkeypatch):
    tar_of(tmp_path / "finance.tgz", ("1.pdf", b"x" * 60))
    usage = shutil.disk_usage(tmp_path)._replace(free=59)
    monkeypatch.setattr("eval.datasets.pdf_archives.shutil.disk_usage", lambda _folder: usage)
    with pytest.raises(BackendError, match="cannot be unpacked: it has 0 MB"):
        names_and_bytes(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_says_it_has_gigabytes_is_refused_and_not_read(tmp_path, kind):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, 1 << 26
    (tmp_path / "finance.tgz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 26), 1))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="a header in it is beyond 1 MB") as told:
            names_and_bytes(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert told.value.code == "dataset_archive"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_read_however_it_was_compressed(tmp_path, mode):
    with tarfile.open(tmp_path / "finance.tar", mode) as tar:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.pdf")
            info.size = 512 * number + 1
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    assert [len(data) for _name, data in names_and_bytes(tmp_path)] == [1, 513, 1025]


def test_a_zip_whose_bytes_are_not_what_was_packed_is_told(tmp_path):
    archive = zip_of(tmp_path / "finance.zip", ("1.pdf", bytes(range(256)) * 4))
    data = bytearray(archive.read_bytes())
    data[35:60] = b"\xff" * 25  # behind the header and the name: what is deflated
    archive.write_bytes(data)
    with pytest.raises(InputError, match=r"finance\.zip cannot be read"):
        names_and_bytes(tmp_path)


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path, monkeypatch):
    tar_of(tmp_path / "finance_pdfs.tar.gz", ("1.pdf", b"one"))
    monkeypatch.setattr("eval.datasets.pdf_archives._UNPACKED", "/dev/full")
    with pytest.raises(BackendError, match="No space left") as told:
        names_and_bytes(tmp_path)
    assert "TMPDIR" in told.value.next_step


@pytest.mark.parametrize("name", ["finance_pdfs.tar.gz", "finance.zip"])
def test_an_archive_that_was_cut_off_is_told(tmp_path, name):
    tar_of(tmp_path / name, ("1.pdf", bytes(range(256)) * 400))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        names_and_bytes(tmp_path)
