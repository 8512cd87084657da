"""The admin client on a broker of ours: blocking calls, restarts, many topics."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import pystream
from pystream.client.admin.topics import NewTopic
from pystream.common.errors import Closed, DeadlineExceeded, TopicAlreadyExists
from tests.support.broker_process import BrokerProcess

MANY = 2_000


def test_blocking_calls_from_many_threads(tmp_path: Path):
    with BrokerProcess(tmp_path / "data") as broker:
        with pystream.AdminClient({"bootstrap.servers": broker.bootstrap}) as admin:
            failures: list[Exception] = []

            def create(number: int) -> None:
                try:
                    admin.create_topics([NewTopic(f"topic-{number}", 1, 1)]).checked()
                except Exception as error:
                    failures.append(error)
                    raise

            threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert failures == []
            assert sorted(admin.list_topics()) == [f"topic-{number}" for number in range(8)]
            with pytest.raises(TopicAlreadyExists):
                admin.create_topics([NewTopic("topic-0", 1, 1)]).checked()
        with pytest.raises(Closed):
            admin.list_topics()
        admin.close()


def test_two_clients_share_the_background_thread_and_close_apart(tmp_path: Path):
    with BrokerProcess(tmp_path / "data") as broker:
        before = set(threading.enumerate())
        first = pystream.AdminClient(bootstrap_servers=broker.bootstrap)
        second = pystream.AdminClient(bootstrap_servers=broker.bootstrap)
        assert first.describe_cluster() == second.describe_cluster()
        first.close()
        assert len(second.describe_cluster().nodes) == 1
        with pytest.raises(Closed):
            first.describe_cluster()
        second.close()
        assert [thread for thread in set(threading.enumerate()) - before if thread.name == "pystream-client"] == []


def test_a_broker_that_is_killed_and_comes_back_is_found_again(tmp_path: Path):
    async def work(broker: BrokerProcess) -> None:
        settings = {"reconnect.backoff.max.ms": 50, "request.timeout.ms": 5_000}
        async with pystream.aio.AdminClient(settings, bootstrap_servers=broker.bootstrap) as admin:
            (await admin.create_topics([NewTopic("kept", 1, 1)])).checked()
            broker.kill()
            with pytest.raises(DeadlineExceeded, match=r"not done within 2000 ms.*127\.0\.0\.1"):
                await admin.list_topics(timeout_ms=2_000)
            waiting = asyncio.create_task(admin.list_topics())
            await asyncio.to_thread(broker.start)
            assert list(await waiting) == ["kept"]

    with BrokerProcess(tmp_path / "data") as broker:
        asyncio.run(work(broker))


def test_many_topics_are_created_listed_and_described(tmp_path: Path):
    async def work(bootstrap: str) -> None:
        async with pystream.aio.AdminClient(bootstrap_servers=bootstrap) as admin:
            names = [f"topic-{number:05}" for number in range(MANY)]
            for start in range(0, MANY, 500):
                topics = [NewTopic(name, 2, 1) for name in names[start : start + 500]]
                (await admin.create_topics(topics)).checked()
            assert list(await admin.list_topics()) == names
            described = (await admin.describe_topics(names)).checked()
            assert {len(found.partitions) for found in described.values()} == {2}

    with BrokerProcess(tmp_path / "data") as broker:
        asyncio.run(work(broker.bootstrap))
