"""The files around the code: settings, the compose file, hooks, the sample report, the README."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pypdfium2
import pytest
import yaml

from rag.apps.cli.app import app
from rag.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
# sweep.toml has a table of settings a row, and a test of its own.
CONFIGS = sorted(set((ROOT / "configs").glob("*.toml")) - {ROOT / "configs" / "sweep.toml"})


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_each_settings_file_loads_and_says_what_it_is_for(config):
    assert isinstance(load_settings(config, environ={}), Settings)
    assert config.read_text().startswith("# ")


def test_there_is_a_settings_file_for_each_place_to_run():
    places = ["chat", "cluster", "cpu-vision", "embedded", "gpu", "server"]
    assert [path.stem for path in CONFIGS] == places


def test_the_embedded_settings_file_writes_out_the_defaults():
    assert load_settings(ROOT / "configs" / "embedded.toml", environ={}) == Settings()


def test_the_qdrant_server_is_reachable_from_this_machine_only_and_wants_a_key():
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["qdrant"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["environment"]["QDRANT__SERVICE__API_KEY"].startswith("${QDRANT_API_KEY:?")
    assert service["volumes"]
    assert service["healthcheck"]["test"]
    assert not service["image"].endswith((":latest", "qdrant"))


def test_commit_hooks_run_the_same_tools_as_make_test_without_the_network():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text()
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        assert hook["entry"].replace(".venv/bin", "$(BIN)") in makefile


def sample_words(path: Path) -> list[str]:
    with pypdfium2.PdfDocument(path) as report:
        return [" ".join(page.get_textpage().get_text_bounded().split()) for page in report]


def test_the_sample_report_has_prose_a_table_a_chart_and_an_outlook_as_text():
    prose, table, chart, outlook = sample_words(ROOT / "examples" / "sample-report.pdf")
    assert "Revenue rose by 23.0 percent to EUR 325.0 million" in prose
    assert "Celtic Sea 64.2 71.8 90.3" in table
    assert "Electricity delivered per quarter, GWh" in chart
    assert "revenue between EUR 350 million and EUR 370 million" in outlook
    assert (ROOT / "examples" / "sample-report.pdf").stat().st_size < 100_000


def test_the_figures_of_the_sample_report_add_up():
    _, table, *_ = sample_words(ROOT / "examples" / "sample-report.pdf")
    rows = [
        [float(value) for value in re.search(rf"{name} ([\d.]+) ([\d.]+) ([\d.]+)", table).groups()]
        for name in ("North Sea", "Celtic Sea", "Bay of Biscay", "Atlantic Canada", "Total")
    ]
    assert [round(sum(column), 1) for column in zip(*rows[:-1], strict=True)] == rows[-1]


def test_the_sample_report_is_what_its_script_draws(tmp_path):
    pytest.importorskip("pymupdf", reason="the script draws with PyMuPDF, an optional extra")
    again = tmp_path / "again.pdf"
    script = ROOT / "scripts" / "make_sample_report.py"
    subprocess.run([os.sys.executable, script, again], check=True, stdout=subprocess.DEVNULL)
    assert sample_words(again) == sample_words(ROOT / "examples" / "sample-report.pdf")


def shown_commands() -> list[str]:
    """The command lines in the README's shell blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_command_in_the_readme_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    families = (app.registered_commands, app.registered_groups)
    commands = {command.name for family in families for command in family}
    shown = re.findall(r"\b(?<!octavo eval )(make|octavo) ([a-z-]+)", "\n".join(shown_commands()))
    assert {"make", "octavo"} == {program for program, _ in shown}
    for program, name in shown:
        assert name in (targets if program == "make" else commands), f"{program} {name}"


def test_every_file_the_documents_name_exists():
    for document in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name}: {link}"
        for path in re.findall(
            r"`((?:configs|docs|scripts|tests)/[^`{}*]+)`", document.read_text()
        ):
            assert (ROOT / path).exists(), f"{document.name}: {path}"
