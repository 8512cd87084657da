"""Where a program enters: a channel to an admin server, and the services on it. gRPC is imported when called.

from pystream.client.grpc import connect, connect_aio

with connect("127.0.0.1:9095") as admin:
    for topic in admin.topics.list_topics(pattern="orders-.*").results:
        print(topic.name, topic.partitions)

async with connect_aio("127.0.0.1:9095") as admin:
    async for answer in admin.records.tail_records(topic="orders", text=True):
        print([record.value.text for record in answer.records])
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from pystream.common.errors import ClientError, InvalidConfig

if TYPE_CHECKING:
    from pystream.client.grpc.faces import Admin, AioAdmin

PACKAGES: Final = ("grpc", "google.rpc", "google.protobuf")
MISSING: Final = "gRPC is not installed: pip install 'pystream[grpc]'"
ANSWER_BYTES: Final = 64 << 20  # the longest answer that is taken
HIGHEST_PORT: Final = 65_535


def is_installed(packages: tuple[str, ...] = PACKAGES) -> bool:
    """Whether the extra is there, without importing it."""
    try:
        return all(find_spec(name) is not None for name in packages)
    except ModuleNotFoundError:  # of a parent package
        return False


def check_installed(packages: tuple[str, ...] = PACKAGES) -> None:
    """Raises ClientError, which says what to install."""
    if not is_installed(packages):
        raise ClientError(MISSING)


def checked(target: str) -> str:
    """Raises InvalidConfig for what is no host:port: gRPC takes a port of six digits for another one."""
    port = target.rpartition(":")[2] if isinstance(target, str) else ""
    if not port or "://" in target or (port.isdecimal() and int(port) > HIGHEST_PORT):
        raise InvalidConfig(f"the admin server's address is host:port, such as 127.0.0.1:9095, not {target!r}")
    return target


def connect(target: str, *, max_answer_bytes: int = ANSWER_BYTES) -> Admin:
    """The services of the admin server at `host:port`; connects when first called.

    Raises ClientError without gRPC, InvalidConfig for what is no address.
    """
    check_installed()
    from pystream.client.grpc.faces import Admin

    return Admin(checked(target), max_answer_bytes=max_answer_bytes)


def connect_aio(target: str, *, max_answer_bytes: int = ANSWER_BYTES) -> AioAdmin:
    """The same for asyncio, on the caller's loop. Raises ClientError where none runs."""
    check_installed()
    from pystream.client.grpc.faces import AioAdmin

    return AioAdmin(checked(target), max_answer_bytes=max_answer_bytes)
