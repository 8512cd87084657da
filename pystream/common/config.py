"""Configuration under Kafka's dotted names: definitions, parsing, bounds, sources, dynamic update, documentation.

A component declares one frozen dataclass, in its own config.py:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class LogConfig:
        segment_bytes: int = key("segment.bytes", default=1 << 30, minimum=14, dynamic=True,
                                 synonyms=("log.segment.bytes",), doc="A segment rolls at this size.")

`definition_of(LogConfig)` reads it. Values arrive as text in layers, strongest first:

    a topic's own         {"segment.bytes": ...}      DYNAMIC_TOPIC_CONFIG
    this broker's         {"log.segment.bytes": ...}  DYNAMIC_BROKER_CONFIG
    all brokers'          {"log.segment.bytes": ...}  DYNAMIC_DEFAULT_BROKER_CONFIG
    server.properties     {"log.segment.bytes": ...}  STATIC_BROKER_CONFIG
    the declared default                              DEFAULT_CONFIG

`load` makes the dataclass from them, `explain` says where each value comes from, as DescribeConfigs shows it.
Messages are worded as Kafka words them: clients' own tests compare them.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

from pystream.common.errors import InvalidConfig

C = TypeVar("C")
INT_MAX: Final = 2**31 - 1
LONG_MAX: Final = 2**63 - 1
HIDDEN: Final = "[hidden]"


class ConfigType(IntEnum):
    """Types by the numbers that DescribeConfigs answers. UNKNOWN is that of a name that no key has."""

    UNKNOWN = 0
    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class ConfigSource(IntEnum):
    """Where a value comes from, by the numbers that DescribeConfigs answers; within a broker a smaller one wins."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    STATIC_BROKER_CONFIG = 4
    DEFAULT_CONFIG = 5
    DYNAMIC_BROKER_LOGGER_CONFIG = 6
    DYNAMIC_CLIENT_METRICS_CONFIG = 7
    DYNAMIC_GROUP_CONFIG = 8


# Of a resource that has keys of its own; every other source sets such keys by their synonyms.
OWN_SOURCES: Final = frozenset(
    {ConfigSource.DYNAMIC_TOPIC_CONFIG, ConfigSource.DYNAMIC_CLIENT_METRICS_CONFIG, ConfigSource.DYNAMIC_GROUP_CONFIG}
)


class Password(str):
    """A secret: it compares and encodes as text, and shows itself to nobody."""

    __slots__ = ()

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return format(HIDDEN, specification)

    def reveal(self) -> str:
        """The secret itself. Every call is a place to look at in a review."""
        return str.__str__(self)


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = _Required()


@dataclass(frozen=True, slots=True)
class Synonym:
    """A name by which the broker's own configuration sets a topic key, or a further name of a broker's key.

    `scale` turns its unit into the key's (hours to milliseconds: 3,600,000). `default` is set on the one synonym, in
    its own unit, that carries the default where several names share a key; the others are then empty by default.
    """

    name: str
    scale: int = 1
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigKey:
    """One key: how it is spelt, checked and explained."""

    name: str
    field_name: str
    type: ConfigType
    default: Any
    nullable: bool
    minimum: float | None
    maximum: float | None
    valid: tuple[str, ...]
    check: Callable[[Any], str | None] | None
    dynamic: bool
    per_broker: bool
    synonyms: tuple[Synonym, ...]
    doc: str
    default_settings: tuple[Setting, ...] = dataclasses.field(init=False, compare=False)  # as `explain` lists them

    def __post_init__(self) -> None:
        object.__setattr__(self, "default_settings", _default_settings(self))

    @property
    def sensitive(self) -> bool:
        return self.type in (ConfigType.PASSWORD, ConfigType.UNKNOWN)

    def parse(self, text: str | None) -> Any:
        """The value that `text` stands for, checked. Raises InvalidConfig in Kafka's words."""
        value = None if text is None else _parse(self, text)
        self.validate(value)
        return value

    def validate(self, value: Any) -> None:
        """Raises InvalidConfig unless `value` keeps the key's rules."""
        if value is None:
            if not self.nullable:
                raise _invalid(self, None, "Value must be non-null")
            return
        if self.minimum is not None and value < self.minimum:
            raise _invalid(self, value, f"Value must be at least {self.minimum}")
        if self.maximum is not None and value > self.maximum:
            raise _invalid(self, value, f"Value must be no more than {self.maximum}")
        if self.valid:
            for item in value if self.type is ConfigType.LIST else (value,):
                if item not in self.valid:
                    raise _invalid(self, item, f"String must be one of: {', '.join(self.valid)}")
        if self.check is not None and (complaint := self.check(value)):
            raise _invalid(self, value, complaint)

    def text_of(self, value: Any) -> str | None:
        """`value` as DescribeConfigs shows it, before anything is hidden."""
        return _text_of(self.type, value)


