"""The producer's buffer, as its sender and its threads see it."""

from __future__ import annotations

import itertools
import os
import threading
import time

import pytest

from pystream._native import batch as batch_header
from pystream._native.accumulator import Accumulator
from pystream._native.column_source import ColumnSource
from pystream._native.delivery import NO_OFFSET
from pystream._native.hash import partition_for_key
from pystream.common import errors
from tests.support.sending import LATER, accumulator, drained, now, only, records_of

# ---- appending


def test_a_record_comes_out_as_it_went_in():
    buffer = accumulator()
    headers = [("a", b"1"), ("ü", None), (b"c", bytearray(b""))]
    buffer.append("t", b"value", b"key", headers, 0, 1234)
    (record,) = records_of(only(buffer))
    assert (record.key, record.value, record.timestamp) == (b"key", b"value", 1234)
    assert record.headers == (("a", b"1"), ("ü", None), ("c", b""))


@pytest.mark.parametrize("value", [None, b"", b"v", bytearray(b"v"), memoryview(b"v")])
def test_null_and_bytes_like_values_are_taken(value):
    buffer = accumulator()
    buffer.append("t", value, value)
    (record,) = records_of(only(buffer))
    expected = None if value is None else bytes(value)
    assert (record.key, record.value) == (expected, expected)


def test_str_is_refused_with_a_remedy():
    with pytest.raises(TypeError, match="serializer"):
        accumulator().append("t", "text")


def test_without_a_timestamp_it_is_now():
    buffer = accumulator()
    before = time.time_ns() // 1_000_000
    delivery = buffer.append("t", b"v")
    assert delivery is not None
    assert before <= delivery.timestamp <= time.time_ns() // 1_000_000


def test_keys_go_where_every_kafka_client_sends_them():
    buffer = accumulator(7)
    keys = [b"key-%d" % number for number in range(100)]
    assert [buffer.append("t", b"", key).partition for key in keys] == [partition_for_key(key, 7) for key in keys]


def test_records_without_key_stick_to_a_partition_until_a_batch_is_full():
    buffer = accumulator(8, batch_bytes=2_000)
    partitions = [buffer.append("t", bytes(100)).partition for _ in range(2_000)]
    changes = sum(one != other for one, other in itertools.pairwise(partitions))
    assert set(partitions) == set(range(8))
    assert changes <= 2_000 // 17


def test_records_without_key_avoid_partitions_without_leader():
    buffer = accumulator(4, batch_bytes=500)
    buffer.set_topic("t", 4, unavailable=[0, 2])
    assert {buffer.append("t", bytes(100)).partition for _ in range(500)} == {1, 3}


def test_an_unknown_topic_or_partition_is_said():
    buffer = accumulator(2)
    with pytest.raises(errors.UnknownTopicOrPartition, match="other"):
        buffer.append("other", b"v")
    with pytest.raises(errors.UnknownTopicOrPartition, match="t-2"):
        buffer.append("t", b"v", partition=2)
    assert (buffer.partition_count("t"), buffer.partition_count("other")) == (2, 0)


def test_partitions_may_become_more():
    buffer = accumulator(1)
    buffer.append("t", b"v")
    buffer.set_topic("t", 3)
    buffer.append("t", b"w", partition=2)
    assert {batch.partition for batch in drained(buffer)} == {0, 2}


def test_a_record_above_the_request_limit_is_refused_alone():
    buffer = accumulator(max_request_bytes=1_000)
    with pytest.raises(errors.MessageTooLarge, match=r"max\.request\.size"):
        buffer.append("t", bytes(1_000))
    assert buffer.append("t", bytes(800)) is not None


def test_a_record_above_the_batch_size_gets_a_batch_of_its_own():
    buffer = accumulator(batch_bytes=100)
    for value in (b"a", bytes(5_000), b"b"):
        buffer.append("t", value)
    assert [batch.record_count for batch in drained(buffer)] == [1, 1, 1]


def test_nothing_is_taken_after_close():
    buffer = accumulator()
    buffer.append("t", b"v")
    buffer.close()
    with pytest.raises(errors.Closed):
        buffer.append("t", b"w")
    with pytest.raises(errors.Closed):
        buffer.append_many("t", [b"w"])
    assert only(buffer).record_count == 1


# ---- memory


def test_the_memory_limit_is_never_passed_and_nothing_is_lost_at_it():
    buffer = accumulator(4, limit_bytes=50_000, batch_bytes=4_000)
    taken = 0
    while buffer.append("t", bytes(100)) is not None:
        taken += 1
        assert buffer.used_bytes <= 50_000
    assert taken > 50_000 / 2 / 100
    assert buffer.append_many("t", [bytes(100)] * 1_000).taken < 1_000
    assert buffer.used_bytes <= 50_000


