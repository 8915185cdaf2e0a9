"""`octavo eval compare` on folders of runs."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rag.apps.cli.app import run


def made(folder: Path, values: Sequence[float], *, dataset: str = "tiny") -> str:
    folder.mkdir(parents=True)
    about = {"dataset": dataset, "dataset_digest": f"of {dataset}", "scope": "corpus"}
    head = {**about, "n_questions": len(values)}
    (folder / "measures.json").write_text(json.dumps(head))
    rows = [
        {"id": f"q{number}", "type": "plain", "ms": 3.5, "nDCG@5": value, "R@5": 1.0, "AP": value}
        for number, value in enumerate(values)
    ]
    (folder / "per_query.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(folder)


def test_two_runs_by_chosen_measures_keep_their_shape(tmp_path, capsys):
    folders = [made(tmp_path / "a", [0.1] * 30), made(tmp_path / "b", [0.3] * 30)]
    asked = ["eval", "compare", *folders, "--measure", "AP", "--measure", "R@5", "--json"]
    assert run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["dataset", "scope", "n_questions", "n_resamples", "differences"]
    assert found["n_resamples"] == 10_000
    assert [each["measure"] for each in found["differences"]] == ["AP", "R@5"]
    assert found["differences"][0]["difference"] == pytest.approx(0.2)
    assert run([*asked[:-1], "--baseline", folders[1]]) == 0
    assert "-0.2000" in capsys.readouterr().out


def test_several_runs_are_held_against_the_first(tmp_path, capsys):
    folders = [made(tmp_path / name, [0.1 * at] * 30) for at, name in enumerate("abc")]
    assert run(["eval", "compare", *folders, "--measure", "AP", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["baseline"] == "a"
    gains = [each["differences"][0]["difference"] for each in found["systems"][1:]]
    assert gains == pytest.approx([0.1, 0.2])
    assert run(["eval", "compare", *folders, "--measure", "AP"]) == 0
    assert "differences from a" in capsys.readouterr().out


def test_folders_of_runs_are_compared_over_all_their_datasets(tmp_path, capsys):
    for system, value in (("text", 0.1), ("image", 0.2)):
        for domain in ("crm", "legal"):
            made(tmp_path / system / domain, [value] * 10, dataset=domain)
    folders = [str(tmp_path / "text"), str(tmp_path / "image")]
    assert run(["eval", "compare", *folders, "--measure", "AP"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("crm (10), legal (10) questions, scope corpus")
    assert "AP by dataset" in out


def test_what_cannot_be_compared_is_told_in_one_line(tmp_path, capsys):
    first = made(tmp_path / "a", [0.1, 0.2])
    assert run(["eval", "compare", first]) == 1
    assert capsys.readouterr().err.startswith("error: a comparison wants two runs at least")
    assert run(["eval", "compare", first, str(tmp_path / "absent")]) == 1
    assert "there is no run in" in capsys.readouterr().err
    second = made(tmp_path / "b", [0.1, 0.2])
    assert run(["eval", "compare", first, second]) == 1
    assert "error: no measure 'nDCG@10'" in capsys.readouterr().err
    with_answers = answered(tmp_path / "c", [True])
    assert run(["eval", "compare", first, second, with_answers]) == 1
    assert "is a run of answers, and the other one of searches" in capsys.readouterr().err


def answered(folder: Path, is_right: Sequence[bool], *, pages: str = "searched") -> str:
    folder.mkdir(parents=True)
    about = {"dataset": "tiny", "dataset_digest": "d", "scope": "corpus", "pages": pages}
    head = {**about, "n_questions": len(is_right) + 1}
    (folder / "answer_measures.json").write_text(json.dumps(head))
    rows = [
        {"id": f"q{number}", "kind": "figure", "right": right, "EM": float(right)}
        for number, right in enumerate(is_right)
    ]
    rows.append({"id": "free text", "kind": None})
    (folder / "answers_per_query.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(folder)


def test_several_runs_of_answers_are_compared_on_the_questions_that_count(tmp_path, capsys):
    folders = [
        answered(tmp_path / name, [at > number for number in range(3)])
        for at, name in enumerate("abc")
    ]
    chosen = ["--measure", "right", "--measure", "EM"]
    assert run(["eval", "compare", *folders, *chosen, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["parts"][0]["n_questions"] == 3
    gains = [each["differences"][0]["difference"] for each in found["systems"][1:]]
    assert gains == pytest.approx([1 / 3, 2 / 3])
    assert run(["eval", "compare", *folders[:2], *chosen, "--json"]) == 0
    assert next(iter(json.loads(capsys.readouterr().out))) == "dataset"
    with_gold = answered(tmp_path / "d", [True] * 3, pages="gold")
    assert run(["eval", "compare", *folders, with_gold, *chosen]) == 1
    assert "scope the gold pages given" in capsys.readouterr().err


def test_a_run_of_searches_with_answers_below_it_is_compared_by_what_was_found(tmp_path, capsys):
    folders = [made(tmp_path / name, [0.1, 0.2]) for name in "ab"]
    for folder in folders:
        answered(Path(folder) / "answers", [True])
    assert run(["eval", "compare", *folders, "--measure", "AP", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["measure"] == "AP"
