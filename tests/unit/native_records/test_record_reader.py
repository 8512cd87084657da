from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from pystream._native import compression, crc32c, record_reader
from pystream._native.record_reader import Record, RecordReader
from pystream.common import errors
from tests.model.record_model import HEADER, ModelBatch, ModelRecord, batch_of, zigzag
from tests.support.record_oracles import aiokafka_build, kafka_python_build
from tests.support.record_strategies import CODECS, GOLDEN_CLIENTS, golden, golden_records

INT64_MAX = (1 << 63) - 1
THREE = [
    ModelRecord(5, 100, b"k", b"v0"),
    ModelRecord(6, 300, None, b"v1", (("h", None),)),
    ModelRecord(7, 200, b"k", None),
]


def read(data: bytes, **keywords) -> list[ModelRecord]:
    return [
        ModelRecord(record.offset, record.timestamp, record.key, record.value, record.headers)
        for record in RecordReader(data, **keywords)
    ]


def compressed(batch: ModelBatch, codec: int) -> bytes:
    return replace(batch, attributes=batch.attributes | codec, body=compression.compress(batch.body, codec)).encode()


def body_batch(body: bytes, count: int = 1) -> bytes:
    return ModelBatch(record_count=count, last_offset_delta=count - 1, base_timestamp=10, body=body).encode()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("client", GOLDEN_CLIENTS)
def test_batches_of_real_clients_give_their_records(client, codec):
    assert read(golden(client)[codec]) == golden_records()


@pytest.mark.parametrize("codec", range(5), ids=CODECS)
@pytest.mark.parametrize("build", [kafka_python_build, aiokafka_build])
def test_batches_of_other_builders_give_their_records(build, codec):
    assert read(build(golden_records(), codec)) == golden_records()


@pytest.mark.parametrize("codec", range(5), ids=CODECS)
def test_neighbouring_batches_are_read_to_the_last_whole_one(codec):
    batch = batch_of(THREE)
    data = compressed(batch, codec) if codec else batch.encode()
    assert read(data + data + data[:-1]) == THREE + THREE


def test_control_batches_are_left_out_unless_asked_for():
    marker = golden("java-4.2.0")["commit-marker"]
    assert read(marker) == []
    (record,) = read(marker, include_control=True)
    assert (record.offset, record.key) == (40, b"\0\0\0\1")


def test_log_append_time_overrides_the_records_own():
    data = replace(batch_of(THREE), attributes=8, max_timestamp=999).encode()
    assert {record.timestamp for record in read(data)} == {999}


def test_a_batch_that_compaction_has_emptied_holds_nothing():
    assert read(ModelBatch(base_offset=3, last_offset_delta=9).encode()) == []


def test_a_header_key_that_is_no_utf8_survives():
    assert read(batch_of([ModelRecord(0, 1, None, None, (("\udcff", b"x"),))]).encode())[0].headers[0][0] == "\udcff"


def test_a_record_knows_equality_hash_and_its_fields():
    one, other = Record(1, 2, b"k", None, [("h", b"x")]), Record(1, 2, b"k", None, (("h", b"x"),))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Record(2, 2, b"k", None)
    assert one != (1, 2)
    assert repr(one) == "Record(offset=1, timestamp=2, key=b'k', value=None, headers=(('h', b'x'),))"


def test_a_wrong_crc_is_refused_before_anything_is_read():
    data = bytearray(batch_of(THREE).encode())
    data[-1] ^= 1
    with pytest.raises(errors.CorruptRecordBatch):
        read(bytes(data))


DELTAS = zigzag(0) + zigzag(0)  # of timestamp and offset
NULL, NONE = zigzag(-1), zigzag(0)  # a null key or value; no headers
SMALLEST = zigzag(6) + b"\0" + DELTAS + NULL + NULL + NONE
TRUNCATED, MALFORMED = errors.TruncatedInput, errors.MalformedInput
BROKEN = [
    ("a record longer than its batch", zigzag(200) + SMALLEST[1:], TRUNCATED),
    ("a negative record length", zigzag(-7) + SMALLEST[1:], MALFORMED),
    ("a key longer than its record", zigzag(6) + b"\0" + DELTAS + zigzag(4) + NULL + NONE, TRUNCATED),
    ("a key size below -1", zigzag(6) + b"\0" + DELTAS + zigzag(-2) + NULL + NONE, MALFORMED),
    ("a value longer than its record", zigzag(6) + b"\0" + DELTAS + NULL + zigzag(9) + NONE, TRUNCATED),
    ("a negative header count", zigzag(6) + b"\0" + DELTAS + NULL + NULL + zigzag(-1), MALFORMED),
    ("more headers than bytes", zigzag(8) + b"\0" + DELTAS + NULL + NULL + zigzag(2) + b"\0\1", TRUNCATED),
    ("a header without a key", zigzag(8) + b"\0" + DELTAS + NULL + NULL + zigzag(1) + b"\1\1", MALFORMED),
    ("bytes behind the last header", zigzag(7) + SMALLEST[1:] + b"\0", MALFORMED),
    ("an offset delta above the last", zigzag(6) + b"\0" + zigzag(0) + zigzag(1) + NULL + NULL + NONE, MALFORMED),
    ("a negative offset delta", zigzag(6) + b"\0" + zigzag(0) + zigzag(-1) + NULL + NULL + NONE, MALFORMED),
    ("a varint of six bytes", b"\x8c\x80\x80\x80\x80\x00" + SMALLEST[1:], MALFORMED),
    ("a varint above 32 bits", b"\x8c\x80\x80\x80\x10" + SMALLEST[1:], MALFORMED),
    ("a timestamp that overflows", zigzag(15) + b"\0" + zigzag(INT64_MAX) + zigzag(0) + NULL + NULL + NONE, MALFORMED),
    ("bytes behind the last record", SMALLEST + b"\0", MALFORMED),
]


