"""The SDK. Names are loaded when they are first asked for; `pystream.client.aio` has the same clients for asyncio."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystream.client.config import AdminConfig, ConsumerConfig, ProducerConfig, ShareConsumerConfig
    from pystream.client.consumer.record_batch import RecordBatch
    from pystream.client.sync.admin import AdminClient
    from pystream.client.sync.consumer import Consumer
    from pystream.client.sync.producer import Producer

__all__ = [
    "AdminClient",
    "AdminConfig",
    "Consumer",
    "ConsumerConfig",
    "Producer",
    "ProducerConfig",
    "RecordBatch",
    "ShareConsumerConfig",
]

_HOMES: Final = {  # name -> the module that has it
    "AdminClient": "pystream.client.sync.admin",
    "AdminConfig": "pystream.client.config",
    "Consumer": "pystream.client.sync.consumer",
    "ConsumerConfig": "pystream.client.config",
    "Producer": "pystream.client.sync.producer",
    "ProducerConfig": "pystream.client.config",
    "RecordBatch": "pystream.client.consumer.record_batch",
    "ShareConsumerConfig": "pystream.client.config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
