"""Tasks of a topology: one for each partition of a subtopology's sources; and who has which of them, in which role."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

Task = tuple[str, int]  # subtopology id, partition
Indexes = Mapping[str, frozenset[int]]  # partitions by subtopology id, none of them empty; never changed in place
IndexesWithEpochs = Mapping[str, Mapping[int, int]]  # the same, with the epoch since which each is assigned

NO_INDEXES: Final[frozenset[int]] = frozenset()
NONE_OF_ANY: Final[Mapping[str, Any]] = MappingProxyType({})


class Tasks(NamedTuple):
    """What a member is to have, or says that it has. Active ones work; standby and warm-up ones follow their state."""

    active: Indexes = NONE_OF_ANY
    standby: Indexes = NONE_OF_ANY
    warmup: Indexes = NONE_OF_ANY


class AssignedTasks(NamedTuple):
    """What a member has; an active task remembers its epoch, so that commits of the epochs since are taken."""

    active: IndexesWithEpochs = NONE_OF_ANY
    standby: Indexes = NONE_OF_ANY
    warmup: Indexes = NONE_OF_ANY

    def is_empty(self) -> bool:
        return not (self.active or self.standby or self.warmup)

    def shares_any_with(self, owned: Tasks) -> bool:
        """Whether some of these tasks are in `owned`, in the same role."""
        return (
            any(indexes.keys() & owned.active.get(name, NO_INDEXES) for name, indexes in self.active.items())
            or any(indexes & owned.standby.get(name, NO_INDEXES) for name, indexes in self.standby.items())
            or any(indexes & owned.warmup.get(name, NO_INDEXES) for name, indexes in self.warmup.items())
        )

    def holds_all_of(self, owned: Tasks) -> bool:
        """Whether all of `owned` is here, in the same role."""
        return (
            all(indexes <= self.active.get(name, {}).keys() for name, indexes in owned.active.items())
            and all(indexes <= self.standby.get(name, NO_INDEXES) for name, indexes in owned.standby.items())
            and all(indexes <= self.warmup.get(name, NO_INDEXES) for name, indexes in owned.warmup.items())
        )

    def is_exactly(self, owned: Tasks) -> bool:
        """Whether `owned` is the same, epochs apart."""
        active = {name: frozenset(indexes) for name, indexes in self.active.items()}
        return (active, self.standby, self.warmup) == owned


NO_TASKS = Tasks()
NOTHING_ASSIGNED = AssignedTasks()


def each(indexes: Mapping[str, Iterable[int]]) -> Iterator[Task]:
    """One by one."""
    return ((name, index) for name, found in indexes.items() for index in found)


def gathered(tasks: Iterable[Task]) -> Indexes:
    """The tasks by subtopology."""
    found: dict[str, set[int]] = {}
    for name, index in tasks:
        found.setdefault(name, set()).add(index)
    return {name: frozenset(indexes) for name, indexes in found.items()}


def indexes_of(task_ids: Sequence[Any] | None) -> Indexes:
    """The tasks in a list of (subtopology_id, partitions), of a record or a request."""
    return gathered((entry.subtopology_id, index) for entry in task_ids or () for index in entry.partitions)


def owned_tasks(
    active: Sequence[Any] | None, standby: Sequence[Any] | None, warmup: Sequence[Any] | None
) -> Tasks | None:
    """What a request says that its member has; None when it does not say."""
    if active is None or standby is None or warmup is None:
        return None
    return Tasks(indexes_of(active), indexes_of(standby), indexes_of(warmup))
