"""A FastStream application, unchanged, on the broker: produce, transform, consume; nothing lost, nothing twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ORDERS = 500
EXPECTED = f"{ORDERS} {ORDERS} {sum(number % 7 * 2 for number in range(ORDERS))}"
APPLICATION_SECONDS = 270


@pytest.mark.parametrize(
    ("flavour", "runner"),
    [
        pytest.param("confluent", [], id="confluent-kafka"),
        pytest.param("kafka", [], id="aiokafka"),
        pytest.param("confluent", [HERE / "compat/run_as.py", "confluent_kafka"], id="pystream.compat.confluent_kafka"),
    ],
)
def test_a_faststream_application_transforms_every_order_once(
    flavour: str, runner: list[str | Path], bootstrap: str, new_topic: Callable[..., str]
) -> None:
    topics = [new_topic(f"faststream-{kind}", partitions=3) for kind in ("orders", "totals")]
    done = subprocess.run(
        [sys.executable, *runner, HERE / "faststream_totals.py", flavour, bootstrap, *topics, str(ORDERS)],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        timeout=APPLICATION_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-3_000:]
    assert done.stdout.splitlines()[-1] == EXPECTED
