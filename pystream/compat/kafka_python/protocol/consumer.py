"""kafka.protocol.consumer: enums."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["IsolationLevel", "OffsetResetStrategy", "OffsetSpec", "OffsetTimestamp"]


class IsolationLevel(IntEnum):
    """Whether records of open transactions count."""

    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


class OffsetSpec(IntEnum):
    """Which offset is asked for; a time in milliseconds may stand in its place."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4
    LATEST_TIERED = -5


class OffsetResetStrategy:
    LATEST = -1
    EARLIEST = -2
    NONE = 0


class OffsetTimestamp(int):
    """A time in milliseconds, where a bare number would be an offset."""

    def __repr__(self) -> str:
        return f"OffsetTimestamp({int(self)})"
