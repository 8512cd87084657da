"""acks=all under group commit: an answer follows the disk, whatever else goes on. One that is forgotten times out."""

from __future__ import annotations

import errno
import os
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

import pytest

from pystream._native import io_table
from pystream._native.local_log import LocalLog
from tests.support.raw_client import RawClient
from tests.unit.data_plane.conftest import PlaneUnderTest, batch, until
from tests.unit.data_plane.requests import fetch, produce

PARTITIONS = 6
DEPTH = 16
RECORDS = 3
REQUESTS, FULL_REQUESTS = 600, 40_000
SEGMENT_BYTES = 16_384
SLOWEST_SYNC_US = 20_000
# From when its records were seen to be durable to the answer of a request: a scheduler's whim, never a time-out.
PATIENCE_S = 10.0
TIMEOUT_MS = 30_000
NOT_LEADER, LOG_OFFLINE = 6, 56


@pytest.fixture(autouse=True)
def plain_calls() -> Iterator[None]:
    yield
    io_table.reset()


class Producer(threading.Thread):
    """An idempotent producer, DEPTH requests in flight to two partitions of its own; notes how late answers are."""

    def __init__(self, port: int, logs: list[LocalLog], first: int, requests: int, seed: int) -> None:
        super().__init__()
        self.codes: set[int] = set()
        self.longest_wait = 0.0
        self._port, self._logs, self._first, self._requests = port, logs, first, requests
        self._random = random.Random(seed)

    def run(self) -> None:
        waiting: deque[int] = deque()
        sent = answered = 0
        with RawClient(self._port) as client:
            while answered < self._requests:
                if sent < self._requests and len(waiting) < self._random.randint(1, DEPTH):
                    client.send(self._request(sent), 9)
                    sent += 1
                    waiting.append(sent * RECORDS)
                else:
                    self._await_answer(client, waiting.popleft())
                    answered += 1

    def _request(self, number: int) -> object:
        value = self._random.randbytes(self._random.randint(1, 2_000))
        records = batch(*[value] * RECORDS, producer_id=self._first, producer_epoch=0, base_sequence=number * RECORDS)
        return produce((self._first, records), (self._first + 1, records), acks=-1, timeout_ms=TIMEOUT_MS)

    def _await_answer(self, client: RawClient, needed: int) -> None:
        durable_at = None
        while not select.select([client.socket], [], [], 0.002)[0]:
            if durable_at is None and all(
                self._logs[self._first + index].durable_offset >= needed for index in range(2)
            ):
                durable_at = time.monotonic()
        if durable_at is not None:
            self.longest_wait = max(self.longest_wait, time.monotonic() - durable_at)
        for part in client.receive().responses[0].partition_responses:
            self.codes.add(part.error_code)


def test_no_answer_waits_once_its_records_are_durable(make_plane: Callable[..., PlaneUnderTest], full: bool) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    plane = make_plane(partitions=PARTITIONS, loops=2, flush_policy="group", segment_bytes=SEGMENT_BYTES)
    io_table.delay_calls("fdatasync", SLOWEST_SYNC_US)
    requests = FULL_REQUESTS if full else REQUESTS
    producers = [Producer(plane.port, plane.logs, first, requests, seed + first) for first in range(0, PARTITIONS, 2)]
    for producer in producers:
        producer.start()
    for producer in producers:
        producer.join()

    assert [producer.codes for producer in producers] == [{0}] * len(producers)
    assert max(producer.longest_wait for producer in producers) < PATIENCE_S
    assert [log.durable_offset for log in plane.logs] == [requests * RECORDS] * PARTITIONS
    assert all(log.segment_count > 10 for log in plane.logs)
    assert plane.plane.counters()["produce_timed_out"] == 0
    until(lambda: plane.plane.counters()["parked_requests"] == 0)


@pytest.mark.parametrize(("before", "after"), [("os", "group"), ("group", "os"), ("write", "group")])
def test_a_change_of_the_flush_policy_leaves_nobody_waiting(
    make_plane: Callable[..., PlaneUnderTest], before: str, after: str
) -> None:
    plane = make_plane(partitions=PARTITIONS, loops=2, flush_policy=before)
    producers = [Producer(plane.port, plane.logs, first, 150, first) for first in range(0, PARTITIONS, 2)]
    for producer in producers:
        producer.start()
    while any(producer.is_alive() for producer in producers):
        for policy in (after, before):
            for log in plane.logs:
                log.update_config(flush_policy=policy)
        producers[0].join(0.001)
    for producer in producers:
        producer.join()

    assert [producer.codes for producer in producers] == [{0}] * len(producers)


def test_a_sync_that_fails_answers_those_who_wait_at_once(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(partitions=2, loops=2, flush_policy="group")
    io_table.fail_call(1, errno.EIO, call="fdatasync", path="events-0")
    with plane.client() as client:
        answer = client.call(produce((0, batch(b"a")), (1, batch(b"b")), acks=-1, timeout_ms=TIMEOUT_MS), 9)
    assert [part.error_code for part in answer.responses[0].partition_responses] == [LOG_OFFLINE, 0]


@pytest.mark.parametrize(("removed", "produced"), [((1,), 0), ((1, 0), NOT_LEADER)])
def test_a_fetch_that_waits_behind_a_produce_does_not_touch_what_was_deleted_meanwhile(
    make_plane: Callable[..., PlaneUnderTest], removed: tuple[int, ...], produced: int
) -> None:
    plane = make_plane(flush_policy="group")
    with plane.client() as client:
        stored = batch(b"x" * 50_000)
        client.call(produce((1, stored), acks=-1), 9)
        io_table.fail_call(1, errno.EINTR, call="fdatasync", for_ever=True)  # the disk is busy until reset()
        requests = client.frame(produce((0, batch(b"a")), acks=-1), 9) + client.frame(fetch((1, 0), (0, 0)), 12)
        client.socket.sendall(requests)
        until(lambda: plane.plane.counters()["fetch_requests"] == 1)
        for index in removed:
            plane.plane.remove_partition("events", index)
        io_table.reset()
        written, read = client.receive(), client.receive()

    assert written.responses[0].partition_responses[0].error_code == produced
    # What was found when it was looked up: the file stays open for the answer, the partitions are not there any more.
    found = {part.partition_index: (part.error_code, len(part.records)) for part in read.responses[0].partitions}
    assert found == {0: (0, 0), 1: (0, len(stored))}


def test_a_log_that_is_taken_offline_while_its_sync_hangs_answers_those_who_wait(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    plane = make_plane(flush_policy="group")
    io_table.fail_call(1, errno.EINTR, call="fdatasync", for_ever=True)
    with plane.client() as client:
        client.send(produce((0, batch(b"a")), acks=-1, timeout_ms=TIMEOUT_MS), 9)
        until(lambda: plane.plane.counters()["parked_requests"] == 1)
        plane.logs[0].take_offline()
        assert client.receive().responses[0].partition_responses[0].error_code == LOG_OFFLINE
    io_table.reset()
