"""Frames, limits and hostile clients: an error or a closed connection, never a crash; neighbours do not notice."""

from __future__ import annotations

import contextlib
import os
import random
import select
import struct
from collections.abc import Callable

import pytest

from pystream._native.control_queue import CONNECTION_ENDED
from pystream.protocol.messages.api_versions import ApiVersionsRequest
from pystream.protocol.messages.fetch import FetchRequest, FetchTopic
from pystream.protocol.messages.list_offsets import ListOffsetsRequest, ListOffsetsTopic
from pystream.protocol.messages.produce import ProduceRequest, TopicProduceData
from tests.support.raw_client import ANSWER_TIMEOUT_S, RawClient
from tests.unit.data_plane.conftest import PlaneUnderTest, batch, until
from tests.unit.data_plane.requests import fetch, list_offsets, produce

BASE_BUFFER_BYTES = 256 << 10
TOO_MANY_TOPICS = 262_145


def receive_cold(plane: PlaneUnderTest) -> list[tuple[int, int, bytes, str]]:
    """Waits until the control queue is readable and takes what is there."""
    readable, _, _ = select.select([plane.plane.control.fileno()], [], [], ANSWER_TIMEOUT_S)
    assert readable
    return plane.plane.control.receive()


def serves(plane: PlaneUnderTest) -> bool:
    with plane.client() as client:
        return bool(client.call(list_offsets((0, -2)), 7).topics[0].partitions[0].error_code == 0)


@pytest.mark.parametrize("length", [-1, -(2**31), 0, 7, 2**31 - 1])
def test_a_frame_length_that_lies_closes_the_connection_only(plane: PlaneUnderTest, length: int) -> None:
    with plane.client() as client:
        client.socket.sendall(struct.pack(">i", length) + b"\0" * 16)
        assert client.is_closed_by_peer()
    assert plane.plane.counters()["frames_refused"] == 1
    assert serves(plane)


@pytest.mark.parametrize("version", [3, 8, 9, 12, 13])
def test_a_produce_cut_anywhere_is_refused_and_stores_nothing(plane: PlaneUnderTest, version: int) -> None:
    with plane.client() as maker:
        whole = maker.frame(produce((0, batch(b"abc")), (1, batch(b"def"))), version)[4:]
    for size in range(8, len(whole) - 1):
        with plane.client() as client:
            client.socket.sendall(struct.pack(">i", size) + whole[:size])
            assert client.is_closed_by_peer(), size
    assert (plane.logs[0].end_offset, plane.logs[1].end_offset) == (0, 0)


@pytest.mark.parametrize(
    ("request_", "version"), [(fetch((0, 0), session=(0, 0)), 12), (fetch((0, 0)), 17), (list_offsets((0, -1)), 11)]
)
def test_a_read_request_cut_anywhere_is_refused(plane: PlaneUnderTest, request_: object, version: int) -> None:
    with plane.client() as maker:
        whole = maker.frame(request_, version)[4:]  # type: ignore[arg-type]
    for size in range(8, len(whole) - 1):
        with plane.client() as client:
            client.socket.sendall(struct.pack(">i", size) + whole[:size])
            assert client.is_closed_by_peer(), size
    assert serves(plane)


def test_random_damage_to_frames_never_takes_the_plane_down(plane: PlaneUnderTest) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    generator = random.Random(seed)
    with plane.client() as maker:
        wholes = [
            maker.frame(produce((0, batch(b"abc", b"def")), (1, batch(b"x"))), 9),
            maker.frame(fetch((0, 0), (1, 0), session=(0, 0)), 13),
            maker.frame(list_offsets((0, 5), (1, -1)), 11),
        ]
    for _ in range(400):
        frame = bytearray(generator.choice(wholes))
        for _ in range(generator.randint(1, 6)):
            frame[generator.randrange(4, len(frame))] = generator.randrange(256)
        # Never a cold request: nobody answers those here.
        frame[4:8] = wholes[0][4:8] if generator.random() < 0.3 else frame[4:8]
        with plane.client() as client:
            client.socket.sendall(frame)
    assert serves(plane)


