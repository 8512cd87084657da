"""A member of a group: callbacks of rebalances and commits, stored offsets, going on where another one ended."""

import sys

from confluent_kafka import Consumer, Producer, TopicPartition

bootstrap, topic = sys.argv[1:3]
producer = Producer({"bootstrap.servers": bootstrap})
for number in range(30):
    producer.produce(topic, str(number), partition=number % 2)
producer.flush()
base = {
    "bootstrap.servers": bootstrap,
    "group.id": topic,
    "auto.offset.reset": "earliest",
    "session.timeout.ms": 30_000,
}


def read(consumer, count):
    found = []
    while len(found) < count:
        message = consumer.poll(60)
        assert message is not None
        assert message.error() is None, message.error()
        found.append(message)
    return found


told = []
first = Consumer(
    {
        **base,
        "auto.commit.interval.ms": 3_600_000,
        "on_commit": lambda error, partitions: told.append(
            ("commit", error, sorted((p.partition, p.offset) for p in partitions))
        ),
    }
)
first.subscribe(
    [topic],
    on_assign=lambda c, ps: told.append(("assign", sorted((p.partition, p.offset) for p in ps), c is first)),
    on_revoke=lambda c, ps: told.append(("revoke", sorted(p.partition for p in ps))),
)
messages = read(first, 30)
print(sorted(int(m.value()) for m in messages) == list(range(30)), [m.partition() for m in messages].count(1))
print(told, first.memberid() != "", first.consumer_group_metadata() is not None)
first.commit(offsets=[TopicPartition(topic, 0, 7), TopicPartition(topic, 1, 8)], asynchronous=True)
while len(told) < 2:
    first.poll(0.1)
first.close()
print(told)

second = Consumer({**base, "enable.auto.offset.store": False})
second.subscribe([topic])
print(second.committed([TopicPartition(topic, 0)], 10)[0].offset >= 7)
second.close()

third = Consumer({**base, "group.id": topic + "-3", "enable.auto.offset.store": False, "enable.auto.commit": False})
third.subscribe(["^" + topic + "$"])
for message in read(third, 30):
    if message.partition() == 0:
        third.store_offsets(message)
print([(p.partition, p.offset) for p in third.commit(asynchronous=False)])
third.unsubscribe()
third.close()

fourth = Consumer({**base, "group.id": topic + "-3", "enable.auto.commit": False})
fourth.subscribe([topic], on_assign=lambda c, ps: c.assign([TopicPartition(p.topic, p.partition, 10) for p in ps]))
print(sorted((m.partition(), m.offset()) for m in read(fourth, 10)))
fourth.commit(message=None, offsets=[TopicPartition(topic, 1, 3, "a note")], asynchronous=False)
found = fourth.committed([TopicPartition(topic, 1)], 10)[0]
print(found.offset, found.metadata)
fourth.close()
