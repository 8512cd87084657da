"""Subject name strategies: under which subject a record's schema is kept. Source: Confluent's serializers.

A strategy is called as strategy(topic, is_key, record name or None) and gives a subject, or None where it has none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SubjectNameStrategy = Callable[[str, bool, str | None], str | None]


def topic_name(topic: str, is_key: bool, record_name: str | None) -> str | None:
    """`orders-value`: one schema for all records of a topic."""
    return f"{topic}-{'key' if is_key else 'value'}"


def record_name(topic: str, is_key: bool, record_name: str | None) -> str | None:
    """`com.example.Order`: one schema for a type of record, wherever it goes."""
    return record_name


def topic_record_name(topic: str, is_key: bool, record_name: str | None) -> str | None:
    """`orders-com.example.Order`: one schema for a type of record within a topic."""
    return None if record_name is None else f"{topic}-{record_name}"


# by the names that Confluent's clients know them by
STRATEGIES: Final[dict[str, SubjectNameStrategy]] = {
    "TOPIC": topic_name,
    "RECORD": record_name,
    "TOPIC_RECORD": topic_record_name,
    "TopicNameStrategy": topic_name,
    "RecordNameStrategy": record_name,
    "TopicRecordNameStrategy": topic_record_name,
}
