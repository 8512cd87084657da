"""What the shell is offered."""

from __future__ import annotations

import pytest

from pystream.cli.commands import COMMANDS, NOUNS
from pystream.cli.main import main
from tests.integration.cli.conftest import Command, fresh
from tests.support.broker_process import BrokerProcess


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broker: BrokerProcess):
    """The completions of the last word of a line, as bash asks for them."""

    def complete(*words: str, bootstrap: str = broker.bootstrap) -> list[str]:
        monkeypatch.setenv("_PYSTREAM_COMPLETE", "bash_complete")
        monkeypatch.setenv("PYSTREAM_BOOTSTRAP_SERVERS", bootstrap)
        monkeypatch.setenv("COMP_WORDS", " ".join(["pystream", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        with pytest.raises(SystemExit) as stopped:
            main([])
        assert stopped.value.code == 0
        monkeypatch.delenv("_PYSTREAM_COMPLETE")
        return [line.partition(",")[2] for line in capsys.readouterr().out.splitlines() if line]

    return complete


def test_commands_verbs_and_options_are_offered(offered):
    assert offered("") == [*COMMANDS, *NOUNS]
    assert offered("top") == ["top", "topics"]
    assert offered("topics", "de") == ["describe", "delete"]
    assert offered("topics", "create", "x", "--part") == ["--partitions"]
    assert offered("configs", "describe", "br") == ["brokers", "broker-loggers"]


def test_names_of_the_cluster_are_offered(offered, pystream: Command):
    name = fresh("offered")
    pystream("topics", "create", name)

    assert offered("topics", "describe", name) == [name]
    assert offered("groups", "delete-offsets", "g", "--topic", name) == [name]
    assert offered("consume", name) == [name]
    assert offered("produce", name) == [name]
    assert offered("bench", "produce", name) == [name]


def test_a_cluster_that_does_not_answer_offers_nothing(offered):
    assert offered("topics", "describe", "a", bootstrap="127.0.0.1:1") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(capsys: pytest.CaptureFixture[str], shell: str):
    with pytest.raises(SystemExit) as stopped:
        main(["completion", shell])

    assert stopped.value.code == 0
    assert f"_PYSTREAM_COMPLETE={shell}_complete" in capsys.readouterr().out
