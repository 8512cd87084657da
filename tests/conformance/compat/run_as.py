"""Runs a script, or pytest, with another client's name standing for pystream's face of it.

    python run_as.py confluent_kafka script.py ARGUMENTS    confluent_kafka is pystream.compat.confluent_kafka
    python run_as.py kafka script.py ARGUMENTS              kafka is pystream.compat.kafka_python
    python run_as.py kafka --rest FOLDER,protocol -m pytest ARGUMENTS

With --rest, what the face lacks comes from the real package in FOLDER, and the modules named behind it too, which are
imported first: a suite's own helpers, which open the real package's insides, work then. The clients are pystream's all
the same.
"""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

FACES = {"confluent_kafka": "pystream.compat.confluent_kafka", "kafka": "pystream.compat.kafka_python"}


class Alias(MetaPathFinder, Loader):
    """Finds a package and all below it under another name."""

    def __init__(self, package: str, face: str, rest: str) -> None:
        self._package = package
        self._face = face
        self._rest, *self._real = rest.split(",")
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._package and not fullname.startswith(self._package + "."):
            return None
        inner = fullname[len(self._package) :]
        real = any(f"{inner}.".startswith(f".{name}.") for name in self._real)
        found = None if real else self._of_face(inner)
        if found is not None:
            return ModuleSpec(fullname, self, is_package=found.submodule_search_locations is not None)
        if not self._rest:
            return None
        return PathFinder.find_spec(fullname, [str(Path(self._rest, *inner.split(".")[1:-1]))], target)

    def _of_face(self, inner: str) -> ModuleSpec | None:
        try:
            return importlib.util.find_spec(self._face + inner)
        except ModuleNotFoundError:  # its package comes from the rest
            return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._face + spec.name[len(self._package) :])
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It was executed under its own name, whose spec it gets back."""
        for spec in self._specs.values():
            if spec is not None and spec.name == module.__name__:
                module.__spec__ = spec


def main(arguments: list[str]) -> None:
    package, *arguments = arguments
    rest = ""
    if arguments[0] == "--rest":
        _, rest, *arguments = arguments
    sys.meta_path.insert(0, Alias(package, FACES[package], rest))
    for name in rest.split(",")[1:]:
        importlib.import_module(f"{package}.{name}")
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
