"""Record batches, checksums and hashes in plain Python: what native/ is held to.  Slow, short, sharing no code."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

HEADER = struct.Struct(">qiibIhiqqqhii")
MASK64 = (1 << 64) - 1


class Refused(Exception):
    """The model does not take this input; `reason` is a word that the tests translate to an exception class."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# ---- checksums and hashes


def crc32c(data: bytes, value: int = 0) -> int:
    """Bit by bit, from the polynomial of RFC 3720."""
    state = value ^ 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """As Kafka's Utils.murmur2, but signed like its result in Java."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    state = (0x9747B28C ^ len(data)) & mask
    words, rest = divmod(len(data), 4)
    for (word,) in struct.iter_unpack("<I", data[: 4 * words]):
        mixed = word * factor & mask
        mixed = (mixed ^ mixed >> 24) * factor & mask
        state = (state * factor & mask) ^ mixed
    if rest:
        state = (state ^ int.from_bytes(data[4 * words :], "little")) * factor & mask
    state = (state ^ state >> 13) * factor & mask
    state ^= state >> 15
    return state - (1 << 32) if state >> 31 else state


def xxhash64(data: bytes, seed: int = 0) -> int:
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )  # fmt: skip

    def rotate(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & MASK64

    def mix(lane: int, word: int) -> int:
        return rotate((lane + word * p2) & MASK64, 31) * p1 & MASK64

    stripes = len(data) // 32 * 32
    if stripes:
        lanes = [(seed + p1 + p2) & MASK64, (seed + p2) & MASK64, seed, (seed - p1) & MASK64]
        for words in struct.iter_unpack("<4Q", data[:stripes]):
            lanes = [mix(lane, word) for lane, word in zip(lanes, words, strict=True)]
        state = sum(rotate(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK64
        for lane in lanes:
            state = ((state ^ mix(0, lane)) * p1 + p4) & MASK64
    else:
        state = (seed + p5) & MASK64
    state = (state + len(data)) & MASK64
    rest = data[stripes:]
    while len(rest) >= 8:
        state = (rotate(state ^ mix(0, int.from_bytes(rest[:8], "little")), 27) * p1 + p4) & MASK64
        rest = rest[8:]
    if len(rest) >= 4:
        state = (rotate(state ^ (int.from_bytes(rest[:4], "little") * p1 & MASK64), 23) * p2 + p3) & MASK64
        rest = rest[4:]
    for byte in rest:
        state = rotate(state ^ (byte * p5 & MASK64), 11) * p1 & MASK64
    state = (state ^ state >> 33) * p2 & MASK64
    state = (state ^ state >> 29) * p3 & MASK64
    return state ^ state >> 32


# ---- varints


def zigzag(value: int) -> bytes:
    left = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while left >= 0x80:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


@dataclass(slots=True)
class Bytes:
    """A cursor that refuses to read past its end."""

    data: bytes
    position: int = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.position:
            raise Refused("truncated")
        self.position += size
        return self.data[self.position - size : self.position]

    def varint(self, bits: int) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if value >= 1 << bits or shift >= bits:
                raise Refused("malformed")
            if byte < 0x80:
                return value >> 1 ^ -(value & 1)
            shift += 7

    def field(self) -> bytes | None:
        size = self.varint(32)
        if size < -1:
            raise Refused("malformed")
        return None if size == -1 else self.take(size)


# ---- record batches


@dataclass(frozen=True, slots=True)
class ModelRecord:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelBatch:
    """Header fields in the order of the format, `size` being the whole batch; and the bytes of the records."""

    base_offset: int = 0
    size: int = 0
    partition_leader_epoch: int = -1
    magic: int = 2
    crc: int = 0
    attributes: int = 0
    last_offset_delta: int = 0
    base_timestamp: int = 0
    max_timestamp: int = 0
    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = -1
    record_count: int = 0
    body: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """Size and CRC as they must be, whatever the fields say."""
        rest = HEADER.pack(
            0, 0, 0, 0, 0, self.attributes, self.last_offset_delta, self.base_timestamp, self.max_timestamp,
            self.producer_id, self.producer_epoch, self.base_sequence, self.record_count,
        )[21:] + self.body  # fmt: skip
        front = struct.pack(">qii", self.base_offset, len(rest) + 9, self.partition_leader_epoch)
        return front + struct.pack(">bI", self.magic, crc32c(rest)) + rest


def encode_record(record: ModelRecord, base_offset: int, base_timestamp: int) -> bytes:
    def encode_field(value: bytes | None) -> bytes:
        return zigzag(-1) if value is None else zigzag(len(value)) + value

    body = b"\0" + zigzag(record.timestamp - base_timestamp) + zigzag(record.offset - base_offset)
    body += encode_field(record.key) + encode_field(record.value) + zigzag(len(record.headers))
    for key, value in record.headers:
        body += encode_field(key.encode("utf-8", "surrogateescape")) + encode_field(value)
    return zigzag(len(body)) + body


def batch_of(records: Iterable[ModelRecord], **fields: int) -> ModelBatch:
    """An uncompressed batch of `records`, their first offset and timestamp being the bases."""
    listed = list(records)
    base_offset, base_timestamp = fields.get("base_offset", listed[0].offset), listed[0].timestamp
    batch = ModelBatch(
        base_offset=base_offset,
        last_offset_delta=listed[-1].offset - base_offset,
        base_timestamp=base_timestamp,
        max_timestamp=max(record.timestamp for record in listed),
        record_count=len(listed),
        body=b"".join(encode_record(record, base_offset, base_timestamp) for record in listed),
    )
    return replace(batch, **fields)


def parse_header(data: bytes) -> ModelBatch:
    if len(data) < HEADER.size:
        raise Refused("truncated")
    base_offset, length, *rest = HEADER.unpack_from(data)
    if length < 49 or length > 0x7FFFFFFF - 12:
        raise Refused("corrupt")
    return ModelBatch(base_offset, length + 12, *rest)


def validate(data: bytes, maximum_size: int = 0x7FFFFFFF) -> ModelBatch:
    """Every rule in the order that batch.pxd gives."""
    batch = parse_header(data)
    if batch.size > maximum_size:
        raise Refused("too large")
    if batch.size > len(data):
        raise Refused("truncated")
    if batch.magic != 2:
        raise Refused("invalid")
    if crc32c(data[21 : batch.size]) != batch.crc:
        raise Refused("corrupt")
    body_size = batch.size - HEADER.size
    if batch.attributes & ~0x7F:
        raise Refused("invalid")
    if batch.attributes & 7 > 4:
        raise Refused("codec")
    if batch.record_count < 1 or batch.record_count != batch.last_offset_delta + 1 or body_size == 0:
        raise Refused("invalid")
    if batch.attributes & 7 == 0 and batch.record_count * 7 > body_size:
        raise Refused("invalid")
    if batch.base_timestamp < -1 or batch.max_timestamp < -1:
        raise Refused("timestamp")
    if batch.producer_id < -1 or (batch.producer_id == -1 and batch.attributes & 0x10):
        raise Refused("invalid")
    if batch.producer_id >= 0 and (
        batch.producer_epoch < 0 or (batch.base_sequence < 0 and not batch.attributes & 0x20)
    ):
        raise Refused("invalid")
    return batch


def read_record(source: Bytes, batch: ModelBatch) -> ModelRecord:
    size = source.varint(32)
    if size < 6:
        raise Refused("malformed")
    body = Bytes(source.take(size))
    body.take(1)
    timestamp = batch.base_timestamp + body.varint(64)
    delta = body.varint(32)
    key, value = body.field(), body.field()
    headers = []
    for _ in range(header_count(body)):
        name = body.field()
        if name is None:
            raise Refused("malformed")
        headers.append((name.decode("utf-8", "surrogateescape"), body.field()))
    if body.position != size or not 0 <= delta <= batch.last_offset_delta or not -(1 << 63) <= timestamp < 1 << 63:
        raise Refused("malformed")
    if batch.attributes & 8:
        timestamp = batch.max_timestamp
    return ModelRecord(batch.base_offset + delta, timestamp, key, value, tuple(headers))


def header_count(body: Bytes) -> int:
    count = body.varint(32)
    if count < 0:
        raise Refused("malformed")
    return count


def read_records(data: bytes) -> list[ModelRecord]:
    """The records of one uncompressed batch; its CRC is not looked at."""
    batch = parse_header(data)
    if batch.size > len(data):
        raise Refused("truncated")
    if batch.magic != 2:
        raise Refused("invalid")
    if batch.attributes & 7 > 4:
        raise Refused("codec")
    if batch.record_count < 0 or batch.last_offset_delta < 0 or batch.base_offset < 0:
        raise Refused("malformed")
    if batch.base_offset + batch.last_offset_delta + 1 >= 1 << 63:
        raise Refused("malformed")
    source = Bytes(data[HEADER.size : batch.size])
    if batch.record_count * 7 > len(source.data):
        raise Refused("truncated")
    records = [read_record(source, batch) for _ in range(batch.record_count)]
    if source.position != len(source.data):
        raise Refused("malformed")
    return records


def record_attributes(data: bytes) -> list[int]:
    """The attributes byte of each record of one whole, uncompressed batch. Nothing uses it, and nobody checks it."""
    source = Bytes(data[HEADER.size :])
    return [source.take(source.varint(32))[0] for _ in range(parse_header(data).record_count)]