def test_memory_that_comes_back_is_told_once_to_those_that_were_refused():
    told = []
    buffer = accumulator(limit_bytes=20_000, batch_bytes=5_000, on_memory=lambda: told.append(1))
    while buffer.append("t", bytes(100)) is not None:
        pass
    batches = drained(buffer)
    told.clear()
    while buffer.append("t", bytes(6_000)) is not None:
        pass
    for batch in batches:
        buffer.complete(batch, 0)
    assert told == [1]


def test_all_is_ready_when_the_memory_is_full():
    buffer = accumulator(2, limit_bytes=10_000, linger_ms=LATER)
    buffer.append("t", b"v", partition=1)
    assert buffer.ready(now()) == []
    while buffer.append("t", bytes(100), partition=0) is not None:
        pass
    assert sorted(buffer.ready(now())) == [("t", 0), ("t", 1)]


def test_all_memory_comes_back_in_the_end():
    buffer = accumulator(3, codec=4, batch_bytes=2_000)
    buffer.append_many("t", [b"%d" % number for number in range(2_000)])
    for number, batch in enumerate(drained(buffer)):
        if number % 3 == 0:
            buffer.complete(batch, 0)
        elif number % 3 == 1:
            buffer.fail(batch, errors.DeliveryTimeout("late"))
        else:
            buffer.split(batch)
    for batch in drained(buffer):
        buffer.complete(batch, 0)
    assert (buffer.used_bytes, buffer.queued_records, buffer.in_flight_batches) == (0, 0, 0)


def test_memory_that_somebody_views_comes_back_after_the_view():
    buffer = accumulator()
    buffer.append("t", b"v")
    batch = only(buffer)
    view = memoryview(batch)
    whole = bytes(view)
    buffer.complete(batch, 0)
    assert bytes(view) == whole
    assert buffer.used_bytes > 0
    view.release()
    assert buffer.used_bytes == 0
    with pytest.raises(BufferError):
        memoryview(batch)


# ---- readiness


def test_a_batch_lingers_until_its_time():
    buffer = accumulator(linger_ms=100)
    buffer.append("t", b"v")
    deadline = buffer.next_deadline()
    assert deadline is not None
    assert buffer.ready(deadline - 1) == []
    assert buffer.ready(deadline) == [("t", 0)]


def test_deadlines_are_news():
    """What was due at the last ready() is not: a sender that may not send it yet would never sleep."""
    buffer = accumulator(2, linger_ms=100, delivery_timeout_ms=1_000)
    buffer.append("t", b"v")
    first = buffer.next_deadline()
    assert first is not None
    assert buffer.ready(first) != []
    assert buffer.next_deadline() == first + 900
    assert buffer.ready(first + 900) != []
    assert buffer.next_deadline() is None


def test_a_full_batch_and_a_flush_do_not_linger():
    buffer = accumulator(linger_ms=LATER, batch_bytes=300)
    buffer.append("t", bytes(200))
    assert buffer.ready(now()) == []
    buffer.append("t", bytes(200))
    assert buffer.ready(now()) == [("t", 0)]
    buffer.drain("t", 0, now())
    assert buffer.ready(now()) == []
    buffer.begin_flush()
    assert buffer.ready(now()) == [("t", 0)]
    buffer.end_flush()
    assert buffer.ready(now()) == []


def test_the_sender_is_told_once_of_what_it_does_not_know():
    told = []
    buffer = accumulator(2, linger_ms=50, batch_bytes=300, on_ready=lambda: told.append(1))
    buffer.append("t", b"v", partition=0)
    buffer.append("t", b"w", partition=1)
    assert told == [1]
    buffer.ready(now())
    buffer.next_deadline()
    buffer.append("t", b"x", partition=0)
    assert told == [1]
    for _ in range(4):
        buffer.append("t", bytes(200), partition=0)
    assert told == [1, 1]


def test_a_muted_partition_is_left_out():
    buffer = accumulator()
    buffer.append("t", b"v")
    buffer.mute("t", 0)
    assert buffer.ready(LATER) == []
    assert buffer.drain("t", 0, LATER) is None
    buffer.unmute("t", 0)
    assert buffer.ready(LATER) == [("t", 0)]


def test_each_call_begins_with_another_partition():
    buffer = accumulator(3)
    for partition in range(3):
        buffer.append("t", b"v", partition=partition)
    assert len({buffer.ready(LATER)[0] for _ in range(3)}) == 3


def test_a_batch_above_what_fits_the_request_waits():
    buffer = accumulator()
    buffer.append("t", bytes(1_000))
    assert buffer.drain("t", 0, LATER, 500) is None
    assert buffer.drain("t", 0, LATER, 2_000) is not None


