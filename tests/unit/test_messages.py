"""What messages tell people to type must exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import typer

from rag.apps.cli.app import app

ROOT = Path(__file__).parents[2]
OTHER_PROGRAMS = r"`(docker|pip) [^`]*`|pip install [^`]*"
# The benchmarks are a command line of their own, and name its contenders "octavo int8".
FILES = [
    file
    for package in ("rag", "ingestion", "eval")
    for file in (ROOT / package).rglob("*.py")
    if file.parent != ROOT / "eval" / "bench"
]


def texts(tree: ast.AST) -> Iterator[str]:
    """The strings of some code; docstrings, which stand alone as expressions, are left out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            continue
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                yield child.value


def next_steps(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "next_step":
            yield from texts(node)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "next_step":
                    yield from texts(ast.keyword("next_step", value))


def test_every_command_that_a_message_names_exists():
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    named = {
        (file.name, command)
        for file in FILES
        for text in texts(ast.parse(file.read_text(encoding="utf-8")))
        # "the octavo cache folder" is a folder's name.
        for command in re.findall(r"(?<!the )\boctavo ([a-z]+)", text)
    }
    assert {"list", "doctor", "ingest"} <= {command for _, command in named}
    assert {found for found in named if found[1] not in known} == set()


def test_every_flag_that_a_next_step_names_exists():
    commands = list(typer.main.get_command(app).commands.values())
    for group in list(commands):
        commands.extend(getattr(group, "commands", {}).values())
    known = {
        flag for command in commands for parameter in command.params for flag in parameter.opts
    }
    named = {
        (file.name, flag)
        for file in FILES
        for text in next_steps(ast.parse(file.read_text(encoding="utf-8")))
        for flag in re.findall(r"--[a-z][a-z-]+", re.sub(OTHER_PROGRAMS, "", text))
    }
    assert ("ownership.py", "--data-dir") in named
    assert {found for found in named if found[1] not in known} == set()
