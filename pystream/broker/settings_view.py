"""Every setting of topics and of this broker under a cluster image: static, dynamic, and where each comes from.

topic's own > this broker's > all brokers' > server.properties > default
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pystream.broker.config import broker_keys
from pystream.common.config import ConfigKey, ConfigSource, Explained, Layer, definition_of
from pystream.common.errors import InvalidRequest
from pystream.storage.config import LogConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pystream.broker.config import BrokerConfig
    from pystream.metadata.image import ClusterImage

ALL_BROKERS = ""


class SettingsView:
    """Plain functions of an image: what they say is never older than the image handed in."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config
        self._definition = definition_of(LogConfig)
        self._broker_keys: dict[str, ConfigKey] = {}

    def log_config(self, configs: Mapping[str, str], image: ClusterImage) -> LogConfig:
        """What the logs of a topic with these own settings go by."""
        return self._definition.load(*self._topic_layers(configs, image))

    def explain_topic(self, configs: Mapping[str, str], image: ClusterImage) -> list[Explained]:
        """Every key of a topic with these own settings."""
        layers = self._topic_layers(configs, image)
        return [self._definition.explain(key, *layers) for key in self._definition.keys.values()]

    def explain_broker(self, name: str, image: ClusterImage) -> list[Explained]:
        """Every key of the broker called `name`; for "" those that are set for all brokers.

        Raises InvalidRequest when `name` is another broker, or no number.
        """
        keys = self._all_broker_keys()
        if name == ALL_BROKERS:
            layer = Layer(ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, image.broker_configs(ALL_BROKERS))
            return [self._definition.explain(keys[key], layer) for key in layer.values if key in keys]
        self.check_broker(name)
        layers = self._broker_layers(image)
        return [self._definition.explain(key, *layers) for key in keys.values()]

    def check_broker(self, name: str) -> None:
        """Raises InvalidRequest unless `name` is this broker's id."""
        if not name.isascii() or not name.isdigit():
            raise InvalidRequest(f"Broker id must be an integer, but it is: {name}")
        if int(name) != self._config.node_id:
            raise InvalidRequest(
                f"Unexpected broker id, expected {self._config.node_id} or empty string, but received {name}"
            )

    def _broker_layers(self, image: ClusterImage) -> tuple[Layer, ...]:
        """The layers below a topic's own, strongest first."""
        return (
            Layer(ConfigSource.DYNAMIC_BROKER_CONFIG, image.broker_configs(str(self._config.node_id))),
            Layer(ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, image.broker_configs(ALL_BROKERS)),
            self._config.static_layer(),
        )

    def _topic_layers(self, configs: Mapping[str, str], image: ClusterImage) -> tuple[Layer, ...]:
        return (Layer(ConfigSource.DYNAMIC_TOPIC_CONFIG, configs), *self._broker_layers(image))

    def _all_broker_keys(self) -> dict[str, ConfigKey]:
        if not self._broker_keys:
            self._broker_keys = broker_keys()
        return self._broker_keys
