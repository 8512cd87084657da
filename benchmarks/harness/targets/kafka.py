"""Apache Kafka, one node in KRaft mode, from its Maven Central jars and with the settings of its own start script."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.cache import cache_folder
from benchmarks.harness.errors import HarnessError
from benchmarks.harness.process import Child
from benchmarks.harness.targets.base import Target
from benchmarks.harness.wire import free_port
from benchmarks.harness.workload import Workload

VERSION = os.environ.get("PYSTREAM_BENCH_KAFKA", "4.4.0")
DOWNLOAD_TIMEOUT_S = 600
# kafka-run-class.sh and kafka-server-start.sh, word for word in meaning
JVM = (
    "-server",
    "-Xms1G",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
)
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>bench</groupId> <artifactId>kafka</artifactId> <version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId> <artifactId>kafka_2.13</artifactId> <version>{version}</version>
  </dependency></dependencies>
</project>
"""
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/logs
num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
file.delete.delay.ms=1000
"""


def jars() -> Path:
    """The folder of Kafka's jars in the cache, fetched by Maven the first time."""
    folder = cache_folder(f"kafka-{VERSION}")
    libraries = folder / "libs"
    if (libraries / f"kafka_2.13-{VERSION}.jar").exists():
        return libraries
    if shutil.which("mvn") is None:
        raise HarnessError("Apache Kafka needs mvn once, to fetch its jars")
    (folder / "pom.xml").write_text(POM.format(version=VERSION))
    command = [
        "mvn",
        "-q",
        "-B",
        "-f",
        str(folder / "pom.xml"),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={libraries}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S)
    if done.returncode != 0:
        raise HarnessError(f"Maven does not fetch Kafka {VERSION}: {done.stdout[-1000:]}")
    return libraries


def java() -> str:
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if found is None:
        raise HarnessError("Apache Kafka needs Java 17: set JAVA_HOME or put java on PATH")
    return found


class Kafka(Target):
    name, title = "kafka", "Apache Kafka"
    compiles_itself = True

    def version(self) -> str:
        shown = subprocess.run([java(), "-version"], capture_output=True, text=True, timeout=30).stderr.splitlines()
        jars()
        return f"Apache Kafka {VERSION}, KRaft, {shown[0] if shown else 'Java'}, heap 1 GiB, G1"

    def prepare(self) -> None:
        properties = self.folder / "server.properties"
        properties.write_text(PROPERTIES.format(port=self.port, controller_port=free_port(), folder=self.folder))
        command = [java(), "-Xmx256M", "-cp", f"{jars()}/*", "kafka.tools.StorageTool", "format"]
        command += ["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(properties)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise HarnessError(f"Kafka's storage is not formatted: {(done.stdout + done.stderr)[-1000:]}")

    def launch(self) -> Child:
        command = [java(), *JVM, "-cp", f"{jars()}/*", "kafka.Kafka", str(self.folder / "server.properties")]
        return Child(command, log=self.folder / "log")

    def topic_config(self, workload: Workload) -> Mapping[str, str]:
        return {"flush.messages": "1"} if workload.durable else {}
