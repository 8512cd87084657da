"""Kafka's own kafka-dump-log reads every type of record of the coordinators' topics, every field of it."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder
from pystream.common.model import uuid_text
from pystream.protocol.coordinator_records.codec import RecordCodec
from pystream.protocol.coordinator_records.offset_commit import OffsetCommitKey, OffsetCommitValue
from tests.conformance import kafka_dump
from tools.codegen.coordinator_records import TABLE, RecordType, record_types
from tools.codegen.schema import Field, Struct

DECODERS = {
    "__consumer_offsets": "--offsets-decoder",
    "__transaction_state": "--transaction-log-decoder",
    "__share_group_state": "--share-group-state-decoder",
}
LINE = re.compile(r"\| offset: \d+ .*? key: (\{.*\}) payload: (\{.*\})$")
NOW_MS = 1_700_000_000_000


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


class Samples:
    """Values for every field, no two alike, as ours and as Kafka's tool prints them."""

    def __init__(self, found: RecordType) -> None:
        self._module = import_module(f"pystream.protocol.coordinator_records.{found.schema.name}")
        self._numbers = itertools.count(1)

    def of(self, name: str, struct: Struct) -> tuple[Any, dict[str, Any]]:
        ours, shown = {}, {}
        for field in struct.fields:
            if field.is_array:
                values = [self._single(field) for _ in range(2)]
                ours[field.name] = [value for value, _ in values]
                shown[camel(field.name)] = [text for _, text in values]
            else:
                ours[field.name], shown[camel(field.name)] = self._single(field)
        return getattr(self._module, name)(**ours), shown

    def _single(self, field: Field) -> tuple[Any, Any]:
        if field.struct is not None:
            return self.of(field.struct.name, field.struct)
        number = next(self._numbers)
        if field.kind == "string":
            return (text := f"{field.name}-{number}"), text
        if field.kind == "bytes":
            return (data := bytes([number, 0xFF])), base64.b64encode(data).decode()
        if field.kind == "uuid":
            return (identity := bytes([number] * 16)), uuid_text(identity)
        return number, number


def records(topic: str) -> Iterator[tuple[Any, Any, int, dict[str, Any], dict[str, Any]]]:
    """(key, value, type, what is shown of the key, what is shown of the value) of every type, as we write it."""
    for found in record_types(TABLE.read_text()):
        if found.topic == topic:
            key_schema, value_schema = found.schema.messages
            samples = Samples(found)
            key, shown_key = samples.of(key_schema.name, key_schema.versions[0])
            value, shown_value = samples.of(value_schema.name, value_schema.versions[found.writes])
            yield key, value, found.number, shown_key, shown_value


def write_log(folder: Path, pairs: list[tuple[Any, Any]], topic: str) -> Path:
    codec = RecordCodec(topic)
    builder = RecordBatchBuilder()
    for key, value in pairs:
        key_bytes, value_bytes = codec.encode(key, value)
        builder.append(value_bytes, key=key_bytes, timestamp=NOW_MS)
    log = LocalLog.open(str(folder / f"{topic}-0"))
    log.append(builder.build(), now_ms=NOW_MS)
    log.close()
    return next((folder / f"{topic}-0").glob("*.log"))


@pytest.mark.parametrize("topic", DECODERS)
def test_kafka_reads_every_field_of_every_record(topic: str, tmp_path: Path):
    expected = list(records(topic))
    assert expected
    segment = write_log(tmp_path, [(key, value) for key, value, *_ in expected], topic)

    lines = kafka_dump.run("--deep-iteration", DECODERS[topic], files=[segment]).splitlines()

    found = [match.groups() for line in lines if (match := LINE.match(line))]
    shown = [(json.loads(key), json.loads(value)["data"]) for key, value in found]
    assert [(int(key["type"]), key["data"], value) for key, value in shown] == [
        (number, key, value) for _, _, number, key, value in expected
    ]


def test_kafka_reads_offsets_that_expire_and_tombstones(tmp_path: Path):
    key = OffsetCommitKey(group="g", topic="t", partition=3)
    expiring = OffsetCommitValue(offset=5, metadata="m", commit_timestamp=1, expire_timestamp=2)
    segment = write_log(tmp_path, [(key, expiring), (key, None)], "__consumer_offsets")

    text = kafka_dump.run("--deep-iteration", "--offsets-decoder", files=[segment])

    assert '"version":"1","data":{"offset":5,"metadata":"m","commitTimestamp":1,"expireTimestamp":2}' in text
    assert re.search(r'"partition":3\}\} payload: (<DELETE>|null)', text), text