def key(
    name: str,
    *,
    default: Any = REQUIRED,
    type: ConfigType | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
    valid: Sequence[str] = (),
    check: Callable[[Any], str | None] | None = None,
    dynamic: bool = False,
    per_broker: bool = False,
    synonyms: Sequence[str | Synonym] = (),
    doc: str,
) -> Any:
    """Declares a field of a config dataclass.

    The type follows from the annotation (int: INT, str: STRING, tuple: LIST, Password: PASSWORD; `| None` allows null)
    unless `type` says otherwise: LONG, SHORT and CLASS have to be said. `check` returns a complaint, or None.
    `dynamic`: may be changed while the broker runs; `per_broker`: for one broker too. Without a default the key is
    required. Where there are `synonyms`, strongest first, a broker's layers set the key by them alone; a topic's layer
    always uses `name`.
    """
    metadata = {
        "name": name,
        "type": type,
        "default": default,
        "minimum": minimum,
        "maximum": maximum,
        "valid": tuple(valid),
        "check": check,
        "dynamic": dynamic or per_broker,
        "per_broker": per_broker,
        "synonyms": tuple(Synonym(s) if isinstance(s, str) else s for s in synonyms),
        "doc": doc,
    }
    if default is REQUIRED:
        return dataclasses.field(metadata={"key": metadata})
    return dataclasses.field(default=default, metadata={"key": metadata})


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings as text, under the names of one source."""

    source: ConfigSource
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Setting:
    """One place where a key has a value: one synonym of DescribeConfigs. `text` is None when it is a secret or null."""

    name: str
    text: str | None
    source: ConfigSource


@dataclass(frozen=True, slots=True)
class Explained:
    """A key's value now and every place that offers one, the winner first."""

    key: ConfigKey
    text: str | None
    source: ConfigSource
    settings: tuple[Setting, ...]


