"""Options as most of Kafka's tools parse them, with their messages; the others are argparse's, see `Parser` in `tool`.

    TOOL = Tool("kafka-get-offsets", "An interactive shell for getting topic-partition offsets.", (
        value("bootstrap-server", "REQUIRED. The server(s) to connect to.", "HOST:PORT"),
        flag("exclude-internal-topics", "By default, internal topics are included."),
    ))
    given = TOOL.parse(["--bootstrap-server", "localhost:9092"])
    given.has("exclude-internal-topics")      # False
    given.value("bootstrap-server")           # "localhost:9092"

`--name value`, `--name=value` and unambiguous beginnings of names are taken; what is no option is passed over. A value
is converted when it is asked for, as there. Mistakes are WrongUsage: the tool tells them with its help, and a 1.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pystream.common.errors import InvalidRequest

HELP_COLUMN: Final = 32
HELP_WIDTH: Final = 110


class Mistake(InvalidRequest):
    """What the tool itself finds wrong: it says just that, and exits with 1."""


class WrongUsage(Mistake):
    """What was typed cannot be meant: the tool says why, shows its help and exits with 1."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option. Without `metavar` it takes no value."""

    name: str
    doc: str
    metavar: str | None = None
    kind: Callable[[str], Any] = str
    default: Any = None
    bare: bool = False  # the value may be left out
    separator: str | None = None  # one value is many
    successor: str | None = None  # what it is called now
    leads: bool = False  # where both names are given, Kafka says this one first

    def __str__(self) -> str:
        return f"[{self.name}]"


def flag(name: str, doc: str) -> Option:
    """An option without a value."""
    return Option(name, doc)


def value(
    name: str,
    doc: str,
    metavar: str = "String",
    kind: Callable[[str], Any] = str,
    default: Any = None,
    *,
    bare: bool = False,
    separator: str | None = None,
) -> Option:
    """An option with a value."""
    return Option(name, doc, metavar, kind, default, bare, separator)


def former(
    name: str, successor: str, metavar: str = "String", kind: Callable[[str], Any] = str, *, leads: bool = False
) -> Option:
    """An old name, which still works (KIP-1147)."""
    doc = f"(DEPRECATED) Use --{successor} instead."
    return Option(name, doc, metavar, kind, successor=successor, leads=leads)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool with its options; --help and --version come by themselves."""

    name: str
    about: str
    options: tuple[Option, ...]
    unasked: str | None = None  # what is said when nothing was given, instead of `about`
    renamed: str = "Option --{} is deprecated and will be removed in a future version. Use --{} instead."

    def parse(self, arguments: Sequence[str]) -> Given:
        """Raises WrongUsage."""
        known = {option.name: option for option in (*self.options, HELP, VERSION)}
        found: dict[str, list[str]] = {}
        order: list[str] = []
        left = list(reversed(arguments))
        while left:
            word = left.pop()
            if word == "--":
                break
            if not word.startswith("--") or word == "-":
                if word.startswith("-") and len(word) > 1:
                    raise WrongUsage(f"{word[1:2]} is not a recognized option")
                continue
            name, equals, text = word[2:].partition("=")
            option = _named(name, known)
            values = found.setdefault(option.name, [])
            order.append(option.name)
            if option.metavar is None:
                if equals and text:
                    raise WrongUsage(f"Option {option.name} does not take an argument")
            elif equals:
                values.append(text)
            elif option.bare:
                if left and not left[-1].startswith("-"):
                    values.append(left.pop())
            elif left:
                values.append(left.pop())
            else:
                raise WrongUsage(f"Option {option.name} requires an argument")
        return Given(self, known, found, order)

    def help(self) -> str:
        """All options, as --help shows them."""
        lines = [f"{'Option':<{HELP_COLUMN}}Description", f"{'------':<{HELP_COLUMN}}-----------"]
        for option in sorted((*self.options, HELP, VERSION), key=lambda option: option.name):
            head = f"--{option.name}"
            if option.metavar is not None:
                head += f" [{option.metavar}]" if option.bare else f" <{option.metavar}>"
            doc = option.doc if option.default is None else f"{option.doc} (default: {option.default})"
            body = textwrap.wrap(doc, HELP_WIDTH - HELP_COLUMN) or [""]
            if len(head) >= HELP_COLUMN:
                lines.append(head)
                head = ""
            lines.append(f"{head:<{HELP_COLUMN}}{body[0]}".rstrip())
            lines += [" " * HELP_COLUMN + line for line in body[1:]]
        return "\n".join(lines)


HELP: Final = flag("help", "Print usage information.")
VERSION: Final = flag("version", "Display Kafka version.")


def _named(name: str, known: Mapping[str, Option]) -> Option:
    if name in known:
        return known[name]
    near = [option for other, option in known.items() if other.startswith(name)]
    if len(near) != 1:
        raise WrongUsage(f"{name} is not a recognized option")
    return near[0]


class Given:
    """What was given to a tool."""

    def __init__(
        self, tool: Tool, known: Mapping[str, Option], found: Mapping[str, list[str]], order: Sequence[str]
    ) -> None:
        self.tool = tool
        self.order = order  # names of the options, as they were given
        self._known = known
        self._found = found

    def has(self, name: str) -> bool:
        """Whether the option was given, by itself or by its old name."""
        return any(each in self._found for each in (name, *self._former(name)))

    def values(self, name: str) -> list[Any]:
        """All values of an option and of its old names; the default where there is none."""
        option = self._known[name]
        texts = [text for each in (*self._former(name), name) for text in self._found.get(each, ())]
        if not texts:
            return [] if option.default is None else [option.default]
        if option.separator is not None:
            texts = [part for text in texts for part in text.split(option.separator)]
        return [self._converted(option, text) for text in texts]

    def value(self, name: str) -> Any:
        """The one value of an option; its default, or None. Raises WrongUsage for two of them."""
        found = self.values(name)
        if len(found) > 1:
            raise WrongUsage(f"Found multiple arguments for option {name}, but you asked for only one")
        return found[0] if found else None

    def renamed(self) -> list[str]:
        """A sentence for each old name that was used."""
        return [
            self.tool.renamed.format(name, self._known[name].successor)
            for name in self._found
            if self._known[name].successor is not None
        ]

    def require(self, *names: str) -> None:
        """Raises WrongUsage for the first of them that was not given."""
        for name in names:
            if not self.has(name):
                raise WrongUsage(f'Missing required argument "{self._known[name]}"')

    def exclude(self, used: str, *others: str) -> None:
        """Raises WrongUsage where one of the others was given beside `used`."""
        if not self.has(used):
            return
        for other in others:
            if self.has(other):
                raise WrongUsage(f'Option "{self._known[used]}" can\'t be used with option "{self._known[other]}"')

    def one_name(self) -> None:
        """Raises WrongUsage where an option was given under its new and its old name."""
        for name in self._found:
            option = self._known[name]
            if option.successor is not None and option.successor in self._found:
                both = (name, option.successor) if option.leads else (option.successor, name)
                raise WrongUsage("Options --{} and --{} cannot be specified together.".format(*both))

    def _former(self, name: str) -> list[str]:
        return [option.name for option in self._known.values() if option.successor == name]

    def _converted(self, option: Option, text: str) -> Any:
        try:
            return option.kind(text)
        except ValueError:
            raise WrongUsage(f"Cannot parse argument '{text}' of option {option.name}") from None


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """["key=value", "flag"] -> {"key": "value", "flag": ""}; the last one of a key wins."""
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}
