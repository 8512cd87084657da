"""Assignors: everybody's share, nothing twice, and as little movement as can be."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystream.client.consumer.group.assignors import ASSIGNORS, Assignment, Member, assignors_of
from pystream.common.errors import InvalidConfig
from pystream.common.model import TopicPartition


def member(name: str, *topics: str, owned: Assignment | None = None, generation: int = 1) -> Member:
    mine = tuple((owned or {}).get(name, ()))
    return Member(name, frozenset(topics), None, mine, generation if mine else -1)


def numbers(assignment: Assignment) -> dict[str, list[int]]:
    return {name: [partition.partition for partition in found] for name, found in assignment.items()}


def test_range_gives_neighbours_and_the_longer_ranges_to_the_first():
    found = ASSIGNORS["range"].assign([member(name, "t") for name in "cab"], {"t": 7})
    assert numbers(found) == {"a": [0, 1, 2], "b": [3, 4], "c": [5, 6]}


def test_range_ranks_static_members_by_their_instance_first():
    members = [Member("x", frozenset("t"), None), Member("y", frozenset("t"), "2"), Member("z", frozenset("t"), "1")]
    assert numbers(ASSIGNORS["range"].assign(members, {"t": 3})) == {"z": [0], "y": [1], "x": [2]}


def test_roundrobin_deals_all_topics_in_one_round_and_skips_who_does_not_want_one():
    members = [member("a", "s", "t"), member("b", "s"), member("c", "s", "t")]
    found = ASSIGNORS["roundrobin"].assign(members, {"s": 2, "t": 2})
    assert found == {
        "a": [TopicPartition("s", 0), TopicPartition("t", 1)],
        "b": [TopicPartition("s", 1)],
        "c": [TopicPartition("t", 0)],
    }


def test_sticky_leaves_what_stays_and_moves_one_share_to_a_new_member():
    before = ASSIGNORS["sticky"].assign([member(name, "t") for name in "ab"], {"t": 6})
    after = ASSIGNORS["sticky"].assign([member(name, "t", owned=before) for name in "abc"], {"t": 6})
    assert all(set(after[name]) < set(before[name]) for name in "ab")
    assert sorted(map(len, after.values())) == [2, 2, 2]


def test_sticky_believes_the_claim_of_the_later_generation():
    claims = {"a": [TopicPartition("t", 0)], "b": [TopicPartition("t", 0)]}
    members = [member("a", "t", owned=claims, generation=3), member("b", "t", owned=claims, generation=4)]
    assert TopicPartition("t", 0) in ASSIGNORS["sticky"].assign(members, {"t": 2})["b"]


def test_sticky_evens_out_members_that_want_different_topics():
    owned = {"a": [TopicPartition("s", n) for n in range(4)]}
    found = ASSIGNORS["sticky"].assign([member("a", "s", "t", owned=owned), member("b", "s")], {"s": 4, "t": 1})
    assert sorted(len(partitions) for partitions in found.values()) == [2, 3]
    assert TopicPartition("t", 0) in found["a"]


def test_cooperative_withholds_what_another_member_still_has():
    before = ASSIGNORS["cooperative-sticky"].assign([member("a", "t")], {"t": 4})
    first = ASSIGNORS["cooperative-sticky"].assign([member("a", "t", owned=before), member("b", "t")], {"t": 4})
    assert len(first["a"]) == 2
    assert first["b"] == []
    second = ASSIGNORS["cooperative-sticky"].assign([member("a", "t", owned=first), member("b", "t")], {"t": 4})
    assert sorted(first["a"]) == sorted(second["a"])
    assert len(second["b"]) == 2


@pytest.mark.parametrize("name", ASSIGNORS)
@given(
    wants=st.lists(st.sets(st.sampled_from("pqr"), min_size=1), min_size=1, max_size=6),
    counts=st.fixed_dictionaries({topic: st.integers(1, 9) for topic in "pqr"}),
)
def test_every_wanted_partition_goes_to_one_member_that_wants_it(name, wants, counts):
    members = [member(f"m{place}", *topics) for place, topics in enumerate(wants)]
    found = ASSIGNORS[name].assign(members, counts)
    dealt = [partition for partitions in found.values() for partition in partitions]
    assert len(dealt) == len(set(dealt))
    assert set(dealt) == {TopicPartition(t, n) for t in set().union(*wants) for n in range(counts[t])}
    assert all(p.topic in m.topics for m in members for p in found[m.member_id])


@pytest.mark.parametrize("name", ["sticky", "cooperative-sticky"])
@given(before=st.integers(1, 6), after=st.integers(1, 6), partitions=st.integers(1, 30))
def test_members_that_want_the_same_end_within_one_partition_and_keep_what_they_can(name, before, after, partitions):
    assign = ASSIGNORS[name].assign
    owned = assign([member(f"m{n}", "t") for n in range(before)], {"t": partitions})
    for _ in range(2):  # cooperative: the second round deals out what the first took away
        owned, old = assign([member(f"m{n}", "t", owned=owned) for n in range(after)], {"t": partitions}), owned
    sizes = [len(found) for found in owned.values()]
    assert sum(sizes) == partitions
    assert max(sizes) - min(sizes) <= 1
    again = assign([member(f"m{n}", "t", owned=owned) for n in range(after)], {"t": partitions})
    assert {name: sorted(found) for name, found in again.items()} == {n: sorted(f) for n, f in owned.items()}
    assert old.keys() <= {f"m{n}" for n in range(max(before, after))}


def test_user_data_of_sticky_assignors_is_what_java_writes_and_comes_back():
    sticky, cooperative = ASSIGNORS["sticky"], ASSIGNORS["cooperative-sticky"]
    owned = (TopicPartition("t", 0), TopicPartition("t", 2))
    data = sticky.writes_user_data(owned, 7)
    assert data == b"\0\0\0\1" + b"\0\1t" + b"\0\0\0\2" + struct.pack(">ii", 0, 2) + struct.pack(">i", 7)
    assert sticky.reads_user_data(data) == (owned, 7)
    assert cooperative.reads_user_data(cooperative.writes_user_data(owned, 7)) == (None, 7)


def test_assignors_are_found_by_their_own_and_by_javas_names():
    names = ["org.apache.kafka.clients.consumer.RangeAssignor", "cooperative-sticky", "range"]
    assert [assignor.name for assignor in assignors_of(names)] == ["range", "cooperative-sticky"]
    with pytest.raises(InvalidConfig, match="expected some of range"):
        assignors_of(["random"])
