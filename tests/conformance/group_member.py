"""One member of a consumer group in a process of its own, so that a test can kill it.

    python -m tests.conformance.group_member CLIENT BOOTSTRAP GROUP TOPIC '{"strategy": "range", ...}'

CLIENT is confluent, kafka-python or aiokafka. The member reads, commits after every poll that gave records, and writes
one line of JSON for each thing that a test may wait for:

    {"assigned": [0, 1]}    all that it has now, after each rebalance; also [] when it has lost everything
    {"read": [[0, 17]]}     partitions and offsets of records, committed by now
    {"error": "..."}        what the client says went wrong for good; the member ends

It closes its consumer and ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import select
import sys
import warnings
from collections.abc import Iterable
from typing import Any

POLL_MS = 200
RECORDS = 100


def tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


def told_to_stop() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(readable) and sys.stdin.read(1) == ""


def run_confluent(bootstrap: str, group: str, topic: str, options: dict[str, Any]) -> None:
    from confluent_kafka import Consumer, KafkaError, KafkaException

    settings = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": options.get("session_timeout_ms", 6_000),
        "heartbeat.interval.ms": options.get("heartbeat_interval_ms", 300),
        "partition.assignment.strategy": options.get("strategy", "range"),
    }
    if "instance_id" in options:
        settings["group.instance.id"] = options["instance_id"]
    consumer = Consumer(settings)
    cooperative = "cooperative" in settings["partition.assignment.strategy"]

    def assigned(_: Any, partitions: list[Any]) -> None:
        if cooperative:
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
        tell(assigned=sorted(p.partition for p in consumer.assignment()))

    def revoked(_: Any, partitions: list[Any]) -> None:
        if cooperative:
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
        tell(assigned=sorted(p.partition for p in consumer.assignment()))

    consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    while not told_to_stop():
        messages = consumer.consume(RECORDS, POLL_MS / 1_000)
        errors = [message.error() for message in messages if message.error() is not None]
        fatal = [error for error in errors if error.code() in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)]
        if fatal:
            tell(error=str(fatal[0]))
            return
        read = [(message.partition(), message.offset()) for message in messages if message.error() is None]
        if read:
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as error:
                tell(not_committed=str(error))
                continue
            tell(read=read)
    consumer.close()


def run_kafka_python(bootstrap: str, group: str, topic: str, options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import kafka
        from kafka.coordinator.assignors.range import RangePartitionAssignor
        from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
        from kafka.errors import CommitFailedError, FencedInstanceIdError

    assignors = {"range": RangePartitionAssignor, "sticky": StickyPartitionAssignor}
    static = {"group_instance_id": options["instance_id"]} if "instance_id" in options else {}
    consumer = kafka.KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=options.get("session_timeout_ms", 6_000),
        heartbeat_interval_ms=options.get("heartbeat_interval_ms", 300),
        max_poll_interval_ms=60_000,
        partition_assignment_strategy=[assignors[options.get("strategy", "range")]],
        **static,
    )

    class Listener(kafka.ConsumerRebalanceListener):  # type: ignore[misc]
        def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
            tell(assigned=[])

        def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
            tell(assigned=sorted(p.partition for p in assigned))

    consumer.subscribe([topic], listener=Listener())
    try:
        while not told_to_stop():
            found = consumer.poll(timeout_ms=POLL_MS, max_records=RECORDS)
            read = [(record.partition, record.offset) for records in found.values() for record in records]
            if read:
                try:
                    consumer.commit()
                except CommitFailedError as error:
                    tell(not_committed=str(error))
                    continue
                tell(read=read)
    except FencedInstanceIdError as error:
        tell(error=str(error))
        return
    consumer.close()


def run_aiokafka(bootstrap: str, group: str, topic: str, options: dict[str, Any]) -> None:
    asyncio.run(aiokafka_member(bootstrap, group, topic, options))


async def aiokafka_member(bootstrap: str, group: str, topic: str, options: dict[str, Any]) -> None:
    import aiokafka
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.errors import CommitFailedError

    static = {"group_instance_id": options["instance_id"]} if "instance_id" in options else {}
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=options.get("session_timeout_ms", 6_000),
        heartbeat_interval_ms=options.get("heartbeat_interval_ms", 300),
        partition_assignment_strategy=[RangePartitionAssignor],
        **static,
    )

    class Listener(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
        def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
            tell(assigned=[])

        def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
            tell(assigned=sorted(p.partition for p in assigned))

    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not told_to_stop():
        found = await consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS)
        read = [(record.partition, record.offset) for records in found.values() for record in records]
        if read:
            try:
                await consumer.commit()
            except CommitFailedError as error:
                tell(not_committed=str(error))
                continue
            tell(read=read)
    await consumer.stop()


RUN = {"confluent": run_confluent, "kafka-python": run_kafka_python, "aiokafka": run_aiokafka}

if __name__ == "__main__":
    client, *arguments, options = sys.argv[1:]
    RUN[client](*arguments, json.loads(options))  # type: ignore[call-arg]
