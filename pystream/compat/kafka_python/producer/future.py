"""kafka.producer.future."""

from __future__ import annotations

from typing import Any, NamedTuple

from pystream.common.model import TopicPartition
from pystream.compat.kafka_python.errors import translated
from pystream.compat.kafka_python.future import Future

__all__ = ["FutureRecordMetadata", "RecordMetadata"]


class RecordMetadata(NamedTuple):
    """Where a record came to lie. Sizes are -1 for what there is not."""

    topic: str
    partition: int
    topic_partition: TopicPartition
    offset: int
    timestamp: int
    checksum: int | None
    serialized_key_size: int
    serialized_value_size: int
    serialized_header_size: int


class FutureRecordMetadata(Future):
    """The fate of one record: get() gives its RecordMetadata."""

    def __init__(self, key_size: int, value_size: int, header_size: int) -> None:
        super().__init__()
        self._sizes = (key_size, value_size, header_size)

    def delivered(self, delivery: Any) -> None:
        """What the SDK knows of it now."""
        error = delivery.exception(0)
        if error is not None:
            self.failure(translated(error))
            return
        place = TopicPartition(delivery.topic, delivery.partition)
        self.success(RecordMetadata(*place, place, delivery.offset, delivery.timestamp, None, *self._sizes))
