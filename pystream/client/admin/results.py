"""What an operation over many items gives: for each item its result or its error.

results = await admin.create_topics([NewTopic("a"), NewTopic("b")])
results.checked()                      # {name: TopicCreated}, or the first error is raised
results.failed                         # {"b": TopicAlreadyExists(...)}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Generic, Self, TypeVar

from pystream.common.error_codes import NONE, TABLE
from pystream.common.errors import KafkaError, PystreamError, error_class


class Told(IntEnum):
    """A number that brokers tell. One that is newer than this client is UNKNOWN to it."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return cls._member_map_.get("UNKNOWN") if isinstance(value, int) else None  # type: ignore[return-value]


K = TypeVar("K")
V = TypeVar("V")


class Results(Generic[K, V], Mapping[K, V | PystreamError]):
    """A mapping from each item asked for to its result or error, in the order asked."""

    __slots__ = ("_outcomes",)

    def __init__(self, outcomes: Mapping[K, V | PystreamError]) -> None:
        self._outcomes = dict(outcomes)

    def __getitem__(self, item: K) -> V | PystreamError:
        return self._outcomes[item]

    def __iter__(self) -> Iterator[K]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    def __repr__(self) -> str:
        return f"Results({self._outcomes!r})"

    @property
    def succeeded(self) -> dict[K, V]:
        """The items that have a result."""
        return {item: found for item, found in self._outcomes.items() if not isinstance(found, PystreamError)}

    @property
    def failed(self) -> dict[K, PystreamError]:
        """The items that have an error."""
        return {item: found for item, found in self._outcomes.items() if isinstance(found, PystreamError)}

    def checked(self) -> dict[K, V]:
        """All results. Raises the first error there is."""
        for error in self.failed.values():
            raise error
        return self.succeeded

    def result(self, item: K) -> V:
        """The result of one item. Raises its error."""
        found = self._outcomes[item]
        if isinstance(found, PystreamError):
            raise found
        return found


def error_of(error_code: int, message: str | None = None, what: str = "") -> KafkaError:
    """The error that an answer carries; without a message Kafka's own sentence."""
    kind = error_class(error_code)
    text = message or (TABLE[error_code].message if error_code in TABLE else f"error code {error_code}")
    return kind(f"{what}: {text}" if what else text)


def raise_for(error_code: int, message: str | None = None, what: str = "") -> None:
    """Raises the error that an answer carries as a whole."""
    if error_code != NONE:
        raise error_of(error_code, message, what)


def outcome(error_code: int, message: str | None, result: V, what: str = "") -> V | PystreamError:
    """`result`, or the error that an answer carries for its item."""
    return result if error_code == NONE else error_of(error_code, message, what)
