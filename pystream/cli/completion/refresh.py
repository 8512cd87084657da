"""`python -m pystream.cli.completion.refresh NOUN [-b HOST:PORT]...`: list names for the shell's next question."""

from __future__ import annotations

import sys

from pystream.cli.completion.ask import BACKGROUND_SECONDS, ask
from pystream.cli.names import forget_old

if __name__ == "__main__":
    ask(sys.argv[1], sys.argv[2:], BACKGROUND_SECONDS)
    forget_old()
