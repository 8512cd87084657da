"""`pystream logs` on the directory of a broker: `dump` while it runs, `verify` and `repair` when it has stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

import pystream
from pystream.cli.main import main
from tests.integration.cli.conftest import SETTINGS, Outcome
from tests.support.broker_process import BrokerProcess

Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as stopped:
            main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return command


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A partition `orders-0` with two records, then a transaction that was aborted."""
    data_dir = tmp_path_factory.mktemp("logs") / "data"
    with BrokerProcess(data_dir, SETTINGS | {"num.partitions": "1"}) as broker:
        with pystream.Producer(bootstrap_servers=broker.bootstrap, linger_ms=60_000) as plain:  # one batch of both
            plain.send("orders", b"one", b"k", headers=[("h", b"v"), ("n", None), ("h", b"w")])
            plain.send("orders", b"\xff")
        sender = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "pay"})
        sender.init_transactions(30)
        sender.begin_transaction()
        sender.produce("orders", b"taken back")
        assert sender.flush(30) == 0
        sender.abort_transaction(30)
    return data_dir / "orders-0"


def test_a_segment_is_dumped_batch_by_batch_and_record_by_record(run: Run, stopped: Path):
    segment = stopped / f"{0:020d}.log"

    lines = [json.loads(line) for line in run("logs", "dump", segment, "--records", "--json").out.splitlines()]
    batches = [line for line in lines if "base_offset" in line]
    records = [line for line in lines if "base_offset" not in line]

    assert [(each["base_offset"], each["last_offset"], each["control"]) for each in batches] == [
        (0, 1, False),
        (2, 2, False),
        (3, 3, True),
    ]
    assert all(each["crc_is_valid"] for each in batches)
    assert records[0] == {
        "file": segment.name,
        "offset": 0,
        "timestamp": records[0]["timestamp"],
        "key": "k",
        "value": "one",
        "headers": ["h", "v", "n", None, "h", "w"],  # as `consume -J`
    }
    assert [each.get("value") for each in records] == ["one", "\\xff", "taken back", None]
    assert records[-1]["marker"] == "abort"
    shown = run("logs", "dump", segment, "--records").out
    assert "key: k value: one headers: h=v,n=null,h=w\n" in shown
    text = run("logs", "dump", stopped, "-n", "1").out.splitlines()
    assert text[0] == str(segment)
    assert text[1].startswith("base_offset: 0 ")
    assert len(text) == 2


def test_indexes_and_snapshots_are_dumped(run: Run, stopped: Path):
    times = run("logs", "dump", stopped / f"{0:020d}.timeindex", "--json")
    aborted = run("logs", "dump", stopped / f"{0:020d}.txnindex", "--json")
    snapshot = run("logs", "dump", *stopped.glob("*.snapshot"), "--json")
    offsets = run("logs", "dump", stopped / f"{0:020d}.index", "--json")

    assert (times.code, offsets.code) == (0, 0)
    entry = json.loads(aborted.out)
    assert (entry["first_offset"], entry["last_offset"]) == (2, 3)
    producers = [json.loads(line) for line in snapshot.out.splitlines()]
    assert entry["producer_id"] in {each["producer_id"] for each in producers}


def test_what_is_no_file_of_a_log_is_refused(run: Run, stopped: Path, tmp_path: Path):
    other = tmp_path / "notes.txt"
    other.write_text("x")
    cut = tmp_path / f"{0:020d}.log"
    cut.write_bytes((stopped / cut.name).read_bytes()[:-5])

    assert run("logs", "dump", other).code == 2
    assert run("logs", "dump", tmp_path / "nowhere").code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("logs", "dump", empty).code == 3
    torn = run("logs", "dump", cut)
    assert torn.code == 1
    assert torn.out.count("base_offset") == 2
    assert torn.err.count("\n") == 1
    assert "at position" in torn.err


def test_one_reader_serves_both_tools_and_only_its_stop_differs(run: Run, stopped: Path, tmp_path: Path):
    """`pystream logs dump` says what is wrong where a batch should begin, Kafka's tool counts the bytes behind."""
    cut = tmp_path / f"{0:020d}.log"
    cut.write_bytes((stopped / cut.name).read_bytes()[:-7])

    ours = run("logs", "dump", cut, "--json")
    kafkas = run("kafka-dump-log", "--files", cut)

    whole = [line["base_offset"] for line in map(json.loads, ours.out.splitlines())]
    assert [int(offset) for offset in re.findall(r"^baseOffset: (\d+)", kafkas.out, re.MULTILINE)] == whole
    assert len(whole) >= 1
    assert (ours.code, "at position" in ours.err) == (1, True)
    assert (kafkas.code, re.search(r"Found \d+ invalid bytes at the end", kafkas.out) is not None) == (0, True)


@pytest.mark.parametrize("verb", ["verify", "import"])
def test_whoever_goes_away_is_told_nothing(stopped: Path, tmp_path: Path, verb: str):
    """The 1 of `verify` would mean damage."""
    reading, writing = os.pipe()
    os.close(reading)
    data_dir = tmp_path / "data"
    shutil.copytree(stopped.parent, data_dir)
    words = [str(data_dir), *(("--data-dir", str(tmp_path / "made")) if verb == "import" else ())]

    with os.fdopen(writing, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "pystream.cli.main", "logs", verb, *words],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=False,
        )

    assert (done.returncode, done.stderr) == (141, "")


def test_logs_are_verified_and_repaired(run: Run, stopped: Path, tmp_path: Path):
    data_dir = tmp_path / "data"
    shutil.copytree(stopped.parent, data_dir)
    whole = run("logs", "verify", data_dir, "orders-0", "--records")
    segment = data_dir / stopped.name / f"{0:020d}.log"
    damaged = bytearray(segment.read_bytes())
    damaged[30] ^= 1
    segment.write_bytes(damaged)
    found = run("log", "verify", data_dir, "orders")
    repaired = run("logs", "repair", data_dir, "orders-0", "--salvage")

    assert (whole.code, found.code, repaired.code) == (0, 1, 0)
    assert "1 partitions read, 0 damaged" in whole.out
    assert "DAMAGED" in found.out
    assert run("logs", "verify", data_dir, "orders", "--compacted").code == 0
