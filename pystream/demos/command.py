"""`pystream demo NAME ...`: a demo by its name, imported only when it is run."""

from __future__ import annotations

from importlib import import_module

import click

# name -> (module:attribute of the click command, one line of help)
DEMOS = {
    "payments": ("pystream.demos.payments.main:main", "Streams a day of card payments and counts what comes back."),
}


class DemoGroup(click.Group):
    """Finds a demo's command on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(DEMOS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in DEMOS:
            return None
        module, _, attribute = DEMOS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Demos"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(DEMOS.items())])


@click.group(cls=DemoGroup, help="Run a demo application on a cluster that is up.")
def demo() -> None:
    """Only a group: each demo says what it does."""
