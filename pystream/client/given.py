"""What callers hand in: collections, never the letters of a str that was meant as one name; numbers that make sense."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeAlias, TypeVar, overload

from pystream.common.model import TopicPartition

K = TypeVar("K")
V = TypeVar("V")
ConfigValue: TypeAlias = str | float | bool | None  # of a setting, before it is text
ByPartition: TypeAlias = Mapping[TopicPartition, V] | Mapping[tuple[str, int], V]
LETTERS = (str, bytes, bytearray)


@overload
def listed(given: Iterable[V]) -> list[V]: ...
@overload
def listed(given: Iterable[V] | None) -> list[V] | None: ...
def listed(given: Iterable[V] | None) -> list[V] | None:
    """As a list, None as it is. Raises TypeError for a str, which would be taken letter by letter."""
    if given is None:
        return None
    if isinstance(given, LETTERS):
        raise TypeError(f"a list of names, not the {type(given).__name__} {given!r}: write [{given!r}]")
    return list(given)


def mapped(given: Mapping[K, V], example: str) -> Mapping[K, V]:
    """As it is. Raises TypeError, with an example, for what has no values by name."""
    if not isinstance(given, Mapping):
        raise TypeError(f"a dict such as {example}, not the {type(given).__name__} {given!r}")
    return given


def as_partition(value: TopicPartition | tuple[str, int]) -> TopicPartition:
    """A TopicPartition of what users write: one, or a pair. Raises ValueError for anything else."""
    if isinstance(value, TopicPartition):
        return value
    if _is_pair(value):
        return TopicPartition(value[0], int(value[1]))
    raise ValueError(f"expected TopicPartition(topic, partition) or (topic, partition), found {value!r}")


def as_partitions(values: Iterable[TopicPartition | tuple[str, int]]) -> list[TopicPartition]:
    """Each of them once, in order. Raises ValueError; TypeError for a str."""
    if _is_pair(values):
        raise ValueError(f"expected a list of partitions, found one: [{values!r}]?")
    return list(dict.fromkeys(as_partition(value) for value in listed(values)))


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], Integral)


def by_partition(given: ByPartition[V]) -> dict[TopicPartition, V]:
    """Values of partitions, which may be named by pairs. Raises TypeError, ValueError."""
    pairs: Mapping[Any, V] = given
    return {as_partition(place): value for place, value in mapped(pairs, '{("orders", 0): 5}').items()}


def config_text(value: Any) -> str | None:
    """A setting's value as Kafka writes it: 100000, of 1e5 too, 0.5, true. None as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return str(int(number) if number.is_integer() else number)
    if value is None or isinstance(value, str):
        return value
    kind = type(value).__name__
    raise TypeError(f"the value of a setting is a str, a number or a bool, not the {kind} {value!r}")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing where none is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def check_committable(key: tuple[str, int], offset: Any) -> None:
    """Raises TypeError unless it is a whole number, ValueError below 0: for brokers that is no offset at all."""
    check_whole(f"{key[0]}-{key[1]}: the offset", offset)
    if offset < 0:
        raise ValueError(f"{key[0]}-{key[1]}: invalid negative offset {offset}")


def check_whole(what: str, value: Any) -> None:
    """Raises TypeError unless it is a whole number."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{what} is a whole number, found {value!r}")


def check_poll(timeout: Any, max_records: Any) -> None:
    """Raises TypeError for what are no numbers, ValueError where not even one record is wanted; None is right."""
    if timeout is not None and not isinstance(timeout, Real):
        raise TypeError(f"timeout is a number of seconds, or None, found {timeout!r}")
    if max_records is not None:
        check_whole("max_records", max_records)
        if max_records < 1:
            raise ValueError(f"expected max_records of 1 and above, found {max_records}")
