"""A confluent-kafka consumer in a group that says what happens to it; see GroupMember.java, which speaks the same.

python -m tests.conformance.consumer_member TOPIC KEY=VALUE...       TOPIC: a name, or ^regular expression
"""

from __future__ import annotations

import sys
import threading

import confluent_kafka

POLL_SECONDS = 0.1
PASSING = {  # errors that a rebalance or a topic that is gone brings along
    confluent_kafka.KafkaError.UNKNOWN_TOPIC_OR_PART,
    confluent_kafka.KafkaError._PARTITION_EOF,
    confluent_kafka.KafkaError._ALL_BROKERS_DOWN,
    confluent_kafka.KafkaError._TRANSPORT,
}


def say(line: str) -> None:
    print(line, flush=True)


def main(topic: str, *pairs: str) -> None:
    stopping = threading.Event()

    def watch() -> None:
        sys.stdin.buffer.read()
        stopping.set()

    threading.Thread(target=watch, daemon=True).start()
    consumer = confluent_kafka.Consumer(dict(pair.split("=", 1) for pair in pairs))

    def tell(mark: str, partitions: list[confluent_kafka.TopicPartition]) -> None:
        for partition in partitions:
            say(f"{mark} {partition.topic} {partition.partition}")

    consumer.subscribe(
        [topic],
        on_assign=lambda _, partitions: tell("+", partitions),
        on_revoke=lambda _, partitions: tell("-", partitions),
        on_lost=lambda _, partitions: tell("-", partitions),
    )
    while not stopping.is_set():
        for message in consumer.consume(100, POLL_SECONDS):
            error = message.error()
            if error is None:
                say(f"r {message.topic()} {message.partition()} {message.offset()}")
                commit(consumer, message)
            elif error.code() not in PASSING:
                say(f"! {error}")
    consumer.close()


def commit(consumer: confluent_kafka.Consumer, message: confluent_kafka.Message) -> None:
    try:
        consumer.commit(message, asynchronous=False)
    except confluent_kafka.KafkaException as error:
        say(f"c {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
