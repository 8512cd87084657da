"""A producer and a consumer that assigns: messages, ends of partitions, offsets, seeks, settings that are wrong."""

import sys

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Producer, TopicPartition

bootstrap, topic = sys.argv[1:3]
reports = []
producer = Producer(
    {"bootstrap.servers": bootstrap, "linger.ms": "5", "acks": -1}, on_delivery=lambda e, m: reports.append((e, m))
)
for number in range(20):
    producer.produce(
        topic, f"value {number}", key=f"key {number % 5}", timestamp=1_000 + number, headers={"n": str(number)}
    )
producer.produce(
    topic,
    value=b"by hand",
    partition=1,
    timestamp=5_000,
    headers=[("a", b"1"), ("a", None)],
    callback=lambda e, m: reports.append((e, m)),
)
producer.produce(topic, None, b"only a key", partition=1, timestamp=6_000)
print(len(producer) > 0, producer.flush(30), len(producer), bool(producer))
print(sorted((m.partition(), m.offset(), m.key(), m.value(), m.topic() == topic, e) for e, m in reports))
print([m.headers() for _, m in reports if m.value() == b"by hand"], all(m.latency() > 0 for _, m in reports))
print(producer.poll(0), producer.list_topics(topic, 10).topics[topic].partitions.keys())
for wrong in ({"partition": 99}, {"value": "x" * 2_000_000}):
    try:
        producer.produce(topic, **wrong)
        print("taken", producer.flush(10))
    except KafkaException as error:
        print(error.args[0].name())

settings = {
    "bootstrap.servers": bootstrap,
    "group.id": topic,
    "enable.partition.eof": True,
    "enable.auto.commit": False,
}
consumer = Consumer(settings, **{"auto.offset.reset": "smallest"})
partitions = [TopicPartition(topic, 0, OFFSET_BEGINNING), TopicPartition(topic, 1, OFFSET_BEGINNING)]
consumer.assign(partitions)
print(sorted(consumer.assignment()))
print(consumer.position(partitions))


def read(ends):
    found = []
    while ends:
        message = consumer.poll(10)
        assert message is not None, "nothing came"
        if message.error() is not None:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            found.append((message.partition(), message.offset(), "end"))
            ends -= 1
        else:
            found.append(
                (
                    message.partition(),
                    message.offset(),
                    message.key(),
                    message.value(),
                    message.headers(),
                    message.timestamp(),
                )
            )
    return sorted(found, key=lambda each: each[:2])


for each in read(2):
    print(each)
print(sorted((p.partition, p.offset) for p in consumer.position(partitions)))
print([(p.partition, p.offset) for p in consumer.committed(partitions, 10)])
done = consumer.commit(asynchronous=False)
print(sorted((p.partition, p.offset, p.error) for p in done))
print([(p.partition, p.offset) for p in consumer.committed(partitions, timeout=10)])
try:
    consumer.commit(asynchronous=False)
except KafkaException as error:
    print(error.args[0].name())
print(
    consumer.get_watermark_offsets(partitions[1], timeout=10),
    consumer.get_watermark_offsets(partitions[1], cached=True),
)
print(
    [
        (p.partition, p.offset)
        for p in consumer.offsets_for_times(
            [TopicPartition(topic, 0, 1_000), TopicPartition(topic, 0, 9_999_999_999_999)], 10
        )
    ]
)
consumer.seek(TopicPartition(topic, 1, 1))
for each in read(1):
    print(each)
consumer.pause([TopicPartition(topic, 1)])
consumer.seek(TopicPartition(topic, 1, 0))
print(consumer.poll(0.5))
consumer.resume([TopicPartition(topic, 1)])
print(len(read(1)))
consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
print(read(1))
consumer.incremental_assign([TopicPartition(topic, 1, 2)])
print(len(read(1)), [p.partition for p in sorted(consumer.assignment())])
consumer.incremental_unassign([TopicPartition(topic, 1)])
print([p.partition for p in consumer.assignment()], consumer.consume(5, 0.2))
consumer.unassign()
print(consumer.assignment(), consumer.memberid())
for call in (
    lambda: consumer.seek(TopicPartition(topic, 0, 1)),
    lambda: consumer.commit("no"),
    lambda: consumer.consume(-1),
    lambda: consumer.assign(1),
):
    try:
        call()
    except (KafkaException, TypeError, ValueError) as error:
        print(type(error).__name__)
consumer.close()
for call in (consumer.poll, consumer.assignment, consumer.commit):
    try:
        call()
    except RuntimeError as error:
        print(error)

for wrong in (
    {"no.such.setting": 1},
    {"group.id": "g", "auto.offset.reset": "sometimes"},
    {},
    {"group.id": "g", "error_cb": 1},
):
    try:
        Consumer({"bootstrap.servers": bootstrap, **wrong})
    except (KafkaException, ValueError, TypeError) as error:
        print(type(error).__name__, error.args[0].name() if isinstance(error, KafkaException) else "")
