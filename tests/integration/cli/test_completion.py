"""What the shell is offered: by the table, by the names kept, and in the shells themselves."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pystream.cli import names
from pystream.cli.commands import COMMANDS, NOUNS
from pystream.cli.completion import ask
from pystream.cli.main import main
from pystream.client.admin.topics import NewTopic
from pystream.client.sync.admin import AdminClient
from pystream.common.model import TopicPartition
from tests.integration.cli.conftest import Command, fresh
from tests.support.broker_process import ROOT, BrokerProcess
from tests.support.terminal import Terminal

Offered = Callable[..., list[str]]
DEAD = "127.0.0.1:1"
STARTS = {"bash": ("bash", "--norc", "--noprofile", "-i"), "zsh": ("zsh", "-f", "-i"), "fish": ("fish", "-N", "-i")}
BEGINS = {
    "bash": 'bind "set bell-style none"; eval "$(pystream completion bash)"; echo rea""dy\n',
    "zsh": "autoload -U compinit; compinit -u -D; eval \"$(pystream completion zsh)\"; echo rea''dy\n",
    "fish": "pystream completion fish | source; echo rea''dy\n",
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pystream" / "names"


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broker: BrokerProcess) -> Offered:
    """The completions of the last word of a line, as a shell asks for them, but with time for a loaded machine.

    The alarm that ends a process which answers too late would end this one.
    """
    for name in ("FRESH_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(ask, name, 60.0)

    def complete(line: str, *, bootstrap: str = broker.bootstrap, shell: str = "zsh") -> list[str]:
        is_dead = f"-b {DEAD}" in line or (bootstrap == DEAD and broker.bootstrap not in line)
        patience = ask.LIVE_SECONDS if is_dead else 60.0
        monkeypatch.setattr(ask, "_asked_now", lambda noun, connection: ask.ask(noun, connection, patience))
        capsys.readouterr()
        monkeypatch.setenv("_PYSTREAM_COMPLETE", f"{shell}_complete")
        monkeypatch.setenv("PYSTREAM_BOOTSTRAP_SERVERS", bootstrap)
        monkeypatch.setenv("COMP_LINE", line)
        with pytest.raises(SystemExit) as stopped:
            main([])
        assert stopped.value.code == 0
        monkeypatch.delenv("_PYSTREAM_COMPLETE")
        told = [each.split("\t") for each in capsys.readouterr().out.splitlines()]
        return [each[1] if each[0] == "word" else f"<{each[0]}>" for each in told]

    return complete


@pytest.fixture
def admin(broker: BrokerProcess) -> Iterator[AdminClient]:
    """One that leaves nothing in the cache."""
    with AdminClient({"bootstrap.servers": broker.bootstrap}) as client:
        yield client


def test_commands_verbs_options_and_choices_are_offered(offered: Offered):
    assert offered("pystream ") == [*COMMANDS, *NOUNS]
    assert offered("pystream top") == ["top", "topics"]
    assert offered("pystream topics de") == ["describe", "delete"]
    assert offered("pystream topics create x --part") == ["--partitions"]
    assert offered("pystream configs describe br") == ["brokers", "broker-loggers"]
    assert offered("pystream topics list -o nd") == ["ndjson"]
    assert offered("pystream topics list --output=nd") == ["--output=ndjson"]
    assert offered("kafka-topics --unav") == ["--unavailable-partitions"]
    assert offered("A=b pystream log") == ["logs"]
    assert offered("pystream nonsense ") == []
    assert offered("vi ") == []


def test_files_are_left_to_the_shell(offered: Offered):
    assert offered("pystream apply -f ") == ["<file>"]
    assert offered("pystream topics list --command-config cl") == ["<file>"]
    assert offered("pystream logs import ") == ["<dir>"]


def test_names_of_the_cluster_are_offered(offered: Offered, pystream: Command):
    name = fresh("offered")
    pystream("topics", "create", name)

    for line in (
        *("pystream topics describe ", "pystream groups delete-offsets g --topic ", "pystream consume "),
        *("pystream produce ", "pystream bench produce ", "pystream configs describe topics ", "pystream -- topics "),
        *("pystream topics describe -p 3 other ", "pystream partitions list -- "),
    ):
        expected = [] if line.startswith("pystream -- ") else [name]
        assert offered(line + name[:-1]) == expected or offered(line + name) == expected, line
    assert offered(f"kafka-topics --describe --topic {name}") == [name]
    assert offered(f"kafka-topics --describe --topic={name}") == [f"--topic={name}"]


def test_the_cluster_is_the_one_that_the_line_names(offered: Offered, pystream: Command, broker: BrokerProcess):
    name = fresh("named")
    pystream("topics", "create", name)

    assert offered(f"pystream topics describe -b {broker.bootstrap} {name}", bootstrap=DEAD) == [name]
    assert offered(f"pystream topics delete -X bootstrap.servers={broker.bootstrap} {name}", bootstrap="") == [name]
    assert offered(f"pystream topics describe -b {DEAD} {name}") == []


def test_a_command_that_lists_leaves_its_names_for_the_shell(
    offered: Offered, pystream: Command, broker: BrokerProcess, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    old, name = fresh("kept"), fresh("kept")
    line = f"pystream topics describe -b {broker.bootstrap} {name}"
    pystream("topics", "create", old)
    pystream("topics", "list")
    assert not cache.exists()  # nobody has asked
    names.make_folder()
    pystream("topics", "list")
    monkeypatch.setattr(ask, "ask", lambda *_: pytest.fail("the cluster was asked"))

    pystream("topics", "create", name)
    assert offered(line) == [name]
    pystream("topics", "delete", name, "--dry-run")
    assert offered(line) == [name]
    pystream("topics", "list", "--pattern", "nothing")
    assert offered(line) == [name]
    pystream("topics", "delete", name)
    assert offered(line) == []


def aged(cache: Path, seconds: float) -> None:
    for path in cache.iterdir():
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def test_old_names_are_offered_once_more_while_new_ones_are_fetched(
    offered: Offered, admin: AdminClient, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    name, started = fresh("late"), []
    assert offered(f"pystream topics describe {name}") == []
    admin.create_topics([NewTopic(name)]).checked()
    assert offered(f"pystream topics describe {name}") == []  # fresh: asked a moment ago
    aged(cache, ask.FRESH_SECONDS + 1)
    spawn = os.posix_spawn
    monkeypatch.setattr(os, "posix_spawn", lambda *a, **k: started.append(spawn(*a, **k)))

    assert offered(f"pystream topics describe {name}") == []
    assert offered(f"pystream topics describe {name}") == []  # and not twice at once

    assert len(started) == 1
    assert os.waitpid(started[0], 0)[1] == 0
    assert offered(f"pystream topics describe {name}") == [name]


def test_names_too_old_are_never_offered(offered: Offered, admin: AdminClient, cache: Path):
    name = fresh("gone")
    admin.create_topics([NewTopic(name)]).checked()
    assert offered(f"pystream topics describe {name}") == [name]
    admin.delete_topics([name]).checked()
    aged(cache, names.USABLE_SECONDS + 1)

    assert offered(f"pystream topics describe {name}") == []


def test_a_cluster_that_does_not_answer_offers_nothing_and_is_left_alone_for_a_while(
    offered: Offered, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    really = ask.ask
    monkeypatch.setattr(ask, "ask", lambda *given: [asked.append(given), really(*given)][1])

    assert [offered("pystream topics describe a", bootstrap=DEAD) for _ in range(3)] == [[], [], []]
    assert len(asked) == 1


def test_a_process_that_a_shell_asks_ends_without_an_answer_too(cache: Path):
    told = {"_PYSTREAM_COMPLETE": "zsh_complete", "COMP_LINE": f"pystream topics describe -b {DEAD} a"}
    command = [sys.executable, "-m", "pystream.cli.main"]

    done = subprocess.run(command, env={**os.environ, **told}, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
    assert any(path.name.endswith(".asked") for path in cache.iterdir())


def test_only_the_user_may_read_what_is_kept_and_no_word_of_the_line_is_in_its_name(
    offered: Offered, cache: Path, broker: BrokerProcess
):
    offered(f"pystream topics describe -b {broker.bootstrap} -X sasl.password=secret ")

    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (cache, *cache.iterdir())} == {0}
    assert not any("secret" in path.name or str(broker.port) in path.name for path in cache.iterdir())


def test_a_folder_that_cannot_be_written_keeps_nothing(
    offered: Offered, pystream: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    name = fresh("unkept")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert pystream("topics", "create", name).code == 0

    assert offered(f"pystream topics describe {name}") == [name]


def test_an_answer_loads_neither_click_nor_a_client(tmp_path: Path, cache: Path):
    cache.mkdir(parents=True)
    script = (
        "import sys, os\nfrom pystream.cli import names\n"
        "names.remember('topics', ['-b', 'x:1'], ['orders', 'payments'])\n"
        "os.environ.update(_PYSTREAM_COMPLETE='bash_complete', COMP_LINE='pystream topics describe -b x:1 o')\n"
        "from pystream.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n"
        "    sys.exit(' '.join({'click', 'asyncio', 'ssl', 'json', 'typing'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("word\torders\n", "\n")


@pytest.mark.parametrize(
    ("line", "words", "quoted"),
    [
        ("pystream topics ", ["pystream", "topics", ""], False),
        ('a  \'b c\' "d\\"e" f\\ g', ["a", "b c", 'd"e', "f g"], False),
        ("a 'b c", ["a", "b c"], True),
        ("a '' b", ["a", "", "b"], False),
        ("", [""], False),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str], quoted: bool):
    from pystream.cli.completion.answer import split

    assert split(line) == (words, quoted)


@pytest.mark.parametrize("shell", STARTS)
def test_each_shell_gets_its_script(capsys: pytest.CaptureFixture[str], shell: str):
    with pytest.raises(SystemExit) as stopped:
        main(["completion", shell])

    assert stopped.value.code == 0
    script = capsys.readouterr().out
    assert f"_PYSTREAM_COMPLETE{' ' if shell == 'fish' else '='}{shell}_complete" in script
    assert " pystream kafka-topics " in script


# --- in the shells ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=list(STARTS))
def shell(request: pytest.FixtureRequest, tmp_path: Path, broker: BrokerProcess):
    """An interactive shell that has evaluated the script."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pystream"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pystream.cli.main "$@"\n')
    program.chmod(0o755)
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYSTREAM_BOOTSTRAP_SERVERS": broker.bootstrap,
    }
    with Terminal(*STARTS[request.param], environment=environment) as terminal:
        terminal.type(BEGINS[request.param])
        terminal.sees("ready")
        yield terminal


