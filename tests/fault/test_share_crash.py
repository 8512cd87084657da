"""kill -9 while members of a share group acknowledge: what was confirmed never comes back, nothing is lost."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

from pystream.common.error_codes import NONE
from tests.support.broker_process import BrokerProcess
from tests.support.raw_client import RawClient
from tests.support.raw_share import SETTINGS, Range, RawShareMember, begin_with_the_first_record, create_topic
from tests.unit.data_plane.conftest import batch
from tests.unit.data_plane.requests import produce

ROUNDS, FULL_ROUNDS = 3, 40
RECORDS_PER_ROUND = 6_000
ACCEPT, RELEASE, REJECT = 1, 2, 3


class Ledger:
    """What the members were told, over all restarts."""

    def __init__(self, seed: int, records: int) -> None:
        self.random = random.Random(seed)
        self.records = records
        self.interruptions = 0
        self.ended: set[int] = set()  # the broker said that they are accepted or rejected
        self.said: set[int] = set()  # so the members said, and may not have had an answer

    def work(self, member: RawShareMember) -> None:
        """Take and acknowledge until every record has found its end, or the connection breaks."""
        while len(self.ended) < self.records:
            for first, last, _ in member.take(max_records=20, share_acquire_mode=1, max_wait_ms=100):
                offsets = set(range(first, last + 1))
                assert not offsets & self.ended, f"{sorted(offsets & self.ended)} came back"
                kind = self.random.choice([ACCEPT, ACCEPT, ACCEPT, RELEASE, REJECT])
                if kind != RELEASE:
                    self.said |= offsets
                assert member.acknowledge((first, last, kind)) == NONE
                if kind != RELEASE:
                    self.ended |= offsets

    def finish(self, member: RawShareMember, taken: list[Range]) -> None:
        for first, last, _ in taken:
            offsets = set(range(first, last + 1))
            assert not offsets & self.ended, f"{sorted(offsets & self.ended)} came back"
            self.said |= offsets
            assert member.acknowledge((first, last, ACCEPT)) == NONE

    def survives(self, broker: BrokerProcess, member: RawShareMember) -> None:
        """Kill the broker at some moment while the member works."""
        timer = threading.Timer(self.random.uniform(0.01, 0.3), broker.kill)
        timer.start()
        try:
            self.work(member)
        except OSError:
            self.interruptions += 1
        timer.join()
        member.close()


def test_confirmed_acknowledgements_outlive_kill_9(tmp_path: Path, full: bool):
    seed = int(os.environ.get("PYSTREAM_TEST_SEED", "0")) or int.from_bytes(os.urandom(4), "big")
    print(f"PYSTREAM_TEST_SEED={seed}")
    rounds = FULL_ROUNDS if full else ROUNDS
    ledger = Ledger(seed, rounds * RECORDS_PER_ROUND)
    with BrokerProcess(tmp_path / "data", {**SETTINGS, "group.share.delivery.count.limit": "10"}) as broker:
        with RawClient(broker.port) as client:
            topic_id = create_topic(client, "topic")
            begin_with_the_first_record(client, "group")
            for _ in range(ledger.records // 100):
                client.call(produce((0, batch(*[b"value"] * 100)), topic="topic", acks=-1), 9)
        for number in range(rounds):
            member = RawShareMember(broker.port, "group", f"member-{number}", "topic", topic_id).join()
            ledger.survives(broker, member)
            broker.start()
        member = RawShareMember(broker.port, "group", "last", "topic", topic_id).join()
        while ledger.said != set(range(ledger.records)):  # every record finds somebody who ends it
            ledger.finish(member, member.take_until())
        while taken := member.take(max_wait_ms=1_000):
            ledger.finish(member, taken)
        member.close()
    assert ledger.interruptions, "no kill fell into a member's work"
