"""pystream: a data-streaming platform in one `pip install`, Kafka-compatible on the wire.

The names of the SDK are here too, loaded when asked for: `pystream.AdminClient`, and `pystream.aio.AdminClient`; so are
the packages `pystream.client`, `pystream.compat` and the test kit, `pystream.testing`.
Type checkers read them in __init__.pyi, so that this module imports nothing else.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0.dev0"

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
    "aio",
    "client",
    "compat",
    "testing",
]

_PACKAGES = {
    "aio": "pystream.client.aio",
    "client": "pystream.client",
    "compat": "pystream.compat",
    "testing": "pystream.testing",
}


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return import_module(_PACKAGES[name])
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("pystream.client"), name)


def __dir__() -> list[str]:
    return ["__version__", *__all__]
