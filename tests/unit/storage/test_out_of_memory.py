"""What a log does when memory runs out: it refuses, and what it has is as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# A realloc() put before the C library's own, which has nothing of one size.
REFUSE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
size_t refused_size;
void *realloc(void *old, size_t size) {
    static void *(*real)(void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "realloc");
    return refused_size && size == refused_size ? 0 : real(old, size);
}
"""
ENTRIES = 4 * 32  # bytes that the first aborted transaction of a segment takes in memory
EPOCHS = 2 * 16  # what the first leader epoch of a log takes
MARKER = f"""
import ctypes, sys
from pystream._native.local_log import LocalLog
from tests.unit.storage.batches import batch, marker
refused_size = ctypes.c_size_t.in_dll(ctypes.CDLL(sys.argv[2]), "refused_size")
log = LocalLog.open(sys.argv[1], flush_policy="os")
log.append(batch(1, producer_id=9, epoch=0, sequence=0, transactional=True))
abort = marker(9, 0, commit=False)
refused_size.value = {ENTRIES}
try:
    log.append(abort)
except MemoryError:
    print("refused", end=" ")
refused_size.value = 0
print(log.end_offset, log.aborted_transactions(offset=0, limit_offset=9), end=" ")
log.append(abort)
print(log.end_offset, log.aborted_transactions(offset=0, limit_offset=9))
log.close()
"""

EPOCH = f"""
import ctypes, sys
from pystream._native.local_log import LocalLog
from tests.unit.storage.batches import batch
refused_size = ctypes.c_size_t.in_dll(ctypes.CDLL(sys.argv[2]), "refused_size")
log = LocalLog.open(sys.argv[1], flush_policy="os")
refused_size.value = {EPOCHS}
try:
    log.append(batch(1), leader_epoch=7)
except MemoryError:
    print("refused", end=" ")
refused_size.value = 0
print(log.end_offset, log.leader_epochs, end=" ")
log.append(batch(1), leader_epoch=7)
print(log.end_offset, log.leader_epochs)
log.close()
"""


def run(script: str, tmp_path: Path) -> tuple[str, str]:
    """What `script` says, with a realloc() of its own: (stdout, stderr)."""
    (tmp_path / "refuse.c").write_text(REFUSE)
    refuse = tmp_path / "refuse.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(refuse), str(tmp_path / "refuse.c"), "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "log"), str(refuse)],
        env={**os.environ, "LD_PRELOAD": str(refuse), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.stdout, done.stderr


@pytest.mark.unsanitized
def test_a_marker_whose_aborted_transaction_finds_no_memory_is_not_written(tmp_path: Path):
    assert run(MARKER, tmp_path) == ("refused 1 [] 2 [(9, 0)]\n", "")


@pytest.mark.unsanitized
def test_a_batch_whose_leader_epoch_finds_no_memory_is_not_written(tmp_path: Path):
    assert run(EPOCH, tmp_path) == ("refused 0 [] 1 [(7, 0)]\n", "")
