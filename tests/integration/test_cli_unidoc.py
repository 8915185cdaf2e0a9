"""`octavo eval unidoc` and `text-vs-image` over tiny sets, as their users run them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Commands, talk_to
from unidoc_copies import DOMAINS, write_copy

from eval.datasets.folder import dataset_folders
from rag.apps.cli.app import run
from rag.apps.cli.evaluation.arm_runs import parts_of
from rag.errors import InputError

PLACES = "custom:place_encoders:places"
ENCODERS = ("--image-encoder", PLACES, "--joint-encoder", "custom:place_encoders:place_vectors")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unidoc")
    write_copy(folder / "copy")
    return folder


@pytest.fixture(scope="module")
def octavo(world) -> Commands:
    return Commands(world / "data", "--set", "render.workers=1")


@pytest.fixture(scope="module")
def asked(world, octavo) -> dict[str, Any]:
    """All paradigms, with answers."""
    return octavo(*command(world, "all"), *ENCODERS, "--answers")


def command(world: Path, out: str, *domains: str, to: str = "sets") -> list[str]:
    named = [flag for name in domains or DOMAINS for flag in ("--domain", name)]
    folders = ["--to", str(world / to), "--out", str(world / out)]
    return ["eval", "unidoc", str(world / "copy"), "--expect", "3", *named, *folders]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


# --- what it tells ------------------------------------------------------------------------------
# Reckoned by hand, a domain: words find the two pages asked for first, and ten pages without a bar;
# a bar is found first where it is asked for, and three pages have one. nDCG of one of two gold
# pages, at the first place, is 1 / (1 + .6309) = .6131. Fused pages stand text, image, text, ...:
# the bar of the second question is second (1 / log2(3) = .6309), those of the third are first and
# second.
BY_HAND = {
    "text": {"R@10": 0.5, "P@10": 0.2 / 3, "nDCG@10": 1.6131 / 3, "unidoc_P@10": 0.2 / 3},
    "image": {"R@10": 0.5, "P@10": 0.2 / 3, "nDCG@10": 1.6131 / 3, "unidoc_P@10": 2 / 9},
    "fusion": {"R@10": 1.0, "P@10": 0.4 / 3, "nDCG@10": 2.6309 / 3, "unidoc_P@10": 4 / 24},
    "joint": {"R@10": 0.5, "P@10": 0.2 / 3, "nDCG@10": 1.6131 / 3, "unidoc_P@10": 2 / 9},
}


@pytest.mark.parametrize("paradigm", BY_HAND)
def test_figures_are_those_reckoned_by_hand_in_the_mean_and_in_each_domain(asked, paradigm):
    arm = asked["arms"][paradigm]
    for found in (arm["macro"], *(arm["by_part"][domain] for domain in DOMAINS)):
        for name, value in BY_HAND[paradigm].items():
            assert found[name] == pytest.approx(value, abs=1e-4), name
    assert arm["n"] == 6


def test_their_ndcg_of_the_fused_pages_goes_by_text_first_and_then_image(asked):
    # Bars are sixth of eight: 1 / log2(7) = .3562; the third question, found first and sixth,
    # has 1.3562 of 1.6309.
    found = asked["arms"]["fusion"]["macro"]["unidoc_ndcg@10"]
    assert found == pytest.approx((1 + 0.3562 + 1.3562 / 1.6309) / 3, abs=1e-4)


def test_figures_go_by_answer_type_and_question_type(asked):
    by_answer = {name: arm["by_answer_type"] for name, arm in asked["arms"].items()}
    assert by_answer["text"]["image_only"]["R@10"] == 0
    assert by_answer["image"]["text_only"]["R@10"] == 0
    assert by_answer["fusion"]["image_plus_text_as_answer"]["R@10"] == 1
    assert asked["arms"]["image"]["by_question_type"]["comparison"] == pytest.approx(
        asked["arms"]["image"]["by_question_type"]["comparison"] | {"n": 4, "R@10": 0.75}
    )


def test_every_two_paradigms_are_compared(asked):
    assert len(asked["comparisons"]) == 6
    measures = {each["measure"] for pair in asked["comparisons"] for each in pair["differences"]}
    assert measures == {"R@10", "nDCG@10", "unidoc_P@10"}


def test_every_paradigm_and_domain_has_a_run_folder_and_its_index(asked, world):
    for paradigm, arm in asked["arms"].items():
        for domain in DOMAINS:
            folder = world / "all" / paradigm / domain
            assert {"run.tsv", "per_query.jsonl", "questions.jsonl", "answers.jsonl"} <= {
                path.name for path in folder.iterdir()
            }
            measures = json.loads((folder / "measures.json").read_text())
            assert measures["measures"]["R@10"] == arm["by_part"][domain]["R@10"]
    collections = {
        arm["indexes"][domain]["collection"]
        for name, arm in asked["arms"].items()
        if name != "fusion"
        for domain in DOMAINS
    }
    assert len(collections) == 6
    told = json.loads((world / "all" / "paradigms.json").read_text())
    assert told["arms"] == asked["arms"]
    assert told["origins"]["legal"]["licence"] == "CC-BY-NC-4.0"
    assert told["origins"]["legal"]["revision"].startswith("sha256:")


def test_answers_are_measured_and_what_the_model_does_not_read_is_told(asked):
    macro = asked["arms"]["fusion"]["answers"]["macro"]
    assert {"EM", "F1", "ANLS", "page_precision", "page_recall"} <= macro.keys()
    assert "extractive" in asked["answers_degraded"][0]


def test_the_text_table_sets_the_paradigms_beside_each_other(asked, world):
    text = (world / "all" / "paradigms.txt").read_text()
    assert "R@10 by answer type" in text
    assert "fusion - text" in text
    assert "2 parts" in text
    assert "one vector a page, where custom gives one" in text  # nobody looked whether it does


def test_a_prepared_folder_gives_the_same_figures(asked, world, octavo):
    found = octavo(
        *("eval", "unidoc", str(world / "sets"), "--domain", "legal", *ENCODERS),
        *("--out", str(world / "prepared"), "--paradigms", "image"),
    )
    ours = asked["arms"]["image"]["by_part"]["legal"]
    assert list(found["arms"]) == ["image"]
    assert found["arms"]["image"]["by_part"] == {"legal": ours}


def test_what_lacks_its_encoder_is_left_out_only_where_that_is_asked_for(world, octavo):
    flags = ("--limit", "1", "--workers", "2", "--skip-missing")
    found = octavo(*command(world, "skipped", "finance"), *flags)
    assert list(found["arms"]) == ["text"]
    assert found["arms"]["text"]["n"] == 1
    assert set(found["left_out"]) == {"image", "fusion", "joint"}


# --- after a kill -------------------------------------------------------------------------------
def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_figures(
    asked, world, octavo, monkeypatch
):
    tests = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", tests)
    arguments = [
        *command(world, "killed", "finance"),
        *("--image-encoder", "custom:place_encoders:slow_places"),
        *("--paradigms", "text,image,fusion"),
    ]
    journal = world / "killed" / "image" / "finance" / "answered.jsonl"
    with octavo.started(*arguments) as running:
        deadline = time.monotonic() + 60
        while not (journal.exists() and len(lines(journal)) >= 2):
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(running.pid, signal.SIGKILL)
    asked_before = lines(journal)
    assert not (journal.parent / "run.tsv").exists()
    text_before = (world / "killed" / "text" / "finance" / "answered.jsonl").read_bytes()
    found = octavo(*arguments)
    whole = [line for line in asked_before[1:] if line.endswith("}")]
    assert lines(journal)[1 : 1 + len(whole)] == whole
    assert (world / "killed" / "text" / "finance" / "answered.jsonl").read_bytes() == text_before
    for name in ("text", "image", "fusion"):
        assert found["arms"][name]["by_part"] == {
            "finance": asked["arms"][name]["by_part"]["finance"]
        }


# --- what is refused ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--paradigms", "image"), "image has no encoder"),
        (("--paradigms", "fusion"), "Give it with --image-encoder"),
        ((), "--skip-missing"),
        (("--paradigms", "audio"), "There are all, text, image"),
        (("--k", "7", "--paradigms", "text"), "not told at 7"),
        (("--image-encoder", "crayon", "--paradigms", "image"), "--image-encoder"),
        (("--image-encoder", "words", "--paradigms", "image"), "looks at no picture"),
        (("--joint-encoder", "words", "--paradigms", "joint"), "looks at no picture"),
        (("--joint-encoder", "colpali:x", "--paradigms", "joint"), "many vectors of a page"),
        (("--encoder", "colpali:x", "--paradigms", "text"), "reads no words"),
        (("-c", "mine", "--paradigms", "text"), "name their collections themselves"),
    ],
)
def test_a_mistake_of_flags_is_told_before_anything_is_done(world, octavo, flags, said):
    code, printed = octavo.outcome(*command(world, "refused"), *flags)
    assert code == 2, printed
    assert said in printed.replace("\\n", " ")
    assert not (world / "refused").exists()


def test_a_split_of_another_size_is_an_error(world, octavo):
    copy = str(world / "copy")
    to = ("--to", str(world / "other"), "--out", str(world / "refused"))
    error = octavo.refused("eval", "unidoc", copy, "--paradigms", "text", "--domain", "legal", *to)
    assert "split 'legal' has 3 questions, expected 200" in error["message"]
    assert error["next_step"].startswith("The published revision has 200 a domain. Another one is ")
    assert "with --expect any." in error["next_step"]


@pytest.mark.parametrize("of", ["copy", "sets"])
def test_a_domain_that_is_not_there_is_told_before_anything_about_encoders(
    asked, world, octavo, of
):
    assert asked["arms"]  # the folders were made then
    to = ("--to", str(world / "other"), "--out", str(world / "refused"))
    error = octavo.refused("eval", "unidoc", str(world / of), "--domain", "sports", *to)
    assert "no part 'sports'" in error["message"]
    assert "finance, " in error["next_step"]


@pytest.mark.parametrize(
    ("made", "said"), [(False, "there is no folder {}"), (True, "the folder {} is empty")]
)
def test_a_folder_without_a_copy_is_told_before_anything_about_encoders(
    tmp_path, octavo, made, said
):
    folder = tmp_path / "none"
    if made:
        folder.mkdir()
    error = octavo.refused("eval", "unidoc", str(folder), "--out", str(tmp_path / "refused"))
    assert error["message"] == said.format(folder)
    assert not (tmp_path / "refused").exists()


def test_domains_that_the_copy_has_not_are_told_beside_the_figures(world, octavo):
    flags = ("--limit", "1", "--paradigms", "text", "--expect", "3")
    to = ("--to", str(world / "sets"), "--out", str(world / "some"))
    found = octavo("eval", "unidoc", str(world / "copy"), *flags, *to)
    assert list(found["arms"]["text"]["by_part"]) == list(DOMAINS)
    assert found["parts_missing"][0] == "commerce_manufacturing"
    assert len(found["parts_missing"]) == 6
    told = (world / "some" / "paradigms.txt").read_text(encoding="utf-8")
    assert "missing    not in this copy: commerce_manufacturing, construction, crm," in told


@pytest.fixture
def folder_of_parts(world, asked, tmp_path) -> Path:
    """Two dataset folders that say they are the same part."""
    assert asked["arms"]  # the folders were made then
    for name in ("first", "second"):
        shutil.copytree(world / "sets" / "unidoc-bench-legal", tmp_path / "parts" / name)
    return tmp_path / "parts"


def test_two_folders_of_one_part_are_refused_and_not_one_of_them_left_out(folder_of_parts):
    with pytest.raises(InputError, match="first and second are both the part 'legal'"):
        parts_of(dataset_folders(folder_of_parts))


@pytest.mark.parametrize("part", ["../../out", "a/b", "a\\b", "/out", "..", "x" * 101, "a\nb"])
def test_a_part_that_is_no_name_of_a_folder_is_named_after_its_own(folder_of_parts, part):
    place = folder_of_parts / "first" / "dataset.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"part": part}))
    assert list(parts_of(dataset_folders(folder_of_parts))) == ["first", "legal"]


# --- what answers are made from -----------------------------------------------------------------
class FakeOctavo:
    """Finds a.pdf by words and b.pdf by pictures, and remembers what it answered from."""

    def __init__(self) -> None:
        self.answered: list[dict[str, Any]] = []
        self.ingested: list[str] = []
        self.finds = True

    def ingest(self, *, collection: str, **_: Any) -> dict[str, Any]:
        self.ingested.append(collection)
        return {"documents": {"indexed": 1}, "encoder": "fake@1", "warnings": []}

    def list_documents(self, **_: Any) -> dict[str, Any]:
        read = {"pages": 9, "failed_pages": [], "error": None}
        names = ("a.pdf", "b.pdf")
        return {"documents": [{"document_id": name, "source": name, **read} for name in names]}

    def collections(self, *, only: str) -> dict[str, Any]:
        index = {"documents": 1, "pages": 9, "size_bytes": 9, "identity": {}, "encoder": "fake@1"}
        return {"collections": [{"name": only, **index}]}

    def search(self, *, mode: str, **_: Any) -> dict[str, Any]:
        if not self.finds:
            return {"hits": []}
        source = "a.pdf" if mode == "hybrid" else "b.pdf"
        pages = range(1, 10)
        return {"hits": [{"source": source, "page_number": n, "score": -n} for n in pages]}

    def ask(self, **asked: Any) -> dict[str, Any]:
        self.answered.append(asked)
        return {"answer": "", "abstained": True, "citations": [], "confidence": 0.0, "pages": []}


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "tiny"
    (folder / "docs").mkdir(parents=True)
    for name in ("a.pdf", "b.pdf"):
        (folder / "docs" / name).write_bytes(b"%PDF-1.4 " + name.encode())
    question = {"id": "q1", "text": "What?", "answer": "x", "type": "text"}
    (folder / "queries.jsonl").write_text(json.dumps(question) + "\n")
    (folder / "qrels.tsv").write_text("query_id\tdoc\tpage\trelevance\nq1\tb.pdf\t2\t1\n")
    monkeypatch.setattr(
        "eval.tuning.sweep_plan.collection_name",
        lambda name, settings: f"eval-{name}" + "-image" * (settings.encoder.name == "custom"),
    )
    return folder


def test_answers_are_made_from_the_pages_each_arm_found_as_its_evidence(
    tiny, tmp_path, monkeypatch
):
    fake = FakeOctavo()
    talk_to(monkeypatch, fake)
    flags = ("--image-encoder", PLACES, "--answers", "--out", str(tmp_path / "out"), "--json")
    assert run(["eval", "text-vs-image", str(tiny), *flags]) == 0
    given = {
        asked["answering"]["evidence"]: [tuple(page) for page in asked["from_pages"]]
        for asked in fake.answered
    }
    assert given == {
        "text": [("a.pdf", n) for n in range(1, 6)],
        "image": [("b.pdf", n) for n in range(1, 6)],
        "both": [("a.pdf", 1), ("a.pdf", 2), ("a.pdf", 3), ("b.pdf", 1), ("b.pdf", 2)],
    }
    # The folder of the last search is open then; words answer for fusion too, in theirs.
    assert [asked["answering"]["evidence"] for asked in fake.answered] == ["image", "text", "both"]
    assert fake.ingested == ["eval-tiny", "eval-tiny-image"]  # and not again for the answers
    assert {asked["answering"]["image_pages"] for asked in fake.answered} == {5}
    assert {asked["answering"]["min_confidence"] for asked in fake.answered} == {0.45}


def test_a_question_that_nothing_was_found_for_is_not_searched_again(tiny, tmp_path, monkeypatch):
    fake = FakeOctavo()
    fake.finds = False
    talk_to(monkeypatch, fake)
    flags = ("--image-encoder", PLACES, "--answers", "--out", str(tmp_path / "out"), "--json")
    assert run(["eval", "text-vs-image", str(tiny), *flags]) == 0
    assert len(fake.answered) == 3
    # No document has this page, so that none is found.
    assert all(asked["pages"] == [999_999_999] * 2 for asked in fake.answered)
    assert not any("from_pages" in asked for asked in fake.answered)


# --- text against pictures ----------------------------------------------------------------------
def test_text_pictures_and_both_are_compared_at_five(world, octavo, asked):
    folder = world / "sets" / "unidoc-bench-finance"
    assert asked["dataset_digests"]["finance"]  # it was made of the copy then
    found = octavo(
        *("eval", "text-vs-image", str(folder), "--image-encoder", PLACES),
        *("--out", str(world / "tvi")),
    )
    assert found["measures"] == ["P@5", "R@5", "AP@5", "nDCG@5"]
    assert found["k"] == 5
    macro = {name: arm["macro"] for name, arm in found["arms"].items()}
    # Three of words and two of bars: all gold pages are among them.
    assert macro["fusion"]["R@5"] == 1
    assert macro["text"]["R@5"] == macro["image"]["R@5"] == 0.5
    assert macro["fusion"]["P@5"] == pytest.approx((0.2 + 0.2 + 0.4) / 3)
    assert macro["image"]["AP@5"] == pytest.approx((0 + 1 + 0.5) / 3)
    assert len(found["comparisons"]) == 3
    assert (world / "tvi" / "text-vs-image.txt").is_file()


def test_descriptions_want_a_chat_model(world, octavo):
    code, printed = octavo.outcome(
        *("eval", "text-vs-image", str(world / "sets"), "--image-encoder", PLACES, "--captions"),
        *("--out", str(world / "refused")),
    )
    assert code == 2
    assert "chat.model is not set" in printed


# --- a dataset that moved -----------------------------------------------------------------------
def test_a_dataset_that_moved_is_not_found_twice(world, octavo, asked):
    found = octavo(
        *command(world, "after", "finance", to="moved"),
        *("--paradigms", "image", "--image-encoder", PLACES),
    )
    ours, theirs = found["arms"]["image"], asked["arms"]["image"]
    assert ours["by_part"]["finance"] == theirs["by_part"]["finance"]
    assert found["arms"]["image"]["indexes"]["finance"]["documents"] == 3
