"""Millions of changed inputs in a compiled loop: requests to the data plane (PlaneProbe), directories to recover.

python -m tests.fuzz.hammer TARGET COUNT [SEED]    with PYSTREAM_SANITIZE=1; tools/check/fuzz --hammer calls it

Blind where libFuzzer looks at coverage, but two hundred times as fast; what libFuzzer has kept are its seeds too.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time

from tests.fuzz import corpus
from tests.fuzz.plane import Plane

ROUND = 50_000
VERSIONS = {"produce": (3, 13), "fetch": (4, 18), "list_offsets": (1, 11)}


def inputs(name: str) -> list[tuple[int, bytes]]:
    """(version, body) of every seed and of what the corpus keeps."""
    first, last = VERSIONS[name]
    skip = 2 if name == "produce" else 1
    every = [*corpus.load(name).seeds(), *corpus.read(name)]
    return [(first + (data[0] & 127) % (last - first + 1), data[skip:]) for data in every if len(data) > skip]


def hammer_recovery(count: int, seed: int) -> None:
    """A line for each round: an input that ends the process is found by running its round again."""
    from tests.fuzz.recovery_probe import RecoveryProbe

    from tests.fuzz import recovery

    memory = "/dev/shm"
    folder = tempfile.mkdtemp(prefix="fuzz-recovery-", dir=memory if os.access(memory, os.W_OK) else None)
    probe = RecoveryProbe(f"{folder}/t-0", recovery.scenes(), recovery.batch(1))
    began = time.monotonic()
    for first in range(0, count, ROUND):
        probe.hammer(seed, first, min(ROUND, count - first))
        done = min(first + ROUND, count)
        rate = done / (time.monotonic() - began)
        memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(
            f"log_recovery: {done} inputs, {rate:.0f}/s; {probe.scanned} scanned, {probe.whole} found whole, "
            f"{probe.cut} cut, {probe.offline} damaged; slowest {probe.slowest_ms:.0f} ms, at most {memory_mib} MiB",
            flush=True,
        )
    shutil.rmtree(folder)
    print(f"log_recovery: {count} inputs of seed {seed}, no fault")


def main(name: str, count: int, seed: int) -> None:
    print(f"{name}: seed {seed}", flush=True)
    if name == "log_recovery":
        hammer_recovery(count, seed)
        return
    seeds = inputs(name)
    accepted = refused = 0
    while accepted + refused < count:
        plane = Plane()  # new logs: fuzzing fills them
        once = plane.probe.hammer(name, seeds, *VERSIONS[name], min(ROUND, count - accepted - refused), seed)
        accepted, refused, seed = accepted + once[0], refused + once[1], seed + 2
    print(f"{name}: {accepted + refused} inputs, {accepted} accepted, {refused} refused, no fault")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else int.from_bytes(os.urandom(6), "big"))
