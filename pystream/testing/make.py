"""Brokers by one call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, overload

from pystream.testing.embedded import EmbeddedBroker
from pystream.testing.local_broker import LocalBroker, NotThere
from pystream.testing.process_broker import ProcessBroker
from pystream.testing.settings import Setting, spelled


@overload
def broker(
    settings: Mapping[str, Setting] | None = None,
    /,
    *,
    process: Literal[False] = False,
    faults: bool = False,
    manual_clock: bool = False,
    data_dir: Path | str | None = None,
    **keywords: Setting,
) -> EmbeddedBroker: ...


@overload
def broker(
    settings: Mapping[str, Setting] | None = None,
    /,
    *,
    process: Literal[True],
    faults: bool = False,
    manual_clock: bool = False,
    data_dir: Path | str | None = None,
    **keywords: Setting,
) -> ProcessBroker: ...


@overload
def broker(
    settings: Mapping[str, Setting] | None = None,
    /,
    *,
    process: bool,
    faults: bool = False,
    manual_clock: bool = False,
    data_dir: Path | str | None = None,
    **keywords: Setting,
) -> LocalBroker: ...


def broker(
    settings: Mapping[str, Setting] | None = None,
    /,
    *,
    process: bool = False,
    faults: bool = False,
    manual_clock: bool = False,
    data_dir: Path | str | None = None,
    **keywords: Setting,
) -> LocalBroker:
    """A broker on a free port of 127.0.0.1; `with` starts it, and stops it and removes its data at the end.

    Settings are Kafka's, {"num.partitions": 3} or num_partitions=3. It runs in the test's own process, or, with
    `process`, in one that can be killed. `faults` lets the test order faults of requests and connections. With
    `manual_clock` its time stands still but for clock.advance(). A `data_dir` is kept at the end and may hold data of
    an earlier broker. Raises NotThere for a manual clock in a process; start() raises InvalidConfig and BrokerFailed.
    """
    given = {**spelled(settings or {}), **spelled(keywords)}
    path = None if data_dir is None else Path(data_dir)
    if not process:
        return EmbeddedBroker(given, faults=faults, data_dir=path, manual_clock=manual_clock)
    if manual_clock:
        raise NotThere("a broker in its own process has the machine's clock: manual_clock goes without process=True")
    return ProcessBroker(given, faults=faults, data_dir=path)
