"""confluent_kafka.cimpl: where the clients are in confluent_kafka, and where many scripts import them from."""

from pystream.compat.confluent_kafka._consumer import Consumer
from pystream.compat.confluent_kafka._errors import (
    ConcurrentModificationException,
    IllegalStateException,
    KafkaError,
    KafkaException,
)
from pystream.compat.confluent_kafka._model import libversion, version
from pystream.compat.confluent_kafka._partitioners import consistent, fnv1a, murmur2
from pystream.compat.confluent_kafka._producer import Producer
from pystream.compat.confluent_kafka._share import ShareConsumer
from pystream.compat.confluent_kafka._values import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    OFFSET_STORED,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    Message,
    TopicPartition,
    Uuid,
)
from pystream.compat.confluent_kafka.admin._client import AdminClient
from pystream.compat.confluent_kafka.admin._model import NewPartitions, NewTopic

__all__ = [
    "OFFSET_BEGINNING",
    "OFFSET_END",
    "OFFSET_INVALID",
    "OFFSET_STORED",
    "TIMESTAMP_CREATE_TIME",
    "TIMESTAMP_LOG_APPEND_TIME",
    "TIMESTAMP_NOT_AVAILABLE",
    "AdminClient",
    "ConcurrentModificationException",
    "Consumer",
    "IllegalStateException",
    "KafkaError",
    "KafkaException",
    "Message",
    "NewPartitions",
    "NewTopic",
    "Producer",
    "ShareConsumer",
    "TopicPartition",
    "Uuid",
    "consistent",
    "fnv1a",
    "libversion",
    "murmur2",
    "version",
]