class ConfigDefinition(Generic[C]):
    """The keys of one config dataclass, by name."""

    def __init__(self, config_class: type[C], keys: Iterable[ConfigKey]) -> None:
        self.config_class = config_class
        self.noun: str = getattr(config_class, "NOUN", "topic")  # of what has these settings
        self.keys: dict[str, ConfigKey] = {}
        for config_key in keys:
            if config_key.name in self.keys:
                raise ValueError(f"{config_class.__name__} declares {config_key.name} twice")
            self.keys[config_key.name] = config_key
        self._defaults = {k.field_name: k.default for k in self.keys.values() if k.default is not REQUIRED}
        self._in_resources = {k.name: [(0, k)] for k in self.keys.values()}
        self._in_brokers: dict[str, list[tuple[int, ConfigKey]]] = {}  # name -> its place among a key's names, the key
        for k in self.keys.values():
            for place, name in enumerate(_names_in(k, ConfigSource.STATIC_BROKER_CONFIG)):
                self._in_brokers.setdefault(name, []).append((place, k))

    def validate(self, values: Mapping[str, str | None]) -> None:
        """Raises InvalidConfig for the first unknown name or value that breaks its key's rules."""
        for name, text in values.items():
            config_key = self.keys.get(name)
            if config_key is None:
                raise InvalidConfig(f"Unknown {self.noun} config name: {name}")
            config_key.parse(text)

    def load(self, *layers: Layer) -> C:
        """The config that `layers`, strongest first, and the defaults make. Names that are no key are left alone."""
        found: dict[str, tuple[int, ConfigKey, str, str]] = {}
        for layer in reversed(layers):
            found.update(self._set_in(layer))
        values = dict(self._defaults)
        for field_name, (_, config_key, name, text) in found.items():
            values[field_name] = _parse_as(config_key, name, text)
        for config_key in self.keys.values() if len(values) < len(self.keys) else ():
            if config_key.field_name not in values:
                raise _missing(config_key)
        return self.config_class(**values)

    def explain(self, config_key: ConfigKey, *layers: Layer) -> Explained:
        """Where `config_key`, of this definition or of `broker_keys()`, has values: the layers', then the defaults."""
        settings: list[Setting] = []
        for layer in layers:
            for name in _names_in(config_key, layer.source) if layer.values else ():
                if name in layer.values:
                    text = None if config_key.sensitive else layer.values[name]
                    settings.append(Setting(name, text, layer.source))
        value = _resolve(config_key, layers) if settings else config_key.default
        source = settings[0].source if settings else ConfigSource.DEFAULT_CONFIG
        text = None if config_key.sensitive else config_key.text_of(value)
        return Explained(config_key, text, source, (*settings, *config_key.default_settings))

    def _set_in(self, layer: Layer) -> dict[str, tuple[int, ConfigKey, str, str]]:
        """What one layer sets: field -> (place of the name, key, name, text), of several names the strongest."""
        names = self._in_resources if layer.source in OWN_SOURCES else self._in_brokers
        found: dict[str, tuple[int, ConfigKey, str, str]] = {}
        for name, text in layer.values.items():
            for place, config_key in names.get(name, ()):
                if config_key.field_name not in found or place < found[config_key.field_name][0]:
                    found[config_key.field_name] = (place, config_key, name, text)
        return found

    def broker_keys(self) -> list[ConfigKey]:
        """The keys that a broker has because this (topic) config names them as synonyms, one for each synonym."""
        return [_broker_key(k, synonym) for k in self.keys.values() for synonym in k.synonyms]

    def document(self) -> str:
        """A Markdown table of all keys."""
        lines = ["| name | type | default | valid | changed | what it does |", "|---|---|---|---|---|---|"]
        for k in self.keys.values():
            default = "required" if k.default is REQUIRED else k.text_of(k.default)
            changed = "any time" if k.dynamic else "at start"
            shown = "" if default is None else f"`{default}`"
            lines.append(f"| `{k.name}` | {k.type.name.lower()} | {shown} | {_bounds(k)} | {changed} | {k.doc} |")
        return "\n".join(lines) + "\n"


def definition_of(config_class: type[C]) -> ConfigDefinition[C]:
    """The definition that the `key(...)` fields of `config_class` make, in their order."""
    definition: ConfigDefinition[C] = _definition_of(typing.cast(Hashable, config_class))
    return definition


@functools.cache
def _definition_of(config_class: Any) -> ConfigDefinition[Any]:
    hints = typing.get_type_hints(config_class)
    fields = dataclasses.fields(config_class)
    return ConfigDefinition(config_class, [_key_of(f, hints[f.name]) for f in fields if "key" in f.metadata])


class DynamicConfig(Generic[C]):
    """The config in force, and who is told when it changes."""

    def __init__(self, config_class: type[C], *layers: Layer) -> None:
        self._definition = definition_of(config_class)
        self._subscribers: list[Callable[[C, C], None]] = []
        self.current: C = self._definition.load(*layers)

    def subscribe(self, subscriber: Callable[[C, C], None]) -> None:
        """`subscriber(old, new)` is called after each change."""
        self._subscribers.append(subscriber)

    def update(self, *layers: Layer) -> C:
        """Load anew, all or nothing; keys that are not dynamic keep the value they started with."""
        loaded = self._definition.load(*layers)
        fixed = {
            k.field_name: getattr(self.current, k.field_name) for k in self._definition.keys.values() if not k.dynamic
        }
        old, self.current = self.current, dataclasses.replace(loaded, **fixed)  # type: ignore[type-var]
        if old != self.current:
            for subscriber in self._subscribers:
                subscriber(old, self.current)
        return self.current


# --- what a key is, read from its field -------------------------------------------------------------------------------