def test_a_frame_may_come_byte_by_byte_and_two_in_one_piece(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        for byte in client.frame(produce((0, batch(b"slow"))), 9):
            client.socket.sendall(bytes([byte]))
        assert client.receive().responses[0].partition_responses[0].base_offset == 0
        client.socket.sendall(client.frame(produce((0, batch(b"a"))), 9) + client.frame(produce((0, batch(b"b"))), 9))
        offsets = [client.receive().responses[0].partition_responses[0].base_offset for _ in range(2)]
    assert offsets == [1, 2]


def test_large_frames_arrive_whole_and_their_memory_is_given_back(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane()
    with plane.client() as client:
        for _ in range(3):
            answer = client.call(produce((0, batch(b"z" * 900_000)), (1, batch(b"y" * 900_000))), 9)
            assert [part.error_code for part in answer.responses[0].partition_responses] == [0, 0]
    with plane.client() as client:
        client.call(list_offsets((0, -1)), 7)
        # A turn gives its buffers back after its answers have left.
        until(lambda: plane.plane.counters()["memory_used_bytes"] == 0)


def send_what_fits(client: RawClient, data: bytes) -> None:
    client.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        client.socket.send(data)
    client.socket.settimeout(ANSWER_TIMEOUT_S)


def test_half_sent_frames_never_take_more_than_the_pool_and_the_others_go_on_when_it_is_given_back(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    limit = 4 << 20
    plane = make_plane(queued_max_request_bytes=limit, frame_timeout_ms=300, frame_min_bytes_per_second=1)
    with contextlib.ExitStack() as stack:
        hogs = [stack.enter_context(plane.client()) for _ in range(2 * limit // BASE_BUFFER_BYTES)]
        for hog in hogs:
            send_what_fits(hog, struct.pack(">i", 50_000_000) + bytes(3_000_000))
        honest = stack.enter_context(plane.client())
        honest.send(list_offsets((0, -1)), 7)
        until(lambda: within_pool(plane, limit) and plane.plane.counters()["connections_expired"] > 0)
        assert honest.receive().topics[0].partitions[0].error_code == 0
        assert honest.call(list_offsets((0, -1)), 7).topics[0].partitions[0].error_code == 0
        within_pool(plane, limit)
    until(lambda: plane.plane.counters()["memory_used_bytes"] == 0)


def within_pool(plane: PlaneUnderTest, limit: int) -> bool:
    assert plane.plane.counters()["memory_used_bytes"] <= limit
    return True


@pytest.mark.parametrize("loops", [1, 2])
def test_many_clients_share_a_pool_of_a_few_buffers(make_plane: Callable[..., PlaneUnderTest], loops: int) -> None:
    limit = 3 * BASE_BUFFER_BYTES
    plane = make_plane(loops=loops, queued_max_request_bytes=limit)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(plane.client()) for _ in range(64)]
        for _ in range(5):
            for number, client in enumerate(clients):
                client.send(produce((number % 2, batch(b"x" * 20_000))), 9)
            within_pool(plane, limit)
            for client in clients:
                assert client.receive().responses[0].partition_responses[0].error_code == 0
                within_pool(plane, limit)
    assert sum(log.end_offset for log in plane.logs) == 5 * 64
    until(lambda: plane.plane.counters()["memory_used_bytes"] == 0)


def test_a_frame_of_any_size_that_the_pool_can_hold_gets_through_when_others_keep_their_large_buffers_busy(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    limit = 6 << 20
    plane = make_plane(queued_max_request_bytes=limit)
    large = produce((0, batch(b"x" * 900_000)), (1, batch(b"y" * 900_000)))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(plane.client()) for _ in range(6)]
        for _ in range(3):
            for client in clients:
                answer = client.call(large, 9)
                assert [part.error_code for part in answer.responses[0].partition_responses] == [0, 0]
                within_pool(plane, limit)


def test_rests_of_frames_that_fill_the_pool_are_let_go_and_who_holds_nothing_only_waits(
    make_plane: Callable[..., PlaneUnderTest],
) -> None:
    limit = 2 * BASE_BUFFER_BYTES
    plane = make_plane(queued_max_request_bytes=limit, frame_timeout_ms=300, frame_min_bytes_per_second=1)
    rest = struct.pack(">i", 100_000) + bytes(4_000)
    with contextlib.ExitStack() as stack:
        hogs = [stack.enter_context(plane.client()) for _ in range(limit // len(rest) + 2)]
        for hog in hogs:
            hog.socket.sendall(rest)
        # At some moment nothing more fits: those without room for their rest, and the honest one, wait for the sweep.
        honest = stack.enter_context(plane.client())
        honest.send(list_offsets((0, -1)), 7)
        until(lambda: within_pool(plane, limit) and plane.plane.counters()["connections_expired"] > 0)
        assert honest.receive().topics[0].partitions[0].error_code == 0
        assert honest.call(list_offsets((0, -1)), 7).topics[0].partitions[0].error_code == 0


def test_a_cold_frame_goes_to_the_control_plane_and_its_answer_comes_in_order(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(produce((0, batch(b"before"))), 9)
        client.send(ApiVersionsRequest(), 0)
        client.send(produce((0, batch(b"behind"))), 9)
        assert client.receive().responses[0].partition_responses[0].base_offset == 0
        ((handle, listener, frame, _),) = receive_cold(plane)
        assert (listener, frame[:4]) == (0, b"\x00\x12\x00\x00")
        assert plane.logs[0].end_offset == 1
        plane.plane.control.answer(handle, frame[4:8] + b"\x00\x23" + b"\x00\x00\x00\x00")
        assert client.receive().error_code == 35
        assert client.receive().responses[0].partition_responses[0].base_offset == 1


def test_an_answer_to_a_closed_connection_is_dropped(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(ApiVersionsRequest(), 0)
        ((handle, _, _, _),) = receive_cold(plane)
    with plane.client() as other:
        plane.plane.control.answer(handle, b"late")
        assert other.call(list_offsets((0, -2)), 7).topics[0].partitions[0].offset == 0


def test_the_control_plane_can_close_a_connection(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(ApiVersionsRequest(), 0)
        ((handle, _, _, _),) = receive_cold(plane)
        plane.plane.control.close_connection(handle)
        assert client.is_closed_by_peer()


def test_unsupported_versions_of_hot_requests_are_the_control_planes_to_refuse(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.socket.sendall(struct.pack(">ihhih", 12, 0, 2, 1, -1) + b"\0\0")
        ((_, _, frame, peer),) = receive_cold(plane)
    assert (frame[:4], peer) == (b"\x00\x00\x00\x02", "127.0.0.1")


def test_connections_above_the_limit_of_an_address_are_refused(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(max_connections_per_ip=2)
    with plane.client() as first, plane.client() as second, plane.client() as third:
        first.call(list_offsets((0, -1)), 7)
        second.call(list_offsets((0, -1)), 7)
        assert third.is_closed_by_peer()
    assert plane.plane.counters()["connections_refused"] == 1


def test_idle_and_trickling_clients_are_closed_and_busy_ones_are_not(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(connections_max_idle_ms=3000, frame_timeout_ms=300)
    with plane.client() as parked:
        parked.send(fetch((0, 0), max_wait_ms=60_000), 12)
        with plane.client() as idle, plane.client() as trickling:
            trickling.socket.sendall(b"\x00\x00\x10\x00\x00")
            assert trickling.is_closed_by_peer()
            assert idle.is_closed_by_peer()
        until(lambda: plane.plane.counters()["connections"] == 1)
        with plane.client() as writer:
            writer.send(produce((0, batch(b"x"))), 9)
            assert len(parked.receive().responses[0].partitions[0].records) > 0


def test_a_client_that_does_not_read_its_answers_is_not_read_either(plane: PlaneUnderTest) -> None:
    with plane.client() as writer:
        for _ in range(8):
            writer.call(produce((0, batch(b"z" * 900_000))), 9)
    with plane.client() as greedy:
        requests = b"".join(
            greedy.frame(fetch((0, 0), max_bytes=1 << 23, partition_max_bytes=1 << 23), 12) for _ in range(200)
        )
        greedy.socket.sendall(requests)
        assert serves(plane)
        answers = [greedy.receive() for _ in range(200)]
    sizes = {len(answer.responses[0].partitions[0].records) for answer in answers}
    assert len(sizes) == 1


def test_stop_answers_parked_requests_and_closes(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane()
    with plane.client() as client:
        client.send(fetch((0, 0), max_wait_ms=600_000), 12)
        until(lambda: plane.plane.counters()["fetch_parked"] == 1)
        plane.plane.stop(60_000)
        assert len(client.receive().responses[0].partitions[0].records) == 0
        assert client.is_closed_by_peer()


def test_many_connections_over_several_loops_are_all_served(make_plane: Callable[..., PlaneUnderTest]) -> None:
    plane = make_plane(loops=4)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(plane.client()) for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(produce((number % 2, batch(b"%d" % number))), 9)
        offsets = sorted(client.receive().responses[0].partition_responses[0].base_offset for client in clients)
    assert offsets == sorted(list(range(50)) * 2)


def test_the_end_of_a_watched_connection_is_told_once(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(ApiVersionsRequest(), 0)
        ((handle, _, _, _),) = receive_cold(plane)
        plane.plane.control.watch(handle)
        plane.plane.control.answer(handle, b"\0\0\0\1answer")
        assert client.exactly(14)[8:] == b"answer"
    assert receive_cold(plane) == [(handle, CONNECTION_ENDED, b"", "")]
    plane.plane.control.watch(handle)
    assert receive_cold(plane) == [(handle, CONNECTION_ENDED, b"", "")], "one that has ended already is told of at once"


def test_a_produce_of_more_topics_than_a_request_may_name_ends_its_connection(plane: PlaneUnderTest) -> None:
    """One without partitions takes three bytes of a frame, and ten times that in memory."""
    with plane.client() as client:
        client.send(ProduceRequest(acks=1, topic_data=[TopicProduceData(name="")] * TOO_MANY_TOPICS), 9)
        assert client.is_closed_by_peer()


def test_a_fetch_of_more_topics_than_a_request_may_name_ends_its_connection(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(FetchRequest(topics=[FetchTopic(topic="")] * TOO_MANY_TOPICS), 12)
        assert client.is_closed_by_peer()


def test_a_list_offsets_of_more_topics_than_a_request_may_name_ends_its_connection(plane: PlaneUnderTest) -> None:
    with plane.client() as client:
        client.send(ListOffsetsRequest(topics=[ListOffsetsTopic(name="")] * TOO_MANY_TOPICS), 6)
        assert client.is_closed_by_peer()
