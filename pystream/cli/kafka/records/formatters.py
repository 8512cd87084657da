"""Records as text: how kafka-console-consumer prints them (Kafka's MessageFormatters).

DefaultMessageFormatter   CreateTime:17 TAB Partition:0 TAB Offset:5 TAB h:v,h:v TAB key TAB value, as properties say
LoggingMessageFormatter   the same, and a line about each record to standard error
NoOpMessageFormatter      nothing
OffsetsMessageFormatter, GroupMetadataMessageFormatter, TransactionLogMessageFormatter, ShareGroupStateMessageFormatter
                          the records of Kafka's own topics as JSON: see `coordinator_records`
"""

from __future__ import annotations

import struct
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from pystream.cli.kafka.options import WrongUsage
from pystream.common.errors import MalformedInput
from pystream.common.model import CONSUMER_OFFSETS_TOPIC, SHARE_GROUP_STATE_TOPIC, TRANSACTION_STATE_TOPIC

NO_TIMESTAMP: Final = -1
TIMESTAMP_TYPES: Final = ("CreateTime", "LogAppendTime")
PACKAGE: Final = "org.apache.kafka.tools.consumer."
DEFAULT: Final = f"{PACKAGE}DefaultMessageFormatter"
# formatter -> the topic whose records it knows, and which types of them
OF_TOPICS: Final = {
    "OffsetsMessageFormatter": (CONSUMER_OFFSETS_TOPIC, frozenset({0, 1})),
    "GroupMetadataMessageFormatter": (CONSUMER_OFFSETS_TOPIC, frozenset({2})),
    "TransactionLogMessageFormatter": (TRANSACTION_STATE_TOPIC, frozenset({0})),
    "group.share.ShareGroupStateMessageFormatter": (SHARE_GROUP_STATE_TOPIC, frozenset({0, 1})),
}


class Record(Protocol):
    """What is printed of a record."""

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


Formatter = Callable[[Record], bytes]
Decoder = Callable[[bytes], str]


def _number(form: str, kind: str) -> Decoder:
    size = struct.calcsize(form)

    def decode(data: bytes) -> str:
        if len(data) != size:
            raise MalformedInput(f"Size of data received by {kind}Deserializer is not {size}")
        return str(struct.unpack(form, data)[0])

    return decode


def _boolean(data: bytes) -> str:
    if data not in (b"\0", b"\1"):
        raise MalformedInput(f"Unexpected byte received by BooleanDeserializer: {data.hex()}")
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


class DefaultFormatter:
    """Kafka's DefaultMessageFormatter."""

    def __init__(self, properties: Mapping[str, str]) -> None:
        def yes(name: str, otherwise: bool = False) -> bool:
            return properties[name].strip().lower() == "true" if name in properties else otherwise

        def text(name: str, otherwise: str) -> bytes:
            return properties.get(name, otherwise).encode("utf-8", "surrogateescape")

        self._key_decoder = decoder(properties.get("key.deserializer"))
        self._value_decoder = decoder(properties.get("value.deserializer"))
        self._headers_decoder = decoder(properties.get("headers.deserializer"))
        shown = {name: yes(f"print.{name}") for name in ("timestamp", "partition", "offset", "delivery", "epoch")}
        shown |= {"headers": yes("print.headers"), "key": yes("print.key"), "value": yes("print.value", True)}
        columns = {
            "timestamp": _timestamp,
            "partition": lambda record: b"Partition:%d" % record.partition,
            "offset": lambda record: b"Offset:%d" % record.offset,
            "delivery": lambda record: b"Delivery:%s" % _present(getattr(record, "delivery_count", None)),
            "epoch": lambda _: b"Epoch:NOT_PRESENT",  # Kafka's consoles do not hand it to their formatters
            "headers": self._headers,
            "key": lambda record: self._text(record.key, self._key_decoder),
            "value": lambda record: self._text(record.value, self._value_decoder),
        }
        self._columns: list[Formatter] = [columns[name] for name, wanted in shown.items() if wanted]
        self._separator = text("key.separator", "\t")
        self._end = text("line.separator", "\n")
        self._headers_separator = text("headers.separator", ",")
        self._null = text("null.literal", "null")

    def __call__(self, record: Record) -> bytes:
        if not self._columns:
            return b""
        return self._separator.join([column(record) for column in self._columns]) + self._end

    def _headers(self, record: Record) -> bytes:
        pairs = [name.encode() + b":" + self._text(each, self._headers_decoder) for name, each in record.headers]
        return self._headers_separator.join(pairs) if pairs else b"NO_HEADERS"

    def _text(self, data: bytes | None, decode: Decoder | None) -> bytes:
        if data is None:
            data = self._null
        return data if decode is None else decode(data).encode("utf-8", "surrogateescape")


def _timestamp(record: Record) -> bytes:
    if record.timestamp == NO_TIMESTAMP:
        return b"NO_TIMESTAMP"
    return b"%s:%d" % (TIMESTAMP_TYPES[record.timestamp_type].encode(), record.timestamp)


def _present(number: int | None) -> bytes:
    return b"NOT_PRESENT" if number is None else b"%d" % number


def _logging(properties: Mapping[str, str]) -> Formatter:
    default = DefaultFormatter(properties)

    def write(record: Record) -> bytes:
        timestamp = _timestamp(record).decode()
        key, content = (
            "null" if data is None else data.decode("utf-8", "replace") for data in (record.key, record.value)
        )
        print(f"{'' if timestamp == 'NO_TIMESTAMP' else timestamp + ', '}key:{key}, value:{content}", file=sys.stderr)
        return default(record)

    return write


def formatter(name: str, properties: Mapping[str, str]) -> Formatter:
    """Of a class name. Raises WrongUsage for a class that is none of Kafka's own."""
    simple = name.removeprefix(PACKAGE)
    if simple == "DefaultMessageFormatter":
        return DefaultFormatter(properties)
    if simple == "LoggingMessageFormatter":
        return _logging(properties)
    if simple == "NoOpMessageFormatter":
        return lambda _: b""
    if simple in OF_TOPICS:
        from pystream.cli.kafka.records.coordinator_records import as_line

        topic, types = OF_TOPICS[simple]
        return lambda record: as_line(topic, types, record.key, record.value)
    known = ", ".join(("DefaultMessageFormatter", "LoggingMessageFormatter", "NoOpMessageFormatter", *OF_TOPICS))
    raise WrongUsage(f"{name}: there is no Java here, but of {PACKAGE}* these are known: {known}")
