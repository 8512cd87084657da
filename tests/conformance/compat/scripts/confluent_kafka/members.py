"""More members than partitions: who has none is told so, when it comes and when it goes."""

import sys

from confluent_kafka import Consumer

bootstrap, topic = sys.argv[1:3]
MEMBERS = 3
assigned, revoked = {}, {}


def member(number):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic})
    consumer.subscribe(
        [topic],
        on_assign=lambda _, partitions: assigned.update({number: len(partitions)}),
        on_revoke=lambda _, partitions: revoked.update({number: len(partitions)}),
    )
    return consumer


members = [member(number) for number in range(MEMBERS)]
while sorted(assigned.values()) != [0, 1, 1]:
    for consumer in members:
        consumer.poll(0.1)
print(sorted(len(consumer.assignment()) for consumer in members))
revoked.clear()
for consumer in members:
    consumer.close()
print(sorted(revoked.values()))
print(revoked == assigned)
for consumer in members:
    try:
        consumer.assignment()
    except RuntimeError as error:
        print(error)
