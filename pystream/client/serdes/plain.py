"""Serdes that need no schema: texts, numbers, UUIDs, JSON. Numbers are big-endian, as Kafka's serializers write them.

A serializer is called as serializer(topic, value) and gives bytes, or None for None; a deserializer takes them back.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final
from uuid import UUID

from pystream.common.errors import SerializationError

if TYPE_CHECKING:
    from typing_extensions import Buffer


class BytesSerializer:
    """bytes, bytearray, memoryview and what else shows its bytes."""

    def __call__(self, topic: str, value: Buffer | None) -> bytes | None:
        return None if value is None else bytes(memoryview(value))


class BytesDeserializer:
    """bytes as they are."""

    def __call__(self, topic: str, data: bytes | None) -> bytes | None:
        return data


class StringSerializer:
    """Text, in UTF-8 unless told otherwise."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._encoding = encoding

    def __call__(self, topic: str, value: str | None) -> bytes | None:
        return None if value is None else value.encode(self._encoding)


class StringDeserializer:
    """Text, in UTF-8 unless told otherwise."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._encoding = encoding

    def __call__(self, topic: str, data: bytes | None) -> str | None:
        return None if data is None else data.decode(self._encoding)


class _Number:
    layout: ClassVar[struct.Struct]

    def _pack(self, value: float) -> bytes:
        return self.layout.pack(value)

    def _unpack(self, data: bytes) -> Any:
        if len(data) != self.layout.size:
            raise SerializationError(f"{len(data)} bytes, expected {self.layout.size}")
        return self.layout.unpack(data)[0]


class _Int16(_Number):
    layout = struct.Struct(">h")


class _Int32(_Number):
    layout = struct.Struct(">i")


class _Int64(_Number):
    layout = struct.Struct(">q")


class _Float32(_Number):
    layout = struct.Struct(">f")


class _Float64(_Number):
    layout = struct.Struct(">d")


class _NumberSerializer(_Number):
    def __call__(self, topic: str, value: float | None) -> bytes | None:
        return None if value is None else self._pack(value)


class _NumberDeserializer(_Number):
    def __call__(self, topic: str, data: bytes | None) -> Any:
        return None if data is None else self._unpack(data)


class ShortSerializer(_Int16, _NumberSerializer):
    """int16."""


class ShortDeserializer(_Int16, _NumberDeserializer):
    """int16."""


class IntegerSerializer(_Int32, _NumberSerializer):
    """int32, as Kafka's serializer of that name: LongSerializer has room for more."""


class IntegerDeserializer(_Int32, _NumberDeserializer):
    """int32."""


class LongSerializer(_Int64, _NumberSerializer):
    """int64."""


class LongDeserializer(_Int64, _NumberDeserializer):
    """int64."""


class FloatSerializer(_Float32, _NumberSerializer):
    """float32, as Kafka's serializer of that name: DoubleSerializer keeps what Python has."""


class FloatDeserializer(_Float32, _NumberDeserializer):
    """float32."""


class DoubleSerializer(_Float64, _NumberSerializer):
    """float64."""


class DoubleDeserializer(_Float64, _NumberDeserializer):
    """float64."""


_BOOLEANS: Final = {b"\0": False, b"\1": True}


class BooleanSerializer:
    """One byte, 0 or 1."""

    def __call__(self, topic: str, value: bool | None) -> bytes | None:
        return None if value is None else (b"\1" if value else b"\0")


class BooleanDeserializer:
    """One byte, 0 or 1."""

    def __call__(self, topic: str, data: bytes | None) -> bool | None:
        if data is None:
            return None
        if data not in _BOOLEANS:
            raise SerializationError(f"{data[:8]!r}, expected one byte, 0 or 1")
        return _BOOLEANS[data]


class UUIDSerializer:
    """The text of a UUID, as Kafka's own serializer writes it."""

    def __call__(self, topic: str, value: UUID | None) -> bytes | None:
        return None if value is None else str(value).encode()


class UUIDDeserializer:
    """A UUID from its text."""

    def __call__(self, topic: str, data: bytes | None) -> UUID | None:
        return None if data is None else UUID(data.decode())


class JsonSerializer:
    """JSON without a schema, as compact as can be. `default` makes what JSON does not know."""

    def __init__(self, *, default: Callable[[Any], Any] | None = None) -> None:
        self._encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=default)

    def __call__(self, topic: str, value: Any) -> bytes | None:
        return None if value is None else self._encoder.encode(value).encode()


class JsonDeserializer:
    """JSON without a schema."""

    def __call__(self, topic: str, data: bytes | None) -> Any:
        return None if data is None else json.loads(data)
