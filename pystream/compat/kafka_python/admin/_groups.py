"""Groups and their offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pystream.client.admin.group_offsets import OffsetAndMetadata as SdkOffset
from pystream.client.admin.groups import GroupDescription, GroupType
from pystream.client.given import listed
from pystream.common.errors import KafkaError, PystreamError
from pystream.common.model import TopicPartition
from pystream.compat.kafka_python.admin._calls import Calls, class_of, operations_of, raise_first
from pystream.compat.kafka_python.admin._model import MemberToRemove
from pystream.compat.kafka_python.errors import BrokerResponseError, for_code, translated
from pystream.compat.kafka_python.protocol.consumer import OffsetSpec, OffsetTimestamp
from pystream.compat.kafka_python.structs import OffsetAndMetadata


class GroupCalls(Calls):
    """Calls on groups."""

    def list_groups(
        self,
        broker_ids: Iterable[int] | None = None,
        states_filter: Iterable[str] | None = None,
        types_filter: Iterable[Any] | None = None,
    ) -> list[dict[str, str]]:
        """The groups of all coordinators, or of `broker_ids`."""
        kinds = [GroupType.of(str(getattr(each, "value", each))) for each in listed(types_filter or ())]
        states = [str(getattr(each, "value", each)) for each in listed(states_filter or ())]
        found = self._run(self._sdk.list_groups(types=kinds, states=states))
        brokers = None if broker_ids is None else set(broker_ids)
        return [
            {
                "group_id": each.group_id,
                "protocol_type": each.protocol_type,
                "group_state": each.state,
                "group_type": each.type.value.lower(),
            }
            for each in found
            if brokers is None or each.coordinator_id in brokers
        ]

    def describe_groups(
        self,
        group_ids: Iterable[str],
        group_coordinator_id: int | None = None,
        include_authorized_operations: bool = False,
    ) -> dict[str, dict[str, Any]]:
        """State and members of each."""
        work = self._sdk.describe_consumer_groups(group_ids, include_authorized_operations=True)
        return {group_id: _described(group_id, each) for group_id, each in self._run(work).items()}

    def list_group_offsets(self, group_specs: Any) -> dict[str, dict[TopicPartition, OffsetAndMetadata]]:
        """What groups have committed: of a name, a list of names, or {name: partitions or None}."""
        if isinstance(group_specs, str):
            group_specs = {group_specs: None}
        elif not isinstance(group_specs, Mapping):
            group_specs = dict.fromkeys(group_specs)
        if not group_specs:
            raise ValueError("Empty group_specs!")
        found = self._run(self._sdk.list_consumer_group_offsets(group_specs))
        raise_first(found.values())
        told = {}
        for group_id, each in found.checked().items():
            asked = group_specs[group_id]
            places = list(each) if asked is None else [TopicPartition(*place) for place in asked]
            told[group_id] = {place: _offset(each.get(place)) for place in places}
        return told

    def alter_group_offsets(
        self,
        group_id: str,
        offsets: Mapping[TopicPartition, OffsetAndMetadata],
        group_coordinator_id: int | None = None,
    ) -> dict[TopicPartition, type[BrokerResponseError]]:
        """Set what a group without members has committed."""
        wanted = {
            TopicPartition(*place): SdkOffset(each.offset or 0, each.metadata or "", each.leader_epoch)
            for place, each in offsets.items()
        }
        found = self._run(self._sdk.alter_consumer_group_offsets(group_id, wanted))
        return {place: class_of(each) for place, each in found.items()}

    def reset_group_offsets(
        self, group_id: str, offset_specs: Mapping[TopicPartition, int], group_coordinator_id: int | None = None
    ) -> dict[TopicPartition, dict[str, Any]]:
        """Set what a group has committed to an OffsetSpec, an OffsetTimestamp or an offset, within what there is."""
        specs = {TopicPartition(*place): spec for place, spec in offset_specs.items()}
        first = self._run(self._sdk.list_offsets(dict.fromkeys(specs, int(OffsetSpec.EARLIEST)))).checked()
        last = self._run(self._sdk.list_offsets(dict.fromkeys(specs, int(OffsetSpec.LATEST)))).checked()
        asked = {place: int(spec) for place, spec in specs.items() if isinstance(spec, OffsetSpec | OffsetTimestamp)}
        looked_up = self._run(self._sdk.list_offsets(asked)).checked() if asked else {}
        targets: dict[TopicPartition, int] = {}
        for place, spec in specs.items():
            offset = looked_up[place].offset if place in looked_up else int(spec)
            end = last[place].offset
            targets[place] = min(max(offset, first[place].offset), end) if offset >= 0 else end
        found = self._run(self._sdk.alter_consumer_group_offsets(group_id, targets))
        return {place: {"error": class_of(each), "offset": targets[place]} for place, each in found.items()}

    def delete_group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition], group_coordinator_id: int | None = None
    ) -> dict[TopicPartition, type[BrokerResponseError]]:
        """Forget what a group has committed."""
        wanted = [TopicPartition(*each) for each in partitions]
        found = self._run(self._sdk.delete_consumer_group_offsets(group_id, wanted))
        return {place: class_of(each) for place, each in found.items()}

    def delete_groups(self, group_ids: Iterable[str], group_coordinator_id: int | None = None) -> dict[str, str]:
        """ "OK", or the name of the error."""
        found = self._run(self._sdk.delete_groups(group_ids))
        return {group_id: _name(each) for group_id, each in found.items()}

    def remove_group_members(
        self, group_id: str, members: Iterable[MemberToRemove], group_coordinator_id: int | None = None
    ) -> dict[MemberToRemove, type[BrokerResponseError]]:
        """Remove members by their static names; others cannot be, for they come back at once."""
        wanted = list(members)
        for each in wanted:
            if each.group_instance_id is None:
                raise ValueError(f"pystream.compat removes static members only, by group_instance_id: {each}")
        names = [each.group_instance_id for each in wanted if each.group_instance_id is not None]
        found = self._run(self._sdk.remove_members_from_consumer_group(group_id, names))
        return {MemberToRemove(group_instance_id=name): class_of(found[name]) for name in names}


def _name(found: object) -> str:
    if isinstance(found, KafkaError):
        return for_code(found.code).__name__
    if isinstance(found, PystreamError):
        raise translated(found) from found
    return "OK"


def _offset(found: Any) -> OffsetAndMetadata:
    if found is None:
        return OffsetAndMetadata(-1, "", -1)
    return OffsetAndMetadata(found.offset, found.metadata, found.leader_epoch)


def _described(group_id: str, found: GroupDescription | PystreamError) -> dict[str, Any]:
    if isinstance(found, PystreamError):
        return {
            "group_id": group_id,
            "error": str(translated(found)),
            "group_state": "Dead",
            "protocol_type": "",
            "protocol_data": "",
            "members": [],
        }
    return {
        "group_id": group_id,
        "error": None,
        "group_state": found.state,
        "protocol_type": found.protocol_type,
        "protocol_data": found.assignor,
        "members": [
            {
                "member_id": each.member_id,
                "group_instance_id": each.instance_id,
                "client_id": each.client_id,
                "client_host": each.host,
                "member_metadata": {"topics": list(each.subscribed_topics)},
                "member_assignment": {"assigned_partitions": _by_topic(each.assignment)},
            }
            for each in found.members
        ],
        "authorized_operations": operations_of(found.authorized_operations),
    }


def _by_topic(places: Iterable[TopicPartition]) -> list[dict[str, Any]]:
    found: dict[str, list[int]] = {}
    for topic, partition in sorted(places):
        found.setdefault(topic, []).append(partition)
    return [{"topic": topic, "partitions": partitions} for topic, partitions in found.items()]
