"""The small files of a log.  Input: one byte that says which file, then its contents.

0 .index   1 .timeindex   2 .txnindex   3 leader-epoch-checkpoint   4 .snapshot   5 .snapshot with its CRC made right
6 offset checkpoint, partition.metadata, run-state and meta.properties, as the log manager reads them
"""

from __future__ import annotations

import itertools
import os
import struct
import tempfile
from pathlib import Path

from pystream._native.crc32c import crc32c
from pystream._native.leader_epochs import decode_leader_epochs
from pystream._native.offset_index import decode_offset_index, decode_time_index
from pystream._native.producer_state import decode_producer_snapshot
from pystream._native.txn_index import decode_txn_index
from pystream.storage.checkpoints import RunState, read_offsets, read_properties, read_topic_id

LOG_SIZE = 1 << 20
LAST_OFFSET = 1 << 20
_memory = "/dev/shm"
_scratch = Path(tempfile.mkdtemp(prefix="fuzz-files-", dir=_memory if os.access(_memory, os.W_OK) else None))


def seeds() -> list[bytes]:
    offsets = b"".join(struct.pack(">ii", 10 * n, 4096 * n) for n in range(8))
    times = b"".join(struct.pack(">qi", 1_000 + n, 10 * n) for n in range(8))
    aborted = b"".join(struct.pack(">hqqqq", 0, 7, 20 * n, 20 * n + 5, 20 * n + 6) for n in range(4))
    entries = b"".join(struct.pack(">qhiqiqiq", 5 + n, 0, 9, 19, 9, 1_000, -1, -1) for n in range(3))
    body = struct.pack(">i", 3) + entries
    snapshot = struct.pack(">hI", 1, crc32c(body)) + body
    texts = (
        b"0\n2\norders 0 5\norders 1 0\n",
        b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw\n",
        b"version 0\nboot-id x\nruns 1\nclean 1\ncrc32c 00000000\n",
        b"#\nversion=1\ncluster.id=abc\n",
    )
    files = [offsets, times, aborted, b"0\n2\n1 0\n4 17\n", snapshot, snapshot]
    return [bytes([kind]) + data for kind, data in enumerate(files)] + [b"\x06" + text for text in texts]


def check(data: bytes) -> None:
    if not data:
        return
    kind, content = data[0] % 7, data[1:]
    if kind == 0:
        found = decode_offset_index(content, log_size=LOG_SIZE, last_relative_offset=LAST_OFFSET)
        if found is not None:
            assert b"".join(struct.pack(">ii", *entry) for entry in found) == content
            for before, after in itertools.pairwise(found):
                assert before[0] < after[0] <= LAST_OFFSET
                assert before[1] < after[1] < LOG_SIZE
    elif kind == 1:
        found = decode_time_index(content, last_relative_offset=LAST_OFFSET)
        if found is not None:
            assert b"".join(struct.pack(">qi", *entry) for entry in found) == content
            assert all(before[0] < after[0] for before, after in itertools.pairwise(found))
    elif kind == 2:
        aborted = decode_txn_index(content)
        if aborted is not None:
            assert b"".join(struct.pack(">hqqqq", 0, *entry) for entry in aborted) == content
    elif kind == 3:
        epochs = decode_leader_epochs(content)
        if epochs is not None:
            assert all(before[0] < after[0] for before, after in itertools.pairwise(epochs))
    elif kind == 6:
        check_text_files(content)
    else:
        check_snapshot(content, mend=kind == 5)


def check_snapshot(content: bytes, *, mend: bool) -> None:
    if mend and len(content) > 6:
        content = content[:2] + struct.pack(">I", crc32c(content[6:])) + content[6:]
    producers = decode_producer_snapshot(content)
    if producers is not None:
        assert len(content) == 10 + 46 * len(producers)
        assert len({producer[0] for producer in producers}) == len(producers)


def check_text_files(content: bytes) -> None:
    path = _scratch / "partition.metadata"
    path.write_bytes(content)
    assert all(offset >= 0 for offset in read_offsets(path).values())
    topic_id = read_topic_id(_scratch)
    assert topic_id is None or len(topic_id) == 16
    read_properties(path)
    RunState.read(path)
