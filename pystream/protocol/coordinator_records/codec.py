"""Records of a coordinator's topic to bytes and back.

    key     type int16    | fields of the key, version 0
    value   version int16 | fields of the value            a null value is a tombstone

The version that is written is the one that Apache Kafka 4.2 writes; all that it reads are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pystream._native.wire import Reader, Writer
from pystream.common.errors import UnknownRecord
from pystream.protocol.coordinator_records.index import INDEX, Entry
from pystream.protocol.coordinator_records.offset_commit import OffsetCommitValue
from pystream.protocol.message import Message

if TYPE_CHECKING:
    from typing_extensions import Buffer

KEY_VERSION = 0
NO_EXPIRE_TIMESTAMP = -1
EXPIRING_OFFSET_VERSION = 1  # the only version of OffsetCommitValue that has room for a time of expiry


class Decoded(NamedTuple):
    """A record's messages; no value is a tombstone."""

    key: Message
    value: Message | None


class RecordCodec:
    """The codec of one coordinator's topic."""

    __slots__ = ("_by_class", "_by_number")

    def __init__(self, topic: str) -> None:
        entries = INDEX[topic]
        self._by_class: dict[type[Message], Entry] = {entry.key: entry for entry in entries}
        self._by_number: dict[int, Entry] = {
            number: entry for entry in entries for number in (*entry.also, entry.number)
        }

    def encode(self, key: Message, value: Message | None) -> tuple[bytes, bytes | None]:
        """The record's bytes. Raises OverflowError or TypeError for a field that its type cannot hold."""
        entry = self._by_class[type(key)]
        writer = Writer()
        writer.int16(entry.number)
        key.write(writer, KEY_VERSION)
        key_bytes = writer.getvalue()
        if value is None:
            return key_bytes, None
        version = written_version(entry, value)
        writer.clear()
        writer.int16(version)
        value.write(writer, version)
        return key_bytes, writer.getvalue()

    def decode(self, key: Buffer, value: Buffer | None) -> Decoded:
        """The messages of a record.

        Raises UnknownRecord for a type or a version that Kafka 4.2 does not have, MalformedInput for bytes that are not
        what they say. What follows the last field that is known is left alone, as Kafka does.
        """
        reader = Reader(key)
        number = reader.int16()
        entry = self._by_number.get(number)
        if entry is None:
            raise UnknownRecord(f"type {number}, expected one of {sorted(self._by_number)}")
        key_message = entry.key.read(reader, KEY_VERSION)
        if value is None:
            return Decoded(key_message, None)
        reader = Reader(value)
        version = reader.int16()
        if version not in entry.value.READERS:
            raise UnknownRecord(f"{entry.value.__name__}: version {version}, expected up to {max(entry.value.READERS)}")
        return Decoded(key_message, entry.value.read(reader, version))


def written_version(entry: Entry, value: Message) -> int:
    """The version in which Kafka 4.2 writes `value`."""
    if isinstance(value, OffsetCommitValue) and value.expire_timestamp != NO_EXPIRE_TIMESTAMP:
        return EXPIRING_OFFSET_VERSION
    return entry.writes
