"""JSON files that name partitions: {"partitions": [{"topic": "orders", "partition": 0}], "version": 1}."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pystream.cli.kafka.options import Mistake

T = TypeVar("T", str, int)
NAMES = {str: "String", int: "Integer"}


def read(path: str) -> Any:
    """What the file holds; None where it is no JSON. Raises Mistake."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise Mistake(f"Unable to read file {path}") from None
    return parsed(text)


def parsed(text: str) -> Any:
    """What the text holds; None where it is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def field(row: Any, name: str, kind: type[T], called: str | None = None) -> T:
    """A field of an object. Raises Mistake."""
    if not isinstance(row, dict):
        raise Mistake(f"Expected JSON object, received {json.dumps(row, separators=(',', ':'))}")
    if name not in row:
        raise Mistake(f"No such field exists: `{name}`")
    found = row[name]
    if not isinstance(found, kind) or isinstance(found, bool):
        raise Mistake(f"Expected `{called or NAMES[kind]}` value, received {json.dumps(found)}")
    return found


def rows(document: Any, name: str) -> list[Any]:
    """A field that is a list. Raises Mistake."""
    found = document[name]
    if not isinstance(found, list):
        raise Mistake(f"Expected JSON array, received {json.dumps(found)}")
    return found


def repeated(items: Iterable[T]) -> list[T]:
    """What comes more than once."""
    seen: set[T] = set()
    again: dict[T, None] = {}
    for item in items:
        if item in seen:
            again[item] = None
        seen.add(item)
    return list(again)
