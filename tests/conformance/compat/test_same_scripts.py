"""The same script on the real library and on pystream's face of it, against one broker: they print the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.compat.run_as import FACES

HERE = Path(__file__).parent
SCRIPTS = sorted(path.relative_to(HERE / "scripts") for path in HERE.glob("scripts/*/*.py"))
SCRIPT_SECONDS = 140


def run(command: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *command],
        env=environment,
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-3_000:]
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_a_script_prints_the_same_on_the_real_library_and_on_pystreams_face(
    script: Path, bootstrap: str, new_topic: Callable[..., str]
) -> None:
    package = script.parts[0]
    assert package in FACES
    printed = []
    for command in ([], [str(HERE / "run_as.py"), package]):
        topic = new_topic(f"same-{script.stem}", partitions=2)
        out = run([*command, str(HERE / "scripts" / script), bootstrap, topic])
        printed.append(out.replace(topic, "TOPIC").splitlines())
    assert len(printed[0]) > 3
    assert printed[1] == printed[0]
