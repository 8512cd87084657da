"""`pystream diff` and `apply` against a broker of their own, which pruning may empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystream.cli.main import main
from tests.integration.cli.conftest import SETTINGS, Outcome, fresh
from tests.support.broker_process import BrokerProcess

Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("declared") / "data", SETTINGS) as process:
        yield process


@pytest.fixture
def pystream(own_broker: BrokerProcess, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command; `text` is written to cluster.yaml first."""

    def run(*arguments: str, text: str | None = None) -> Outcome:
        file = tmp_path / "cluster.yaml"
        if text is not None:
            file.write_text(text)
        given = [str(file) if each == "FILE" else each for each in arguments]
        with pytest.raises(SystemExit) as stopped:
            main([*given, "-b", own_broker.bootstrap, "--timeout", "60"])
        captured = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), captured.out, captured.err)

    return run


def test_a_cluster_becomes_what_the_manifest_says_and_stays_so(pystream: Run):
    topic, other = fresh("declared"), fresh("declared")
    text = f"""
topics:
  - {{name: {topic}, partitions: 3, configs: {{retention.ms: 1000, cleanup.policy: [compact, delete]}}}}
  - {{name: {other}}}
configs:
  - {{type: brokers, configs: {{log.cleaner.threads: 2}}}}
quotas:
  - {{entity: {{user: {topic}}}, quotas: {{producer_byte_rate: 1048576}}}}
"""
    before = pystream("cluster", "diff", "-f", "FILE", "--json", text=text)
    dry = pystream("cluster", "apply", "-f", "FILE", "--dry-run")
    done = pystream("apply", "-f", "FILE", "--json")
    after = pystream("diff", "-f", "FILE", "--json")
    again = pystream("apply", "-f", "FILE", "--json")

    assert before.code == 1
    assert {(row["name"], row["action"]) for row in before.json} == {
        (f"topics {topic}", "create"),
        (f"topics {other}", "create"),
        ("brokers", "alter"),
        (f"user={topic}", "create"),
    }
    assert (dry.code, done.code, done.err) == (0, 0, "")
    assert {row["pending"] for row in before.json} == {True}
    assert [(row["name"], row["action"], row["change"]) for row in done.json] == [
        (row["name"], row["action"], row["change"]) for row in before.json
    ]
    assert (after.code, after.json, again.code, again.json) == (0, [], 0, [])
    described = pystream("topics", "describe", topic, "--json").json[0]
    assert len(described["partitions"]) == 3
    assert described["configs"] == {"retention.ms": "1000", "cleanup.policy": "compact,delete"}


def test_only_what_differs_is_changed_and_null_brings_the_default_back(pystream: Run):
    topic = fresh("changing")
    pystream("apply", "-f", "FILE", text=f"topics: [{{name: {topic}, partitions: 1, configs: {{retention.ms: 5}}}}]")

    settings = "{retention.ms: null, segment.ms: 60000}"
    changed = f"topics: [{{name: {topic}, partitions: 2, configs: {settings}}}]"
    done = pystream("apply", "-f", "FILE", "--json", text=changed)

    assert [(row["action"], row["change"]) for row in done.json] == [
        ("alter", "partitions: 1 -> 2"),
        ("alter", "retention.ms: 5 -> default"),
        ("alter", "segment.ms: default -> 60000"),
    ]
    assert pystream("diff", "-f", "FILE").code == 0


def test_pruning_deletes_what_is_not_named_in_the_sections_that_are_there(pystream: Run):
    topic, extra = fresh("kept"), fresh("extra")
    pystream("topics", "create", topic, extra, "--config", "retention.ms=7")
    pystream("quotas", "alter", "--entity", f"user={extra}", "--set", "producer_byte_rate=1")
    text = f"topics: [{{name: {topic}}}]"

    kept = pystream("diff", "-f", "FILE", text=text)
    pruned = pystream("apply", "-f", "FILE", "--prune", "--json")

    assert kept.code == 0
    assert (f"topics {extra}", "delete") in {(row["name"], row["action"]) for row in pruned.json}
    assert (f"topics {topic}", "retention.ms: 7 -> default") in {(row["name"], row["change"]) for row in pruned.json}
    assert pystream("topics", "list", "-o", "name").out == f"{topic}\n"
    assert extra in pystream("quotas", "describe").out
    pystream("apply", "-f", "FILE", "--prune", text="quotas: []")
    assert extra not in pystream("quotas", "describe").out


def test_where_anything_is_refused_nothing_is_done(pystream: Run):
    good, bad = fresh("good"), fresh("bad")
    text = f"topics: [{{name: {good}}}, {{name: {bad}, configs: {{retention.ms: soon}}}}]"

    outcome = pystream("apply", "-f", "FILE", text=text)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert "retention.ms" in outcome.err
    assert good not in pystream("topics", "list", "-o", "name").out


@pytest.mark.parametrize(
    ("code", "complaint", "text"),
    [
        (2, "never fewer", "topics: [{name: shrinking, partitions: 1}]"),
        (2, "reassigning", "topics: [{name: shrinking, replication_factor: 3}]"),
        (2, "did you mean partitions", "topics: [{name: shrinking, partition: 1}]"),
        (4, "authorizer.class.name", "acls: [{principal: 'User:a', operation: read, resource: topic, name: a}]"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_code(pystream: Run, code: int, complaint: str, text: str):
    pystream("topics", "create", "shrinking", "--partitions", "2", "--if-not-exists")

    outcome = pystream("apply", "-f", "FILE", text=text)

    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err.count("\n") == 1
    assert complaint in outcome.err


def test_a_file_that_is_not_there_is_wrong_usage(pystream: Run):
    outcome = pystream("diff", "-f", "no-such-file")

    assert outcome.code == 2
    assert "no-such-file" in outcome.err
