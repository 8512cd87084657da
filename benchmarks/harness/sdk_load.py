"""One client under one load, in a process of its own; prints one JSON object. Called by clients_sdk.

    python -m benchmarks.harness.sdk_load row=send-100b client=pystream port=P topic=T count=300000

Readers read what is filled in beforehand, from the beginning. All producers: acks=all, idempotent, linger 5 ms, batches
up to 1 MB (against aiokafka 16 KiB, the default of both; rows "by default" have everybody's own). Rows with a codec
send records that are alike, as JSON is; `codec_s` is what our codec took of the CPU time. A part of the records is sent
and acknowledged first; what is measured ends when the rest is acknowledged. CPU is that of the process with all its
threads.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.harness import sdk_reading as reading

WARM_UP_SHARE: Final = 0.2
ROWS_AT_ONCE: Final = 10_000
TASKS_AT_ONCE: Final = 1_000
FLUSH_SECONDS: Final = 60
READ_AHEAD: Final = 1.3  # of what is read, so much is there
Settings = dict[str, Any]
OWN_BATCHES: Final[Settings] = {"acks": "all", "enable.idempotence": True, "linger.ms": 5}
SMALL_BATCHES: Final[Settings] = OWN_BATCHES | {"batch.size": 16_384}
LARGE_BATCHES: Final[Settings] = {"acks": "all", "enable.idempotence": True, "linger.ms": 5, "batch.size": 1_000_000}


@dataclass(frozen=True, slots=True)
class Load:
    port: int
    topic: str
    value_bytes: int
    count: int = 0

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def value(self) -> bytes:
        return os.urandom(self.value_bytes)


CODEC: Final = "compression.type"
codecs: list[Callable[[], float]] = []  # of producers that compress: seconds of CPU time in the codec so far
Send = Callable[[int], None]  # sends so many records and returns when they are acknowledged


def alike(size: int, count: int) -> list[bytes]:
    """Records as JSON has them: the same words, other numbers."""
    numbers = random.Random(size)
    text = '{"id": %d, "customer": "c-%d", "amount": %d.%02d, "currency": "EUR", "country": "DE", "ok": true}'
    made = (text % (row, numbers.randrange(10**6), numbers.randrange(10**5), row % 100) for row in range(count))
    return [row.encode().ljust(size)[:size] for row in made]


def pystream_producer(load: Load, settings: Settings = LARGE_BATCHES) -> Any:
    from pystream.client import Producer

    return Producer({"bootstrap.servers": load.bootstrap, **settings})


def confluent_producer(load: Load, settings: Settings = LARGE_BATCHES) -> Any:
    from confluent_kafka import Producer

    limits = {"queue.buffering.max.messages": 200_000, "queue.buffering.max.kbytes": 32_768, "log_level": 3}
    return Producer({"bootstrap.servers": load.bootstrap, **settings, **limits})


def pystream_send(load: Load) -> Send:
    producer, topic, value = pystream_producer(load), load.topic, load.value

    def send(count: int) -> None:
        for _ in range(count):
            delivery = producer.send(topic, value)
        producer.flush()
        delivery.result(0)

    return send


def confluent_send(load: Load) -> Send:
    return confluent_sends(LARGE_BATCHES)(load)


def confluent_sends(settings: Settings) -> Callable[[Load], Send]:
    def make(load: Load) -> Send:
        producer, topic = confluent_producer(load, settings), load.topic
        values = [load.value] if CODEC not in settings else alike(load.value_bytes, ROWS_AT_ONCE)

        def send(count: int) -> None:
            for value in itertools.islice(itertools.cycle(values), count):
                while True:
                    try:
                        producer.produce(topic, value)
                        break
                    except BufferError:
                        producer.poll(0.01)
            assert producer.flush(FLUSH_SECONDS) == 0

        return send

    return make


def pystream_batches(
    as_rows: Callable[[list[bytes]], Any], settings: Settings = LARGE_BATCHES
) -> Callable[[Load], Send]:
    def make(load: Load) -> Send:
        producer, topic = pystream_producer(load, settings), load.topic
        plain = [load.value] * ROWS_AT_ONCE if CODEC not in settings else alike(load.value_bytes, ROWS_AT_ONCE)
        rows = as_rows(plain)

        def send(count: int) -> None:
            for _ in range(count // ROWS_AT_ONCE):
                delivery = producer.send_batch(topic, rows)
            producer.flush()
            delivery.result(0)

        if CODEC in settings:
            codecs.append(lambda: producer._engine.accumulator.codec_ns / 1e9)
        return send

    return make


def as_arrow(rows: list[bytes]) -> Any:
    import pyarrow

    return pyarrow.array(rows)


def as_numpy(rows: list[bytes]) -> Any:
    import numpy

    return numpy.array(rows, dtype=f"V{len(rows[0])}")


def confluent_batches(load: Load) -> Send:
    """Its own produce_batch, which takes a dict for each record."""
    producer, topic, value = confluent_producer(load), load.topic, load.value

    def send(count: int) -> None:
        for _ in range(count // ROWS_AT_ONCE):
            left = [{"value": value} for _ in range(ROWS_AT_ONCE)]
            while left:
                producer.produce_batch(topic, left)
                left = [row for row in left if row.get("_error") is not None]
                for row in left:
                    del row["_error"]
                if left:
                    producer.poll(0.01)
        assert producer.flush(FLUSH_SECONDS) == 0

    return send


def pystream_asyncio(load: Load) -> Send:
    from pystream.client import aio

    loop = asyncio.new_event_loop()
    topic, value = load.topic, load.value

    async def make() -> Any:
        return aio.Producer(bootstrap_servers=load.bootstrap, linger_ms=5)

    producer = loop.run_until_complete(make())

    async def send(count: int) -> None:
        for number in range(count):
            delivery = await producer.send(topic, value)
            if number % TASKS_AT_ONCE == 0:
                await asyncio.sleep(0)
        await producer.flush()
        await delivery

    return lambda count: loop.run_until_complete(send(count))


def aiokafka_asyncio(load: Load) -> Send:
    from aiokafka import AIOKafkaProducer

    loop = asyncio.new_event_loop()
    topic, value = load.topic, load.value

    async def make() -> Any:
        settings = {"acks": "all", "enable_idempotence": True, "linger_ms": 5}
        producer = AIOKafkaProducer(bootstrap_servers=load.bootstrap, **settings)
        await producer.start()
        return producer

    producer = loop.run_until_complete(make())

    async def send(count: int) -> None:
        for _ in range(count):
            future = await producer.send(topic, value)
        await producer.flush()
        await future

    return lambda count: loop.run_until_complete(send(count))


def reads(make: Callable[[str, str], Send]) -> Callable[[Load], Send]:
    """A reader, of a topic that is filled first."""

    def filled(load: Load) -> Send:
        reading.fill(load.bootstrap, load.topic, load.value, int(load.count * READ_AHEAD) + 2 * ROWS_AT_ONCE)
        return make(load.bootstrap, load.topic)

    return filled


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: the same records by several clients."""

    title: str
    value_bytes: int
    count: int
    clients: dict[str, Callable[[Load], Send]]


