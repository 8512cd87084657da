"""What a registry told for a reader or a writer that is being made: it stays until that one is made.

The registry's own cache may be smaller than what one schema refers to, and shared with others that fill it meanwhile.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pystream.client.serdes.questions import Operation, Question
from pystream.client.serdes.registry import Registry
from pystream.client.serdes.unanswered import Unanswered
from pystream.common.errors import SchemaRegistryError

T = TypeVar("T")
NOTHING: Final[Any] = object()


class Heard:
    """A registry, as one serde asks it. Thread-safe: one thread is done while others still ask, who ask again then."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._told: dict[Question, Any] = {}  # asked for, and not looked at yet
        self._meanings: dict[Question, Any] = {}

    def known(self, operation: Operation[T]) -> T:
        """What was answered before. Raises Unanswered."""
        question = operation.question
        told = self._told.pop(question, NOTHING)
        if told is not NOTHING:
            found = operation.read(told)
        elif (kept := self._meanings.get(question, NOTHING)) is not NOTHING:
            found = kept
        else:
            try:
                found = self._registry.known(operation)
            except Unanswered:
                raise Unanswered(self, question) from None
        self._meanings[question] = found
        return found

    def ask(self, question: Question) -> Any:
        """The answer, blocking. Raises SchemaRegistryError."""
        try:
            told = self._told[question] = self._registry.ask(question)
        except SchemaRegistryError:
            self.done()
            raise
        return told

    async def ask_async(self, question: Question) -> Any:
        """The answer, on the running loop. Raises SchemaRegistryError."""
        try:
            told = self._told[question] = await self._registry.ask_async(question)
        except SchemaRegistryError:
            self.done()
            raise
        return told

    def done(self) -> None:
        """It is made, or cannot be: what the registry keeps is asked for anew from now on."""
        self._told.clear()
        self._meanings.clear()
