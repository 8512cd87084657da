"""How a record says which schema it was written with: Confluent's wire format.

    in the payload    00 | id int32 | [message indexes] | data
                      01 | guid 16 bytes | [message indexes] | data
    in a header       __key_schema_id, __value_schema_id: one of the two above without data; the payload is bare

Message indexes, of Protobuf only, are the path to a message within its file: a count and the indexes, zig-zag varints;
the path [0], the most frequent one, is the single byte 00.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from pystream.common.errors import LimitExceeded, MalformedInput, TruncatedInput

MAGIC_ID: Final = 0
MAGIC_GUID: Final = 1
ID_PREFIX_BYTES: Final = 5
GUID_PREFIX_BYTES: Final = 17
KEY_HEADER: Final = "__key_schema_id"
VALUE_HEADER: Final = "__value_schema_id"
MOST_INDEXES: Final = 1_000  # how deep messages may lie within one another
LONGEST_VARINT_BYTES: Final = 5
FIRST_MESSAGE: Final = (0,)

_ID_PREFIX: Final = struct.Struct(">bi")


class Found(NamedTuple):
    """What a prefix says: the id or the GUID, where the data begins, and for Protobuf the message."""

    key: int | UUID
    data_start: int
    indexes: tuple[int, ...] = ()


def id_prefix(schema_id: int, indexes: Sequence[int] | None = None) -> bytes:
    """The prefix that names a schema by its id."""
    return _ID_PREFIX.pack(MAGIC_ID, schema_id) + (b"" if indexes is None else encode_indexes(indexes))


def guid_prefix(guid: UUID, indexes: Sequence[int] | None = None) -> bytes:
    """The prefix that names a schema by its GUID."""
    return bytes((MAGIC_GUID,)) + guid.bytes + (b"" if indexes is None else encode_indexes(indexes))


def header_of(*, is_key: bool) -> str:
    """The name of the header that carries the prefix instead of the payload."""
    return KEY_HEADER if is_key else VALUE_HEADER


def read_prefix(data: bytes, *, has_indexes: bool = False) -> Found:
    """Raises MalformedInput for what does not begin with a prefix, TruncatedInput, LimitExceeded."""
    if not data:
        raise TruncatedInput("an empty payload, expected the prefix that names its schema")
    key: int | UUID
    if data[0] == MAGIC_ID:
        if len(data) < ID_PREFIX_BYTES:
            raise TruncatedInput(f"{len(data)} bytes, expected a schema id in the first {ID_PREFIX_BYTES}")
        key, start = _ID_PREFIX.unpack_from(data)[1], ID_PREFIX_BYTES
    elif data[0] == MAGIC_GUID:
        if len(data) < GUID_PREFIX_BYTES:
            raise TruncatedInput(f"{len(data)} bytes, expected a schema's GUID in the first {GUID_PREFIX_BYTES}")
        key, start = UUID(bytes=bytes(data[1:GUID_PREFIX_BYTES])), GUID_PREFIX_BYTES
    else:
        raise MalformedInput(
            f"the payload begins with byte {data[0]}, expected {MAGIC_ID} or {MAGIC_GUID}: "
            "was it written by a serializer of a schema registry?"
        )
    if not has_indexes:
        return Found(key, start)
    indexes, start = decode_indexes(data, start)
    return Found(key, start, indexes)


def encode_indexes(indexes: Sequence[int]) -> bytes:
    """The path to a message of Protobuf. An empty path raises ValueError."""
    if not indexes:
        raise ValueError("expected the path to a message, found an empty one")
    if tuple(indexes) == FIRST_MESSAGE:
        return b"\0"
    return b"".join(map(_zigzag_varint, (len(indexes), *indexes)))


def decode_indexes(data: bytes, start: int) -> tuple[tuple[int, ...], int]:
    """The path, and where it ends. Raises TruncatedInput, MalformedInput, LimitExceeded."""
    count, place = _read_zigzag_varint(data, start)
    if count == 0:
        return FIRST_MESSAGE, place
    if count < 0:
        raise MalformedInput(f"a path of {count} message indexes")
    if count > MOST_INDEXES:
        raise LimitExceeded(f"a path of {count} message indexes, at most {MOST_INDEXES} are read")
    indexes = []
    for _ in range(count):
        index, place = _read_zigzag_varint(data, place)
        if index < 0:
            raise MalformedInput(f"a message index of {index}")
        indexes.append(index)
    return tuple(indexes), place


def find_header(headers: Iterable[tuple[str | bytes, bytes | None]], name: str) -> bytes | None:
    """The first value of a header; None where there is none."""
    encoded = name.encode()
    return next((value for found, value in headers if found in (name, encoded)), None)


def _zigzag_varint(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _read_zigzag_varint(data: bytes, start: int) -> tuple[int, int]:
    number = 0
    for place in range(start, min(start + LONGEST_VARINT_BYTES, len(data))):
        byte = data[place]
        number |= (byte & 0x7F) << 7 * (place - start)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), place + 1
    if len(data) - start >= LONGEST_VARINT_BYTES:
        raise MalformedInput(f"a message index of more than {LONGEST_VARINT_BYTES} bytes, at {start}")
    raise TruncatedInput(f"the message indexes reach past the end of {len(data)} bytes")
