"""`pystream top` against a broker: one look as text, and the screen by Textual's pilot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pystream.cli.live.dashboard import Dashboard
from pystream.cli.live.watch import Watcher
from pystream.client.aio import AdminClient
from tests.integration.cli.conftest import Command, Produce, fresh
from tests.support.broker_process import BrokerProcess

NEVER_S = 3_600.0


def watched(broker: BrokerProcess, scenario: Callable[[AdminClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with AdminClient(bootstrap_servers=broker.bootstrap, default_api_timeout_ms=30_000) as admin:
            await scenario(admin)

    asyncio.run(run())


def test_one_look_tells_topics_groups_and_brokers(pystream: Command, produce: Produce, broker: BrokerProcess):
    topic, group = fresh("looked"), fresh("looking")
    pystream("topics", "create", topic, "--partitions", "2")
    produce(topic, 7)
    pystream("groups", "reset-offsets", group, "--topic", topic, "--to-offset", "2", "--execute")

    found = pystream("top", "--once", "--json", "--interval", "0.1").json
    text = pystream("top", "--once", "--interval", "0.1").out

    (row,) = [row for row in found["topics"] if row["topic"] == topic]
    assert (row["partitions"], row["records"], row["unhealthy"]) == (2, 7, 0)
    (row,) = [row for row in found["groups"] if row["group"] == group]
    assert (row["state"], row["members"], row["lag"]) == ("Empty", 0, 5)
    (row,) = found["brokers"]
    assert (row["broker"], row["address"], row["controller"]) == (1, broker.bootstrap, True)
    assert "RECORDS PER SECOND" in text
    assert group in text


def test_rates_are_what_changed_between_two_looks(pystream: Command, produce: Produce, broker: BrokerProcess):
    topic = fresh("rated")
    pystream("topics", "create", topic, "--partitions", "1")
    times = iter([10.0, 12.0])

    async def scenario(admin: AdminClient) -> None:
        watcher = Watcher(admin, now=lambda: next(times))
        first = await watcher.look()
        await asyncio.to_thread(produce, topic, 10)
        second = await watcher.look()
        rates = [{each.topic: each.records_per_second for each in look.topics}[topic] for look in (first, second)]
        assert rates == [0.0, 5.0]

    watched(broker, scenario)


def test_the_screen_fills_pauses_and_ends_by_its_keys(pystream: Command, produce: Produce, broker: BrokerProcess):
    topic = fresh("shown")
    pystream("topics", "create", topic, "--partitions", "1")
    produce(topic, 3)

    async def scenario(admin: AdminClient) -> None:
        app = Dashboard(admin, NEVER_S)
        async with app.run_test(size=(120, 40)) as pilot:
            await app.workers.wait_for_complete()
            table = app.table("topics")
            rows = {table.get_row_at(number)[0].plain: table.get_row_at(number) for number in range(table.row_count)}
            assert rows[topic][2].plain == "3"
            assert app.table("brokers").row_count == 1
            await pilot.press("p")
            assert "PAUSED" in str(app.query_one("#status").render())
            await pilot.press("g")
            await pilot.pause()
            assert app.query_one("TabbedContent").active == "tab-groups"
            await asyncio.to_thread(produce, topic, 2)
            await pilot.press("r")
            await app.workers.wait_for_complete()
            again = {table.get_row_at(number)[0].plain: table.get_row_at(number) for number in range(table.row_count)}
            assert again[topic][2].plain == "5"
            await pilot.press("q")

    watched(broker, scenario)


def test_a_cluster_that_goes_away_is_told_on_the_screen(broker: BrokerProcess):
    async def scenario(_: AdminClient) -> None:
        async with AdminClient(bootstrap_servers="127.0.0.1:1", default_api_timeout_ms=300) as nobody:
            app = Dashboard(nobody, NEVER_S)
            async with app.run_test():
                await app.workers.wait_for_complete()
                assert "--bootstrap-server" in str(app.query_one("#status").render())

    watched(broker, scenario)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [(("--json",), 2, "--once"), ((), 2, "no terminal"), (("--interval", "0"), 2, "0.1")],
    ids=str,
)
def test_what_cannot_be_is_one_line(pystream: Command, arguments: tuple[str, ...], code: int, complaint: str):
    outcome = pystream("top", *arguments)

    assert (outcome.code, outcome.out) == (code, "")
    assert complaint in outcome.err
