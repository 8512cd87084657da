from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystream.common.errors import InvalidReplicationFactor
from pystream.controller.placement import place
from pystream.metadata.image import BrokerImage


def brokers(*racks: str | None) -> dict[int, BrokerImage]:
    return {n: BrokerImage(n, 1, "run", (), rack) for n, rack in enumerate(racks, 1)}


def placed(cluster: dict[int, BrokerImage], partitions: int, factor: int, seed: int = 0) -> list[tuple[int, ...]]:
    return place(cluster, partitions=partitions, replication_factor=factor, random_source=random.Random(seed))


@given(
    racks=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=9),
    partitions=st.integers(1, 60),
    data=st.data(),
)
def test_replicas_are_distinct_and_leaders_even(racks: list[str | None], partitions: int, data: st.DataObject) -> None:
    factor = data.draw(st.integers(1, len(racks)))

    replicas = placed(brokers(*racks), partitions, factor, data.draw(st.integers()))

    assert all(len(set(each)) == factor for each in replicas)
    leaders = Counter(each[0] for each in replicas)
    assert max(leaders.values()) - min(leaders.get(n, 0) for n in range(1, len(racks) + 1)) <= 1


def test_two_replicas_stand_in_two_racks_in_the_first_round() -> None:
    cluster = brokers("a", "a", "b", "b")

    for replicas in placed(cluster, 4, 2):
        assert len({cluster[n].rack for n in replicas}) == 2


def test_followers_of_a_lost_leader_are_spread() -> None:
    replicas = placed(brokers(*[None] * 4), 12, 2)

    followers = Counter(each[1] for each in replicas if each[0] == 1)
    assert len(followers) == 3


def test_the_start_is_random_but_repeatable() -> None:
    cluster = brokers(*[None] * 5)

    assert placed(cluster, 3, 1, seed=7) == placed(cluster, 3, 1, seed=7)
    assert len({placed(cluster, 1, 1, seed=n)[0] for n in range(50)}) == 5


def test_without_brokers_nothing_can_be_placed() -> None:
    with pytest.raises(InvalidReplicationFactor, match="All brokers are currently fenced"):
        placed({}, 1, 1)
