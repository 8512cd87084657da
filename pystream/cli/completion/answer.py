"""Answers a shell that asks, from the generated tables, before anything heavy is imported.

    _PYSTREAM_COMPLETE    bash_complete, zsh_complete or fish_complete
    COMP_LINE             the line up to the cursor: `pystream topics describe ord`
    COMP_WORDBREAKS       of bash, which offers only what follows the last of them

One line for each thing to offer:

    word <tab> VALUE [<tab> HELP]
    file                      the shell's own: names of files, or of folders
    dir

A command that is in no table belongs to an installed package: click is asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pystream.cli.commands import COMMANDS, NOUNS, PROGRAM, TOOLS

SHELLS = ("bash_complete", "zsh_complete", "fish_complete")
ANYTHING = "*"  # takes a value that nobody can guess
BREAKS = ":="  # those of bash's word breaks that stand within our words
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:=@%+,")
CONNECTION = {"--bootstrap-server": "-b", "--broker-list": "-b", "-b": "-b", "--command-config": "--command-config"}

Options = Sequence[tuple[tuple[str, ...], str, str]]
Commands = Mapping[str, tuple[str, tuple[int, ...], tuple[str, ...]]]
Offer = tuple[str, str]  # a word and its help; or "file" or "dir" behind an empty word
FILES: Offer = ("", "file")
DIRECTORIES: Offer = ("", "dir")


def answer(instruction: str) -> int:
    """Print what the environment asks for; 1 for an instruction nobody knows."""
    if instruction not in SHELLS:
        return 1
    words, quoted = split(os.environ.get("COMP_LINE", ""))
    while words and os.path.basename(words[0]) not in (PROGRAM, *TOOLS):
        del words[0]  # NAME=VALUE and sudo
    if len(words) < 2:
        return 0
    for word, text in offers([os.path.basename(words[0]), *words[1:-1]], words[-1]):
        if not word:
            print(text)
        elif instruction != "bash_complete":
            print(f"word\t{word}\t{text}" if text else f"word\t{word}")
        else:
            value = _after_break(word, words[-1], os.environ.get("COMP_WORDBREAKS", BREAKS))
            print(f"word\t{value if quoted else escaped(value)}")
    return 0


def split(line: str) -> tuple[list[str], bool]:
    """Its words as a shell would see them, the last one perhaps unfinished; whether that one is within quotes.

    "a 'b c" -> (["a", "b c"], True)        "a " -> (["a", ""], False)
    """
    words, word, quote, position = [""], "", "", 0
    while position < len(line):
        letter = line[position]
        position += 1
        if letter == "\\" and quote != "'" and position < len(line):
            word += line[position]
            position += 1
        elif letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
        elif not quote and letter in " \t":
            if word or line[position - 2 : position - 1] in ("'", '"'):
                words[-1] = word
                words.append("")
            word = ""
        else:
            word += letter
    words[-1] = word
    return words, bool(quote)


def escaped(value: str) -> str:
    """As bash would have to read it."""
    return "".join(letter if letter in SAFE or not letter.isascii() else f"\\{letter}" for letter in value)


def _after_break(word: str, typed: str, breaks: str) -> str:
    """What bash replaces: from the last word break of what was typed on."""
    start = max((typed.rfind(each) + 1 for each in BREAKS if each in breaks), default=0)
    return word[start:]


# --- what there is to offer -------------------------------------------------------------------------------------------


def offers(words: list[str], typed: str) -> list[Offer]:
    """What the word that is being typed may become; `words` stand before it, the program's name first."""
    found = _offers(words, typed)
    return [each for each in found if not each[0] or each[0].startswith(typed)]


