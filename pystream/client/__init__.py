"""The SDK. Names are loaded when they are first asked for; `pystream.client.aio` has the same clients for asyncio."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pystream.client.config import AdminConfig, ConsumerConfig, ProducerConfig, ShareConsumerConfig
    from pystream.client.consumer.record_batch import RecordBatch
    from pystream.client.share.delivery import AcknowledgeType
    from pystream.client.sync.admin import AdminClient
    from pystream.client.sync.consumer import Consumer
    from pystream.client.sync.producer import Producer
    from pystream.client.sync.share import ShareConsumer

__all__ = [
    "AcknowledgeType",
    "AdminClient",
    "AdminConfig",
    "Consumer",
    "ConsumerConfig",
    "Producer",
    "ProducerConfig",
    "RecordBatch",
    "ShareConsumer",
    "ShareConsumerConfig",
]

_HOMES: Final = {  # name -> the module that has it
    "AcknowledgeType": "pystream.client.share.delivery",
    "AdminClient": "pystream.client.sync.admin",
    "AdminConfig": "pystream.client.config",
    "Consumer": "pystream.client.sync.consumer",
    "ConsumerConfig": "pystream.client.config",
    "Producer": "pystream.client.sync.producer",
    "ProducerConfig": "pystream.client.config",
    "RecordBatch": "pystream.client.consumer.record_batch",
    "ShareConsumer": "pystream.client.sync.share",
    "ShareConsumerConfig": "pystream.client.config",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
