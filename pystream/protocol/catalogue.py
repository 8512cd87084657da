"""From an API key to its message classes; a module is imported when it is first asked for."""

from __future__ import annotations

import functools
from importlib import import_module

from pystream.common.errors import UnsupportedVersion
from pystream.protocol.message import Message
from pystream.protocol.messages.index import INDEX


def request_class(api_key: int) -> type[Message]:
    """Class of the requests of a key. Raises UnsupportedVersion for a key that Kafka 4.2 does not have."""
    return _load(api_key, "Request")


def response_class(api_key: int) -> type[Message]:
    """Class of the responses of a key. Raises UnsupportedVersion for a key that Kafka 4.2 does not have."""
    return _load(api_key, "Response")


@functools.cache
def _load(api_key: int, direction: str) -> type[Message]:
    entry = INDEX.get(api_key)
    if entry is None:
        raise UnsupportedVersion(f"API key {api_key}, expected one of Kafka 4.2's {len(INDEX)}")
    found: type[Message] = getattr(import_module(f"pystream.protocol.messages.{entry.module}"), entry.name + direction)
    return found
