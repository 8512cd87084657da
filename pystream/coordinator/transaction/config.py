"""Settings of the transaction coordinator, under Kafka's names."""

from __future__ import annotations

from dataclasses import dataclass

from pystream.common.clock import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS
from pystream.common.config import INT_MAX, ConfigType, key


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionConfig:
    """How long transactions and their ids may live, and how the coordinator's topic is made."""

    maximum_timeout_ms: int = key(
        "transaction.max.timeout.ms",
        default=15 * MINUTE_MS,
        minimum=1,
        maximum=INT_MAX,
        type=ConfigType.INT,
        doc="A producer that asks for a longer transaction is refused with INVALID_TRANSACTION_TIMEOUT.",
    )
    id_expiration_ms: int = key(
        "transactional.id.expiration.ms",
        default=7 * DAY_MS,
        minimum=1,
        maximum=INT_MAX,
        type=ConfigType.INT,
        doc="A transactional id without a transaction for so long is forgotten.",
    )
    abort_interval_ms: int = key(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        default=10 * SECOND_MS,
        minimum=1,
        type=ConfigType.INT,
        doc="How often transactions that have outlived their time-out are looked for and aborted.",
    )
    expiration_interval_ms: int = key(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        default=HOUR_MS,
        minimum=1,
        type=ConfigType.INT,
        doc="How often transactional ids that have expired are looked for.",
    )
    partition_verification: bool = key(
        "transaction.partition.verification.enable",
        default=True,
        doc="Whether a producer of old transactions may only write to partitions that it has added.",
    )
    concurrent_wait_ms: int = key(
        "add.partitions.to.txn.retry.backoff.max.ms",
        default=100,
        minimum=0,
        type=ConfigType.INT,
        doc="How long adding partitions waits for the end of the transaction before.",
    )
    first_marker_delay_ms: int = key(
        "transaction.marker.retry.backoff.ms",
        default=20,
        minimum=1,
        type=ConfigType.INT,
        doc="After a marker could not be written; doubles up to transaction.marker.retry.backoff.max.ms.",
    )
    longest_marker_delay_ms: int = key(
        "transaction.marker.retry.backoff.max.ms",
        default=SECOND_MS,
        minimum=1,
        type=ConfigType.INT,
        doc="Markers that cannot be written are tried again at least so often, for ever.",
    )
