"""kafka-dump-log reads the files that our broker left as Apache Kafka's does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.tool_runs import KafkaTools, Run, Said, run_ours
from tests.support.broker_process import BrokerProcess

SETTINGS = {"node.id": "1", "group.initial.rebalance.delay.ms": "0", "log.index.interval.bytes": "200"}
SEGMENT = "00000000000000000000"
JSON = re.compile(r"(?:key|payload): ({.*?})(?= payload: |$)", re.MULTILINE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a broker left: records of all kinds and codecs, transactions, committed offsets, a share group."""
    folder = tmp_path_factory.mktemp("dump") / "data"
    with BrokerProcess(folder, SETTINGS) as broker:
        orders = ("--bootstrap-server", broker.bootstrap, "--topic", "orders")
        parsed = ("--reader-property", "parse.key=true", "--reader-property", "parse.headers=true")
        for run in (
            Run("kafka-topics", ("--create", "--partitions", "1", *orders)),
            Run("kafka-console-producer", (*orders, *parsed), "h:1\tk\tv\na:b,c:d\tkk\tvv\n"),
            *(
                Run("kafka-console-producer", (*orders, "--compression-codec", codec), "x\ny\n" * 20)
                for codec in ("gzip", "snappy", "lz4", "zstd")
            ),
            Run(
                "kafka-producer-perf-test",
                (
                    *(*orders, "--num-records", "10", "--record-size", "10", "--throughput", "-1"),
                    *("--transactional-id", "id", "--transaction-duration-ms", "1"),
                ),
            ),
            Run("kafka-console-consumer", (*orders, "--group", "group", "--from-beginning", "--max-messages", "3")),
            Run("kafka-console-share-consumer", (*orders, "--group", "share", "--timeout-ms", "5000")),
        ):
            said = run_ours(run)
            assert said.code == 0, (run, said)
    return folder


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaTools]:
    with KafkaTools() as tools:
        yield tools


def both(kafka: KafkaTools, *words: str) -> tuple[Said, Said]:
    run = Run("kafka-dump-log", words)
    return kafka.run(run), run_ours(run)


OPTIONS = [
    (),
    ("--deep-iteration",),
    ("--print-data-log",),
    ("--print-data-log", "--skip-record-metadata"),
    ("--max-bytes", "300"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_a_segment_is_dumped_as_kafka_dumps_it(kafka: KafkaTools, data: Path, options: tuple[str, ...]):
    theirs, ours = both(kafka, "--files", str(data / "orders-0" / f"{SEGMENT}.log"), *options)

    assert len(theirs.out.splitlines()) > 2
    assert (ours.code, ours.out) == (theirs.code, theirs.out)


def test_indexes_and_producers_are_dumped_as_kafka_dumps_them(kafka: KafkaTools, data: Path):
    files = [str(path) for path in sorted((data / "orders-0").glob("0*")) if path.suffix != ".log"]
    assert {Path(name).suffix for name in files} >= {".index", ".timeindex", ".snapshot"}
    for options in ((), ("--index-sanity-check",), ("--verify-index-only",)):
        theirs, ours = both(kafka, "--files", ",".join(files), *options)
        assert (ours.code, ours.out) == (theirs.code, theirs.out)


def test_damage_is_shown_and_not_hidden(kafka: KafkaTools, data: Path, tmp_path: Path):
    whole = (data / "orders-0" / f"{SEGMENT}.log").read_bytes()
    flipped = bytearray(whole)
    flipped[80] ^= 1
    for name, content in (("torn", whole[:-7]), ("flipped", bytes(flipped)), ("empty", b"")):
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"{SEGMENT}.log"
        path.write_bytes(content)
        theirs, ours = both(kafka, "--files", str(path))
        assert (ours.code, ours.out) == (theirs.code, theirs.out)


@pytest.mark.parametrize(
    ("topic", "option"),
    [
        ("__consumer_offsets", "--offsets-decoder"),
        ("__transaction_state", "--transaction-log-decoder"),
        ("__share_group_state", "--share-group-state-decoder"),
    ],
)
def test_records_of_kafkas_own_topics_say_at_least_what_kafkas_say(
    kafka: KafkaTools, data: Path, topic: str, option: str
):
    """Ours also shows fields that a record's version does not have, with their defaults."""
    segments = [str(path) for path in sorted(data.glob(f"{topic}-*/{SEGMENT}.log")) if path.stat().st_size]
    assert segments != []
    theirs, ours = both(kafka, "--files", ",".join(segments), option)

    assert [JSON.sub("…", line) for line in ours.out.splitlines()] == [
        JSON.sub("…", line) for line in theirs.out.splitlines()
    ]
    pairs = zip(JSON.findall(theirs.out), JSON.findall(ours.out), strict=True)
    assert [line for line in pairs if not says(json.loads(line[0]), json.loads(line[1]))] == []


def says(expected: Any, found: Any) -> bool:
    """Whether everything expected is in what was found."""
    if isinstance(expected, dict):
        return all(name in found and says(each, found[name]) for name, each in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(found) and all(map(says, expected, found))
    return bool(expected == found)


@pytest.mark.parametrize("words", [(), ("--print-data-log",), ("--files", "0.log", "--bogus")], ids=" ".join)
def test_wrong_words_are_refused_alike(kafka: KafkaTools, words: tuple[str, ...]):
    theirs, ours = both(kafka, *words)

    assert (ours.code, ours.complaint()) == (theirs.code, theirs.complaint())
    assert theirs.code == 1
