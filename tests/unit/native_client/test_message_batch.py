"""What a consumer fetched, as messages and as columns."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from pystream._native.compression import Codec, is_available
from pystream._native.message_batch import CREATE_TIME, LOG_APPEND_TIME, Gathered, Message, MessageBatch
from pystream._native.record_builder import RecordBatchBuilder
from pystream.common import errors

CODECS = [codec for codec in Codec if is_available(codec)]


def encoded(values: Sequence[bytes | None], **fields: object) -> bytes:
    builder = RecordBatchBuilder(**fields)
    for number, value in enumerate(values):
        key = b"k%d" % number if number % 2 else None
        builder.append(value, timestamp=1_000 + number, key=key, headers=[("h", None)] * (number % 3))
    return builder.build()


def marker(base_offset: int, producer_id: int, kind: int) -> bytes:
    builder = RecordBatchBuilder(
        base_offset=base_offset, producer_id=producer_id, producer_epoch=0, transactional=True, control=True
    )
    builder.append(bytes(6), timestamp=1, key=bytes([0, 0, 0, kind]))
    return builder.build()


def of_producer(producer_id: int, base_offset: int, value: bytes) -> bytes:
    return encoded(
        [value], base_offset=base_offset, producer_id=producer_id, producer_epoch=0, base_sequence=0, transactional=True
    )


def batch_of(data: bytes, **options: object) -> MessageBatch:
    return MessageBatch(data, "t", 3, **options)


@pytest.mark.parametrize("codec", CODECS)
def test_messages_have_what_was_sent(codec):
    data = encoded([b"a", None, b""], codec=codec, base_offset=40, partition_leader_epoch=7)
    messages = list(batch_of(data))
    assert [(message.topic, message.partition, message.offset) for message in messages] == [
        ("t", 3, 40), ("t", 3, 41), ("t", 3, 42),
    ]  # fmt: skip
    assert [(message.key, message.value) for message in messages] == [(None, b"a"), (b"k1", None), (None, b"")]
    assert [message.headers for message in messages] == [(), (("h", None),), (("h", None), ("h", None))]
    assert [message.timestamp for message in messages] == [1_000, 1_001, 1_002]
    assert {(message.timestamp_type, message.leader_epoch) for message in messages} == {(CREATE_TIME, 7)}


def test_batches_keep_their_own_epoch_and_kind_of_time():
    data = encoded([b"a", b"b"], partition_leader_epoch=1)
    data += encoded([b"c"], base_offset=2, partition_leader_epoch=2, append_time_ms=9)
    data += encoded([b"d"], base_offset=3, partition_leader_epoch=3)
    batch = batch_of(data)
    assert [message.leader_epoch for message in batch] == [1, 1, 2, 3]
    assert [message.timestamp_type for message in batch] == [CREATE_TIME, CREATE_TIME, LOG_APPEND_TIME, CREATE_TIME]
    assert batch[2].timestamp == 9
    assert batch.last_leader_epoch == 3


def test_a_batch_is_a_sequence():
    batch = batch_of(encoded([b"%d" % number for number in range(10)]))
    assert isinstance(batch, Sequence)
    assert (len(batch), batch[-1].value, batch[3].value) == (10, b"9", b"3")
    assert [message.value for message in batch[2:8:3]] == [b"2", b"5"]
    assert [message.value for message in batch.messages(8)] == [b"8", b"9"]
    assert [message.value for message in batch.messages(2, 4)] == [b"2", b"3"]
    assert batch.messages(20) == []
    for index in (10, -11):
        with pytest.raises(IndexError):
            batch[index]


def test_records_below_the_offset_asked_for_are_left_out():
    data = encoded([b"a", b"b"]) + encoded([b"c", b"d"], base_offset=2, codec=4)
    batch = batch_of(data, from_offset=3)
    assert [message.offset for message in batch] == [3]
    assert batch.next_offset == 4
    assert batch_of(data, from_offset=9).next_offset == 9


def test_a_batch_that_is_cut_off_is_for_the_next_fetch():
    data = encoded([b"a"]) + encoded([b"b"], base_offset=1)
    batch = batch_of(data[:-1])
    assert ([message.value for message in batch], batch.next_offset, batch.error) == ([b"a"], 1, None)
    nothing = batch_of(b"", from_offset=5)
    assert (len(nothing), nothing.next_offset, bool(nothing), nothing.last_leader_epoch) == (0, 5, False, -1)


@pytest.mark.parametrize("position", [8, 17, 30, 70])
def test_damage_ends_the_batch_and_is_said(position):
    good, bad = encoded([b"a", b"b"]), bytearray(encoded([b"c" * 30], base_offset=2))
    bad[position] ^= 0x80
    batch = batch_of(good + bytes(bad) + encoded([b"d"], base_offset=3))
    assert ([message.value for message in batch], batch.next_offset) == ([b"a", b"b"], 2)
    assert isinstance(batch.error, errors.PystreamError)
    assert "t-3" in str(batch.error)


def test_records_at_fault_leave_no_rows_of_their_batch():
    data = bytearray(encoded([b"a" * 10, b"b" * 10]))
    data[-15] = 0x7F  # the size of the last value
    batch = batch_of(bytes(data), check_crc=False)
    assert (len(batch), batch.next_offset) == (0, 0)
    assert isinstance(batch.error, errors.MalformedInput)


def test_what_batches_become_is_limited():
    data = encoded([bytes(100_000)], codec=4)
    assert len(batch_of(data)) == 1
    batch = batch_of(data, limit=50_000)
    assert (len(batch), isinstance(batch.error, errors.LimitExceeded)) == (0, True)


def test_markers_are_left_out_and_stepped_over():
    data = of_producer(5, 0, b"a") + marker(1, 5, 1)
    batch = batch_of(data)
    assert ([message.value for message in batch], batch.next_offset) == ([b"a"], 2)


def test_aborted_transactions_are_left_out_up_to_their_marker():
    data = of_producer(5, 0, b"aborted") + of_producer(6, 1, b"kept") + encoded([b"plain"], base_offset=2)
    data += of_producer(5, 3, b"aborted too") + marker(4, 6, 1) + marker(5, 5, 0) + of_producer(5, 6, b"next")
    data += marker(7, 5, 1) + of_producer(5, 8, b"aborted again") + marker(9, 5, 0)
    committed = batch_of(data, aborted=[(5, 8), (5, 0)])
    assert [message.value for message in committed] == [b"kept", b"plain", b"next"]
    assert committed.next_offset == 10
    assert len(batch_of(data)) == 6


def test_columns_need_no_messages():
    numpy = pytest.importorskip("numpy")
    batch = batch_of(encoded([b"a", None, b"ccc"], codec=4, base_offset=7))
    assert numpy.asarray(batch.offsets).tolist() == [7, 8, 9]
    assert numpy.asarray(batch.timestamps).tolist() == [1_000, 1_001, 1_002]
    assert numpy.asarray(batch.value_sizes).tolist() == [1, -1, 3]
    start = numpy.asarray(batch.value_starts)[2]
    assert bytes(memoryview(batch.data)[start : start + 3]) == b"ccc"
    assert (batch.values(), batch.keys()) == ([b"a", None, b"ccc"], [None, b"k1", None])
    assert batch.headers(1) == (("h", None),)
    with pytest.raises(IndexError):
        batch.headers(3)


def arrow_list(gathered: Gathered) -> list[bytes | None]:
    """As Arrow's format description reads the three buffers."""
    offsets = memoryview(gathered.offsets)
    rows = [bytes(gathered.data)[offsets[row] : offsets[row + 1]] for row in range(len(gathered))]
    bits = gathered.validity
    return [value if bits is None or bits[row >> 3] >> (row & 7) & 1 else None for row, value in enumerate(rows)]


