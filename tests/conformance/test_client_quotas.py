"""Quotas set by Kafka's own kafka-configs, felt by a librdkafka client and gone again."""

from __future__ import annotations

import subprocess
import time
import uuid

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.conformance import java

TOOL_SECONDS = 120
TIMEOUT_SECONDS = 60.0
RATE = 100_000
WINDOW_SECONDS = 10  # of 11 samples of a second one is always under way
VALUE = bytes(50_000)


def kafka_configs(bootstrap: str, *arguments: str) -> str:
    command = [*java.command(), "-cp", java.class_path(), "kafka.admin.ConfigCommand"]
    done = subprocess.run(
        [*command, "--bootstrap-server", bootstrap, *arguments], capture_output=True, text=True, timeout=TOOL_SECONDS
    )
    assert done.returncode == 0, done.stdout[-1_000:] + done.stderr[-1_000:]
    return done.stdout


def test_a_producer_is_held_to_the_rate_that_kafka_configs_sets(bootstrap: str) -> None:
    client_id = f"client-{uuid.uuid4().hex[:8]}"
    topic = f"quota-{client_id}"
    entity = ("--entity-type", "clients", "--entity-name", client_id)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(TIMEOUT_SECONDS)

    kafka_configs(bootstrap, "--alter", "--add-config", f"producer_byte_rate={RATE}", *entity)
    shown = kafka_configs(bootstrap, "--describe", *entity)
    throttles: list[float] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "linger.ms": 0,
            "throttle_cb": lambda event: throttles.append(event.throttle_time),
        }
    )
    began = time.monotonic()
    for _ in range(30):
        producer.produce(topic, VALUE)
        assert producer.flush(TIMEOUT_SECONDS) == 0
    took = time.monotonic() - began
    kafka_configs(bootstrap, "--alter", "--delete-config", "producer_byte_rate", *entity)

    assert f"producer_byte_rate={RATE}.0" in shown
    expected = 30 * len(VALUE) / RATE - WINDOW_SECONDS
    assert expected - 1 <= took
    assert sum(throttles) <= expected + 1, "as told; a slow machine takes longer and waits less"
    assert max(throttles) > 0.3
    assert "producer_byte_rate" not in kafka_configs(bootstrap, "--describe", *entity)
