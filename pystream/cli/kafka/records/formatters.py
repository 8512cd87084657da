"""Records as text: how kafka-console-consumer prints them (Kafka's MessageFormatters).

DefaultMessageFormatter   CreateTime:17 TAB Partition:0 TAB Offset:5 TAB h:v,h:v TAB key TAB value, as properties say
LoggingMessageFormatter   the same, and a line about each record to standard error
NoOpMessageFormatter      nothing
OffsetsMessageFormatter, GroupMetadataMessageFormatter, ShareGroupMessageFormatter, TransactionLogMessageFormatter,
ShareGroupStateMessageFormatter
                          the records of Kafka's own topics as JSON: see `coordinator_records`
"""

from __future__ import annotations

import struct
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

from pystream.cli.kafka.options import WrongUsage
from pystream.cli.records.writers import Column, Format, TextWriter, Writer, columns
from pystream.common.errors import SerializationError
from pystream.common.model import CONSUMER_OFFSETS_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC

if TYPE_CHECKING:
    from pystream.client.consumer.record_batch import RecordBatch

NO_TIMESTAMP: Final = -1
TIMESTAMP_TYPES: Final = ("CreateTime", "LogAppendTime")
PACKAGE: Final = "org.apache.kafka.tools.consumer."
DEFAULT: Final = f"{PACKAGE}DefaultMessageFormatter"
# formatter -> the topic whose records it knows, and which types of them
OF_TOPICS: Final = {
    "OffsetsMessageFormatter": (CONSUMER_OFFSETS_TOPIC, frozenset({0, 1})),
    "GroupMetadataMessageFormatter": (CONSUMER_OFFSETS_TOPIC, frozenset({2})),
    "ShareGroupMessageFormatter": (CONSUMER_OFFSETS_TOPIC, frozenset({10, 11, 12, 13, 14, 15})),
    "TransactionLogMessageFormatter": (TRANSACTION_STATE_TOPIC, frozenset({0})),
    "group.share.ShareGroupStateMessageFormatter": (SHARE_GROUP_STATE_TOPIC, frozenset({0, 1})),
}


class Record(Protocol):
    """What is printed of a record; `delivery_count` is a share consumer's."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> tuple[tuple[str, bytes | None], ...]: ...
    @property
    def delivery_count(self) -> int | None: ...


Decoder = Callable[[bytes], str]
Shown = Callable[["Record"], bytes]


def _number(form: str, kind: str) -> Decoder:
    size = struct.calcsize(form)

    def decode(data: bytes) -> str:
        if len(data) != size:
            raise SerializationError(f"Size of data received by {kind}Deserializer is not {size}")
        return str(struct.unpack(form, data)[0])

    return decode


def _boolean(data: bytes) -> str:
    if data not in (b"\0", b"\1"):
        raise SerializationError(f"Unexpected byte received by BooleanDeserializer: {data.hex()}")
    return "true" if data == b"\1" else "false"


# Kafka's own deserializers, and the texts of what they give
DECODERS: Final[dict[str, Decoder]] = {
    "String": lambda data: data.decode("utf-8", "replace"),
    "Short": _number(">h", "Short"),
    "Integer": _number(">i", "Integer"),
    "Long": _number(">q", "Long"),
    "Float": _number(">f", "Float"),
    "Double": _number(">d", "Double"),
    "Boolean": _boolean,
    "UUID": lambda data: str(uuid.UUID(data.decode("utf-8", "replace"))),
    "Bytes": lambda data: "".join(chr(c) if 32 <= c < 127 and c != 92 else f"\\x{c:02X}" for c in data),
}


def decoder(name: str | None) -> Decoder | None:
    """Of a class name. Raises WrongUsage for a class that is none of Kafka's own."""
    if not name:
        return None
    simple = name.rpartition(".")[2].removesuffix("Deserializer")
    if simple == "ByteArray":
        return None
    if simple not in DECODERS:
        raise WrongUsage(
            f"Unable to instantiate a deserializer from {name}: there is no Java here, but "
            f"org.apache.kafka.common.serialization.{{{','.join(DECODERS)}}}Deserializer are known"
        )
    return DECODERS[simple]


