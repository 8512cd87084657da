"""Every setting of topics, groups and this broker under a cluster image: static, dynamic, and where each comes from.

topic's or group's own > this broker's > all brokers' > server.properties > default
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pystream.broker.client_metrics import ClientMetricsConfig, check_subscription
from pystream.broker.config import SILENTLY_ACCEPTED, BrokerConfig, broker_keys
from pystream.common.config import ConfigKey, ConfigSource, ConfigType, Explained, Layer, definition_of
from pystream.common.errors import InvalidConfig, InvalidRequest
from pystream.controller.configs import ConfigController, ResourceKind, node_id_of
from pystream.controller.requests import ResourceType
from pystream.coordinator.group_settings import GroupBounds, GroupSettings, check_bounds, check_broker
from pystream.metadata import records
from pystream.storage.config import CleanerConfig, LogConfig, check_defaults, check_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from pystream.controller.commit import Committer
    from pystream.metadata.image import ClusterImage
    from pystream.metadata.publisher import ImagePublisher

S = TypeVar("S")
ALL_BROKERS = ""
# Set by tools that move replicas; here replicas move within their broker.
REPLICATION_RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
CONNECTION_KEYS = ("max.connections", "max.connections.per.ip")
THREAD_KEYS = ("num.network.threads", "num.io.threads", "num.recovery.threads.per.data.dir")


class SettingsView:
    """Plain functions of an image: what they say is never older than the image handed in."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config
        self._definition = definition_of(LogConfig)
        self._groups = definition_of(GroupSettings)
        self._client_metrics = definition_of(ClientMetricsConfig)
        self._group_bounds = definition_of(GroupBounds).load(config.static_layer())
        self._broker_keys: dict[str, ConfigKey] = {}
        self._places = {name: place for place, name in enumerate(self._definition.keys)}
        self._shown: dict[Hashable, list[Any]] = {}
        self._shown_below: tuple[Mapping[str, str], ...] = ()

    def log_config(self, configs: Mapping[str, str], image: ClusterImage) -> LogConfig:
        """What the logs of a topic with these own settings go by."""
        return self._definition.load(*self._topic_layers(configs, image))

    def check_topic(self, configs: Mapping[str, str], image: ClusterImage) -> None:
        """Raises InvalidConfig when a topic's own settings contradict one another, or those it has from a broker."""
        check_topic(self.log_config(configs, image))

    def live(self, image: ClusterImage) -> tuple[BrokerConfig, CleanerConfig]:
        """This broker's own settings with what was changed while it runs."""
        layers = self._broker_layers(image)
        return definition_of(BrokerConfig).load(*layers), definition_of(CleanerConfig).load(*layers)

    def listener_rates(self, image: ClusterImage) -> list[int]:
        """max.connection.creation.rate of each listener that is open, in their order."""
        layers = self._broker_layers(image)
        rates = []
        for name, config_key in self._config.listener_keys().items():
            text = next((layer.values[name] for layer in layers if name in layer.values), None)
            rates.append(config_key.default if text is None else config_key.parse(text))
        return rates

    def check_change(self, name: str, after: Mapping[str, str], image: ClusterImage) -> None:
        """Raises InvalidRequest where `name` is another broker, or what changes leaves the bounds that a start checks.

        `after`: the settings that the broker `name`, or all brokers where it is empty, would have.
        """
        if name != ALL_BROKERS and not self.is_this_broker(name, noun="Node"):
            raise InvalidRequest(f"Unexpected broker id, expected {self._config.node_id}, but received {name}")
        now = self._broker_layers(image)
        place = 1 if name == ALL_BROKERS else 0
        then = tuple(Layer(layer.source, after) if number == place else layer for number, layer in enumerate(now))
        _check_broker(*(definition_of(BrokerConfig).load(*layers) for layers in (now, then)))
        try:
            if (topics := self._definition.load(*then)) != self._definition.load(*now):
                check_defaults(topics)
            if (groups := self._groups.load(*then)) != self._groups.load(*now):
                check_broker(groups, self._group_bounds)
        except InvalidConfig as error:
            raise InvalidRequest(str(error)) from error

    def show_topic(
        self, configs: Mapping[str, str], image: ClusterImage, *, form: Hashable, show: Callable[[Explained], S]
    ) -> list[S]:
        """Every key of a topic with these own settings, as `show` shows it; not to be changed by the caller.

        What a topic without settings of its own would show is kept, for each `form` that `show` gives it, until a
        broker's settings change: a client that asks for thousands of topics pays for what differs.
        """
        layers = self._topic_layers(configs, image)
        below = tuple(layer.values for layer in layers[1:])
        if below != self._shown_below:
            self._shown_below = below
            self._shown.clear()
        shown = self._shown.get(form)
        keys = self._definition.keys
        if shown is None:
            shown = self._shown[form] = [show(self._definition.explain(key, *layers[1:])) for key in keys.values()]
        own = [name for name in configs if name in keys]
        if own:
            shown = list(shown)
            for name in own:
                shown[self._places[name]] = show(self._definition.explain(keys[name], *layers))
        return shown

    def explain_broker(self, name: str, image: ClusterImage) -> list[Explained]:
        """Every key of the broker called `name`; for "" those that are set for all brokers.

        Raises InvalidRequest when `name` is another broker, or no number.
        """
        keys = self._all_broker_keys()
        if name == ALL_BROKERS:
            layer = Layer(ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, image.broker_configs(ALL_BROKERS))
            return [self._definition.explain(keys.get(key) or _foreign_key(key), layer) for key in layer.values]
        if not self.is_this_broker(name):
            raise InvalidRequest(
                f"Unexpected broker id, expected {self._config.node_id} or empty string, but received {name}"
            )
        layers = self._broker_layers(image)
        given = {name for layer in layers for name in layer.values}
        foreign = [_foreign_key(key) for layer in layers[:-1] for key in layer.values if key not in keys]
        known = [key for key in keys.values() if key.name in given or key.name not in self._config.listener_keys()]
        return [self._definition.explain(key, *layers) for key in (*known, *dict.fromkeys(foreign))]

    def group_settings(self, group_id: str, image: ClusterImage) -> GroupSettings:
        """What one group goes by."""
        return self._groups.load(*self._group_layers(group_id, image))

    def explain_group(self, group_id: str, image: ClusterImage) -> list[Explained]:
        """Every key of a group, whether there is such a group or not."""
        layers = self._group_layers(group_id, image)
        return [self._groups.explain(key, *layers) for key in self._groups.keys.values()]

    def check_group(self, values: Mapping[str, str]) -> None:
        """Raises InvalidConfig for settings that a group may not have, within the bounds that this broker sets."""
        self._groups.validate(values)
        check_bounds(values, self._group_bounds)

    def explain_client_metrics(self, name: str, image: ClusterImage) -> list[Explained]:
        """Every key of a subscription to client metrics, whether there is such a one or not."""
        layer = Layer(ConfigSource.DYNAMIC_CLIENT_METRICS_CONFIG, image.configs_of_client_metrics.get(name, {}))
        return [self._client_metrics.explain(key, layer) for key in self._client_metrics.keys.values()]

    def client_metrics(self, image: ClusterImage) -> dict[str, ClientMetricsConfig]:
        """The subscriptions that there are, by name."""
        return {
            name: self._client_metrics.load(Layer(ConfigSource.DYNAMIC_CLIENT_METRICS_CONFIG, values))
            for name, values in image.configs_of_client_metrics.items()
        }

    def controller(self, publisher: ImagePublisher, committer: Committer) -> ConfigController:
        """Who alters all these settings."""
        kinds: dict[int, ResourceKind] = {
            ResourceType.GROUP: ResourceKind(
                records.group_config_key, self._groups, self.check_group, "Default group resources are not allowed."
            ),
            ResourceType.CLIENT_METRICS: ResourceKind(
                records.client_metrics_config_key,
                self._client_metrics,
                check_subscription,
                "Subscription name can't be empty",
            ),
        }
        return ConfigController(
            publisher,
            committer,
            self._definition,
            self._all_broker_keys(),
            kinds,
            fixed_names=SILENTLY_ACCEPTED,
            check_broker=self.check_change,
            check_topic=self.check_topic,
        )

    def is_this_broker(self, name: str, *, noun: str = "Broker") -> bool:
        """Whether `name` is this broker's id. Raises InvalidRequest where it is no number."""
        return node_id_of(name, noun=noun) == self._config.node_id

    def _broker_layers(self, image: ClusterImage) -> tuple[Layer, ...]:
        """The layers below a topic's own, strongest first."""
        return (
            Layer(ConfigSource.DYNAMIC_BROKER_CONFIG, image.broker_configs(str(self._config.node_id))),
            Layer(ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, image.broker_configs(ALL_BROKERS)),
            self._config.static_layer(),
        )

    def _group_layers(self, group_id: str, image: ClusterImage) -> tuple[Layer, ...]:
        own = Layer(ConfigSource.DYNAMIC_GROUP_CONFIG, image.configs_of_groups.get(group_id, {}))
        return (own, *self._broker_layers(image))

    def _topic_layers(self, configs: Mapping[str, str], image: ClusterImage) -> tuple[Layer, ...]:
        return (Layer(ConfigSource.DYNAMIC_TOPIC_CONFIG, configs), *self._broker_layers(image))

    def _all_broker_keys(self) -> dict[str, ConfigKey]:
        if not self._broker_keys:
            self._broker_keys = broker_keys() | self._config.listener_keys()
        return self._broker_keys


