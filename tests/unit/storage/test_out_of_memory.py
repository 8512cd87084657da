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
SCRIPT = f"""
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


@pytest.mark.unsanitized
def test_a_marker_whose_aborted_transaction_finds_no_memory_is_not_written(tmp_path: Path):
    (tmp_path / "refuse.c").write_text(REFUSE)
    refuse = tmp_path / "refuse.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(refuse), str(tmp_path / "refuse.c"), "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "log"), str(refuse)],
        env={**os.environ, "LD_PRELOAD": str(refuse), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("refused 1 [] 2 [(9, 0)]\n", "")
