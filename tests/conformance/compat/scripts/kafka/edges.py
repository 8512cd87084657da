"""What kafka-python refuses, and how: arguments, states, unknown partitions, transactions outside of one."""

import sys

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

bootstrap, topic = sys.argv[1:3]
place, other = TopicPartition(topic, 0), TopicPartition(topic, 1)


def attempt(name, call):
    try:
        print(name, call())
    except (KafkaError, TypeError, ValueError) as error:
        print(name, type(error).__name__)


producer = KafkaProducer(bootstrap_servers=bootstrap)
attempt("topic None", lambda: producer.send(None, b"x"))
attempt("topic empty", lambda: producer.send("", b"x"))
attempt("topic illegal", lambda: producer.send("bad topic!", b"x"))
attempt("partition unknown", lambda: producer.send(topic, b"x", partition=77))
attempt("partition negative", lambda: producer.send(topic, b"x", partition=-1))
attempt("headers", lambda: producer.send(topic, b"x", headers={"a": b"b"}))
attempt("too large", lambda: producer.send(topic, b"x" * 2_000_000))
attempt("no transactions", producer.begin_transaction)
attempt("no transactions", producer.init_transactions)
for number in range(3):
    future = producer.send(topic, str(number).encode(), partition=0)
    print(future.get(10).offset, future.succeeded(), future.exception)
producer.close()
attempt("flush closed", lambda: producer.flush(1))
attempt("send closed", lambda: producer.send(topic, b"x"))
attempt("unknown setting", lambda: KafkaProducer(no_such_name=1))
attempt("unknown setting", lambda: KafkaConsumer(no_such_name=1))

consumer = KafkaConsumer(
    bootstrap_servers=bootstrap, group_id=topic, auto_offset_reset="earliest", enable_auto_commit=False
)
attempt("nothing to read", lambda: consumer.poll(10))
attempt("subscribe to nothing", consumer.subscribe)
attempt("both", lambda: consumer.subscribe(topics=[topic], pattern="x"))
attempt("position", lambda: consumer.position(place))
attempt("assign", lambda: consumer.assign([place, other]))
attempt("subscribe too", lambda: consumer.subscribe([topic]))
records = []
while len(records) < 3:
    records += consumer.poll(5_000).get(place, [])
print([(record.offset, record.value, record.serialized_value_size, record.headers) for record in records])
attempt("position", lambda: consumer.position(place))
attempt("times", lambda: consumer.offsets_for_times({place: -1}))
attempt("ends", lambda: consumer.end_offsets([place, other]) == {place: 3, other: 0})
attempt("commit", consumer.commit)
attempt("committed", lambda: (consumer.committed(place), tuple(consumer.committed(place, metadata=True))))
attempt("commit text", lambda: consumer.commit({place: OffsetAndMetadata(1, "text", -1)}))
attempt("committed", lambda: tuple(consumer.committed(place, metadata=True)))
attempt("commit badly", lambda: consumer.commit({place: 5}))
attempt("seek badly", lambda: consumer.seek(place, -1))
attempt("max_records", lambda: consumer.poll(0, max_records=0))
consumer.close()
attempt("poll closed", lambda: consumer.poll(10))

transactional = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic)
transactional.init_transactions()
attempt("send outside", lambda: transactional.send(topic, b"x"))
transactional.begin_transaction()
print(transactional.send(topic, b"x", partition=0).get(10).offset)
attempt("commit", transactional.commit_transaction)
transactional.close()
