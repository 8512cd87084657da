"""The sticky task assignor: tasks stay where their state is, and threads carry even loads.

Active tasks first go to who had them active, then to who had them as standby, as long as that member is below its
share; what is left goes to the least loaded threads in turn, subtopology by subtopology, so that the tasks of each are
spread. Active tasks of any two threads differ by one at most. Standbys follow where the state is or was, and else to
the least loaded process; never two of a task in one process. Source: KIP-1071, the "sticky" assignor.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pystream.common.logging import get_logger
from pystream.coordinator.group.streams.tasks import NO_TASKS, Task, Tasks, each, gathered
from pystream.coordinator.group.streams.topology import ConfiguredSubtopology

logger = get_logger(__name__)


class Worker(NamedTuple):
    """A member as the assignor sees it: its process, and what it was to have until now."""

    process_id: str
    assigned: Tasks


def assign_tasks(
    workers: Mapping[str, Worker], subtopologies: Mapping[str, ConfiguredSubtopology], standby_replicas: int
) -> dict[str, Tasks]:
    """The new target of every member."""
    if not workers:
        return {}
    return _Assignment(workers, subtopologies, standby_replicas).run()


class _Assignment:
    def __init__(
        self, workers: Mapping[str, Worker], subtopologies: Mapping[str, ConfiguredSubtopology], standby_replicas: int
    ) -> None:
        self._workers = workers
        self._standby_replicas = standby_replicas
        self._tasks = [(name, index) for name in sorted(subtopologies) for index in range(subtopologies[name].tasks)]
        self._stateful = [task for task in self._tasks if subtopologies[task[0]].is_stateful()]
        self._active: dict[str, list[Task]] = {member_id: [] for member_id in workers}
        self._standby: dict[str, list[Task]] = {member_id: [] for member_id in workers}
        self._load = dict.fromkeys(workers, 0)
        self._members_of: dict[str, list[str]] = {}
        for member_id, worker in workers.items():
            self._members_of.setdefault(worker.process_id, []).append(member_id)
        # The first threads of all processes, then the second ones: equals are served in this order.
        ranks = sorted((place, p, m) for p, found in self._members_of.items() for place, m in enumerate(found))
        self._order = [member_id for _, _, member_id in ranks]
        self._share, self._extras = 0, 0
        self._process_tasks = dict.fromkeys(self._members_of, 0)
        self._held: dict[str, set[Task]] = {process_id: set() for process_id in self._members_of}
        self._had_active: dict[Task, list[str]] = {}
        self._had_standby: dict[Task, list[str]] = {}
        for member_id, worker in workers.items():
            for task in each(worker.assigned.active):
                self._had_active.setdefault(task, []).append(member_id)
            for task in each(worker.assigned.standby):
                self._had_standby.setdefault(task, []).append(member_id)

    def run(self) -> dict[str, Tasks]:
        self._assign_active()
        if self._standby_replicas:
            self._assign_standby()
        return {
            member_id: Tasks(gathered(self._active[member_id]), gathered(self._standby[member_id]))
            if self._active[member_id] or self._standby[member_id]
            else NO_TASKS
            for member_id in self._workers
        }

    # Active tasks

    def _assign_active(self) -> None:
        self._share, self._extras = divmod(len(self._tasks), len(self._workers))
        # Partition by partition: members that had the same partitions of several subtopologies keep them together.
        left = sorted(self._tasks, key=lambda task: (task[1], task[0]))
        left = [task for task in left if not self._keep(task, self._had_active.get(task, ()))]
        left = [task for task in left if not self._keep(task, self._had_standby.get(task, ()))]
        threads = [(self._load[member_id], place) for place, member_id in enumerate(self._order)]
        heapq.heapify(threads)
        for task in sorted(left):
            load, place = threads[0]
            self._give(task, self._order[place], self._active)
            heapq.heapreplace(threads, (load + 1, place))

    def _keep(self, task: Task, candidates: Sequence[str]) -> bool:
        """Give an active task to the least loaded of those who had it, if that one has room."""
        if not candidates:
            return False
        member_id = min(candidates, key=self._burden)
        takes_extra = self._load[member_id] == self._share and self._extras > 0
        if self._load[member_id] >= self._share and not takes_extra:
            return False
        self._extras -= takes_extra
        self._give(task, member_id, self._active)
        return True

    # Standby tasks

    def _assign_standby(self) -> None:
        total = len(self._tasks) + len(self._stateful) * self._standby_replicas
        share = -(-total // len(self._workers))
        left: list[Task] = []
        for task in sorted(self._stateful, key=lambda task: (task[1], task[0]), reverse=True):
            for replica in range(self._standby_replicas):
                # Who had it active has its whole state; who had it as standby, most of it.
                had = self._had_active.get(task, [])
                candidates = [*had, *self._had_standby.get(task, ())]
                fit = [member_id for member_id in candidates if self._may_follow(task, member_id, share)]
                if not fit:
                    left += [task] * (self._standby_replicas - replica)
                    break
                chosen = had[0] if had and had[0] in fit else min(fit, key=self._burden)
                self._give(task, chosen, self._standby)
        for task in sorted(left, reverse=True):
            free = [process_id for process_id in sorted(self._members_of) if task not in self._held[process_id]]
            if not free:
                logger.limited("no process left for a standby task", subtopology=task[0], partition=task[1])
                continue
            process_id = min(free, key=self._process_load)
            self._give(task, self._least_loaded(process_id), self._standby)

    def _may_follow(self, task: Task, member_id: str, share: int) -> bool:
        process_id = self._workers[member_id].process_id
        return task not in self._held[process_id] and self._load[member_id] < share

    # Loads

    def _give(self, task: Task, member_id: str, role: dict[str, list[Task]]) -> None:
        role[member_id].append(task)
        self._load[member_id] += 1
        process_id = self._workers[member_id].process_id
        self._process_tasks[process_id] += 1
        self._held[process_id].add(task)

    def _burden(self, member_id: str) -> tuple[float, int, str]:
        return self._process_load(self._workers[member_id].process_id), self._load[member_id], member_id

    def _process_load(self, process_id: str) -> float:
        return self._process_tasks[process_id] / len(self._members_of[process_id])

    def _least_loaded(self, process_id: str) -> str:
        return min(self._members_of[process_id], key=lambda member_id: (self._load[member_id], member_id))
