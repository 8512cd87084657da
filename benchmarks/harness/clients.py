"""Other people's clients as load: confluent-kafka and librdkafka's own `rdkafka_performance`. Prints one JSON object.

    python -m benchmarks.harness.clients mode=client-produce port=P topic=T record_bytes=100 acks=1 pids=1,2 ...

Bytes are bytes of record values. The CPU of `pids` is read at both ends of the window; of `rdkafka_performance`, which
has no warm-up, over its whole run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.errors import HarnessError
from benchmarks.harness.process import process_cpu_clock

CONSUME_AT_ONCE = 2000
STALL_S = 20
# Long enough that connecting and asking for metadata count for little.
RDKAFKA_MESSAGES = {100: 6_000_000, 1000: 900_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    mode: str
    port: int
    topic: str
    partitions: int
    acks: int
    record_bytes: int
    warmup_ms: int
    window_ms: int
    end: int
    """End offset of every partition, for readers."""
    pids: tuple[int, ...]

    @property
    def settings(self) -> dict[str, Any]:
        return {"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 3, "socket.keepalive.enable": True}


def read_plan(arguments: Mapping[str, str]) -> Plan:
    pids = tuple(int(pid) for pid in arguments["pids"].split(",") if pid)
    numbers = {
        name: int(arguments[name])
        for name in ("port", "partitions", "acks", "record_bytes", "warmup_ms", "window_ms", "end")
    }
    return Plan(mode=arguments["mode"], topic=arguments["topic"], pids=pids, **numbers)


def cpu_seconds(pids: tuple[int, ...]) -> float:
    return sum(time.clock_gettime(process_cpu_clock(pid)) for pid in pids)


class Window:
    """Counts only between the end of the warm-up and the end of the window."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.begin = time.monotonic() + plan.warmup_ms / 1000
        self.end = self.begin + plan.window_ms / 1000
        self.open = False
        self.messages = 0

    def over(self) -> bool:
        """Call often: opens the window when its time has come; true when it has passed."""
        now = time.monotonic()
        if not self.open and now >= self.begin:
            self.open = True
            self.messages = 0
            self.began, self.cpu, self.own = now, cpu_seconds(self.plan.pids), time.process_time()
        return now >= self.end

    def result(self) -> dict[str, Any]:
        return {
            "seconds": time.monotonic() - self.began,
            "requests": self.messages,
            "records": self.messages,
            "bytes": self.messages * self.plan.record_bytes,
            "errors": 0,
            "target_cpu_s": cpu_seconds(self.plan.pids) - self.cpu,
            "client_cpu_s": time.process_time() - self.own,
        }


def quantiles(values_s: list[float]) -> dict[str, float]:
    """In microseconds, under the names that the load generator uses."""
    if not values_s:
        raise HarnessError("nothing was measured")
    ordered = sorted(values_s)
    picked = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
    found = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e6 for name, share in picked.items()}
    return {"count": len(ordered), "mean": sum(ordered) / len(ordered) * 1e6, **found, "max": ordered[-1] * 1e6}


def produce(plan: Plan) -> dict[str, Any]:
    """Messages are counted when they are acknowledged."""
    from confluent_kafka import Producer

    window = Window(plan)
    failures: list[str] = []

    def delivered(error: object, _message: object) -> None:
        if error is None:
            window.messages += 1
        else:
            failures.append(str(error))

    settings = {"acks": plan.acks, "linger.ms": 5, "queue.buffering.max.messages": 200_000}
    producer = Producer({**plan.settings, **settings})
    value = os.urandom(plan.record_bytes)
    while not window.over():
        for number in range(500):
            try:
                producer.produce(plan.topic, value, partition=number % plan.partitions, on_delivery=delivered)
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
    result = window.result()
    if left := producer.flush(STALL_S):
        raise HarnessError(f"{left} messages were never acknowledged")
    if failures:
        raise HarnessError(f"{len(failures)} messages failed, the first with {failures[0]}")
    return result


