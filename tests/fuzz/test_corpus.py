"""Every input that fuzzing found worth keeping is tried on every run, whole, cut short and with a bit flipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import corpus, plane, recovery

ROOT = Path(__file__).parents[2]
SECONDS = 120
FLIPS = 16
DIRECTORIES = 2_000
NEEDS_PROBE = ("fetch", "frames", "list_offsets", "produce")


def load(name: str) -> corpus.Target:
    if name in NEEDS_PROBE and not plane.is_built():
        pytest.skip(
            "the probe of the data plane is built with PYSTREAM_SANITIZE=1 only: tools/check/sanitize runs this"
        )
    return corpus.load(name)


@pytest.mark.parametrize("name", corpus.names())
def test_no_kept_input_breaks_a_target(name: str):
    target = load(name)
    inputs = [*target.seeds(), *corpus.read(name)]
    assert inputs
    for data in inputs:
        target.check(data)


def test_no_target_leaves_anything_open_when_the_process_ends():
    names = [name for name in corpus.names() if name not in NEEDS_PROBE]
    script = f"from tests.fuzz import corpus\nfor name in {names}: corpus.load(name).seeds()"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", corpus.names())
def test_no_damaged_seed_breaks_a_target(name: str):
    target = load(name)
    for data in target.seeds():
        for cut in range(0, len(data), max(1, len(data) // FLIPS)):
            target.check(data[:cut])
            damaged = bytearray(data)
            damaged[cut] ^= 1 << (cut % 8)
            target.check(bytes(damaged))


def test_no_directory_of_changed_files_breaks_recovery(tmp_path):
    if not plane.is_built():
        pytest.skip("the probe of recovery is built with PYSTREAM_SANITIZE=1 only: tools/check/sanitize runs this")
    from tests.fuzz.recovery_probe import RecoveryProbe

    probe = RecoveryProbe(str(tmp_path / "t-0"), recovery.scenes(), recovery.batch(1))
    probe.hammer(1, 0, DIRECTORIES)
    assert min(probe.scanned, probe.whole, probe.cut, probe.offline) > DIRECTORIES // 10


def test_no_kept_corpus_grows_without_limit():
    for name in corpus.names():
        inputs = corpus.read(name)
        assert len(inputs) <= corpus.LARGEST
        assert max(map(len, inputs), default=0) <= corpus.LARGEST_INPUT_BYTES
