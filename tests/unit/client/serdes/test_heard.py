"""What one serde has heard of its registry, which several threads may ask at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pystream.client.serdes.heard import Heard
from pystream.client.serdes.questions import Operation
from pystream.client.serdes.unanswered import Unanswered


class Directory:
    """A registry that keeps the answers it gave."""

    def __init__(self) -> None:
        self.given: dict[Any, str] = {}

    def known(self, operation: Operation[Any]) -> Any:
        if operation.question not in self.given:
            raise Unanswered(self, operation.question)  # type: ignore[arg-type]
        return operation.read(self.given[operation.question])

    def ask(self, question: Any) -> str:
        self.given[question] = "told"
        return "told"


@dataclass(frozen=True)
class Interrupted:
    """A question that another thread, done with its own, gets between wherever it is looked for."""

    heard: list[Heard]

    def __hash__(self) -> int:
        for each in self.heard:
            each.done()
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


def test_who_is_done_takes_nothing_from_those_who_still_ask():
    registry: Any = Directory()
    heard = Heard(registry)
    question: Any = Interrupted([])
    operation: Operation[str] = Operation(question, lambda told: f"{told} and read")
    with pytest.raises(Unanswered) as missing:
        heard.known(operation)
    missing.value.resolve()
    question.heard.append(heard)
    assert heard.known(operation) == "told and read"


def test_what_was_told_is_read_once_and_kept_until_it_is_done():
    registry: Any = Directory()
    heard = Heard(registry)
    question: Any = Interrupted([])
    readings: list[str] = []
    operation: Operation[int] = Operation(question, lambda told: len(readings.append(told) or readings))
    heard.ask(question)
    registry.given.clear()  # as a small cache does
    assert [heard.known(operation), heard.known(operation)] == [1, 1]
    heard.done()
    with pytest.raises(Unanswered):
        heard.known(operation)
