"""AdminClient: topics, settings, groups, offsets, records; what fails, by its name."""

import sys

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

bootstrap, topic = sys.argv[1:3]
mine = topic + "-of-admin"
admin = AdminClient({"bootstrap.servers": bootstrap})


def told(futures):
    found = []
    for key, future in futures.items():
        try:
            found.append((str(key).replace(topic, "T"), future.result(30)))
        except KafkaException as error:
            found.append((str(key).replace(topic, "T"), error.args[0].name()))
    return found


print(
    told(
        admin.create_topics(
            [NewTopic(mine, 2, 1, config={"retention.ms": "3600000"}), NewTopic(topic, 1, 1), NewTopic("bad name", 1)]
        )
    )
)
print(told(admin.create_topics([NewTopic(mine + "2", num_partitions=1)], validate_only=True)))
print(told(admin.create_partitions([NewPartitions(mine, 3), NewPartitions(mine + "-not", 2)])))
described = admin.describe_topics(TopicCollection([mine]))[mine].result(30)
print(
    described.name == mine,
    described.is_internal,
    [(p.id, len(p.replicas), len(p.isr), p.leader.id >= 0) for p in described.partitions],
)
metadata = admin.list_topics(mine, timeout=10)
print(list(metadata.topics[mine].partitions), len(metadata.brokers), mine in admin.list_topics(timeout=10).topics)

resource = ConfigResource("topic", mine)
entry = admin.describe_configs([resource])[resource].result(30)["retention.ms"]
print(entry.name, entry.value, entry.source, entry.is_default, entry.is_read_only, entry.is_sensitive, entry.is_synonym)
change = ConfigResource(
    "topic",
    mine,
    incremental_configs=[
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
    ],
)
print(told(admin.incremental_alter_configs([change])))
now = admin.describe_configs([resource])[resource].result(30)
print(now["cleanup.policy"].value, now["retention.ms"].is_default)
print(
    told(
        admin.incremental_alter_configs(
            [
                ConfigResource(
                    "topic",
                    mine,
                    incremental_configs=[
                        ConfigEntry("retention.ms", "soon", incremental_operation=AlterConfigOpType.SET)
                    ],
                )
            ]
        )
    )
)

kept = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)  # records of 1970
print(told(admin.incremental_alter_configs([ConfigResource("topic", mine, incremental_configs=[kept])])))
producer = Producer({"bootstrap.servers": bootstrap})
for number in range(10):
    producer.produce(mine, str(number), partition=0, timestamp=1_000 + number, key="k")
producer.flush()
for spec in (OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.for_timestamp(1_004), OffsetSpec.max_timestamp()):
    place = TopicPartition(mine, 0)
    found = admin.list_offsets({place: spec}, isolation_level=IsolationLevel.READ_UNCOMMITTED)
    info = next(iter(found.values())).result(30)
    print(info.offset, info.timestamp)
deleted = admin.delete_records([TopicPartition(mine, 0, 4)])
print([future.result(30).low_watermark for future in deleted.values()])

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": mine, "auto.offset.reset": "earliest"})
consumer.subscribe([mine])
got = 0
while got < 6:
    got += len(consumer.consume(6, 10))
group = admin.describe_consumer_groups([mine])[mine].result(30)
print(group.group_id == mine, group.state, group.is_simple_consumer_group, len(group.members), group.partition_assignor)
print(sorted(p.partition for p in group.members[0].assignment.topic_partitions), group.members[0].group_instance_id)
print(told(admin.delete_consumer_groups([mine])))
consumer.close()
request = ConsumerGroupTopicPartitions(mine)
print(
    [
        (p.partition, p.offset)
        for p in admin.list_consumer_group_offsets([request])[mine].result(30).topic_partitions
        if p.offset > 0
    ]
)
change = ConsumerGroupTopicPartitions(mine, [TopicPartition(mine, 0, 5), TopicPartition(mine, 2, 0)])
print(
    [
        (p.partition, p.offset, p.error)
        for p in admin.alter_consumer_group_offsets([change])[mine].result(30).topic_partitions
    ]
)
asked = ConsumerGroupTopicPartitions(mine, [TopicPartition(mine, 0)])
print([(p.partition, p.offset) for p in admin.list_consumer_group_offsets([asked])[mine].result(30).topic_partitions])
listed = [each for each in admin.list_consumer_groups().result(30).valid if each.group_id == mine]
print([(each.state, each.type, each.is_simple_consumer_group) for each in listed])
print(told(admin.delete_consumer_groups([mine, mine + "-not"])))
cluster = admin.describe_cluster().result(30)
print(len(cluster.nodes), cluster.controller.id >= 0, cluster.cluster_id == metadata.cluster_id)
print(told(admin.delete_topics([mine, mine + "-not"])))
for call in (
    lambda: admin.delete_consumer_groups([]),
    lambda: admin.create_topics(["x"]),
    lambda: admin.list_consumer_group_offsets([]),
    lambda: admin.describe_topics(["x"]),
):
    try:
        call()
    except (TypeError, ValueError, AttributeError):
        print("refused")
