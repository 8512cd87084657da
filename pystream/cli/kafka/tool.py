"""What Kafka's tools have in common: their flags, their way of failing, and clients of the cluster that they mean.

    kafka-topics --bootstrap-server localhost:9092 --list          installed as console scripts, or
    pystream kafka-topics --bootstrap-server localhost:9092 --list

They exit with 0 or 1, and write an error where Kafka's have it, to standard output or to standard error. What fails is
always a 1; of Kafka's tools kafka-consumer-groups says 0 then, and kafka-console-producer.

Most of them have a `Tool` of options, which `serve` runs; those that Kafka's own argparse parses have `Commands`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from pystream.cli.ending import Ending, Terminating, go_on_unheard, silence
from pystream.cli.failure import UNFIT, in_its_own_words, sentence, stand_in, unfit
from pystream.cli.kafka.examples import examples_of
from pystream.cli.kafka.failures import java_text, message
from pystream.cli.kafka.options import Given, Mistake, Tool, WrongUsage
from pystream.common.errors import PystreamError

if TYPE_CHECKING:
    from pystream.client.sync.admin import AdminClient

KAFKA_VERSION: Final = "4.2.0"  # whose tools these are


def included(pattern: str | None, names: Sequence[str]) -> list[str]:
    """The names that an include list matches: regular expressions, separated by commas. Raises Mistake."""
    if not pattern:
        return list(names)
    written = pattern.strip().replace(",", "|").replace(" ", "").strip("\"'")
    try:
        expression = re.compile(written)
    except re.error:
        raise Mistake(f"{written} is an invalid regex.") from None
    return [name for name in names if expression.fullmatch(name)]


# --- tools with options -----------------------------------------------------------------------------------------------


def serve(
    tool: Tool,
    arguments: Sequence[str] | None,
    work: Callable[[Given], None],
    *,
    failed: str = "",
    to_output: bool = False,
    classes: bool = True,
    parsing: str | None = None,
    endless: bool = False,
) -> NoReturn:
    """Parse, do, and leave by SystemExit.

    An error goes to standard error, or with `to_output` to standard output, behind `failed`; with `classes` a broker's
    has the name of Java's class before it. With `parsing` words that
    cannot be parsed are told behind it, and no help. What is `endless` ends, with 1, when nobody reads it any more.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    with Ending(unread=1):
        begin(endless)
        try:
            try:
                given = _parsed(tool, words)
            except WrongUsage as error:
                if parsing is None or not words:
                    raise
                print(f"{parsing}{error}", file=sys.stderr)
                raise SystemExit(1) from None
            with Terminating():
                work(given)
            sys.stdout.flush()
        except WrongUsage as error:
            print(f"{error}\n{tool.help()}", file=sys.stderr)
            raise SystemExit(1) from None
        except BrokenPipeError:
            raise
        except (PystreamError, OSError) as error:
            try:
                sys.stdout.flush()
            except OSError as unwritten:
                give_up(unwritten)
            _tell(f"{failed}{_told(error, classes)}", to_output)
            raise SystemExit(1) from None
        except UNFIT as error:
            _tell(f"{failed}{unfit(error)}", to_output)
            raise SystemExit(1) from None
    raise SystemExit(0)


def begin(endless: bool = False) -> None:
    """Standard streams as Java has them: what was to be done is done, whoever reads of it."""
    stand_in()
    in_its_own_words()
    if not endless:
        go_on_unheard()


def give_up(error: OSError) -> NoReturn:
    """A file that cannot be read or written; without a name it is standard output."""
    silence()
    print(sentence(error) if error.filename else f"standard output: {sentence(error)}", file=sys.stderr)
    raise SystemExit(1) from None


def _tell(line: str, to_output: bool) -> None:
    if not to_output:
        print(line, file=sys.stderr)
        return
    try:
        print(line, flush=True)
    except OSError as unwritten:  # unbuffered, it may be what failed in the first place
        give_up(unwritten)


def _told(error: PystreamError | OSError, classes: bool) -> str:
    if isinstance(error, OSError):
        return sentence(error)
    return java_text(error) if classes else message(error)


