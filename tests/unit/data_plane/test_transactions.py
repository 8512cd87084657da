"""Transactional batches over real sockets: who may write, what read_committed sees. Source: KIP-98, KIP-890."""

from __future__ import annotations

import errno
import select
from collections.abc import Callable
from typing import Any

import pytest

from pystream._native import io_table
from pystream._native.control_queue import TRANSACTION_QUESTION
from pystream._native.local_log import LocalLog
from pystream._native.wire import Reader
from pystream.protocol.messages.add_partitions_to_txn import AddPartitionsToTxnRequest
from pystream.protocol.messages.produce import ProduceRequest
from tests.unit.data_plane.conftest import PATIENCE_S, PlaneUnderTest, batch, until
from tests.unit.data_plane.requests import fetch, list_offsets, produce
from tests.unit.storage.batches import marker

TXN_STATE, EPOCH, NOT_AUTHORIZED, CONCURRENT, OUT_OF_ORDER = 48, 47, 53, 51, 45
READ_COMMITTED = 1


def transactional(*values: bytes, producer_id: int = 7, epoch: int = 0, sequence: int = 0) -> bytes:
    return batch(*values, transactional=True, producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)


def produce_in(transactional_id: str | None, *batches: tuple[int, bytes], acks: int = -1) -> ProduceRequest:
    request = produce(*batches, acks=acks)
    request.transactional_id = transactional_id
    return request


def codes(answer: Any) -> list[int]:
    return [part.error_code for part in answer.responses[0].partition_responses]


def next_question(plane: PlaneUnderTest) -> tuple[int, int, AddPartitionsToTxnRequest]:
    """(handle, version of the Produce that waits, what is asked)."""
    control = plane.plane.control
    assert select.select([control.fileno()], [], [], PATIENCE_S)[0], "nothing was asked"
    ((handle, listener, frame, _),) = control.receive()
    assert listener == TRANSACTION_QUESTION
    reader = Reader(frame)
    version = reader.int16()
    return handle, version, AddPartitionsToTxnRequest.read(reader, 5)


@pytest.mark.parametrize(("version", "verify_only"), [(3, True), (9, True), (11, True), (12, False), (13, False)])
def test_the_first_batch_of_a_partition_waits_for_the_coordinator(
    plane: PlaneUnderTest, version: int, verify_only: bool
) -> None:
    with plane.client() as client:
        client.send(produce_in("payments", (0, transactional(b"a", b"b")), (1, transactional(b"c"))), version)
        handle, asked_version, question = next_question(plane)
        assert asked_version == version
        assert [
            (each.transactional_id, each.producer_id, each.producer_epoch, each.verify_only)
            for each in question.transactions
        ] == [("payments", 7, 0, verify_only)] * 2
        assert [(each.topics[0].name, list(each.topics[0].partitions)) for each in question.transactions] == [
            ("events", [0]),
            ("events", [1]),
        ]
        for index in (0, 1):
            plane.plane.permit_transaction("events", index, 7, 0)
        plane.plane.control.resume(handle)
        assert codes(client.receive()) == [0, 0]
        # From now on the transaction is open here: nobody is asked.
        again = client.call(produce_in("payments", (0, transactional(b"d", sequence=2))), version)
        assert codes(again) == [0]
    assert [log.end_offset for log in plane.logs] == [3, 1]
    assert plane.plane.counters()["produce_requests"] == 2


