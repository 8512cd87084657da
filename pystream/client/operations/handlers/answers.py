"""From the results of the admin client to what an operation gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from pystream.client.operations.declaration import Answer, Failure
from pystream.common.errors import InvalidRequest, PystreamError

LONGEST_PATTERN: Final = 10_000  # characters
PATTERN_MEMORY_BYTES: Final = 8 << 20

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
    return list(names) if pattern is None else list(filter(whole_match(pattern), names))


def whole_match(pattern: str) -> Callable[[str], object]:
    """Whether the pattern matches a whole name, in RE2's syntax: in linear time, since others' patterns come here, too.

    Raises InvalidRequest for what is no regular expression.
    """
    import re2

    if len(pattern) > LONGEST_PATTERN:
        raise InvalidRequest(f"a pattern of {len(pattern)} characters is longer than {LONGEST_PATTERN}")
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES
    options.log_errors = False
    try:
        match: Callable[[str], object] = re2.compile(pattern, options).fullmatch
    except re2.error as error:
        reason = error.args[0] if error.args else error
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise InvalidRequest(f"{pattern!r} is no regular expression: {said}") from None
    return match
