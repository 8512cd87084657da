"""Names and values of a client's metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

Tags = tuple[tuple[str, str], ...]


class MetricName(NamedTuple):
    """As Kafka's clients name it: `record-send-total` of `producer-topic-metrics`, tags client-id and topic."""

    name: str
    group: str
    tags: Tags


class Metric(NamedTuple):
    """One number now. A total only grows; all else is a gauge, NaN where nothing was measured lately."""

    name: MetricName
    value: float
    is_total: bool = False


class Metrics(Mapping[MetricName, float]):
    """All numbers of a client at one moment."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._values = {metric.name: metric.value for metric in metrics}

    def __getitem__(self, name: MetricName) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[MetricName]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def value(self, name: str, *, group: str | None = None, **tags: str) -> float:
        """The one metric of that name whose tags, beside client-id, are exactly these; `node_id` stands for node-id.

        Raises KeyError when there is none, or several groups have one.
        """
        wanted = {tag.replace("_", "-"): text for tag, text in tags.items()}
        found = [
            value
            for key, value in self._values.items()
            if key.name == name
            and (group is None or key.group == group)
            and {tag: text for tag, text in key.tags if tag != "client-id"} == wanted
        ]
        if len(found) != 1:
            raise KeyError(f"{len(found)} metrics are called {name} with the tags {wanted}")
        return found[0]

    def by_group(self) -> dict[str, dict[str, float]]:
        """Numbers by group and name, those with tags beside client-id left out."""
        groups: dict[str, dict[str, float]] = {}
        for key, value in self._values.items():
            if all(tag == "client-id" for tag, _ in key.tags):
                groups.setdefault(key.group, {})[key.name] = value
        return groups
