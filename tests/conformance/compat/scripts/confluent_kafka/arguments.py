"""What produce() refuses and what it takes: numbers, texts, headers, topics that cannot be, callbacks."""

import sys

from confluent_kafka import KafkaException, Producer

bootstrap, topic = sys.argv[1:3]
producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
reports = []


def report(error, message):
    reports.append((error and error.name(), message.partition() if error is None else None, message.value()))


for given in (
    {"timestamp": 1.5},
    {"timestamp": "1"},
    {"timestamp": None},
    {"timestamp": 1 << 63},
    {"timestamp": -5},
    {"timestamp": True},
    {"partition": 1.0},
    {"partition": None},
    {"partition": "1"},
    {"partition": True},
    {"partition": 1 << 31},
    {"partition": -2},
    {"partition": 77},
    {"value": 5},
    {"key": 5},
    {"value": bytearray(b"x")},
    {"key": memoryview(b"x")},
    {"value": "\ud800"},
    {"topic": b"topic"},
    {"topic": None},
    {"topic": "a\0b"},
    {"topic": ""},
    {"topic": "no name"},
    {"headers": {"a": 1}},
    {"headers": "x"},
    {"headers": [("a",)]},
    {"headers": [["a", b"x"]]},
    {"headers": (("a", b"x"),)},
    {"headers": [("a", bytearray(b"x"))]},
    {"headers": [(b"a", b"x"), ("b", "x"), ("c", None)]},
    {"headers": {"a": "x", "b": b"x", "c": None}},
    {"headers": {}},
    {"headers": []},
    {"no_such": 1},
):
    del reports[:]
    try:
        producer.produce(**{"topic": topic, "value": "value", "partition": 0, "on_delivery": report, **given})
        outcome = producer.flush(60)
    except (TypeError, ValueError, OverflowError) as error:
        outcome = type(error).__name__
    except KafkaException as error:
        outcome = error.args[0].name()
    print(given.keys(), outcome, len(producer), reports)

first, second = [], []
producer.produce(topic, "x", callback=lambda *_: first.append(1), on_delivery=lambda *_: second.append(1))
print(producer.flush(60), first, second)