def default(properties: Mapping[str, str], out: BinaryIO) -> TextWriter:
    """Kafka's DefaultMessageFormatter."""

    def yes(name: str, otherwise: bool = False) -> bool:
        return properties[name].strip().lower() == "true" if name in properties else otherwise

    def text(name: str, otherwise: str) -> bytes:
        return properties.get(name, otherwise).encode("utf-8", "surrogateescape")

    null = text("null.literal", "null")
    key, content, header = (
        _decoded(decoder(properties.get(f"{name}.deserializer")), null) for name in ("key", "value", "headers")
    )
    between = text("headers.separator", ",")

    def headers(message: Record) -> bytes:
        return between.join([b"%b:%b" % (name.encode(), header(each)) for name, each in message.headers])

    known: dict[str, Column] = {
        **columns(),
        "timestamp": _each(_timestamp),
        "delivery": _each(lambda message: _present(message.delivery_count)),
        "headers": _each(lambda message: headers(message) if message.headers else b"NO_HEADERS"),
        "key": lambda batch, start, stop: [key(each) for each in batch.keys()[start:stop]],
        "value": lambda batch, start, stop: [content(each) for each in batch.values()[start:stop]],
    }
    parts: dict[str, tuple[bytes | str, ...]] = {
        "timestamp": ("timestamp",),
        "partition": (b"Partition:", "p"),
        "offset": (b"Offset:", "o"),
        "delivery": (b"Delivery:", "delivery"),
        "epoch": (b"Epoch:NOT_PRESENT",),  # Kafka's consoles do not hand it to their formatters
        "headers": ("headers",),
        "key": ("key",),
        "value": ("value",),
    }
    separator = text("key.separator", "\t")
    shown = [part for name in parts if yes(f"print.{name}", name == "value") for part in (separator, *parts[name])]
    return TextWriter(out, Format.of([*shown[1:], text("line.separator", "\n")] if shown else ()), known)


def _decoded(decode: Decoder | None, null: bytes) -> Callable[[bytes | None], bytes]:
    """What is shown of a key or a value; what stands for null is decoded, too, as there."""
    if decode is None:
        return lambda data: null if data is None else data
    return lambda data: decode(null if data is None else data).encode("utf-8", "surrogateescape")


def _each(shown: Shown) -> Column:
    return lambda batch, start, stop: [shown(message) for message in batch[start:stop]]


def _timestamp(message: Record) -> bytes:
    if message.timestamp == NO_TIMESTAMP:
        return b"NO_TIMESTAMP"
    return b"%s:%d" % (TIMESTAMP_TYPES[message.timestamp_type].encode(), message.timestamp)


def _present(number: int | None) -> bytes:
    return b"NOT_PRESENT" if number is None else b"%d" % number


class _Logging:
    """Kafka's LoggingMessageFormatter."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def write(self, batch: RecordBatch, start: int, stop: int) -> None:
        self._writer.write(batch, start, stop)
        for message in batch[start:stop]:
            timestamp = "" if message.timestamp == NO_TIMESTAMP else f"{_timestamp(message).decode()}, "
            key, content = (
                "null" if data is None else data.decode("utf-8", "replace") for data in (message.key, message.value)
            )
            print(f"{timestamp}key:{key}, value:{content}", file=sys.stderr)

    def close(self) -> None:
        self._writer.close()


def writer_of(name: str, properties: Mapping[str, str], out: BinaryIO) -> Writer:
    """Of a class name. Raises WrongUsage for a class that is none of Kafka's own."""
    simple = name.removeprefix(PACKAGE)
    if simple == "DefaultMessageFormatter":
        return default(properties, out)
    if simple == "LoggingMessageFormatter":
        return _Logging(default(properties, out))
    if simple == "NoOpMessageFormatter":
        return TextWriter(out, Format(()), {})
    if simple in OF_TOPICS:
        from pystream.cli.kafka.records.coordinator_records import as_line

        topic, types = OF_TOPICS[simple]
        line = _each(lambda message: as_line(topic, types, message.key, message.value))
        return TextWriter(out, Format(("line",)), {"line": line})
    known = ", ".join(("DefaultMessageFormatter", "LoggingMessageFormatter", "NoOpMessageFormatter", *OF_TOPICS))
    raise WrongUsage(f"{name}: there is no Java here, but of {PACKAGE}* these are known: {known}")
