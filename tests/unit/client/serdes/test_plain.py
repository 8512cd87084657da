"""Serdes without a schema: the bytes of Kafka's own serializers, and what they refuse."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from pystream.client import serdes
from pystream.common.errors import SerializationError

ID = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("kind", "value", "encoded"),
    [
        ("Bytes", b"\0\xff", b"\0\xff"),
        ("String", "grün", "grün".encode()),
        ("Short", -2, b"\xff\xfe"),
        ("Integer", 258, b"\0\0\x01\x02"),
        ("Long", -1, b"\xff" * 8),
        ("Float", 1.5, b"\x3f\xc0\0\0"),
        ("Double", 1.5, b"\x3f\xf8\0\0\0\0\0\0"),
        ("Boolean", True, b"\1"),
        ("UUID", ID, b"12345678-1234-5678-1234-567812345678"),
        ("Json", {"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'.encode()),
    ],
)
def test_values_come_back_from_the_bytes_that_kafka_writes(kind: str, value: Any, encoded: bytes):
    serializer, deserializer = getattr(serdes, f"{kind}Serializer")(), getattr(serdes, f"{kind}Deserializer")()
    assert serializer("topic", value) == encoded
    assert deserializer("topic", encoded) == value
    assert serializer("topic", None) is None
    assert deserializer("topic", None) is None


@pytest.mark.parametrize("kind", ["Short", "Integer", "Long", "Float", "Double", "Boolean"])
def test_bytes_of_another_size_are_refused(kind: str):
    with pytest.raises(SerializationError):
        getattr(serdes, f"{kind}Deserializer")()("topic", b"abc")


def test_texts_are_written_in_any_encoding():
    assert serdes.StringSerializer("utf-16-le")("topic", "a") == b"a\0"
    assert serdes.StringDeserializer("latin-1")("topic", b"\xfc") == "ü"


def test_json_makes_what_it_is_told_to():
    assert serdes.JsonSerializer(default=str)("topic", {"id": ID}) == f'{{"id":"{ID}"}}'.encode()


def test_every_name_is_there_and_no_other():
    assert all(getattr(serdes, name).__name__ == name for name in serdes.__all__)
    with pytest.raises(AttributeError, match="AvroSerialiser"):
        serdes.AvroSerialiser  # noqa: B018
