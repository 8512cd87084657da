"""Records of Kafka's own topics as JSON, as Kafka's tools write them: fields by their names in the schema."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final

from pystream.common.errors import MalformedInput
from pystream.common.model import UUID_SIZE_BYTES, uuid_text
from pystream.protocol.consumer_protocol import PROTOCOL_TYPE, read_assignment, read_subscription
from pystream.protocol.coordinator_records.codec import RecordCodec
from pystream.protocol.message import Struct

NUMBER_BYTES: Final = 2  # of a type or a version, before the fields


def as_text(topic: str, key: bytes | None, value: bytes | None) -> tuple[str | None, str | None]:
    """Key and value as kafka-dump-log writes them. Raises UnknownRecord, MalformedInput."""
    told_key, told_value = decoded(topic, key, value)
    if told_value is not None and told_value["data"].get("protocolType") == PROTOCOL_TYPE:
        for member in told_value["data"]["members"]:
            _read(member, "subscription", read_subscription)
            _read(member, "assignment", read_assignment)
    texts = [
        None
        if told is None
        else json.dumps({name: str(each) if isinstance(each, int) else each for name, each in told.items()}, **COMPACT)
        for told in (told_key, told_value)
    ]
    return texts[0], "<DELETE>" if texts[1] is None else texts[1]


COMPACT: Final[dict[str, Any]] = {"separators": (",", ":"), "ensure_ascii": False}


def _read(member: dict[str, Any], name: str, read: Callable[[bytes], Struct]) -> None:
    data = base64.b64decode(member[name])
    member[name] = fields(read(data)) if data else {}


def as_line(topic: str, types: frozenset[int], key: bytes | None, value: bytes | None) -> bytes:
    """Key and value as formatters of kafka-console-consumer write them; nothing for records of other types."""
    if key is None or int.from_bytes(key[:NUMBER_BYTES], "big") not in types:
        return b""
    told_key, told_value = decoded(topic, key, value)
    return json.dumps({"key": told_key, "value": told_value}, **COMPACT).encode()


def decoded(topic: str, key: bytes | None, value: bytes | None) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """{"type": …, "data": …} and {"version": …, "data": …}. Raises UnknownRecord, MalformedInput."""
    if key is None or len(key) < NUMBER_BYTES:
        raise MalformedInput("a record without a key")
    found = RecordCodec(topic).decode(key, value)
    told_key = {"type": int.from_bytes(key[:NUMBER_BYTES], "big"), "data": fields(found.key)}
    if found.value is None or value is None:
        return told_key, None
    return told_key, {"version": int.from_bytes(value[:NUMBER_BYTES], "big"), "data": fields(found.value)}


def fields(message: Struct) -> dict[str, Any]:
    """The fields of a message, by the names that Kafka's schemas give them."""
    return {_camel(name): _plain(name, getattr(message, name)) for name in type(message).__slots__}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Struct):
        return fields(value)
    if isinstance(value, list | tuple):
        return [_plain(name, each) for each in value]
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        is_id = name.endswith(("_id", "_ids")) and len(data) == UUID_SIZE_BYTES
        return uuid_text(data) if is_id else base64.b64encode(data).decode()
    return value
