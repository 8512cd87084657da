"""Where replicas go: over all racks, then over all brokers, evenly.

Brokers are put in one ring in which racks alternate. The leader of the n-th partition is the n-th broker from a random
start; its followers are the next ones, with one more step after each round, so that the leaders of a lost broker's
partitions do not all have the same follower.

    racks a: 1 2, b: 3 4      ring 1 3 2 4
    replication factor 2      [1 3] [3 2] [2 4] [4 1] | [1 2] [3 4] [2 1] [4 3] | …
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

from pystream.common.errors import InvalidReplicaAssignment, InvalidReplicationFactor
from pystream.metadata.image import BrokerImage


def place(
    brokers: Mapping[int, BrokerImage], *, partitions: int, replication_factor: int, random_source: random.Random
) -> list[tuple[int, ...]]:
    """Replicas for each of `partitions` new partitions. Raises InvalidReplicationFactor, in Kafka's words."""
    refusal = f"Unable to replicate the partition {replication_factor} time(s): "
    if not brokers:
        raise InvalidReplicationFactor(f"{refusal}All brokers are currently fenced.")
    if replication_factor > len(brokers):
        raise InvalidReplicationFactor(
            f"{refusal}The target replication factor of {replication_factor} cannot be reached because only "
            f"{len(brokers)} broker(s) are registered."
        )
    ring = _ring(brokers.values())
    start = random_source.randrange(len(ring))
    return [_replicas(ring, start + index, index // len(ring), replication_factor) for index in range(partitions)]


def _ring(brokers: Iterable[BrokerImage]) -> list[int]:
    """Broker ids such that neighbours stand in different racks as far as possible."""
    racks: dict[str, list[int]] = {}
    for broker in sorted(brokers, key=lambda broker: broker.node_id):
        racks.setdefault(broker.rack or "", []).append(broker.node_id)
    rows = itertools.zip_longest(*(racks[rack] for rack in sorted(racks)))
    return [node_id for row in rows for node_id in row if node_id is not None]


def _replicas(ring: Sequence[int], leader: int, step: int, replication_factor: int) -> tuple[int, ...]:
    size = len(ring)
    if size == 1:
        return (ring[0],)
    shift = step % (size - 1)
    followers = (ring[(leader + 1 + (shift + n) % (size - 1)) % size] for n in range(replication_factor - 1))
    return (ring[leader % size], *followers)


def check_assignment(brokers: Mapping[int, BrokerImage], assignments: Iterable[Sequence[int]]) -> None:
    """Raises InvalidReplicaAssignment unless every list names known brokers, each once, and all are equally long."""
    expected: int | None = None
    for replicas in assignments:
        if not replicas:
            raise InvalidReplicaAssignment("The manual partition assignment includes an empty replica list.")
        for broker in replicas:
            if broker not in brokers:
                raise InvalidReplicaAssignment(
                    f"The manual partition assignment includes broker {broker}, but no such broker is registered."
                )
            if list(replicas).count(broker) > 1:
                raise InvalidReplicaAssignment(
                    f"The manual partition assignment includes the broker {broker} more than once."
                )
        if expected is not None and len(replicas) != expected:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes a partition with {len(replicas)} replica(s), but this is "
                f"not consistent with previous partitions, which have {expected} replica(s)."
            )
        expected = len(replicas)
