"""The server-side assignors: every partition once, balanced, sticky, in ranges; on random groups."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from pystream.coordinator.group.assignors.model import Assignment, Subscriber, size_of
from pystream.coordinator.group.assignors.range import assign_ranges
from pystream.coordinator.group.assignors.uniform import assign_uniformly

ROUNDS, FULL_ROUNDS = 200, 20_000
A, B, C = b"a" * 16, b"b" * 16, b"c" * 16


def subscribers(members: dict[str, set[bytes]], assigned: dict[str, Assignment] | None = None) -> dict[str, Subscriber]:
    assigned = assigned or {}
    return {name: Subscriber(frozenset(topics), assigned.get(name, {})) for name, topics in members.items()}


def partitions(assignment: Assignment) -> set[tuple[bytes, int]]:
    return {(topic_id, index) for topic_id, indexes in assignment.items() for index in indexes}


def random_group(chance: random.Random) -> tuple[dict[str, set[bytes]], dict[bytes, int]]:
    counts = {topic_id: chance.randint(1, 12) for topic_id in (A, B, C)[: chance.randint(1, 3)]}
    same = chance.random() < 0.5
    everything = set(counts)
    members = {
        f"m{n}": everything if same else {t for t in everything if chance.random() < 0.7}
        for n in range(chance.randint(1, 8))
    }
    return members, counts


@pytest.mark.parametrize("assign", [assign_uniformly, assign_ranges])
def test_each_partition_goes_to_exactly_one_subscriber(assign, full):
    for seed in range(FULL_ROUNDS if full else ROUNDS):
        members, counts = random_group(random.Random(seed))
        assigned = assign(subscribers(members), counts.__getitem__)
        assert assigned.keys() == members.keys()
        given = Counter(p for assignment in assigned.values() for p in partitions(assignment))
        wanted = set().union(*members.values())
        assert given == Counter((t, i) for t in wanted for i in range(counts[t])), f"seed {seed}"
        assert all(assigned[name].keys() <= topics for name, topics in members.items()), f"seed {seed}"
        assert all(indexes for assignment in assigned.values() for indexes in assignment.values())


def test_uniform_is_balanced_and_moves_only_what_it_must(full):
    """A member comes, goes, or a topic grows: shares differ by one at most, and what could stay has stayed."""
    for seed in range(FULL_ROUNDS if full else ROUNDS):
        chance = random.Random(seed)
        counts = {topic_id: chance.randint(1, 12) for topic_id in (A, B)}
        members = {f"m{n}": {A, B} for n in range(chance.randint(1, 8))}
        assigned: dict[str, Assignment] = {}
        for _ in range(6):
            before = assigned
            assigned = assign_uniformly(subscribers(members, before), counts.__getitem__)
            sizes = [size_of(assignment) for assignment in assigned.values()]
            assert max(sizes) - min(sizes) <= 1, f"seed {seed}"
            quota = -(-sum(counts.values()) // len(members))
            for name in members:
                lost = partitions(before.get(name, {})) - partitions(assigned[name])
                assert not lost or size_of(before[name]) > quota - 1, f"seed {seed}: {name} lost what it could keep"
                assert not lost or size_of(assigned[name]) >= quota - 1
            change = chance.choice(("come", "go", "grow", "nothing"))
            if change == "come":
                members[f"new{len(members)}{chance.random()}"] = {A, B}
            elif change == "go" and len(members) > 1:
                del members[chance.choice(list(members))]
            elif change == "grow":
                counts[A] += 1
            else:
                again = assign_uniformly(subscribers(members, assigned), counts.__getitem__)
                assert again == assigned, f"seed {seed}: moved without need"


def test_uniform_balances_each_pair_of_members_that_share_a_topic(full):
    for seed in range(FULL_ROUNDS if full else ROUNDS):
        chance = random.Random(seed)
        members, counts = random_group(chance)
        assigned = assign_uniformly(subscribers(members), counts.__getitem__)
        for one, other in itertools.permutations(members, 2):
            movable = [t for t in assigned[one] if t in members[other]]
            if movable:
                assert size_of(assigned[one]) - size_of(assigned[other]) <= 1, f"seed {seed}"


def test_uniform_stays_put_when_subscriptions_differ_and_nothing_changes(full):
    for seed in range(FULL_ROUNDS if full else ROUNDS):
        members, counts = random_group(random.Random(seed))
        assigned = assign_uniformly(subscribers(members), counts.__getitem__)
        assert assign_uniformly(subscribers(members, assigned), counts.__getitem__) == assigned, f"seed {seed}"


def test_uniform_gives_the_share_of_a_new_member_without_touching_the_rest():
    before = {"m1": {A: frozenset({0, 1, 2})}, "m2": {A: frozenset({3, 4, 5})}}
    members = {"m1": {A}, "m2": {A}, "m3": {A}}
    assigned = assign_uniformly(subscribers(members, before), {A: 6}.__getitem__)
    assert assigned["m1"][A] < before["m1"][A]
    assert assigned["m2"][A] < before["m2"][A]
    assert [size_of(assigned[name]) for name in members] == [2, 2, 2]


def test_uniform_forgets_partitions_of_topics_that_are_gone_or_unsubscribed():
    before: dict[str, Assignment] = {"m1": {A: frozenset({0, 1}), B: frozenset({0})}}
    assert assign_uniformly(subscribers({"m1": {A}}, before), {A: 1, B: 1}.__getitem__) == {"m1": {A: {0}}}


def test_uniform_undoes_a_target_that_names_a_partition_twice():
    before: dict[str, Assignment] = {"m1": {A: frozenset({0, 1})}, "m2": {A: frozenset({0, 1})}}
    assigned = assign_uniformly(subscribers({"m1": {A}, "m2": {A}}, before), {A: 2}.__getitem__)
    assert sorted(partitions(assigned["m1"]) | partitions(assigned["m2"])) == [(A, 0), (A, 1)]
    assert size_of(assigned["m1"]) == size_of(assigned["m2"]) == 1


def test_ranges_of_topics_of_equal_size_fall_alike():
    assigned = assign_ranges(subscribers({"m1": {A, B}, "m2": {A, B}}), {A: 3, B: 3}.__getitem__)
    assert assigned == {"m1": {A: {0, 1}, B: {0, 1}}, "m2": {A: {2}, B: {2}}}


def test_ranges_of_members_who_take_different_topics():
    members = {"m1": {A}, "m2": {A, B}, "m3": {B}}
    assigned = assign_ranges(subscribers(members), {A: 4, B: 3}.__getitem__)
    assert assigned == {"m1": {A: {0, 1}}, "m2": {A: {2, 3}, B: {0, 1}}, "m3": {B: {2}}}


def test_static_members_keep_their_ranges_under_new_member_ids():
    def group(ids: dict[str, str]) -> dict[str, Subscriber]:
        return {member: Subscriber(frozenset({A}), {}, instance) for member, instance in ids.items()}

    before = assign_ranges(group({"x": "i1", "y": "i2"}), {A: 4}.__getitem__)
    after = assign_ranges(group({"a": "i2", "b": "i1"}), {A: 4}.__getitem__)
    assert (after["b"], after["a"]) == (before["x"], before["y"])


def test_more_members_than_partitions_leave_some_without():
    for assign in (assign_uniformly, assign_ranges):
        assigned = assign(subscribers({f"m{n}": {A} for n in range(5)}), {A: 2}.__getitem__)
        assert sorted(map(size_of, assigned.values())) == [0, 0, 0, 1, 1]
    assert assign_uniformly({}, {}.__getitem__) == {}
