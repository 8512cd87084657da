"""What the shell does to a command: streams that are closed, no terminal, a narrow one, words that are no text."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from pystream.cli.main import main
from tests.integration.cli.conftest import Command, Produce, fresh
from tests.support.broker_process import ROOT, BrokerProcess
from tests.support.terminal import Terminal

SECONDS = 60
PROGRAM = [sys.executable, "-m", "pystream.cli.main"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
Shell = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = pytest.mark.unsanitized


@pytest.fixture
def shell(broker: BrokerProcess) -> Shell:
    """A line for the shell, in which `pystream` is the program and BROKER its cluster."""

    def run(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        line = line.replace("BROKER", broker.bootstrap)
        script = f'pystream() {{ {shlex.join(PROGRAM)} "$@"; }}\n{line}'
        return subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            env={**ENVIRONMENT, **environment},
            timeout=SECONDS,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    "line",
    [
        "pystream topics list -b BROKER >&-",
        "pystream topics list -b BROKER --json >&-",
        "pystream cluster brokers -b BROKER >&- 2>&- <&-",
        "pystream consume TOPIC -e -q -b BROKER >&-",
        "pystream produce TOPIC -b BROKER <&-",
        "pystream kafka-topics --bootstrap-server BROKER --list >&-",
        "pystream kafka-console-producer --bootstrap-server BROKER --topic TOPIC <&-",
        "pystream kafka-broker-api-versions --bootstrap-server BROKER >&- <&-",
    ],
)
def test_a_stream_that_is_closed_takes_and_gives_nothing(shell: Shell, pystream: Command, line: str):
    topic = fresh("closed")
    pystream("topics", "create", topic)

    done = shell(line.replace("TOPIC", topic))

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("pystream apply -f - -b BROKER <&-", b"expected an object"),
        ("pystream apply -f - -b BROKER </dev/null", b"pystream apply: line 1: the file: expected an object"),
        (r"pystream topics describe $'\xff' -b BROKER", b"no UTF-8 text"),
        (r"pystream groups describe $'\xff' -b BROKER", b"no UTF-8 text"),
        (r"pystream consume $'\xff' -b BROKER", b"no UTF-8 text"),
        ("pystream topics create x --partitions 99999999999 -b BROKER", b"larger than"),
        ("pystream topics create x --replication-factor 99999 -b BROKER", b"larger than"),
        ("pystream topics list -b BROKER --timeout inf", b"--timeout"),
        ("pystream topics list -b BROKER --timeout nan", b"--timeout"),
        ("pystream topics list -b BROKER --timeout 1e300", b"--timeout"),
        ("pystream topics list -b BROKER -X request.timeout.ms=abc", b"request.timeout.ms"),
        ("pystream topics list -b BROKER --json -o csv", b"one of --json and -o csv"),
        ("pystream topics list -b ''", b"bootstrap.servers"),
        ("pystream topics list -b localhost:99999", b"host:port"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_code_two(shell: Shell, line: str, complaint: bytes):
    done = shell(line)

    said = done.stderr.split(b"\n\n")[-1]  # behind click's usage
    assert (done.returncode, done.stdout) == (2, b"")
    assert complaint in said
    assert said.count(b"\n") == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (r"pystream kafka-topics --bootstrap-server BROKER --create --topic $'\xff'", b"no UTF-8 text"),
        ("pystream kafka-topics --bootstrap-server BROKER --create --topic x --partitions 99999999999", b"larger than"),
        ("pystream kafka-topics --bootstrap-server BROKER --describe --topic '['", b"invalid regex"),
        (r"pystream kafka-transactions --bootstrap-server BROKER describe --transactional-id $'\xff'", b"no UTF-8"),
    ],
)
def test_a_tool_of_kafkas_says_the_same_in_one_line_and_ends_with_one(shell: Shell, line: str, complaint: bytes):
    done = shell(line)

    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert complaint in said
    assert said.count(b"\n") == 1


COMMANDS = [
    "--help",
    "topics list --help",
    "completion bash",
    "topics list -b BROKER --json",
    "top --once -i 0.1 -b BROKER",
    "bench round-trip -n 1 -q -b BROKER",
    "kafka-topics --help",
    "kafka-topics --bootstrap-server BROKER --list",
    "kafka-configs --bootstrap-server BROKER --describe --all --broker 1",
    "kafka-broker-api-versions --bootstrap-server BROKER",
    "kafka-cluster cluster-id --bootstrap-server BROKER",
    "kafka-storage random-uuid",
]


@pytest.mark.parametrize("line", COMMANDS)
def test_whoever_goes_away_is_told_nothing_and_a_full_disk_is_one_line(broker: BrokerProcess, line: str):
    """With the shell's 141 of ours, and 0 of Kafka's tools, whose work is done: scripts pipe them into `grep -q`."""
    command = [*PROGRAM, *line.replace("BROKER", broker.bootstrap).split()]
    reading, writing = os.pipe()
    os.close(reading)

    with os.fdopen(writing, "w") as gone, open("/dev/full", "w") as full:
        unread, unwritten = (
            subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, check=False)
            for out in (gone, full)
        )

    assert (unread.returncode, unread.stderr) == (0 if line.startswith("kafka") else 141, "")
    assert unwritten.returncode == 1
    assert unwritten.stderr.endswith("No space left on device\n")
    assert unwritten.stderr.count("\n") == 1


def test_kafkas_tools_do_all_of_their_work_where_nobody_reads_of_it(broker: BrokerProcess, pystream: Command):
    topics = [fresh("unheard") for _ in range(3)]
    pystream("topics", "create", *topics)
    words = ["kafka-topics", "--bootstrap-server", broker.bootstrap, "--delete", "--topic", "|".join(topics)]
    reading, writing = os.pipe()
    os.close(reading)

    with os.fdopen(writing, "w") as gone:
        done = subprocess.run(
            [*PROGRAM, "kafka-console-producer", "--bootstrap-server", broker.bootstrap, "--topic", topics[0]],
            input=b"line\n",
            stdout=gone,
            env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
            check=False,
        )
        deleted = subprocess.run([*PROGRAM, *words], stdout=gone, env=ENVIRONMENT, check=False)

    assert (done.returncode, deleted.returncode) == (0, 0)
    assert not set(topics) & {row["name"] for row in pystream("topics", "list", "--json").json}


def test_a_name_that_the_output_cannot_write_is_escaped(shell: Shell, broker: BrokerProcess, pystream: Command):
    topic, stem = fresh("encoded"), fresh("group")
    pystream("topics", "create", topic)
    given = ("--topic", topic, "--to", "0", "--execute")
    assert pystream("groups", "reset-offsets", f"{stem}-é", *given).code == 0

    done = shell("pystream groups list -b BROKER -o name", PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (0, b"")
    assert f"{stem}-\\xe9" in done.stdout.decode().splitlines()


def test_a_table_on_a_narrow_terminal_keeps_every_name_whole_and_no_color_is_obeyed(
    broker: BrokerProcess, pystream: Command
):
    name = fresh("a-name-that-is-longer-than-the-terminal-is-wide")
    pystream("topics", "create", name)
    words = [*PROGRAM, "doctor", "--all", "-b", broker.bootstrap]

    words_of_one = ("topics", "describe", name, "-b", broker.bootstrap)
    with Terminal(*PROGRAM, *words_of_one, environment=ENVIRONMENT, columns=30) as narrow:
        lines = narrow.read_all().splitlines()
    with Terminal(*words, environment={**ENVIRONMENT, "NO_COLOR": "1"}) as plain:
        plain.read_all()
    with Terminal(*words, environment={**ENVIRONMENT, "NO_COLOR": ""}) as coloured:
        coloured.read_all()

    assert max(map(len, lines)) <= 30
    assert "".join(line.strip().removeprefix("name").strip() for line in lines).startswith(name)
    assert b"\x1b[3" not in plain.raw
    assert b"\x1b[3" in coloured.raw


def test_ctrl_c_ends_a_command_that_waits_with_130_and_nothing_said(broker: BrokerProcess, produce: Produce):
    topic = fresh("interrupted")
    produce(topic, 1)
    command = [*PROGRAM, "consume", topic, "-o", "beginning", "-b", broker.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)

    assert (process.returncode, b"Traceback" in err) == (130, False)


class Interrupted(io.RawIOBase):
    """Standard input that has one line; then the process is told to end."""

    def __init__(self) -> None:
        self._lines = [b"last words\n"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._lines:
            os.kill(os.getpid(), signal.SIGTERM)
            return 0
        line = self._lines.pop()
        buffer[: len(line)] = line
        return len(line)


@pytest.mark.parametrize(
    "words",
    [
        ("produce", "TOPIC", "-X", "linger.ms=3600000", "-b", "BROKER"),
        ("kafka-console-producer", "--bootstrap-server", "BROKER", "--topic", "TOPIC", "--timeout", "3600000"),
    ],
    ids=lambda words: words[0],
)
def test_what_was_typed_before_sigterm_is_written(
    broker: BrokerProcess, pystream: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
):
    topic = fresh("terminated")
    pystream("topics", "create", topic, "--partitions", "1")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Interrupted())))

    with pytest.raises(SystemExit) as stopped:
        main([word.replace("TOPIC", topic).replace("BROKER", broker.bootstrap) for word in words])

    assert stopped.value.code == 143
    assert pystream("consume", topic, "-e", "-q").out == "last words\n"


def test_the_topic_of_a_bench_goes_when_it_is_told_to_end(broker: BrokerProcess, pystream: Command):
    command = [*PROGRAM, "bench", "produce", "-q", "--rate", "1", "-b", broker.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        made = f"pystream-bench-{process.pid}-"
        while made not in (listed := pystream("topics", "list").out):
            assert process.poll() is None, listed
        process.terminate()
        said = process.communicate(timeout=SECONDS)

    assert (process.returncode, said) == (143, (b"", b""))
    assert made not in pystream("topics", "list").out


def test_a_bar_is_drawn_on_a_terminal_for_long_work_and_nowhere_else(shell: Shell, broker: BrokerProcess):
    words = ["bench", "produce", "-n", "20000", "-b", broker.bootstrap]

    with Terminal(*PROGRAM, *words, environment=ENVIRONMENT) as terminal:
        terminal.read_all()
    quiet = shell(f"pystream {shlex.join(words)}")

    assert b"produce" in terminal.raw
    assert "━".encode() in terminal.raw
    assert (quiet.returncode, quiet.stderr) == (0, b"")