CASES: Final = {
    "send-100b": Case("send, 100 B", 100, 300_000, {"pystream": pystream_send, "confluent-kafka": confluent_send}),
    "send-1kb": Case("send, 1 KB", 1_000, 100_000, {"pystream": pystream_send, "confluent-kafka": confluent_send}),
    "batch-list-100b": Case(
        "send_batch of a list, 100 B",
        100,
        600_000,
        {
            "pystream": pystream_batches(list),
            "confluent-kafka": confluent_send,
            "confluent-kafka produce_batch": confluent_batches,
        },
    ),
    "batch-arrow-100b": Case(
        "send_batch of Arrow, 100 B",
        100,
        600_000,
        {
            "pystream": pystream_batches(as_arrow),
            "confluent-kafka": confluent_send,
            "confluent-kafka produce_batch": confluent_batches,
        },
    ),
    "batch-numpy-100b": Case(
        "send_batch of NumPy, 100 B",
        100,
        600_000,
        {"pystream": pystream_batches(as_numpy), "confluent-kafka": confluent_send},
    ),
    "batch-default-100b": Case(
        "send_batch of Arrow, 100 B, batches by default",
        100,
        600_000,
        {"pystream": pystream_batches(as_arrow, OWN_BATCHES), "confluent-kafka": confluent_sends(OWN_BATCHES)},
    ),
    "batch-16k-100b": Case(
        "send_batch of Arrow, 100 B, batches of 16 KiB",
        100,
        600_000,
        {
            "pystream": pystream_batches(as_arrow, SMALL_BATCHES | {"bulk.batch.size": 0}),
            "confluent-kafka": confluent_sends(SMALL_BATCHES),
        },
    ),
    "batch-lz4-100b": Case(
        "send_batch of Arrow, 100 B, lz4",
        100,
        1_200_000,
        {
            "pystream": pystream_batches(as_arrow, OWN_BATCHES | {CODEC: "lz4"}),
            "confluent-kafka": confluent_sends(OWN_BATCHES | {CODEC: "lz4"}),
        },
    ),
    "batch-zstd-100b": Case(
        "send_batch of Arrow, 100 B, zstd",
        100,
        1_200_000,
        {
            "pystream": pystream_batches(as_arrow, OWN_BATCHES | {CODEC: "zstd"}),
            "confluent-kafka": confluent_sends(OWN_BATCHES | {CODEC: "zstd"}),
        },
    ),
    "asyncio-send-100b": Case(
        "asyncio send, 100 B", 100, 100_000, {"pystream": pystream_asyncio, "aiokafka": aiokafka_asyncio}
    ),
    "asyncio-send-1kb": Case(
        "asyncio send, 1 KB", 1_000, 50_000, {"pystream": pystream_asyncio, "aiokafka": aiokafka_asyncio}
    ),
    "messages-100b": Case(
        "iteration, 100 B",
        100,
        300_000,
        {"pystream": reads(reading.pystream_messages), "confluent-kafka": reads(reading.confluent_messages)},
    ),
    "messages-1kb": Case(
        "iteration, 1 KB",
        1_000,
        100_000,
        {"pystream": reads(reading.pystream_messages), "confluent-kafka": reads(reading.confluent_messages)},
    ),
    "columns-100b": Case(
        "poll_batch to NumPy, 100 B",
        100,
        600_000,
        {"pystream": reads(reading.pystream_columns), "confluent-kafka consume": reads(reading.confluent_consume)},
    ),
    "columns-1kb": Case(
        "poll_batch to NumPy, 1 KB",
        1_000,
        100_000,
        {"pystream": reads(reading.pystream_columns), "confluent-kafka consume": reads(reading.confluent_consume)},
    ),
    "columns-arrow-100b": Case(
        "poll_batch to Arrow, 100 B",
        100,
        600_000,
        {"pystream": reads(reading.pystream_arrow), "confluent-kafka consume": reads(reading.confluent_consume)},
    ),
    "asyncio-messages-100b": Case(
        "asyncio iteration, 100 B",
        100,
        200_000,
        {"pystream": reads(reading.pystream_asyncio), "aiokafka": reads(reading.aiokafka_asyncio)},
    ),
    "asyncio-messages-1kb": Case(
        "asyncio iteration, 1 KB",
        1_000,
        60_000,
        {"pystream": reads(reading.pystream_asyncio), "aiokafka": reads(reading.aiokafka_asyncio)},
    ),
}


def main() -> None:
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    case = CASES[given["row"]]
    count = int(given["count"]) // ROWS_AT_ONCE * ROWS_AT_ONCE or ROWS_AT_ONCE
    send = case.clients[given["client"]](Load(int(given["port"]), given["topic"], case.value_bytes, count))
    send(max(int(count * WARM_UP_SHARE), ROWS_AT_ONCE))
    codec = [spent() for spent in codecs]
    began, cpu = time.perf_counter(), time.process_time()
    send(count)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    found = {"messages": count, "seconds": seconds, "cpu_s": cpu}
    if codec:
        found["codec_s"] = codecs[0]() - codec[0]
    print(json.dumps(found), flush=True)
    os._exit(0)  # clients of others hang in their own ends


if __name__ == "__main__":
    main()
