"""Recovery of a whole directory.  Input: one byte of options, then the bytes of the active segment.

bit 0 lossy   1 clean   2 recovery point   3 compacted   4 CRCs are made right where a header can be read
5 a closed segment comes before   6 an index from the tail of the input   7 LogAppendTime

Whatever lies there: what is served afterwards are whole batches in order; damage is never cut; a log that is not
offline takes a batch and gives it back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
from pathlib import Path

from pystream._native.crc32c import crc32c
from pystream._native.local_log import LocalLog
from pystream._native.log_recovery import DAMAGE
from pystream._native.record_builder import RecordBatchBuilder
from pystream.common.errors import KafkaStorageError

_memory = "/dev/shm"
_scratch = Path(tempfile.mkdtemp(prefix="fuzz-log-", dir=_memory if os.access(_memory, os.W_OK) else None))
FIRST = 4  # offset at which the active segment begins when another comes before


def build(base: int, count: int, **rest: int | bool) -> bytes:
    builder = RecordBatchBuilder(base_offset=base, partition_leader_epoch=1, **rest)
    for number in range(count):
        builder.append(b"value", timestamp=1_000 + number)
    return builder.build()


def seeds() -> list[bytes]:
    plain = build(0, 2) + build(2, 1) + build(3, 2)
    producer = {"producer_id": 5, "producer_epoch": 0}
    idempotent = build(0, 2, **producer, base_sequence=0) + build(2, 2, **producer, base_sequence=2)
    marker = RecordBatchBuilder(base_offset=2, partition_leader_epoch=1, **producer, transactional=True, control=True)
    marker.append(struct.pack(">hi", 0, 0), key=struct.pack(">hh", 0, 0), timestamp=1_000)
    aborted = build(0, 2, **producer, base_sequence=0, transactional=True) + marker.build()
    following = build(FIRST, 2) + build(FIRST + 2, 1)
    inputs = [
        bytes([options]) + data for data in (plain, idempotent, aborted) for options in (0, 1, 2, 4, 8, 0x10, 0x40)
    ]
    inputs += [bytes([options]) + following for options in (0x20, 0x21, 0x30)]
    return [*inputs, b"\x00" + plain[:-20], b"\x01" + plain + bytes(40)]


def mended(data: bytes) -> bytes:
    """The bytes with the CRC of every batch that its length reaches made right."""
    found = bytearray(data)
    position = 0
    while position + 61 <= len(found):
        size = struct.unpack_from(">i", found, position + 8)[0] + 12
        if size < 61 or position + size > len(found):
            break
        struct.pack_into(">I", found, position + 17, crc32c(bytes(found[position + 21 : position + size])))
        position += size
    return bytes(found)


def check(data: bytes) -> None:
    if not data:
        return
    options, content = data[0], data[1:]
    folder = _scratch / "t-0"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(_scratch / "lost+found", ignore_errors=True)
    folder.mkdir()
    base = FIRST if options & 0x20 else 0
    if base:
        (folder / f"{0:020d}.log").write_bytes(build(0, FIRST))
    if options & 0x40 and len(content) >= 16:
        (folder / f"{base:020d}.index").write_bytes(content[-16:])
        content = content[:-16]
    content = mended(content) if options & 0x10 else content
    file = folder / f"{base:020d}.log"
    file.write_bytes(content)
    log = LocalLog.open(
        str(folder),
        lossy=bool(options & 1),
        clean=bool(options & 2),
        recovery_point=FIRST if options & 4 else 0,
        compacted=bool(options & 8),
        log_append_time=bool(options & 0x80),
        index_interval_bytes=64,
    )
    try:
        check_recovered(log, file, content, scanned=not options & 6)
    finally:
        log.close(clean=False)


def check_recovered(log: LocalLog, file: Path, content: bytes, *, scanned: bool) -> None:
    verdicts = [found[-1] for found in log.recovery["verdicts"]]
    if DAMAGE in verdicts:
        assert log.is_offline
        assert file.read_bytes() == content
    if scanned:
        check_reads(log)
    else:
        check_reads_of_what_was_not_scanned(log)
    log.offset_for_timestamp(1_001)
    log.offset_of_max_timestamp()
    if not log.is_offline:
        epoch = max(log.latest_leader_epoch, 0)
        end = log.end_offset
        answer = log.append(build(0, 1), leader_epoch=epoch, now_ms=2_000)
        assert answer[0][:2] == (0, end)
        assert struct.unpack_from(">q", log.read(offset=end))[0] == end


def check_reads(log: LocalLog) -> None:
    """Every batch in order, up to damage at the most."""
    offset = log.start_offset
    for _ in range(200):
        try:
            data = log.read(offset=offset, max_bytes=300)
        except KafkaStorageError:
            assert log.is_offline
            return
        if not data:
            break
        position = 0
        while position < len(data):
            base, length = struct.unpack_from(">qi", data, position)
            size = length + 12
            assert position + size <= len(data)
            last = base + struct.unpack_from(">i", data, position + 23)[0]
            assert last >= offset
            offset = last + 1
            position += size


def check_reads_of_what_was_not_scanned(log: LocalLog) -> None:
    """Damage below the recovery point is for the reader's CRC check to find: here only that nothing breaks."""
    for offset in range(log.start_offset, min(log.end_offset, log.start_offset + 20)):
        with contextlib.suppress(KafkaStorageError):
            log.read(offset=offset, max_bytes=300)
