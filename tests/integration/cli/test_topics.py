"""`pystream topics` against a broker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.integration.cli.conftest import Command, Produce, fresh
from tests.support.broker_process import BrokerProcess


def test_a_topic_is_created_listed_described_and_deleted(pystream: Command):
    name = fresh("orders")

    created = pystream("topics", "create", name, "--partitions", "3", "--config", "retention.ms=1000", "--json")
    assert (created.code, created.err) == (0, "")
    assert [(row["name"], row["partitions"]) for row in created.json] == [(name, 3)]
    assert created.json[0]["configs"] == {"retention.ms": "1000"}

    assert name in pystream("topics", "list", "-o", "name").out.splitlines()
    described = pystream("topics", "describe", name, "--offsets", "--json").json[0]
    assert described["topic_id"] == created.json[0]["topic_id"]
    assert described["configs"] == {"retention.ms": "1000"}
    assert [(each["partition"], each["leader"], each["end_offset"]) for each in described["partitions"]] == [
        (0, 1, 0),
        (1, 1, 0),
        (2, 1, 0),
    ]

    assert pystream("topics", "delete", name).code == 0
    assert name not in pystream("topics", "list", "-o", "name").out.splitlines()


def test_a_list_can_be_narrowed_by_a_pattern(pystream: Command):
    stem = fresh("narrow")
    pystream("topics", "create", f"{stem}.a", f"{stem}.b", f"{stem}.b.more")

    assert pystream("topics", "list", "--pattern", f"{stem}\\.[ab]", "-o", "name").out == f"{stem}.a\n{stem}.b\n"


def test_a_pattern_that_is_none_is_wrong_usage(pystream: Command):
    outcome = pystream("topics", "list", "--pattern", "(")

    assert outcome.code == 2
    assert "no regular expression" in outcome.err


def test_dry_runs_change_nothing(pystream: Command):
    name, other = fresh("dry"), fresh("dry")
    pystream("topics", "create", other)

    assert pystream("topics", "create", name, "--dry-run").code == 0
    assert "would be deleted" in pystream("topics", "delete", other, "--dry-run").out

    names = pystream("topics", "list", "-o", "name").out.splitlines()
    assert name not in names
    assert other in names


def test_one_topic_that_exists_does_not_keep_the_others_from_being_created(pystream: Command):
    name, other = fresh("twice"), fresh("twice")
    pystream("topics", "create", name)

    outcome = pystream("topics", "create", name, other, "-o", "name")

    assert (outcome.code, outcome.out) == (4, f"{other}\n")
    assert outcome.err.count("\n") == 1
    assert f"'{name}' already exists; choose another name, or say --if-not-exists" in outcome.err
    assert pystream("topics", "create", name, "--if-not-exists").code == 0


def test_what_is_not_there_is_exit_code_three_and_says_where_to_look(pystream: Command):
    name = fresh("nowhere")

    for verb in ("describe", "delete"):
        outcome = pystream("topics", verb, name)
        assert (outcome.code, outcome.out) == (3, "")
        assert name in outcome.err
        assert "`pystream topics list`" in outcome.err
    assert pystream("topics", "delete", name, "--if-exists").code == 0


@pytest.mark.parametrize(
    "arguments", [("bad name",), ("n", "--config", "no.such=1"), ("n", "--replication-factor", "3")]
)
def test_what_the_broker_finds_wrong_with_an_argument_is_exit_code_two(pystream: Command, arguments: tuple[str, ...]):
    outcome = pystream("topics", "create", *arguments)

    assert (outcome.code, outcome.out) == (2, "")
    assert "Traceback" not in outcome.err


def test_a_broker_that_is_not_there_is_exit_code_five(capsys: pytest.CaptureFixture[str]):
    from pystream.cli.main import main

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(SystemExit) as stopped:
            main(["topics", "list", "-b", address, "--timeout", "0.3"])

    captured = capsys.readouterr()
    assert (stopped.value.code, captured.out) == (5, "")
    assert address in captured.err
    assert "--bootstrap-server" in captured.err


def test_the_environment_says_where_the_cluster_is(broker: BrokerProcess, pystream: Command):
    name = fresh("environment")
    pystream("topics", "create", name)

    result = subprocess.run(
        [sys.executable, "-m", "pystream.cli.main", "topics", "list", "-o", "name"],
        env={"PYSTREAM_BOOTSTRAP_SERVERS": broker.bootstrap, "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )

    assert name in result.stdout.splitlines()


def test_settings_are_altered_and_taken_back(pystream: Command):
    name = fresh("alter")
    pystream("topics", "create", name, "--config", "segment.ms=60000")

    altered = pystream("topics", "alter", name, "--set", "retention.ms=5", "--unset", "segment.ms", "-o", "csv")
    assert (altered.code, altered.out) == (0, f'name,change\n{name},"set retention.ms=5, unset segment.ms"\n')
    assert pystream("topics", "describe", name, "--json").json[0]["configs"] == {"retention.ms": "5"}

    assert pystream("topics", "alter", name, "--set", "retention.ms=7", "--dry-run").code == 0
    assert pystream("topics", "alter", name, "--set", "retention.ms=x", "--dry-run").code == 2
    assert pystream("topics", "alter", name).code == 2
    assert pystream("topics", "describe", name, "--json").json[0]["configs"] == {"retention.ms": "5"}


def test_partitions_are_added_up_to_a_total_or_by_a_number(pystream: Command):
    name = fresh("grow")
    pystream("topics", "create", name, "--partitions", "1")

    assert pystream("topics", "add-partitions", name, "--total", "5", "--dry-run").code == 0
    assert pystream("topics", "add-partitions", name, "--total", "2").code == 0
    assert "from 2 to 4 partitions" in pystream("topics", "add-partitions", name, "--add", "2").out
    assert len(pystream("topics", "describe", name, "--json").json[0]["partitions"]) == 4
    assert pystream("topics", "add-partitions", name, "--total", "4").code == 2
    assert pystream("topics", "add-partitions", name).code == 2
    assert pystream("topics", "add-partitions", fresh("nowhere"), "--add", "1").code == 3


def test_a_topic_is_trimmed_to_a_position(pystream: Command, produce: Produce):
    name = fresh("trim")
    pystream("topics", "create", name, "--partitions", "2")
    produce(name, 10)

    planned = pystream("topics", "trim", name, "--before", "4", "--partition", "0", "--dry-run", "--json").json
    assert planned == [{"topic": name, "partition": 0, "first_offset": 0, "start_offset": 4, "end_offset": 10}]
    assert pystream("topics", "trim", name, "--before", "4", "--partition", "0").code == 0
    described = pystream("topics", "describe", name, "--offsets", "--json").json[0]["partitions"]
    assert [(each["start_offset"], each["end_offset"]) for each in described] == [(4, 10), (0, 0)]

    assert pystream("topics", "trim", name, "--before", "@-1h", "--json").json[0]["start_offset"] == 4
    assert pystream("topics", "trim", name, "--before", "end", "--json").json[0]["start_offset"] == 10
    assert pystream("topics", "trim", name, "--before", "+1").code == 2
    assert pystream("topics", "trim", name, "--before", "soon").code == 2
    assert pystream("topics", "trim", name, "--before", "1", "--partition", "9").code == 3


@pytest.mark.parametrize("words", [("topics", "list"), ("kafka-topics", "--list", "--bootstrap-server", "{bootstrap}")])
def test_an_output_that_takes_nothing_is_one_sentence(pystream: Command, broker: BrokerProcess, words: tuple[str, ...]):
    pystream("topics", "create", fresh("told"))
    arguments = [word.format(bootstrap=broker.bootstrap) for word in words]
    environment = {**os.environ, "PYSTREAM_BOOTSTRAP_SERVERS": broker.bootstrap}

    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "pystream.cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )

    assert process.returncode == 1
    assert process.stderr.endswith("standard output: No space left on device\n")
    assert process.stderr.count("\n") == 1


def test_a_list_whose_reader_goes_away_ends_like_any_program(pystream: Command, broker: BrokerProcess):
    pystream("topics", "create", *(fresh("many") for _ in range(50)))
    environment = {**os.environ, "PYSTREAM_BOOTSTRAP_SERVERS": broker.bootstrap}
    reading, writing = os.pipe()
    os.close(reading)

    with os.fdopen(writing, "w") as gone:
        process = subprocess.run(
            [sys.executable, "-m", "pystream.cli.main", "topics", "list", "--json"],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            check=False,
        )

    assert (process.returncode, process.stderr) == (141, "")
