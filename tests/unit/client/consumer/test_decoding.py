"""Deserializers of a consumer: a decoded message is a message, and one that is refused ends what is handed out."""

from __future__ import annotations

from typing import Any

import pytest

from pystream._native.message_batch import Message, MessageBatch
from pystream._native.record_builder import RecordBatchBuilder
from pystream.client.consumer.decoding import DecodedMessage, decoder
from pystream.client.serdes import IntegerDeserializer
from pystream.common.errors import SerializationError

PUBLIC = [name for name in dir(Message) if not name.startswith("_")]


def batch(*values: bytes | None) -> MessageBatch:
    builder = RecordBatchBuilder()
    for value in values:
        builder.append(value, timestamp=5, key=b"key", headers=[("header", b"h")])
    return MessageBatch(builder.build(), "topic", 3)


def test_a_decoded_message_has_all_that_a_message_has():
    decode = decoder(None, lambda topic, data: data.decode(), may_block=True)
    assert decode is not None
    raw = batch(b"value")[0]
    (message,) = decode([raw])
    assert isinstance(message, DecodedMessage)
    assert (message.key, message.value, message.raw) == (b"key", "value", raw)
    others = [name for name in PUBLIC if name not in ("key", "value")]
    assert [getattr(message, name) for name in others] == [getattr(raw, name) for name in others]


def test_nulls_are_not_deserialized():
    decode = decoder(None, IntegerDeserializer(), may_block=False)
    assert decode is not None
    assert [message.value for message in decode(list(batch(None, b"\0\0\0\1")))] == [None, 1]


def test_what_stands_in_front_of_a_refused_message_is_handed_out_first():
    decode = decoder(None, IntegerDeserializer(), may_block=True)
    assert decode is not None
    messages = list(batch(b"\0\0\0\1", b"bad", b"\0\0\0\3"))
    assert [message.value for message in decode(messages)] == [1]
    with pytest.raises(SerializationError, match="topic-3 at offset 1: the value's deserializer refused it") as caught:
        decode(messages[1:])
    assert (caught.value.topic, caught.value.partition, caught.value.offset) == ("topic", 3, 1)


def test_deserializers_that_want_headers_get_them():
    def with_headers(topic: str, data: bytes, headers: Any) -> Any:
        return dict(headers)

    with_headers.uses_headers = True  # type: ignore[attr-defined]
    decode = decoder(with_headers, None, may_block=True)
    assert decode is not None
    assert decode([batch(b"v")[0]])[0].key == {"header": b"h"}


def test_without_deserializers_nothing_is_decoded():
    assert decoder(None, None, may_block=True) is None
