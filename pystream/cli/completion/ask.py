"""Whether names are offered as they are kept, or the cluster is asked: `pystream.cli.names` keeps them.

listed not    FRESH_SECONDS ago     they are offered as they are
longer than   USABLE_SECONDS ago    they are offered, and a process in the background lists them anew
              longer ago, or never  the cluster is asked for at most LIVE_SECONDS, but not twice in RETRY_SECONDS
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from pystream.cli.commands import COMPLETE_VARIABLE
from pystream.cli.names import USABLE_SECONDS, age_of, kept, make_folder, path_of, remember, write

FRESH_SECONDS = 5.0
RETRY_SECONDS = 5.0
LIVE_SECONDS = 1.0
BACKGROUND_SECONDS = 10.0


def offered(noun: str, connection: Sequence[str]) -> list[str]:
    """The names of a noun in the cluster that the words of a command line mean; none where it does not answer."""
    make_folder()
    path = path_of(noun, connection)
    age = age_of(path)
    if age < FRESH_SECONDS:
        return kept(path)
    asked = f"{path}.asked"
    waits = age_of(asked) < RETRY_SECONDS
    if age < USABLE_SECONDS:
        if not waits:
            write(asked, ())
            _refresh_in_background(noun, connection)
        return kept(path)
    if waits:
        return []
    write(asked, ())
    return _asked_now(noun, connection)


def ask(noun: str, connection: Sequence[str], seconds: float) -> list[str]:
    """List them now, and keep them; none where the cluster does not answer."""
    from pystream.cli.operation_command import listed_names

    names = listed_names(noun, connection, seconds)
    if names is None:
        return []
    remember(noun, connection, names)
    return names


def _asked_now(noun: str, connection: Sequence[str]) -> list[str]:
    """Bounded by a signal too: names of hosts may take longer to resolve than any deadline of a client."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, 2 * LIVE_SECONDS)
    found = ask(noun, connection, LIVE_SECONDS)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
    return found


def _refresh_in_background(noun: str, connection: Sequence[str]) -> None:
    """A process that nobody waits for, with nothing of the shell's open: it would wait for the end of the pipe."""
    if not hasattr(os, "posix_spawn"):
        return
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    environment = {name: value for name, value in os.environ.items() if name != COMPLETE_VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    words = [sys.executable, "-P", "-m", "pystream.cli.completion.refresh", noun, *connection]
    with contextlib.suppress(OSError):
        os.posix_spawn(sys.executable, words, environment, file_actions=nothing, setpgroup=0)
