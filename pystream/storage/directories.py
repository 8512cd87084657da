"""A log directory: its lock, its identity, how its last user left it, and which partitions lie in it.

meta.properties is Kafka's (version 1), with one key of ours, pystream.format.version.  The last stop counts as

    clean           run-state says clean and Kafka's mark .kafka_cleanshutdown is there: both of us write it, both
                    take it away at start
    process crash   run-state says not clean, and the machine has not been booted since: the page cache survived
    lossy           anything else, also a directory that Kafka left without its mark

`is_foreign` is a directory that somebody else wrote last: its producer snapshots prove nothing about what was fsynced.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from pystream._native.io_table import sync_directory
from pystream.common.errors import (
    DataDirectoryError,
    DataDirectoryLocked,
    InvalidTopic,
    KafkaStorageError,
    UnknownFormatVersion,
)
from pystream.common.logging import get_logger
from pystream.common.model import CLUSTER_METADATA_TOPIC, TopicPartition, random_uuid, uuid_text, validate_topic_name
from pystream.storage.checkpoints import (
    META_PROPERTIES,
    RUN_STATE,
    RunState,
    read_properties,
    write_properties,
    write_text,
)

logger = get_logger(__name__)

FORMAT_VERSION = "1"
META_VERSION = "1"
CLEAN_MARK = ".kafka_cleanshutdown"
DELETED_SUFFIX = "-delete"
STRAY_SUFFIX = "-stray"  # Kafka's name too: kept for an operator, opened by nobody
BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")
VOLATILE_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"})
_PARTITION_DIRECTORY = re.compile(r"(.+)-(0|[1-9][0-9]{0,9})")
_DELETED_DIRECTORY = re.compile(r".+-[0-9]+\.[0-9a-zA-Z_-]+-delete")


def partition_of(name: str) -> TopicPartition | None:
    """The partition whose directory has this name; None for any other directory, and for Kafka's own metadata log."""
    found = _PARTITION_DIRECTORY.fullmatch(name)
    if found is None or found[1] == CLUSTER_METADATA_TOPIC:
        return None
    try:
        validate_topic_name(found[1])
    except InvalidTopic:
        return None
    return TopicPartition(found[1], int(found[2]))


def boot_id() -> str:
    """Which boot of the machine this is; a fresh id where the kernel does not tell, so that every stop counts as
    lossy.
    """
    try:
        return BOOT_ID_FILE.read_text().strip()
    except OSError:
        return uuid_text(random_uuid())


def file_system_of(path: Path) -> str:
    """Type of the file system that `path` lies on, as the kernel calls it; empty when it cannot be told."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    resolved = str(path.resolve())
    best, kind = "", ""
    for mount in mounts:
        point = mount[1].replace("\\040", " ")
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, mount[2]
    return kind


def renamed(directory: Path, suffix: str) -> Path:
    """Give the directory of a log that is not used any more a name that is no partition's. Raises KafkaStorageError."""
    target = directory.with_name(f"{directory.name}.{random_uuid().hex()}{suffix}")
    try:
        directory.rename(target)
    except OSError as error:
        raise KafkaStorageError(f"{directory}: {error}") from error
    return target


