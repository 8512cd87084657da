"""confluent_kafka.serialization: the plain serializers. Those of Schema Registry are not here, see the README."""

from __future__ import annotations

import struct
from typing import Any

from pystream.compat.confluent_kafka._errors import KafkaException

__all__ = [
    "Deserializer",
    "DoubleDeserializer",
    "DoubleSerializer",
    "IntegerDeserializer",
    "IntegerSerializer",
    "MessageField",
    "SerializationContext",
    "SerializationError",
    "Serializer",
    "StringDeserializer",
    "StringSerializer",
]


class SerializationError(KafkaException):
    """A key or value that a serializer refused."""


class MessageField:
    """Which part of a message is serialized."""

    NONE = "none"
    KEY = "key"
    VALUE = "value"

    def __str__(self) -> str:
        return str(self.VALUE)


class SerializationContext:
    """What a serializer may know of the message."""

    def __init__(self, topic: str, field: str, headers: Any = None) -> None:
        self.topic = topic
        self.field = field
        self.headers = headers


class Serializer:
    """Called with an object and a SerializationContext, gives bytes."""

    def __call__(self, obj: Any, ctx: SerializationContext | None = None) -> bytes | None:
        raise TypeError(f"{type(self).__name__} does not say how to serialize: override __call__")


class Deserializer:
    """Called with bytes and a SerializationContext, gives an object."""

    def __call__(self, value: bytes | None, ctx: SerializationContext | None = None) -> Any:
        raise TypeError(f"{type(self).__name__} does not say how to deserialize: override __call__")


class StringSerializer(Serializer):
    """Text in a codec, by default UTF-8."""

    def __init__(self, codec: str = "utf_8") -> None:
        self.codec = codec

    def __call__(self, obj: Any, ctx: SerializationContext | None = None) -> bytes | None:
        try:
            return None if obj is None else str(obj).encode(self.codec)
        except (UnicodeError, LookupError) as error:
            raise SerializationError(str(error)) from error


class StringDeserializer(Deserializer):
    """Text in a codec, by default UTF-8."""

    def __init__(self, codec: str = "utf_8") -> None:
        self.codec = codec

    def __call__(self, value: bytes | None, ctx: SerializationContext | None = None) -> str | None:
        try:
            return None if value is None else value.decode(self.codec)
        except (UnicodeError, LookupError) as error:
            raise SerializationError(str(error)) from error


class _Packed:
    """A number of fixed size, big-endian."""

    layout = ""

    def pack(self, value: Any) -> bytes | None:
        try:
            return None if value is None else struct.pack(self.layout, value)
        except struct.error as error:
            raise SerializationError(str(error)) from error

    def unpack(self, value: bytes | None) -> Any:
        try:
            return None if value is None else struct.unpack(self.layout, value)[0]
        except struct.error as error:
            raise SerializationError(str(error)) from error


class IntegerSerializer(_Packed, Serializer):
    """32 bits."""

    layout = ">i"

    def __call__(self, obj: Any, ctx: SerializationContext | None = None) -> bytes | None:
        return self.pack(obj)


class IntegerDeserializer(_Packed, Deserializer):
    """32 bits."""

    layout = ">i"

    def __call__(self, value: bytes | None, ctx: SerializationContext | None = None) -> Any:
        return self.unpack(value)


class DoubleSerializer(_Packed, Serializer):
    """64 bits."""

    layout = ">d"

    def __call__(self, obj: Any, ctx: SerializationContext | None = None) -> bytes | None:
        return self.pack(obj)


class DoubleDeserializer(_Packed, Deserializer):
    """64 bits."""

    layout = ">d"

    def __call__(self, value: bytes | None, ctx: SerializationContext | None = None) -> Any:
        return self.unpack(value)
