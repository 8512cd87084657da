"""Kafka's tools by their names: ours and those of Apache Kafka do and say the same on one broker, right or wrong.

Told apart are only times, and how argparse and its Java twin word a mistake; both then exit alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pystream.client.sync.admin import AdminClient
from pystream.common.model import TopicPartition
from tests.conformance.operator_stories import OPERATOR_STORIES, STREAMS_GROUP_LEFT, STREAMS_GROUP_LIVES
from tests.conformance.tool_runs import KafkaTools, Run, Said, run_ours
from tests.conformance.tool_stories import FILES, SETUP, STORIES
from tests.conformance.topic_stories import TOPIC_STORIES
from tests.support import raw_streams
from tests.support.broker_process import BrokerProcess

SETTINGS = {
    "node.id": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.share.min.heartbeat.interval.ms": "100",
    "group.share.heartbeat.interval.ms": "200",
    "group.streams.initial.rebalance.delay.ms": "0",
    "group.streams.max.session.timeout.ms": "3600000",  # of a member that says one word before a dozen tools are run
    "group.streams.session.timeout.ms": "3600000",
}
SIDES = ("kafkas", "ourown")  # as long as one another: columns are as wide as names
ALL_STORIES = STORIES | OPERATOR_STORIES | TOPIC_STORIES
MEASURED = {"loads": (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}", r"\d+(\.\d+)?")}  # times, rates, counts
FAILED = re.compile(r"(^|\s)Error: ")  # kafka-share-groups says it, and exits with 0; ours with 1
TIMES = (
    r"(?<=Epoch: )\d+",
    r"CreateTime:\d+",
    r"\b1[0-9]{12}\b",
    r"\d+ ms ago *",
    r"directory\.id=\S+",
    r"(?<=TopicId: )\S{22}",
    r"^\S{22}$",
    r"^Bootstrap metadata: .*",
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The broker, Kafka's tools, and a folder of files for each side."""

    bootstrap: str
    kafka: KafkaTools
    folder: Path

    def given(self, run: Run, side: str) -> Run:
        places = {"BROKER": self.bootstrap, "FILES": str(self.folder / side)}
        words = run.on(side).words
        for name, place in places.items():
            words = tuple(word.replace(name, place) for word in words)
        return replace(run.on(side), words=words)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("names")
    for side in SIDES:
        (folder / side).mkdir()
        for name, text in FILES.items():
            text = text.replace("MINE", side).replace("FILES", str(folder / side))
            (folder / side / name).write_text(text)
    with BrokerProcess(folder / "data", SETTINGS) as broker, KafkaTools() as kafka:
        made = Stage(broker.bootstrap, kafka, folder)
        for run in SETUP:
            for side in SIDES:
                said = run_ours(made.given(run, side))
                assert said.code == 0, (run, said)
        yield made


def shown(said: Said, drop: tuple[str, ...], *, complains: bool) -> tuple[int, list[str], str]:
    complaint = said.complaint() if complains else ""
    for side in SIDES:
        complaint = complaint.replace(side, "MINE")
    said = replace(said, code=1) if FAILED.search(said.out) else said
    return said.code, said.lines(sides=SIDES, drop=drop), complaint


def compare(stage: Stage, runs: Sequence[Run], drop: tuple[str, ...]) -> None:
    for run in runs:
        theirs = stage.kafka.run(stage.given(run, SIDES[0]))
        ours = run_ours(stage.given(run, SIDES[1]))

        told = FAILED.search(theirs.out) is not None  # and a stack trace beside it
        complains = theirs.code != 0 and theirs.complaint() != "" and not told
        expected = (str(run), *shown(theirs, drop, complains=complains))
        assert (str(run), *shown(ours, drop, complains=complains)) == expected


@pytest.mark.parametrize("story", list(ALL_STORIES))
def test_a_tool_does_and_says_what_kafkas_does(stage: Stage, story: str):
    compare(stage, ALL_STORIES[story], TIMES + MEASURED.get(story, ()))


def test_streams_groups_are_shown_moved_and_deleted_as_by_kafkas(stage: Stage):
    port = int(stage.bootstrap.rpartition(":")[2])
    members = [(port, f"streams-{side}", "member", f"five-{side}") for side in SIDES]
    for member in members:
        raw_streams.join(*member)

    compare(stage, STREAMS_GROUP_LIVES, TIMES)

    with AdminClient({"bootstrap.servers": stage.bootstrap}) as admin:
        for member in members:
            raw_streams.leave(*member)
            _, group, _, topic = member
            admin.alter_streams_group_offsets(group, {TopicPartition(topic, 0): 2}).checked()
    compare(stage, STREAMS_GROUP_LEFT, TIMES)