@pytest.mark.parametrize(("body", "error"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_lengths_and_counts_that_lie_are_refused(body, error):
    with pytest.raises(error):
        read(body_batch(body))


def test_a_whole_small_record_is_read():
    assert read(body_batch(SMALLEST)) == [ModelRecord(0, 10, None, None)]


def test_a_count_above_what_the_bytes_can_hold_is_refused_at_once():
    with pytest.raises(errors.TruncatedInput):
        read(body_batch(SMALLEST, count=(1 << 31) - 1))


def test_an_offset_that_would_overflow_is_refused():
    data = replace(batch_of(THREE), base_offset=(1 << 63) - 3).encode()
    with pytest.raises(errors.MalformedInput):
        read(data)


def test_the_limit_on_decompressed_records_holds():
    data = compressed(batch_of([ModelRecord(0, 0, None, bytes(1 << 20))]), compression.Codec.ZSTD)
    assert len(read(data)) == 1
    with pytest.raises(errors.LimitExceeded):
        read(data, limit=1 << 20)


def test_after_a_refusal_the_reader_goes_on_behind_the_batch():
    broken = bytearray(batch_of(THREE).encode())
    broken[-1] ^= 1
    reader = RecordReader(bytes(broken) + batch_of(THREE).encode())
    with pytest.raises(errors.CorruptRecordBatch):
        next(reader)
    assert [record.offset for record in reader] == [5, 6, 7]


def test_the_reader_keeps_its_buffer_from_being_resized():
    data = bytearray(batch_of(THREE).encode())
    reader = RecordReader(data)
    next(reader)
    with pytest.raises(BufferError):
        data.clear()


@pytest.mark.parametrize("codec", range(5), ids=CODECS)
def test_the_first_record_at_or_after_a_time_is_found_in_offset_order(codec):
    batch = batch_of(THREE)
    data = compressed(batch, codec) if codec else batch.encode()
    assert record_reader.find_timestamp(data, 0) == (100, 5)
    assert record_reader.find_timestamp(data, 101) == (300, 6)
    assert record_reader.find_timestamp(data, 101, from_offset=7) == (200, 7)
    assert record_reader.find_timestamp(data, 101, limit_offset=6) is None
    assert record_reader.find_timestamp(data, 301) is None


def test_the_first_of_the_records_with_the_highest_timestamp_is_found():
    records = [ModelRecord(0, 5, None, b""), ModelRecord(1, 9, None, b""), ModelRecord(2, 9, None, b"")]
    data = batch_of(records).encode()
    assert record_reader.find_max_timestamp(data) == (9, 1)
    assert record_reader.find_max_timestamp(data, from_offset=2) == (9, 2)
    assert record_reader.find_max_timestamp(data, from_offset=3) is None


def test_searching_a_broken_batch_says_so():
    data = bytearray(batch_of(THREE).encode())
    data[61] = 0xFE
    with pytest.raises(errors.MalformedInput):
        record_reader.find_timestamp(bytes(data), 1 << 60)
    with pytest.raises(errors.MalformedInput):
        record_reader.find_max_timestamp(bytes(data))


def test_checking_asks_for_keys_only_where_told():
    data = batch_of(THREE).encode()
    record_reader.check(data)
    with pytest.raises(errors.InvalidRecord, match="record 1 "):
        record_reader.check(data, require_keys=True)


def test_checking_refuses_offsets_with_gaps():
    gap = batch_of([THREE[0], THREE[2]]).encode()
    assert struct.unpack_from(">i", gap, 57) == (2,)
    assert crc32c.crc32c(gap[21:]) == HEADER.unpack_from(gap)[4]
    with pytest.raises(errors.InvalidRecord, match="record 1 "):
        record_reader.check(gap)
