"""kafka.serializer."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

__all__ = ["DefaultSerializer", "Deserializer", "JsonSerializer", "Serializer"]

Headers = list[tuple[str, bytes]]


class Serializer(ABC):
    """Makes bytes of keys or values."""

    @abstractmethod
    def serialize(self, topic: str, headers: Headers, data: Any) -> Any:
        """Bytes, or None."""

    def close(self) -> None:  # noqa: B027  most have nothing to close
        """Called when the producer is closed."""


class Deserializer(ABC):
    """Makes keys or values of bytes."""

    @abstractmethod
    def deserialize(self, topic: str, headers: Headers, data: bytes | None) -> Any:
        """What the application gets."""

    def close(self) -> None:  # noqa: B027  most have nothing to close
        """Called when the consumer is closed."""


class DefaultSerializer(Serializer, Deserializer):
    """Text; bytes are left as they are."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.encoding = encoding

    def serialize(self, topic: str, headers: Headers, data: Any) -> Any:
        if data is None or isinstance(data, bytes | bytearray | memoryview):
            return data
        return data.encode(self.encoding)

    def deserialize(self, topic: str, headers: Headers, data: bytes | None) -> Any:
        return None if data is None else data.decode(self.encoding)


class JsonSerializer(DefaultSerializer):
    """JSON."""

    def serialize(self, topic: str, headers: Headers, data: Any) -> Any:
        return None if data is None else json.dumps(data).encode(self.encoding)

    def deserialize(self, topic: str, headers: Headers, data: bytes | None) -> Any:
        return None if data is None else json.loads(data.decode(self.encoding))


def serialize_with(given: Any) -> Callable[[str, Headers, Any], Any] | None:
    """Of a Serializer, or of a function of the data alone."""
    if given is None:
        return None
    if isinstance(given, Serializer) or hasattr(given, "serialize"):
        method: Callable[[str, Headers, Any], Any] = given.serialize
        return method
    return lambda topic, headers, data: given(data)


def deserialize_with(given: Any) -> Callable[[str, Headers, bytes | None], Any] | None:
    """Of a Deserializer, or of a function of the data alone."""
    if given is None:
        return None
    if isinstance(given, Deserializer) or hasattr(given, "deserialize"):
        method: Callable[[str, Headers, bytes | None], Any] = given.deserialize
        return method
    return lambda topic, headers, data: given(data)
