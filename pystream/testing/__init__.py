"""The test kit: brokers for test suites, with a clock that tests turn and faults that tests order.

    with pystream.testing.broker() as b:
        Producer({"bootstrap.servers": b.bootstrap})

Loaded when asked for, so that the pytest plugin costs nothing where it is not used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystream.testing.clock import BrokerClock as BrokerClock
    from pystream.testing.embedded import EmbeddedBroker as EmbeddedBroker
    from pystream.testing.faults import Fault as Fault
    from pystream.testing.faults import Faults as Faults
    from pystream.testing.local_broker import BrokerFailed as BrokerFailed
    from pystream.testing.local_broker import LocalBroker as LocalBroker
    from pystream.testing.local_broker import NotRunning as NotRunning
    from pystream.testing.local_broker import NotThere as NotThere
    from pystream.testing.make import broker as broker
    from pystream.testing.process_broker import ProcessBroker as ProcessBroker

_HOMES = {
    "BrokerClock": "clock",
    "BrokerFailed": "local_broker",
    "EmbeddedBroker": "embedded",
    "Fault": "faults",
    "Faults": "faults",
    "LocalBroker": "local_broker",
    "NotRunning": "local_broker",
    "NotThere": "local_broker",
    "ProcessBroker": "process_broker",
    "broker": "make",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
