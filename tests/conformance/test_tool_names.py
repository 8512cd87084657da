"""Kafka's tools by their names: ours and those of Apache Kafka do and say the same on one broker, right or wrong.

Told apart are only times, and how argparse and its Java twin word a mistake; both then exit alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.conformance.operator_stories import OPERATOR_STORIES
from tests.conformance.tool_runs import KafkaTools, Run, Said, run_ours
from tests.conformance.tool_stories import FILES, SETUP, STORIES
from tests.support.broker_process import BrokerProcess

SETTINGS = {
    "node.id": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.share.min.heartbeat.interval.ms": "100",
    "group.share.heartbeat.interval.ms": "200",
}
SIDES = ("kafkas", "ourown")  # as long as one another: columns are as wide as names
MEASURED = {"loads": (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}", r"\d+(\.\d+)?")}  # times, rates, counts
FAILED = re.compile(r"(^|\s)Error: ")  # kafka-share-groups says it, and exits with 0; ours with 1
TIMES = (
    r"(?<=Epoch: )\d+",
    r"CreateTime:\d+",
    r"\b1[0-9]{12}\b",
    r"\d+ ms ago *",
    r"directory\.id=\S+",
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


@pytest.mark.parametrize("story", [*STORIES, *OPERATOR_STORIES])
def test_a_tool_does_and_says_what_kafkas_does(stage: Stage, story: str):
    drop = TIMES + MEASURED.get(story, ())
    for run in (STORIES | OPERATOR_STORIES)[story]:
        theirs = stage.kafka.run(stage.given(run, SIDES[0]))
        ours = run_ours(stage.given(run, SIDES[1]))

        complains = theirs.code != 0 and theirs.complaint() != ""
        expected = (str(run), *shown(theirs, drop, complains=complains))
        assert (str(run), *shown(ours, drop, complains=complains)) == expected
