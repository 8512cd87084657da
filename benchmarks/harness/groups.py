"""Consumer groups under load: heartbeats, rebalances and commits of many groups on one broker.

heartbeats   every member once in 3 s, each on its own connection: CPU of the broker, µs a heartbeat, latency
rebalance    one group after the other rejoins, while the others heartbeat: from the last join to the last assignment
commits      a fixed rate of one-partition commits: latency and CPU; then as many as 64 members at a time give
consumer heartbeats    as heartbeats, of as many members that speak the consumer protocol (KIP-848), once in 5 s
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from benchmarks.harness.consumer_load import ConsumerLoad
from benchmarks.harness.errors import HarnessError
from benchmarks.harness.group_load import COMMIT, JOIN, Group, GroupLoad, Member, Samples
from benchmarks.harness.report import markdown_table, number
from benchmarks.harness.statistics import Row
from benchmarks.harness.targets.base import Target
from benchmarks.harness.wire import Client, Parser, text

FIND_COORDINATOR = 10
HEARTBEAT_INTERVAL_S = 3.0
CONSUMER_HEARTBEAT_INTERVAL_S = 5.0
GROUPS_AT_A_TIME = 25
FORM_TIMEOUT_S = 120
READY_TIMEOUT_S = 60
SPARE_FILES = 200
CLOSED_LOOP_MEMBERS = 64
WARM_UP_S = 1.0
LOOK_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much of everything. `rate` of commits is a second's."""

    groups: int = 1_000
    members: int = 10
    seconds: float = 10.0
    rebalances: int = 50
    rate: float = 1_000.0


