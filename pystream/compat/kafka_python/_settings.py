"""kafka-python's configuration as settings of the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

from pystream.client.config import ClientConfig
from pystream.common.config import INT_MAX, LONG_MAX, definition_of
from pystream.compat.kafka_python.errors import KafkaConfigurationError

DEFAULT_PORT: Final = 9092
DEFAULT_API_MS: Final = 60_000
DEFAULT_IDLE_MS: Final = 540_000

IDLE: Final = frozenset(  # how kafka-python works inside, and its metrics: nothing of it to be set here
    {
        "api_version",
        "api_version_auto_timeout_ms",
        "enable_incremental_fetch_sessions",
        "kafka_client",
        "metric_group_prefix",
        "metric_reporters",
        "metrics_enabled",
        "metrics_num_samples",
        "metrics_sample_window_ms",
        "net",
        "proxy_url",
        "selector",
        "socket_options",
        "socks5_proxy",
        "client_software_name",
    }
)
PROXIES: Final = ("proxy_url", "socks5_proxy")
SECURITY: Final = ("ssl_", "sasl_")
PLAIN_DEFAULTS: Final = {"ssl_check_hostname": True, "sasl_kerberos_service_name": "kafka"}  # may be given as they are


def check_timeouts(config: Mapping[str, Any]) -> None:
    """Raises KafkaConfigurationError for one that is longer than what it is a part of."""
    request_ms = config["request_timeout_ms"]
    if config.get("default_api_timeout_ms", DEFAULT_API_MS) < request_ms:
        raise KafkaConfigurationError("default_api_timeout_ms must be >= request_timeout_ms")
    if config.get("connections_max_idle_ms", DEFAULT_IDLE_MS) <= request_ms:
        raise KafkaConfigurationError(f"connections_max_idle_ms must be larger than request_timeout_ms ({request_ms})")
    if config.get("fetch_max_wait_ms", 0) >= request_ms:
        raise KafkaConfigurationError(f"request_timeout_ms ({request_ms}) must be larger than fetch_max_wait_ms")


def settings_of(
    kind: type[ClientConfig],
    config: Mapping[str, Any],
    own: frozenset[str],
    unknown: type[Exception] = KafkaConfigurationError,
) -> dict[str, Any]:
    """What `config` says to the SDK, without `own`, which the client keeps.

    Raises `unknown` for names that nobody knows, KafkaConfigurationError for what cannot be had.
    """
    names = {key.field_name: dotted for dotted, key in definition_of(kind).keys.items()}
    strangers = [
        name for name in config if name not in names and name not in own | IDLE and not name.startswith(SECURITY)
    ]
    if strangers:
        raise unknown(f"Unrecognized configs: {set(strangers)}")
    for name in PROXIES:
        if config.get(name) is not None:
            raise KafkaConfigurationError(f"{name} is not supported by pystream.compat: brokers are reached directly")
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name.startswith(SECURITY):
            if value is not None and value != PLAIN_DEFAULTS.get(name):
                found[name] = value
        elif name in names and name not in own and value is not None:
            found[names[name]] = _value(name, value)
    return found


def _value(name: str, value: Any) -> Any:
    if name == "bootstrap_servers":
        servers = value.split(",") if isinstance(value, str) else value
        return [_with_port(str(server).strip()) for server in servers if str(server).strip()]
    if isinstance(value, IntEnum):
        return value.name.lower()
    if value == float("inf"):
        return INT_MAX if name == "retries" else LONG_MAX
    if isinstance(value, float):
        return int(value)
    return value


def _with_port(server: str) -> str:
    host, separator, port = server.rpartition(":")
    bare = not separator or not port.isdecimal() or host.endswith(":")
    return f"{server}:{DEFAULT_PORT}" if bare else server
