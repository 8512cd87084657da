"""ConsumerGroupHeartbeat: a member joins, says what it wants and has, learns what it is to have, and leaves.

Everything that can be refused is refused before the first record is written. Then, in this order: the group is made or
changes its kind, the member is written, the group epoch moves, the target follows,
the member takes its next step. A heartbeat with nothing new writes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pystream.common.errors import (
    FencedInstanceId,
    GroupIdNotFound,
    GroupMaxSizeReached,
    InvalidRequest,
    KafkaError,
    UnknownMemberId,
    UnreleasedInstanceId,
    UnsupportedAssignor,
)
from pystream.common.logging import get_logger
from pystream.coordinator.group.assignors.model import NO_PARTITIONS, Assignment
from pystream.coordinator.group.classic.state import ClassicGroup
from pystream.coordinator.group.consumer import records
from pystream.coordinator.group.consumer.config import ConsumerGroupConfig
from pystream.coordinator.group.consumer.group import ConsumerGroup
from pystream.coordinator.group.consumer.groups import ConsumerGroups, consumer_groups
from pystream.coordinator.group.consumer.member import LEAVING_STATIC_EPOCH, ConsumerMember
from pystream.coordinator.group.consumer.migration import Upgrade, upgrade_of
from pystream.coordinator.group.consumer.regex import check_regex
from pystream.coordinator.group.group import Caller, GroupKind
from pystream.coordinator.group.modern.member import JOINING_EPOCH, LEAVING_EPOCH, NO_TIMEOUT
from pystream.coordinator.group.modern.requests import fenced, refuse_blank
from pystream.coordinator.group.shard import GroupShard
from pystream.coordinator.machine import Effects, Ticket
from pystream.protocol.messages.consumer_group_heartbeat import (
    Assignment as AssignmentMessage,
)
from pystream.protocol.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ConsumerGroupHeartbeatResponseTopicPartitions,
)

logger = get_logger(__name__)

FIRST_VERSION_WITH_IDS_OF_CLIENTS = 1  # KIP-1082: the client makes its member id up


def check_heartbeat(request: ConsumerGroupHeartbeatRequest, api_version: int, config: ConsumerGroupConfig) -> None:
    """What is wrong with a request whatever the group. Raises InvalidRequest or UnsupportedAssignor."""
    epoch = request.member_epoch
    if api_version >= FIRST_VERSION_WITH_IDS_OF_CLIENTS or epoch > JOINING_EPOCH or epoch == LEAVING_EPOCH:
        refuse_blank(request.member_id, "MemberId")
    refuse_blank(request.group_id, "GroupId")
    refuse_blank(request.instance_id, "InstanceId")
    refuse_blank(request.rack_id, "RackId")
    if epoch == JOINING_EPOCH:
        if request.rebalance_timeout_ms == NO_TIMEOUT:
            raise InvalidRequest("RebalanceTimeoutMs must be provided in first request.")
        if request.topic_partitions is None or request.topic_partitions:
            raise InvalidRequest("TopicPartitions must be empty when (re-)joining.")
        if request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
            raise InvalidRequest(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
            )
    elif epoch == LEAVING_STATIC_EPOCH:
        if request.instance_id is None:
            raise InvalidRequest("InstanceId can't be null.")
    elif epoch < LEAVING_STATIC_EPOCH:
        raise InvalidRequest("MemberEpoch is invalid.")
    if request.server_assignor is not None and request.server_assignor not in config.assignors:
        raise UnsupportedAssignor(
            f"ServerAssignor {request.server_assignor} is not supported. "
            f"Supported assignors: {', '.join(config.assignors)}."
        )


def heartbeat(
    shard: GroupShard,
    ticket: Ticket,
    now_ms: int,
    effects: Effects,
    caller: Caller,
    request: ConsumerGroupHeartbeatRequest,
) -> None:
    """Answer at once."""
    groups = consumer_groups(shard)
    try:
        check_heartbeat(request, caller.api_version, groups.config)
        if request.member_epoch in (LEAVING_EPOCH, LEAVING_STATIC_EPOCH):
            response = _leave(groups, request, now_ms, effects)
        else:
            response = _Heartbeat(groups, caller, request, now_ms, effects).run()
    except KafkaError as error:
        response = failed(error)
    effects.answer(ticket, response)


def failed(error: KafkaError) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=str(error))


def _leave(
    groups: ConsumerGroups, request: ConsumerGroupHeartbeatRequest, now_ms: int, effects: Effects
) -> ConsumerGroupHeartbeatResponse:
    group = groups.find(request.group_id)
    if request.instance_id is None:
        member = group.member(request.member_id)
    else:
        member = known_static_member(group, request.instance_id, request.member_id)
    if request.member_epoch == LEAVING_STATIC_EPOCH:
        logger.info("static member away", group=group.group_id, member=member.member_id, instance=member.instance_id)
        away = replace(member, member_epoch=LEAVING_STATIC_EPOCH, pending_revocation=NO_PARTITIONS)
        effects.write(*records.current_assignment_of(group.group_id, away))
    else:
        logger.info("consumer group member left", group=group.group_id, member=member.member_id)
        groups.fence(group, [member], now_ms, effects)
    return ConsumerGroupHeartbeatResponse(member_id=member.member_id, member_epoch=request.member_epoch)


def known_static_member(group: ConsumerGroup, instance_id: str, member_id: str) -> ConsumerMember:
    """The member of that instance id. Raises UnknownMemberId, or FencedInstanceId when it is not `member_id`."""
    member = group.static_member(instance_id)
    if member is None:
        raise UnknownMemberId(f"Instance id {instance_id} is unknown.")
    if member.member_id != member_id:
        raise FencedInstanceId(
            f"Static member {member_id} with instance id {instance_id} was fenced by member {member.member_id}."
        )
    return member


def check_not_full(group: ConsumerGroup, config: ConsumerGroupConfig, member_id: str) -> None:
    """Raises GroupMaxSizeReached for a member that is not in yet."""
    if len(group.members) >= config.max_size and member_id not in group.members:
        raise GroupMaxSizeReached(f"The consumer group has reached its maximum capacity of {config.max_size} members.")


def replace_static_member(
    groups: ConsumerGroups, group: ConsumerGroup, existing: ConsumerMember, member_id: str, effects: Effects
) -> ConsumerMember:
    """Give all that a static member has to its successor, which starts at epoch 0."""
    successor = replace(existing, member_id=member_id, member_epoch=JOINING_EPOCH, previous_member_epoch=JOINING_EPOCH)
    target = group.target_of(existing.member_id)
    groups.write_gone(group, existing.member_id, effects)
    effects.write(*records.member(group.group_id, successor))
    effects.write(*records.target(group.group_id, member_id, target))
    effects.write(*records.current_assignment_of(group.group_id, successor))
    return successor


class _Heartbeat:
    """One heartbeat that does not leave."""

    __slots__ = ("_caller", "_effects", "_groups", "_now_ms", "_owned", "_request")

    def __init__(
        self,
        groups: ConsumerGroups,
        caller: Caller,
        request: ConsumerGroupHeartbeatRequest,
        now_ms: int,
        effects: Effects,
    ) -> None:
        self._groups = groups
        self._caller = caller
        self._request = request
        self._now_ms = now_ms
        self._effects = effects
        owned = request.topic_partitions
        self._owned = None if owned is None else records.assignment_of(owned)

    def run(self) -> ConsumerGroupHeartbeatResponse:
        groups, request, effects = self._groups, self._request, self._effects
        member_id = request.member_id or groups.new_member_id()
        group, upgrade = self._group()
        check_not_full(group, groups.config, member_id)
        before, replaced = self._member(group, member_id)
        expression = request.subscribed_topic_regex
        if expression and expression not in group.regexes_wanted():
            check_regex(expression)
        # Nothing is refused from here on.
        if upgrade is not None:
            group = upgrade.write(groups, self._now_ms, effects)
        else:
            self._do_away_with_empty_group()
        if replaced is not None:
            before = replace_static_member(groups, group, replaced, member_id, effects)
        wanted = self._wanted(before)
        if wanted is not before or member_id not in group.members:
            effects.write(*records.member(request.group_id, wanted))
            group = groups.written(request.group_id)
            if before.member_epoch == JOINING_EPOCH:
                logger.info("consumer group member joined", group=group.group_id, member=member_id)
        if before.uses_classic_protocol:
            groups.cancel_timers(group, member_id)  # of joining and syncing; the session's is set below
        if group.regexes or wanted.subscribed_topic_regex:
            groups.refresh_regexes(group, self._now_ms, effects)
        names_changed = wanted.subscribed_topic_names != before.subscribed_topic_names
        regex_changed = wanted.subscribed_topic_regex != before.subscribed_topic_regex
        # An expression that is not looked up yet moves the epoch once it is.
        is_known = not wanted.subscribed_topic_regex or wanted.subscribed_topic_regex in group.regexes
        moves = names_changed or (regex_changed and is_known) or group.group_epoch == 0
        groups.advance_group_epoch(group, effects, changed=moves)
        groups.advance_target(group, effects)
        after = groups.advance_member(
            group, wanted, self._owned, self._now_ms, effects, subscription_changed=names_changed or regex_changed
        )
        groups.expect_heartbeat(group, after, self._now_ms)
        return self._answer(before, after)

    def _group(self) -> tuple[ConsumerGroup, Upgrade | None]:
        """The group as it is, or will be once it is made or upgraded. Raises GroupIdNotFound."""
        shard, group_id = self._groups.shard, self._request.group_id
        found = shard.groups.get(group_id)
        if isinstance(found, ConsumerGroup):
            return found, None
        joining = self._request.member_epoch == JOINING_EPOCH
        if found is None:
            if not joining:
                raise GroupIdNotFound(f"Consumer group {group_id} not found.")
            return ConsumerGroup(group_id), None
        if not joining or not isinstance(found, ClassicGroup):
            raise GroupIdNotFound(f"Group {group_id} is not a consumer group.")
        if found.is_empty():
            return ConsumerGroup(group_id), None
        upgrade = upgrade_of(found, self._groups)
        return upgrade.group, upgrade

    def _member(self, group: ConsumerGroup, member_id: str) -> tuple[ConsumerMember, ConsumerMember | None]:
        """The member as it is, new or not; and, where it takes a static member's place, that one."""
        request = self._request
        joining = request.member_epoch == JOINING_EPOCH
        if request.instance_id is None:
            member = group.members.get(member_id)
            if member is None:
                if not joining:
                    raise UnknownMemberId(f"Member {member_id} is not a member of group {group.group_id}.")
                return ConsumerMember(member_id=member_id), None
            self._check_epoch(member)
            return member, None
        if not joining:
            member = known_static_member(group, request.instance_id, member_id)
            self._check_epoch(member)
            return member, None
        existing = group.static_member(request.instance_id)
        if existing is None:
            return group.members.get(member_id) or ConsumerMember(member_id=member_id), None
        if not existing.uses_classic_protocol and existing.member_epoch != LEAVING_STATIC_EPOCH:
            raise UnreleasedInstanceId(
                f"Static member {member_id} with instance id {request.instance_id} cannot join the group because the "
                f"instance id is owned by {existing.member_id} member."
            )
        return existing, existing

    def _check_epoch(self, member: ConsumerMember) -> None:
        """Raises FencedMemberEpoch unless the member is where we left it, or its last answer may have been lost."""
        received = self._request.member_epoch
        if received in (JOINING_EPOCH, member.member_epoch):
            return
        is_ahead = received > member.member_epoch
        if is_ahead or received != member.previous_member_epoch or not _is_part_of(self._owned, member.assigned):
            raise fenced(GroupKind.CONSUMER, received=received, known=member.member_epoch)

    def _do_away_with_empty_group(self) -> None:
        """A classic group without members gives way."""
        found = self._groups.shard.groups.get(self._request.group_id)
        if isinstance(found, ClassicGroup):
            found.write_tombstones(self._effects)

    def _wanted(self, before: ConsumerMember) -> ConsumerMember:
        """The member with what the request says; `before` itself when it says nothing new."""
        request, caller = self._request, self._caller
        timeout_ms = request.rebalance_timeout_ms
        if (  # as most heartbeats are
            timeout_ms == NO_TIMEOUT
            and request.subscribed_topic_names is None
            and request.subscribed_topic_regex is None
            and request.server_assignor is None
            and request.rack_id is None
            and request.instance_id in (None, before.instance_id)
            and (caller.client_id, caller.client_host) == (before.client_id, before.client_host)
            and before.classic is None
        ):
            return before
        says: dict[str, Any] = {
            "instance_id": request.instance_id,
            "rack_id": request.rack_id,
            "rebalance_timeout_ms": None if timeout_ms == NO_TIMEOUT else timeout_ms,
            "server_assignor": request.server_assignor,
            "subscribed_topic_regex": request.subscribed_topic_regex,
            "client_id": caller.client_id,
            "client_host": caller.client_host,
        }
        if request.subscribed_topic_names is not None:
            says["subscribed_topic_names"] = frozenset(request.subscribed_topic_names)
        new = {name: value for name, value in says.items() if value is not None and value != getattr(before, name)}
        if before.classic is not None:
            new["classic"] = None
        return replace(before, **new) if new else before

    def _answer(self, before: ConsumerMember, after: ConsumerMember) -> ConsumerGroupHeartbeatResponse:
        """The assignment is told to a member that does not know it: it joins, has lost track, or it has changed."""
        request = self._request
        is_full = (
            request.rebalance_timeout_ms != NO_TIMEOUT
            and (request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None)
            and request.topic_partitions is not None
        )
        tell = request.member_epoch == JOINING_EPOCH or is_full or before.assigned != after.assigned
        return ConsumerGroupHeartbeatResponse(
            member_id=after.member_id,
            member_epoch=after.member_epoch,
            heartbeat_interval_ms=self._groups.settings_of(request.group_id).consumer_heartbeat_interval_ms,
            assignment=_message(after.assigned) if tell else None,
        )


def _is_part_of(owned: Assignment | None, assigned: Assignment) -> bool:
    """Whether the member says what it has, and has all of it from us."""
    if owned is None:
        return False
    return all(indexes <= assigned.get(topic_id, frozenset()) for topic_id, indexes in owned.items())


def _message(assignment: Assignment) -> AssignmentMessage:
    return AssignmentMessage(
        topic_partitions=[
            ConsumerGroupHeartbeatResponseTopicPartitions(topic_id=topic_id, partitions=sorted(indexes))
            for topic_id, indexes in sorted(assignment.items())
        ]
    )
