"""What stands between clients and a broker whose faults a test orders: every frame passes here.

    client -- relay -- broker         the broker tells clients the relay's port

Frames of one connection keep their order, and so do answers, those that the relay gives itself among them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from pystream.common.config import INT_MAX
from pystream.testing.faults import Faults, Kind
from pystream.testing.loop_thread import LoopThread
from pystream.testing.ports import HeldPort, bound
from pystream.testing.refusals import asked_by, expects_answer, refusal_or_none
from pystream.testing.settings import HOST

LENGTH_BYTES: Final = 4
BUFFER_BYTES: Final = 1 << 20
GONE = (asyncio.IncompleteReadError, ConnectionError)


class Relay:
    """Listens from `start` to `stop`, at one port. Its methods may be called from any thread."""

    def __init__(self, broker_port: int) -> None:
        self.faults = Faults(self)
        self.failures: list[BaseException] = []  # of its own: bugs
        self._broker_port = broker_port
        self.longest_frame = INT_MAX  # of a client; as the broker has it
        self._held = HeldPort()
        self._thread = LoopThread("pystream-relay")
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], _Link] = {}
        self.refuse(False)

    @property
    def port(self) -> int:
        return self._held.number

    def refuse(self, refused: bool) -> None:
        """Whether whoever connects is refused."""
        self._thread.run(self._listen(not refused))

    def drop_connections(self) -> int:
        return self._thread.run(self._drop())

    def stop(self) -> None:
        """Break all connections and give up the port. Raises the first failure of the relay itself."""
        self.refuse(True)
        self.drop_connections()
        self._thread.stop()
        self._held.close()
        if self.failures:
            raise self.failures[0]

    async def _listen(self, listens: bool) -> None:
        if listens == (self._server is not None):
            return
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=bound(self.port), limit=BUFFER_BYTES)
        else:
            self._server.close()
            self._server = None

    async def _drop(self) -> int:
        links = dict(self._links)
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a server calls it in a task"
        if self._server is None:  # taken from the queue of connections before it was closed
            writer.transport.abort()
            return
        link = _Link(self.faults, reader, writer, self.longest_frame)
        self._links[task] = link
        try:
            await link.run(self._broker_port)
        except GONE:
            return
        except asyncio.CancelledError:
            return  # the test breaks it
        except BaseException as error:
            self.failures.append(error)
            raise
        finally:
            del self._links[task]
            writer.transport.abort()


@dataclass(eq=False, slots=True)
class _Due:
    """An answer that the client waits for: our own, or the broker's, which is passed on or lost."""

    answer: bytes | None = None
    is_lost: bool = False


class _Link:
    """One connection of a client, and that to the broker behind it."""

    def __init__(
        self, faults: Faults, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, longest_frame: int
    ) -> None:
        self._faults = faults
        self._longest_frame = longest_frame
        self._from_client, self._to_client = reader, writer
        self._due: deque[_Due] = deque()

    async def run(self, broker_port: int) -> None:
        """Until either side has gone, or a fault breaks it."""
        from_broker, to_broker = await asyncio.open_connection(HOST, broker_port, limit=BUFFER_BYTES)
        ways = [
            asyncio.ensure_future(self._pass_requests(to_broker)),
            asyncio.ensure_future(self._pass_answers(from_broker)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_broker.transport.abort()

    async def _pass_requests(self, to_broker: asyncio.StreamWriter) -> None:
        while True:
            frame = await received(self._from_client, self._longest_frame)
            fault = self._faults.strike(*asked_by(frame))
            if fault is not None and fault.kind is Kind.DROP:
                return
            if fault is not None and fault.kind is Kind.DELAY:
                await asyncio.sleep(fault.delay_ms / 1_000)
            answer = None if fault is None or fault.kind is not Kind.FAIL else refusal_or_none(frame, fault.code)
            if expects_answer(frame):
                self._due.append(_Due(answer, is_lost=fault is not None and fault.kind is Kind.LOSE))
            if answer is not None:
                self._give_own_answers()
            else:
                send(to_broker, frame)
                await to_broker.drain()

    async def _pass_answers(self, from_broker: asyncio.StreamReader) -> None:
        while True:
            frame = await received(from_broker)
            if self._due.popleft().is_lost:
                return
            send(self._to_client, frame)
            self._give_own_answers()
            await self._to_client.drain()

    def _give_own_answers(self) -> None:
        while self._due and (answer := self._due[0].answer) is not None:
            self._due.popleft()
            send(self._to_client, answer)


async def received(reader: asyncio.StreamReader, longest: int = INT_MAX) -> bytes:
    """The next frame, without its length. Raises ConnectionError for a length that no broker takes, as brokers do."""
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big", signed=True)
    if not 0 <= length <= longest:
        raise ConnectionError(f"a frame of {length} bytes")
    return await reader.readexactly(length)


def send(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.writelines((len(frame).to_bytes(LENGTH_BYTES, "big"), frame))