def consume(plan: Plan) -> dict[str, Any]:
    """Reads all partitions by assignment, from the start again each time that the end is reached."""
    from confluent_kafka import Consumer, TopicPartition

    start = [TopicPartition(plan.topic, partition, 0) for partition in range(plan.partitions)]
    settings = {"group.id": "bench", "enable.auto.commit": False, "enable.auto.offset.store": False}
    # By default librdkafka pauses a second whenever 100,000 messages wait, and half a second at the end of the log:
    # that would measure the pauses. A short queue keeps what was fetched and not yet counted small.
    ahead = {"queued.min.messages": 1_000_000, "queued.max.messages.kbytes": 16_384, "fetch.queue.backoff.ms": 5}
    ahead |= {"fetch.wait.max.ms": 10}
    consumer = Consumer({**plan.settings, **settings, **ahead})
    consumer.assign(start)
    window = Window(plan)
    left, progress = plan.end * plan.partitions, time.monotonic()
    while not window.over():
        messages = consumer.consume(CONSUME_AT_ONCE, timeout=0.2)
        for message in messages:
            if message.error():
                raise HarnessError(str(message.error()))
        window.messages += len(messages)
        left -= len(messages)
        if messages:
            progress = time.monotonic()
        elif time.monotonic() - progress > STALL_S:
            raise HarnessError(f"no message for {STALL_S} s")
        if left <= 0:
            consumer.assign(start)
            left = plan.end * plan.partitions
    result = window.result()
    consumer.close()
    return result


def latency(plan: Plan) -> dict[str, Any]:
    """One message at a time: the next is produced when the last has been consumed."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    producer = Producer({**plan.settings, "acks": plan.acks, "linger.ms": 0})
    consumer = Consumer({**plan.settings, "group.id": "bench", "enable.auto.commit": False})
    consumer.assign([TopicPartition(plan.topic, 0, 0)])
    value = os.urandom(plan.record_bytes)
    window = Window(plan)
    taken: list[float] = []
    while not window.over():
        began = time.monotonic()
        producer.produce(plan.topic, value, partition=0)
        producer.poll(0)
        message = consumer.poll(STALL_S)
        if message is None or message.error():
            raise HarnessError(f"the message did not come back: {message.error() if message else 'time out'}")
        if window.open:
            taken.append(time.monotonic() - began)
            window.messages += 1
    result = window.result() | {"latency_us": quantiles(taken)}
    consumer.close()
    producer.flush(STALL_S)
    return result


def rdkafka_performance(plan: Plan) -> dict[str, Any]:
    """librdkafka's own benchmark, found by `$RDKAFKA_PERFORMANCE` or on PATH."""
    tool = os.environ.get("RDKAFKA_PERFORMANCE") or shutil.which("rdkafka_performance")
    if tool is None:
        raise HarnessError("rdkafka_performance is not installed")
    messages = RDKAFKA_MESSAGES.get(plan.record_bytes, 500_000)
    common = ["-t", plan.topic, "-b", f"127.0.0.1:{plan.port}", "-q", "-X", "linger.ms=5"]
    if plan.mode == "rdkafka-produce":
        role = ["-P", "-s", str(plan.record_bytes), "-a", str(plan.acks), "-c", str(messages)]
    else:
        messages = min(messages, plan.end * plan.partitions)
        role = ["-C", "-o", "0", "-c", str(messages)]
        role += [word for partition in range(plan.partitions) for word in ("-p", str(partition))]
    began, cpu = time.monotonic(), cpu_seconds(plan.pids)
    done = subprocess.run([tool, *role, *common], capture_output=True, text=True, timeout=60)
    spent_s, cpu = time.monotonic() - began, cpu_seconds(plan.pids) - cpu
    if done.returncode != 0:
        raise HarnessError(f"rdkafka_performance ended with {done.returncode}: {(done.stderr + done.stdout)[-400:]}")
    if (failed := re.search(r"(\d+) (?:messages )?failed", done.stdout)) and int(failed[1]):
        raise HarnessError(f"{failed[1]} messages failed")
    return {
        "seconds": spent_s,
        "requests": messages,
        "records": messages,
        "bytes": messages * plan.record_bytes,
        "errors": 0,
        "target_cpu_s": cpu,
    }


MODES: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "client-produce": produce,
    "client-consume": consume,
    "client-latency": latency,
    "rdkafka-produce": rdkafka_performance,
    "rdkafka-consume": rdkafka_performance,
}


def main() -> None:
    plan = read_plan(dict(argument.split("=", 1) for argument in sys.argv[1:]))
    try:
        print(json.dumps(MODES[plan.mode](plan)))
    except HarnessError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
