"""Checks of brokers: where they say they are, what they can do, their settings, clocks and disks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from pystream.client.operations.cluster import Finding
from pystream.client.operations.diagnosis.facts import Facts, named
from pystream.client.operations.diagnosis.findings import error, info, warning

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
NOWHERE: Final = ("0.0.0.0", "::", "")
UNBOUNDED: Final = -1
VOLATILE: Final = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/")


def listeners(facts: Facts) -> Iterator[Finding]:
    """Clients use the addresses that brokers advertise, whatever address they began with."""
    begun_locally = all(server.rpartition(":")[0].strip("[]") in LOCAL_HOSTS for server in facts.bootstrap)
    places = Counter((node.host, node.port) for node in facts.nodes)
    for node in facts.nodes:
        subject = f"broker {node.node_id}"
        address = f"{node.host}:{node.port}"
        problem = facts.reached.get(node.node_id)
        if problem is not None:
            yield error(
                "listeners",
                subject,
                f"advertises {address}, which cannot be reached from here: {' '.join(str(problem).split())}",
                "clients learn this address from the first broker they ask, and use no other: they will hang",
                "set advertised.listeners to an address that clients can reach, or open the way to it",
            )
        elif node.host in NOWHERE:
            yield error(
                "listeners",
                subject,
                f"advertises {address}, which is no address of a machine",
                "each client will look for the broker on its own machine",
                "set advertised.listeners to the name that clients know the machine by",
            )
        elif node.host in LOCAL_HOSTS and not begun_locally:
            yield warning(
                "listeners",
                subject,
                f"advertises {address} to clients that came from elsewhere",
                "clients on other machines will look for the broker on their own",
                "set advertised.listeners to the name that clients know the machine by",
            )
        if places[node.host, node.port] > 1:
            yield error(
                "listeners",
                subject,
                f"advertises {address}, as another broker does",
                "requests for one of them reach the other",
                "give each broker its own advertised.listeners",
            )
    if facts.nodes and facts.controller_id < 0:
        yield error(
            "controller",
            "cluster",
            "there is no controller",
            "no topic can be created or changed, and no leader elected",
            "look at the controllers' logs: a quorum of them must run and reach one another",
        )


def versions(facts: Facts) -> Iterator[Finding]:
    """Brokers of a cluster should be able to do the same, and the cluster use what they can."""
    for name in sorted({each for told in facts.features.values() for each in (*told.supported, *told.finalized)}):
        highest = {
            node: told.supported[name].maximum for node, told in facts.features.items() if name in told.supported
        }
        levels = [told.finalized[name].maximum for told in facts.features.values() if name in told.finalized]
        level = max(levels, default=0)
        lacking = sorted(set(facts.features) - set(highest))
        if len(set(highest.values())) > 1 or (lacking and highest):
            yield warning(
                "versions",
                name,
                f"brokers differ in what they support: {named(f'{n}: {v}' for n, v in sorted(highest.items()))}"
                + (f"; {named(lacking)} not at all" if lacking else ""),
                "an upgrade is under way, or was left half done: the cluster can use only what all can",
                "bring all brokers to the same version",
            )
        elif highest and level > min(highest.values()):
            yield error(
                "versions",
                name,
                f"the cluster is at level {level}, brokers support up to {min(highest.values())}",
                "a broker that does not know the level must not take part",
                "upgrade the brokers, or bring the feature down: kafka-features downgrade",
            )
        elif highest and 0 < level < min(highest.values()):
            yield info(
                "versions",
                name,
                f"the cluster is at level {level}, all brokers support {min(highest.values())}",
                "what came with the newer levels is not in use",
                f"when the upgrade is to stay: kafka-features upgrade --feature {name}={min(highest.values())}",
            )


def clock(facts: Facts) -> Iterator[Finding]:
    """Retention, timestamps and time-outs go by clocks."""
    skew = facts.clock_skew_ms
    if skew is not None and abs(skew) > facts.limits.clock_skew_ms:
        yield warning(
            "clock",
            f"broker {facts.controller_id}",
            f"its clock is {abs(skew)} ms {'ahead of' if skew > 0 else 'behind'} this machine's",
            "records get timestamps out of bounds, and retention, offsets by time and tokens go wrong",
            "let both machines follow a time server (chrony, systemd-timesyncd)",
        )


def settings(facts: Facts) -> Iterator[Finding]:
    """Settings of brokers that cost records or sleep."""
    for number, given in facts.broker_settings.items():
        subject = f"broker {number}"
        if given.get("unclean.leader.election.enable") == "true":
            yield warning(
                "settings",
                subject,
                "unclean.leader.election.enable=true",
                "a replica that lags may become leader: acknowledged records are lost then",
                "pystream configs alter brokers --set unclean.leader.election.enable=false",
            )
        for name in ("offsets.topic.replication.factor", "transaction.state.log.replication.factor"):
            factor = _number(given.get(name))
            if factor is not None and factor < min(3, len(facts.nodes)):
                yield warning(
                    "settings",
                    subject,
                    f"{name}={factor} in a cluster of {len(facts.nodes)} brokers",
                    "the loss of one broker stops groups or transactions",
                    f"set {name}={min(3, len(facts.nodes))} before the topic is made, or reassign its replicas",
                )
        message, fetch = _number(given.get("message.max.bytes")), _number(given.get("replica.fetch.max.bytes"))
        if message is not None and fetch is not None and message > fetch and len(facts.nodes) > 1:
            yield info(
                "settings",
                subject,
                f"message.max.bytes={message} is above replica.fetch.max.bytes={fetch}",
                "followers fetch larger batches one by one",
                f"set replica.fetch.max.bytes to {message} or more",
            )
    yield from _differing(facts)


def _differing(facts: Facts) -> Iterator[Finding]:
    """What should be the same on every broker."""
    for name in ("log.retention.ms", "min.insync.replicas", "default.replication.factor", "num.partitions"):
        values = {number: given[name] for number, given in facts.broker_settings.items() if name in given}
        if len(set(values.values())) > 1:
            yield warning(
                "settings",
                name,
                f"brokers differ: {named(f'{number}: {value}' for number, value in sorted(values.items()))}",
                "what a topic gets depends on the broker that is asked",
                f"pystream configs alter brokers --set {name}=…, and take it out of the brokers' files",
            )


def disks(facts: Facts) -> Iterator[Finding]:
    """A full disk stops a broker; what topics may keep should fit."""
    for number, dirs in facts.log_dirs.items():
        for path, told in dirs.items():
            subject = f"broker {number} {path}"
            if told.error is not None:
                yield error(
                    "disks",
                    subject,
                    f"is offline: {told.error}",
                    "its replicas are gone from the cluster until it comes back",
                    "look at the disk and at the broker's log, then start the broker anew",
                )
            elif told.total_bytes > 0:
                used = 100 * (told.total_bytes - told.usable_bytes) // told.total_bytes
                if used >= facts.limits.disk_percent:
                    yield warning(
                        "disks",
                        subject,
                        f"the disk is {used} % full, {told.usable_bytes >> 20} MiB are left",
                        "a full disk takes the directory offline",
                        "shorten retention, trim topics (pystream topics trim), or give it more room",
                    )
            if any(path.startswith(prefix) or f"{path}/" == prefix for prefix in VOLATILE):
                yield warning(
                    "disks",
                    subject,
                    "lies where systems delete files by themselves",
                    "records are gone after a restart of the machine, or before",
                    "set log.dirs to a place that lasts",
                )
    yield from _retention(facts)


def _retention(facts: Facts) -> Iterator[Finding]:
    """What bounded topics may come to, against the disks; and topics without a bound."""
    bounded = 0
    endless = []
    for topic, given in facts.topic_settings.items():
        size, age = _number(given.get("retention.bytes")), _number(given.get("retention.ms"))
        if "delete" not in given.get("cleanup.policy", "delete") or topic.startswith("__"):
            continue
        if size is not None and size > 0:
            bounded += size * sum(len(each.replicas) for each in facts.partitions if each.topic == topic)
        elif age == UNBOUNDED:
            endless.append(topic)
    total = sum(
        max(told.total_bytes for told in dirs.values()) for dirs in facts.log_dirs.values() if dirs
    )  # directories of a broker often share a disk
    if 0 < total < bounded:
        yield warning(
            "disks",
            "retention",
            f"retention.bytes lets topics grow to {bounded >> 20} MiB on disks of {total >> 20} MiB",
            "disks fill before retention deletes anything",
            "lower retention.bytes of the largest topics",
        )
    if endless:
        yield info(
            "disks",
            named(endless),
            "records are kept for ever (retention.ms=-1 without retention.bytes)",
            "the disk fills one day",
            "set retention.ms or retention.bytes, or cleanup.policy=compact",
        )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdecimal() else None
