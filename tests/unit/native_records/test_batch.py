from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from pystream._native import batch
from pystream.common import errors
from tests.model.record_model import ModelRecord, batch_of
from tests.support.record_strategies import GOLDEN_CLIENTS, golden

SMALL = batch_of([ModelRecord(0, 1000, b"k", b"v"), ModelRecord(1, 1500, None, b"w")])


def changed(data: bytes, position: int, layout: str, value: int) -> bytes:
    altered = bytearray(data)
    struct.pack_into(layout, altered, position, value)
    return bytes(altered)


@pytest.mark.parametrize("client", GOLDEN_CLIENTS)
def test_batches_of_real_clients_are_valid(client):
    for name, data in golden(client).items():
        header = batch.validate(data)
        assert header.size == len(data)
        assert header.record_count == (1 if name == "commit-marker" else 12)
        assert header.is_control == (name == "commit-marker")
        assert header.is_transactional == (name in ("transactional", "commit-marker"))


def test_a_header_shows_every_field():
    data = golden("java-4.2.0")["transactional"]
    header = batch.parse_header(data)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4711, 3, 120)
    assert (header.base_offset, header.last_offset_delta, header.next_offset) == (0, 11, 12)
    assert (header.base_timestamp, header.max_timestamp) == (1_700_000_000_000, 1_700_000_011_000)
    assert (header.codec, header.is_log_append_time, header.partition_leader_epoch) == (4, False, 0)


def test_headers_of_neighbouring_batches_come_one_after_the_other():
    data = SMALL.encode() + replace(SMALL, base_offset=2).encode()
    assert [header.base_offset for header in batch.parse_headers(data)] == [0, 2]


def test_a_last_batch_that_is_cut_short_is_named_with_its_position():
    data = SMALL.encode()
    with pytest.raises(errors.TruncatedInput, match=f"position {len(data)}"):
        batch.parse_headers(data + data[:-1])


def test_every_truncation_is_refused():
    data = SMALL.encode()
    for size in range(len(data)):
        with pytest.raises(errors.TruncatedInput):
            batch.validate(data[:size])


def test_every_flipped_bit_is_refused_but_in_what_the_broker_stamps():
    data = SMALL.encode()
    stamped = set(range(8)) | set(range(12, 16))
    for position in range(len(data)):
        for bit in range(8):
            flipped = changed(data, position, "B", data[position] ^ 1 << bit)
            if position in stamped:
                batch.validate(flipped)
            else:
                with pytest.raises((errors.CorruptRecordBatch, errors.TruncatedInput, errors.InvalidRecord)):
                    batch.validate(flipped)


def test_more_bytes_may_follow_the_batch():
    data = SMALL.encode()
    assert batch.validate(data + b"rest").size == len(data)


def test_a_batch_above_the_limit_is_refused_before_it_is_whole():
    data = SMALL.encode()
    assert batch.validate(data, len(data)).record_count == 2
    for part in (data, data[:61]):
        with pytest.raises(errors.MessageTooLarge):
            batch.validate(part, len(data) - 1)


@pytest.mark.parametrize("length", [0, -1, 48, -(1 << 31), (1 << 31) - 1])
def test_an_impossible_length_is_corrupt(length):
    with pytest.raises(errors.CorruptRecordBatch):
        batch.parse_header(changed(SMALL.encode(), 8, ">i", length))


@pytest.mark.parametrize("magic", [0, 1, 3, 255])
def test_another_magic_is_refused(magic):
    with pytest.raises(errors.InvalidRecord, match="magic"):
        batch.validate(changed(SMALL.encode(), 16, "B", magic))


def test_a_wrong_crc_is_named_before_anything_that_it_covers():
    data = changed(replace(SMALL, attributes=7, record_count=-5).encode(), 17, ">I", 0)
    with pytest.raises(errors.CorruptRecordBatch):
        batch.validate(data)


REFUSED = [
    ("an unknown codec", {"attributes": 5}, errors.UnsupportedCompressionType),
    ("an unknown attribute", {"attributes": 0x80}, errors.InvalidRecord),
    ("the sign bit of the attributes", {"attributes": -0x8000}, errors.InvalidRecord),
    ("no record", {"record_count": 0, "last_offset_delta": -1}, errors.InvalidRecord),
    ("a negative count", {"record_count": -1}, errors.InvalidRecord),
    ("a count above the deltas", {"record_count": 3}, errors.InvalidRecord),
    ("deltas above the count", {"last_offset_delta": 2}, errors.InvalidRecord),
    ("a count that overflows", {"record_count": -(1 << 31), "last_offset_delta": (1 << 31) - 1}, errors.InvalidRecord),
    ("more records than bytes", {"record_count": 10, "last_offset_delta": 9}, errors.InvalidRecord),
    ("no bytes for the records", {"body": b""}, errors.InvalidRecord),
    ("a timestamp below -1", {"base_timestamp": -2}, errors.InvalidTimestamp),
    ("a highest timestamp below -1", {"max_timestamp": -2}, errors.InvalidTimestamp),
    ("a producer id below -1", {"producer_id": -2}, errors.InvalidRecord),
    ("a producer without an epoch", {"producer_id": 1, "base_sequence": 0}, errors.InvalidRecord),
    ("a producer without a sequence", {"producer_id": 1, "producer_epoch": 0}, errors.InvalidRecord),
    ("a transaction without a producer", {"attributes": 0x10}, errors.InvalidRecord),
]


@pytest.mark.parametrize(("fields", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_contradictions_under_a_right_crc_are_refused(fields, error):
    with pytest.raises(error):
        batch.validate(replace(SMALL, **fields).encode())


def test_clients_that_leave_zeros_where_no_producer_is_are_accepted():
    assert batch.validate(replace(SMALL, producer_epoch=0, base_sequence=0).encode()).producer_id == -1


def test_stamping_leaves_the_crc_right():
    data = bytearray(SMALL.encode())
    batch.stamp(data, 1 << 40, 17)
    header = batch.validate(data)
    assert (header.base_offset, header.partition_leader_epoch) == (1 << 40, 17)


def test_log_append_time_changes_attribute_timestamp_and_crc_only():
    data = bytearray(SMALL.encode())
    batch.stamp_append_time(data, 777_777)
    assert bytes(data) == replace(SMALL, attributes=8, max_timestamp=777_777).encode()
    assert batch.validate(data).is_log_append_time


def test_a_read_only_buffer_is_not_written():
    data = SMALL.encode()
    with pytest.raises((BufferError, ValueError)):
        batch.stamp(data, 1, 1)
    assert data == SMALL.encode()


def test_what_is_no_whole_batch_is_not_stamped():
    with pytest.raises(errors.TruncatedInput):
        batch.stamp(bytearray(60), 1, 1)
    with pytest.raises(errors.TruncatedInput):
        batch.stamp_append_time(bytearray(SMALL.encode()[:-1]), 1)
