"""Operations on settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pystream.client.operations.declaration import Argument, Kind, Operation, Permission

HANDLERS: Final = "pystream.client.operations.handlers.configs"
TYPES: Final = ("topics", "brokers", "broker-loggers", "groups", "client-metrics")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a resource. The value of a secret is None."""

    name: str
    value: str | None
    source: str
    resource: str  # "topics orders"; "brokers" for the default of all brokers
    read_only: bool
    sensitive: bool
    type: str | None
    synonyms: list[str]  # where else there is a value, the strongest first: "DEFAULT_CONFIG:log.retention.ms=1"


@dataclass(frozen=True, slots=True)
class ChangedSetting:
    """One setting that was changed, or could be."""

    name: str
    change: str
    resource: str


TYPE: Final = Argument("type", doc="What has settings.", positional=True, required=True, choices=TYPES)
NAMES: Final = Argument(
    "names", doc="Which of them; the default of all brokers without.", many=True, positional=True, metavar="[NAME]..."
)

OPERATIONS: Final = (
    Operation(
        noun="configs",
        verb="describe",
        doc="Show settings that are not the default, or all.",
        handler=f"{HANDLERS}:describe",
        row=Setting,
        columns=("name", "value", "source", "resource"),
        permission=Permission(resource="CLUSTER", operation="DESCRIBE_CONFIGS"),
        arguments=(
            TYPE,
            NAMES,
            Argument("all", Kind.FLAG, doc="Defaults, too.", short="a"),
            Argument("key", doc="Only this setting; may be repeated.", many=True, short="k"),
        ),
        examples=("pystream configs describe topics orders --all", "pystream configs describe brokers 1 -o wide"),
        old_names=("kafka-configs --describe", "rpk cluster config get"),
    ),
    Operation(
        noun="configs",
        verb="alter",
        doc="Change settings; what is not named stays as it is.",
        handler=f"{HANDLERS}:alter",
        row=ChangedSetting,
        columns=("name", "change", "resource"),
        permission=Permission(resource="CLUSTER", operation="ALTER_CONFIGS"),
        mutating=True,
        arguments=(
            TYPE,
            NAMES,
            Argument("set", Kind.ASSIGNMENT, doc="A setting and its value; may be repeated."),
            Argument("unset", doc="A setting that goes back to its default; may be repeated.", many=True),
            Argument("append", Kind.ASSIGNMENT, doc="A setting that is a list, and what to add to it."),
            Argument("subtract", Kind.ASSIGNMENT, doc="A setting that is a list, and what to take from it."),
        ),
        examples=(
            "pystream configs alter topics orders --set retention.ms=1000 --dry-run",
            "pystream configs alter brokers --set log.cleaner.threads=2",
        ),
        old_names=("kafka-configs --alter", "rpk cluster config set"),
    ),
)
