"""What a command says about an error that is the machine's or the user's, and the code it exits with.

    0 done    1 it did not work    2 wrong usage    3 not found    4 refused    5 no answer in time, or unreachable
    130 Ctrl-C    143 SIGTERM    141 whoever read standard output is gone

An error is one sentence without error numbers, and says what to do where that is known.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Final

from pystream.common import errors
from pystream.common.errors import PystreamError

OPERATION: Final = re.compile(r"^[a-z]+(?:_[a-z]+)+: ")  # "describe_acls: "

# What to do about an error: of the narrowest class that is here.
REMEDIES: Final[dict[type[PystreamError], str]] = {
    errors.UnknownTopicOrPartition: "`pystream topics list` shows what there is",
    errors.UnknownTopicId: "`pystream topics list` shows what there is",
    errors.GroupIdNotFound: "`pystream groups list` shows what there is",
    errors.TransactionalIdNotFound: "`pystream transactions list` shows what there is",
    errors.TopicAlreadyExists: "choose another name, or say --if-not-exists",
    errors.NonEmptyGroup: "stop its members first: `pystream groups describe` shows them",
    errors.UnknownMemberId: "stop the members of the group first: `pystream groups describe` shows them",
    errors.SecurityDisabled: "start the broker with an authorizer (authorizer.class.name) to have ACLs",
    errors.NoBrokersAvailable: "is it up there? --bootstrap-server HOST:PORT says where to look",
    errors.NetworkFailure: "is it up there? --bootstrap-server HOST:PORT says where to look",
    errors.DeadlineExceeded: "--timeout SECONDS waits longer, --bootstrap-server HOST:PORT looks elsewhere",
}


def sentence(error: Exception) -> str:
    """ "/data: Permission denied" for an OSError, the message itself for any other, without the client's own names."""
    if not isinstance(error, OSError) or not error.strerror:
        return OPERATION.sub("", str(error), count=1)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def advice(error: Exception, noun: str = "groups") -> str:
    """The sentence, and what to do; `noun` says of what kind of groups it is."""
    said = " ".join(sentence(error).split()).rstrip(".")
    for kind in type(error).__mro__:
        if kind in REMEDIES:
            remedy = REMEDIES[kind]
            return f"{said}; {remedy.replace('pystream groups', f'pystream {noun}') if 'groups' in noun else remedy}"
    return said


def report(command: str, error: Exception, *, more: str = "") -> int:
    """Say what went wrong on standard error, in one line; the exit code. Not of a closed pipe, see `ending`."""
    if isinstance(error, BrokenPipeError):
        raise error
    print(f"{command}: {advice(error)}{more}", file=sys.stderr)
    return exit_code(error)


def in_its_own_words() -> None:
    """Have log lines of the client go nowhere unless logging is configured: a command says itself what is wrong."""
    import logging

    library = logging.getLogger("pystream")
    if not library.handlers:
        library.addHandler(logging.NullHandler())


def stand_in() -> None:
    """A stream that the caller has closed (`>&-`) takes nothing and gives nothing.

    Otherwise the next file or socket would have its number, and what is printed would go there. Text that the
    terminal's encoding does not have is escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))
        elif name == "stdout" and getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


UNFIT: Final = (UnicodeEncodeError, OverflowError)  # words of the command line that Kafka's protocol cannot carry


def unfit(error: UnicodeEncodeError | OverflowError) -> str:
    """What is wrong with the word."""
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object!r} is no UTF-8 text, as all names in a cluster are"
    return f"a number is larger than Kafka's protocol has room for: {error}"


def exit_code(error: Exception) -> int:
    """By the kind of the error."""
    from pystream.client.operations.failures import FailureKind, kind_of

    codes = {
        FailureKind.FAILED: 1,
        FailureKind.INVALID: 2,
        FailureKind.NOT_FOUND: 3,
        FailureKind.REFUSED: 4,
        FailureKind.UNREACHABLE: 5,
    }
    return codes[kind_of(error)]
