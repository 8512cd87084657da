from __future__ import annotations

import numpy
import pytest

from pystream._native import batch
from pystream._native.record_builder import RecordBatchBuilder, recompress
from pystream._native.record_columns import decode_columns
from pystream._native.record_reader import Record, RecordReader, check
from pystream.common import errors
from tests.support.record_oracles import aiokafka_read, kafka_python_build, kafka_python_read
from tests.support.record_strategies import CODECS, golden, golden_records


def filled(**keywords) -> RecordBatchBuilder:
    builder = RecordBatchBuilder(**keywords)
    for record in golden_records():
        builder.append(record.value, key=record.key, timestamp=record.timestamp, headers=record.headers)
    return builder


def test_an_uncompressed_batch_is_byte_for_byte_what_other_clients_build():
    """Java writes leader epoch 0 where kafka-python writes -1: it is stamped by the broker and outside the CRC."""
    assert filled(partition_leader_epoch=0).build() == golden("java-4.2.0")["none"]
    assert filled(partition_leader_epoch=0).build() == golden("librdkafka-2.16.0")["none"]
    assert filled(partition_leader_epoch=-1).build()[16:] == kafka_python_build(golden_records(), 0)[16:]


@pytest.mark.parametrize("codec", range(5), ids=CODECS)
@pytest.mark.parametrize("read", [kafka_python_read, aiokafka_read])
def test_other_clients_read_what_we_build(read, codec):
    assert read(filled(codec=codec).build()) == golden_records()


@pytest.mark.parametrize("codec", range(5), ids=CODECS)
def test_a_built_batch_passes_every_check(codec):
    data = filled(codec=codec).build()
    assert batch.validate(data).codec == codec
    check(data)


def test_the_fields_of_the_header_are_those_given():
    builder = filled(
        codec=4, level=7, base_offset=70, partition_leader_epoch=6, producer_id=4711, producer_epoch=3,
        base_sequence=120, transactional=True,
    )  # fmt: skip
    header = batch.validate(builder.build())
    assert (header.base_offset, header.next_offset, header.partition_leader_epoch) == (70, 82, 6)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4711, 3, 120)
    assert header.is_transactional
    assert not header.is_control


def test_a_control_batch_is_marked():
    builder = RecordBatchBuilder(control=True, producer_id=1, producer_epoch=0)
    builder.append(b"\0\0\0\0\0\0", key=b"\0\0\0\1", timestamp=5)
    assert batch.validate(builder.build()).is_control


def test_log_append_time_is_the_highest_timestamp():
    header = batch.validate(filled(append_time_ms=42).build())
    assert (header.is_log_append_time, header.max_timestamp) == (True, 42)


def test_a_builder_is_empty_after_building_and_can_be_used_again():
    builder = filled()
    first = builder.build()
    assert len(builder) == 0
    with pytest.raises(ValueError, match="at least one record"):
        builder.build()
    for record in golden_records():
        builder.append(record.value, key=record.key, timestamp=record.timestamp, headers=record.headers)
    assert builder.build() == first


def test_appending_gives_the_offset():
    builder = RecordBatchBuilder(base_offset=10)
    assert [builder.append(None, timestamp=0), builder.append(None, timestamp=0, offset=15)] == [10, 15]
    assert builder.append(None, timestamp=0) == 16
    assert [record.offset for record in RecordReader(builder.build())] == [10, 15, 16]


@pytest.mark.parametrize("offset", [9, 10, 15, 10 + (1 << 31)])
def test_an_offset_that_does_not_rise_or_is_too_far_away_is_refused(offset):
    builder = RecordBatchBuilder(base_offset=10)
    builder.append(None, timestamp=0, offset=15)
    with pytest.raises(errors.MalformedInput):
        builder.append(None, timestamp=0, offset=offset)


def test_the_limit_holds_and_what_does_not_fit_leaves_nothing_behind():
    builder = RecordBatchBuilder(limit=200)
    builder.append(bytes(100), timestamp=0)
    before = builder.size_bytes
    for value, key in ((bytes(100), None), (None, bytes(100)), (bytes(1 << 20), bytes(1 << 20))):
        with pytest.raises(errors.MessageTooLarge):
            builder.append(value, key=key, timestamp=0)
    with pytest.raises(errors.MessageTooLarge):
        builder.append(b"", timestamp=0, headers=[("h", bytes(100))])
    assert (len(builder), builder.size_bytes) == (1, before)
    assert len(builder.build()) == before


def test_a_batch_may_fill_its_limit_to_the_last_byte():
    exact = RecordBatchBuilder()
    exact.append(bytes(100), timestamp=0)
    size = exact.size_bytes
    RecordBatchBuilder(limit=size).append(bytes(100), timestamp=0)
    with pytest.raises(errors.MessageTooLarge):
        RecordBatchBuilder(limit=size - 1).append(bytes(100), timestamp=0)


def test_timestamps_below_minus_one_are_refused():
    builder = RecordBatchBuilder()
    builder.append(None, timestamp=-1)
    with pytest.raises(errors.InvalidTimestamp):
        builder.append(None, timestamp=-2)


