"""Callbacks: what they raise comes out, of which call, and what is done all the same; throttling; a producer fenced."""

import sys

from confluent_kafka import Consumer, KafkaException, Producer, ThrottleEvent

from pystream import AdminClient
from pystream.client.admin.users import QuotaEntity

bootstrap, topic = sys.argv[1:3]
called = []


def failing(name):
    def callback(*_):
        called.append(name)
        raise ValueError(name)

    return callback


def attempt(call, *arguments):
    """What it gives or raises, and what was called meanwhile."""
    del called[:]
    try:
        outcome = call(*arguments)
    except (ValueError, RuntimeError) as error:
        outcome = (type(error).__name__, str(error), error.__context__, error.__cause__)
    print(outcome, called)


# --- delivery reports

settings = {"bootstrap.servers": bootstrap, "linger.ms": 100}
producer = Producer(settings)
for number in range(3):
    producer.produce(topic, str(number), partition=0, on_delivery=failing(number))
attempt(producer.flush, 60)
attempt(producer.flush, 60)
producer.produce(topic, "one", partition=0, on_delivery=failing("one"))
attempt(producer.poll, 60)
producer.produce(topic, "last", partition=0, on_delivery=failing("last"))
attempt(producer.close)
attempt(producer.close)
attempt(producer.poll, 0)


def block():
    with Producer(settings) as closing:
        for number in range(2):
            closing.produce(topic, str(number), partition=0, on_delivery=failing(number))
        closing.flush(60)


attempt(block)

# --- a consumer's

consumer = Consumer(
    {
        "bootstrap.servers": bootstrap,
        "group.id": topic,
        "auto.offset.reset": "earliest",
        "auto.commit.interval.ms": 3_600_000,
    },
    on_commit=failing("on_commit"),
)
consumer.subscribe([topic], on_assign=failing("on_assign"), on_revoke=failing("on_revoke"))


def read():
    while True:
        message = consumer.poll(60)
        if message is not None and message.error() is None:
            return message.topic() == topic


attempt(read)
attempt(read)
attempt(consumer.close)
attempt(consumer.close)
attempt(consumer.poll, 0)

# --- throttling

entity = QuotaEntity.of({"client-id": topic})
with AdminClient(bootstrap_servers=bootstrap) as admin:
    admin.alter_client_quotas({entity: {"producer_byte_rate": 10_000.0}}).checked()
    events = []
    throttled = Producer({"bootstrap.servers": bootstrap, "client.id": topic, "throttle_cb": events.append})
    while not events:
        throttled.produce(topic, bytes(60_000), partition=1)
        throttled.flush(60)
        throttled.poll(0)
    admin.alter_client_quotas({entity: {"producer_byte_rate": None}}).checked()
event = events[0]
print(type(event) is ThrottleEvent, event.broker_id >= 0, 0 < event.throttle_time < 60)
print(event.broker_name.rpartition(":")[2].isdecimal())

# --- a producer that another one has taken the place of


def told(call, *arguments):
    try:
        return call(*arguments)
    except KafkaException as error:
        return error.args[0].name(), error.args[0].fatal(), error.args[0].retriable()


reports = []
settings = {"bootstrap.servers": bootstrap, "transactional.id": topic, "linger.ms": 0}
old, new = Producer(settings), Producer(settings)
old.init_transactions(60)
old.begin_transaction()
old.produce(topic, "in time", partition=1)
old.flush(60)
new.init_transactions(60)
old.produce(topic, "late", partition=1, on_delivery=lambda error, _: reports.append((error.name(), error.fatal())))
outcomes = set()
while not reports or ("_FENCED", True, False) not in outcomes:
    outcomes.add(told(old.poll, 1))
print(reports, ("_FENCED", True, False) in outcomes)
print(told(old.produce, topic, "later still"))
for call in (old.commit_transaction, old.abort_transaction, old.begin_transaction):
    print(told(call))
print(told(old.flush, 10), told(old.poll, 0))
