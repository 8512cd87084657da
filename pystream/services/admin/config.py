"""What the admin server can be set to."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from pystream.client.config import addresses
from pystream.common.config import INT_MAX, ConfigSource, ConfigType, Layer, definition_of, key
from pystream.common.errors import InvalidConfig
from pystream.services.admin.exposition import parsed_url

DEFAULT_LISTEN: Final = "127.0.0.1:9095"
HIGHEST_PORT: Final = 65_535


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; a name other than localhost counts as public."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServerConfig:
    """Of one admin server."""

    bootstrap_servers: tuple[str, ...] = key(
        "bootstrap.servers", default=("127.0.0.1:9092",), doc="The cluster: host:port of some of its brokers."
    )
    listen: str = key("listen", default=DEFAULT_LISTEN, doc="host:port of the gRPC server; port 0 takes a free one.")
    listeners_public_allow: bool = key(
        "listeners.public.allow",
        default=False,
        doc="Other machines may reach it, though it asks nobody who they are.",
    )
    metrics_listener: str = key(
        "metrics.listener", default="", doc="http://HOST:PORT of /metrics and /health; nowhere when it is empty."
    )
    metrics_sources: tuple[str, ...] = key(
        "metrics.sources",
        default=(),
        doc="http://HOST:PORT/PATH of what else MetricService tells, in Prometheus' text format: the brokers' metrics.",
    )
    client_id: str = key("client.id", default="pystream-admin", doc="Names the server in the brokers' logs and quotas.")
    default_api_timeout_ms: int = key(
        "default.api.timeout.ms", default=30_000, minimum=1, doc="For a call without a deadline."
    )
    request_timeout_ms: int = key("request.timeout.ms", default=30_000, minimum=1, doc="For one request to a broker.")
    max_concurrent_calls: int = key(
        "max.concurrent.calls", default=256, minimum=1, doc="More calls at once are refused: RESOURCE_EXHAUSTED."
    )
    max_streams: int = key(
        "max.streams", default=64, minimum=0, doc="More streams (watch, tail) at once are refused: RESOURCE_EXHAUSTED."
    )
    max_request_bytes: int = key(
        "max.request.bytes", default=4 << 20, minimum=1 << 10, maximum=INT_MAX, doc="Longest message of a client."
    )
    max_answer_bytes: int = key(
        "max.answer.bytes", default=64 << 20, minimum=1 << 10, maximum=INT_MAX, doc="Longest message to a client."
    )
    max_items: int = key("max.items", default=10_000, minimum=1, doc="Items that one field of a request may list.")
    max_page_size: int = key("max.page.size", default=10_000, minimum=1, doc="Rows of one page of a list.")
    max_peek_records: int = key("max.peek.records", default=1_000, minimum=1, doc="Records of one PeekRecords.")
    max_produce_records: int = key(
        "max.produce.records", default=10_000, minimum=1, doc="Records of one ProduceRecords."
    )
    max_value_bytes: int = key(
        "max.value.bytes", default=64 << 10, minimum=0, doc="Keys and values that are shown are cut there."
    )
    max_fetch_bytes: int = key(
        "max.fetch.bytes", default=4 << 20, minimum=1 << 10, doc="What one stream or peek fetches ahead."
    )
    max_metrics_bytes: int = key(
        "max.metrics.bytes", default=16 << 20, minimum=1 << 10, maximum=INT_MAX, doc="What one source may answer with."
    )
    health_interval_ms: int = key(
        "health.interval.ms", default=5_000, minimum=10, doc="How often the cluster is looked at for grpc.health.v1."
    )
    stop_timeout_ms: int = key(
        "stop.timeout.ms", default=10_000, minimum=0, doc="SIGTERM lets calls that run end for so long."
    )
    keepalive_time_ms: int = key(
        "keepalive.time.ms",
        default=60_000,
        type=ConfigType.LONG,
        minimum=1_000,
        doc="Silent connections are asked so often whether the client is still there.",
    )
    log_level: str = key("log.level", default="info", valid=("debug", "info", "warning", "error"), doc="Least level.")
    log_format: str = key("log.format", default="auto", valid=("auto", "text", "json"), doc="Form of the log.")

    @classmethod
    def from_settings(cls, settings: Mapping[str, str]) -> Self:
        """Parse and check. Raises InvalidConfig for the first that is wrong."""
        config = definition_of(cls).load(Layer(ConfigSource.STATIC_BROKER_CONFIG, dict(settings)))
        addresses(config.bootstrap_servers)
        host, _, port = config.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > HIGHEST_PORT:
            raise InvalidConfig(f"listen: {config.listen!r} is no host:port")
        for source in config.metrics_sources:
            try:
                parsed_url(source)
            except ValueError as error:
                raise InvalidConfig(f"metrics.sources: {error}") from None
        hosts = [("listen", host)]
        if config.metrics_listener:
            hosts.append(("metrics.listener", config.metrics_address()[0]))
        for name, each in hosts:
            if not config.listeners_public_allow and not is_loopback(each.strip("[]")):
                raise InvalidConfig(
                    f"{name}: {each} has no authentication and is open to other machines; bind a loopback "
                    "address, or set listeners.public.allow=true if that is meant"
                )
        return config

    def metrics_address(self) -> tuple[str, int]:
        """Host and port of `metrics.listener`. Raises InvalidConfig."""
        scheme, _, address = self.metrics_listener.partition("://")
        host, _, port = address.rpartition(":")
        if scheme != "http" or not host or not port.isdecimal() or int(port) > HIGHEST_PORT:
            raise InvalidConfig(f"metrics.listener: {self.metrics_listener!r} is no http://HOST:PORT")
        return host.strip("[]"), int(port)

    def client_settings(self) -> dict[str, str]:
        """Of every client that the server makes."""
        return {
            "bootstrap.servers": ",".join(self.bootstrap_servers),
            "client.id": self.client_id,
            "request.timeout.ms": str(self.request_timeout_ms),
            "reconnect.backoff.max.ms": "1000",
        }
