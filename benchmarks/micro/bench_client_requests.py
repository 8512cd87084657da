"""What a request costs the client: CPU time of its process, against a peer in another one that answers at once.

    asv run --bench ClientRequests                       as the other benchmarks
    python benchmarks/micro/bench_client_requests.py     a table: requests/s and CPU-µs per request, best of 5

The peer is Python too, and not counted.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from pystream.client.sync import runner as runners
from pystream.net.connection import Connection
from pystream.protocol.headers import encode_response
from pystream.protocol.messages.api_versions import ApiVersion, ApiVersionsResponse
from pystream.protocol.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from pystream.protocol.messages.index import INDEX

DEPTH = 64
REQUESTS = 2_048
RUNS = 5
HEARTBEAT_VERSION = 4

# Cuts frames, and answers each with the bytes it was given, under the frame's own correlation id.
PEER = """
import socket, sys
answers = [bytes.fromhex(line) for line in sys.argv[1:]]
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
connection, _ = server.accept()
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
held = b""
while data := connection.recv(1 << 20):
    held += data
    out, start = [], 0
    while len(held) - start >= 4:
        size = int.from_bytes(held[start:start + 4])
        if len(held) - start - 4 < size:
            break
        answer = answers[held[start + 4:start + 6] == bytes([0, 12])]
        out.append((len(answer) + 4).to_bytes(4) + held[start + 8:start + 12] + answer)
        start += 4 + size
    held = held[start:]
    connection.sendall(b"".join(out))
"""


def bodies() -> list[str]:
    """The answers to ApiVersions and to Heartbeat, without their correlation ids, in hexadecimal."""
    keys = [
        ApiVersion(api_key=key, min_version=entry.requests[0], max_version=entry.requests[1])
        for key, entry in INDEX.items()
    ]
    versions = encode_response(18, INDEX[18].requests[1], 0, ApiVersionsResponse(api_keys=keys))
    heartbeat = encode_response(12, HEARTBEAT_VERSION, 0, HeartbeatResponse())
    return [versions[4:].hex(), heartbeat[4:].hex()]


class ClientRequests:
    """REQUESTS heartbeats over one connection; asv shows CPU seconds of the client for all of them."""

    timer = time.process_time

    def setup(self) -> None:
        self.peer = subprocess.Popen([sys.executable, "-c", PEER, *bodies()], stdout=subprocess.PIPE, text=True)
        assert self.peer.stdout is not None
        port = int(self.peer.stdout.readline())
        self.runner = runners.acquire()
        self.connection = self.runner.run(Connection.open("127.0.0.1", port))
        self.request = HeartbeatRequest(group_id="group", generation_id=1, member_id="member-0123456789")

    def teardown(self) -> None:
        self.runner.run(self.connection.close())
        runners.release(self.runner)
        self.peer.wait(10)
        assert self.peer.stdout is not None
        self.peer.stdout.close()

    def time_one_at_a_time(self) -> None:
        self.runner.run(self._one_at_a_time())

    def time_64_in_flight(self) -> None:
        self.runner.run(self._in_flight())

    def time_blocking_calls(self) -> None:
        for _ in range(REQUESTS):
            self.runner.run(self._ask())

    async def _ask(self) -> None:
        await self.connection.request(self.request)

    async def _one_at_a_time(self) -> None:
        for _ in range(REQUESTS):
            await self.connection.request(self.request)

    async def _in_flight(self) -> None:
        for _ in range(REQUESTS // DEPTH):
            await asyncio.gather(*[self.connection.request(self.request) for _ in range(DEPTH)])


def main() -> None:
    bench = ClientRequests()
    bench.setup()
    print(f"{'':24} requests/s  CPU µs per request")
    for work in (bench.time_one_at_a_time, bench.time_64_in_flight, bench.time_blocking_calls):
        walls, cpus = [], []
        for _ in range(RUNS):
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        name = work.__name__.removeprefix("time_").replace("_", " ")
        print(f"{name:24} {REQUESTS / min(walls):10,.0f} {min(cpus) / REQUESTS * 1e6:10.1f}")
    bench.teardown()


if __name__ == "__main__":
    main()
