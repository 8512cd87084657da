"""Habits that a machine can check: no sleeping tests, no broad excepts, no unfinished marks, nothing of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import ROOT, files, source, text

# What `import pystream` must not bring along: it only shows the SDK, lazily.
HEAVY = {"asyncio", "click", "numpy", "rich", "sqlite3", "ssl", "starlette", "uvicorn", "confluent_kafka"}
IMPORT_MODULES = 60
SELF = Path("tests/architecture/test_habits.py")


def matches(pattern: str, paths: list[Path]) -> list[str]:
    found = re.compile(pattern)
    return [
        f"{path}:{number}: {line.strip()}"
        for path in paths
        if path != SELF
        for number, line in enumerate(text(path).splitlines(), 1)
        if found.search(line)
    ]


def calls_sleep(path: Path) -> list[str]:
    """Lines of a test that call anything named sleep: time's, asyncio's, or one imported bare."""
    return [
        f"{path}:{node.lineno}"
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "sleep"
    ]


def test_no_test_sleeps():
    assert [line for path in source("*.py", under=("tests",)) for line in calls_sleep(path)] == []


def test_nothing_is_swallowed():
    """Bare and broad excepts: only the supervisor catches everything, and it logs and stops the service."""
    broad = []
    for path in source("*.py", under=("pystream",)):
        for node in ast.walk(ast.parse(text(path))):
            if not isinstance(node, ast.ExceptHandler) or path == Path("pystream/common/tasks.py"):
                continue
            caught = "" if node.type is None else ast.unparse(node.type)
            reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if caught in ("", "BaseException", "Exception") and not reraises:
                broad.append(f"{path}:{node.lineno}")
    assert broad == []


def test_nothing_is_left_unfinished():
    marks = r"\b(TODO|FIXME|XXX)\b(?!\s*\(#\d+\))|raise NotImplementedError"
    assert (
        matches(
            marks,
            source("*.py", "*.pyx", "*.pxd", "*.pyi", "*.c", "*.h", under=("pystream", "native", "tools")),
        )
        == []
    )


def test_nothing_names_a_place_on_one_machine():
    written = files("*.py", "*.pyx", "*.pxd", "*.pyi", "*.md", "*.toml", "*.sh", "*.c", "*.h", "*.yaml", "*.json")
    scripts = [path for path in files("tools/*", ".ci/*") if not path.suffix]
    assert matches(r"(^|[^A-Za-z0-9_.])/(work|farm|root)/", written + scripts) == []


def test_logging_is_events_with_fields():
    assert matches(r"\blogger\.\w+\(f[\"']", source("*.py", under=("pystream",))) == []


def test_only_the_command_line_reads_the_environment():
    readers = [path for path in source("*.py", under=("pystream",)) if path.parts[1] not in ("cli", "demos", "testing")]
    assert matches(r"\bos\.(environ|getenv)\b", readers) == []


@pytest.mark.parametrize("statement", ["import pystream", "from pystream.cli.main import main"])
def test_an_import_is_light(statement: str):
    """Module counts, not seconds: they are the same on every machine. The command line may load click."""
    before = "import sys, encodings.utf_8, importlib.machinery, pathlib; before = set(sys.modules)"
    script = f"{before}\n{statement}\nprint('\\n'.join(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in result.stdout.split()}
    allowed = {"click"} if "cli" in statement else set()
    assert loaded & HEAVY <= allowed
    if not allowed:
        assert len(result.stdout.split()) <= IMPORT_MODULES
