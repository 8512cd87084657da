"""Our serdes and confluent-kafka's write the same bytes and the same requests, and each reads what the other wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema as TheirSchema
from confluent_kafka.schema_registry import SchemaReference as TheirReference
from confluent_kafka.schema_registry import SchemaRegistryClient as TheirClient
from confluent_kafka.schema_registry import header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer as TheirAvroDeserializer
from confluent_kafka.schema_registry.avro import AvroSerializer as TheirAvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer as TheirJsonDeserializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer as TheirJsonSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer as TheirProtobufDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer as TheirProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pystream.client.serdes import (
    AvroDeserializer,
    AvroSerializer,
    JsonSchemaDeserializer,
    JsonSchemaSerializer,
    ProtobufDeserializer,
    ProtobufSerializer,
    Schema,
    SchemaReference,
    SchemaRegistryClient,
)
from tests.support.messages import Line, Money, Order, an_order
from tests.support.schema_registry import SchemaRegistry

TOPIC = "orders"
MONEY = {
    "type": "record",
    "name": "Money",
    "namespace": "payments",
    "fields": [{"name": "currency", "type": "string"}, {"name": "cents", "type": "long"}],
}
ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "payments",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "price", "type": MONEY},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "map", "values": "double"}},
    ],
}
ORDER_VALUE = {"id": "o-1", "price": {"currency": "EUR", "cents": 1250}, "note": "grün", "tags": {"a": 0.5}}
JSON_ORDER = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "properties": {"id": {"type": "string"}, "cents": {"type": "integer"}},
    "required": ["id"],
}
JSON_VALUE = {"id": "grün", "cents": 1250, "list": [1, 2.5, None, True]}


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


@pytest.fixture
def ours(registry: SchemaRegistry) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient(url=registry.url) as client:
        yield client


@pytest.fixture
def theirs(registry: SchemaRegistry) -> Iterator[TheirClient]:
    with TheirClient({"url": registry.url}) as client:
        yield client


def context(field: str = MessageField.VALUE, headers: Any = None) -> SerializationContext:
    return SerializationContext(TOPIC, field, headers)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (json.dumps(ORDER), ORDER_VALUE),
        ('"string"', "grün"),
        ('{"type": "long"}', -(2**40)),
        ('"bytes"', b"\0\1\2"),
        ('["null", "string", {"type": "array", "items": "int"}]', [1, 2, 3]),
        ('{"type": "enum", "name": "Side", "symbols": ["LEFT", "RIGHT"]}', "RIGHT"),
        ('{"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}', b"\x04\xd2"),
    ],
    ids=["record", "string", "long", "bytes", "union", "enum", "decimal"],
)
def test_avro_is_the_same(ours: SchemaRegistryClient, theirs: TheirClient, schema: str, value: Any):
    written_by_them = TheirAvroSerializer(theirs, schema)(value, context())
    written_by_us = AvroSerializer(ours, schema)(TOPIC, value)
    assert written_by_us == written_by_them
    read_by_them = TheirAvroDeserializer(theirs)(written_by_us, context())
    assert AvroDeserializer(ours)(TOPIC, written_by_them) == read_by_them


def test_avro_that_refers_to_other_schemas_is_the_same(ours: SchemaRegistryClient, theirs: TheirClient):
    order = {**ORDER, "fields": [ORDER["fields"][0], {"name": "price", "type": "payments.Money"}]}
    value = {"id": "o-1", "price": ORDER_VALUE["price"]}
    ours.register("money", Schema(json.dumps(MONEY)))
    their_schema = TheirSchema(json.dumps(order), "AVRO", [TheirReference("payments.Money", "money", 1)])
    our_schema = Schema(json.dumps(order), references=(SchemaReference("payments.Money", "money", 1),))
    written = AvroSerializer(ours, our_schema)(TOPIC, value)
    assert written == TheirAvroSerializer(theirs, their_schema)(value, context())
    assert AvroDeserializer(ours)(TOPIC, written) == TheirAvroDeserializer(theirs)(written, context()) == value


def test_json_is_the_same(ours: SchemaRegistryClient, theirs: TheirClient):
    schema = json.dumps(JSON_ORDER)
    written = JsonSchemaSerializer(ours, schema)(TOPIC, JSON_VALUE)
    assert written == TheirJsonSerializer(schema, theirs)(JSON_VALUE, context())
    read_by_them = TheirJsonDeserializer(schema, schema_registry_client=theirs)(written, context())
    assert JsonSchemaDeserializer(ours)(TOPIC, written) == read_by_them == JSON_VALUE


@pytest.mark.parametrize(
    ("kind", "message"),
    [(Order, an_order()), (Money, Money(currency="EUR", cents=-1)), (Line, Line(text="nested"))],
    ids=["second of its file, with references", "first of its file", "nested"],
)
def test_protobuf_is_the_same(ours: SchemaRegistryClient, theirs: TheirClient, kind: Any, message: Any):
    written_by_them = TheirProtobufSerializer(kind, theirs, {"use.deprecated.format": False})(message, context())
    written_by_us = ProtobufSerializer(ours, kind)(TOPIC, message)
    assert written_by_us == written_by_them
    read_by_them = TheirProtobufDeserializer(kind, {}, theirs)(written_by_us, context())
    assert ProtobufDeserializer(message_type=kind)(TOPIC, written_by_them) == read_by_them == message
    made = ProtobufDeserializer(ours)(TOPIC, written_by_them)
    assert made.DESCRIPTOR.full_name == kind.DESCRIPTOR.full_name
    assert made.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("field", [MessageField.VALUE, MessageField.KEY])
def test_a_schema_id_in_a_header_is_the_same(ours: SchemaRegistryClient, theirs: TheirClient, field: str):
    their_headers: list[Any] = []
    conf = {"schema.id.serializer": header_schema_id_serializer}
    their_bytes = TheirAvroSerializer(theirs, json.dumps(ORDER), conf=conf)(ORDER_VALUE, context(field, their_headers))
    serializer = AvroSerializer(ours, ORDER, schema_id_serializer="header")
    deserializer = AvroDeserializer(ours)
    if field == MessageField.KEY:
        serializer, deserializer = serializer.for_key(), deserializer.for_key()
    our_headers: list[Any] = []
    assert serializer(TOPIC, ORDER_VALUE, our_headers) == their_bytes
    assert our_headers == their_headers
    assert deserializer(TOPIC, their_bytes, their_headers) == ORDER_VALUE
    assert TheirAvroDeserializer(theirs)(their_bytes, context(field, our_headers)) == ORDER_VALUE


def test_protobuf_with_its_schema_in_a_header_is_the_same(ours: SchemaRegistryClient, theirs: TheirClient):
    their_headers: list[Any] = []
    conf = {"schema.id.serializer": header_schema_id_serializer}
    their_bytes = TheirProtobufSerializer(Line, theirs, conf)(Line(text="tea"), context(headers=their_headers))
    our_headers: list[Any] = []
    serializer = ProtobufSerializer(ours, Line, schema_id_serializer="header")
    assert serializer(TOPIC, Line(text="tea"), our_headers) == their_bytes
    assert our_headers == their_headers
    assert ProtobufDeserializer(ours)(TOPIC, their_bytes, their_headers).text == "tea"


def test_the_same_schemas_are_registered(registry: SchemaRegistry, ours: SchemaRegistryClient, theirs: TheirClient):
    """Who comes second registers nothing new: subjects, ids and references are those of the first."""
    TheirAvroSerializer(theirs, json.dumps(ORDER))(ORDER_VALUE, context(MessageField.KEY))
    TheirProtobufSerializer(Order, theirs, {"use.deprecated.format": False})(an_order(), context())
    before = {subject: list(ids) for subject, ids in registry.state.subjects.items()}
    AvroSerializer(ours, json.dumps(ORDER)).for_key()(TOPIC, ORDER_VALUE)
    ProtobufSerializer(ours, Order)(TOPIC, an_order())
    assert registry.state.subjects == before
    assert sorted(before) == ["orders-key", "orders-value", "payments/money.proto"]
