"""`kafka-server-start` and `kafka-server-stop`, as Kafka's scripts.

    kafka-server-start [-daemon] server.properties [--override property=value]*
    kafka-server-stop [--process-role ROLE] [--node-id ID]

A stop is told to the processes of this user that `kafka-server-start` began, and to no others; it does not wait.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pystream.cli.kafka.examples import examples_of
from pystream.cli.kafka.options import Mistake, Tool, WrongUsage, value
from pystream.cli.kafka.properties import load
from pystream.cli.kafka.tool import KAFKA_VERSION, serve

START: Final = "kafka-server-start"
USAGE: Final = f"USAGE: {START} [-daemon] server.properties [--override property=value]*"
OUTPUT: Final = Path("logs") / "kafkaServer.out"
PROCESSES: Final = Path("/proc")
STOP: Final = Tool(
    "kafka-server-stop",
    "Stop the servers of this machine that kafka-server-start began.",
    (
        value("process-role", "Only servers of this role: broker or controller.", "ROLE"),
        value("node-id", "Only the server of this number.", "ID"),
    ),
)


def start(arguments: Sequence[str] | None = None) -> None:
    """Entry point of kafka-server-start; always leaves by SystemExit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    daemon = words[:1] == ["-daemon"]
    words = words[daemon:]
    if words[:1] == ["--version"]:
        print(KAFKA_VERSION)
        raise SystemExit(0)
    if words[:1] == ["--help"]:
        print(f"{USAGE}\n  --help and --version print this and Kafka's version.\n{examples_of(START)}", end="")
        raise SystemExit(0)
    try:
        settings = _overrides(words)
    except WrongUsage as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    if daemon:
        _in_background(words)
    from pystream.cli.broker_command import broker

    sets = [word for name, each in settings.items() for word in ("--set", f"{name}={each}")]
    broker.main(["--config", words[0], *sets], prog_name=START)


def _overrides(words: Sequence[str]) -> dict[str, str]:
    """What --override says. Raises WrongUsage."""
    if not words or words[0].startswith("-"):
        raise WrongUsage(USAGE)
    if not Path(words[0]).is_file():
        raise WrongUsage(f"{words[0]}: No such file")
    found = {}
    rest = list(words[1:])
    while rest:
        option, *rest = rest
        if option.startswith("--override="):
            text = option.partition("=")[2]
        elif option == "--override" and rest:
            text, *rest = rest
        else:
            raise WrongUsage(f"Found non argument parameters: {option}\n{USAGE}")
        name, equals, each = text.partition("=")
        if not equals:
            raise WrongUsage(f"Missing value for key {name}")
        found[name] = each
    return found


def _in_background(words: Sequence[str]) -> None:
    OUTPUT.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "pystream.cli.main", START, *words]
    with open(OUTPUT, "ab") as output:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    raise SystemExit(0)


# --- stop -------------------------------------------------------------------------------------------------------------


class Server(NamedTuple):
    """A process that kafka-server-start is."""

    pid: int
    settings: dict[str, str]


def stop(arguments: Sequence[str] | None = None) -> None:
    """Entry point of kafka-server-stop; always leaves by SystemExit."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words:
        words = ["--"]  # nothing to choose: all of them
    serve(STOP, words, lambda given: _stop(given.value("process-role"), given.value("node-id")))


def _stop(role: str | None, node_id: str | None) -> None:
    if role not in (None, "broker", "controller"):
        raise WrongUsage(f"Unknown process role: {role}")
    there = list(servers())
    meant = [server for server in there if _is_meant(server, role, node_id)]
    if not there:
        raise Mistake("No kafka server to stop")
    if not meant:
        chosen = [f"'{name}' {each}" for name, each in (("process.roles", role), ("node.id", node_id)) if each]
        raise Mistake(f"No kafka server with {' and '.join(chosen)} to stop")
    for server in meant:
        os.kill(server.pid, signal.SIGTERM)


def _is_meant(server: Server, role: str | None, node_id: str | None) -> bool:
    roles = [part.strip() for part in server.settings.get("process.roles", "broker").split(",")]
    number = server.settings.get("node.id", server.settings.get("broker.id"))
    return (role is None or role in roles) and (node_id is None or number == node_id)


def servers() -> Iterator[Server]:
    """The servers of this user, by their command lines."""
    for entry in PROCESSES.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")[:-1]
            place = Path(os.readlink(entry / "cwd"))
        except OSError:
            continue  # it has ended meanwhile
        after = next((words[at + 1 :] for at, word in enumerate(words[:5]) if _is_start(word)), None)
        if after is None or "-daemon" in after[:1]:
            continue
        try:
            overrides = _overrides([str(place / after[0]), *after[1:]]) if after else {}
            settings = load(str(place / after[0])) | overrides if after else {}
        except WrongUsage:
            continue
        yield Server(int(entry.name), settings)


def _is_start(word: str) -> bool:
    return Path(word).name == START


if __name__ == "__main__":
    start()
