"""A member of a group with a listener, automatic commits, patterns, transactions."""

import sys

from kafka import (
    ConsumerRebalanceListener,
    IsolationLevel,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    TopicPartition,
)
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

bootstrap, topic = sys.argv[1:3]
producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type="gzip", linger_ms=5, acks="all")
for number in range(30):
    producer.send(topic, b"%d" % number, partition=number % 2)
producer.flush()
told = []


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        if revoked:
            told.append(("revoked", sorted(revoked)))

    def on_partitions_assigned(self, assigned):
        if assigned:  # who joins before it has heard of the topic is assigned nothing first
            told.append(("assigned", sorted(assigned)))


base = {
    "bootstrap_servers": bootstrap,
    "group_id": topic,
    "auto_offset_reset": "earliest",
    "consumer_timeout_ms": 60_000,
}
first = KafkaConsumer(**base, partition_assignment_strategy=[RoundRobinPartitionAssignor], session_timeout_ms=10_000)
first.subscribe([topic], listener=Listener())
values = sorted(int(next(first).value) for _ in range(20))
print(len(values), len(set(values)), told)
print(first.group_metadata().state, first.group_metadata().member_id != "", first.group_metadata().generation_id > 0)
first.close()
second = KafkaConsumer(topic, **base)
rest = sorted(int(next(second).value) for _ in range(10))
print(sorted(values + rest) == list(range(30)))
second.unsubscribe()
print(second.assignment(), second.subscription())
second.close()

alone = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=60_000)
alone.subscribe(pattern="^" + topic + "$")
print(sorted(int(next(alone).value) for _ in range(30)) == list(range(30)), topic in alone.subscription())
alone.close()
try:
    KafkaConsumer(bootstrap_servers=bootstrap, group_id="g").subscribe([topic], listener=object())
except TypeError:
    print("TypeError")

writer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic)
try:
    writer.begin_transaction()
except (KafkaError, AssertionError):
    print("not yet")
writer.init_transactions()
writer.begin_transaction()
writer.send(topic, b"taken back", partition=0).get(30)
writer.abort_transaction()
writer.begin_transaction()
writer.send(topic, b"kept", partition=0).get(30)
writer.send_offsets_to_transaction({TopicPartition(topic, 1): OffsetAndMetadata(9, "", -1)}, topic + "-2")
writer.commit_transaction()
writer.close()
reader = KafkaConsumer(**{**base, "group_id": topic + "-2"}, isolation_level=IsolationLevel.READ_COMMITTED)
print(reader.committed(TopicPartition(topic, 1)))
reader.assign([TopicPartition(topic, 0)])
reader.seek(TopicPartition(topic, 0), 15)
print(next(reader).value)
reader.close()