_TYPES: Final[dict[Any, ConfigType]] = {
    bool: ConfigType.BOOLEAN,
    int: ConfigType.INT,
    float: ConfigType.DOUBLE,
    str: ConfigType.STRING,
    tuple: ConfigType.LIST,
    Password: ConfigType.PASSWORD,
}


def _key_of(field: dataclasses.Field[Any], hint: Any) -> ConfigKey:
    stated = dict(field.metadata["key"])
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    nullable = type(None) in options
    plain = next(option for option in options if option is not type(None))
    derived = _TYPES.get(typing.get_origin(plain) or plain)
    stated["type"] = stated["type"] or derived
    if stated["type"] is None:
        raise TypeError(f"{stated['name']}: {hint} has no config type; say it with type=")
    return ConfigKey(field_name=field.name, nullable=nullable, **stated)


def _broker_key(config_key: ConfigKey, synonym: Synonym) -> ConfigKey:
    default = _synonym_default(config_key, synonym)
    scaled = synonym.scale != 1
    return dataclasses.replace(
        config_key,
        name=synonym.name,
        field_name="",
        type=ConfigType.INT if scaled else config_key.type,
        default=default,
        nullable=default is None or config_key.nullable,
        minimum=None if scaled else config_key.minimum,
        maximum=None if scaled else config_key.maximum,
        dynamic=config_key.dynamic and not scaled,
        per_broker=config_key.dynamic and not scaled,
    )


def _synonym_default(config_key: ConfigKey, synonym: Synonym) -> Any:
    """A synonym shows the default that it carries; where none carries one, the first shows the key's."""
    carried = any(s.default is not None for s in config_key.synonyms)
    return synonym.default if carried or synonym is not config_key.synonyms[0] else config_key.default


def _bounds(config_key: ConfigKey) -> str:
    if config_key.valid:
        return ", ".join(config_key.valid)
    low, high = config_key.minimum, config_key.maximum
    return "" if low is None and high is None else f"[{'' if low is None else low},...{'' if high is None else high}]"


# --- values out of layers ---------------------------------------------------------------------------------------------


def _names_in(config_key: ConfigKey, source: ConfigSource) -> tuple[str, ...]:
    """The names under which a layer of `source` may set the key, strongest first."""
    if source in OWN_SOURCES or not config_key.synonyms:
        return (config_key.name,)
    return tuple(s.name for s in config_key.synonyms)


def _resolve(config_key: ConfigKey, layers: Sequence[Layer]) -> Any:
    """The key's value; a key of `broker_keys()` has its own unit and hears its own name only."""
    for layer in layers:
        names = _names_in(config_key, layer.source) if config_key.field_name else (config_key.name,)
        for name in names:
            if name in layer.values:
                return _parse_as(config_key, name, layer.values[name])
    if config_key.default is REQUIRED:
        raise _missing(config_key)
    return config_key.default


def _missing(config_key: ConfigKey) -> InvalidConfig:
    return InvalidConfig(f'Missing required configuration "{config_key.name}" which has no default value.')


def _parse_as(config_key: ConfigKey, name: str, text: str) -> Any:
    """Parse a value that was set under `name`, turned into the key's unit; errors name the name that was used."""
    scale = next((s.scale for s in config_key.synonyms if s.name == name), 1) if config_key.field_name else 1
    spelt = config_key if name == config_key.name else dataclasses.replace(config_key, name=name)
    if scale == 1:
        return spelt.parse(text)
    value = _parse(spelt, text)
    scaled = -1 if value < 0 else value * scale  # -1 means "for ever" in every unit
    spelt.validate(scaled)
    return scaled


def _default_settings(config_key: ConfigKey) -> tuple[Setting, ...]:
    """The defaults, as the last settings: of the synonyms where there are any, else the key's own."""
    synonyms = config_key.synonyms
    if config_key.field_name and synonyms:
        defaults = [(s.name, _synonym_default(config_key, s)) for s in synonyms]
    else:
        defaults = [(config_key.name, config_key.default)]
    return tuple(
        Setting(name, None if config_key.sensitive else config_key.text_of(default), ConfigSource.DEFAULT_CONFIG)
        for name, default in defaults
        if default is not None and default is not REQUIRED
    )


