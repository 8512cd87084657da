"""kafka-python over pystream's SDK: `from pystream.compat.kafka_python import KafkaConsumer, KafkaProducer`.

What is left out is in the package's README; it raises an error that says so.
"""

from pystream.compat.kafka_python.admin import KafkaAdminClient
from pystream.compat.kafka_python.consumer import KafkaConsumer
from pystream.compat.kafka_python.consumer.subscription_state import (
    AsyncConsumerRebalanceListener,
    ConsumerRebalanceListener,
)
from pystream.compat.kafka_python.producer import KafkaProducer
from pystream.compat.kafka_python.protocol.consumer import IsolationLevel, OffsetSpec
from pystream.compat.kafka_python.serializer import DefaultSerializer, Deserializer, JsonSerializer, Serializer
from pystream.compat.kafka_python.structs import (
    ConsumerGroupMetadata,
    OffsetAndMetadata,
    TopicPartition,
    TopicPartitionReplica,
)

__version__ = "3.0.0"

__all__ = [
    "AsyncConsumerRebalanceListener",
    "ConsumerGroupMetadata",
    "ConsumerRebalanceListener",
    "DefaultSerializer",
    "Deserializer",
    "IsolationLevel",
    "JsonSerializer",
    "KafkaAdminClient",
    "KafkaConsumer",
    "KafkaProducer",
    "OffsetAndMetadata",
    "OffsetSpec",
    "Serializer",
    "TopicPartition",
    "TopicPartitionReplica",
]
