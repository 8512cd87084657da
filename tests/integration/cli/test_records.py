"""`pystream produce` and `pystream consume` against a broker, with kcat as oracle where it is there."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.integration.cli.conftest import Command, Outcome, fresh
from tests.support.broker_process import BrokerProcess
from tests.support.ports import nobodys

Feed = Callable[..., Outcome]


@pytest.fixture
def feed(pystream: Command, monkeypatch: pytest.MonkeyPatch) -> Feed:
    """Run a command with bytes on its standard input."""

    def run(data: bytes, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return pystream(*arguments)

    return run


@pytest.fixture
def topic(pystream: Command) -> str:
    """With one partition, which keeps records of any age."""
    name = fresh("records")
    pystream("topics", "create", name, "--partitions", "1", "--config", "retention.ms=-1")
    return name


def program(*arguments: str, broker: BrokerProcess) -> list[str]:
    return [sys.executable, "-m", "pystream.cli.main", *arguments, "-b", broker.bootstrap]


def test_lines_go_in_and_come_out(feed: Feed, pystream: Command, topic: str):
    sent = feed(b"k1:one\ntwo\n\nk2:two\n", "produce", topic, "-K", ":", "-H", "source=test", "--json")
    read = pystream("consume", topic, "-e", "-f", r"%t %p %o %K %k %S %s %h\n", "-Z", "NULL")

    assert (sent.code, sent.err) == (0, "")
    assert sent.json == {
        "topic": topic,
        "records": 4,
        "partitions": [{"partition": 0, "records": 4, "first_offset": 0, "last_offset": 3}],
    }
    assert read.code == 0
    assert read.out.splitlines() == [
        f"{topic} 0 0 2 k1 3 one source=test",
        f"{topic} 0 1 -1 NULL 3 two source=test",
        f"{topic} 0 2 -1 NULL 0  source=test",
        f"{topic} 0 3 2 k2 3 two source=test",
    ]
    assert read.err == f"% Reached end of topic {topic} [0] at offset 4: exiting\n"


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
@pytest.mark.parametrize("count", ["1", "3", "4"])
def test_who_counts_is_told_of_the_end_only_where_it_came_before_the_count(
    feed: Feed, broker: BrokerProcess, topic: str, count: str
):
    feed(b"1\n2\n3\n", "produce", topic)
    options = ("-e", "-c", count)

    oracle = subprocess.run(
        ["kcat", "-C", "-b", broker.bootstrap, "-t", topic, *options], capture_output=True, check=True
    )
    ours = subprocess.run(program("consume", topic, *options, broker=broker), capture_output=True, check=True)

    assert (ours.stdout, ours.stderr) == (oracle.stdout, oracle.stderr)


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
@pytest.mark.parametrize("form", [r"%t[%p]%o|%k|%K|%s|%S|%T|%h\n", r"%s", r"%R%s;", r"\t%o\\\r\n", "%%%o"])
def test_a_format_gives_what_kcat_gives(feed: Feed, broker: BrokerProcess, topic: str, form: str):
    feed(b"k:value\n:\n" + "ключ:значение\n".encode(), "produce", topic, "-K", ":", "-H", "a=1", "-H", "b=2")
    feed(b"plain\n", "produce", topic)

    oracle = subprocess.run(
        ["kcat", "-C", "-b", broker.bootstrap, "-t", topic, "-e", "-q", "-f", form], capture_output=True, check=True
    )
    ours = subprocess.run(
        program("consume", topic, "-e", "-q", "-f", form, broker=broker), capture_output=True, check=True
    )

    assert ours.stdout == oracle.stdout


@pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is not installed")
def test_an_envelope_has_kcats_names(feed: Feed, broker: BrokerProcess, pystream: Command, topic: str):
    feed("ключ:значение\n".encode(), "produce", topic, "-K", ":", "-H", "a=1")

    oracle = subprocess.run(
        ["kcat", "-C", "-b", broker.bootstrap, "-t", topic, "-e", "-q", "-J"], capture_output=True, check=True
    )
    ours = json.loads(pystream("consume", topic, "-e", "-q", "-J").out)

    expected = json.loads(oracle.stdout)
    expected.pop("broker", None)
    assert ours == expected


def test_where_to_begin_and_where_to_end(feed: Feed, pystream: Command, topic: str):
    lines = "".join(f'{{"payload": "{number}", "ts": {1_700_000_000_000 + number * 1000}}}\n' for number in range(10))
    feed(lines.encode(), "produce", topic, "--format", "json")

    def read(*options: str) -> str:
        outcome = pystream("consume", topic, "-q", "-D", " ", *options)
        assert (outcome.code, outcome.err) == (0, "")
        return outcome.out.strip()

    assert read("-e") == "0 1 2 3 4 5 6 7 8 9"
    assert read("-e", "-o", "-3") == "7 8 9"
    assert read("-e", "-o", "-300") == "0 1 2 3 4 5 6 7 8 9"
    assert read("-e", "-o", "8") == "8 9"
    assert read("-e", "-o", "800") == ""
    assert read("-e", "-o", "end") == ""
    assert read("-c", "2", "-o", "beginning") == "0 1"
    assert read("-c", "2", "-o", "4") == "4 5"
    assert read("-e", "-o", "s@1700000007000") == "7 8 9"
    assert read("-o", "s@2023-11-14T22:13:25Z", "-o", "e@1700000007000") == "5 6"
    assert read("-o", "e@1700000002000") == "0 1"


def test_only_some_partitions_are_read(feed: Feed, pystream: Command):
    name = fresh("partitions")
    pystream("topics", "create", name, "--partitions", "3")
    for number in range(3):
        feed(f"in {number}\n".encode(), "produce", name, "-p", str(number))

    assert pystream("consume", name, "-e", "-q", "-p", "1").out == "in 1\n"
    assert sorted(pystream("consume", name, "-e", "-q", "-p", "0", "-p", "2").out.split("\n")) == ["", "in 0", "in 2"]
    missing = pystream("consume", name, "-e", "-p", "7")
    assert (missing.code, missing.out) == (3, "")


def test_envelopes_copy_a_topic_bytes_nulls_headers_and_times(feed: Feed, pystream: Command, topic: str):
    other = fresh("copy")
    pystream("topics", "create", other, "--partitions", "1", "--config", "retention.ms=-1")
    given = (
        b'{"key": "k", "payload": "\\u00e9\\n", "headers": ["h", "v", "n", null], "ts": 1700000000000}\n'
        b'{"key_base64": "/w==", "payload": null, "ts": 1700000000001}\n'
    )
    feed(given, "produce", topic, "--format", "json")

    first = pystream("consume", topic, "-e", "-q", "-J").out
    feed(first.encode(), "produce", other, "--format", "json")
    second = pystream("consume", other, "-e", "-q", "-J").out

    assert second == first.replace(topic, other)
    rows = [json.loads(line) for line in second.splitlines()]
    assert rows[0]["headers"] == ["h", "v", "n", None]
    assert (rows[1]["key_base64"], rows[1]["payload"], rows[1]["ts"]) == ("/w==", None, 1700000000001)


def test_tables_go_in_by_their_columns(feed: Feed, pystream: Command, topic: str, tmp_path: Path):
    table = pyarrow.table({"id": ["a", "b"], "amount": [1, None], "blob": [b"\x01", b"\x02"]})
    stream, file, parquet = tmp_path / "t.arrows", tmp_path / "t.arrow", tmp_path / "t.parquet"
    with pyarrow.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    with pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    pyarrow.parquet.write_table(table, parquet)
    plain = ["--format", "arrow", "--key-column", "id", "--value-column"]

    assert pystream("produce", topic, str(stream), *plain, "blob").code == 0
    assert pystream("produce", topic, str(file), *plain, "amount").code == 0
    assert pystream("produce", topic, str(parquet), "--format", "parquet", "--key-column", "id").code == 0
    assert feed(b"x,y\n1,2\n", "produce", topic, "--format", "csv", "--value-column", "y").code == 0

    lines = pystream("consume", topic, "-e", "-q", "-f", r"%k=%s\n", "-Z", "NULL").out.splitlines()
    assert lines == [
        *("a=\x01", "b=\x02", "a=1", "b=NULL"),
        '{"id": "a", "amount": 1, "blob": "\x01"}'.join(("a=", "")).replace("\x01", "\\u0001"),
        '{"id": "b", "amount": null, "blob": "\x02"}'.join(("b=", "")).replace("\x02", "\\u0002"),
        "NULL=2",
    ]


def test_arrow_comes_out_and_goes_in_again(
    feed: Feed, broker: BrokerProcess, topic: str, tmp_path: Path, pystream: Command
):
    feed(b"k:v\nw\n", "produce", topic, "-K", ":")

    result = subprocess.run(
        program("consume", topic, "-e", "-q", "--arrow", broker=broker), capture_output=True, check=True
    )
    table = pyarrow.ipc.open_stream(result.stdout).read_all()

    assert table.column("value").to_pylist() == [b"v", b"w"]
    assert table.column("key").to_pylist() == [b"k", None]
    assert table.column("topic").to_pylist() == [topic, topic]
    assert table.column("offset").to_pylist() == [0, 1]
    again = ("produce", topic, "--format", "arrow", "--key-column", "key", "--value-column", "value")
    assert feed(result.stdout, *again).code == 0
    assert pystream("consume", topic, "-e", "-q", "-K", "=", "-o", "2").out == "k=v\n=w\n"


def test_a_group_goes_on_where_it_was(feed: Feed, pystream: Command, topic: str):
    group = fresh("readers")
    feed(b"1\n2\n3\n4\n", "produce", topic)

    first = pystream("consume", topic, "-G", group, "-o", "beginning", "-c", "2")
    rest = pystream("consume", topic, "-G", group, "-e")
    none = pystream("consume", f"{topic[:-1]}[{topic[-1]}]", "-r", "-G", group, "-e")

    assert (first.code, first.out) == (0, "1\n2\n")
    assert (rest.code, rest.out) == (0, "3\n4\n")
    assert (none.code, none.out) == (0, "")


def test_empty_lines_can_be_tombstones(feed: Feed, pystream: Command, topic: str):
    feed(b"k:\n", "produce", topic, "-K", ":", "-Z")

    assert pystream("consume", topic, "-e", "-q", "-f", "%k %S").out == "k -1"


def test_files_are_read_by_line_or_whole(pystream: Command, topic: str, tmp_path: Path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1\n2\n")
    second.write_text("3")

    assert pystream("produce", topic, str(first), str(second), "-k", "key", "-z", "zstd").code == 0
    assert pystream("produce", topic, str(first), str(second), "--format", "raw", "--acks", "all").code == 0

    assert pystream("consume", topic, "-e", "-q", "-D", "|").out == "1|2|3|1\n2\n|3|"


@pytest.mark.parametrize(
    ("code", "complaint", "arguments"),
    [
        (2, "no/such/topic", ("produce", "no/such/topic")),
        (2, "not empty|must not be empty", ("produce", "{topic}", "-K", "")),
        (2, "-H wants", ("produce", "{topic}", "-H", "=x")),
        (2, "--key-column needs", ("produce", "{topic}", "--key-column", "a")),
        (2, "-K is for lines", ("produce", "{topic}", "-K", ":", "--format", "csv")),
        (2, "lingr.ms", ("produce", "{topic}", "-X", "lingr.ms=5")),
        (2, "linger.ms", ("produce", "{topic}", "-X", "linger.ms=soon")),
        (2, "line 1", ("produce", "{topic}", "--format", "ndjson")),
        (2, "no-such-file", ("produce", "{topic}", "no-such-file")),
        (2, "%q", ("consume", "{topic}", "-f", "%q")),
        (2, "one of -f and -J", ("consume", "{topic}", "-f", "%s", "-J")),
        (2, "expected beginning", ("consume", "{topic}", "-o", "tomorrow")),
        (2, "needs a group", ("consume", "{topic}", "-r")),
        (2, "reset-offsets", ("consume", "{topic}", "-G", "g", "-o", "5")),
        (2, "leave -p", ("consume", "{topic}", "-G", "g", "-p", "0")),
        (2, "fetch.min.bites", ("consume", "{topic}", "-X", "fetch.min.bites=5")),
        (3, "topics list", ("consume", "no-such-topic", "-e")),
        (3, "topics list", ("consume", "no-such-topic", "-e", "-G", "g")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_mistake_is_one_line_and_a_code(
    feed: Feed, topic: str, code: int, complaint: str, arguments: tuple[str, ...]
):
    outcome = feed(b"nonsense\n", *(each.format(topic=topic) for each in arguments))

    assert (outcome.code, outcome.out) == (code, "")
    said = outcome.err.splitlines()[-1]
    assert any(part in said for part in complaint.split("|")), outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("command", [("produce", "t"), ("consume", "t", "-e"), ("consume", "t", "-G", "g")], ids=str)
def test_a_broker_that_is_not_there_is_exit_code_five(command: tuple[str, ...]):
    done = subprocess.run(
        [sys.executable, "-m", "pystream.cli.main", *command, "-b", f"127.0.0.1:{nobodys()}", "--timeout", "1"],
        input=b"x\n",
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (5, b"")
    assert done.stderr.count(b"\n") == 1
    assert b"--bootstrap-server" in done.stderr


def test_a_record_that_is_too_large_ends_it_and_says_what_is_written(feed: Feed, topic: str):
    outcome = feed(b"small\n" + b"x" * 2_000_000 + b"\nafter\n", "produce", topic)

    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert outcome.err.endswith("; 1 records are written\n")


def test_a_line_that_is_no_envelope_ends_it_and_says_what_is_written(feed: Feed, pystream: Command, topic: str):
    refused = feed(b'{"a": 1}\n', "produce", topic, "--format", "json")
    third = feed(b'{"payload": "1"}\n{"payload": null}\n{"a": 3}\n', "produce", topic, "--format", "json")

    counted = feed(b'{"payload": "1"}\n{"a": 3}\n', "produce", topic, "--format", "json", "--json")

    assert (refused.code, third.code, counted.code) == (2, 2, 2)
    assert [counted.json[name] for name in ("topic", "records")] == [topic, 1]
    assert "line 1: no payload; did you mean --format ndjson?" in refused.err
    assert refused.err.endswith("; 0 records are written\n")
    assert "line 3: no payload" in third.err
    assert third.err.endswith("; 2 records are written\n")
    rows = [json.loads(line)["payload"] for line in pystream("consume", topic, "-e", "-q", "-J").out.splitlines()]
    assert sorted(rows, key=str) == ["1", "1", None]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(
    feed: Feed, broker: BrokerProcess, topic: str, monkeypatch: pytest.MonkeyPatch, unbuffered: str
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    feed(b"line of some length\n" * 20_000, "produce", topic)

    with subprocess.Popen(
        program("consume", topic, broker=broker), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line of some length\n"
        process.stdout.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (141, b"")


def test_sigterm_leaves_the_group_with_what_was_read_committed(
    feed: Feed, broker: BrokerProcess, pystream: Command, topic: str
):
    group = fresh("stopped")
    feed(b"1\n2\n3\n", "produce", topic)
    command = program("consume", topic, "-G", group, "-o", "beginning", broker=broker)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(120) == 143

    described = pystream("groups", "describe", group, "--json").json[0]
    assert lines == [b"1\n", b"2\n", b"3\n"]
    assert (described["members"], described["partitions"][0]["committed_offset"]) == ([], 3)
