"""Produce 3-13 over real sockets."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from pystream._native.batch import parse_header
from pystream._native.crc32c import crc32c
from tests.unit.data_plane.conftest import PlaneUnderTest, batch
from tests.unit.data_plane.requests import fetch, produce

NOT_FOUND, CORRUPT, TOO_LARGE, NOT_LEADER, INVALID_ACKS, NO_REPLICAS, UNKNOWN_ID, INVALID_RECORD, NO_TXN_ID, ZSTD = (
    3, 2, 10, 6, 21, 19, 100, 87, 53, 76,
)  # fmt: skip


@pytest.mark.parametrize("version", range(3, 14))
def test_every_version_appends_and_answers_with_the_base_offset(plane: PlaneUnderTest, version: int) -> None:
    with plane.client() as client:
        first = client.call(produce((0, batch(b"a", b"b"))), version)
        second = client.call(produce((0, batch(b"c")), (1, batch(b"d"))), version)
    assert [part.base_offset for part in first.responses[0].partition_responses] == [0]
    assert [(part.index, part.error_code, part.base_offset) for part in second.responses[0].partition_responses] == [
        (0, 0, 2),
        (1, 0, 0),
    ]
    assert plane.logs[0].end_offset == 3


def test_offset_and_leader_epoch_are_stamped_and_the_records_are_the_senders_bytes(plane: PlaneUnderTest) -> None:
    sent = batch(b"one", b"two")
    with plane.client() as client:
        client.call(produce((0, batch(b"zero"))), 9)
        client.call(produce((0, sent)), 9)
    stored = plane.logs[0].read(offset=1, max_bytes=1 << 20)
    header = parse_header(stored)
    assert (header.base_offset, header.partition_leader_epoch) == (1, 0)
    assert stored[16:] == sent[16:]


def test_pipelined_requests_are_answered_in_order_and_appended_in_order(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.socket.sendall(b"".join(client.frame(produce((0, batch(b"%d" % number))), 9) for number in range(200)))
        offsets = [client.receive().responses[0].partition_responses[0].base_offset for _ in range(200)]
    assert offsets == list(range(200))
    counters = plane.plane.counters()
    assert counters["batches_appended"] == 200
    assert counters["appends"] < 200


def test_without_acks_nothing_is_answered_and_all_is_stored_even_if_the_client_leaves_at_once(
    plane: PlaneUnderTest,
) -> None:
    with plane.client() as client:
        for number in range(50):
            client.socket.sendall(client.frame(produce((0, batch(b"%d" % number)), acks=0), 9))
    with plane.client() as client:
        answer = client.call(fetch((0, 49), max_wait_ms=10_000), 12)
    assert answer.responses[0].partitions[0].records is not None
    assert plane.logs[0].end_offset == 50


def test_a_failure_without_acks_closes_the_connection(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(produce((7, batch(b"x")), acks=0), 9)
        assert client.is_closed_by_peer()


def test_acks_all_is_answered_when_the_flusher_has_made_it_durable(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(flush_policy="group")
    with plane.client() as client:
        answer = client.call(produce((0, batch(b"a")), (1, batch(b"b")), acks=-1), 9)
    assert [part.error_code for part in answer.responses[0].partition_responses] == [0, 0]
    assert plane.logs[0].durable_offset == plane.logs[1].durable_offset == 1
    assert plane.plane.partition_state("events", 0)[1] == 1


def test_one_bad_partition_does_not_fail_its_neighbours(plane: PlaneUnderTest) -> None:
    broken = bytearray(batch(b"x" * 100))
    broken[-1] ^= 1
    with plane.client() as client:
        answer = client.call(produce((0, bytes(broken)), (1, batch(b"good")), (9, batch(b"nowhere"))), 9)
    assert [part.error_code for part in answer.responses[0].partition_responses] == [CORRUPT, 0, NOT_FOUND]
    assert (plane.logs[0].end_offset, plane.logs[1].end_offset) == (0, 1)


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (None, INVALID_RECORD),
        (b"", INVALID_RECORD),
        (batch(b"a") + batch(b"b"), INVALID_RECORD),
        (batch(b"a")[:30], CORRUPT),
        (batch(b"a", transactional=True, producer_id=1, producer_epoch=0, base_sequence=0), NO_TXN_ID),
        (batch(b"a", control=True, transactional=True, producer_id=1, producer_epoch=0), INVALID_RECORD),
        (batch(b"a" * 2_000_000), TOO_LARGE),
    ],
)  # fmt: skip
def test_records_that_break_a_rule_get_its_code(plane: PlaneUnderTest, records: bytes | None, code: int) -> None:
    with plane.client() as client:
        answer = client.call(produce((0, records)), 9)
    assert answer.responses[0].partition_responses[0].error_code == code
    assert plane.logs[0].end_offset == 0


def with_lying_record(position: int, value: int) -> bytes:
    """A batch whose records say something else than they are, under a CRC that is right."""
    data = bytearray(batch(b"abc", b"def"))
    data[61 + position] = value
    data[17:21] = crc32c(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(("position", "value"), [(0, 2), (0, 120), (3, 2), (5, 0x7F), (5, 3), (9, 8)])
def test_a_length_lie_inside_a_record_is_refused_though_the_crc_is_right(
    plane: PlaneUnderTest, position: int, value: int
) -> None:
    with plane.client() as client:
        answer = client.call(produce((0, with_lying_record(position, value))), 9)
    assert answer.responses[0].partition_responses[0].error_code == INVALID_RECORD
    assert plane.logs[0].end_offset == 0


def test_zstd_needs_version_7(plane: PlaneUnderTest) -> None:
    compressed = batch(b"a" * 100, codec=4)
    with plane.client() as client:
        old = client.call(produce((0, compressed)), 6)
        new = client.call(produce((0, compressed)), 7)
    assert old.responses[0].partition_responses[0].error_code == ZSTD
    assert new.responses[0].partition_responses[0].error_code == 0


def test_acks_other_than_minus_one_zero_and_one_are_refused(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        answer = client.call(produce((0, batch(b"a")), acks=2), 9)
    assert answer.responses[0].partition_responses[0].error_code == INVALID_ACKS


def test_an_unknown_topic_id_is_told_from_an_unknown_name(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        by_id = client.call(produce((0, batch(b"a")), topic_id=b"\xee" * 16), 13)
        by_name = client.call(produce((0, batch(b"a")), topic="nothing"), 12)
    assert by_id.responses[0].partition_responses[0].error_code == UNKNOWN_ID
    assert by_name.responses[0].partition_responses[0].error_code == NOT_FOUND


def test_a_follower_refuses_and_names_the_leader(plane: PlaneUnderTest) -> None:
    plane.plane.set_leadership("events", 0, leader=False, leader_epoch=4, leader_id=2)
    with plane.client() as client:
        answer = client.call(produce((0, batch(b"a"))), 10)
    part = answer.responses[0].partition_responses[0]
    assert part.error_code == NOT_LEADER
    assert (part.current_leader.leader_id, part.current_leader.leader_epoch) == (2, 4)


def test_acks_all_without_enough_replicas_is_refused_before_the_append(plane: PlaneUnderTest) -> None:
    plane.plane.set_leadership("events", 0, leader=True, leader_epoch=0, leader_id=1, enough_replicas=False)
    with plane.client() as client:
        answer = client.call(produce((0, batch(b"a")), acks=-1), 9)
    assert answer.responses[0].partition_responses[0].error_code == NO_REPLICAS
    assert plane.logs[0].end_offset == 0


def test_a_repeated_batch_of_an_idempotent_producer_is_answered_with_its_first_offset(plane: PlaneUnderTest) -> None:
    sent = [batch(b"%d" % number, producer_id=7, producer_epoch=0, base_sequence=number) for number in range(3)]
    with plane.client() as client:
        first = [client.call(produce((0, one)), 9).responses[0].partition_responses[0] for one in sent]
        again = client.call(produce((0, sent[1])), 9).responses[0].partition_responses[0]
        gap = client.call(produce((0, batch(b"x", producer_id=7, producer_epoch=0, base_sequence=9))), 9)
        old_epoch = batch(b"x", producer_id=7, producer_epoch=1, base_sequence=0)
        client.call(produce((0, old_epoch)), 9)
        fenced = client.call(produce((0, batch(b"x", producer_id=7, producer_epoch=0, base_sequence=3))), 9)
    assert [part.base_offset for part in first] == [0, 1, 2]
    assert (again.error_code, again.base_offset) == (0, 1)
    assert gap.responses[0].partition_responses[0].error_code == 45
    assert fenced.responses[0].partition_responses[0].error_code == 47
    assert plane.logs[0].end_offset == 4


def test_a_frame_that_turns_malformed_after_a_good_batch_stores_nothing(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        frame = client.frame(produce((0, batch(b"good")), (1, batch(b"also"))), 8)
        cut = frame[4:-10]
        client.socket.sendall(struct.pack(">i", len(cut)) + cut)
        assert client.is_closed_by_peer()
    assert (plane.logs[0].end_offset, plane.logs[1].end_offset) == (0, 0)


def test_a_removed_partition_answers_parked_requests(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane()
    with plane.client() as waiting, plane.client() as other:
        waiting.send(fetch((0, 0), max_wait_ms=60_000), 12)
        other.call(produce((1, batch(b"x"))), 9)
        plane.plane.remove_partition("events", 0)
        answer = waiting.receive()
    assert answer.responses[0].partitions[0].error_code == NOT_FOUND
