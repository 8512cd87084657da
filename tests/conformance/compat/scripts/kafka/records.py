"""KafkaProducer and KafkaConsumer: records by iteration and poll, seeks, serializers, futures, what is refused."""

import sys

from kafka import DefaultSerializer, JsonSerializer, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import IllegalStateError, KafkaConfigurationError, KafkaError, KafkaTimeoutError

bootstrap, topic = sys.argv[1:3]
places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
producer = KafkaProducer(
    bootstrap_servers=bootstrap, value_serializer=JsonSerializer(), key_serializer=lambda key: key and key.encode()
)
futures = [
    producer.send(topic, {"n": n}, key=f"key {n % 5}", timestamp_ms=1_000 + n, headers=[("h", b"x")]) for n in range(20)
]
futures.append(producer.send(topic, value=None, key="gone", partition=1, timestamp_ms=2_000))
found = []
futures[0].add_callback(found.append).add_errback(lambda error: found.append("failed"))
for future in futures:
    print(future.get(timeout=30))
producer.flush(30)
print(
    found == [futures[0].value], futures[0].is_done, futures[0].succeeded(), futures[0].failed(), futures[0].exception
)
print(sorted(producer.partitions_for(topic)))
for wrong, error in (
    ((topic,), ValueError),
    ((topic, {1}), TypeError),
    ((topic, 1, "k", {"h": b""}), TypeError),
    ((topic, 1, "k", [("h", "x")]), TypeError),
):
    try:
        producer.send(*wrong)
    except error:
        print(error.__name__)
try:
    producer.send(topic, 1, partition=99)
except ValueError:
    print("no such partition")
producer.close()
try:
    producer.send(topic, 1)
except IllegalStateError:
    print("closed")

consumer = KafkaConsumer(
    topic,
    bootstrap_servers=[bootstrap],
    auto_offset_reset="earliest",
    consumer_timeout_ms=60_000,
    value_deserializer=JsonSerializer(),
    key_deserializer=DefaultSerializer(),
)
records = sorted(next(consumer) for _ in range(21))
print(len(list(KafkaConsumer(topic, bootstrap_servers=bootstrap, consumer_timeout_ms=500))))
for record in records:
    print(record)
print(
    sorted(consumer.assignment()),
    consumer.subscription(),
    topic in consumer.topics(),
    consumer.partitions_for_topic(topic),
    consumer.partitions_for_topic(topic + "-not"),
)
print([consumer.position(place) for place in places], [consumer.highwater(place) for place in places])
print(consumer.beginning_offsets(places), consumer.end_offsets(places))
print(consumer.offsets_for_times({places[1]: 2_000, places[0]: 9_999_999_999_999}))
for call in (
    lambda: consumer.commit(),
    lambda: consumer.committed(places[0]),
    lambda: consumer.assign(places),
    lambda: consumer.highwater(TopicPartition(topic, 77)),
):
    try:
        call()
    except IllegalStateError as error:
        print(type(error).__name__)
consumer.close()

consumer = KafkaConsumer(
    bootstrap_servers=bootstrap,
    group_id=topic,
    auto_offset_reset="earliest",
    enable_auto_commit=False,
    isolation_level="read_committed",
)
consumer.assign(places)
got = {}
while sum(map(len, got.values())) < 21:
    for place, some in consumer.poll(timeout_ms=5_000, max_records=5).items():
        assert len(some) <= 5
        got.setdefault(place, []).extend(some)
print({place.partition: [record.offset for record in some] for place, some in sorted(got.items())})
print([consumer.committed(place) for place in places])
consumer.commit()
print([consumer.committed(place, metadata=True).offset for place in places])
consumer.commit({places[0]: OffsetAndMetadata(3, "a note", -1)})
print(consumer.committed(places[0]), consumer.committed(places[0], metadata=True))
done = consumer.commit_async(
    {places[0]: OffsetAndMetadata(4, "", -1)}, callback=lambda offsets, response: found.append(offsets)
)
while not done.is_done or len(found) < 2:
    consumer.poll(100)
print(done.succeeded(), found[-1], consumer.committed(places[0]))
consumer.seek(places[1], 2)
print(next(consumer).offset, next(consumer).offset, consumer.position(places[1]))
consumer.pause(places[1])
consumer.seek_to_beginning()
print(
    consumer.paused(),
    consumer.position(places[0]),
    {record.partition for some in consumer.poll(2_000).values() for record in some},
)
consumer.resume(places[1])
consumer.seek_to_end(*places)
print([consumer.position(place) for place in places], consumer.poll(300))
print(consumer.group_metadata().group_id == topic, consumer.group_metadata().generation_id)
for call in (
    lambda: consumer.poll(-1),
    lambda: consumer.poll(max_records=0),
    lambda: consumer.subscribe(),
    lambda: consumer.offsets_for_times({places[0]: -1}),
    lambda: consumer.seek(TopicPartition(topic, 77), 1),
):
    try:
        call()
    except ValueError:
        print("ValueError")
for call in (lambda: consumer.subscribe([topic]), lambda: consumer.position(TopicPartition(topic, 9))):
    try:
        call()
    except KafkaError as error:
        print(type(error).__name__)
consumer.unsubscribe()
print(consumer.assignment(), consumer.subscription())
consumer.close()
try:
    consumer.poll()
except IllegalStateError:
    print("closed")
for kind in (KafkaConsumer, KafkaProducer):
    for wrong in ({"no_such_setting": 1}, {"request_timeout_ms": 900_000}):
        try:
            kind(bootstrap_servers=bootstrap, **wrong)
        except (KafkaConfigurationError, ValueError):  # which one depends on its version
            print("refused")
try:
    KafkaProducer(bootstrap_servers="127.0.0.1:1", bootstrap_timeout_ms=300)
except KafkaTimeoutError:
    print("nobody there")
