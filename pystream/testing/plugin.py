"""The pytest plugin, found by its entry point: fixtures, and a marker that says which broker a test wants.

def test_it(pystream_broker): ...                                  # a broker of its own, faults at hand

@pytest.mark.pystream(process=True, num_partitions=3)              # what pystream.testing.broker takes
def test_that(pystream_broker): ...

def test_these(pystream_session_broker): ...                       # one broker for the whole run, and for each worker
                                                                   # of pytest-xdist one

@pytest.fixture(scope="session")
def pystream_options(): return {"num_partitions": 3}               # what both begin with
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pystream.testing.local_broker import LocalBroker

MARKER = "pystream"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "pystream(settings, **options): the broker of this test, as pystream.testing.broker takes"
    )


@pytest.fixture(scope="session")
def pystream_options() -> dict[str, Any]:
    """Options of every broker that the fixtures make. Override it."""
    return {}


@pytest.fixture
def pystream_broker(request: pytest.FixtureRequest, pystream_options: dict[str, Any]) -> Iterator[LocalBroker]:
    """A broker for one test, with faults=True unless the marker `pystream` says otherwise."""
    from pystream.testing.make import broker
    from pystream.testing.settings import OPTIONS, spelled

    settings: dict[str, Any] = {}
    options: dict[str, Any] = {"faults": True}
    marks = reversed(list(request.node.iter_markers(MARKER)))
    for arguments, keywords in [((), pystream_options), *((mark.args, mark.kwargs) for mark in marks)]:
        for given in arguments:
            if not isinstance(given, Mapping):
                raise pytest.UsageError(f"the marker {MARKER} takes settings by name, and options, not {given!r}")
            settings |= spelled(given)  # the nearest wins, in whichever spelling
        settings |= spelled({name: value for name, value in keywords.items() if name not in OPTIONS})
        options |= {name: value for name, value in keywords.items() if name in OPTIONS}
    with broker(settings, **options) as made:
        yield made


@pytest.fixture(scope="session")
def pystream_session_broker(pystream_options: dict[str, Any]) -> Iterator[LocalBroker]:
    """One broker for all tests of the run that ask for it; its topics stay, so each test makes its own."""
    from pystream.testing.make import broker

    with broker(**pystream_options) as made:
        yield made
