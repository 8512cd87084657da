"""What `--help` of a command ends with: notes, examples, names elsewhere, exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

EXIT_CODES: Final = (
    "0 done; 1 it did not work; 2 wrong usage; 3 not found; 4 refused; 5 no answer in time, or unreachable; 130 Ctrl-C."
)


class ManualCommand(click.Command):
    """A command whose help shows at least one example."""

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[str],
        notes: Sequence[str] = (),
        elsewhere: Sequence[str] = (),
        exit_codes: str = EXIT_CODES,
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self.examples = tuple(examples)
        self.notes = tuple(notes)
        self.elsewhere = tuple(elsewhere)
        self.exit_codes = exit_codes

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for note in self.notes:
            formatter.write_paragraph()
            formatter.write_text(note)
        for title, texts in (
            ("Examples", self.examples),
            ("Elsewhere", self.elsewhere),
            ("Exit codes", (self.exit_codes,)),
        ):
            if texts:
                with formatter.section(title):
                    for text in texts:
                        formatter.write_text(text)
