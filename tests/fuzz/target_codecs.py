"""Generated codecs of every message, header and record: a value or MalformedInput; what was read comes back equal.

input: two bytes that choose one of the 625 messages and versions, body...
"""

from __future__ import annotations

import math
from importlib import import_module
from pkgutil import iter_modules

from pystream._native.wire import Reader
from pystream.common.errors import MalformedInput
from pystream.protocol import messages
from pystream.protocol.message import Message, Struct

ELEMENT_LIMIT = 10_000
CHOICE_BYTES = 2


def kinds() -> list[tuple[type[Message], int]]:
    """Every message class and version, in an order that stays."""
    modules = [import_module(f"{messages.__name__}.{module.name}") for module in iter_modules(messages.__path__)]
    classes = {
        (found.__module__, found.__name__): found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Message) and found is not Message
    }
    return [(classes[name], version) for name in sorted(classes) for version in sorted(classes[name].READERS)]


KINDS = kinds()  # at import: what is imported later has no coverage


def seeds() -> list[bytes]:
    """Of each kind a message that was told nothing, and one that is full, made by kio."""
    from tests.support.codec_values import entities, sample

    position = {kind: index.to_bytes(CHOICE_BYTES, "big") for index, kind in enumerate(KINDS)}
    empty = [position[kind] + kind[0]().encode(kind[1]) for kind in KINDS]
    return empty + [position[entity.ours, entity.version] + sample(entity, 1) for entity in entities()]


def check(data: bytes) -> None:
    if len(data) < CHOICE_BYTES:
        return
    message, version = KINDS[int.from_bytes(data[:CHOICE_BYTES], "big") % len(KINDS)]
    try:
        reader = Reader(data[CHOICE_BYTES:], element_limit=ELEMENT_LIMIT)
        first = message.read(reader, version)
        reader.finish()
    except MalformedInput:
        return
    written = first.encode(version)
    again = message.decode(written, version)
    assert again.encode(version) == written, f"{message.__name__} {version}: bytes are not stable"
    assert is_same(again, first), f"{message.__name__} {version}: {first!r} comes back as {again!r}"


def is_same(again: object, first: object) -> bool:
    """Equality, but that NaN is itself, and that a tagged struct sent at its defaults is not written again."""
    if isinstance(first, Struct):
        if again is None:
            return first == type(first)()
        return type(again) is type(first) and all(
            is_same(getattr(again, name), getattr(first, name)) for name in first.__slots__
        )
    if isinstance(first, list | tuple):
        return isinstance(again, list | tuple) and len(again) == len(first) and all(map(is_same, again, first))
    if isinstance(first, float) and math.isnan(first):
        return isinstance(again, float) and math.isnan(again)
    return again == first
