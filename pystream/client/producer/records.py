"""What both faces do to a record before it is appended: serializers, headers, defaults; what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from operator import index
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, TypeGuard

from pystream.client.headers import header_complaint, is_bytes_like, pairs_of, shown, type_of
from pystream.client.serdes.unanswered import Unanswered
from pystream.common.errors import InvalidConfig, InvalidTimestamp, PystreamError, SerializationError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from pystream.client.headers import Headers, Pairs

Serializer: TypeAlias = Callable[..., "Buffer | None"]
"""`serializer(topic, value)` gives bytes, or None for a null. With an attribute `uses_headers` that is true it is
called as `serializer(topic, value, headers)`, and may add pairs to that list."""
Partitioner: TypeAlias = Callable[[str, "Buffer | None", int], "int | None"]
"""`partitioner(topic, key, partition_count)` gives a partition; None leaves it to the producer."""

ANY_PARTITION = -1
NOW = -1
INT32_MAX = (1 << 31) - 1
INT64_MAX = (1 << 63) - 1


UNFIT: tuple[type[Exception], ...] = (TypeError, ValueError, OverflowError, InvalidTimestamp)
"""What appending raises for a record that is not one; `complaint` says which part of it is to blame."""
CALLED_WITH = "a serializer is called with (topic, value) and gives bytes or None"
SERIALIZER_OF: dict[type, str] = {
    str: "StringSerializer",
    int: "LongSerializer",
    float: "DoubleSerializer",
    dict: "JsonSerializer",
    list: "JsonSerializer",
}


def complaint(
    topic: object, value: object, key: object, pairs: object, partition: object = None, timestamp: object = None
) -> Exception | None:
    """What is wrong with a record that appending refused, and what to do; None where that is something else."""
    if not isinstance(topic, str):
        return TypeError(f"a topic is a str, not {shown(topic)}")
    for what, given in (("value", value), ("key", key)):
        if given is not None and not is_bytes_like(given):
            remedy = SERIALIZER_OF.get(type(given))
            hint = f", such as pystream.client.serdes.{remedy}()" if remedy else ""
            return TypeError(
                f"{topic}: a {what} is bytes-like or None, not {type_of(given)}: make bytes of it, or give the "
                f"producer a {what}_serializer{hint}"
            )
    return header_complaint(pairs) or _place_complaint(topic, partition) or _time_complaint(topic, timestamp)


def _place_complaint(topic: str, partition: object) -> Exception | None:
    if partition is None:
        return None
    if not _is_whole(partition):
        return TypeError(f"{topic}: a partition is an int, not {shown(partition)}; leave it out to have one chosen")
    if not ANY_PARTITION <= index(partition) <= INT32_MAX:
        return ValueError(f"{topic}: a partition is 0 and above, not {partition}; leave it out to have one chosen")
    return None


def _time_complaint(topic: str, timestamp: object) -> Exception | None:
    if timestamp is None:
        return None
    if hasattr(timestamp, "timestamp"):
        return TypeError(
            f"{topic}: a timestamp is milliseconds since 1970 as an int, not {shown(timestamp)}: give "
            "round(when.timestamp() * 1000), or leave it out for now"
        )
    if not _is_whole(timestamp):
        return TypeError(
            f"{topic}: a timestamp is milliseconds since 1970 as an int, not {shown(timestamp)}; leave it out for now"
        )
    if not NOW <= index(timestamp) <= INT64_MAX:
        return InvalidTimestamp(
            f"{topic}: a timestamp is milliseconds since 1970, 0 and above, not {timestamp}; leave it out for now"
        )
    return None


def _is_whole(given: object) -> TypeGuard[SupportsIndex]:
    return hasattr(given, "__index__")


class Serializers:
    """What a producer's keys and values go through. Raises InvalidConfig for what cannot be called."""

    def __init__(self, key: Serializer | None, value: Serializer | None) -> None:
        for what, given in (("key", key), ("value", value)):
            if given is not None and not callable(given):
                raise InvalidConfig(f"{what}_serializer={given!r}: {CALLED_WITH}")
        turn = getattr(key, "for_key", None)
        key = key if turn is None else turn()
        self._blocking = _step(key, key, "key"), _step(value, value, "value")
        self._trying = (
            _step(key, getattr(key, "attempt", key), "key"),
            _step(value, getattr(value, "attempt", value), "value"),
        )
        self._uses_headers = _uses_headers(key) or _uses_headers(value)
        self.has_key, self.has_value = key is not None, value is not None

    def made(self, topic: str, key: Any, value: Any, pairs: Pairs, *, trying: bool) -> tuple[Any, Any]:
        """Key and value as they go out; `pairs` may be added to. `trying`: Unanswered is raised instead of blocking.

        Raises SerializationError with what a serializer raised, SchemaRegistryError.
        """
        of_key, of_value = self._trying if trying else self._blocking
        return of_key(topic, key, pairs), of_value(topic, value, pairs)

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


def _takes(call: Serializer, count: int) -> bool:
    """Whether it takes so many arguments, as far as it can tell."""
    try:
        told = signature(call)
    except (TypeError, ValueError):  # of C
        return True
    try:
        told.bind(*[None] * count)
    except TypeError:
        return False
    return True


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
                f"{'' if _takes(call, 3 if with_headers else 2) else f': {CALLED_WITH}'}"
            ) from error

    return step
