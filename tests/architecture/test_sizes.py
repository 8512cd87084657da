"""Sizes of architecture section 8: files, functions, folders, READMEs."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.house import CATALOGUES, files, is_generated, source, text

PYTHON_FILE_LINES = 600
CYTHON_FILE_LINES = 700
FUNCTION_LINES = 60
FOLDER_MODULES = 15
README_LINES = 40
SETUP_LINES = 100
STUB_COLUMNS = 140

CYTHON_FUNCTION = re.compile(
    r"(?P<indent>[ \t]*)(?:async\s+def|def|cpdef|cdef)\b(?!\s+(?:class|struct|enum|union|extern|packed)\b)"
)


def python_functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def cython_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Functions of a .pyx: the head runs to a colon outside brackets, the body as long as it is indented deeper."""
    lines = text(path).splitlines()
    for start, line in enumerate(lines):
        match = CYTHON_FUNCTION.match(line)
        if match is None or "(" not in line:
            continue
        end, depth = start, 0
        while end < len(lines):
            code = lines[end].split("#")[0]
            depth += code.count("(") + code.count("[") - code.count(")") - code.count("]")
            if depth == 0:
                break
            end += 1
        if end == len(lines) or not lines[end].split("#")[0].rstrip().endswith(":"):
            continue  # a declaration, or a call assigned to a cdef variable
        last = end
        for number in range(end + 1, len(lines)):
            stripped = lines[number].strip()
            if stripped and len(lines[number]) - len(lines[number].lstrip()) <= len(match["indent"]):
                break
            if stripped:
                last = number
        yield f"{path}:{start + 1}", last - start + 1


def test_no_file_is_longer_than_the_house_allows():
    limits = {".py": PYTHON_FILE_LINES, ".pyx": CYTHON_FILE_LINES, ".pxd": CYTHON_FILE_LINES, ".c": CYTHON_FILE_LINES}
    long = {
        str(path): count
        for path in files("*.py", "*.pyx", "*.pxd", "*.c")
        if (count := text(path).count("\n")) > limits[path.suffix] and not is_generated(path)
    }
    assert long == {}


def test_no_function_is_longer_than_a_screen():
    functions = [found for path in files("*.py") if not is_generated(path) for found in python_functions(path)]
    functions += [found for path in files("*.pyx") for found in cython_functions(path)]
    assert {name: lines for name, lines in functions if lines > FUNCTION_LINES} == {}


def test_no_folder_holds_more_modules_than_one_can_overlook():
    count = Counter(
        path.parent
        for path in source("*.py", under=("pystream",))
        if path.name != "__init__.py" and path.parent.name not in CATALOGUES
    )
    assert {str(folder): modules for folder, modules in count.items() if modules > FOLDER_MODULES} == {}


def test_every_package_has_a_short_readme():
    packages = {path.parent for path in source("__init__.py", under=("pystream",)) if len(path.parts) == 3}
    lines = {
        str(package): text(package / "README.md").count("\n")
        for package in packages
        if package / "README.md" in files("README.md")
    }
    assert sorted(str(package) for package in packages if str(package) not in lines) == []
    assert {package: count for package, count in lines.items() if count > README_LINES} == {}


def test_no_line_of_a_stub_is_wider_than_the_body_it_stands_for():
    wide = [
        f"{path}:{number}"
        for path in files("pystream/_native/*.pyi")
        for number, line in enumerate(text(path).splitlines(), 1)
        if len(line) > STUB_COLUMNS
    ]
    assert wide == []


def test_setup_py_stays_small():
    assert text(Path("setup.py")).count("\n") < SETUP_LINES
