"""What produce() takes, checked as confluent_kafka's C does it: before anything is queued."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pystream.common.config import INT_MAX

LARGEST_TIMESTAMP: Final = (1 << 63) - 1
HEADERS: Final = "expected headers to be dict or list of (key, value) tuples, not "


def topic_name(topic: Any) -> None:
    """Raises TypeError, and ValueError for text that cannot be sent."""
    if not isinstance(topic, str):
        raise TypeError(f"argument 1 must be str, not {_kind(topic)}")
    if not topic.isascii():
        topic.encode()
    if "\0" in topic:
        raise ValueError("embedded null character")


def field(value: Any, position: int) -> bytes | None:
    """A key or a value. Raises TypeError; what can be changed afterwards is refused, too."""
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, bytearray | memoryview):
        raise TypeError(f"argument {position} must be read-only bytes-like object, not {_kind(value)}")
    raise TypeError(f"a bytes-like object is required, not {_kind(value)!r}")


def whole(number: Any, largest: int) -> int:
    """An int, or what is as good as one. Raises TypeError and OverflowError."""
    found = operator.index(number)
    if not -largest - 1 <= found <= largest:
        raise OverflowError(f"an integer between {-largest - 1} and {largest} is required, not {found}")
    return found


def headers(given: Any) -> list[tuple[bytes, bytes | None]] | None:
    """Raises TypeError for what are no headers."""
    if given is None:
        return None
    if not isinstance(given, Mapping | list):
        raise TypeError(f"{HEADERS}{_kind(given)}")
    pairs: Iterable[Any] = given.items() if isinstance(given, Mapping) else given
    found: list[tuple[bytes, bytes | None]] = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"Headers are expected to be a list of (key, value) tuples, found {pair!r}")
        name, value = pair
        if not isinstance(name, str | bytes):
            raise TypeError(f"expected header key to be unicode string or bytes, not {_kind(name)}")
        if not isinstance(value, str | bytes | None):
            raise TypeError(f"expected header value to be None, binary, or unicode string, not {_kind(value)}")
        found.append(
            (name.encode() if isinstance(name, str) else name, value.encode() if isinstance(value, str) else value)
        )
    return found


def batch_message(index: int, message: Any) -> None:
    """Raises TypeError for what is no message of a batch."""
    if not isinstance(message, dict):
        raise TypeError(f"Message at index {index} must be a dict")
    for name in ("value", "key"):
        if not isinstance(message.get(name), bytes | str | None):
            raise TypeError(f"Message {name} at index {index} must be bytes or str")
    for name, largest in (("partition", INT_MAX), ("timestamp", LARGEST_TIMESTAMP)):
        number = message.get(name)
        if number is not None and not isinstance(number, int):
            raise TypeError(f"Message {name} at index {index} must be int")
        whole(number or 0, largest)
    headers(message.get("headers"))


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