def await_coordinator(port: int) -> None:
    """Until FindCoordinator finds one: the first question makes the topic."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        with Client(port) as client:
            answer: Parser = client.call(FIND_COORDINATOR, 1, text("group") + b"\x00")
            _, code = answer.take(">ih")
        if code == 0:
            return
        if time.monotonic() > deadline:
            raise HarnessError(f"no group coordinator after {READY_TIMEOUT_S} s: code {code}")
        time.sleep(0.1)


def measure_groups(target: Target, shape: Shape) -> Row:
    """All three on a target that is started and stopped for it."""
    row: Row = {"target": target.name, "shape": asdict(shape), "load": os.getloadavg()[0]}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if shape.groups * shape.members + SPARE_FILES > hard:
        raise HarnessError(f"{shape.groups * shape.members} connections need more than {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load: GroupLoad | None = None
    try:
        target.start()
        with Client(target.port) as client:
            client.create_topic("bench", shape.members)
        await_coordinator(target.port)
        load = GroupLoad(target.port)
        row["forming_s"] = form_all(load, shape)
        row["heartbeats"] = heartbeats(target, load, shape)
        row["rebalance"] = rebalances(load, shape)
        row["commits"] = commits(target, load, shape)
        row["commits_closed_loop"] = commits_closed_loop(target, load, shape)
        row["memory_bytes"] = target.running.memory_bytes()
        load.close()
        load = consumers = ConsumerLoad(target.port)
        for group_number in range(shape.groups):
            consumers.add_group(f"consumers-{group_number}", shape.members)
        consumers.form_all(FORM_TIMEOUT_S)
        row["consumer_heartbeats"] = heartbeats(target, consumers, shape, CONSUMER_HEARTBEAT_INTERVAL_S)
    except (HarnessError, OSError) as error:
        row["error"] = f"{type(error).__name__}: {error}"[:600]
    finally:
        if load is not None:
            load.close()
        target.stop()
    return row


def form_all(load: GroupLoad, shape: Shape) -> float:
    began = time.monotonic()
    groups = [load.add_group(f"group-{number}", shape.members) for number in range(shape.groups)]
    for first in range(0, len(groups), GROUPS_AT_A_TIME):
        load.form(groups[first : first + GROUPS_AT_A_TIME], FORM_TIMEOUT_S)
    load.settle()
    return time.monotonic() - began


def spread(groups: Sequence[Group]) -> list[Member]:
    """All members, neighbours of different groups."""
    return [group.members[number] for number in range(len(groups[0].members)) for group in groups]


def watched(target: Target, samples: Samples, work: Callable[[], int]) -> Row:
    """What `work` cost the target, and how long its answers took."""
    samples.seconds.clear()
    samples.errors = 0
    before, began = target.running.cpu_time(), time.monotonic()
    count = work()
    seconds = time.monotonic() - began
    spent = target.running.cpu_time() - before
    if samples.errors:
        raise HarnessError(f"{samples.errors} of {len(samples.seconds)} answers were errors")
    cpu_s = spent.user + spent.system
    return {
        "count": count,
        "seconds": seconds,
        "per_s": count / seconds,
        "target_cpu_s": cpu_s,
        "core_share": cpu_s / seconds,
        "cpu_us": cpu_s / max(count, 1) * 1e6,
        "p50_ms": samples.quantile_ms(0.5),
        "p99_ms": samples.quantile_ms(0.99),
        "max_ms": samples.quantile_ms(1),
    }


def heartbeats(target: Target, load: GroupLoad, shape: Shape, interval_s: float = HEARTBEAT_INTERVAL_S) -> Row:
    members = spread(load.groups)
    rate = len(members) / interval_s
    load.paced(members, rate, WARM_UP_S, load.beat)
    load.settle()

    def work() -> int:
        count = load.paced(members, rate, shape.seconds, load.beat)
        load.settle()
        return count

    return watched(target, load.heartbeats, work)


def rebalances(load: GroupLoad, shape: Shape) -> Row:
    """One group at a time, at even distances among all; the others' heartbeats go on."""
    step = max(len(load.groups) // max(shape.rebalances, 1), 1)
    joined, assigned = Samples(), Samples()
    for group in load.groups[::step][: shape.rebalances]:
        others = [member for member in spread(load.groups) if member.group is not group]
        last_join_s, all_joined_s = rejoin(load, group, others)
        joined.seconds.append(all_joined_s - last_join_s)
        assigned.seconds.append(time.monotonic() - last_join_s)
        load.settle()
    return {
        "count": len(assigned.seconds),
        "joined_p50_ms": joined.quantile_ms(0.5),
        "joined_max_ms": joined.quantile_ms(1),
        "p50_ms": assigned.quantile_ms(0.5),
        "p99_ms": assigned.quantile_ms(0.99),
        "max_ms": assigned.quantile_ms(1),
    }


def rejoin(load: GroupLoad, group: Group, others: list[Member]) -> tuple[float, float]:
    """(when the last member asked to join, when the last of them was answered); returns once all have assignments."""
    answered: list[float] = []

    def note(member: Member, key: int, code: int) -> None:
        if member.group is group and key == JOIN:
            answered.append(time.monotonic())

    load.on_answer = note
    for member in sorted(group.members, key=lambda member: not member.is_leader):
        load.join(member)
    last_join_s = time.monotonic()
    rate = len(others) / HEARTBEAT_INTERVAL_S
    turn = 0
    looked_s = last_join_s
    while not group.ready:
        due = int((time.monotonic() - last_join_s) * rate)
        while turn < due:
            member = others[turn % len(others)]
            if not member.asked and member.stable:
                load.beat(member)
            turn += 1
        load.poll(1 / rate)
        if time.monotonic() > looked_s + LOOK_AGAIN_S:  # who was answered before the leader had asked learns of it so
            looked_s = time.monotonic()
            for member in group.members:
                if member.stable and not member.asked:
                    load.beat(member)
        if time.monotonic() > last_join_s + FORM_TIMEOUT_S:
            raise HarnessError(f"{group.name} is not stable after {FORM_TIMEOUT_S} s")
    load.on_answer = lambda member, key, code: None
    return last_join_s, answered[-1]


def commits(target: Target, load: GroupLoad, shape: Shape) -> Row:
    members = spread(load.groups)
    load.paced(members, shape.rate, WARM_UP_S, load.commit)
    load.settle()

    def work() -> int:
        count = load.paced(members, shape.rate, shape.seconds, load.commit)
        load.settle()
        return count

    return watched(target, load.commits, work)


def commits_closed_loop(target: Target, load: GroupLoad, shape: Shape) -> Row:
    """Each of some members commits again as soon as it has its answer."""
    members = spread(load.groups)[:CLOSED_LOOP_MEMBERS]
    end_s = 0.0

    def again(member: Member, key: int, code: int) -> None:
        if key == COMMIT and time.monotonic() < end_s:
            load.commit(member)

    def work() -> int:
        nonlocal end_s
        end_s = time.monotonic() + shape.seconds
        load.on_answer = again
        for member in members:
            load.commit(member)
        while time.monotonic() < end_s:
            load.poll(0.01)
        load.on_answer = lambda member, key, code: None
        load.settle()
        return len(load.commits.seconds)

    return watched(target, load.commits, work)


HEAD = ("what", "goal", "figure", "verdict")


def goal_lines(row: Row) -> list[tuple[str, str, str, str]]:
    """The goals of the groups, with what was measured."""
    beats, rebalance, paced = row["heartbeats"], row["rebalance"], row["commits"]
    bounds = (
        ("heartbeats of all members, share of one core", 20.0, beats["core_share"] * 100, " %"),
        ("rebalance of one group after the last join, max", 100.0, rebalance["max_ms"], " ms"),
        (f"{paced['per_s']:.0f} commits/s, p99", 10.0, paced["p99_ms"], " ms"),
        (f"{paced['per_s']:.0f} commits/s, share of one core", 100.0, paced["core_share"] * 100, " %"),
    )
    return [
        (title, f"≤ {bound:g}{unit}", f"{number(value)}{unit}", "reached" if value <= bound else "**not reached**")
        for title, bound, value, unit in bounds
    ]


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line for each phase of each target, then the goals of ours."""
    lines = []
    for row in rows:
        if "error" in row:
            lines.append([row["target"], row["error"], *[""] * 5])
            continue
        for phase in ("heartbeats", "commits", "commits_closed_loop", "consumer_heartbeats"):
            found = row[phase]
            lines.append(
                [
                    row["target"],
                    phase.replace("_", " "),
                    f"{number(found['per_s'])} /s",
                    f"{number(found['cpu_us'])} µs",
                    f"{number(found['core_share'] * 100)} %",
                    f"{number(found['p50_ms'])} / {number(found['p99_ms'])} / {number(found['max_ms'])}",
                ]
            )
        found = row["rebalance"]
        latency = f"{number(found['p50_ms'])} / {number(found['p99_ms'])} / {number(found['max_ms'])}"
        lines.append([row["target"], "rebalance", f"{found['count']}", "", "", latency])
    head = ("target", "phase", "rate", "CPU each", "of one core", "p50 / p99 / max, ms")
    parts = [markdown_table(head, lines)]
    for row in rows:
        if row["target"] == "pystream" and "error" not in row:
            parts.append(markdown_table(HEAD, goal_lines(row)))
    return "\n\n".join(parts)
