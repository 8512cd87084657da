"""Transactional producers, as cheap as Python makes them: one connection each, one epoll, hardly anything made anew.

A producer adds its partitions, writes one small record to each, ends the transaction, and begins the next one.
FindCoordinator 1, InitProducerId 0, AddPartitionsToTxn 0, Produce 7, EndTxn 0: every broker since 2.1 speaks them. Each
answer is checked.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Sequence

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.wire import CLIENT_ID, PRODUCE, Client, WireError, record_batch, text

FIND_COORDINATOR, INIT_PRODUCER_ID, ADD_PARTITIONS, END = 10, 22, 24, 26
OF_TRANSACTIONS = 1
VERSIONS = {PRODUCE: 7, ADD_PARTITIONS: 0, END: 0}
COORDINATOR_LOADING, NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT = 14, 15, 16, 51
AGAIN = {COORDINATOR_LOADING, NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT}
TIMEOUT_MS = 60_000
RETRY_S = 0.001
PATIENCE_S = 60.0
RECEIVE_BYTES = 1 << 16
SIZE = struct.Struct(">i")
HEADER = struct.Struct(">ihhih")


def frame(key: int, body: bytes) -> bytes:
    rest = CLIENT_ID + body
    return HEADER.pack(HEADER.size - 4 + len(rest), key, VERSIONS[key], 1, len(CLIENT_ID)) + rest


class TransactionalProducer:
    """One connection, one transactional id; `asked` is the key of the request that is out."""

    def __init__(self, port: int, transactional_id: str, topic: str, partitions: int, value: bytes) -> None:
        self._topic, self._partitions, self._value = text(topic), partitions, value
        self._id = text(transactional_id)
        self.client = Client(port)
        self.identity = self._initialized()
        asked = self._id + struct.pack(">qh", *self.identity)
        listed = struct.pack(">i", 1) + self._topic
        listed += struct.pack(f">i{partitions}i", partitions, *range(partitions))
        self._add = frame(ADD_PARTITIONS, asked + listed)
        self._commit = frame(END, asked + b"\x01")
        self._sequence = 0
        self.asked = 0
        self.began_s = 0.0
        self.latencies: list[float] = []
        self._received = bytearray()

    def _initialized(self) -> tuple[int, int]:
        until = time.monotonic() + PATIENCE_S
        while True:
            self.client.call(FIND_COORDINATOR, 1, self._id + bytes([OF_TRANSACTIONS]))  # makes the coordinator's topic
            answer = self.client.call(INIT_PRODUCER_ID, 0, self._id + struct.pack(">i", TIMEOUT_MS))
            _, code, producer_id, epoch = answer.take(">ihqh")
            if code == 0:
                return producer_id, epoch
            if code not in AGAIN or time.monotonic() > until:
                raise WireError(f"InitProducerId: code {code}", code)
            time.sleep(RETRY_S)

    def begin(self) -> None:
        self.began_s = time.monotonic()
        self.ask(ADD_PARTITIONS)

    def ask(self, key: int) -> None:
        """Send a request of the current transaction, the first time or once more."""
        self.asked = key
        data = self._add if key == ADD_PARTITIONS else self._commit if key == END else self._produce()
        if self.client.socket.send(data) != len(data):
            raise HarnessError("the socket took only a part of a small request")

    def _produce(self) -> bytes:
        batch = record_batch(self._value, producer=(*self.identity, self._sequence), transactional=True)
        body = self._id + struct.pack(">hii", -1, TIMEOUT_MS, 1) + self._topic + struct.pack(">i", self._partitions)
        return frame(
            PRODUCE,
            body + b"".join(struct.pack(">ii", each, len(batch)) + batch for each in range(self._partitions)),
        )

    def take(self) -> int | None:
        """The error code of the answer, None while it has not come whole."""
        data = self.client.socket.recv(RECEIVE_BYTES)
        if not data:
            raise WireError("the broker closed the connection")
        self._received += data
        if len(self._received) < SIZE.size or len(self._received) < SIZE.size + SIZE.unpack_from(self._received)[0]:
            return None
        answer = bytes(self._received)
        self._received.clear()
        return self._code_of(answer, 8)

    def _code_of(self, answer: bytes, position: int) -> int:
        """The first error in an answer, whose body begins at `position`."""
        if self.asked == END:
            return int(struct.unpack_from(">ih", answer, position)[1])
        if self.asked == ADD_PARTITIONS:
            position += 4 + 4 + len(self._topic) + 4  # throttle time, topics, name, partitions
            return _first_code(answer, position, ">ih", 1, self._partitions)
        position += 4 + len(self._topic) + 4  # topics, name, partitions
        return _first_code(answer, position, ">ihqqq", 1, self._partitions)

    def advance(self) -> bool:
        """After an answer without an error: the next request. True when it was the transaction's end."""
        if self.asked == ADD_PARTITIONS:
            self.ask(PRODUCE)
        elif self.asked == PRODUCE:
            self._sequence += 1
            self.ask(END)
        else:
            self.latencies.append(time.monotonic() - self.began_s)
            return True
        return False


def _first_code(answer: bytes, position: int, layout: str, index: int, count: int) -> int:
    size = struct.calcsize(layout)
    codes = (struct.unpack_from(layout, answer, position + size * number)[index] for number in range(count))
    return next((code for code in codes if code), 0)


def run_transactions(producers: Sequence[TransactionalProducer], seconds: float) -> None:
    """Keep all of them at it, then wait for the transactions that are open. Raises HarnessError for an odd answer."""
    epoll = select.epoll()
    by_socket = {each.client.socket.fileno(): each for each in producers}
    again: list[tuple[float, TransactionalProducer]] = []
    until = time.monotonic() + seconds
    working = len(producers)
    try:
        for descriptor, each in by_socket.items():
            epoll.register(descriptor, select.EPOLLIN)
            each.begin()
        while working:
            events = epoll.poll(RETRY_S if again else 1.0)
            now = time.monotonic()
            if now > until + PATIENCE_S:
                raise HarnessError(f"{working} transactions do not end")
            for descriptor, _ in events:
                each = by_socket[descriptor]
                code = each.take()
                if code in AGAIN:
                    again.append((now + RETRY_S, each))
                elif code:
                    raise HarnessError(f"request {each.asked}: code {code}")
                elif code == 0 and each.advance():
                    if now < until:
                        each.begin()
                    else:
                        working -= 1
            for _, each in [entry for entry in again if entry[0] <= now]:
                each.ask(each.asked)
            again = [entry for entry in again if entry[0] > now]
    finally:
        epoll.close()
