"""What a serde raises when it must know something first. Imported by every client, so it imports nothing heavy."""

from __future__ import annotations

from typing import Any, Protocol


class Answering(Protocol):
    """A schema registry, as far as it is asked."""

    def ask(self, question: Any) -> Any:
        """Ask, blocking."""
        ...

    async def ask_async(self, question: Any) -> Any:
        """Ask, on the running loop."""
        ...


class Unanswered(Exception):
    """Not an error: an answer that is not known yet. `resolve` gets it; then the same call succeeds."""

    def __init__(self, registry: Answering, question: Any) -> None:
        super().__init__(f"{question} was not asked yet")
        self.registry = registry
        self.question = question

    def resolve(self) -> None:
        """Ask, blocking. Raises SchemaRegistryError."""
        self.registry.ask(self.question)

    async def resolve_async(self) -> None:
        """Ask, on the running loop. Raises SchemaRegistryError."""
        await self.registry.ask_async(self.question)
