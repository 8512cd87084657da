"""Transactions: committed and aborted, with a consumer's offsets, and a producer that is fenced."""

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

bootstrap, topic = sys.argv[1:3]
settings = {"bootstrap.servers": bootstrap, "transactional.id": topic}
plain = Producer({"bootstrap.servers": bootstrap})
for number in range(5):
    plain.produce(topic, str(number), partition=0)
plain.flush()
try:
    plain.init_transactions()
except KafkaException as error:
    print(error.args[0].name())

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "enable.auto.commit": False})
consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
values = []
while len(values) < 5:
    values += [message.value() for message in consumer.consume(5, 10)]

producer = Producer(settings)
try:
    producer.begin_transaction()
except KafkaException as error:
    print(error.args[0].name())
producer.init_transactions(30)
producer.begin_transaction()
producer.produce(topic, b"never", partition=1)
producer.flush()
producer.abort_transaction()
producer.begin_transaction()
for value in values:
    producer.produce(topic, b"copy of " + value, partition=1)
producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata())
producer.commit_transaction()
print(consumer.committed([TopicPartition(topic, 0)], 10)[0].offset)
consumer.assign([TopicPartition(topic, 1, OFFSET_BEGINNING)])
found = []
while len(found) < 5:
    found += [(message.value(), message.error()) for message in consumer.consume(5, 10)]
print(found)
consumer.close()

other = Producer(settings)
other.init_transactions()
try:
    producer.begin_transaction()
    producer.produce(topic, b"from the old one", partition=1)
    producer.commit_transaction()
except KafkaException:
    print("refused")
