"""Errors, partitions, enums: what they are, say and compare as."""

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.serialization import DoubleSerializer, IntegerDeserializer, StringSerializer

names = sorted(name for name in dir(KafkaError) if name.lstrip("_").isupper())
print([(name, getattr(KafkaError, name)) for name in names])
print([KafkaError(getattr(KafkaError, name)).name() for name in names])
error = KafkaError(KafkaError._PARTITION_EOF, "the end")
print(error, error.code(), error.name(), error.str(), error.fatal(), error.retriable(), error.txn_requires_abort())
print(
    error == KafkaError._PARTITION_EOF,
    error == KafkaError(KafkaError._PARTITION_EOF),
    error != 1,
    error < 0,
    bool(error),
)
print(KafkaError(3, "gone", fatal=True, retriable=True, txn_requires_abort=True))
try:
    raise KafkaException(error)
except KafkaException as raised:
    print(raised.args[0] is error, str(raised) == str(error))

place = TopicPartition("t", 1, 5)
print(place, repr(place), str(TopicPartition("t")), TopicPartition("t", 0, confluent_kafka.OFFSET_END))
print(
    place == TopicPartition("t", 1, 9),
    place != TopicPartition("t", 2),
    place < TopicPartition("u", 0),
    len({place, TopicPartition("t", 1)}),
)
print(place.metadata, place.leader_epoch, place.error)
print(sorted([TopicPartition("b", 1), TopicPartition("a", 2), TopicPartition("a", 1)]))
for wrong in ((None,), (1,)):
    try:
        TopicPartition(*wrong)
    except TypeError:
        print("TypeError")

message = Message(topic="t", partition=1, offset=2, key=b"k", value=b"value", headers=[("h", b"x")])
print(message.topic(), message.partition(), message.offset(), message.key(), message.value(), message.headers())
print(len(message), len(Message()), message.error(), message.latency(), message.leader_epoch(), message.timestamp())

print(
    NewTopic("a", 3, 1),
    NewPartitions("a", 4),
    NewTopic("a", 3) == NewTopic("a", 3),
    NewTopic("a", 3) == NewTopic("a", 2),
)
print(ConfigEntry("a", "b"), repr(ConfigEntry("a", "b")), ConfigSource(5), ConfigResource("topic", "t"))
print(ConfigResource("topic", "t") == ConfigResource(ResourceType.TOPIC, "t"), len(ConfigResource(2, "t", {"a": "b"})))
entry = AclBinding("topic", "t", "literal", "User:a", "*", "read", "allow")
print(
    entry,
    entry
    == AclBinding(
        ResourceType.TOPIC, "t", ResourcePatternType.LITERAL, "User:a", "*", AclOperation.READ, AclPermissionType.ALLOW
    ),
)
for arguments in (("nothing", "t"), (None, "t"), ("any", "t")):
    try:
        AclBinding(*arguments, "literal", "User:a", "*", "read", "allow")
    except (TypeError, ValueError) as wrong:
        print(type(wrong).__name__)
for kind in (
    confluent_kafka.ConsumerGroupState,
    confluent_kafka.ConsumerGroupType,
    confluent_kafka.IsolationLevel,
    ConfigSource,
    AclOperation,
):
    print([(each.name, each.value) for each in kind])
print(confluent_kafka.OFFSET_BEGINNING, confluent_kafka.OFFSET_INVALID, confluent_kafka.OFFSET_STORED)
print(
    confluent_kafka.TIMESTAMP_NOT_AVAILABLE,
    confluent_kafka.TIMESTAMP_CREATE_TIME,
    confluent_kafka.TIMESTAMP_LOG_APPEND_TIME,
)
keys = [b"", b"a", b"key", b"c0001", "schlüssel".encode(), bytes(range(256))]
for hashed in (confluent_kafka.murmur2, confluent_kafka.consistent, confluent_kafka.fnv1a):
    print(hashed.__name__, [hashed(key, count) for key in keys for count in (1, 4, 7)])
print(StringSerializer()("ü"), DoubleSerializer()(1.5), IntegerDeserializer()(b"\0\0\0\7"))
uuid = confluent_kafka.Uuid(-1, 2)
print(uuid)