def test_any_bytes_like_object_is_a_key_or_a_value():
    builder = RecordBatchBuilder()
    builder.append(memoryview(b"value"), key=bytearray(b"key"), timestamp=1, headers=[(b"h", bytearray(b"x"))])
    (record,) = RecordReader(builder.build())
    assert record == Record(0, 1, b"key", b"value", (("h", b"x"),))
    for wrong in ("text", 5):
        with pytest.raises(TypeError):
            builder.append(wrong, timestamp=1)


def test_lists_are_added_in_one_call():
    builder = RecordBatchBuilder()
    times = numpy.array([5, 6, 4], dtype=numpy.int64)
    assert builder.extend([b"a", None, b"c"], keys=[None, b"", b"k"], timestamps=times) == 3
    assert builder.extend([b"d"], timestamps=9) == 1
    found = [(record.timestamp, record.key, record.value) for record in RecordReader(builder.build())]
    assert found == [(5, None, b"a"), (6, b"", None), (4, b"k", b"c"), (9, None, b"d")]


def test_lists_of_different_lengths_and_other_types_are_refused():
    builder = RecordBatchBuilder()
    with pytest.raises(ValueError, match="2 keys for 1 values"):
        builder.extend([b"a"], keys=[b"k", b"l"], timestamps=0)
    with pytest.raises(ValueError, match="0 timestamps for 1 values"):
        builder.extend([b"a"], timestamps=numpy.array([], dtype=numpy.int64))
    with pytest.raises(TypeError, match="bytes or None expected, found str"):
        builder.extend(["a"], timestamps=0)


def test_adding_a_list_stops_at_the_limit_and_says_where():
    builder = RecordBatchBuilder(limit=1000)
    added = builder.extend([bytes(100)] * 20, timestamps=0)
    assert 0 < added < 20
    assert len(builder) == added
    assert builder.extend([bytes(100)], timestamps=0) == 0


@pytest.mark.parametrize("codec", range(5), ids=CODECS)
def test_columns_that_were_decoded_build_the_same_batch_again(codec):
    plain = RecordBatchBuilder()
    plain.extend([b"value %d" % i if i % 5 else None for i in range(100)], timestamps=7, keys=[b"k", None] * 50)
    data = plain.build()
    columns = decode_columns(data)
    builder = RecordBatchBuilder(codec=codec)
    added = builder.extend_columns(
        columns.data, columns.value_starts, columns.value_sizes, columns.timestamps, key_starts=columns.key_starts,
        key_sizes=columns.key_sizes,
    )  # fmt: skip
    assert added == 100
    again = builder.build()
    assert again == data if codec == 0 else decode_columns(again).values() == columns.values()


@pytest.mark.parametrize(("start", "size"), [(-1, 1), (0, 4), (4, 0), (3, 1), (0, -2), (1, (1 << 31) - 1)])
def test_rows_outside_of_their_data_are_refused(start, size):
    starts, sizes = numpy.array([0, start], dtype=numpy.int32), numpy.array([3, size], dtype=numpy.int32)
    with pytest.raises(ValueError, match="row 1"):
        RecordBatchBuilder().extend_columns(b"abc", starts, sizes, numpy.zeros(2, dtype=numpy.int64))


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="1 value starts and 1 sizes for 2 timestamps"):
        RecordBatchBuilder().extend_columns(
            b"abc", numpy.zeros(1, numpy.int32), numpy.zeros(1, numpy.int32), numpy.zeros(2, numpy.int64)
        )


def test_levels_and_codecs_out_of_bounds_are_refused():
    with pytest.raises(ValueError, match="level 23"):
        RecordBatchBuilder(codec=4, level=23)
    with pytest.raises(ValueError, match="codec 8"):
        RecordBatchBuilder(codec=8)


@pytest.mark.parametrize("after", range(5), ids=CODECS)
@pytest.mark.parametrize("before", CODECS)
def test_a_batch_can_change_its_codec_and_nothing_else(before, after):
    data = golden("java-4.2.0")[before]
    changed = recompress(data, after)
    assert list(RecordReader(changed)) == list(RecordReader(data))
    was, now = batch.validate(data), batch.validate(changed)
    assert now.codec == after
    alike = was._replace(size=now.size, crc=now.crc, attributes=now.attributes)
    assert now == alike
    assert kafka_python_read(changed) == golden_records()


def test_flags_and_producer_outlive_a_change_of_codec():
    header = batch.validate(recompress(golden("java-4.2.0")["transactional"], 3, level=9))
    assert (header.attributes, header.producer_id, header.base_sequence) == (0x10 | 3, 4711, 120)


def test_what_is_not_valid_or_above_the_limit_does_not_change_its_codec():
    data = golden("java-4.2.0")["zstd"]
    with pytest.raises(errors.CorruptRecordBatch):
        recompress(data[:-1] + bytes([data[-1] ^ 1]), 0)
    with pytest.raises(errors.LimitExceeded):
        recompress(data, 0, limit=1000)
    with pytest.raises(errors.UnsupportedCompressionType):
        recompress(data, 5)
    with pytest.raises(ValueError, match="codec 8"):
        recompress(data, 8)
