"""The SDK for asyncio: the same clients as `pystream.client`, on the caller's loop. Names are loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystream.client.admin.client import AdminClient
    from pystream.client.consumer.consumer import Consumer
    from pystream.client.producer.aio import Producer
    from pystream.client.share.consumer import ShareConsumer

__all__ = [
    "AdminClient",
    "Consumer",
    "Producer",
    "ShareConsumer",
]

_HOMES: Final = {  # name -> the module that has it
    "AdminClient": "pystream.client.admin.client",
    "Consumer": "pystream.client.consumer.consumer",
    "Producer": "pystream.client.producer.aio",
    "ShareConsumer": "pystream.client.share.consumer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
