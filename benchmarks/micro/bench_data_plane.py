"""The plane over loopback: one request at a time, 64 at once, a fetch of 1 MB. The client's Python is part of it."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path

from micro.samples import random_bytes

from pystream._native.data_plane import DataPlane
from pystream._native.flusher import Flusher
from pystream._native.local_log import LocalLog
from pystream._native.record_builder import RecordBatchBuilder
from pystream._native.wire import Writer
from pystream.protocol.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from pystream.protocol.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

PRODUCE, FETCH = (0, 9), (1, 12)
DEPTH = 64
FETCHED_BYTES = 1 << 20


def framed(api: tuple[int, int], body: ProduceRequest | FetchRequest) -> bytes:
    """The request with header version 2 and its length before it."""
    key, version = api
    writer = Writer()
    writer.int16(key)
    writer.int16(version)
    writer.int32(1)
    writer.nullable_string("asv")
    writer.int8(0)
    body.write(writer, version)
    frame = writer.getvalue()
    return len(frame).to_bytes(4) + frame


def batch_of(records: int, value_size: int) -> bytes:
    builder = RecordBatchBuilder()
    builder.extend([random_bytes(value_size)] * records, timestamps=1_700_000_000_000)
    return builder.build()


class DataPlaneOnLoopback:
    """One event loop, one partition, acks=1 from the page cache."""

    def setup(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="asv-plane-"))
        self.flusher = Flusher()
        self.flusher.start()
        self.log = LocalLog.open(str(self.folder), "bench-0", flush_policy="os")
        for _ in range(FETCHED_BYTES // 16_000 + 1):
            self.log.append(batch_of(16, 1000))
        self.plane = DataPlane(node_id=1)
        self.plane.add_partition("bench", bytes(16), 0, self.log, self.flusher, leader_epoch=0)
        port = self.plane.listen("127.0.0.1", 0)
        self.plane.start()
        self.client = socket.create_connection(("127.0.0.1", port))
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        part = PartitionProduceData(index=0, records=batch_of(1, 100))
        topic = TopicProduceData(name="bench", partition_data=[part])
        self.produce = framed(PRODUCE, ProduceRequest(acks=1, timeout_ms=5000, topic_data=[topic]))
        wanted = FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=FETCHED_BYTES)
        fetched = FetchTopic(topic="bench", partitions=[wanted])
        self.fetch = framed(FETCH, FetchRequest(max_wait_ms=0, min_bytes=1, max_bytes=FETCHED_BYTES, topics=[fetched]))
        self.buffer = bytearray(FETCHED_BYTES + 4096)

    def teardown(self) -> None:
        self.client.close()
        self.plane.stop(1000)
        self.flusher.stop()
        self.log.close()
        shutil.rmtree(self.folder)

    def take_answer(self) -> None:
        self.take(4)
        self.take(int.from_bytes(self.buffer[:4]))

    def take(self, size: int) -> None:
        view, have = memoryview(self.buffer), 0
        while have < size:
            have += self.client.recv_into(view[have:size])

    def time_produce(self) -> None:
        self.client.sendall(self.produce)
        self.take_answer()

    def time_produce_64_in_flight(self) -> None:
        self.client.sendall(self.produce * DEPTH)
        for _ in range(DEPTH):
            self.take_answer()

    def time_fetch_1_mb(self) -> None:
        self.client.sendall(self.fetch)
        self.take_answer()
