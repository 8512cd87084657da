"""One round of compaction of one log, in steps."""

from typing import Self

from pystream._native.local_log import LocalLog

class LogCleaning:
    """One round: map() until it is True, then clean() until it is True, then close(), which is also due after a failure.

    Both raise CorruptRecordBatch, MalformedInput, LogDamaged and others of KafkaError for a log that cannot be cleaned,
    Busy when the log was truncated or deleted from meanwhile, Closed, LogOffline, NoSpace, KafkaStorageError. What was
    swapped in before stays; the rest of the log is as it was.
    """

    def __new__(
        cls,
        log: LocalLog,
        *,
        first_dirty_offset: int,
        bound: int,
        map_bytes: int,
        now_ms: int,
        delete_retention_ms: int = ...,
        load_factor: float = 0.9,
        buffer_bytes: int = ...,
    ) -> Self:
        """`bound`: nothing at or above it is looked at; it lies at or below the last stable offset."""
    def map(self, most_bytes: int = ...) -> bool:
        """Reads about `most_bytes` of the dirty part; True when it is mapped, or the map is full."""
    def clean(self, most_bytes: int = ...) -> bool:
        """Cleans about `most_bytes` and swaps what is ready; True when all is done."""
    @property
    def end_offset(self) -> int:
        """Everything below it is clean once the round is done; the next one begins here."""
    @property
    def statistics(self) -> dict[str, int]:
        """bytes_mapped, bytes_read, bytes_written, records_read, records_kept, keyless, keys, map_slots, map_full,
        segments_replaced, segments_made, buffer_bytes.
        """
    def take_replaced(self) -> list[int]:
        """Base offsets of segments whose files became *.deleted since the last call."""
    def close(self) -> None:
        """Gives memory and files back; what is half written is removed."""