def test_values_are_gathered_as_arrow_has_them():
    values = [b"a", None, b"", b"dddd"] * 5
    batch = batch_of(encoded(values))
    for start, stop in ((0, 20), (3, 14), (19, 99), (30, 40)):
        gathered = batch.gather_values(start, stop)
        assert arrow_list(gathered) == values[start:stop]
        assert gathered.null_count == values[start:stop].count(None)
    assert arrow_list(batch.gather_keys(0, 2)) == [None, b"k1"]
    assert batch_of(encoded([b"a", b"b"])).gather_values().validity is None


def test_it_is_decoded_when_needed_and_once():
    batch = batch_of(encoded([b"a"]))
    assert not batch.is_decoded
    batch.decode()
    columns = batch.offsets
    batch.decode()
    assert batch.is_decoded
    assert batch.offsets is columns
    assert batch.size_bytes == len(encoded([b"a"]))


def test_a_message_keeps_what_it_needs():
    (message,) = batch_of(memoryview(bytearray(encoded([b"a" * 50]))))
    assert message.value == b"a" * 50


def test_messages_are_copied_and_pickled():
    data = encoded([b"a", b"b", b"c"], base_offset=5, partition_leader_epoch=3, append_time_ms=77)
    message = batch_of(data)[1]
    for other in (copy.copy(message), pickle.loads(pickle.dumps(message))):
        assert repr(other) == repr(message)
        assert (other.timestamp, other.timestamp_type, other.leader_epoch) == (77, LOG_APPEND_TIME, 3)


def test_messages_say_how_often_a_share_group_gave_them():
    batch = batch_of(encoded([b"a", b"b", b"c", b"d"], base_offset=5), acquired=[(5, 6, 1), (8, 20, 3)])
    assert [message.delivery_count for message in batch] == [1, 1, None, 3]
    copied = pickle.loads(pickle.dumps(batch[3]))
    assert (copied.offset, copied.delivery_count) == (8, 3)
    assert batch_of(encoded([b"a"]))[0].delivery_count is None


@pytest.mark.parametrize("acquired", [[(5, 4, 1)], [(5, 6, 1), (6, 7, 1)], [(9, 9, 1), (5, 6, 1)], [(-1, 4, 1)]])
def test_ranges_out_of_order_are_refused(acquired):
    with pytest.raises(ValueError, match="expected ranges in order"):
        batch_of(encoded([b"a"]), acquired=acquired)


def test_messages_come_from_batches_only():
    with pytest.raises(AttributeError):
        repr(Message())


def test_a_batch_in_a_cycle_is_collected_with_what_it_views(monkeypatch: pytest.MonkeyPatch):
    """The collector once cleared the view of what was fetched before its owner gave it back."""
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    fetched = bytearray(encoded([b"a"]))
    cycle: dict[str, Any] = {"batch": MessageBatch(memoryview(fetched), "t", 0)}
    cycle["itself"] = cycle
    del cycle
    gc.collect()
    assert unraisable == []
    fetched.clear()  # raises BufferError while anybody views it