def _check_broker(before: BrokerConfig, later: BrokerConfig) -> None:
    """Raises InvalidRequest when nobody could connect any more, to take it back, or when a pool of threads would become
    less than half or more than double what it is.
    """
    for key_name in CONNECTION_KEYS:
        field = definition_of(BrokerConfig).keys[key_name].field_name
        if getattr(later, field) == 0 != getattr(before, field):
            raise InvalidRequest(f"Invalid {key_name} 0")
    for key_name in THREAD_KEYS:
        field = definition_of(BrokerConfig).keys[key_name].field_name
        old, new = getattr(before, field), getattr(later, field)
        failed = f"Dynamic thread count update validation failed for {key_name}={new}, value should"
        if new < old // 2:
            raise InvalidRequest(f"{failed} be at least half the current value {old}")
        if new > old * 2:
            raise InvalidRequest(f"{failed} not be greater than double the current value {old}")


def _foreign_key(name: str) -> ConfigKey:
    """What somebody has set for a broker, and no key of ours is: kept, as Kafka keeps it. It may be a secret."""
    return ConfigKey(
        name=name,
        field_name="",
        type=ConfigType.LONG if name in REPLICATION_RATES else ConfigType.UNKNOWN,
        default=None,
        nullable=True,
        minimum=None,
        maximum=None,
        valid=(),
        check=None,
        dynamic=False,
        per_broker=False,
        synonyms=(),
        doc="",
    )
