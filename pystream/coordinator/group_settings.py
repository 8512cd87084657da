"""Settings of single groups: what an operator may set for one group, over what the broker says for all of them.

    own setting of the group (ConfigResource GROUP)    consumer.session.timeout.ms
    setting of the broker, for all groups              group.consumer.session.timeout.ms

A group's own times must lie within the bounds that the broker sets. Source: KIP-848, KIP-932, KIP-1071, KIP-1222.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from pystream.common.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from pystream.common.config import ConfigKey, ConfigType, definition_of, key
from pystream.common.errors import InvalidConfig

_DURATION: Final = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:\.\d{1,9})?S)?)?",
    re.I,
)
BY_DURATION: Final = "by_duration:"


def duration_ms(text: str) -> int | None:
    """Milliseconds of an ISO 8601 duration (PnDTnHnMn.nS); None when it is none, or negative."""
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    units = {"days": DAY_MS, "hours": HOUR_MS, "minutes": MINUTE_MS, "seconds": SECOND_MS}
    fraction = re.search(r"\.(\d+)S$", text, re.I)
    whole = sum(int(found[name] or 0) * unit for name, unit in units.items())
    return whole + (int(fraction[1][:3].ljust(3, "0")) if fraction else 0)


def _offset_reset_complaint(value: str) -> str | None:
    if value in ("earliest", "latest"):
        return None
    if value.startswith(BY_DURATION) and duration_ms(value[len(BY_DURATION) :]) is not None:
        return None
    return (
        f"Invalid value `{value}` for configuration share.auto.offset.reset. "
        "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """What one group goes by."""

    NOUN: ClassVar[str] = "group"

    consumer_session_timeout_ms: int = key(
        "consumer.session.timeout.ms",
        default=45 * SECOND_MS,
        minimum=1,
        dynamic=True,
        synonyms=("group.consumer.session.timeout.ms",),
        doc="A member of a consumer group silent for so long is removed.",
    )
    consumer_heartbeat_interval_ms: int = key(
        "consumer.heartbeat.interval.ms",
        default=5 * SECOND_MS,
        minimum=1,
        dynamic=True,
        synonyms=("group.consumer.heartbeat.interval.ms",),
        doc="How often members of a consumer group are told to show themselves.",
    )
    share_session_timeout_ms: int = key(
        "share.session.timeout.ms",
        default=45 * SECOND_MS,
        minimum=1,
        dynamic=True,
        synonyms=("group.share.session.timeout.ms",),
        doc="A member of a share group silent for so long is removed.",
    )
    share_heartbeat_interval_ms: int = key(
        "share.heartbeat.interval.ms",
        default=5 * SECOND_MS,
        minimum=1,
        dynamic=True,
        synonyms=("group.share.heartbeat.interval.ms",),
        doc="How often members of a share group are told to show themselves.",
    )
    share_record_lock_duration_ms: int = key(
        "share.record.lock.duration.ms",
        default=30 * SECOND_MS,
        minimum=1_000,
        dynamic=True,
        synonyms=("group.share.record.lock.duration.ms",),
        doc="How long a record belongs to the member that acquired it.",
    )
    share_auto_offset_reset: str = key(
        "share.auto.offset.reset",
        default="latest",
        check=_offset_reset_complaint,
        dynamic=True,
        doc="Where a share group begins: earliest, latest, or by_duration:PnDTnHnMn.nS before now.",
    )
    share_isolation_level: str = key(
        "share.isolation.level",
        default="read_uncommitted",
        valid=("read_committed", "read_uncommitted"),
        dynamic=True,
        doc="Whether a share group is given records of transactions that are open or aborted.",
    )
    streams_session_timeout_ms: int = key(
        "streams.session.timeout.ms",
        default=45 * SECOND_MS,
        minimum=1,
        dynamic=True,
        synonyms=("group.streams.session.timeout.ms",),
        doc="A member of a streams group silent for so long is removed.",
    )
    streams_heartbeat_interval_ms: int = key(
        "streams.heartbeat.interval.ms",
        default=5 * SECOND_MS,
        minimum=1,
        dynamic=True,
        synonyms=("group.streams.heartbeat.interval.ms",),
        doc="How often members of a streams group are told to show themselves.",
    )
    streams_num_standby_replicas: int = key(
        "streams.num.standby.replicas",
        default=0,
        minimum=0,
        dynamic=True,
        synonyms=("group.streams.num.standby.replicas",),
        doc="Standby tasks for each stateful task of a streams group.",
    )
    streams_initial_rebalance_delay_ms: int = key(
        "streams.initial.rebalance.delay.ms",
        default=3 * SECOND_MS,
        minimum=0,
        dynamic=True,
        synonyms=("group.streams.initial.rebalance.delay.ms",),
        doc="How long an empty streams group waits for further members before the first assignment.",
    )


def _bound(name: str, default: int) -> int:
    side = "Least" if ".min." in name else "Highest"
    what = name.replace("group.", "", 1).replace(".min.", " ").replace(".max.", " ")
    bound: int = key(
        name, default=default, minimum=0, type=ConfigType.INT, doc=f"{side} value of {what} for one group."
    )
    return bound


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupBounds:
    """Within which the settings of single groups must lie."""

    consumer_session_timeout_least: int = _bound("group.consumer.min.session.timeout.ms", 45 * SECOND_MS)
    consumer_session_timeout_highest: int = _bound("group.consumer.max.session.timeout.ms", MINUTE_MS)
    consumer_heartbeat_interval_least: int = _bound("group.consumer.min.heartbeat.interval.ms", 5 * SECOND_MS)
    consumer_heartbeat_interval_highest: int = _bound("group.consumer.max.heartbeat.interval.ms", 15 * SECOND_MS)
    share_session_timeout_least: int = _bound("group.share.min.session.timeout.ms", 45 * SECOND_MS)
    share_session_timeout_highest: int = _bound("group.share.max.session.timeout.ms", MINUTE_MS)
    share_heartbeat_interval_least: int = _bound("group.share.min.heartbeat.interval.ms", 5 * SECOND_MS)
    share_heartbeat_interval_highest: int = _bound("group.share.max.heartbeat.interval.ms", 15 * SECOND_MS)
    share_record_lock_duration_least: int = _bound("group.share.min.record.lock.duration.ms", 15 * SECOND_MS)
    share_record_lock_duration_highest: int = _bound("group.share.max.record.lock.duration.ms", MINUTE_MS)
    streams_session_timeout_least: int = _bound("group.streams.min.session.timeout.ms", 45 * SECOND_MS)
    streams_session_timeout_highest: int = _bound("group.streams.max.session.timeout.ms", MINUTE_MS)
    streams_heartbeat_interval_least: int = _bound("group.streams.min.heartbeat.interval.ms", 5 * SECOND_MS)
    streams_heartbeat_interval_highest: int = _bound("group.streams.max.heartbeat.interval.ms", 15 * SECOND_MS)
    streams_num_standby_replicas_highest: int = _bound("group.streams.max.standby.replicas", 2)


SettingsOfGroup = Callable[[str], GroupSettings]  # what a group goes by at this moment; `SettingsView.group_settings`


def check_bounds(values: Mapping[str, str], bounds: GroupBounds) -> None:
    """Raises InvalidConfig when a group's own settings leave the bounds, or contradict one another."""
    keys = definition_of(GroupSettings).keys
    chosen = {keys[name].field_name: keys[name].parse(text) for name, text in values.items()}
    for config, bound in _bounded_keys():
        own = chosen.get(config.field_name)
        if own is not None:
            _check_bound(config.name, own, bound, bounds)
    for kind in ("consumer", "share", "streams"):
        session, heartbeat = chosen.get(f"{kind}_session_timeout_ms"), chosen.get(f"{kind}_heartbeat_interval_ms")
        if session is not None and heartbeat is not None and session <= heartbeat:
            raise InvalidConfig(f"{kind}.session.timeout.ms must be greater than {kind}.heartbeat.interval.ms")


