"""`pystream bench` against a broker: figures that add up, topics that go again."""

from __future__ import annotations

import pytest

from pystream.client.admin.topics import NewTopic
from pystream.client.sync.admin import AdminClient
from tests.integration.cli.conftest import Command, fresh


def test_what_is_written_is_read_again(pystream: Command):
    topic = fresh("bench")
    pystream("topics", "create", topic, "--partitions", "2")

    written = pystream("bench", "produce", topic, "-n", "2500", "-s", "50", "--json").json
    read = pystream("bench", "consume", topic, "--json").json
    some = pystream("bench", "consume", topic, "-n", "10", "--one-by-one", "--json").json

    assert (written["test"], written["topic"], written["records"]) == ("produce", topic, 2500)
    assert (read["records"], some["records"]) == (2500, 10)
    assert 0 < written["p50_ms"] <= written["p99_ms"] <= written["max_ms"]
    assert 2500 / written["records_per_second"] == pytest.approx(written["seconds"], abs=0.001)  # as rounded
    assert (read["p50_ms"], read["cpu_us_per_record"] > 0) == (None, True)


def test_a_topic_made_for_it_goes_again(pystream: Command):
    plain = pystream("bench", "produce", "-n", "100", "--one-by-one", "--rate", "100000")
    around = pystream("bench", "round-trip", "-n", "5", "--json")

    assert (plain.code, around.code) == (0, 0)
    assert plain.out.splitlines()[0].split()[:2] == ["TEST", "RECORDS"]
    assert (around.json["records"], around.json["p50_ms"] > 0) == (5, True)
    assert "pystream-bench" not in pystream("topics", "list", "-o", "name").out


def test_a_topic_goes_when_its_making_is_interrupted(pystream: Command, monkeypatch: pytest.MonkeyPatch):
    """The broker has made it, and the answer has not come yet."""
    made: list[str] = []
    create_topics = AdminClient.create_topics

    def interrupted(admin: AdminClient, topics: list[NewTopic]) -> None:
        create_topics(admin, topics).checked()
        made.extend(topic.name for topic in topics)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(AdminClient, "create_topics", interrupted)
        ended = pystream("bench", "produce", "-n", "1", "-q")

    assert (ended.code, ended.out, ended.err) == (130, "", "")
    assert len(made) == 1
    assert made[0] not in pystream("topics", "list", "-o", "name").out.splitlines()


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (3, ("produce", "no-such-topic")),
        (3, ("consume", "no-such-topic")),
        (3, ("round-trip", "no-such-topic")),
        (2, ("produce", "-n", "0")),
        (2, ("produce", "-X", "acks=some")),
        (1, ("produce", "-n", "1", "-s", "3000000")),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_a_code(pystream: Command, code: int, arguments: tuple[str, ...]):
    outcome = pystream("bench", *arguments)

    assert (outcome.code, outcome.out) == (code, "")
    assert "Traceback" not in outcome.err
    assert outcome.err
