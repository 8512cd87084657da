"""The records floor of the compiled core against plain Python: same values, same refusals, honest and damaged input."""

from __future__ import annotations

import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pystream._native import batch, crc32c, hash, record_builder, record_columns, record_reader
from pystream.common import errors
from tests.model import record_model as model
from tests.support.record_oracles import aiokafka_read, kafka_python_read
from tests.support.record_strategies import damage, records

REFUSALS = {
    "truncated": errors.TruncatedInput,
    "malformed": errors.MalformedInput,
    "corrupt": errors.CorruptRecordBatch,
    "invalid": errors.InvalidRecord,
    "too large": errors.MessageTooLarge,
    "codec": errors.UnsupportedCompressionType,
    "timestamp": errors.InvalidTimestamp,
}
INT64 = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-2, 2)
INT32 = st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(-2, 5)
INT16 = st.integers(-(1 << 15), (1 << 15) - 1) | st.sampled_from((0, 1, 4, 5, 8, 16, 32, 64, 128))


def outcome(function, *arguments, **keywords):
    """What a call gives: ("ok", value) or the class of the exception."""
    try:
        return "ok", function(*arguments, **keywords)
    except model.Refused as refused:
        return REFUSALS[refused.reason]
    except errors.PystreamError as error:
        return type(error)


def as_model(record: record_reader.Record) -> model.ModelRecord:
    return model.ModelRecord(record.offset, record.timestamp, record.key, record.value, record.headers)


def read_natively(data: bytes) -> list[model.ModelRecord]:
    """The records of the one batch at the start of `data`, by the reader and by columns, which must agree."""
    head = batch.parse_header(data)
    if head.size > len(data):
        raise errors.TruncatedInput(f"{len(data)} bytes of {head.size}")
    whole = data[: head.size]
    by_reader = [as_model(record) for record in record_reader.RecordReader(whole, include_control=True)]
    columns = record_columns.decode_columns(whole, from_offset=-1, include_control=True)
    rows = zip(
        memoryview(columns.offsets), memoryview(columns.timestamps), columns.keys(), columns.values(), strict=True
    )
    by_column = [model.ModelRecord(*row, columns.headers(index)) for index, row in enumerate(rows)]
    assert by_reader == by_column
    assert columns.consumed == head.size
    return by_reader


def with_right_crc(data: bytes) -> bytes:
    """Damage behind a CRC that fits: otherwise nothing but the CRC is ever tested.  The length is made to fit too."""
    if len(data) < model.HEADER.size:
        return data
    length = struct.pack(">i", len(data) - 12)
    return data[:8] + length + data[12:17] + struct.pack(">I", crc32c.crc32c(data[21:])) + data[21:]


def is_compressed(data: bytes) -> bool:
    return bool(batch.parse_header(data).attributes & 7)


# ---- checksums and hashes


@given(st.binary(max_size=2000), st.integers(0, 0xFFFFFFFF), st.sampled_from(crc32c.implementations()))
def test_every_crc_implementation_agrees_with_the_bitwise_model(data, value, implementation):
    assert crc32c.crc32c_with(implementation, data, value) == model.crc32c(data, value)


@given(st.binary(max_size=300))
def test_murmur2_agrees_with_the_model(data):
    assert hash.murmur2(data) == model.murmur2(data)


@given(st.binary(max_size=300), st.integers(0, model.MASK64))
def test_xxhash64_agrees_with_the_model(data, seed):
    assert hash.xxhash64(data, seed) == model.xxhash64(data, seed)


# ---- batches


@given(
    st.builds(
        model.ModelBatch,
        base_offset=INT64,
        partition_leader_epoch=INT32,
        magic=st.sampled_from((0, 1, 2, 2, 2, 2, 3, -1)),
        attributes=INT16,
        last_offset_delta=INT32,
        base_timestamp=INT64,
        max_timestamp=INT64,
        producer_id=INT64,
        producer_epoch=INT16,
        base_sequence=INT32,
        record_count=INT32,
        body=st.binary(max_size=60),
    ),
    st.integers(40, 200),
)
@example(model.batch_of([model.ModelRecord(0, 5, None, b"v")]), 200)
def test_validation_accepts_and_refuses_as_the_model(header, maximum_size):
    data = header.encode()
    found = outcome(batch.validate, data, maximum_size)
    expected = outcome(model.validate, data, maximum_size)
    if isinstance(expected, tuple):
        assert found == ("ok", tuple(getattr(expected[1], name) for name in batch.Header._fields))
    else:
        assert found == expected


