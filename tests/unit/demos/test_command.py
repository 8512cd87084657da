"""`pystream demo` finds demos by name; what they take, and how they end."""

from __future__ import annotations

import threading

import pytest
from click.testing import CliRunner
from rich.console import Console

from pystream.demos import command
from pystream.demos.payments import main
from pystream.demos.payments.stream import DemoFailed

TIMEOUT_SECONDS = 60.0


def test_the_help_lists_every_demo():
    result = CliRunner().invoke(command.demo, ["--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in command.DEMOS)


@pytest.mark.parametrize("name", command.DEMOS)
def test_every_demo_is_found_and_has_its_own_help(name: str):
    result = CliRunner().invoke(command.demo, [name, "--help"])
    assert result.exit_code == 0
    assert "--bootstrap" in result.output


def test_an_unknown_demo_is_a_usage_error():
    assert CliRunner().invoke(command.demo, ["nothing"]).exit_code == 2


@pytest.mark.parametrize("option", ["-b", "--bootstrap-server", "--bootstrap"])
def test_the_cluster_is_named_as_everywhere(option: str, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def stream(bootstrap: str, *_: object) -> None:
        asked.append(bootstrap)
        raise DemoFailed("far enough")

    monkeypatch.setattr(main, "stream_both_ways", stream)

    result = CliRunner().invoke(command.demo, ["payments", option, "somewhere:1"])

    assert (result.exit_code, asked) == (1, ["somewhere:1"])
    assert "far enough" in result.output


def test_ctrl_c_ends_the_consumer_too(monkeypatch: pytest.MonkeyPatch):
    given_up = threading.Event()

    class Sink:
        def __init__(self, *_: object) -> None:
            self.give_up = given_up.set

        def receive(self, *_: object) -> None:
            given_up.wait(TIMEOUT_SECONDS)
            raise DemoFailed("given up")

    class Source:
        def __init__(self, *_: object) -> None:
            self.close = lambda: None

        def send(self, *_: object) -> None:
            raise KeyboardInterrupt

    for name, stand_in in (("ensure_topic", lambda *_, **__: None), ("PaymentSink", Sink), ("PaymentSource", Source)):
        monkeypatch.setattr(main.payments, name, stand_in)

    with pytest.raises(KeyboardInterrupt):
        main.stream_both_ways("somewhere:1", "payments", [], Console(quiet=True))

    assert given_up.is_set()
