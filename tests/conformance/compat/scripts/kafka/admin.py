"""KafkaAdminClient: dicts of topics, settings, groups and offsets; what fails, by its class."""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, OffsetSpec, TopicPartition
from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType, NewPartitions, NewTopic, OffsetTimestamp
from kafka.errors import KafkaError, for_code

bootstrap, topic = sys.argv[1:3]
mine = topic + "-of-admin"
admin = KafkaAdminClient(bootstrap_servers=bootstrap)


def tried(call):
    try:
        return call()
    except (KafkaError, ValueError, TypeError) as error:
        return type(error).__name__


def shown(topic, *fields):
    return {field: topic.get(field) for field in fields}


created = admin.create_topics(
    [NewTopic(mine, 2, 1, topic_configs={"retention.ms": "3600000"})], wait_for_metadata=True
)["topics"][0]
print(shown(created, "error_code", "num_partitions", "replication_factor"), created["name"] == mine)
print(
    tried(lambda: admin.create_topics([mine])),
    admin.create_topics([mine], raise_errors=False)["topics"][0]["error_code"],
)
print(admin.create_topics({mine + "2": {"num_partitions": 1}}, validate_only=True)["topics"][0]["error_code"])
print(
    admin.create_partitions({mine: NewPartitions(3)}).results[0][1],
    tried(lambda: admin.create_partitions({mine + "-not": 2})),
)
described = admin.describe_topics([mine])[0]
print(
    shown(described, "error_code", "is_internal"),
    [
        shown(p, "error_code", "partition_index", "leader_epoch")
        for p in sorted(described["partitions"], key=lambda p: p["partition_index"])
    ],
)
print(sorted(described["partitions"][0]), mine in admin.list_topics())
cluster = admin.describe_cluster()
print(sorted(cluster), [sorted(broker) for broker in cluster["brokers"]])

resource = ConfigResource(ConfigResourceType.TOPIC, mine)
told = admin.describe_configs([resource])["topic"][mine]
print(
    {
        name: shown(each, "value", "config_source", "read_only", "is_sensitive", "config_type")
        for name, each in told.items()
    }
)
print(len(admin.describe_configs([resource], config_filter="all")["topic"][mine]) > 20)
change = ConfigResource("topic", mine, {"cleanup.policy": (AlterConfigOp.APPEND, "compact"), "retention.ms": 7_200_000})
changed = admin.alter_configs([change])
print(changed == {"topic": {mine: "OK"}})
print({name: each["value"] for name, each in sorted(admin.describe_configs([resource])["topic"][mine].items())})
print(admin.reset_configs([ConfigResource("topic", mine, ["retention.ms"])]) == changed)
print(sorted(admin.describe_configs([resource])["topic"][mine]))
print(tried(lambda: admin.alter_configs([ConfigResource("topic", mine, {"no.such": "1"})])))

admin.alter_configs([ConfigResource("topic", mine, {"retention.ms": "-1"})])  # of records of 1970
producer = KafkaProducer(bootstrap_servers=bootstrap)
for number in range(10):
    producer.send(mine, b"v", key=b"k", partition=0, timestamp_ms=1_000 + number)
producer.flush()
place = TopicPartition(mine, 0)
for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST, OffsetTimestamp(1_004)):
    print(admin.list_partition_offsets({place: spec})[place][:2])
print([sorted(each.items()) for each in admin.delete_records({place: 4}).values()])
consumer = KafkaConsumer(
    mine, bootstrap_servers=bootstrap, group_id=mine, auto_offset_reset="earliest", consumer_timeout_ms=60_000
)
print([next(consumer).offset for _ in range(6)])
group = admin.describe_groups([mine])[mine]
print(shown(group, "error", "group_state", "protocol_type", "protocol_data"), len(group["members"]))
member = group["members"][0]
print(
    [topic == mine for topic in member["member_metadata"]["topics"]],
    [each["partitions"] for each in member["member_assignment"]["assigned_partitions"]],
)
print(admin.delete_groups([mine]) == {mine: "NonEmptyGroupError"})
consumer.close()
listed = [each for each in admin.list_groups() if each["group_id"] == mine]
print([shown(each, "protocol_type", "group_state", "group_type") for each in listed])
print(admin.list_group_offsets(mine)[mine][place].offset, admin.list_group_offsets({mine: [place]})[mine][place].offset)
print([each.__name__ for each in admin.alter_group_offsets(mine, {place: OffsetAndMetadata(5, "n", -1)}).values()])
print(admin.list_group_offsets([mine])[mine][place])
print(
    [
        (each["error"].__name__, each["offset"])
        for each in admin.reset_group_offsets(mine, {place: OffsetSpec.EARLIEST}).values()
    ]
)
print([each.__name__ for each in admin.delete_group_offsets(mine, [place]).values()])
print(sorted(admin.delete_groups([mine, mine + "-not"]).values()))
election = admin.elect_leaders(0, {mine: [0]}, raise_errors=False).replica_election_results[0]
print(election[0] == mine, [(part[0], part[1]) for part in election[1]])
print(admin.list_partition_reassignments(), [sorted(each) for each in admin.describe_log_dirs()])
print(admin.delete_topics([mine])["topics"][0]["error_code"], tried(lambda: admin.delete_topics([mine])))
print([for_code(code).__name__ for code in range(-1, 128)])
admin.close()
