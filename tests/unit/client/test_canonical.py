"""Bootstrap servers by the names that their addresses have (client.dns.lookup)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from pystream import testing
from pystream.client import AdminClient
from pystream.client.cluster.canonical import Address, canonical

SECONDS = 60
CANONICAL = {"client.dns.lookup": "resolve_canonical_bootstrap_servers_only"}


class Names:
    """A directory of names and addresses."""

    def __init__(self, addresses: dict[str, list[str]], names: dict[str, str]) -> None:
        self.addresses = addresses
        self.names = names
        self.asked: list[str] = []

    async def getaddrinfo(self, host: Any, port: Any, *, type: int = 0) -> list[Any]:
        self.asked.append(host)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, type, 0, "", (address, port)) for address in self.addresses[host]]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        address = sockaddr[0]
        if address not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self.names[address], str(sockaddr[1])


def resolved(names: Names, *servers: Address) -> list[Address] | None:
    return asyncio.run(canonical(servers, names, timeout_s=SECONDS))


def test_an_alias_is_all_the_names_behind_it_each_once():
    names = Names(
        {"kafka": ["10.0.0.1", "10.0.0.2"], "one": ["10.0.0.1"], "two": ["10.0.0.2"]},
        {"10.0.0.1": "one", "10.0.0.2": "two"},
    )
    assert resolved(names, ("kafka", 9092), ("two", 9092), ("two", 9093)) == [
        ("one", 9092),
        ("two", 9092),
        ("two", 9093),
    ]


@pytest.mark.parametrize("names", [{}, {"10.0.0.1": "gone"}, {"10.0.0.1": "other"}], ids=["none", "unknown", "others"])
def test_an_address_without_a_name_of_its_own_stays_an_address(names: dict[str, str]):
    known = Names({"kafka": ["10.0.0.1"], "other": ["10.0.0.9"]}, names)
    assert resolved(known, ("kafka", 9092)) == [("10.0.0.1", 9092)]


def test_a_server_that_cannot_be_resolved_is_not_left_out_in_silence(caplog: pytest.LogCaptureFixture):
    assert resolved(Names({"kafka": ["10.0.0.1"]}, {}), ("kafka", 9092), ("nowhere", 9092)) is None
    assert "bootstrap servers not resolved" in caplog.text
    assert "Name or service not known" in caplog.text


def test_who_does_not_answer_is_not_waited_for_longer_than_allowed(caplog: pytest.LogCaptureFixture):
    class Silent(Names):
        async def getaddrinfo(self, host: Any, port: Any, *, type: int = 0) -> list[Any]:
            return await asyncio.get_running_loop().create_future()

    assert asyncio.run(canonical([("kafka", 9092)], Silent({}, {}), timeout_s=0)) is None
    assert "not within 0 s" in caplog.text


def test_a_client_finds_its_brokers_by_such_names():
    with testing.broker() as broker:
        port = broker.bootstrap.rpartition(":")[2]
        with AdminClient({"bootstrap.servers": f"127.0.0.1:{port}", **CANONICAL}) as admin:
            assert len(admin.describe_cluster().nodes) == 1
            (node,) = admin._engine.cluster._bootstrap
            names = {"127.0.0.1", socket.getnameinfo(("127.0.0.1", 0), 0)[0]}  # the former, where it leads elsewhere
            assert (node.host in names, node.port) == (True, int(port))
