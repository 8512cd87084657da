"""A member of a streams group that speaks the protocol by hand."""

from __future__ import annotations

from contextlib import closing

from pystream.common.error_codes import NONE
from pystream.protocol.messages import streams_group_heartbeat as streams
from tests.support.raw_client import RawClient

JOINING, LEAVING = 0, -1


def beat(port: int, group: str, member: str, topic: str, epoch: int) -> int:
    """One heartbeat of a member that reads `topic`; returns its epoch."""
    joining = epoch == JOINING
    subtopology = streams.Subtopology(subtopology_id="0", source_topics=[topic])
    request = streams.StreamsGroupHeartbeatRequest(
        group_id=group,
        member_id=member,
        member_epoch=epoch,
        rebalance_timeout_ms=300_000 if joining else -1,
        process_id="process" if joining else None,
        topology=streams.Topology(epoch=0, subtopologies=[subtopology]) if joining else None,
        active_tasks=[] if joining else None,
        standby_tasks=[] if joining else None,
        warmup_tasks=[] if joining else None,
        client_tags=[] if joining else None,
        task_offsets=None,
        task_end_offsets=None,
    )
    with closing(RawClient(port)) as client:
        reply = client.call(request, 0)
    assert reply.error_code == NONE, reply.error_message
    return reply.member_epoch


def join(port: int, group: str, member: str, topic: str) -> None:
    epoch = JOINING
    for _ in range(3):  # the tasks come with a later heartbeat
        epoch = beat(port, group, member, topic, epoch)


def leave(port: int, group: str, member: str, topic: str) -> None:
    beat(port, group, member, topic, LEAVING)
