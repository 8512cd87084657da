"""A second oracle: kafka-python reads our bytes and writes the same, for each of the 52 keys that it has."""

from __future__ import annotations

import pkgutil
import warnings
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

import pytest

from pystream.protocol.messages.index import INDEX
from tests.support.codec_values import Entity, Values, entities, to_ours

with warnings.catch_warnings():  # kafka-python 3.0 reads its own schemas in a deprecated way
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka.protocol
    from kafka.protocol.api_message import ApiMessage

ROUNDS, FULL_ROUNDS = 2, 50


def subclasses(cls: Any) -> Iterator[Any]:
    for found in cls.__subclasses__():
        yield found
        yield from subclasses(found)


@cache
def peers() -> dict[tuple[int, str], Any]:
    """(API key, direction) -> kafka-python's class."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import_all()
    return {(cls.API_KEY, cls.type): cls for cls in subclasses(ApiMessage) if getattr(cls, "_json", None)}


def import_all() -> None:
    for module in pkgutil.walk_packages(kafka.protocol.__path__, "kafka.protocol."):
        if ".old" not in module.name:
            import_module(module.name)


def shared() -> list[Entity]:
    found = []
    for entity in entities():
        peer = peers().get((getattr(entity.ours, "API_KEY", -1), entity.kind))
        if peer is not None and entity.version <= peer.max_version:
            found.append(entity)
    return found


def test_kafka_python_shares_52_keys():
    assert len({key for key, _ in peers() if key in INDEX}) == 52


@pytest.mark.parametrize("entity", shared(), ids=str)
def test_kafka_python_reads_and_writes_the_same_bytes(entity: Entity, full: bool):
    peer = peers()[entity.oracle.__api_key__, entity.kind]
    for seed in range(FULL_ROUNDS if full else ROUNDS):
        ours = to_ours(Values(seed).entity(entity.oracle), entity.ours)
        if entity.schema == "api_versions" and entity.kind == "response":
            ours.error_code = 0  # kafka-python reads a failed response of any version as version 0, as KIP-511 has it
        data = ours.encode(entity.version)
        theirs = peer.decode(data, version=entity.version)
        theirs._header = None  # which only a request made to be sent is given
        assert bytes(theirs.encode(version=entity.version)) == data
