"""Where a target's inputs are kept: tests/data/fuzz/TARGET.hex, one input a line, few and small."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "data" / "fuzz"
LARGEST = 200
LARGEST_INPUT_BYTES = 1024


class Target(NamedTuple):
    """`check` takes any bytes; what it raises is a bug of ours. `seeds` gives well-formed inputs to start from."""

    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def names() -> list[str]:
    return sorted(path.stem.removeprefix("target_") for path in Path(__file__).parent.glob("target_*.py"))


def load(name: str) -> Target:
    module = importlib.import_module(f"tests.fuzz.target_{name}")
    return Target(module.check, module.seeds)


def read(name: str) -> list[bytes]:
    path = FOLDER / f"{name}.hex"
    return [bytes.fromhex(line) for line in path.read_text().split()] if path.exists() else []


def save(name: str, inputs: list[bytes]) -> int:
    """Keep the smallest of them; returns how many."""
    small = sorted({data for data in inputs if len(data) <= LARGEST_INPUT_BYTES}, key=lambda data: (len(data), data))
    kept = small[:LARGEST]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.hex").write_text("".join(f"{data.hex()}\n" for data in kept if data))
    return len(kept)