def completed(shell: Terminal, typed: str) -> list[str]:
    """The words of the line after a tab, as the shell itself reads them."""
    shell.type(f"{typed}\t\x01printf '<%s>' \r")
    shown = shell.sees(r"<(pystream|kafka-topics)>(<[^>]*>)+(?=[^<])")
    return re.findall("<([^>]*)>", shown[re.search("<(pystream|kafka-topics)>", shown).start() :])


@pytest.mark.unsanitized
def test_a_shell_completes_commands_options_and_names(shell: Terminal, pystream: Command, broker: BrokerProcess):
    name = f"{fresh('shells')}.x"
    pystream("topics", "create", name)
    names.make_folder()
    pystream("topics", "list")  # a loaded machine may take longer than a shell waits

    assert completed(shell, "pystream completi") == ["pystream", "completion"]
    assert completed(shell, "pystream completion ba") == ["pystream", "completion", "bash"]
    assert completed(shell, "pystream topics create x --replication-f")[-1] == "--replication-factor"
    assert completed(shell, f"pystream topics describe -b {broker.bootstrap} {name[:-1]}")[-1] == name
    assert completed(shell, f"pystream topics describe {name[:-1]}")[-1] == name
    assert completed(shell, f"kafka-topics --describe --topic={name[:-1]}")[-1] == f"--topic={name}"


@pytest.mark.unsanitized
def test_a_shell_is_given_a_name_that_it_cannot_misread(shell: Terminal, pystream: Command, admin: AdminClient):
    topic, stem = fresh("quoted"), fresh("quoted")
    group = f"{stem}: it's; echo $HOME*"
    pystream("topics", "create", topic)
    admin.alter_consumer_group_offsets(group, {TopicPartition(topic, 0): 0}).checked()

    names.make_folder()
    pystream("groups", "list")  # a loaded machine may take longer than a shell waits

    assert completed(shell, f"pystream groups describe {stem}")[-1] == group
