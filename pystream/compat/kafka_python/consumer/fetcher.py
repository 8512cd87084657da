"""kafka.consumer.fetcher: the record that applications get."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["ConsumerRecord"]


class ConsumerRecord(NamedTuple):
    """A record. Sizes are of the bytes, -1 for what there is not."""

    topic: str
    partition: int
    leader_epoch: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: Any
    value: Any
    headers: list[tuple[str, bytes | None]]
    checksum: int | None
    serialized_key_size: int
    serialized_value_size: int
    serialized_header_size: int