def test_batches_expire_queued_or_in_flight():
    buffer = Accumulator(delivery_timeout_ms=1_000, batch_bytes=100)
    buffer.set_topic("t", 2)
    for partition in (0, 0, 1):
        buffer.append("t", bytes(90), partition=partition)
    flying = buffer.drain("t", 0, now() + 500)
    assert flying is not None
    assert buffer.expire(now()) == []
    expired = buffer.expire(now() + 1_001)
    assert len(expired) == 3
    assert sorted(batch.attempts for batch in expired) == [0, 0, 1]
    assert (buffer.ready(LATER), buffer.in_flight_batches) == ([], 0)
    for batch in expired:
        buffer.fail(batch, errors.DeliveryTimeout("late"))
    assert buffer.used_bytes == 0


def test_what_is_incomplete_is_queued_or_in_flight():
    buffer = accumulator(2)
    buffer.append("t", b"v", partition=0)
    buffer.append("t", b"w", partition=1)
    flying = buffer.drain("t", 0, LATER)
    assert flying is not None
    assert {batch.partition for batch in buffer.incomplete()} == {0, 1}
    buffer.complete(flying, 0)
    assert [batch.partition for batch in buffer.incomplete()] == [1]
    (left,) = buffer.take_all()
    assert buffer.incomplete() == []
    buffer.fail(left, errors.Closed("closed"))


# ---- sequences


def sequences(buffer: Accumulator) -> list[tuple[int, int, int, int]]:
    heads = [batch_header.parse_header(bytes(batch)) for batch in drained(buffer)]
    return [(head.producer_id, head.producer_epoch, head.base_sequence, head.record_count) for head in heads]


def test_batches_carry_the_producers_sequence():
    buffer = accumulator(batch_bytes=250, transactional=True)
    buffer.set_producer(77, 3)
    buffer.append_many("t", [bytes(60)] * 6)
    assert sequences(buffer) == [(77, 3, 0, 2), (77, 3, 2, 2), (77, 3, 4, 2)]
    assert buffer.next_sequence("t", 0) == 6


def test_a_retry_sends_the_same_bytes_in_order():
    buffer = accumulator(batch_bytes=250, codec=3)
    buffer.set_producer(77, 3)
    buffer.append_many("t", [bytes(60)] * 6)
    first, second, third = drained(buffer)
    whole = [bytes(batch) for batch in (first, second)]
    buffer.retry(second, 10)
    buffer.retry(first, 20)
    assert drained(buffer, now_ms=19) == []
    buffer.complete(third, 4)
    assert drained(buffer, now_ms=20) == [first]
    buffer.complete(first, 0)
    assert drained(buffer, now_ms=20) == [second]
    assert [bytes(first) if not first.done() else whole[0], bytes(second)] == whole
    assert (first.attempts, second.attempts) == (2, 2)


def test_a_new_epoch_waits_for_what_is_in_flight():
    buffer = accumulator(batch_bytes=250)
    buffer.set_producer(77, 3)
    buffer.append_many("t", [bytes(60)] * 4)
    first, second = drained(buffer)
    buffer.retry(second)
    buffer.set_producer(77, 4)
    buffer.append_many("t", [bytes(60)] * 2)
    buffer.complete(first, 0)
    (again,) = drained(buffer)
    assert again is second
    assert batch_header.parse_header(bytes(second)).producer_epoch == 3
    buffer.complete(second, 2)
    assert sequences(buffer) == [(77, 4, 0, 2)]


def test_a_broken_sequence_begins_anew_with_its_retries():
    buffer = accumulator(batch_bytes=250, codec=4)
    buffer.set_producer(77, 3)
    buffer.append_many("t", [bytes(60)] * 6)
    first, second, third = drained(buffer)
    view = memoryview(third)
    old = bytes(third)
    buffer.rewrite_sequences("t", 0)
    buffer.fail(first, errors.OutOfOrderSequenceNumber("gap"))
    buffer.retry(second)
    buffer.retry(third)
    assert drained(buffer) == []
    buffer.set_producer(77, 4)
    assert sequences(buffer) == [(77, 4, 0, 2), (77, 4, 2, 2)]
    assert bytes(view) == old
    assert [record.value for record in records_of(third)] == [bytes(60)] * 2


def test_a_gap_that_the_broker_never_saw_is_closed():
    buffer = accumulator(batch_bytes=250)
    buffer.set_producer(77, 3)
    buffer.append_many("t", [bytes(60)] * 4)
    first, second = drained(buffer)
    buffer.fail(first, errors.InvalidRecord("bad"), close_gap=True)
    buffer.retry(second)
    assert sequences(buffer) == [(77, 3, 0, 2)]
    assert buffer.next_sequence("t", 0) == 2


