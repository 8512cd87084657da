"""Transactions under load.

commits    each producer: begin, one small record to each of the partitions, commit; as fast as it goes, once with the
           cheapest clients there are (transaction_load) and once with librdkafka, which takes most of a core for it
overhead   with librdkafka: the same large batches from an idempotent producer and inside transactions: CPU of the
           broker for a MiB

The clients run on the same machine: what they take of its cores is printed beside the figures.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from confluent_kafka import Producer

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.report import markdown_table
from benchmarks.harness.statistics import Row
from benchmarks.harness.targets.base import Target
from benchmarks.harness.transaction_load import TransactionalProducer, run_transactions
from benchmarks.harness.wire import Client

TOPIC = "bench"
READY_S = 60.0
SMALL = bytes(100)
MIB = 1 << 20
LARGE = MIB - 1_000  # with its batch it stays below max.message.bytes
WARM_UP_S = 1.0
TURNS = 3
GOAL_COMMITS = 2_000
GOAL_OVERHEAD = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    producers: int = 16
    partitions: int = 4
    seconds: float = 10.0
    mib: int = 2_000
    batches: int = 100  # large ones of one transaction


class Busy:
    """CPU of the target and of the clients between two moments."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._target_s, self._client_s, self._began = self._spent(), own_cpu_s(), time.monotonic()

    def _spent(self) -> float:
        spent = self._target.running.cpu_time()
        return spent.user + spent.system

    def stop(self) -> tuple[float, float, float]:
        """(seconds, CPU seconds of the target, CPU seconds of the clients)."""
        return time.monotonic() - self._began, self._spent() - self._target_s, own_cpu_s() - self._client_s


def own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure_transactions(target: Target, shape: Shape) -> Row:
    """Both on a target that is started and stopped for it."""
    row: Row = {"target": target.name, "shape": asdict(shape), "load": os.getloadavg()[0]}
    try:
        target.start()
        with Client(target.port) as client:
            client.create_topic(TOPIC, shape.partitions)
            client.await_serving(TOPIC, shape.partitions)
        row["commits"] = bare_commits(target, shape)
        row["librdkafka_commits"] = commits(target, shape)
        row["overhead"] = overhead(target, shape)
    except (HarnessError, OSError) as error:
        row["error"] = f"{type(error).__name__}: {error}"[:600]
    finally:
        target.stop()
    return row


def producer(target: Target, transactional_id: str = "", **settings: object) -> Producer:
    told: dict[str, object] = {"bootstrap.servers": f"127.0.0.1:{target.port}", "enable.idempotence": True, **settings}
    if not transactional_id:
        return Producer(told)
    made = Producer({**told, "transactional.id": transactional_id})
    made.init_transactions(READY_S)
    return made


def commits(target: Target, shape: Shape) -> Row:
    """One thread for each producer; librdkafka works outside of Python's lock."""
    latencies: list[list[float]] = [[] for _ in range(shape.producers)]
    ready = threading.Barrier(shape.producers + 1)
    until = [0.0]

    def work(number: int) -> None:
        made = producer(target, f"id-{number}", **{"linger.ms": 0})
        ready.wait()  # all are initialized
        ready.wait()  # the clock runs
        while time.monotonic() < until[0]:
            began = time.monotonic()
            made.begin_transaction()
            for partition in range(shape.partitions):
                made.produce(TOPIC, SMALL, partition=partition)
            made.commit_transaction(READY_S)
            latencies[number].append(time.monotonic() - began)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(shape.producers)]
    for thread in threads:
        thread.start()
    ready.wait()
    until[0] = time.monotonic() + shape.seconds
    busy = Busy(target)
    ready.wait()
    for thread in threads:
        thread.join()
    return summary(busy, latencies)


