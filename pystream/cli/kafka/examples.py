"""What `--help` of each of Kafka's tools ends with: lines that work as they stand, on a broker with a topic `orders`.

A test runs every one of them: `tests/integration/cli/test_tool_examples.py`, which also makes the files they name.
"""

from __future__ import annotations

from typing import Final

B: Final = "--bootstrap-server localhost:9092"
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "kafka-topics": (
        f"kafka-topics {B} --create --topic payments --partitions 6 --config retention.ms=86400000",
        f"kafka-topics {B} --describe --topic orders",
    ),
    "kafka-configs": (
        f"kafka-configs {B} --alter --topic orders --add-config retention.ms=86400000,segment.ms=3600000",
        f"kafka-configs {B} --alter --user alice --add-config SCRAM-SHA-512=[password=secret]",
        f"kafka-configs {B} --describe --topic orders",
    ),
    "kafka-consumer-groups": (
        f"kafka-consumer-groups {B} --describe --group readers",
        f"kafka-consumer-groups {B} --reset-offsets --group readers --topic orders --by-duration PT1H --dry-run",
    ),
    "kafka-console-producer": (
        f"kafka-console-producer {B} --topic orders --reader-property parse.key=true < records.txt",
    ),
    "kafka-console-consumer": (f"kafka-console-consumer {B} --topic orders --from-beginning --max-messages 3",),
    "kafka-acls": (f"kafka-acls {B} --list --topic orders",),
    "kafka-groups": (f"kafka-groups {B} --list --consumer",),
    "kafka-share-groups": (
        f"kafka-share-groups {B} --reset-offsets --group workers --topic orders --to-earliest --execute",
    ),
    "kafka-get-offsets": (f"kafka-get-offsets {B} --topic orders --time earliest",),
    "kafka-delete-records": (f"kafka-delete-records {B} --offset-json-file offsets.json",),
    "kafka-log-dirs": (f"kafka-log-dirs {B} --describe --topic-list orders",),
    "kafka-cluster": (f"kafka-cluster cluster-id {B}",),
    "kafka-metadata-quorum": (f"kafka-metadata-quorum {B} describe --status",),
    "kafka-console-share-consumer": (
        f"kafka-console-share-consumer {B} --topic orders --group workers --max-messages 1",
    ),
    "kafka-transactions": (f"kafka-transactions {B} list",),
    "kafka-features": (f"kafka-features {B} describe",),
    "kafka-broker-api-versions": (f"kafka-broker-api-versions {B}",),
    "kafka-leader-election": (f"kafka-leader-election {B} --election-type preferred --all-topic-partitions",),
    "kafka-client-metrics": (
        f"kafka-client-metrics {B} --alter --name slow --metrics org.apache.kafka.producer. --interval 60000",
        f"kafka-client-metrics {B} --describe --name slow",
    ),
    "kafka-reassign-partitions": (
        f"kafka-reassign-partitions {B} --topics-to-move-json-file topics.json --broker-list 1 --generate",
    ),
    "kafka-replica-verification": (
        "kafka-replica-verification --broker-list localhost:9092 --topics-include 'orders.*' --time -2",
    ),
    "kafka-producer-perf-test": (
        f"kafka-producer-perf-test {B} --topic orders --num-records 1000 --record-size 100 --throughput -1",
    ),
    "kafka-consumer-perf-test": (f"kafka-consumer-perf-test {B} --topic orders --num-records 500",),
    "kafka-share-consumer-perf-test": (
        f"kafka-share-consumer-perf-test {B} --topic orders --num-records 500 --group measured",
    ),
    "kafka-e2e-latency": (
        f"kafka-e2e-latency {B} --topic orders --num-records 20 --producer-acks all --record-size 100",
    ),
    "kafka-verifiable-producer": (f"kafka-verifiable-producer {B} --topic orders --max-messages 3",),
    "kafka-verifiable-consumer": (f"kafka-verifiable-consumer {B} --topic orders --group-id checked --max-messages 3",),
    "kafka-dump-log": ("kafka-dump-log --files data/orders-0/00000000000000000000.log --print-data-log",),
    "kafka-storage": (
        "kafka-storage random-uuid",
        "kafka-storage format --cluster-id AAAAAAAAAAAAAAAAAAAAAg --config server.properties",
    ),
    "kafka-streams-groups": (f"kafka-streams-groups {B} --list --state",),
    "kafka-streams-application-reset": (
        f"kafka-streams-application-reset {B} --application-id readers --input-topics orders --to-earliest --dry-run",
    ),
    "kafka-delegation-tokens": (f"kafka-delegation-tokens {B} --command-config client.properties --describe",),
    "kafka-server-start": ("kafka-server-start -daemon server.properties --override num.partitions=3",),
    "kafka-server-stop": ("kafka-server-stop --node-id 1",),
}


def examples_of(tool: str) -> str:
    """The end of its help; nothing for what has none."""
    lines = EXAMPLES.get(tool, ())
    return "".join(["\nExamples:\n" if lines else "", *(f"  {line}\n" for line in lines)])
