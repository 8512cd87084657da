"""What is measured once and not under load: time to the first accepted produce, and memory."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import time
from collections.abc import Callable

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.runner import Row
from benchmarks.harness.targets.base import POLL_S, START_TIMEOUT_S, Target
from benchmarks.harness.wire import API_VERSIONS, CLIENT_ID, Client

CONNECTIONS = 10_000
SPARE_FILES = 200
PARTITIONS = 10_000
PARTITIONS_PER_TOPIC = 500
SETTLE_S = 3.0


def start_up(target: Target) -> Row:
    """Seconds from the start of the process, on an empty data folder, to the first accepted produce; then the memory.

    The topic is made as soon as the broker answers; that is part of the time.
    """
    began = target.start(wait=False)
    while not accepts_a_produce(target):
        target.running.check_alive()
        if time.monotonic() > began + START_TIMEOUT_S:
            raise HarnessError(f"no produce was accepted in {START_TIMEOUT_S} s")
        time.sleep(POLL_S)
    start_s, spent = time.monotonic() - began, target.running.cpu_time()
    time.sleep(SETTLE_S)
    return {"start_s": start_s, "start_cpu_s": spent.user + spent.system, "idle_bytes": target.running.memory_bytes()}


def accepts_a_produce(target: Target) -> bool:
    try:
        with Client(target.port, timeout_s=10) as client:
            with contextlib.suppress(HarnessError):
                client.create_topic("first", 1)
            return client.produce_one("first") >= 0
    except (OSError, HarnessError):
        return False


def connections(target: Target) -> Row:
    """Memory that idle connections cost: each has had one ApiVersions answered."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(CONNECTIONS, hard - SPARE_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    target.start()
    before = settled_memory(target)
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_connection(("127.0.0.1", target.port), timeout=30)) for _ in range(wanted)
        ]
        frame = struct.pack(">hhih", API_VERSIONS, 0, 1, len(CLIENT_ID)) + CLIENT_ID
        for connection in sockets:
            connection.sendall(struct.pack(">i", len(frame)) + frame)
        for connection in sockets:
            if not connection.recv(65536):
                raise HarnessError("a connection was closed")
        more = settled_memory(target) - before
    return {"connections": wanted, "connections_bytes": more}


def partitions(target: Target) -> Row:
    """Memory, time and descriptors that empty partitions cost."""
    target.start()
    before = settled_memory(target)
    began = time.monotonic()
    with Client(target.port, timeout_s=120) as client:
        for number in range(PARTITIONS // PARTITIONS_PER_TOPIC):
            client.create_topic(f"many-{number}", PARTITIONS_PER_TOPIC)
        created_s = time.monotonic() - began
        client.produce_one("many-0", PARTITIONS_PER_TOPIC - 1)
    more = settled_memory(target) - before
    files = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in target.running.pids())
    return {"partitions": PARTITIONS, "partitions_bytes": more, "partitions_s": created_s, "open_files": files}


def settled_memory(target: Target) -> int:
    time.sleep(SETTLE_S)
    return target.running.memory_bytes()


MEASURES: dict[str, Callable[[Target], Row]] = {"start": start_up, "connections": connections, "partitions": partitions}


def measure(name: str, target: Target, repeat: int) -> Row:
    """One measure on a target that is started and stopped for it; a failure is a row with `error`."""
    row: Row = {"target": target.name, "measure": name, "repeat": repeat, "load": os.getloadavg()[0]}
    try:
        row |= MEASURES[name](target)
    except (HarnessError, OSError) as error:
        row["error"] = f"{type(error).__name__}: {error}"[:600]
    finally:
        target.stop()
    return row
