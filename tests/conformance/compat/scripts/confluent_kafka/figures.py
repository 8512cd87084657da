"""stats_cb: a text of JSON that tells of the client, its brokers, and where a consumer stands and what is left."""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

bootstrap, topic = sys.argv[1:3]
texts = []
settings = {"bootstrap.servers": bootstrap, "statistics.interval.ms": 100, "stats_cb": texts.append}


def told(client, is_wanted=lambda figures: True):
    """The first figures that are wanted."""
    del texts[:]
    while True:
        for text in texts:
            if is_wanted(json.loads(text)):
                return json.loads(text)
        del texts[:]
        client.poll(1)


producer = Producer({**settings, "client.id": "me"})
for number in range(5):
    producer.produce(topic, str(number), partition=0)
print(producer.flush(60))
figures = told(producer)
print(figures["name"].split("-")[0], figures["client_id"], figures["type"], figures["msg_cnt"], figures["replyq"] >= 0)
print([type(figures[name]).__name__ for name in ("ts", "time", "age", "tx", "rx", "tx_bytes", "rx_bytes")])
print([broker["state"] for broker in figures["brokers"].values() if broker["nodeid"] >= 0])
print(list(figures["topics"]) == [topic], type(texts[0]).__name__)

consumer = Consumer({**settings, "group.id": topic, "enable.auto.commit": False, "enable.auto.offset.store": False})
consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
for _ in range(3):
    while (message := consumer.poll(60)) is None:
        pass
consumer.store_offsets(message)
consumer.pause([TopicPartition(topic, 0)])


def of_partition(figures):
    return figures["topics"].get(topic, {}).get("partitions", {}).get("0", {})


figures = told(consumer, lambda figures: of_partition(figures).get("consumer_lag_stored") == 2)
names = (
    "partition",
    "app_offset",
    "stored_offset",
    "lo_offset",
    "hi_offset",
    "ls_offset",
    "consumer_lag_stored",
    "consumer_lag",
)
print(figures["type"], {name: of_partition(figures)[name] for name in names})
consumer.commit(asynchronous=False)
figures = told(consumer, lambda figures: of_partition(figures).get("committed_offset", -1) == 3)
print(of_partition(figures)["committed_offset"], of_partition(figures)["consumer_lag"])
consumer.close()

quiet = Producer({"bootstrap.servers": bootstrap, "stats_cb": texts.append})  # without an interval: never called
del texts[:]
quiet.produce(topic, "x", partition=1)
print(quiet.flush(60), quiet.poll(0.3), texts)
print(told(AdminClient(settings))["type"])
