"""Where a consumer stands: behind markers of transactions, at ends, beyond them; events in the place of messages."""

import sys

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, Producer, TopicPartition

bootstrap, topic = sys.argv[1:3]
places = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
producer.init_transactions(30)
producer.begin_transaction()
for number in range(3):
    producer.produce(topic, str(number), key="k", partition=0, headers={"n": str(number)})
producer.commit_transaction(30)


def event(message):
    error = message.error()
    return error and (bool(message), error.name(), message.topic(), message.partition(), message.value() == error.str())


def positions():
    return [place.offset for place in consumer.position(places)]


settings = {
    "bootstrap.servers": bootstrap,
    "group.id": topic,
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
}
consumer = Consumer(settings)
while consumer.get_watermark_offsets(places[0], timeout=10)[1] < 4:  # the marker may come after commit_transaction()
    pass
consumer.assign([TopicPartition(topic, 0, 0), TopicPartition(topic, 1, 0)])
print(positions() == [OFFSET_INVALID, OFFSET_INVALID])
ends = {}  # of two partitions: which one's comes first, and before which record, is chance
while len(ends) < 2:
    message = consumer.poll(10)
    if message.error():
        as_value = message.error().str().encode()
        ends[message.partition()] = (
            message.offset(),
            message.error().str(),
            message.timestamp(),
            bool(message),
            message.value() == as_value,
        )
    else:
        print(message.offset(), message.value(), len(message), message.headers(), positions()[0])
print(sorted(ends.items()))
print(positions()[0])
print(next((each.partition, each.offset, each.leader_epoch) for each in consumer.commit(asynchronous=False)))
print(next((each.partition, each.offset, each.leader_epoch) for each in consumer.committed(places)))

consumer.assign([TopicPartition(topic, 0, 77)])  # beyond the end
message = consumer.poll(10)
print(message.error().name(), bool(message))
for what in (
    lambda: consumer.get_watermark_offsets(TopicPartition(topic, 9), timeout=5),
    lambda: consumer.get_watermark_offsets(TopicPartition(f"{topic}-none", 0), timeout=5),
    lambda: consumer.offsets_for_times([TopicPartition(topic, 9, 0)], timeout=5),
    lambda: consumer.commit(offsets=[TopicPartition(topic, 9, 1)], asynchronous=False),
    lambda: consumer.commit(offsets=[TopicPartition(topic, 0, OFFSET_INVALID)], asynchronous=False),
    lambda: consumer.pause([TopicPartition(topic, 9)]),
):
    try:
        print(what())
    except KafkaException as error:
        print(error.args[0].name())

consumer.subscribe([f"{topic}-missing"])  # after assign(): the one takes the other's place
message = consumer.poll(20)
print(message.error().name(), message.error().str(), message.topic())
consumer.close()

try:
    producer.produce(topic, "outside")
except KafkaException as error:
    print(error.args[0].name())
for call in (producer.commit_transaction, producer.abort_transaction, producer.init_transactions):
    try:
        call(5)
    except KafkaException as error:
        print(error.args[0].name(), error.args[0].retriable(), error.args[0].fatal())