def bare_commits(target: Target, shape: Shape) -> Row:
    """All producers in one thread."""
    producers = [
        TransactionalProducer(target.port, f"bare-{number}", TOPIC, shape.partitions, SMALL)
        for number in range(shape.producers)
    ]
    try:
        run_transactions(producers, WARM_UP_S)
        for each in producers:
            each.latencies.clear()
        busy = Busy(target)
        run_transactions(producers, shape.seconds)
        return summary(busy, [each.latencies for each in producers])
    finally:
        for each in producers:
            each.client.close()


def summary(busy: Busy, latencies: list[list[float]]) -> Row:
    seconds, target_s, client_s = busy.stop()
    taken = sorted(each for some in latencies for each in some)
    if not taken:
        raise HarnessError("no transaction was committed")
    return {
        "count": len(taken),
        "per_s": len(taken) / seconds,
        "target_cores": target_s / seconds,
        "client_cores": client_s / seconds,
        "cpu_us": target_s / len(taken) * 1e6,
        "p50_ms": taken[len(taken) // 2] * 1e3,
        "p99_ms": taken[int(len(taken) * 0.99)] * 1e3,
    }


def overhead(target: Target, shape: Shape) -> Row:
    """In turns, so that what else the machine does is shared out evenly."""
    settings = {"message.max.bytes": 2 * MIB, "batch.size": MIB, "linger.ms": 0, "queue.buffering.max.kbytes": 64 << 10}
    plain = producer(target, **settings)
    bound = producer(target, "large", **settings)
    count = max(shape.mib // TURNS, 1)
    spent = {"idempotent": 0.0, "transactional": 0.0}
    for _ in range(TURNS):
        spent["idempotent"] += cpu_of(target, lambda: send(plain, count, shape))
        spent["transactional"] += cpu_of(target, lambda: send_in_transactions(bound, count, shape))
    per_mib = {name: seconds / (count * TURNS) * 1e6 for name, seconds in spent.items()}
    return {
        "idempotent_us_per_mib": per_mib["idempotent"],
        "transactional_us_per_mib": per_mib["transactional"],
        "ratio": per_mib["transactional"] / per_mib["idempotent"],
    }


def cpu_of(target: Target, work: Callable[[], None]) -> float:
    busy = Busy(target)
    work()
    return busy.stop()[1]


def send(made: Producer, count: int, shape: Shape) -> None:
    for number in range(count):
        while True:
            try:
                made.produce(TOPIC, bytes(LARGE), partition=number % shape.partitions)
                break
            except BufferError:
                made.poll(0.01)
    if made.flush(READY_S):
        raise HarnessError("records were not delivered in time")


def send_in_transactions(made: Producer, count: int, shape: Shape) -> None:
    for first in range(0, count, shape.batches):
        made.begin_transaction()
        send(made, min(shape.batches, count - first), shape)
        made.commit_transaction(READY_S)


def table(rows: list[Row]) -> str:
    """The figures, and whether the goals are reached."""
    head = ["target", "clients", "commits/s", "p50 ms", "p99 ms", "broker µs each", "cores: broker, clients"]
    head.append("large batches, CPU")
    lines = []
    for row in rows:
        if "error" in row:
            lines.append([str(row["target"]), str(row["error"]), *[""] * (len(head) - 2)])
            continue
        costs = row["overhead"]
        kept = "" if costs["ratio"] <= 1 + GOAL_OVERHEAD else f" (goal below {1 + GOAL_OVERHEAD:.2f})"
        large = f"x{costs['ratio']:.2f}{kept}"
        lines.append([str(row["target"]), "bare frames", *_cells(row["commits"]), ""])
        lines.append([str(row["target"]), "librdkafka", *_cells(row["librdkafka_commits"]), large])
    return markdown_table(head, lines)


def _cells(done: Row) -> list[str]:
    reached = "" if done["per_s"] >= GOAL_COMMITS else f" (goal {GOAL_COMMITS:,})"
    return [
        f"{done['per_s']:,.0f}{reached}",
        f"{done['p50_ms']:.1f}",
        f"{done['p99_ms']:.1f}",
        f"{done['cpu_us']:.0f}",
        f"{done['target_cores']:.2f}, {done['client_cores']:.2f}",
    ]
