"""What both faces do to a record before it is appended: serializers, headers, defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pystream.client.serdes.unanswered import Unanswered
from pystream.common.errors import PystreamError, SerializationError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Headers: TypeAlias = Mapping[str, str | Buffer | None] | Iterable[tuple[str | bytes, str | Buffer | None]]
    Pairs: TypeAlias = list[tuple[str | bytes, Buffer | None]]

Serializer: TypeAlias = Callable[..., "Buffer | None"]
"""`serializer(topic, value)` gives bytes, or None for a null. With an attribute `uses_headers` that is true it is
called as `serializer(topic, value, headers)`, and may add pairs to that list."""
Partitioner: TypeAlias = Callable[[str, "Buffer | None", int], "int | None"]
"""`partitioner(topic, key, partition_count)` gives a partition; None leaves it to the producer."""

ANY_PARTITION = -1
NOW = -1


def pairs_of(headers: Headers) -> Pairs:
    """Headers as the accumulator takes them; a value that is text is UTF-8."""
    found = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in found]


class Serializers:
    """What a producer's keys and values go through."""

    def __init__(self, key: Serializer | None, value: Serializer | None) -> None:
        turn = getattr(key, "for_key", None)
        key = key if turn is None else turn()
        self._blocking = _step(key, key, "key"), _step(value, value, "value")
        self._trying = (
            _step(key, getattr(key, "attempt", key), "key"),
            _step(value, getattr(value, "attempt", value), "value"),
        )
        self._uses_headers = _uses_headers(key) or _uses_headers(value)

    def apply(self, topic: str, key: Any, value: Any, headers: Headers | None) -> tuple[Any, Any, Headers | None]:
        """Key, value and headers as they go out; blocks where a serializer must ask a registry.

        Raises SerializationError with what a serializer raised, SchemaRegistryError.
        """
        pairs = pairs_of(headers or ()) if self._uses_headers else []
        of_key, of_value = self._blocking
        key, value = of_key(topic, key, pairs), of_value(topic, value, pairs)
        return key, value, pairs if self._uses_headers else headers

    async def apply_async(
        self, topic: str, key: Any, value: Any, headers: Headers | None
    ) -> tuple[Any, Any, Headers | None]:
        """The same, without blocking the loop."""
        given = pairs_of(headers or ()) if self._uses_headers else []
        of_key, of_value = self._trying
        while True:
            pairs = given.copy()
            try:
                made = of_key(topic, key, pairs), of_value(topic, value, pairs)
            except Unanswered as missing:
                await missing.resolve_async()
            else:
                return *made, pairs if self._uses_headers else headers


def _uses_headers(serializer: Serializer | None) -> bool:
    return bool(getattr(serializer, "uses_headers", False))


def _step(serializer: Serializer | None, call: Serializer | None, what: str) -> Callable[[str, Any, Pairs], Any]:
    """`call` with headers, where the serializer wants them, and with the error that tells who refused."""
    if serializer is None or call is None:
        return lambda topic, given, pairs: given
    with_headers = _uses_headers(serializer)

    def step(topic: str, given: Any, pairs: Pairs) -> Any:
        try:
            return call(topic, given, pairs) if with_headers else call(topic, given)
        except (PystreamError, Unanswered):
            raise
        except Exception as error:
            raise SerializationError(
                f"{topic}: the {what}'s serializer refused a {type(given).__name__}: {error}"
            ) from error

    return step