def test_requests_behind_one_that_waits_keep_their_order(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        frames = [
            client.frame(produce((0, batch(b"first"))), 9),
            client.frame(produce_in("t", (0, transactional(b"second"))), 9),
            client.frame(produce_in("t", (0, transactional(b"third", sequence=1))), 9),
            client.frame(produce((0, batch(b"fourth"))), 9),
        ]
        client.socket.sendall(b"".join(frames))
        handle, _, _ = next_question(plane)
        plane.plane.permit_transaction("events", 0, 7, 0)
        plane.plane.control.resume(handle)
        offsets = [client.receive().responses[0].partition_responses[0].base_offset for _ in frames]
    assert offsets == [0, 1, 2, 3]


def test_a_frame_larger_than_a_receive_buffer_waits_whole(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(produce_in("t", (0, transactional(b"x" * 900_000))), 9)
        handle, _, _ = next_question(plane)
        plane.plane.permit_transaction("events", 0, 7, 0)
        plane.plane.control.resume(handle)
        assert codes(client.receive()) == [0]
    assert plane.logs[0].end_offset == 1


def test_what_the_coordinator_refuses_is_answered_with_its_code_and_the_neighbours_go_on(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(produce_in("t", (0, transactional(b"no")), (1, batch(b"plain"))), 12)
        handle, _, question = next_question(plane)
        assert len(question.transactions) == 1
        plane.plane.control.resume(handle, CONCURRENT)
        assert codes(client.receive()) == [CONCURRENT, 0]
        # The refusal is forgotten: the next request is asked about anew.
        client.send(produce_in("t", (0, transactional(b"yes"))), 12)
        handle, _, _ = next_question(plane)
        plane.plane.permit_transaction("events", 0, 7, 0)
        plane.plane.control.resume(handle)
        assert codes(client.receive()) == [0]
    assert [log.end_offset for log in plane.logs] == [1, 1]


def test_a_coordinator_that_vouches_for_nothing_means_invalid_txn_state(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(produce_in("t", (0, transactional(b"no"))), 9)
        handle, _, _ = next_question(plane)
        plane.plane.control.resume(handle)
        assert codes(client.receive()) == [TXN_STATE]


def test_a_transactional_batch_without_a_transactional_id_is_not_authorized(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        assert codes(client.call(produce_in(None, (0, transactional(b"no"))), 9)) == [NOT_AUTHORIZED]


def test_without_acks_the_batch_waits_too_and_nothing_is_answered(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(produce_in("t", (0, transactional(b"a")), acks=0), 9)
        client.expect_nothing()
        handle, _, _ = next_question(plane)
        plane.plane.permit_transaction("events", 0, 7, 0)
        plane.plane.control.resume(handle)
        answer = client.call(fetch((0, 0), max_wait_ms=10_000), 12)
    assert answer.responses[0].partitions[0].records


def test_a_client_that_leaves_while_its_batch_waits_is_forgotten(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(produce_in("t", (0, transactional(b"a"))), 9)
        handle, _, _ = next_question(plane)
    plane.plane.control.resume(handle)
    with plane.client() as client:
        assert codes(client.call(produce((0, batch(b"b"))), 9)) == [0]


def test_a_marker_ends_the_permit_so_that_a_late_batch_is_asked_about(plane: PlaneUnderTest) -> None:
    log = plane.logs[0]
    log.permit_transaction(7, 0)
    log.append(transactional(b"a"), from_client=True)
    log.append(marker(7, 0, commit=True))
    assert log.append(transactional(b"late", sequence=1), from_client=True)[0][0] == 25
    with plane.client() as client:
        client.send(produce_in("t", (0, transactional(b"late", sequence=1))), 9)
        handle, _, _ = next_question(plane)
        plane.plane.control.resume(handle, TXN_STATE)
        assert codes(client.receive()) == [TXN_STATE]
    assert log.first_undecided_offset is None


def test_a_batch_of_the_epoch_before_the_marker_is_fenced(plane: PlaneUnderTest) -> None:
    log = plane.logs[0]
    log.append(transactional(b"a"))
    log.append(marker(7, 1, commit=True), transaction_version=2)
    log.permit_transaction(7, 1)
    assert log.append(transactional(b"late", sequence=1), from_client=True)[0][0] == 22
    assert log.append(transactional(b"next", epoch=1), from_client=True)[0][0] == 0


def test_a_late_marker_of_version_2_ends_nothing(plane: PlaneUnderTest) -> None:
    log = plane.logs[0]
    log.append(transactional(b"a"))
    log.append(marker(7, 1, commit=True), transaction_version=2)
    assert log.append(marker(7, 1, commit=True), transaction_version=2)[0][0] == 0  # a repetition
    log.append(transactional(b"b", epoch=1))
    assert log.append(marker(7, 1, commit=True), transaction_version=2)[0][0] == 22
    assert log.first_undecided_offset == 3


def test_a_marker_of_a_coordinator_that_was_succeeded_is_refused(plane: PlaneUnderTest) -> None:
    log = plane.logs[0]
    log.append(transactional(b"a"))
    log.append(marker(7, 0, commit=True, coordinator_epoch=5))
    assert log.append(marker(7, 0, commit=False, coordinator_epoch=4))[0][0] == 26


def test_read_committed_stops_at_the_open_transaction_and_learns_what_was_aborted(plane: PlaneUnderTest) -> None:
    log = plane.logs[0]
    log.append(batch(b"plain"))  # 0
    log.append(transactional(b"a", producer_id=7))  # 1
    log.append(transactional(b"b", producer_id=8))  # 2
    log.append(marker(7, 0, commit=False))  # 3
    log.append(batch(b"more"))  # 4
    plane.plane.published("events", 0)
    with plane.client() as client:
        for version in range(4, 19):
            committed = client.call(fetch((0, 0), isolation_level=READ_COMMITTED), version).responses[0].partitions[0]
            assert (committed.high_watermark, committed.last_stable_offset) == (5, 2)
            assert last_offset(committed.records) == 1
            assert aborted(committed) == [(7, 1)]
            uncommitted = client.call(fetch((0, 0)), version).responses[0].partitions[0]
            assert last_offset(uncommitted.records) == 4
            assert uncommitted.aborted_transactions is None
        log.append(marker(8, 0, commit=True))
        plane.plane.published("events", 0)
        whole = client.call(fetch((0, 0), isolation_level=READ_COMMITTED), 12).responses[0].partitions[0]
        assert whole.last_stable_offset == 6
        assert last_offset(whole.records) == 5
        assert aborted(whole) == [(7, 1)]
        behind = client.call(fetch((0, 4), isolation_level=READ_COMMITTED), 12).responses[0].partitions[0]
        assert aborted(behind) == []
        asked = client.call(list_offsets((0, -1), isolation_level=READ_COMMITTED), 7)
    assert asked.topics[0].partitions[0].offset == 6


def test_read_committed_waits_for_the_end_of_the_transaction(plane: PlaneUnderTest) -> None:
    log = plane.logs[0]
    log.append(transactional(b"a"))
    plane.plane.published("events", 0)
    with plane.client() as reader, plane.client() as writer:
        reader.send(fetch((0, 0), isolation_level=READ_COMMITTED, max_wait_ms=60_000), 12)
        assert codes(writer.call(produce((0, batch(b"plain"))), 9)) == [0]  # moves the high watermark only
        log.append(marker(7, 0, commit=True))
        plane.plane.published("events", 0)
        part = reader.receive().responses[0].partitions[0]
    assert last_offset(part.records) == 2


def test_aborted_transactions_of_other_segments_are_told_while_their_records_are_read(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    plane = make_plane()
    log = plane.logs[0]
    log.append(transactional(b"a", producer_id=1))  # 0
    log.append(transactional(b"b", producer_id=2))  # 1
    log.roll()
    log.append(transactional(b"c", producer_id=3))  # 2
    log.append(marker(2, 0, commit=False))  # 3
    log.roll()
    log.append(marker(1, 0, commit=False))  # 4
    log.append(marker(3, 0, commit=True))  # 5
    log.roll()
    log.append(transactional(b"d", producer_id=4))  # 6
    log.append(marker(4, 0, commit=False))  # 7
    plane.plane.published("events", 0)
    with plane.client() as client:
        seen = {
            offset: aborted(
                client.call(fetch((0, offset), isolation_level=READ_COMMITTED), 11).responses[0].partitions[0]
            )
            for offset in (0, 2, 4, 5, 6, 7)
        }
    assert seen == {
        0: [(2, 1), (1, 0)],
        2: [(2, 1), (1, 0)],
        4: [(1, 0)],
        5: [],
        6: [(4, 6)],
        7: [(4, 6)],
    }


def test_permits_are_for_one_epoch_and_the_newest_counts(tmp_path: Any) -> None:
    log = LocalLog.open(str(tmp_path), "events-0")
    for producer_id in range(100):
        log.permit_transaction(producer_id, 0)
    log.permit_transaction(50, 3)
    statuses = [
        log.append(transactional(b"x", producer_id=producer_id, epoch=epoch), from_client=True)[0][0]
        for producer_id, epoch in ((0, 0), (99, 0), (50, 0), (50, 3), (100, 0))
    ]
    assert statuses == [0, 0, 25, 0, 25]
    log.close()


def refused(log: LocalLog, *producers: int) -> list[int]:
    """The status of a transaction's first batch of each producer."""
    batches = [transactional(b"x", producer_id=producer_id) for producer_id in producers]
    return [log.append(found, from_client=True)[0][0] for found in batches]


def test_a_permit_ends_with_the_batch_that_opens_the_transaction(tmp_path: Any) -> None:
    log = LocalLog.open(str(tmp_path), "events-0")
    log.permit_transaction(7, 0)
    assert refused(log, 7) == [0]
    log.append(marker(7, 1, commit=True), transaction_version=2)
    assert log.append(transactional(b"late", epoch=1), from_client=True)[0][0] == 25
    log.close()


def test_permits_that_nobody_uses_end_in_time(tmp_path: Any) -> None:
    log = LocalLog.open(str(tmp_path), "events-0")
    for producer_id in range(1_000):
        log.permit_transaction(producer_id, 0)
    log.expire_producers(0)
    log.permit_transaction(1, 0)
    log.expire_producers(0)
    assert refused(log, 0, 1, 2, 999) == [25, 0, 25, 25]
    log.close()


def test_permits_are_bounded(tmp_path: Any) -> None:
    log = LocalLog.open(str(tmp_path), "events-0")
    for producer_id in range((1 << 16) + 1):
        log.permit_transaction(producer_id, 0)
    assert refused(log, 0, 1 << 16) == [25, 0]
    log.close()


def test_a_log_tells_below_which_epoch_a_producer_is_fenced(tmp_path: Any) -> None:
    log = LocalLog.open(str(tmp_path), "events-0")
    log.append(transactional(b"x", epoch=3))
    assert (log.producer_epoch(7), log.producer_epoch(8)) == (3, -1)
    log.close()


def aborted(part: Any) -> list[tuple[int, int]]:
    return [(each.producer_id, each.first_offset) for each in part.aborted_transactions]


def last_offset(records: bytes) -> int:
    last = -1
    data = bytes(records)
    while data:
        size = 12 + int.from_bytes(data[8:12], "big")
        last = int.from_bytes(data[:8], "big") + int.from_bytes(data[23:27], "big")
        data = data[size:]
    return last


def test_a_marker_that_never_reached_the_disk_has_shown_nobody_what_did_not_either(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    """It is lost with the power, and what it ended is open again then: the coordinator writes it once more."""
    found = make_plane(flush_policy="group")
    found.plane.append("events", 0, transactional(b"a", b"b"))
    until(lambda: found.logs[0].durable_offset == 2)
    try:
        io_table.fail_call(1, errno.EIO, call="fdatasync", for_ever=True)
        found.plane.append("events", 0, batch(b"behind") + marker(7, 0, commit=True))
        until(lambda: found.logs[0].is_offline)
    finally:
        io_table.reset()

    high_watermark, last_stable_offset, end_offset = found.plane.partition_state("events", 0)[1:4]

    assert (high_watermark, last_stable_offset, end_offset) == (2, 2, 4)
