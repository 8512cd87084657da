"""What a consumer subscribes to: topics by name, or those that a pattern fits."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pystream.client.cluster.cluster import Cluster
from pystream.client.cluster.metadata import ClusterMetadata
from pystream.common.errors import InvalidRegularExpression, InvalidTopic
from pystream.common.model import INTERNAL_TOPICS


class Subscription:
    """Names, or a pattern. Immutable."""

    def __init__(self, topics: frozenset[str], pattern: re.Pattern[str] | None, exclude_internal: bool) -> None:
        self.topics = topics
        self.pattern = pattern
        self._exclude_internal = exclude_internal

    @classmethod
    def of(
        cls,
        topics: str | Iterable[str] | None,
        pattern: str | re.Pattern[str] | None = None,
        *,
        exclude_internal: bool = True,
    ) -> Subscription:
        """Of topics, or of a pattern that whole names must fit. Raises InvalidTopic, InvalidRegularExpression.

        TypeError where neither is given.
        """
        if topics is None and pattern is None:
            raise TypeError("expected topics, or a pattern, to subscribe to; unsubscribe() ends a subscription")
        if not isinstance(topics, Iterable | None):
            raise TypeError(f"expected names of topics, found {topics!r}")
        names = [topics] if isinstance(topics, str) else list(topics or ())
        if pattern is not None:
            if names:
                raise ValueError("subscribe to topics or to a pattern, not to both")
            try:
                return cls(frozenset(), re.compile(pattern), exclude_internal)
            except re.error as error:
                raise InvalidRegularExpression(f"pattern {pattern!r}: {error}") from error
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise InvalidTopic(f"expected the name of a topic, found {name!r}")
        return cls(frozenset(names), None, exclude_internal)

    def follow(self, cluster: Cluster) -> None:
        """Have metadata of what is subscribed to, or may be."""
        cluster.track_all(self.pattern is not None)
        cluster.track(self.topics)

    def matches(self, topic: str) -> bool:
        """Whether a topic is subscribed to."""
        if self.pattern is None:
            return topic in self.topics
        if self._exclude_internal and topic in INTERNAL_TOPICS:
            return False
        return self.pattern.fullmatch(topic) is not None

    def names(self, metadata: ClusterMetadata) -> list[str]:
        """The topics that are subscribed to, sorted; by name also those that do not exist yet."""
        if self.pattern is None:
            return sorted(self.topics)
        return sorted(
            name
            for name, topic in metadata.topics.items()
            if self.matches(name) and not (self._exclude_internal and topic.is_internal)
        )
