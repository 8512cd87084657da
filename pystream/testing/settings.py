"""What a broker under test is started with.

Defaults differ from a server's where a test would wait for nothing: a group's first rebalance is not delayed, internal
topics have one partition, metrics are not served. What the test gives wins over all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from pystream.broker.config import SILENTLY_ACCEPTED, BrokerConfig, broker_keys
from pystream.common.config import INT_MAX
from pystream.common.errors import InvalidConfig

HOST: Final = "127.0.0.1"
LISTENER: Final = "PLAINTEXT"  # what clients connect to
DIRECT_LISTENER: Final = "DIRECT"  # the broker itself, where faults stand in front of the other
OPTIONS: Final = ("process", "faults", "manual_clock", "data_dir")  # of broker() itself
OURS: Final[Mapping[str, str]] = {
    "listeners": "a broker under test has a port of its own, its `bootstrap`",
    "advertised.listeners": "clients are told the broker's `bootstrap`",
    "listener.security.protocol.map": "a broker under test has a port of its own, its `bootstrap`",
    "log.dirs": "broker(data_dir=...) says where data lies",
    "log.dir": "broker(data_dir=...) says where data lies",
}
LISTENER_PREFIX: Final = "listener.name."
DEFAULTS: Final[Mapping[str, str]] = {
    "broker.session.timeout.ms": str(INT_MAX),  # a test lets days pass at once
    "controlled.shutdown.enable": "true",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": str(8 << 20),
    "log.dir.reserve.bytes": "0",
    "log.dir.volatile.allow": "true",
    "log.scrub.interval.ms": "-1",
    "metadata.backup.interval.ms": "-1",
    "metrics.listener": "",
    "num.network.threads": "1",
    "offsets.topic.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "shutdown.drain.ms": "100",
    "transaction.state.log.num.partitions": "1",
}
Setting = str | int | float | bool


def spelled(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Kafka's names and spelling: num_partitions=3 is "num.partitions": "3", True is "true". Raises InvalidConfig."""
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        raise InvalidConfig(f"settings are names with values, such as {{'num.partitions': 3}}, not {settings!r}")
    return {
        name.replace("_", "."): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


def listeners(port: int, *, advertised_port: int | None) -> dict[str, str]:
    """A broker at `port`; with an advertised one, its clients are told that, and there is a second listener."""
    if advertised_port is None:
        return {"listeners": f"{LISTENER}://{HOST}:{port}"}
    return {
        "listeners": f"{LISTENER}://{HOST}:{port},{DIRECT_LISTENER}://{HOST}:0",
        "advertised.listeners": f"{LISTENER}://{HOST}:{advertised_port},{DIRECT_LISTENER}://{HOST}:0",
        "listener.security.protocol.map": f"{LISTENER}:PLAINTEXT,{DIRECT_LISTENER}:PLAINTEXT",
    }


def check_names(settings: Mapping[str, str]) -> None:
    """Raises InvalidConfig for the first name that no setting of a broker has, with the nearest that there is.

    A server only warns of such names, as Kafka does; in a test they are slips of the pen.
    """
    known = broker_keys().keys() | SILENTLY_ACCEPTED
    for name in settings:
        if name in OURS:
            raise InvalidConfig(f"{name} cannot be set: {OURS[name]}")
        if name not in known and not name.startswith(LISTENER_PREFIX):
            near = difflib.get_close_matches(name, [*known, *(option.replace("_", ".") for option in OPTIONS)], n=1)
            hint = f"; did you mean {_as_keyword(near[0])}?" if near else ""
            raise InvalidConfig(f"a broker has no setting {name}{hint}")


def checked(settings: Mapping[str, str], ours: Mapping[str, str]) -> BrokerConfig:
    """The configuration that settings and what the kit adds to them make. Raises InvalidConfig."""
    check_names(settings)
    return BrokerConfig.from_settings({**settings, **ours})


def _as_keyword(name: str) -> str:
    option = name.replace(".", "_")
    return option if option in OPTIONS else name
