"""Calls with many rows: larger batches than those of single records, buffers that come back, the time of codecs."""

from __future__ import annotations

import os
import random
from array import array

import pytest

from pystream._native.accumulator import Accumulator
from pystream._native.column_source import ColumnSource
from pystream._native.compression import Codec, is_available
from pystream.common.errors import MessageTooLarge
from tests.support.sending import LATER, drained, only, records_of

BULK = 262_144


def bulk_accumulator(partitions: int = 1, **settings: int) -> Accumulator:
    buffer = Accumulator(**{"bulk_bytes": BULK, "delivery_timeout_ms": LATER * 2, **settings})
    buffer.set_topic("t", partitions)
    return buffer


def column(rows: int, width: int = 100) -> ColumnSource:
    return ColumnSource.fixed(b"".join(b"%0*d" % (width, number) for number in range(rows)), width)


def sizes(buffer: Accumulator) -> list[int]:
    found = []
    while buffer.ready(LATER):
        batch = buffer.drain("t", 0, LATER)
        assert batch is not None
        found.append(batch.size_bytes)
        buffer.complete(batch, 0)
    return found


def test_rows_make_large_batches_and_single_records_do_not():
    buffer = bulk_accumulator()
    assert buffer.append_columns("t", column(5_000)).taken == 5_000
    assert BULK - 200 < max(sizes(buffer)) <= BULK
    for _ in range(1_000):
        buffer.append("t", b"v" * 100)
    assert max(sizes(buffer)) <= 16_384


def test_without_a_size_of_their_own_rows_make_batches_as_records_do():
    buffer = bulk_accumulator(bulk_bytes=0)
    buffer.append_columns("t", column(5_000))
    assert max(sizes(buffer)) <= 16_384


@pytest.mark.parametrize("seed", range(5))
def test_rows_keep_their_order_and_their_bytes(seed: int):
    generator = random.Random(seed)
    rows = [generator.randbytes(generator.choice((0, 1, 50, 900, 20_000))) for _ in range(3_000)]
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    buffer = bulk_accumulator()
    source = ColumnSource.variable(b"".join(rows), array("q", offsets))
    taken, read = 0, []
    while taken < len(rows):
        taken += buffer.append_columns("t", source, start=taken).taken
        for batch in drained(buffer):
            read += [record.value for record in records_of(batch)]
    assert read == rows


def test_every_row_of_a_batch_belongs_to_its_span():
    buffer = bulk_accumulator()
    deliveries = buffer.append_columns("t", column(6_000))
    base = 1_000
    while buffer.ready(LATER):
        batch = buffer.drain("t", 0, LATER)
        assert batch is not None
        count = batch.record_count
        buffer.complete(batch, base)
        base += count
    spans = deliveries.spans()
    assert sum(span.record_count for span in spans) == 6_000
    assert [span.first_offset for span in spans] == [
        1_000 + sum(s.record_count for s in spans[:n]) for n in range(len(spans))
    ]


def test_keyed_rows_of_many_partitions_stay_within_the_memory():
    buffer = bulk_accumulator(100, limit_bytes=4 << 20)
    keys = ColumnSource.fixed(os.urandom(8 * 10_000), 8)
    taken = 0
    while taken < 10_000:
        taken += buffer.append_columns("t", column(10_000), keys, start=taken).taken
        assert buffer.used_bytes <= 4 << 20
        for batch in drained(buffer):
            buffer.complete(batch, 0)
    assert buffer.used_bytes == 0


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.LZ4, Codec.ZSTD])
def test_buffers_are_used_again_and_all_memory_comes_back(codec: Codec):
    if not is_available(codec):
        pytest.skip(f"{codec.name} is not installed")
    buffer = bulk_accumulator(codec=codec, limit_bytes=2 << 20)
    for _ in range(20):
        taken = 0
        while taken < 9_000:
            taken += buffer.append_columns("t", column(9_000), start=taken).taken
            assert buffer.used_bytes <= 2 << 20
            assert sizes(buffer)
    assert buffer.used_bytes == 0
    assert (buffer.codec_ns > 0) == (codec is not Codec.NONE)


def test_a_broker_that_takes_less_is_given_less_from_then_on():
    buffer = bulk_accumulator()
    buffer.append_columns("t", column(2_000))
    batch = buffer.drain("t", 0, LATER)
    assert batch is not None
    assert buffer.split(batch) > 1
    sizes(buffer)
    buffer.append_columns("t", column(5_000))
    assert max(sizes(buffer)) <= batch.size_bytes // 2


@pytest.mark.parametrize("rows", [3, 1_000])
@pytest.mark.parametrize("kind", ["list", "column"])
def test_headers_of_a_call_go_with_each_of_its_rows(kind: str, rows: int):
    headers: list[tuple[str | bytes, bytes | None]] = [("name", b"value"), (b"bytes", None)]
    buffer = bulk_accumulator()
    if kind == "list":
        taken = buffer.append_many("t", [b"%d" % number for number in range(rows)], headers=headers)
    else:
        taken = buffer.append_columns("t", column(rows), headers=headers)
    assert taken.taken == rows
    buffer.append_many("t", [b"without"])
    found = [record.headers for record in records_of(only(buffer))]
    assert found == [(("name", b"value"), ("bytes", None))] * rows + [()]


def test_headers_of_a_call_count_for_the_size_of_its_records_and_batches():
    buffer = bulk_accumulator(bulk_bytes=10_000, batch_bytes=10_000, max_request_bytes=20_000)
    assert buffer.append_columns("t", column(500), headers=[("h", bytes(1_000))]).taken == 500
    assert max(sizes(buffer)) <= 10_000
    with pytest.raises(MessageTooLarge):
        buffer.append_columns("t", column(1), headers=[("h", bytes(20_000))])
