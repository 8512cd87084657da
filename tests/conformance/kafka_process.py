"""Apache Kafka itself, one KRaft node from Maven Central's jars: the ceiling, and a writer of logs to open.

with KafkaProcess(tmp_path / "kafka") as broker:
    Producer({"bootstrap.servers": broker.bootstrap})
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka.admin import AdminClient

from tests.conformance import java
from tests.support import ports

CLUSTER_ID = "pystream-conformanceAA"
READY_SECONDS = 180  # seconds on an idle machine; a loaded one needs minutes
STOP_SECONDS = 60


class KafkaProcess:
    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None, *, plugins: Path | None = None) -> None:
        """`plugins`: a folder of classes that the settings name."""
        self.folder = folder
        self._plugins = plugins
        self.log_dir = folder / "log"
        port, controller_port = ports.port_for(self), ports.port_for(self)
        self.bootstrap = f"127.0.0.1:{port}"
        self._settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.log_dir),
            "num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> KafkaProcess:
        self.folder.mkdir(parents=True)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self._settings.items()))
        path = java.class_path() if self._plugins is None else f"{self._plugins}:{java.class_path()}"
        run = [*java.command(), "-cp", path]
        form = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
        subprocess.run([*run, *form], check=True, capture_output=True, timeout=READY_SECONDS)
        with open(self.folder / "kafka.out", "wb") as output:
            self._process = subprocess.Popen(
                [*run, "kafka.Kafka", str(properties)], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(timeout=READY_SECONDS)
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def kill(self) -> None:
        """kill -9: no clean-shutdown mark, indexes at their preallocated size. Harmless when stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """A clean stop: Kafka then leaves its clean-shutdown mark and producer snapshots. Harmless when stopped."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            self.kill()
