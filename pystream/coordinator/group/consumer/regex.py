"""Regular expressions that subscribe: which topics they name. RE2 syntax, as Apache Kafka has it (re2j).

RE2 takes time in proportion to the text whatever the expression, so that no member can stop the coordinator with one;
the memory of an expression is bounded by RE2 itself, and its length by MAXIMUM_LENGTH. A whole name must match.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import re2

from pystream.common.errors import InvalidRegularExpression

MAXIMUM_LENGTH = 4_096
MAXIMUM_MEMORY_BYTES = 1 << 20
CACHED_EXPRESSIONS = 256


def check_regex(expression: str) -> None:
    """Raises InvalidRegularExpression, in Kafka's words."""
    if len(expression) > MAXIMUM_LENGTH:
        raise InvalidRegularExpression(
            f"SubscribedTopicRegex of {len(expression)} characters is longer than {MAXIMUM_LENGTH}."
        )
    try:
        _compiled(expression)
    except re2.error as error:
        raise InvalidRegularExpression(
            f"SubscribedTopicRegex `{expression}` is not a valid regular expression: {_text(error)}."
        ) from error


def topics_named_by(expression: str, names: Iterable[str]) -> frozenset[str]:
    """The names that the expression matches whole; none when it is not valid, which only foreign records can hold."""
    try:
        check_regex(expression)
    except InvalidRegularExpression:
        return frozenset()
    matches = _compiled(expression).fullmatch
    return frozenset(name for name in names if matches(name))


@functools.lru_cache(CACHED_EXPRESSIONS)
def _compiled(expression: str) -> Any:
    options = re2.Options()
    options.max_mem = MAXIMUM_MEMORY_BYTES
    options.log_errors = False
    return re2.compile(expression, options)


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