def _offers(words: list[str], typed: str) -> list[Offer]:
    path, rest = (words[0], words[1:]) if words[0] in TOOLS else ("", words[1:])
    if not path:
        if not rest:
            return [(name, text) for name, (_, text) in COMMANDS.items()] + list(NOUNS.items())
        path, rest = rest[0], rest[1:]
    _, commands = _table(path)
    while path not in commands:
        verbs = [key for key in commands if key.startswith(path + " ") and " " not in key[len(path) + 1 :]]
        if not verbs:
            return _of_packages(words[1:], typed)
        if not rest:
            return [(key[len(path) + 1 :], commands[key][0]) for key in verbs]
        path, rest = f"{path} {rest[0]}", rest[1:]
    return _of_command(path, rest, typed)


def _table(path: str) -> tuple[Options, Commands]:
    """Options and commands of what a path belongs to: of Kafka's tools or of `pystream`; only that one is loaded."""
    if path in TOOLS:
        from pystream.cli.completion import tools_table

        return tools_table.OPTIONS, tools_table.COMMANDS
    from pystream.cli.completion import verbs_table

    return verbs_table.OPTIONS, verbs_table.COMMANDS


def _of_command(path: str, rest: list[str], typed: str) -> list[Offer]:
    known, commands = _table(path)
    _, numbers, positions = commands[path]
    options = {name: known[number] for number in numbers for name in known[number][0]}
    connection: list[str] = []
    waiting: str | None = None  # an option whose value comes next
    given: list[str] = []
    only_values = False
    for word in rest:
        if waiting is not None:
            _keep(connection, waiting, word)
            waiting = None
        elif only_values or not word.startswith("-") or word == "-":
            given.append(word)
        elif word == "--":
            only_values = True
        else:
            name, equals, value = word.partition("=")
            if not word.startswith("--"):
                name, equals, value = word[:2], word[2:], word[2:]
            if name in options and options[name][1]:
                if equals:
                    _keep(connection, name, value)
                else:
                    waiting = name
    if waiting is not None:
        return _values(options[waiting][1] if waiting in options else ANYTHING, "", connection)
    if typed.startswith("--") and "=" in typed and not only_values:
        name = typed.partition("=")[0]
        return _values(options[name][1], f"{name}=", connection) if name in options else []
    if typed.startswith("-") and not only_values:
        return [(names[-1], text) for names, _, text in (known[number] for number in numbers)]
    return _values(_position(positions, given), "", connection)


def _position(positions: Sequence[str], given: Sequence[str]) -> str:
    """What the next position takes: a name after a noun is one of the noun's."""
    if len(given) < len(positions):
        takes = positions[len(given)].removesuffix("...")
    else:
        takes = positions[-1][:-3] if positions and positions[-1].endswith("...") else ANYTHING
    if takes == ANYTHING and given and given[0] in NOUNS and f"{given[0]} list" in _table(given[0])[1]:
        return f"@{given[0]}"
    return takes


def _keep(connection: list[str], name: str, value: str) -> None:
    """What says which cluster is meant, as words of a command line."""
    if name == "-X":
        connection += ["-X", value]
    elif name in CONNECTION:
        connection += [CONNECTION[name], value]


def _values(takes: str, before: str, connection: list[str]) -> list[Offer]:
    """`takes` as the table has it: file, dir, a|b|c, @topics, or *."""
    if takes == "file":
        return [FILES]
    if takes == "dir":
        return [DIRECTORIES]
    if takes.startswith("@"):
        from pystream.cli.completion.ask import offered

        return [(before + name, "") for name in offered(takes[1:], connection)]
    return [] if takes in (ANYTHING, "") else [(before + choice, "") for choice in takes.split("|")]


def _of_packages(words: list[str], typed: str) -> list[Offer]:
    import click
    from click.shell_completion import ShellComplete

    from pystream.cli.commands import find_command

    command = find_command(words[0])
    if command is None:
        return []
    root = click.Group(PROGRAM, commands={words[0]: command})
    found = ShellComplete(root, {}, PROGRAM, "").get_completions(words, typed)
    return [("", each.type) if each.type in ("file", "dir") else (each.value, each.help or "") for each in found]
