"""Where a consumer goes on when its position is gone: auto.offset.reset, and logs that were cut (KIP-320)."""

from __future__ import annotations

from pystream.client.config import ConsumerConfig
from pystream.client.consumer.durations import duration_ms
from pystream.client.consumer.model import BEGINNING, END
from pystream.client.consumer.positions import PartitionState, Phase, named
from pystream.common.errors import LogTruncation
from pystream.common.logging import get_logger

logger = get_logger(__name__)


def reset_target(config: ConsumerConfig, now_ms: int) -> int | None:
    """What auto.offset.reset says: BEGINNING, END, a timestamp; None for none."""
    policy = config.auto_offset_reset
    if policy == "none":
        return None
    if policy.startswith("by_duration:"):
        return max(now_ms - duration_ms(policy.removeprefix("by_duration:")), 0)
    return BEGINNING if policy == "earliest" else END


def truncated(state: PartitionState, config: ConsumerConfig, now_ms: int, epoch: int, end_offset: int) -> None:
    """The leader's log parts from what was fetched: behind `epoch`, which ended at `end_offset`.

    what is in the buffer only     it is fetched again, and what the user has read is compared then
    what the user has read         auto.offset.reset allows it: on from there; LogTruncation with none
    either is negative             the leader does not know where: as auto.offset.reset says
    """
    if state.position < state.fetch_offset:
        state.seek(state.position, state.position_epoch)
        return
    is_known = epoch >= 0 and end_offset >= 0
    if is_known and end_offset >= state.position:
        state.seek(state.position, epoch)  # nothing is missing: the leader counts fewer epochs
        return
    to = reset_target(config, now_ms)
    if to is None:
        state.phase = Phase.VALIDATING  # and told again, until the user seeks
        state.failure = _truncation(state, epoch, end_offset, is_known)
    elif is_known:
        logger.warning("log truncated", partition=str(state.key), position=state.position, end_offset=end_offset)
        state.seek(end_offset, epoch)
    else:
        logger.warning("log truncated", partition=str(state.key), position=state.position, reset_to=named(to))
        state.reset(to)


def _truncation(state: PartitionState, epoch: int, end_offset: int, is_known: bool) -> LogTruncation:
    where = f"at {end_offset}, the end of leader epoch {epoch}" if is_known else "nobody knows where"
    error = LogTruncation(
        f"{state.key}: the leader's log parts from what was read up to position {state.position}, {where}: records "
        "were lost (KIP-320); seek to go on, or set auto.offset.reset"
    )
    error.topic, error.partition, error.position = state.topic, state.partition, state.position
    if is_known:
        error.divergent_offset, error.divergent_epoch = end_offset, epoch
    return error
