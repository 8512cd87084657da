"""What both faces do to a record before it is appended: serializers, headers, defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pystream.common.errors import PystreamError, SerializationError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Headers: TypeAlias = Mapping[str, str | Buffer | None] | Iterable[tuple[str | bytes, str | Buffer | None]]

Serializer: TypeAlias = Callable[[str, Any], "Buffer | None"]
"""`serializer(topic, value)` gives bytes, or None for a null."""
Partitioner: TypeAlias = Callable[[str, "Buffer | None", int], "int | None"]
"""`partitioner(topic, key, partition_count)` gives a partition; None leaves it to the producer."""

ANY_PARTITION = -1
NOW = -1


def pairs_of(headers: Headers) -> list[tuple[str | bytes, Buffer | None]]:
    """Headers as the accumulator takes them; a value that is text is UTF-8."""
    found = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in found]


def serialized(serializer: Serializer | None, topic: str, value: Any, what: str) -> Any:
    """Raises SerializationError with what the serializer raised."""
    if serializer is None:
        return value
    try:
        return serializer(topic, value)
    except PystreamError:
        raise
    except Exception as error:
        raise SerializationError(
            f"{topic}: the {what}'s serializer refused a {type(value).__name__}: {error}"
        ) from error
