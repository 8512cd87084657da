"""What the typed gRPC clients refuse before anything is sent. No server: nothing here may reach one."""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import Any

import pytest

from pystream.client.grpc import connect, connect_aio
from pystream.client.grpc.services.holder import Services
from pystream.common.errors import ClientError, Closed, InvalidConfig, NoBrokersAvailable

NOWHERE = "127.0.0.1:1"


def doors() -> list[tuple[str, str, str]]:
    """Each method that takes a collection: its service, its name and the keyword."""
    return [
        (service, name, parameter.name)
        for service, face in sorted(vars(Services(None)).items())
        for name, member in inspect.getmembers(type(face), inspect.isfunction)
        if not name.startswith("_")
        for parameter in inspect.signature(member).parameters.values()
        if str(parameter.annotation).startswith("Iterable[")
    ]


def test_the_worst_doors_are_among_them():
    assert {("topics", "delete_topics", "topics"), ("groups", "delete_groups", "groups")} <= {*doors()}


@pytest.mark.parametrize(("service", "method", "keyword"), doors())
def test_a_str_is_never_taken_letter_by_letter(service: str, method: str, keyword: str):
    given: dict[str, Any] = {keyword: "ab"}

    async def aio() -> None:
        async with connect_aio(NOWHERE) as admin:
            found = getattr(getattr(admin, service), method)(**given)
            await (found if inspect.isawaitable(found) else anext(found))

    with connect(NOWHERE) as admin, pytest.raises(TypeError, match="not the str 'ab'"):
        getattr(getattr(admin, service), method)(**given)
    with pytest.raises(TypeError, match="not the str 'ab'"):
        asyncio.run(aio())


def test_a_closed_client_says_so():
    admin = connect(NOWHERE)
    admin.close()
    with pytest.raises(Closed, match="ListTopics: this client is closed"):
        admin.topics.list_topics()
    with pytest.raises(Closed, match="WatchTopics"):
        admin.topics.watch_topics()


def test_a_closed_client_for_asyncio_says_so():
    async def work() -> None:
        admin = connect_aio(NOWHERE)
        await admin.close()
        with pytest.raises(Closed, match="ListTopics: this client is closed"):
            await admin.topics.list_topics()
        with pytest.raises(Closed, match="WatchTopics"):
            admin.topics.watch_topics()

    asyncio.run(work())


@pytest.mark.parametrize("target", ["", None, 9095, "http://127.0.0.1:9095", "127.0.0.1:99999", "127.0.0.1:"])
@pytest.mark.parametrize("door", [connect, connect_aio])
def test_what_is_no_address_is_refused_before_anybody_is_called(door: Any, target: Any):
    with pytest.raises(InvalidConfig, match="address is host:port"):
        door(target)


@pytest.mark.parametrize(
    ("timeout", "kind"), [("5", TypeError), (True, TypeError), ([1], TypeError), (math.nan, ValueError)]
)
def test_a_timeout_that_is_none_is_refused(timeout: Any, kind: type[Exception]):
    with connect(NOWHERE) as admin, pytest.raises(kind, match="timeout is a number of seconds, or None"):
        admin.topics.list_topics(timeout=timeout)


@pytest.mark.parametrize("timeout", [math.inf, 1e30])
def test_a_timeout_without_an_end_is_none_at_all(timeout: float):
    with connect(NOWHERE) as admin, pytest.raises(NoBrokersAvailable):  # and no deadline that has passed already
        admin.topics.list_topics(timeout=timeout)


def test_a_client_for_asyncio_is_not_made_where_no_loop_runs():
    with pytest.raises(ClientError, match=r"connect_aio\(\) belongs to a running loop"):
        connect_aio(NOWHERE)


def test_a_stream_that_was_cancelled_does_not_look_as_if_its_reader_were():
    async def work() -> None:
        async with connect_aio(NOWHERE) as admin:
            stream = admin.topics.watch_topics()
            stream.cancel()
            stream.cancel()
            with pytest.raises(Closed, match="the stream was cancelled"):
                await anext(stream)

    asyncio.run(work())