def test_a_batch_is_split_into_ones_of_half_its_size():
    buffer = accumulator(batch_bytes=10_000, codec=4)
    buffer.set_producer(77, 3)
    values = [b"%04d" % number * 20 for number in range(100)]
    deliveries = buffer.append_many("t", values)
    one = buffer.append("t", b"last", b"key", [("h", b"1")], 0, 5)
    whole = only(buffer)
    assert buffer.split(whole) >= 2
    parts = []
    while found := drained(buffer):
        parts += found
        buffer.complete(found[0], 500 + found[0].base_sequence)
    records = [batch.record_count for batch in parts]
    assert sum(records) == 101
    assert [batch.base_sequence for batch in parts] == [sum(records[:place]) for place in range(len(parts))]
    assert one is not None
    assert (one.result(0).offset, one.timestamp) == (600, 5)
    assert next(span.first_offset for span in deliveries.result(0)) == 500
    assert whole.done()
    assert buffer.used_bytes == 0


def test_a_single_record_cannot_be_split():
    buffer = accumulator()
    buffer.append("t", b"v")
    assert buffer.split(only(buffer)) == 0


def test_records_that_do_not_shrink_travel_uncompressed():
    buffer = accumulator(codec=4, batch_bytes=10_000)
    buffer.append("t", os.urandom(5_000))
    batch = only(buffer)
    assert batch_header.parse_header(bytes(batch)).codec == 0
    assert len(records_of(batch)) == 1


def test_batches_of_a_topic_that_compresses_hold_more():
    buffer = accumulator(codec=4, batch_bytes=2_000)
    for _ in range(200):
        while buffer.ready(now()) == []:
            buffer.append_many("t", [bytes(100)] * 10, partition=0)
        for batch in drained(buffer, now()):
            buffer.complete(batch, 0)
    buffer.append_many("t", [bytes(100)] * 100)
    assert max(batch.record_count for batch in drained(buffer)) > 40


# ---- misuse


def test_batches_of_others_and_batches_not_in_flight_are_refused():
    one, other = accumulator(), accumulator()
    one.append("t", b"v")
    batch = only(one)
    with pytest.raises(ValueError, match="another"):
        other.complete(batch, 0)
    one.complete(batch, 0)
    one.complete(batch, 99)
    assert batch.base_offset == 0
    with pytest.raises(ValueError, match="in flight"):
        one.retry(batch)
    with pytest.raises(ValueError, match="in flight"):
        one.split(batch)
    with pytest.raises(ValueError, match="flush"):
        one.end_flush()
    assert NO_OFFSET == -1


@pytest.mark.parametrize("options", [{"codec": 9}, {"limit_bytes": -1}, {"max_request_bytes": 0}, {"linger_ms": -1}])
def test_options_out_of_bounds_are_refused(options):
    with pytest.raises(ValueError):
        Accumulator(**options)


def test_a_child_process_is_told_to_make_its_own():
    buffer = accumulator()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            buffer.append("t", b"v")
        except errors.ClientForked as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert b"in the child process" in pipe.read()
    assert buffer.append("t", b"v") is not None


# ---- threads


def test_threads_append_while_the_sender_drains():
    total, threads, bulk = 20_000, 3, 5_000
    wake = threading.Event()
    memory = threading.Event()
    buffer = accumulator(
        5, limit_bytes=200_000, batch_bytes=2_000, linger_ms=0, on_ready=wake.set, on_memory=memory.set
    )

    def wait_for_memory() -> None:
        wake.set()
        memory.wait(0.05)
        memory.clear()

    def one_by_one(name: int) -> None:
        for number in range(total):
            while buffer.append("t", b"%d:%d" % (name, number), b"%d" % number) is None:
                wait_for_memory()

    def by_columns() -> None:
        source = ColumnSource.fixed(b"".join(b"b:%07d" % number for number in range(bulk)), 9)
        taken = 0
        while taken < bulk:
            count = buffer.append_columns("t", source, start=taken).taken
            taken += count
            if count == 0:
                wait_for_memory()

    workers = [threading.Thread(target=one_by_one, args=(name,)) for name in range(threads)]
    workers.append(threading.Thread(target=by_columns))
    for worker in workers:
        worker.start()
    seen: list[bytes | None] = []
    highest = 0
    while len(seen) < total * threads + bulk:
        wake.wait(0.05)
        wake.clear()
        for batch in drained(buffer):
            seen += [record.value for record in records_of(batch)]
            highest = max(highest, buffer.used_bytes)
            buffer.complete(batch, 0)
    for worker in workers:
        worker.join()
    assert len(set(seen)) == total * threads + bulk
    assert highest <= 200_000
    assert (buffer.used_bytes, buffer.queued_records) == (0, 0)