def _parsed(tool: Tool, words: list[str]) -> Given:
    if not words:
        raise WrongUsage(tool.unasked or tool.about)
    given = tool.parse(words)
    if given.has("help"):
        print(f"{tool.about}\n{tool.help()}\n{examples_of(tool.name)}", end="")
        raise SystemExit(0)
    if given.has("version"):
        print(KAFKA_VERSION)
        raise SystemExit(0)
    given.one_name()
    for warning in given.renamed():
        print(warning)
    return given


def bootstrap(given: Given, name: str = "bootstrap-server", *, required: bool = True) -> str:
    """The brokers to connect to. Raises WrongUsage for what names none."""
    if required:
        given.require(name)
    servers: str = given.value(name) or ""
    if not servers.strip():
        raise WrongUsage("Error while validating the bootstrap address\n")
    for server in servers.split(","):
        host, colon, port = server.strip().rpartition(":")
        if not (host and colon and port.isdecimal()):
            raise WrongUsage("Please provide valid host:port like host1:9091,host2:9092\n")
    return servers


def admin_client(servers: str, settings: Mapping[str, Any], **further: Any) -> AdminClient:
    """A client of the cluster: `settings` are properties, `further` what they may overrule, by snake_case."""
    from pystream.cli.kafka.properties import for_client
    from pystream.client.config import AdminConfig
    from pystream.client.sync.admin import AdminClient

    mine = {name.replace("_", "."): each for name, each in further.items()}
    return AdminClient(for_client(AdminConfig, {**mine, **settings, "bootstrap.servers": servers}))


def admin_of(given: Given, **further: Any) -> AdminClient:
    """The same, of a tool with --bootstrap-server and --command-config."""
    from pystream.cli.kafka.properties import load

    return admin_client(bootstrap(given), load(given.value("command-config")), **further)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, each with a tab behind it."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("".join(f"{cell:<{width}}\t" for cell, width in zip(line, widths, strict=True)) for line in lines)


# --- tools with commands ----------------------------------------------------------------------------------------------


class Commands(argparse.ArgumentParser):
    """The parser of a tool with commands: its usage and the mistake to standard error, and 1."""

    def format_help(self) -> str:
        name = self.prog.removesuffix(".sh")  # as Kafka's own parsers are called
        return super().format_help() + (examples_of(name) or examples_of(f"kafka-{name}"))

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: error: {message}", file=sys.stderr)
        raise SystemExit(1)


def serve_commands(
    made: Commands,
    arguments: Sequence[str] | None,
    work: Callable[[argparse.Namespace], None],
    *,
    endless: bool = False,
) -> NoReturn:
    """Parse, do, and leave by SystemExit; an error goes to standard error."""
    with Ending(unread=1):
        begin(endless)
        given = made.parse_args(arguments)
        try:
            with Terminating():
                work(given)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except (PystreamError, OSError) as error:
            print(_told(error, True), file=sys.stderr)
            raise SystemExit(1) from None
        except UNFIT as error:
            print(unfit(error), file=sys.stderr)
            raise SystemExit(1) from None
    raise SystemExit(0)


def serve_or_help(
    made: Commands,
    arguments: Sequence[str] | None,
    work: Callable[[Commands, argparse.Namespace], None],
    *,
    endless: bool = False,
) -> NoReturn:
    """The same, of a tool that shows its help where nothing was asked; `work` may find that arguments cannot be."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    serve_commands(made, words or ["--help"], lambda given: work(made, given), endless=endless)


def settings_file(made: Commands, given: argparse.Namespace, old: str) -> str | None:
    """The file that --command-config names, or its old name ("producer.config")."""
    former: str | None = getattr(given, old.replace(".", "_"))
    named: str | None = given.command_config
    if named and former:
        made.error(f"Options --{old} and --command-config are mutually exclusive.")
    if former:
        print(
            f"Option --{old} has been deprecated and will be removed in a future version. Use --command-config instead."
        )
    return named or former


def admin_for(given: argparse.Namespace, **further: Any) -> AdminClient:
    """A client of the brokers, or of the controllers, that the arguments name."""
    from pystream.cli.kafka.properties import load

    servers: str = given.bootstrap_server or given.bootstrap_controller
    return admin_client(servers, load(given.command_config), **further)
