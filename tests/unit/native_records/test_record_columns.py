from __future__ import annotations

import gc
from dataclasses import replace

import numpy
import pytest

from pystream._native import compression
from pystream._native.record_columns import decode_columns
from pystream.common import errors
from tests.model.record_model import ModelBatch, ModelRecord, batch_of
from tests.support.record_strategies import CODECS, GOLDEN_CLIENTS, golden, golden_records


def rows(columns) -> list[ModelRecord]:
    offsets, timestamps = numpy.asarray(columns.offsets).tolist(), numpy.asarray(columns.timestamps).tolist()
    pairs = zip(offsets, timestamps, columns.keys(), columns.values(), strict=True)
    return [ModelRecord(*row, columns.headers(index)) for index, row in enumerate(pairs)]


def at(offset: int, codec: int = 0, count: int = 3) -> bytes:
    batch = batch_of([ModelRecord(offset + i, 100 + i, b"k%d" % i, b"v%d" % (offset + i)) for i in range(count)])
    return replace(batch, attributes=codec, body=compression.compress(batch.body, codec)).encode()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("client", GOLDEN_CLIENTS)
def test_batches_of_real_clients_give_their_records(client, codec):
    assert rows(decode_columns(golden(client)[codec])) == golden_records()


def test_batches_of_different_codecs_share_one_buffer():
    data = b"".join(at(10 * codec, codec) for codec in range(5))
    columns = decode_columns(data)
    assert [record.offset for record in rows(columns)] == [10 * codec + i for codec in range(5) for i in range(3)]
    assert [record.value for record in rows(columns)] == [b"v%d" % (10 * c + i) for c in range(5) for i in range(3)]
    assert columns.next_offset == 43


def test_uncompressed_batches_are_not_copied():
    data = at(0)
    assert decode_columns(data).data is data


def test_numpy_sees_the_columns_without_a_copy_and_keeps_them_alive():
    columns = decode_columns(at(7))
    offsets = numpy.asarray(columns.offsets)
    sizes = numpy.asarray(columns.value_sizes)
    assert (offsets.dtype, sizes.dtype) == (numpy.int64, numpy.int32)
    assert not offsets.flags.writeable
    assert not offsets.flags.owndata
    del columns
    gc.collect()
    assert offsets.tolist() == [7, 8, 9]


def test_a_column_is_not_writable():
    with pytest.raises((BufferError, ValueError)):
        numpy.frombuffer(decode_columns(at(0)).offsets, dtype=numpy.int64)[0] = 1


def test_records_before_the_asked_offset_are_left_out():
    columns = decode_columns(at(0) + at(3) + at(6, 4), from_offset=4)
    assert numpy.asarray(columns.offsets).tolist() == [4, 5, 6, 7, 8]


def test_the_last_batch_may_be_cut_short():
    whole = at(0)
    for size in (1, 60, 61, len(whole) - 1):
        columns = decode_columns(whole + at(3)[:size])
        assert (len(columns), columns.consumed, columns.next_offset) == (3, len(whole), 3)


def test_nothing_gives_columns_without_rows():
    columns = decode_columns(b"")
    assert (len(columns), columns.next_offset, columns.consumed) == (0, -1, 0)
    assert columns.values() == []
    assert numpy.asarray(columns.offsets).tolist() == []


def test_an_emptied_batch_still_moves_the_next_offset():
    columns = decode_columns(at(0) + ModelBatch(base_offset=3, last_offset_delta=9).encode())
    assert (len(columns), columns.next_offset) == (3, 13)


def test_control_batches_are_left_out_unless_asked_for():
    marker = golden("java-4.2.0")["commit-marker"]
    assert (len(decode_columns(marker)), decode_columns(marker).next_offset) == (0, 41)
    assert len(decode_columns(marker, include_control=True)) == 1


def test_a_wrong_crc_is_refused_unless_it_is_not_to_be_checked():
    data = bytearray(at(0))
    data[-2] ^= 1
    with pytest.raises(errors.CorruptRecordBatch):
        decode_columns(bytes(data))
    assert len(decode_columns(bytes(data), check_crc=False)) == 3


def test_an_error_names_the_position_of_its_batch():
    data = at(0)
    broken = bytearray(at(3))
    broken[-2] ^= 1
    with pytest.raises(errors.CorruptRecordBatch, match=f"position {len(data)}"):
        decode_columns(data + bytes(broken))


def test_the_limit_holds_for_all_batches_together():
    batch = batch_of([ModelRecord(0, 0, None, bytes(100_000))])
    data = replace(batch, attributes=4, body=compression.compress(batch.body, 4)).encode()
    assert len(decode_columns(data * 2, limit=250_000)) == 2
    with pytest.raises(errors.LimitExceeded):
        decode_columns(data * 3, limit=250_000)


def test_a_row_that_is_not_there_has_no_headers():
    columns = decode_columns(at(0))
    for row in (-1, 3):
        with pytest.raises(IndexError):
            columns.headers(row)


def test_many_rows_arrive_whole():
    batch = batch_of([ModelRecord(i, i, None if i % 3 else b"%d" % i, b"x" * (i % 50)) for i in range(5000)])
    columns = decode_columns(batch.encode() + replace(batch, base_offset=5000).encode())
    assert numpy.asarray(columns.offsets).tolist() == list(range(10_000))
    assert numpy.asarray(columns.value_sizes).tolist() == [i % 50 for i in range(5000)] * 2
    assert columns.keys()[:4] == [b"0", None, None, b"3"]
