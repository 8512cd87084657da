"""Headers of record batches: what a producer may send before anything is trusted.

input: mode, batch...    mode bit 0: the CRC is made right, so that the checks behind it are reached
"""

from __future__ import annotations

from pystream._native import batch
from pystream._native.crc32c import crc32c
from pystream._native.record_builder import RecordBatchBuilder
from pystream.common.errors import PystreamError

CRC_AT = 17
CRC_FROM = 21
SIZE_AT = 8
OVERHEAD = 12


def with_right_crc(data: bytes) -> bytearray:
    """The batch at the start with the CRC that its bytes ask for; as it is when it is cut short."""
    fixed = bytearray(data)
    if len(fixed) >= CRC_FROM:
        end = OVERHEAD + int.from_bytes(fixed[SIZE_AT : SIZE_AT + 4], "big", signed=True)
        if CRC_FROM <= end <= len(fixed):
            fixed[CRC_AT:CRC_FROM] = crc32c(fixed[CRC_FROM:end]).to_bytes(4, "big")
    return fixed


def seeds() -> list[bytes]:
    inputs = []
    for codec in range(5):
        builder = RecordBatchBuilder(codec=codec, base_offset=7, producer_id=3, producer_epoch=1, base_sequence=0)
        for number in range(3):
            builder.append(b"value" * number, timestamp=1000 + number, key=b"key", headers=[("h", b"v"), ("n", None)])
        built = bytes(builder.build())
        inputs += [b"\x00" + built, b"\x01" + built, b"\x00" + built + built]
    return inputs


def check(data: bytes) -> None:
    if not data:
        return
    batches = with_right_crc(data[1:]) if data[0] & 1 else bytearray(data[1:])
    try:
        batch.parse_headers(batches)
    except PystreamError:
        pass
    try:
        header = batch.validate(batches, 1 << 16)
    except PystreamError:
        return
    assert header.size <= min(len(batches), 1 << 16)
    assert header.record_count > 0
    whole = bytearray(batches[: header.size])
    batch.stamp(whole, 42, 5)
    stamped = batch.validate(whole)  # offset and leader epoch lie outside the CRC
    assert (stamped.base_offset, stamped.partition_leader_epoch, stamped.crc) == (42, 5, header.crc)
    batch.stamp_append_time(whole, 1234)
    assert batch.validate(whole).is_log_append_time