# --- text to values and back ------------------------------------------------------------------------------------------

_WHOLE_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_REAL_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_COMMA: Final = re.compile(r"\s*,\s*")
_WIDTHS: Final = {ConfigType.SHORT: 16, ConfigType.INT: 32, ConfigType.LONG: 64}


def _invalid(config_key: ConfigKey, value: Any, complaint: str) -> InvalidConfig:
    shown = HIDDEN if config_key.sensitive and value is not None else _shown(config_key, value)
    return InvalidConfig(f"Invalid value {shown} for configuration {config_key.name}: {complaint}")


def _shown(config_key: ConfigKey, value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    text = value if isinstance(value, str) else _text_of(config_key.type, value)
    return "null" if text is None else text


def _parse(config_key: ConfigKey, text: str) -> Any:
    text = text.strip()
    match config_key.type:
        case ConfigType.BOOLEAN:
            if text.lower() not in ("true", "false"):
                raise _invalid(config_key, text, "Expected value to be either true or false")
            return text.lower() == "true"
        case ConfigType.SHORT | ConfigType.INT | ConfigType.LONG:
            limit = 1 << _WIDTHS[config_key.type] - 1
            if len(text) > 64 or not _WHOLE_NUMBER.fullmatch(text) or not -limit <= int(text) < limit:
                raise _invalid(config_key, text, f"Not a number of type {config_key.type.name}")
            return int(text)
        case ConfigType.DOUBLE:
            if not _REAL_NUMBER.fullmatch(text):
                raise _invalid(config_key, text, "Not a number of type DOUBLE")
            return float(text)
        case ConfigType.LIST:
            return tuple(_COMMA.split(text)) if text else ()
        case ConfigType.PASSWORD:
            return Password(text)
        case _:
            return text


def _text_of(config_type: ConfigType, value: Any) -> str | None:
    if value is None or value is REQUIRED:
        return None
    match config_type:
        case ConfigType.BOOLEAN:
            return "true" if value else "false"
        case ConfigType.LIST:
            return ",".join(value)
        case ConfigType.PASSWORD:
            return HIDDEN
        case ConfigType.DOUBLE:
            return _java_double(float(value))
        case _:
            return str(value)


def _java_double(value: float) -> str:
    """As Java prints it: 0.5, 1.0, 1.0E-4, 1.0E10."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, _, exponent = f"{value!r}".partition("e")
    if not exponent:
        digits = f"{value:.17e}".partition("e")
        exponent = digits[2]
        mantissa = repr(value / 10.0 ** int(exponent))
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"


# --- server.properties ------------------------------------------------------------------------------------------------

_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_KEY_END: Final = re.compile(r"(?:[^\\=: \t\f]|\\.)*", re.DOTALL)


def parse_properties(text: str) -> dict[str, str]:
    """A file in the format of java.util.Properties: the last of equal keys wins.

    `key=value`, `key: value` or `key value`; # and ! begin comments; a line that ends in an odd number of backslashes
    goes on, without its leading blanks; \\t \\n \\r \\f \\uXXXX, and any other escaped character stands for itself.
    """
    found: dict[str, str] = {}
    for line in _logical_lines(text):
        end = _KEY_END.match(line).end()  # type: ignore[union-attr]
        value = line[end:].lstrip(" \t\f")
        if value[:1] in ("=", ":"):
            value = value[1:].lstrip(" \t\f")
        found[_unescape(line[:end])] = _unescape(value)
    return found


def _logical_lines(text: str) -> Iterable[str]:
    pending = ""
    for natural in re.split(r"\r\n|\r|\n", text):
        line = natural.lstrip(" \t\f")
        if not pending and (not line or line[0] in "#!"):
            continue
        if (len(line) - len(line.rstrip("\\"))) % 2:
            pending += line[:-1]
            continue
        yield pending + line
        pending = ""
    if pending:
        yield pending


def _unescape(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "u" and len(code) == 5:
            return chr(int(code[1:], 16))
        if code == "u":
            raise InvalidConfig(f"Malformed \\uxxxx encoding in {text!r}")
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(replace, text)
