"""Bytes that anybody may have written: deserializers say so, in errors of ours, and nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystream.client import serdes
from pystream.client.serdes import (
    AvroDeserializer,
    AvroSerializer,
    JsonSchemaDeserializer,
    JsonSchemaSerializer,
    ProtobufDeserializer,
    ProtobufSerializer,
    SchemaRegistryClient,
)
from pystream.common.errors import PystreamError
from pystream.schemas import wire
from tests.support.messages import Order, an_order
from tests.support.schema_registry import SchemaRegistry

TOPIC = "orders"
LIST = {"type": "record", "name": "L", "fields": [{"name": "a", "type": {"type": "array", "items": "string"}}]}


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, tuple[Any, bytes]]]:
    """By kind: a deserializer, and bytes that it reads."""
    with SchemaRegistry() as server, SchemaRegistryClient(url=server.url) as registry:
        yield {
            "avro": (AvroDeserializer(registry), _bytes(AvroSerializer(registry, LIST)("a", {"a": ["x", "yy"]}))),
            "json": (JsonSchemaDeserializer(registry), _bytes(JsonSchemaSerializer(registry, {})("j", {"a": [1]}))),
            "protobuf": (ProtobufDeserializer(registry), _bytes(ProtobufSerializer(registry, Order)("p", an_order()))),
            "protobuf class": (
                ProtobufDeserializer(message_type=Order),
                _bytes(ProtobufSerializer(registry, Order)("p", an_order())),
            ),
        }


def _bytes(data: bytes | None) -> bytes:
    assert data is not None
    return data


def read(deserializer: Any, data: bytes) -> None:
    try:
        deserializer(TOPIC, data)
    except PystreamError:
        return


@pytest.mark.parametrize("kind", ["avro", "json", "protobuf", "protobuf class"])
@given(changes=st.lists(st.tuples(st.integers(5, 60), st.integers(0, 255)), max_size=4), cut=st.integers(0, 60))
def test_bytes_that_are_changed_or_cut_are_read_or_refused(
    readers: dict[str, tuple[Any, bytes]], kind: str, changes: list[tuple[int, int]], cut: int
):
    deserializer, good = readers[kind]
    data = bytearray(good)
    for place, byte in changes:
        data[min(place, len(data) - 1)] = byte
    read(deserializer, bytes(data[: len(data) - cut % len(data)]))


@given(data=st.binary(max_size=40), has_indexes=st.booleans())
def test_a_prefix_is_read_or_refused(data: bytes, has_indexes: bool):
    try:
        found = wire.read_prefix(data, has_indexes=has_indexes)
    except PystreamError:
        return
    assert wire.ID_PREFIX_BYTES <= found.data_start <= len(data)


@pytest.mark.parametrize("kind", ["Short", "Integer", "Long", "Float", "Double", "Boolean"])
@given(data=st.binary(max_size=12))
def test_numbers_are_read_or_refused(kind: str, data: bytes):
    read(getattr(serdes, f"{kind}Deserializer")(), data)
