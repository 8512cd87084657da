"""pystream of this checkout: the broker command in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.process import Child
from benchmarks.harness.targets.base import Target
from benchmarks.harness.wire import free_port
from benchmarks.harness.workload import Workload

ROOT = Path(__file__).resolve().parents[3]
ENTRY = "import sys; from pystream.cli.main import main; sys.exit(main())"
# Broker settings to try, `key=value` pairs parted by blanks.
EXTRA = os.environ.get("PYSTREAM_BENCH_SET", "").split()


class Pystream(Target):
    name, title = "pystream", "pystream"

    def version(self) -> str:
        git = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True
        )
        python = sys.version.split()[0]
        return f"pystream {git.stdout.strip() or 'of this folder'}, Python {python}" + (
            f", {' '.join(EXTRA)}" if EXTRA else ""
        )

    def launch(self) -> Child:
        command = [sys.executable, "-c", ENTRY, "broker", "--data-dir", str(self.folder / "data")]
        command += ["--listener", f"PLAINTEXT://127.0.0.1:{self.port}"]
        command += ["--set", f"metrics.listener=http://127.0.0.1:{free_port()}"]
        command += ["--set", "group.initial.rebalance.delay.ms=0"]  # as in Kafka's example settings
        for setting in EXTRA:
            command += ["--set", setting]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        return Child(command, log=self.folder / "log", environment={"PYTHONPATH": path})

    def topic_config(self, workload: Workload) -> Mapping[str, str]:
        return {"flush.policy": "group" if workload.durable else "os"}
