"""What Kafka's own tools make of groups of the new protocols: their descriptions, and the records that we write.

`kafka-dump-log --offsets-decoder` reads every record of __consumer_offsets with Kafka's own classes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance import java, kafka_dump
from tests.conformance.members import wait_until
from tests.conformance.test_consumer_protocol import PARTITIONS, SECONDS, SETTINGS, Rig, partitions
from tests.conformance.test_streams_protocol import ALL_TASKS, APPLICATION, INPUT
from tests.conformance.test_streams_protocol import SETTINGS as STREAMS_SETTINGS
from tests.conformance.test_streams_protocol import Rig as StreamsRig
from tests.support.broker_process import BrokerProcess

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif("PYSTREAM_TEST_BOOTSTRAP" in os.environ, reason="runs on a broker of its own"),
]
CONSUMER_GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
STREAMS_GROUPS = "org.apache.kafka.tools.streams.StreamsGroupCommand"
CONSUMER_RECORDS = {
    "CONSUMER_GROUP_METADATA",
    "CONSUMER_GROUP_MEMBER_METADATA",
    "CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA",
    "CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER",
    "CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT",
    "CONSUMER_GROUP_REGULAR_EXPRESSION",
}
STREAMS_RECORDS = {
    "STREAMS_GROUP_METADATA",
    "STREAMS_GROUP_MEMBER_METADATA",
    "STREAMS_GROUP_TOPOLOGY",
    "STREAMS_GROUP_TARGET_ASSIGNMENT_METADATA",
    "STREAMS_GROUP_TARGET_ASSIGNMENT_MEMBER",
    "STREAMS_GROUP_CURRENT_MEMBER_ASSIGNMENT",
}
# record types by their numbers, as Kafka's CoordinatorRecordType has them
NUMBERS = {
    3: "CONSUMER_GROUP_METADATA",
    5: "CONSUMER_GROUP_MEMBER_METADATA",
    16: "CONSUMER_GROUP_REGULAR_EXPRESSION",
    6: "CONSUMER_GROUP_TARGET_ASSIGNMENT_METADATA",
    7: "CONSUMER_GROUP_TARGET_ASSIGNMENT_MEMBER",
    8: "CONSUMER_GROUP_CURRENT_MEMBER_ASSIGNMENT",
    17: "STREAMS_GROUP_METADATA",
    19: "STREAMS_GROUP_MEMBER_METADATA",
    20: "STREAMS_GROUP_TARGET_ASSIGNMENT_METADATA",
    21: "STREAMS_GROUP_TARGET_ASSIGNMENT_MEMBER",
    22: "STREAMS_GROUP_CURRENT_MEMBER_ASSIGNMENT",
    23: "STREAMS_GROUP_TOPOLOGY",
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path / "data", {**SETTINGS, **STREAMS_SETTINGS}) as broker:
        yield broker


def tool(broker: BrokerProcess, name: str, *arguments: str) -> str:
    path = os.pathsep.join([java.class_path(), java.streams_class_path()])
    command = [*java.command(), "-cp", path, name, "--bootstrap-server", broker.bootstrap, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def record_types(data_dir: Path, group: str) -> Counter[str]:
    """How many records of each type Kafka reads for the group. Fails for one that it cannot read."""
    found: Counter[str] = Counter()
    for segment in sorted(data_dir.glob("__consumer_offsets-*/*.log")):
        if segment.stat().st_size == 0:
            continue
        said = kafka_dump.run("--offsets-decoder", "--deep-iteration", files=[segment])
        for key, payload in re.findall(r" key: (\{.*?\})(?: payload: (.*))?$", said, re.MULTILINE):
            message = json.loads(key)
            assert "version" not in message, f"Kafka does not read {key}"
            if message["data"].get("groupId", message["data"].get("group")) != group:
                continue
            assert payload == "<DELETE>" or "data" in json.loads(payload), payload
            found[NUMBERS.get(int(message["type"]), message["type"])] += 1
    return found


def test_a_consumer_group_is_described_and_its_records_are_read(broker):
    with ExitStack() as stack:
        rig = Rig(broker, stack)
        topic, group = rig.topic(), rig.name("group")
        member = rig.member("librdkafka", f"^{topic}", group, client_id="somebody")
        wait_until([member], lambda: member.assigned == partitions(topic), SECONDS, "it has all")
        rig.produce(topic, 1)
        wait_until([member], lambda: len(member.read) == PARTITIONS, SECONDS, "it has read and committed")
        offsets = tool(broker, CONSUMER_GROUPS, "--describe", "--group", group)
        assert len(re.findall(rf"{group}\s+{topic}\s+\d+\s+1\s+1\s+0\s+\S+\s+\S+\s+somebody", offsets)) == PARTITIONS
        state = tool(broker, CONSUMER_GROUPS, "--describe", "--group", group, "--state", "--verbose")
        assert re.search(rf"{group}\s+\S+\s+\(\d+\)\s+uniform\s+Stable\s+\d+\s+\d+\s+1", state)
        assert re.search(rf"{group}\s+Consumer\s", tool(broker, CONSUMER_GROUPS, "--list", "--type"))
        member.leave()
        assert "was successful" in tool(broker, CONSUMER_GROUPS, "--delete", "--group", group)
    assert broker.terminate() == 0
    types = record_types(broker.data_dir, group)
    assert types.keys() >= CONSUMER_RECORDS
    broker.start()


def test_a_streams_group_is_described_and_its_records_are_read(broker, tmp_path):
    with ExitStack() as stack:
        rig = StreamsRig(broker, tmp_path, stack)
        rig.send(20)
        application = rig.application("first")
        wait_until([application], lambda: application.tasks == ALL_TASKS, SECONDS, "it has all tasks")
        rig.wait_for_counts([application])
        described = tool(broker, STREAMS_GROUPS, "--describe", "--group", APPLICATION)
        assert re.search(rf"{APPLICATION}\s+{INPUT}\s+0\s", described)
        state = tool(broker, STREAMS_GROUPS, "--describe", "--group", APPLICATION, "--state")
        assert re.search(rf"{APPLICATION}\s+\S+\s+\(\d+\)\s+Stable\s+2", state)
        members = tool(broker, STREAMS_GROUPS, "--describe", "--group", APPLICATION, "--members")
        assert members.count("ACTIVE:") == 2
        assert APPLICATION in tool(broker, STREAMS_GROUPS, "--list")
        application.leave()
        assert "was successful" in tool(broker, STREAMS_GROUPS, "--delete", "--group", APPLICATION)
    assert broker.terminate() == 0
    assert record_types(broker.data_dir, APPLICATION).keys() >= STREAMS_RECORDS
    broker.start()