def check_broker(settings: GroupSettings, bounds: GroupBounds) -> None:
    """Raises InvalidConfig when what the broker sets for all groups leaves its own bounds, or they contradict."""
    names = {config.field_name: config.synonyms[0].name for config, _ in _bounded_keys()}
    keys = {bound.field_name: bound for _, bound in _bounded_keys()}
    for config, bound in _bounded_keys():
        least = keys.get(bound.field_name.replace("_highest", "_least"), bound)
        if getattr(bounds, bound.field_name) < getattr(bounds, least.field_name):
            raise InvalidConfig(f"{bound.name} must be greater than or equal to {least.name}")
        _check_bound(names[config.field_name], getattr(settings, config.field_name), bound, bounds)
    for kind in ("consumer", "share", "streams"):
        session, heartbeat = f"{kind}_session_timeout_ms", f"{kind}_heartbeat_interval_ms"
        if getattr(settings, heartbeat) >= getattr(settings, session):
            raise InvalidConfig(f"{names[heartbeat]} must be less than {names[session]}")


def _bounded_keys() -> Iterator[tuple[ConfigKey, ConfigKey]]:
    """A setting of groups, and one of its bounds."""
    keys = definition_of(GroupSettings).keys.values()
    for bound in definition_of(GroupBounds).keys.values():
        name = bound.field_name.rpartition("_")[0]
        yield next(each for each in keys if each.field_name in (name, f"{name}_ms")), bound


def _check_bound(name: str, value: int, bound: ConfigKey, bounds: GroupBounds) -> None:
    limit, is_least = getattr(bounds, bound.field_name), bound.field_name.endswith("_least")
    if value < limit if is_least else value > limit:
        relation = "greater than or equal to" if is_least else "less than or equal to"
        raise InvalidConfig(f"{name} must be {relation} {bound.name}")