class LogDirectory:
    """One entry of log.dirs, locked for this process from open() to close()."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_clean = False
        self.is_lossy = False
        self.is_foreign = False
        self.is_offline = False
        self.is_volatile = False
        self.meta: dict[str, str] = {}
        self._runs = 0
        self._boot_id = boot_id()
        self._lock = -1

    @classmethod
    def open(cls, path: Path, *, volatile_allowed: bool = False) -> LogDirectory:
        """Make the directory when it is missing, lock it, read how it was left, and mark it as in use.

        One that lies in memory is worth a warning unless that was allowed. Raises DataDirectoryLocked,
        UnknownFormatVersion, DataDirectoryError or OSError.
        """
        directory = cls(path)
        path.mkdir(parents=True, exist_ok=True)
        directory._take_lock()
        try:
            directory._read_meta()
            directory._read_state()
            directory._tell_file_system(volatile_allowed)
            directory._begin_run()
        except BaseException:
            directory._drop_lock()
            raise
        return directory

    def partitions(self) -> list[TopicPartition]:
        """What lies here, internal topics first."""
        found = [partition_of(entry.name) for entry in os.scandir(self.path) if entry.is_dir()]
        return sorted(
            (name for name in found if name is not None), key=lambda name: (not name.topic.startswith("__"), name)
        )

    def deleted(self) -> list[Path]:
        """Directories of deleted partitions whose files are still here."""
        return [Path(entry.path) for entry in os.scandir(self.path) if _DELETED_DIRECTORY.fullmatch(entry.name)]

    def set_cluster_id(self, cluster_id: str, node_id: int) -> None:
        """Note whose directory this is. Raises DataDirectoryError when it is another cluster's or another broker's."""
        for name, value in (("cluster.id", cluster_id), ("node.id", str(node_id))):
            known = self.meta.get(name, self.meta.get("broker.id") if name == "node.id" else None)
            if known is not None and known != value:
                raise DataDirectoryError(f"{self.path}: {name} is {known} here, expected {value}")
        wanted = {
            "version": META_VERSION,
            "cluster.id": cluster_id,
            "node.id": str(node_id),
            "directory.id": uuid_text(random_uuid()),
            "pystream.format.version": FORMAT_VERSION,
        }
        merged = {**wanted, **self.meta}
        if merged != self.meta:
            write_properties(self.path / META_PROPERTIES, merged)
            self.meta = merged

    def close(self, *, clean: bool) -> None:
        """Give the lock back; `clean` tells the next start that nothing needs recovery. Raises OSError."""
        try:
            if clean and not self.is_offline:
                write_text(self.path / CLEAN_MARK, '{"version":0,"brokerEpoch":-1}')
                RunState(self._boot_id, self._runs, True).write(self.path / RUN_STATE)
        finally:
            self._drop_lock()

    def _take_lock(self) -> None:
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._drop_lock()
            raise DataDirectoryLocked(f"{self.path} is in use by another process") from error

    def _drop_lock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _read_meta(self) -> None:
        self.meta = read_properties(self.path / META_PROPERTIES)
        found = self.meta.get("pystream.format.version", FORMAT_VERSION)
        if found != FORMAT_VERSION:
            raise UnknownFormatVersion(f"{self.path}: format version is {found}, expected {FORMAT_VERSION}")
        if self.meta.get("version", META_VERSION) not in ("0", META_VERSION):
            raise UnknownFormatVersion(
                f"{self.path}: meta.properties is of version {self.meta['version']}, expected {META_VERSION}"
            )

    def _read_state(self) -> None:
        state = RunState.read(self.path / RUN_STATE)
        marked = (self.path / CLEAN_MARK).exists()
        if state is None:
            self.is_foreign = True
            self.is_clean = marked
        else:
            self._runs = state.runs
            self.is_clean = state.clean and marked
            # Somebody else took the mark away since: what our run-state says is about an older time.
            self.is_foreign = state.clean and not marked
        self.is_lossy = not self.is_clean and (state is None or self.is_foreign or state.boot_id != self._boot_id)

    def _tell_file_system(self, volatile_allowed: bool) -> None:
        kind = file_system_of(self.path)
        self.is_volatile = kind in VOLATILE_FILE_SYSTEMS
        if self.is_volatile or kind in NETWORK_FILE_SYSTEMS:
            tell = logger.info if self.is_volatile and volatile_allowed else logger.warning
            tell("log directory is on a file system that fsync does not make durable", path=str(self.path), kind=kind)

    def _begin_run(self) -> None:
        """The clean mark goes before anything is written, so that a crash from now on is seen as one."""
        self._runs += 1
        RunState(self._boot_id, self._runs, False).write(self.path / RUN_STATE)
        (self.path / CLEAN_MARK).unlink(missing_ok=True)
        sync_directory(str(self.path))
