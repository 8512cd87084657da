"""A tiny blocking Kafka client for set-up: topics made and deleted, one record produced.

ApiVersions 0, ListOffsets 1, Metadata 7, CreateTopics 4, DeleteTopics 3, Produce 7: before the flexible
encoding, and spoken by every target.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from benchmarks.harness.errors import HarnessError
from pystream._native.crc32c import crc32c

PRODUCE, LIST_OFFSETS, METADATA, API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS = 0, 2, 3, 18, 19, 20
CLIENT_ID = b"harness"
LATEST = -1
POLL_S = 0.002
TRANSACTIONAL = 0x10  # attribute of a batch


class WireError(HarnessError):
    """The broker closed the connection or answered with an error code (`code`, 0 without one)."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Parser:
    """Reads an answer from its start; running out of bytes is a WireError."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, layout: str) -> tuple[int, ...]:
        try:
            values = struct.unpack_from(layout, self.data, self.position)
        except struct.error as error:
            raise WireError(f"answer too short: {error}") from None
        self.position += struct.calcsize(layout)
        return values

    def number(self, layout: str) -> int:
        return self.take(layout)[0]

    def text(self) -> str:
        size = self.number(">h")
        if size < 0:
            return ""
        self.position += size
        return self.data[self.position - size : self.position].decode()


def text(value: str | None) -> bytes:
    if value is None:
        return struct.pack(">h", -1)
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def record_batch(value: bytes, *, producer: tuple[int, int, int] = (-1, -1, -1), transactional: bool = False) -> bytes:
    """A record batch v2 with one record, stamped now; `producer` is its id, epoch and first sequence number."""
    now_ms = int(time.time() * 1000)
    record = bytes([0, 0, 0, 1]) + _varint(len(value)) + value + b"\x00"
    record = _varint(len(record)) + record
    body = struct.pack(">hiqqqhii", TRANSACTIONAL * transactional, 0, now_ms, now_ms, *producer, 1) + record
    return struct.pack(">qiib", 0, 9 + len(body), -1, 2) + struct.pack(">I", crc32c(body)) + body


def _varint(value: int) -> bytes:
    """Zigzag, of a length: never negative."""
    value <<= 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class Client:
    """One connection to a broker on loopback. Every call is bounded by `timeout_s` in each wait."""

    def __init__(self, port: int, *, timeout_s: float = 30) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def _receive(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise WireError("the broker closed the connection")
            parts += part
        return bytes(parts)

    def call(self, key: int, version: int, body: bytes) -> Parser:
        self.correlation += 1
        frame = struct.pack(">hhih", key, version, self.correlation, len(CLIENT_ID)) + CLIENT_ID + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        parser = Parser(self._receive(struct.unpack(">i", self._receive(4))[0]))
        if parser.number(">i") != self.correlation:
            raise WireError("an answer with another correlation id")
        return parser

    def api_versions(self) -> dict[int, tuple[int, int]]:
        answer = self.call(API_VERSIONS, 0, b"")
        if code := answer.number(">h"):
            raise WireError(f"ApiVersions: code {code}", code)
        rows = [answer.take(">hhh") for _ in range(answer.number(">i"))]
        return {key: (low, high) for key, low, high in rows}

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Makes the topic with one replica and waits until every partition has a leader."""
        body = struct.pack(">i", 1) + text(name) + struct.pack(">ihi", partitions, 1, 0)
        body += struct.pack(">i", len(config or {}))
        body += b"".join(text(key) + text(value) for key, value in (config or {}).items())
        answer = self.call(CREATE_TOPICS, 4, body + struct.pack(">ib", 30_000, 0))
        answer.take(">ii")
        answer.text()
        if code := answer.number(">h"):
            raise WireError(f"CreateTopics {name}: code {code} {answer.text()}", code)
        self.await_leaders(name, partitions)

    def await_leaders(self, name: str, partitions: int, *, timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while (found := self.leaders(name)) < partitions:
            if time.monotonic() > deadline:
                raise WireError(f"{name}: {found} of {partitions} partitions have a leader after {timeout_s} s")
            time.sleep(POLL_S)

    def await_serving(self, name: str, partitions: int, *, timeout_s: float = 60) -> None:
        """Waits until every partition's leader has taken up its work: Metadata tells of it a moment earlier."""
        deadline = time.monotonic() + timeout_s
        while any(codes := self.end_offset_errors(name, partitions)):
            if time.monotonic() > deadline:
                raise WireError(f"{name}: ListOffsets still answers {set(codes)} after {timeout_s} s")
            time.sleep(POLL_S)

    def end_offset_errors(self, name: str, partitions: int) -> list[int]:
        """The error code that ListOffsets gives for each partition."""
        body = struct.pack(">ii", -1, 1) + text(name) + struct.pack(">i", partitions)
        body += b"".join(struct.pack(">iq", partition, LATEST) for partition in range(partitions))
        answer = self.call(LIST_OFFSETS, 1, body)
        answer.number(">i")
        answer.text()
        return [answer.take(">ihqq")[1] for _ in range(answer.number(">i"))]

    def leaders(self, name: str) -> int:
        """How many partitions of the topic have a leader."""
        answer = self.call(METADATA, 7, struct.pack(">i", 1) + text(name) + b"\x00")
        answer.number(">i")
        for _ in range(answer.number(">i")):
            answer.number(">i")
            answer.text()
            answer.number(">i")
            answer.text()
        answer.text()
        _, topics = answer.take(">ii")
        if topics != 1 or answer.number(">h"):
            return 0
        answer.text()
        answer.number(">b")
        count = 0
        for _ in range(answer.number(">i")):
            error, _, leader, _ = answer.take(">hiii")
            for _ in range(3):
                answer.take(f">{answer.number('>i')}i")
            count += not error and leader >= 0
        return count

    def delete_topics(self, names: Sequence[str]) -> None:
        body = struct.pack(">i", len(names)) + b"".join(map(text, names)) + struct.pack(">i", 30_000)
        answer = self.call(DELETE_TOPICS, 3, body)
        _, count = answer.take(">ii")
        for _ in range(count):
            name = answer.text()
            if code := answer.number(">h"):
                raise WireError(f"DeleteTopics {name}: code {code}", code)

    def produce_one(self, topic: str, partition: int = 0, acks: int = 1) -> int:
        """Appends one record; gives its offset. Raises WireError with the partition's code."""
        batch = record_batch(b"hello")
        body = struct.pack(">hhii", -1, acks, 30_000, 1) + text(topic)
        body += struct.pack(">iii", 1, partition, len(batch)) + batch
        answer = self.call(PRODUCE, 7, body)
        answer.number(">i")
        answer.text()
        _, _, code, offset = answer.take(">iihq")
        if code:
            raise WireError(f"Produce to {topic}-{partition}: code {code}", code)
        return offset


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