@given(records(), st.data())
def test_validation_of_damaged_batches_accepts_and_refuses_as_the_model(honest, data):
    damaged = data.draw(damage(model.batch_of(honest).encode()))
    found, expected = outcome(batch.validate, damaged), outcome(model.validate, damaged)
    assert found[0] == expected[0] if isinstance(expected, tuple) else found == expected


@given(records(dense=False))
def test_reading_gives_what_the_model_encoded(honest):
    assert read_natively(model.batch_of(honest).encode()) == honest


@given(records(dense=False), st.data())
def test_reading_damaged_records_accepts_and_refuses_as_the_model(honest, data):
    damaged = with_right_crc(data.draw(damage(model.batch_of(honest).encode())))
    assume(len(damaged) < model.HEADER.size or not is_compressed(damaged))  # the model knows no codecs
    expected = outcome(model.read_records, damaged)
    if isinstance(expected, tuple):
        assert outcome(read_natively, damaged) == expected
    else:
        found = outcome(read_natively, damaged)
        assert not isinstance(found, tuple)
        # Which of two faults of one record is named first is nobody's business.
        both = {expected, found}
        assert both == {expected} or both == {errors.TruncatedInput, errors.MalformedInput}, both


@given(records(), st.data(), st.sampled_from((kafka_python_read, aiokafka_read)))
def test_damaged_batches_that_we_read_are_read_alike_by_other_clients(honest, data, read):
    """Left out: header keys that are no UTF-8, which those clients refuse and Java and we do not; and attributes of a
    record above 0x7F, which they take for the start of a varint and Java and we for the byte that it is.
    """
    damaged = with_right_crc(data.draw(damage(model.batch_of(honest).encode())))
    found = outcome(read_natively, damaged)
    if isinstance(found, tuple) and isinstance(outcome(batch.validate, damaged), tuple):
        keys = [key for record in found[1] for key, _ in record.headers]
        is_text = not any("\ud800" <= character <= "\udfff" for key in keys for character in key)
        if is_text and (is_compressed(damaged) or max(model.record_attributes(damaged), default=0) < 0x80):
            assert read(damaged) == found[1]


@given(records(dense=False), st.integers(0, 7))
def test_building_gives_what_the_model_encodes(honest, epoch):
    builder = record_builder.RecordBatchBuilder(
        base_offset=honest[0].offset, partition_leader_epoch=epoch, producer_id=9, producer_epoch=epoch, base_sequence=3
    )
    for record in honest:
        builder.append(
            record.value, key=record.key, timestamp=record.timestamp, headers=record.headers, offset=record.offset
        )
    fields = {"partition_leader_epoch": epoch, "producer_id": 9, "producer_epoch": epoch, "base_sequence": 3}
    assert builder.build() == model.batch_of(honest, **fields).encode()


@given(records(), st.integers(-1, 1 << 42), st.integers(0, 12), st.integers(0, 12))
def test_searching_by_time_finds_the_record_that_a_scan_finds(honest, timestamp, skipped, length):
    data = model.batch_of(honest).encode()
    start = honest[0].offset + skipped
    bounds = {"from_offset": start, "limit_offset": start + length}
    inside = [record for record in honest if start <= record.offset < start + length]
    late = [(record.timestamp, record.offset) for record in inside if record.timestamp >= timestamp]
    assert record_reader.find_timestamp(data, timestamp, **bounds) == (late[0] if late else None)
    highest = max(inside, key=lambda record: (record.timestamp, -record.offset), default=None)
    expected = (highest.timestamp, highest.offset) if highest else None
    assert record_reader.find_max_timestamp(data, **bounds) == expected


@given(records(dense=False), st.booleans())
def test_check_accepts_exactly_dense_batches_with_keys_where_asked(honest, require_keys):
    base = honest[0].offset
    is_dense = all(record.offset == base + index for index, record in enumerate(honest))
    is_keyed = all(record.key is not None for record in honest)
    data = model.batch_of(honest).encode()
    if is_dense and (is_keyed or not require_keys):
        record_reader.check(data, require_keys=require_keys)
    else:
        with pytest.raises(errors.InvalidRecord):
            record_reader.check(data, require_keys=require_keys)
