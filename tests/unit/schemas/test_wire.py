"""The prefix that names a schema: golden bytes of Confluent's format, and what does not parse."""

from __future__ import annotations

from uuid import UUID

import pytest

from pystream.common.errors import LimitExceeded, MalformedInput, TruncatedInput
from pystream.schemas import wire
from pystream.schemas.subjects import STRATEGIES

GUID = UUID("0102030405060708090a0b0c0d0e0f10")


@pytest.mark.parametrize(
    ("indexes", "encoded"),
    [
        ((0,), b"\0"),  # Confluent's documentation: the first message is the single byte 0
        ((1,), b"\x02\x02"),
        ((1, 0), b"\x04\x02\x00"),
        ((2, 1, 70), b"\x06\x04\x02\x8c\x01"),
    ],
)
def test_message_indexes_are_zigzag_varints_with_their_count_in_front(indexes: tuple[int, ...], encoded: bytes):
    assert wire.encode_indexes(indexes) == encoded
    assert wire.decode_indexes(b"??" + encoded + b"rest", 2) == (indexes, 2 + len(encoded))


def test_an_id_stands_behind_a_zero_byte():
    data = wire.id_prefix(258) + b"data"
    assert data == b"\0\0\0\x01\x02data"
    assert wire.read_prefix(data) == wire.Found(258, 5)


def test_a_guid_stands_behind_a_one():
    data = wire.guid_prefix(GUID, (1,)) + b"data"
    assert data == b"\x01" + bytes(range(1, 17)) + b"\x02\x02data"
    assert wire.read_prefix(data, has_indexes=True) == wire.Found(GUID, 19, (1,))


@pytest.mark.parametrize("size", range(5))
def test_a_cut_prefix_is_told(size: int):
    with pytest.raises(TruncatedInput):
        wire.read_prefix(wire.id_prefix(1)[:size])


@pytest.mark.parametrize("size", range(1, 17))
def test_a_cut_guid_is_told(size: int):
    with pytest.raises(TruncatedInput):
        wire.read_prefix(wire.guid_prefix(GUID)[:size])


def test_what_no_registry_wrote_is_told():
    with pytest.raises(MalformedInput, match="begins with byte 123"):
        wire.read_prefix(b'{"id": 1}')


@pytest.mark.parametrize(
    ("indexes", "error"),
    [
        (b"", TruncatedInput),
        (b"\x04\x02", TruncatedInput),
        (b"\x80", TruncatedInput),
        (b"\x01", MalformedInput),  # a count of -1
        (b"\x02\x01", MalformedInput),  # an index of -1
        (b"\xff\xff\xff\xff\xff\xff", MalformedInput),
        (b"\xd2\x0f", LimitExceeded),  # a count of 1001
    ],
)
def test_message_indexes_that_cannot_be_are_told(indexes: bytes, error: type[Exception]):
    with pytest.raises(error):
        wire.read_prefix(wire.id_prefix(1) + indexes, has_indexes=True)


@pytest.mark.parametrize(
    ("strategy", "is_key", "name", "subject"),
    [
        ("TOPIC", False, "com.example.Order", "orders-value"),
        ("TOPIC", True, None, "orders-key"),
        ("RECORD", True, "com.example.Order", "com.example.Order"),
        ("RECORD", False, None, None),
        ("TOPIC_RECORD", False, "com.example.Order", "orders-com.example.Order"),
        ("TopicRecordNameStrategy", False, None, None),
    ],
)
def test_subjects_are_named_as_confluents_clients_name_them(
    strategy: str, is_key: bool, name: str | None, subject: str | None
):
    assert STRATEGIES[strategy]("orders", is_key, name) == subject
