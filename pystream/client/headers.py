"""Headers of records, as users give them and as they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Headers: TypeAlias = Mapping[str, str | Buffer | None] | Iterable[tuple[str | bytes, str | Buffer | None]]
    Pairs: TypeAlias = list[tuple[str | bytes, Buffer | None]]

LONGEST_SHOWN = 80


class RowHeaders(NamedTuple):
    """Headers of each row of a batch, where there are any, and those of all."""

    each: Any
    common: Pairs


def pairs_of(headers: Headers) -> Pairs:
    """Headers as the accumulator takes them; a value that is text is UTF-8. Raises TypeError."""
    found = headers.items() if isinstance(headers, Mapping) else headers
    pairs: Pairs = []
    try:
        for entry in found:
            if isinstance(entry, str | bytes):  # of two letters it would pass for a pair
                raise TypeError
            name, value = entry
            pairs.append((name, value.encode() if isinstance(value, str) else value))
    except (TypeError, ValueError):
        raise TypeError(
            "headers are a dict, or a list with pairs of a name and a value, as in [('source', b'web')], not "
            f"{type_of(headers)}{' of what is no pair' if isinstance(headers, list | tuple) else ''}"
        ) from None
    return pairs


def header_complaint(pairs: object) -> Exception | None:
    """What is wrong with what `pairs_of` gave; None where that is nothing."""
    for name, data in cast("Iterable[tuple[object, object]]", pairs or ()):
        if not isinstance(name, str | bytes):
            return TypeError(f"the name of a header is a str, not {shown(name)}")
        if data is not None and not is_bytes_like(data):
            return TypeError(f"header {name!r} is bytes-like, a str or None, not {type_of(data)}")
    return None


def is_bytes_like(given: object) -> bool:
    """Whether it has the buffer protocol."""
    try:
        memoryview(given)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def shown(given: object) -> str:
    """Its type, and what it is where that is short: of what is no payload."""
    text = repr(given)
    return f"{type_of(given)} {text}" if len(text) <= LONGEST_SHOWN else type_of(given)


def type_of(given: object) -> str:
    """The name of its type."""
    return type(given).__name__
