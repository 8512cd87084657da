"""Record batch v2: parse, validate and stamp the 61-byte header.  The layout is drawn in batch.pxd.

Errors are those of `pystream._native.status`: a batch that is cut short, corrupt, of another magic, too large, or that
contradicts itself.
"""

from typing import NamedTuple

from typing_extensions import Buffer

class Header(NamedTuple):
    """The fields of a batch header.  `size` is the whole batch in bytes, header included."""

    base_offset: int
    size: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def codec(self) -> int:
        """0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."""
    @property
    def is_log_append_time(self) -> bool: ...
    @property
    def is_transactional(self) -> bool: ...
    @property
    def is_control(self) -> bool: ...
    @property
    def next_offset(self) -> int:
        """The offset after the last record of the batch."""

def parse_header(data: Buffer) -> Header:
    """The header of the batch `data` starts with; checked is only that it is there and its length possible."""

def parse_headers(data: Buffer) -> list[Header]:
    """Headers of the batches that lie one after the other in `data`; the last one must be whole."""

def validate(data: Buffer, maximum_size: int = 0x7FFFFFFF) -> Header:
    """The header of the batch at the start of `data`, after all checks that need no decompression.

    More bytes may follow the batch.
    """

def stamp(data: Buffer, base_offset: int, leader_epoch: int) -> None:
    """Write base offset and partition leader epoch, which the CRC does not cover, into the batch in place."""

def stamp_append_time(data: Buffer, timestamp_ms: int) -> None:
    """Turn the whole batch at the start of `data` to LogAppendTime: attribute bit, max timestamp, and the CRC anew."""
