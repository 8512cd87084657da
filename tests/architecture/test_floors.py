"""Contracts that import-linter cannot see: who opens pystream._native, and what guests reach for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.house import source, text

# architecture, section 4; services/sql opens it for its codecs.
OPENERS = (
    "pystream.protocol",
    "pystream.storage",
    "pystream.client",
    "pystream.broker",
    "pystream.services.sql",
    "pystream._native",
)
GUESTS = ("pystream.client", "pystream.services")
INNER_FLOORS = tuple(
    f"pystream.{name}" for name in ("broker", "coordinator", "controller", "replication", "storage", "metadata")
)
# The floor of what is no package of ours: nobody below the command line or a demo needs a terminal.
TERMINAL = ("click", "rich")


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imported(path: Path) -> Iterator[str]:
    """Every module that the file names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports() -> list[tuple[str, str]]:
    """(importer, imported), of the whole package."""
    return [
        (".".join(path.with_suffix("").parts).removesuffix(".__init__"), target)
        for path in source("*.py", "*.pyi", under=("pystream",))
        for target in imported(path)
    ]


def test_only_four_packages_open_the_native_core():
    assert (
        sorted({pair for pair in imports() if within(pair[1], ("pystream._native",)) and not within(pair[0], OPENERS)})
        == []
    )


def test_services_and_the_sdk_stay_guests_of_the_cluster():
    assert sorted({pair for pair in imports() if within(pair[0], GUESTS) and within(pair[1], INNER_FLOORS)}) == []


def test_only_the_command_line_and_demos_draw_on_a_terminal():
    allowed = ("pystream.cli", "pystream.demos", "pystream.testing")
    assert sorted({pair for pair in imports() if within(pair[1], TERMINAL) and not within(pair[0], allowed)}) == []


def test_the_product_never_imports_its_tools():
    outside = ("tools", "tests", "benchmarks", "setup")
    assert sorted({pair for pair in imports() if within(pair[1], outside)}) == []


def test_every_import_is_absolute():
    relative = [
        f"{path}:{node.lineno}"
        for path in source("*.py", under=("pystream",))
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
