"""The data plane's own parsers of Produce, Fetch and ListOffsets agree with the generated codecs on every input.

What the codec refuses closes the connection; what it reads is answered. Frames are right ones with a few bytes changed.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystream.common.errors import MalformedInput
from pystream.protocol.headers import RequestHeader, encode_request
from pystream.protocol.message import Message
from pystream.protocol.messages.fetch import FetchRequest, ReplicaState
from pystream.protocol.messages.list_offsets import ListOffsetsRequest
from pystream.protocol.messages.produce import ProduceRequest
from tests.unit.data_plane.conftest import PlaneUnderTest, batch
from tests.unit.data_plane.requests import fetch, list_offsets, produce

ROUNDS, FULL_ROUNDS = 250, 10_000
PARKED_AFTER_S = 3.0  # an answer that takes longer waits for records: the request was read


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneUnderTest]:
    directory: Path = tmp_path_factory.mktemp("plane")
    made = PlaneUnderTest(directory, partitions=2, loops=1, flush_policy="os", segment_bytes=1 << 30, limits={})
    yield made
    made.stop()


class Prober:
    """Sends frames one by one and sees whether they are taken; connects again when one was not."""

    def __init__(self, plane: PlaneUnderTest) -> None:
        self.port = plane.port
        self.socket = self.connect()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PARKED_AFTER_S)

    def is_taken(self, frame: bytes) -> bool:
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        try:
            if self.answer():
                return True
        except ConnectionResetError:
            pass
        except TimeoutError:
            self.renew()
            return True
        self.renew()
        return False

    def renew(self) -> None:
        self.socket.close()
        self.socket = self.connect()

    def exactly(self, size: int) -> bytes | None:
        """So many bytes; None when the connection ends before."""
        parts = b""
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                return None
            parts += part
        return parts

    def answer(self) -> bool:
        """Read an answer to its end; False when the connection ends instead."""
        head = self.exactly(4)
        return head is not None and self.exactly(struct.unpack(">i", head)[0]) is not None


def is_read(frame: bytes, request_class: type[Message]) -> bool:
    try:
        header, reader = RequestHeader.parse(frame)
        request_class.read(reader, header.api_version)
    except MalformedInput:
        return False
    return True


def fetches(version: int) -> FetchRequest:
    request = fetch((0, 0), (1, 0), forgotten=(1,), max_bytes=200, partition_max_bytes=100)
    if version >= 12:
        request.cluster_id = "cluster"
    if version >= 15:
        request.replica_state = ReplicaState(replica_id=-1, replica_epoch=3)
    if version >= 17:
        request.topics[0].partitions[0].replica_directory_id = b"d" * 16
    return request


def produces(version: int) -> ProduceRequest:
    return produce((0, batch(b"value")), (1, b""), (1, None))


def list_offsets_of(version: int) -> ListOffsetsRequest:
    return list_offsets((0, -1), (1, 0))


CASES: list[tuple[Callable[[int], Any], range]] = [
    (produces, range(3, 14)),
    (fetches, range(4, 19)),
    (list_offsets_of, range(1, 12)),
]


def changed(frame: bytes, roll: random.Random, start: int, kept: range) -> bytes:
    """`frame` with a few changes behind `start`, none of them in `kept`."""
    data = bytearray(frame)
    for _ in range(roll.randint(1, 3)):
        at = roll.randrange(start, len(data)) if len(data) > start else start
        if at in kept or at >= len(data):
            continue
        kind = roll.randrange(5)
        if kind == 0:
            data[at] ^= 1 << roll.randrange(8)
        elif kind == 1:
            data[at] = roll.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[max(at, kept.stop) :]
        elif kind == 3:
            data.insert(max(at, kept.stop), roll.choice((0, 1, 0xFF)))
        else:
            del data[max(at, kept.stop) : max(at, kept.stop) + 1]
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "version"),
    [(make, version) for make, versions in CASES for version in versions],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_plane_and_codec_take_and_refuse_the_same(
    plane: PlaneUnderTest, make: Callable[[int], Any], version: int, full: bool
):
    request = make(version)
    header = RequestHeader(api_key=request.API_KEY, api_version=version, correlation_id=1, client_id="x")
    frame = encode_request(header, request)
    start = len(frame) - len(request.encode(version))
    # acks decides whether there is an answer, max_wait_ms when: the bytes of both stay.
    kept = {
        produces: range(start, start + (3 if version >= 9 else 4)),
        fetches: range(start, start + 8),
        list_offsets_of: range(start, start),
    }[make]
    roll = random.Random(f"{make.__name__} {version}")
    prober = Prober(plane)
    assert prober.is_taken(frame)
    differing = []
    for _ in range(FULL_ROUNDS if full else ROUNDS):
        data = changed(frame, roll, start, kept)
        if prober.is_taken(data) != is_read(data, type(request)):
            differing.append((data.hex(), is_read(data, type(request))))
    prober.socket.close()
    assert differing == []
