"""A test lets time pass: what a broker ends by its clock ends at once."""

from __future__ import annotations

import math
import threading
import time

import pytest

import pystream
from pystream.client.admin.partitions import LATEST, IsolationLevel
from pystream.common.errors import PystreamError
from pystream.common.model import TopicPartition
from pystream.testing import EmbeddedBroker, broker
from pystream.testing.clock import BrokerClock

SECONDS = 120
PARTITION = TopicPartition("t", 0)


def first_offset(b: EmbeddedBroker) -> int:
    with pystream.Consumer(bootstrap_servers=b.bootstrap) as consumer:
        return consumer.beginning_offsets([PARTITION])[PARTITION]


def stable_end(b: EmbeddedBroker) -> int:
    with pystream.AdminClient(bootstrap_servers=b.bootstrap) as admin:
        found = admin.list_offsets({PARTITION: LATEST}, isolation_level=IsolationLevel.READ_COMMITTED)
        return found.checked()[PARTITION].offset


def members(b: EmbeddedBroker, group: str) -> int:
    with pystream.AdminClient(bootstrap_servers=b.direct_bootstrap) as admin:
        return len(admin.describe_consumer_groups([group]).checked()[group].members)


def test_retention_is_enforced_when_its_time_has_passed():
    with broker(log_segment_bytes=1 << 20, log_retention_ms=3_600_000) as b:
        b.create_topic("t")
        with pystream.Producer(bootstrap_servers=b.bootstrap) as producer:
            for _ in range(5):
                producer.send("t", b"v" * 600_000).result(SECONDS)
        b.clock.advance(minutes=50)
        assert first_offset(b) == 0
        b.clock.advance(minutes=20)
        assert first_offset(b) == 5
        b.clock.advance(days=90)  # longer than any registration lasts: the broker is still there
        assert first_offset(b) == 5


def test_a_transaction_ends_by_its_time_out():
    with broker() as b:
        b.create_topic("t")
        producer = pystream.Producer(bootstrap_servers=b.bootstrap, transactional_id="x", transaction_timeout_ms=60_000)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("t", b"never").result(SECONDS)
        b.clock.advance(seconds=50)
        assert stable_end(b) == 0
        b.clock.advance(seconds=30)
        deadline = time.monotonic() + SECONDS
        while stable_end(b) != 2:  # the record and the marker that aborts it
            assert time.monotonic() < deadline, "the transaction was not aborted"
        with pytest.raises(PystreamError):
            producer.commit_transaction()
        producer.close()


def test_a_member_that_is_not_heard_loses_its_session():
    with broker(faults=True) as b:
        b.create_topic("t")
        with pystream.Consumer(bootstrap_servers=b.bootstrap, group_id="g") as consumer:
            consumer.subscribe(["t"])
            consumer.poll(timeout=0)
            while not consumer.assignment():
                consumer.poll(timeout=0.1)
            assert members(b, "g") == 1
            silence = b.faults.drop("ConsumerGroupHeartbeat")
            b.clock.advance(seconds=25)  # of 45; its last heartbeat may be some seconds ago
            assert members(b, "g") == 1
            b.clock.advance(seconds=25)
            assert members(b, "g") == 0
            silence.remove()


def test_a_manual_clock_stands_still_between_advances():
    with broker(manual_clock=True, group_initial_rebalance_delay_ms=3_000) as b:
        assert b.clock.stands
        before = b.clock.now_ms(), b.clock.monotonic_ms()
        b.create_topic("t")
        assert (b.clock.now_ms(), b.clock.monotonic_ms()) == before
        joined = threading.Event()

        def join() -> None:
            with pystream.Consumer(bootstrap_servers=b.bootstrap, group_id="g", group_protocol="classic") as consumer:
                consumer.subscribe(["t"])
                while not consumer.assignment():
                    consumer.poll(timeout=0.05)
                joined.set()

        joining = threading.Thread(target=join)
        joining.start()
        assert not joined.wait(0.3), "the group's first rebalance waits for the clock"
        deadline = time.monotonic() + SECONDS
        while not joined.wait(0.05):
            assert time.monotonic() < deadline
            b.clock.advance(seconds=1)
        joining.join(SECONDS)


def test_time_passes_while_the_broker_is_stopped_and_never_runs_back():
    with broker() as b:
        before_ms = b.clock.now_ms()
        b.stop()
        b.clock.advance(hours=1)
        b.start()
        assert b.clock.now_ms() >= before_ms + 3_600_000
        with pytest.raises(ValueError, match="back"):
            b.clock.advance(-1)


@pytest.mark.parametrize("span", [{"ms": -1}, {"seconds": math.nan}, {"days": math.inf}, {"days": 40_000}])
def test_time_does_not_pass_by_what_is_no_time(span: dict[str, float]):
    clock = BrokerClock()
    with pytest.raises(ValueError, match=r"time cannot run back|time passes by \d+ ms at most"):
        clock.advance(**span)


def test_time_is_whole_milliseconds():
    clock = BrokerClock(stands=True)
    before = clock.now_ms()
    clock.advance(1.5, seconds=0.0004)
    assert clock.now_ms() - before == 2
    assert isinstance(clock.now_ms(), int)
