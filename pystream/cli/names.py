"""Names of topics, groups and the like, kept for the shell: it asks at every press of a key, and will not wait.

    $XDG_CACHE_HOME/pystream/names/CLUSTER-NOUN         names, one a line; the file's time says when they were listed
    $XDG_CACHE_HOME/pystream/names/CLUSTER-NOUN.asked   when the cluster was last asked, by `completion.ask`

Every command that lists all of a noun leaves its names here, one that creates or deletes amends them; but only once the
shell has asked for any, so that nothing appears in the home of whoever does not complete. CLUSTER is a hash of what the
command line says about the cluster: no address and no password lies here. Only the user reads the files.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence

TYPE_CHECKING = False  # see `commands`
if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem

NOUNS = ("topics", "groups", "share-groups", "streams-groups", "transactions")  # whose names are kept
USABLE_SECONDS = 600.0
FORGOTTEN_SECONDS = 86_400.0
MOST_NAMES = 50_000  # of one noun: beyond, nobody completes
BOOTSTRAP_VARIABLE = "PYSTREAM_BOOTSTRAP_SERVERS"


class LiveNames:
    """Marks a parameter of a click command as the name of a topic, a group or the like.

    @click.argument("topic", shell_complete=LiveNames("topics"))

    The generated table reads the noun from it; click itself calls it, for commands that the table does not have.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun

    def __call__(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        given = ctx.params
        settings = given.get("client_settings") or ()
        path = path_of(self.noun, connection_of(given.get("bootstrap_server"), given.get("command_config"), settings))
        usable = kept(path) if age_of(path) < USABLE_SECONDS else []
        return [CompletionItem(name) for name in usable if name.startswith(incomplete)]


def remember(noun: str, connection: Sequence[str], names: Iterable[str]) -> None:
    """They were listed just now."""
    write(path_of(noun, connection), names)


def amend(noun: str, connection: Sequence[str], *, added: Iterable[str] = (), gone: Iterable[str] = ()) -> None:
    """Some came, some went; nothing where nothing is kept."""
    path = path_of(noun, connection)
    age = age_of(path)
    if age >= USABLE_SECONDS:
        return
    without = set(gone)
    write(path, [name for name in dict.fromkeys([*kept(path), *added]) if name not in without])
    listed = time.time() - age
    with contextlib.suppress(OSError):
        os.utime(path, (listed, listed))


def connection_of(bootstrap: str | None, command_config: object, settings: Sequence[str]) -> list[str]:
    """The words of a command line that say which cluster is meant."""
    found = [] if bootstrap is None else ["-b", bootstrap]
    found += [] if command_config is None else ["--command-config", str(command_config)]
    return found + [word for setting in settings for word in ("-X", setting)]


# --- files ------------------------------------------------------------------------------------------------------------


def _folder() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "pystream", "names")


def make_folder() -> None:
    """The shell asks: from now on names are kept."""
    with contextlib.suppress(OSError):
        os.makedirs(_folder(), mode=0o700, exist_ok=True)


def path_of(noun: str, connection: Sequence[str]) -> str:
    """Where the names of a noun lie, of the cluster that the words of a command line mean."""
    from hashlib import sha256

    words = list(connection)
    if "-b" not in words:
        words += ["-b", os.environ.get(BOOTSTRAP_VARIABLE, "")]
    if "--command-config" in words:
        place = words.index("--command-config") + 1
        words[place] = os.path.abspath(words[place])
    pairs = sorted(zip(words[::2], words[1::2], strict=False))
    key = sha256(repr(pairs).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return os.path.join(_folder(), f"{key}-{noun}")


def age_of(path: str) -> float:
    """Seconds since it was written; endless where it is not there, or of a time to come."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        return float("inf")
    return age if age >= -1 else float("inf")


def kept(path: str) -> list[str]:
    """The names in a file; none where there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().splitlines()
    except OSError:
        return []


def write(path: str, names: Iterable[str]) -> None:
    """All or nothing; a cache that cannot be written is none."""
    kept = [name for name in names if name and name.isprintable()][:MOST_NAMES]
    own = f"{path}.{os.getpid()}"
    with contextlib.suppress(OSError):
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{name}\n" for name in kept)
        os.replace(own, path)


def forget_old() -> None:
    """Delete what was not written for a day."""
    folder = _folder()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if age_of(os.path.join(folder, name)) > FORGOTTEN_SECONDS:
                os.unlink(os.path.join(folder, name))
