"""Brings a copy of the checkout up to date for a build of another kind (sanitizers, fuzzing), without what is built.

    python tools/check/copy_tree.py CHECKOUT COPY [--translated]

A file that has not changed keeps its time in the copy, so that only what changed is translated and compiled again.
--translated takes what Cython made of the bodies along: right when the checkout is built from what it holds now.
"""

from __future__ import annotations

import filecmp
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
FOLDERS = ("native", "pystream", "tests")
BUILT = {".so", ".html", ".pyc"}


def sources(checkout: Path) -> Iterator[Path]:
    """Relative paths of everything that a build or a test reads."""
    for name in FILES:
        if (checkout / name).exists():
            yield Path(name)
    for folder in FOLDERS:
        for path in sorted((checkout / folder).rglob("*")):
            translated = path.suffix == ".c" and path.with_suffix(".pyx").exists()
            if path.is_file() and path.suffix not in BUILT and not translated:
                yield path.relative_to(checkout)


def copy_tree(checkout: Path, copy: Path) -> None:
    wanted = set(sources(checkout))
    for path in wanted:
        copy_changed(checkout / path, copy / path)
    for path in set(sources(copy)) - wanted:
        (copy / path).unlink()


def copy_translated(checkout: Path, copy: Path) -> None:
    """After the sources, so that a translation is newer than what it was made of."""
    for body in sorted((checkout / "native").glob("*.pyx")):
        copy_changed(body.with_suffix(".c"), copy / "native" / f"{body.stem}.c")


def copy_changed(source: Path, target: Path) -> None:
    if not target.exists() or not filecmp.cmp(source, target, shallow=False):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


if __name__ == "__main__":
    copy_tree(Path(sys.argv[1]), Path(sys.argv[2]))
    if "--translated" in sys.argv[3:]:
        copy_translated(Path(sys.argv[1]), Path(sys.argv[2]))
