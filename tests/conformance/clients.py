"""The clients under one face: each can write a feed of records to a topic and read a topic back, in assign mode.

Reading ends when every partition has given the number of records asked for; a client that waits longer than `seconds`
raises ClientFailed and says how many are missing. Producers are idempotent with acks=all, so order and count are exact.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiokafka
import confluent_kafka

from tests.conformance import java
from tests.conformance.records import CODECS, Placed, Record, read_file, write_file

with warnings.catch_warnings():  # kafka-python reads its schemas in a way that Python 3.11 calls deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka
    from kafka.record.memory_records import MemoryRecordsBuilder

POLL_SECONDS = 0.5
POLL_RECORDS = 1_000
BATCH_BYTES = 1 << 20
SENT_TOGETHER = 10_000


class ClientFailed(AssertionError):
    """A client reported an error, or ran out of time."""


class Client(ABC):
    """`writes` gives what this client can write of a record, `shows` what it can show of one; most keep it whole."""

    name: str

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def writes(self, record: Record) -> Record:
        return record

    def shows(self, record: Record) -> Record:
        return record

    @abstractmethod
    def produce(self, bootstrap: str, topic: str, codec: str, feed: Iterable[Placed], *, seconds: float) -> None: ...

    @abstractmethod
    def consume(self, bootstrap: str, topic: str, counts: Sequence[int], *, seconds: float) -> Iterator[Placed]: ...


class Countdown:
    """Records still to come, per partition, and the time that is left for them."""

    def __init__(self, counts: Sequence[int], seconds: float) -> None:
        self._left = list(counts)
        self._total = sum(counts)
        self._deadline = time.monotonic() + seconds

    def pending(self) -> bool:
        """Whether records are still to come. Raises ClientFailed when it is too late for them."""
        if self._total > 0 and time.monotonic() > self._deadline:
            raise ClientFailed(f"out of time with records missing, per partition: {self._left}")
        return self._total > 0

    def took(self, partition: int) -> None:
        self._left[partition] -= 1
        self._total -= 1


class Confluent(Client):
    """confluent-kafka: the newest librdkafka."""

    name = "confluent-kafka"

    def produce(self, bootstrap: str, topic: str, codec: str, feed: Iterable[Placed], *, seconds: float) -> None:
        errors: list[str] = []

        def delivered(error: confluent_kafka.KafkaError | None, _message: confluent_kafka.Message) -> None:
            if error is not None:
                errors.append(str(error))

        settings = {"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True}
        producer = confluent_kafka.Producer({**settings, "acks": "all", "linger.ms": 5, "on_delivery": delivered})
        for partition, _, record in feed:
            fields: dict[str, Any] = {"key": record.key, "value": record.value, "headers": list(record.headers)}
            while not self._queued(producer, topic, partition, record.timestamp_ms, fields):
                producer.poll(POLL_SECONDS)
            producer.poll(0)
        undelivered = producer.flush(seconds)
        if errors or undelivered:
            raise ClientFailed(f"{len(errors)} records refused ({errors[:1]}), {undelivered} not delivered")

    @staticmethod
    def _queued(
        producer: confluent_kafka.Producer, topic: str, partition: int, timestamp_ms: int | None, fields: dict[str, Any]
    ) -> bool:
        try:
            producer.produce(topic, partition=partition, timestamp=timestamp_ms, **fields)
        except BufferError:
            return False
        return True

    def consume(self, bootstrap: str, topic: str, counts: Sequence[int], *, seconds: float) -> Iterator[Placed]:
        settings = {"bootstrap.servers": bootstrap, "group.id": "assigns-by-hand", "enable.auto.commit": False}
        consumer = confluent_kafka.Consumer({**settings, "check.crcs": True})
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in range(len(counts))])
        countdown = Countdown(counts, seconds)
        while countdown.pending():
            for message in consumer.consume(POLL_RECORDS, POLL_SECONDS):
                if (error := message.error()) is not None:
                    raise ClientFailed(str(error))
                kind, timestamp_ms = message.timestamp()
                assert kind == confluent_kafka.TIMESTAMP_CREATE_TIME
                headers = tuple(message.headers() or ())
                partition, offset = message.partition(), message.offset()
                assert partition is not None
                assert offset is not None
                countdown.took(partition)
                yield Placed(partition, offset, Record(timestamp_ms, message.key(), message.value(), headers))
        consumer.close()


class KafkaPython(Client):
    name = "kafka-python"

    def produce(self, bootstrap: str, topic: str, codec: str, feed: Iterable[Placed], *, seconds: float) -> None:
        compression = None if codec == "none" else codec
        errors: list[BaseException] = []
        producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap, compression_type=compression, acks="all", enable_idempotence=True, linger_ms=5
        )
        for partition, _, record in feed:
            producer.send(
                topic,
                partition=partition,
                key=record.key,
                value=record.value,
                headers=list(record.headers),
                timestamp_ms=record.timestamp_ms,
            ).add_errback(errors.append)
        producer.flush(seconds)
        producer.close(seconds)
        if errors:
            raise ClientFailed(f"{len(errors)} records refused: {errors[0]!r}")

    def consume(self, bootstrap: str, topic: str, counts: Sequence[int], *, seconds: float) -> Iterator[Placed]:
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap, group_id=None, check_crcs=True, enable_auto_commit=False
        )
        partitions = [kafka.TopicPartition(topic, partition) for partition in range(len(counts))]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        countdown = Countdown(counts, seconds)
        while countdown.pending():
            polled = consumer.poll(timeout_ms=int(POLL_SECONDS * 1_000), max_records=POLL_RECORDS)
            for message in (message for messages in polled.values() for message in messages):
                assert message.timestamp_type == 0
                countdown.took(message.partition)
                record = Record(message.timestamp, message.key, message.value, tuple(message.headers))
                yield Placed(message.partition, message.offset, record)
        consumer.close()


def kafka_python_batch(codec: str, rows: Iterable[tuple[int, bytes | None, bytes | None]]) -> bytes:
    """One batch of (timestamp in ms, key, value), as kafka-python builds it."""
    builder = MemoryRecordsBuilder(magic=2, compression_type=CODECS.index(codec), batch_size=BATCH_BYTES)
    for timestamp_ms, key, value in rows:
        assert builder.append(timestamp_ms, key, value) is not None, "the batch is full"
    builder.close()
    return bytes(builder.buffer())


class Aiokafka(Client):
    name = "aiokafka"

    def produce(self, bootstrap: str, topic: str, codec: str, feed: Iterable[Placed], *, seconds: float) -> None:
        asyncio.run(asyncio.wait_for(self._produce(bootstrap, topic, codec, feed), seconds))

    async def _produce(self, bootstrap: str, topic: str, codec: str, feed: Iterable[Placed]) -> None:
        compression = None if codec == "none" else codec
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap, compression_type=compression, enable_idempotence=True, linger_ms=5
        ) as producer:
            # Never a million at once: gather() over them holds up aiokafka's timers longer than a request may take.
            sent: list[asyncio.Future[Any]] = []
            for partition, _, record in feed:
                if len(sent) == SENT_TOGETHER:
                    await asyncio.gather(*sent)
                    sent.clear()
                future = await producer.send(
                    topic,
                    partition=partition,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    timestamp_ms=record.timestamp_ms,
                )
                sent.append(future)
            await asyncio.gather(*sent)

    def consume(self, bootstrap: str, topic: str, counts: Sequence[int], *, seconds: float) -> Iterator[Placed]:
        yield from asyncio.run(self._consume(bootstrap, topic, counts, seconds))

    async def _consume(self, bootstrap: str, topic: str, counts: Sequence[int], seconds: float) -> list[Placed]:
        placed = []
        countdown = Countdown(counts, seconds)
        async with aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, check_crcs=True) as consumer:
            partitions = [aiokafka.TopicPartition(topic, partition) for partition in range(len(counts))]
            consumer.assign(partitions)
            for partition in partitions:
                consumer.seek(partition, 0)
            while countdown.pending():
                polled = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1_000), max_records=POLL_RECORDS)
                for message in (message for messages in polled.values() for message in messages):
                    assert message.timestamp_type == 0
                    countdown.took(message.partition)
                    record = Record(message.timestamp, message.key, message.value, tuple(message.headers))
                    placed.append(Placed(message.partition, message.offset, record))
        return placed


class Java(Client):
    """kafka-clients, through RoundTrip.java."""

    name = "java"

    def produce(self, bootstrap: str, topic: str, codec: str, feed: Iterable[Placed], *, seconds: float) -> None:
        file = self.scratch / f"{topic}.feed"
        write_file(file, feed)
        self._run("produce", bootstrap, topic, codec, str(file), seconds=seconds)
        file.unlink()

    def consume(self, bootstrap: str, topic: str, counts: Sequence[int], *, seconds: float) -> Iterator[Placed]:
        file = self.scratch / f"{topic}.read"
        self._run("consume", bootstrap, topic, str(file), str(int(seconds)), *map(str, counts), seconds=seconds + 10)
        yield from read_file(file)
        file.unlink()

    @staticmethod
    def _run(*arguments: str, seconds: float) -> None:
        command = [*java.command(), "-cp", f"{java.compiled()}:{java.class_path()}", "RoundTrip", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if done.returncode:
            raise ClientFailed(done.stderr[-2_000:])


class Kcat(Client):
    """kcat sends lines: text keys and values, one set of headers, its own timestamps. It shows headers as C text."""

    name = "kcat"
    headers = (("one", b"1"), ("two", b"b"))
    _delimiter = b"\x1f"
    _end = b"<end of kcat record>\n"

    def writes(self, record: Record) -> Record:
        key, value = record.key or b"none", record.value or b"null"
        return Record(None, key.hex().encode(), value.hex().encode(), self.headers)

    def shows(self, record: Record) -> Record:
        return record._replace(headers=((self._header_text(record.headers), None),))

    @staticmethod
    def _header_text(headers: Iterable[tuple[str, bytes | None]]) -> str:
        shown = ((name, b"NULL" if value is None else value.partition(b"\0")[0]) for name, value in headers)
        return b",".join(name.encode() + b"=" + value for name, value in shown).decode("latin-1")

    def produce(self, bootstrap: str, topic: str, codec: str, feed: Iterable[Placed], *, seconds: float) -> None:
        lines: dict[int, list[bytes]] = {}
        for partition, _, record in feed:
            assert record.key is not None
            assert record.value is not None
            lines.setdefault(partition, []).append(record.key + self._delimiter + record.value + b"\n")
        settings = ("-X", "enable.idempotence=true", "-X", "acks=all", "-X", "linger.ms=5", "-z", codec)
        headers = [part for name, value in self.headers for part in ("-H", f"{name}={value.decode()}")]
        for partition, text in lines.items():
            place = ("-b", bootstrap, "-t", topic, "-p", str(partition), "-K", self._delimiter.decode())
            self._run(["kcat", "-P", *place, *settings, *headers], seconds, text=b"".join(text))

    def consume(self, bootstrap: str, topic: str, counts: Sequence[int], *, seconds: float) -> Iterator[Placed]:
        for partition, count in enumerate(counts):
            layout = f"%o %T %K %S\\n%k%s%h{self._end.decode().rstrip()}\\n"
            start = ("-p", str(partition), "-o", "beginning", "-c", str(count), "-X", "check.crcs=true")
            text = self._run(["kcat", "-C", "-q", "-b", bootstrap, "-t", topic, *start, "-f", layout], seconds)
            yield from self._parse(partition, text)

    def _parse(self, partition: int, text: bytes) -> Iterator[Placed]:
        position = 0
        while position < len(text):
            line_end = text.index(b"\n", position)
            offset, timestamp_ms, key_length, value_length = map(int, text[position:line_end].split())
            key_end = line_end + 1 + max(key_length, 0)
            value_end = key_end + max(value_length, 0)
            position = text.index(self._end, value_end)
            key = None if key_length < 0 else text[line_end + 1 : key_end]
            value = None if value_length < 0 else text[key_end:value_end]
            shown = ((text[value_end:position].decode("latin-1"), None),)
            position += len(self._end)
            yield Placed(partition, offset, Record(timestamp_ms, key, value, shown))

    @staticmethod
    def _run(command: list[str], seconds: float, text: bytes = b"") -> bytes:
        done = subprocess.run(command, input=text, capture_output=True, timeout=seconds)
        if done.returncode or b"not compressing" in done.stderr:
            raise ClientFailed(done.stderr.decode(errors="replace")[-2_000:])
        return done.stdout


CLIENTS: dict[str, type[Client]] = {client.name: client for client in (Confluent, KafkaPython, Aiokafka, Java, Kcat)}
