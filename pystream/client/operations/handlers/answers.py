"""From the results of the admin client to what an operation gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pystream.client.operations.declaration import Answer, Failure
from pystream.common.errors import InvalidRequest, PystreamError

K = TypeVar("K")
V = TypeVar("V")


def answer(results: Mapping[K, V | PystreamError], make: Callable[[K, V], Any]) -> Answer:
    """A row for each item that has a result, a failure for each other."""
    rows: list[Any] = []
    failures: list[Failure] = []
    for item, found in results.items():
        if isinstance(found, PystreamError):
            failures.append(Failure(str(item), found))
        else:
            rows.append(make(item, found))
    return Answer(rows, failures)


def errors_of(results: Mapping[K, object]) -> dict[K, PystreamError]:
    """The items that failed."""
    return {item: found for item, found in results.items() if isinstance(found, PystreamError)}


def without(
    results: Mapping[K, V | PystreamError], kinds: tuple[type[PystreamError], ...]
) -> dict[K, V | PystreamError]:
    """The results without the items that failed in one of these ways."""
    return {item: found for item, found in results.items() if not isinstance(found, kinds)}


def matching(pattern: str | None, names: Iterable[str]) -> list[str]:
    """The names that the whole pattern matches; all without one."""
    if pattern is None:
        return list(names)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InvalidRequest(f"{pattern!r} is no regular expression: {error}") from None
    return [name for name in names if expression.fullmatch(name)]
