"""Finding a command, quickly and with clear words."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pystream import __version__
from pystream.cli.commands import COMMANDS, NOUNS, find_command
from pystream.cli.main import main


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    captured = capsys.readouterr()
    return stopped.value.code, captured.out, captured.err


def test_the_version_is_answered(capsys: pytest.CaptureFixture[str]):
    assert outcome(capsys, "--version") == (0, f"pystream {__version__}\n", "")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]):
    code, out, _ = outcome(capsys, "--help")

    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]):
    code, out, err = outcome(capsys)

    assert (code, out) == (2, "")
    assert "Usage" in err


def test_an_unknown_command_gets_a_hint(capsys: pytest.CaptureFixture[str]):
    code, _, err = outcome(capsys, "borker")

    assert code == 2
    assert "'broker'" in err


def test_ctrl_c_is_130_and_nothing_said_whatever_the_command_does_about_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pystream.cli.main.find_command", lambda _: click.Command("verify", callback=interrupted))

    assert outcome(capsys, "verify") == (130, "", "")


def test_a_plug_in_that_gives_up_is_one_line_and_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def aborted() -> None:
        raise click.Abort

    monkeypatch.setattr("pystream.cli.main.find_command", lambda _: click.Command("verify", callback=aborted))

    assert outcome(capsys, "verify") == (1, "", "pystream verify: aborted\n")


def test_the_package_can_be_run():
    done = subprocess.run([sys.executable, "-m", "pystream", "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"pystream {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "pystream", "topics", "list", "--timeout", "0.5", "-b"],
        ["-m", "pystream", "consume", "orders", "--timeout", "0.5", "-b"],
    ],
)
def test_a_broker_that_is_not_there_is_one_sentence(words: list[str]):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = subprocess.run([sys.executable, *words, f"127.0.0.1:{port}"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (5, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("pystream ")
    assert "no broker could be reached" in line


def test_version_and_help_import_no_command_line_library():
    script = "import sys; sys.argv = ['pystream', '--help']\nfrom pystream.cli.main import main\n"
    script += "try:\n    main()\nexcept SystemExit:\n    sys.exit('click' in sys.modules or 'asyncio' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_loads(name: str):
    command = find_command(name)

    assert command is not None
    assert command.name == name


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("broker",), "--data-dir"),
        (("broker", "--set", "nonsense"), "KEY=VALUE"),
        (("broker", "--data-dir", "d", "--set", "num.partitions=none"), "num.partitions"),
        (("broker", "--data-dir", "d", "--listener", "nowhere"), "NAME://HOST:PORT"),
        (("broker", "--config", "no-such-file.properties"), "no-such-file.properties"),
        (
            (
                "broker",
                "--no-such-flag",
            ),
            "no-such-flag",
        ),
        (("up", "--only", "nothing"), "broker"),
        (("up", "--port-offset", "-1"), "port-offset"),
        (("up", "--data-dir", "d", "--set", "nonsense"), "KEY=VALUE"),
        (("up", "--data-dir", "d", "--set", "num.partitions=none"), "num.partitions"),
    ],
    ids=str,
)
def test_a_mistake_of_the_user_is_exit_code_two_and_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], complaint: str
):
    code, _, err = outcome(capsys, *arguments)

    assert code == 2
    assert complaint in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("demo",)])
def test_every_command_has_a_test_that_runs_it(name: str):
    """By its name as the first word: of a fixture, of `main`, or of a program."""
    tests = Path(__file__).parents[2]
    folders = (tests / "integration", tests / "support")
    written = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))

    assert re.search(rf'[(\[]\s*"{name}"|"pystream\.cli\.main",\s*"{name}"', written)


def leaves(command: click.Command, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        return [(words, command)]
    context = click.Context(command)
    found = []
    for verb in command.list_commands(context):
        inner = command.get_command(context, verb)
        assert inner is not None
        found += leaves(inner, (*words, verb))
    return found


@pytest.mark.parametrize("name", [*COMMANDS, *NOUNS])
def test_help_of_every_command_shows_an_example_and_its_exit_codes(name: str):
    root = find_command(name)
    assert root is not None
    for words, command in leaves(root, (name,)):
        shown = CliRunner().invoke(command, ["--help"]).output
        assert "Examples" in shown, words
        assert "Exit codes" in shown, words


def typed(example: str) -> list[list[str]]:
    """The commands of a line of the shell, each as its words."""
    lexer = shlex.shlex(re.sub(r'"\$\((.*)\)"', r"\1", example), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [words[words.index("pystream") :] for words in commands if "pystream" in words]


@pytest.mark.parametrize("name", [name for name in (*COMMANDS, *NOUNS) if name != "demo"])  # whose help is its own
def test_examples_of_help_are_the_command_as_typed_and_parse(name: str):
    """Each line of examples has the command whose help it stands in; what it names need not be there."""
    root = find_command(name)
    assert root is not None
    for words, command in leaves(root, (name,)):
        shown = CliRunner().invoke(command, ["--help"], terminal_width=1_000, max_content_width=1_000).output
        _, _, section = shown.partition("\nExamples:\n")
        assert section, words
        for example in section.partition("\n\n")[0].splitlines():
            commands = typed(example)
            assert ["pystream", *words] in [each[: len(words) + 1] for each in commands], example
            for each in commands:
                parse(each[1:])


def parse(words: list[str]) -> None:
    """Raises click.UsageError for words that the command does not take."""
    command = find_command(words[0])
    assert command is not None
    rest = words[1:]
    while isinstance(command, click.Group):
        inner = command.get_command(click.Context(command), rest.pop(0))
        assert inner is not None, words
        command = inner
    try:
        command.make_context(words[0], rest)
    except click.BadParameter as error:
        if "does not exist" not in error.message:
            raise


def test_every_verb_of_every_command_has_a_test_that_runs_it():
    """By its words in a row. `test_operations` walks declared operations, `test_tool_examples` Kafka's tools."""
    tests = Path(__file__).parents[2]
    written = "\n".join(path.read_text(encoding="utf-8") for path in (tests / "integration").rglob("*.py"))
    missing = []
    for name in [name for name in COMMANDS if name != "demo"]:  # see tests/integration/test_payments_demo.py
        root = find_command(name)
        assert root is not None
        for words, _ in leaves(root, (name,)):
            pattern = r",\s*".join(f'"{word}"' for word in words)
            if len(words) > 1 and not re.search(pattern, written):
                missing.append(" ".join(words))

    assert missing == []
