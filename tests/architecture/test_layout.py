"""The fixed top level (architecture, section 2) and the closed lists below it."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path

import pytest

from tests.architecture.house import ROOT, files, source, text

TOP_LEVEL = {
    "README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "MANIFEST.in", "pyproject.toml", "setup.py",
    "native", "pystream", "benchmarks", "tests", "tools",
}  # fmt: skip
COMMON = {"errors", "error_codes", "model", "config", "clock", "tasks", "metrics", "logging"}
SUITES = {"unit", "integration", "conformance", "fault", "model", "architecture", "fuzz"}
TESTS = SUITES | {"data", "support", "conftest.py", "README.md"}


def test_the_top_level_is_fixed():
    names = {path.parts[0] for path in files("*")}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_the_folders_of_the_tests_are_fixed():
    assert {path.parts[1] for path in source("*", under=("tests",))} <= TESTS


def test_common_is_a_closed_list():
    modules = {path.stem for path in source("*.py", under=("pystream",)) if path.parts[:2] == ("pystream", "common")}
    assert modules - {"__init__"} <= COMMON


def test_nothing_is_called_utils():
    vague = {"utils", "util", "helpers", "helper", "misc"}
    assert [
        path
        for path in source("*.py", "*.pyx", under=("pystream", "native", "tools"))
        if vague & {path.stem, *path.parts}
    ] == []


def hands_names_on(node: ast.stmt) -> bool:
    """What an __init__.py may hold: docstring, import, constant, the root's lazy __getattr__ and __dir__."""
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__getattr__", "__dir__")
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Expr)


@pytest.mark.parametrize("path", source("__init__.py", under=("pystream",)), ids=str)
def test_an_init_module_hands_names_on_and_holds_no_logic(path: Path):
    assert [ast.unparse(node) for node in ast.parse(text(path)).body if not hands_names_on(node)] == []


def test_the_commands_have_their_run_bit():
    commands = [ROOT / "tools/run", ROOT / "tools/test", ROOT / ".ci/run"]
    assert [str(path) for path in commands if not path.stat().st_mode & 0o100] == []


def test_no_contract_of_the_import_linter_makes_an_exception():
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    assert [name for name in contracts.sections() if contracts.has_option(name, "ignore_imports")] == []
