"""Millions of changed requests against the data plane's parsers, without Python in between; see PlaneProbe.hammer.

python -m tests.fuzz.hammer TARGET COUNT    on a build with PYSTREAM_SANITIZE=1; tools/check/fuzz --hammer calls it

Blind where libFuzzer looks at coverage, but two hundred times as fast; what libFuzzer has kept are its seeds too.
"""

from __future__ import annotations

import os
import sys

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


def main(name: str, count: int) -> None:
    seed = int.from_bytes(os.urandom(6), "big")
    print(f"{name}: seed {seed}", flush=True)
    seeds = inputs(name)
    accepted = refused = 0
    while accepted + refused < count:
        plane = Plane()  # new logs: fuzzing fills them
        once = plane.probe.hammer(name, seeds, *VERSIONS[name], min(ROUND, count - accepted - refused), seed)
        accepted, refused, seed = accepted + once[0], refused + once[1], seed + 2
    print(f"{name}: {accepted + refused} inputs, {accepted} accepted, {refused} refused, no fault")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
