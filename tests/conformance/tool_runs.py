"""Kafka's tools and ours run with the same words, and what they said side by side.

with KafkaTools() as kafka:
    theirs = kafka.run(Run("kafka-get-offsets", ("--bootstrap-server", bootstrap)))
    ours = run_ours(Run(...))
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import pytest

from pystream.cli.main import main
from tests.conformance import java

TOOLS = "org.apache.kafka.tools"
CLASSES = {
    "kafka-acls": f"{TOOLS}.AclCommand",
    "kafka-broker-api-versions": f"{TOOLS}.BrokerApiVersionsCommand",
    "kafka-client-metrics": f"{TOOLS}.ClientMetricsCommand",
    "kafka-cluster": f"{TOOLS}.ClusterTool",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": f"{TOOLS}.consumer.ConsoleConsumer",
    "kafka-console-producer": f"{TOOLS}.ConsoleProducer",
    "kafka-console-share-consumer": f"{TOOLS}.consumer.ConsoleShareConsumer",
    "kafka-consumer-groups": f"{TOOLS}.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": f"{TOOLS}.ConsumerPerformance",
    "kafka-delegation-tokens": f"{TOOLS}.DelegationTokenCommand",
    "kafka-delete-records": f"{TOOLS}.DeleteRecordsCommand",
    "kafka-dump-log": "kafka.tools.DumpLogSegments",
    "kafka-e2e-latency": f"{TOOLS}.EndToEndLatency",
    "kafka-features": f"{TOOLS}.FeatureCommand",
    "kafka-get-offsets": f"{TOOLS}.GetOffsetShell",
    "kafka-groups": f"{TOOLS}.GroupsCommand",
    "kafka-leader-election": f"{TOOLS}.LeaderElectionCommand",
    "kafka-log-dirs": f"{TOOLS}.LogDirsCommand",
    "kafka-metadata-quorum": f"{TOOLS}.MetadataQuorumCommand",
    "kafka-producer-perf-test": f"{TOOLS}.ProducerPerformance",
    "kafka-reassign-partitions": f"{TOOLS}.reassign.ReassignPartitionsCommand",
    "kafka-replica-verification": f"{TOOLS}.ReplicaVerificationTool",
    "kafka-share-consumer-perf-test": f"{TOOLS}.ShareConsumerPerformance",
    "kafka-share-groups": f"{TOOLS}.consumer.group.ShareGroupCommand",
    "kafka-storage": "kafka.tools.StorageTool",
    "kafka-streams-application-reset": f"{TOOLS}.StreamsResetter",
    "kafka-streams-groups": f"{TOOLS}.streams.StreamsGroupCommand",
    "kafka-topics": f"{TOOLS}.TopicCommand",
    "kafka-transactions": f"{TOOLS}.TransactionsCommand",
    "kafka-verifiable-consumer": f"{TOOLS}.VerifiableConsumer",
    "kafka-verifiable-producer": f"{TOOLS}.VerifiableProducer",
}
TRACES = (
    r"(?:java|org|joptsimple)[\w.]+(?:Exception|Error)(?:: |$)",
    r"\s+at [\w.$/<>]+\(",
    r"Bootstrap metadata: ",  # of Kafka's own metadata log, from kafka-storage
    r"Caused by: |\s*\.\.\. \d+ more$",
)


@dataclass(frozen=True, slots=True)
class Run:
    """A tool with its words. MINE in them is the topic, group or the like that only one side touches."""

    tool: str
    words: tuple[str, ...]
    stdin: str = ""

    def on(self, side: str) -> Run:
        words = tuple(word.replace("MINE", side) for word in self.words)
        return replace(self, words=words, stdin=self.stdin.replace("MINE", side))

    def __str__(self) -> str:
        return " ".join((self.tool, *self.words))


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a run."""

    code: int
    out: str
    err: str

    def lines(self, *, sides: tuple[str, str] = ("", ""), drop: tuple[str, ...] = ()) -> list[str]:
        """Of standard output, sorted: Kafka's come from hash maps. Stack traces and what `drop` finds are left out."""
        text = self.out
        for side in filter(None, sides):
            text = text.replace(side, "MINE")
        told = [line for line in text.splitlines() if not _of_a_trace(line)]
        if self.code:  # a trace has an empty line behind it
            told = list(filter(None, told))
        kept = list(map(_canonical, told))
        for pattern in drop:
            kept = [re.sub(pattern, "…", line) for line in kept]
        return sorted(kept)

    def complaint(self) -> str:
        """The first line of standard error that the tool wrote itself, without names of Java's classes."""
        lines = (line.strip() for line in self.err.splitlines())
        first = next((line for line in lines if line and not line.startswith("SLF4J:")), "")
        if first.startswith("usage:"):  # argparse and its Java twin word mistakes differently
            return "usage:"
        return re.sub(r"\b(?:java|org|joptsimple)\.[\w.]+(?:Exception|Error): ", "", first)


def _canonical(line: str) -> str:
    """JSON with its objects and lists in order, which hash maps have not."""
    try:
        return json.dumps(_sorted(json.loads(line)), sort_keys=True) if line.startswith("{") else line
    except ValueError:
        return line


def _sorted(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _sorted(each) for key, each in found.items()}
    return sorted(map(_sorted, found), key=json.dumps) if isinstance(found, list) else found


def _of_a_trace(line: str) -> bool:
    return any(re.match(pattern, line) for pattern in TRACES)


class KafkaTools:
    """Kafka's tools in one Java process."""

    def __enter__(self) -> KafkaTools:
        path = f"{java.compiled('KafkaTools')}:{java.class_path()}"
        command = [*java.command(), "-Djava.security.manager=allow", "-cp", path, "KafkaTools"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return self

    def run(self, run: Run) -> Said:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        case = {"class": CLASSES[run.tool], "arguments": list(run.words), "stdin": run.stdin}
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{run}: Kafka's tool took the process with it"
        return Said(**json.loads(line))

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@contextlib.contextmanager
def _streams(stdin: str) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    out, err = io.BytesIO(), io.BytesIO()
    texts = [io.TextIOWrapper(each, encoding="utf-8", write_through=True) for each in (out, err)]
    source = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    with mock.patch.multiple(sys, stdin=source, stdout=texts[0], stderr=texts[1]):
        yield out, err
    for text in texts:
        with contextlib.suppress(ValueError):
            text.detach()


def run_ours(run: Run) -> Said:
    """Our tool, in this process."""
    with _streams(run.stdin) as (out, err), pytest.raises(SystemExit) as stopped:
        main([run.tool, *run.words])
    code = stopped.value.code
    assert isinstance(code, int)
    return Said(code, out.getvalue().decode(), err.getvalue().decode())
