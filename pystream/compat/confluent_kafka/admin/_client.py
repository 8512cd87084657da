"""AdminClient: each operation gives futures at once, one for each item; they end in the SDK's thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Self, TypeVar

from pystream.client.admin import partitions as sdk_partitions
from pystream.client.admin import topics as sdk_topics
from pystream.client.admin import users as sdk_users
from pystream.client.admin.client import AdminClient as SdkAdminClient
from pystream.client.admin.group_offsets import OffsetAndMetadata
from pystream.client.config import AdminConfig
from pystream.client.dropped import watch
from pystream.client.sync import runner
from pystream.common.config import Password
from pystream.common.errors import DeadlineExceeded, NetworkFailure, NoBrokersAvailable, PystreamError
from pystream.compat.confluent_kafka._codes import Codes
from pystream.compat.confluent_kafka._errors import KafkaError, as_exception, local
from pystream.compat.confluent_kafka._metadata import ClusterMetadata, GroupMetadata, list_topics
from pystream.compat.confluent_kafka._model import (
    ConsumerGroupTopicPartitions,
    ElectionType,
    IsolationLevel,
    TopicCollection,
)
from pystream.compat.confluent_kafka._settings import loaded, parse
from pystream.compat.confluent_kafka._telling.background import Subject, start
from pystream.compat.confluent_kafka._telling.events import Events
from pystream.compat.confluent_kafka._values import TopicPartition, refuse_credentials, seconds
from pystream.compat.confluent_kafka.admin import _checks as checks
from pystream.compat.confluent_kafka.admin import _told as told
from pystream.compat.confluent_kafka.admin._model import (
    AclBinding,
    AclBindingFilter,
    ConfigEntry,
    ConfigResource,
    ConsumerGroupDescription,
    DeletedRecords,
    DescribeClusterResult,
    ListConsumerGroupsResult,
    ListOffsetsResultInfo,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    TopicDescription,
    UserScramCredentialAlteration,
    UserScramCredentialsDescription,
    UserScramCredentialUpsertion,
)

CLOSED: Final = "Handle has been closed: AdminClient has been closed"

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class AdminClient:
    """Administers a cluster. `request_timeout` is in seconds for every operation."""

    _closed = True  # before __init__, which a subclass may forget

    def __init__(self, conf: Mapping[str, Any] | None = None, /, **keywords: Any) -> None:
        settings = parse(AdminConfig, conf, keywords, set())
        self._events = Events()
        self._open_sdk: SdkAdminClient = loaded(lambda: SdkAdminClient(settings.sdk))
        self._runner = runner.acquire()
        self._closed = False
        self._open_sdk.watched.detach()
        loop, release = self._runner.loop, self._runner.release_here
        self._watched = watch(self, self._open_sdk.engine, loop=loop, afterwards=release)
        start(Subject("producer", self._open_sdk.cluster, self._runner, self._events), settings)

    @property
    def _sdk(self) -> SdkAdminClient:
        """Raises RuntimeError when closed."""
        if self._closed:
            raise RuntimeError(CLOSED)
        return self._open_sdk

    # --- topics and partitions ----------------------------------------------------------------------------------------

    def create_topics(
        self,
        new_topics: list[NewTopic],
        *,
        validate_only: bool = False,
        request_timeout: float | None = None,
        operation_timeout: float | None = None,
    ) -> dict[str, Future[None]]:
        """A future for each topic; its result is None."""
        checks.new_topics(new_topics)
        checks.flag(validate_only, "validate_only")
        _ms(operation_timeout, "operation_timeout")
        wanted = [
            sdk_topics.NewTopic(
                topic.topic,
                topic.num_partitions,
                topic.replication_factor,
                {name: str(value) for name, value in (topic.config or {}).items()},
                dict(enumerate(topic.replica_assignment or [])),
            )
            for topic in new_topics
        ]
        work = self._sdk.create_topics(wanted, validate_only=validate_only, timeout_ms=_ms(request_timeout))
        return self._each([topic.topic for topic in new_topics], work, told.nothing)

    def delete_topics(
        self, topics: list[str], *, request_timeout: float | None = None, operation_timeout: float | None = None
    ) -> dict[str, Future[None]]:
        """A future for each topic; its result is None."""
        checks.instances(topics, str)
        _ms(operation_timeout, "operation_timeout")
        return self._each(topics, self._sdk.delete_topics(topics, timeout_ms=_ms(request_timeout)), told.nothing)

    def create_partitions(
        self,
        new_partitions: list[NewPartitions],
        *,
        validate_only: bool = False,
        request_timeout: float | None = None,
        operation_timeout: float | None = None,
    ) -> dict[str, Future[None]]:
        """A future for each topic; its result is None."""
        checks.instances(new_partitions, NewPartitions)
        checks.flag(validate_only, "validate_only")
        _ms(operation_timeout, "operation_timeout")
        wanted = {
            each.topic: sdk_topics.NewPartitions(each.new_total_count, each.replica_assignment)
            for each in new_partitions
        }
        work = self._sdk.create_partitions(wanted, validate_only=validate_only, timeout_ms=_ms(request_timeout))
        return self._each(wanted, work, told.nothing)

    def describe_topics(
        self,
        topics: TopicCollection,
        *,
        include_authorized_operations: bool = False,
        request_timeout: float | None = None,
    ) -> dict[str, Future[TopicDescription]]:
        """A future for each topic."""
        names = checks.topic_names(topics)
        checks.flag(include_authorized_operations, "include_authorized_operations")
        timeout_ms = _ms(request_timeout)

        async def work() -> Mapping[str, Any]:
            found = await self._sdk.describe_topics(
                names,
                include_authorized_operations=include_authorized_operations,
                timeout_ms=timeout_ms,
            )
            reached = any(not isinstance(each, PystreamError) for each in found.values())
            nodes = (await self._sdk.cluster.refresh()).nodes if reached else {}
            return {
                name: each if isinstance(each, PystreamError) else told.topic(each, nodes)
                for name, each in found.items()
            }

        return self._each(names, work(), told.itself)

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> ClusterMetadata:
        """Brokers and topics; waits for the answer."""
        return self._wait(list_topics(self._sdk.cluster, topic, seconds(timeout)))

    def cluster_id(self, timeout: float = -1) -> str | None:
        return self.list_topics("", timeout).cluster_id

    def delete_records(
        self,
        topic_partition_offsets: list[TopicPartition],
        *,
        request_timeout: float | None = None,
        operation_timeout: float | None = None,
    ) -> dict[TopicPartition, Future[DeletedRecords]]:
        """Delete what is before each partition's `offset`; OFFSET_END means all."""
        checks.partitions(topic_partition_offsets)
        before = {each.place: each.offset for each in topic_partition_offsets}
        work = self._sdk.delete_records(before, timeout_ms=_ms(request_timeout))
        return self._each(topic_partition_offsets, work, lambda low: DeletedRecords(low), key=lambda part: part.place)

    def list_offsets(
        self,
        topic_partition_offsets: dict[TopicPartition, OffsetSpec],
        *,
        isolation_level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
        request_timeout: float | None = None,
    ) -> dict[TopicPartition, Future[ListOffsetsResultInfo]]:
        """An offset of each partition."""
        checks.offset_specs(topic_partition_offsets, isolation_level)
        work = self._sdk.list_offsets(
            {part.place: spec._value for part, spec in topic_partition_offsets.items()},
            isolation_level=sdk_partitions.IsolationLevel(isolation_level.value),
            timeout_ms=_ms(request_timeout),
        )
        return self._each(
            topic_partition_offsets,
            work,
            lambda found: ListOffsetsResultInfo(found.offset, found.timestamp, found.leader_epoch),
            key=lambda part: part.place,
        )

    def elect_leaders(
        self,
        election_type: ElectionType,
        partitions: list[TopicPartition] | None = None,
        *,
        request_timeout: float | None = None,
        operation_timeout: float | None = None,
    ) -> Future[dict[TopicPartition, KafkaError | None]]:
        """One future; in its result what went wrong with each partition."""
        checks.election(election_type, partitions)
        timeout_ms = _ms(request_timeout)

        async def work() -> dict[TopicPartition, KafkaError | None]:
            found = await self._sdk.elect_leaders(
                sdk_partitions.ElectionType(election_type.value),
                None if partitions is None else [part.place for part in partitions],
                timeout_ms=timeout_ms,
            )
            return {TopicPartition.at(place): told.election(each) for place, each in found.items()}

        return self._one(work())

    # --- settings -----------------------------------------------------------------------------------------------------

    def describe_configs(
        self, resources: list[ConfigResource], *, request_timeout: float | None = None, broker: int = -1
    ) -> dict[ConfigResource, Future[dict[str, ConfigEntry]]]:
        """A future for each resource: its settings by name."""
        checks.instances(resources, ConfigResource)
        work = self._sdk.describe_configs(
            [told.resource_of(each) for each in resources], include_synonyms=True, timeout_ms=_ms(request_timeout)
        )
        return self._each(resources, work, told.config_entries, key=told.resource_of)

    def alter_configs(
        self,
        resources: list[ConfigResource],
        *,
        validate_only: bool = False,
        request_timeout: float | None = None,
        broker: int = -1,
    ) -> dict[ConfigResource, Future[None]]:
        """Replace all settings of each resource by its set_config()s."""
        checks.instances(resources, ConfigResource)
        work = self._sdk.alter_configs(
            {told.resource_of(each): {n: str(v) for n, v in each.set_config_dict.items()} for each in resources},
            validate_only=validate_only,
            timeout_ms=_ms(request_timeout),
        )
        return self._each(resources, work, told.nothing, key=told.resource_of)

    def incremental_alter_configs(
        self,
        resources: list[ConfigResource],
        *,
        validate_only: bool = False,
        request_timeout: float | None = None,
        broker: int = -1,
    ) -> dict[ConfigResource, Future[None]]:
        """Change the settings in each resource's `incremental_configs`."""
        checks.instances(resources, ConfigResource)
        changes = {told.resource_of(each): checks.changes(each) for each in resources}
        work = self._sdk.incremental_alter_configs(
            changes, validate_only=validate_only, timeout_ms=_ms(request_timeout)
        )
        return self._each(resources, work, told.nothing, key=told.resource_of)

    # --- access control -----------------------------------------------------------------------------------------------

    def create_acls(
        self, acls: list[AclBinding], *, request_timeout: float | None = None
    ) -> dict[AclBinding, Future[None]]:
        """A future for each entry; its result is None."""
        checks.distinct(acls, AclBinding, "acls")
        work = self._sdk.create_acls([told.acl_of(each) for each in acls], timeout_ms=_ms(request_timeout))
        return self._each(acls, work, told.nothing, key=told.acl_of)

    def describe_acls(
        self, acl_binding_filter: AclBindingFilter, *, request_timeout: float | None = None
    ) -> Future[list[AclBinding]]:
        """One future: the entries that match."""
        if not isinstance(acl_binding_filter, AclBindingFilter):
            raise TypeError(f"Expected AclBindingFilter, found {type(acl_binding_filter).__name__}")
        timeout_ms = _ms(request_timeout)

        async def work() -> list[AclBinding]:
            found = await self._sdk.describe_acls(told.acl_filter_of(acl_binding_filter), timeout_ms=timeout_ms)
            return [told.acl(each) for each in found]

        return self._one(work())

    def delete_acls(
        self, acl_binding_filters: list[AclBindingFilter], *, request_timeout: float | None = None
    ) -> dict[AclBindingFilter, Future[list[AclBinding]]]:
        """A future for each filter: the entries that it deleted."""
        checks.distinct(acl_binding_filters, AclBindingFilter, "acl_binding_filters")
        wanted = [told.acl_filter_of(each) for each in acl_binding_filters]
        work = self._sdk.delete_acls(wanted, timeout_ms=_ms(request_timeout))
        return self._each(acl_binding_filters, work, told.deleted_acls, key=told.acl_filter_of)

    # --- groups -------------------------------------------------------------------------------------------------------

    def list_groups(self, group: str | None = None, timeout: float = 10) -> list[GroupMetadata]:
        """Groups with their state and members; waits for the answer. Members' metadata is not told."""
        return self._wait(told.list_groups(self._sdk, group, _ms(seconds(timeout))))

    def list_consumer_groups(
        self,
        *,
        states: Iterable[Any] | None = None,
        types: Iterable[Any] | None = None,
        request_timeout: float | None = None,
    ) -> Future[ListConsumerGroupsResult]:
        """One future: the groups in these states and of these types."""
        of_states, of_types = checks.group_filters(states, types)
        return self._one(told.list_consumer_groups(self._sdk, of_states, of_types, _ms(request_timeout)))

    def describe_consumer_groups(
        self, group_ids: list[str], *, include_authorized_operations: bool = False, request_timeout: float | None = None
    ) -> dict[str, Future[ConsumerGroupDescription]]:
        """A future for each group."""
        checks.group_ids(group_ids)
        checks.flag(include_authorized_operations, "include_authorized_operations")
        timeout_ms = _ms(request_timeout)

        async def work() -> Mapping[str, Any]:
            found = await self._sdk.describe_consumer_groups(
                group_ids,
                include_authorized_operations=include_authorized_operations,
                timeout_ms=timeout_ms,
            )
            nodes = self._sdk.cluster.metadata.nodes or (await self._sdk.cluster.refresh()).nodes
            return {group_id: told.described_group(group_id, each, nodes) for group_id, each in found.items()}

        return self._each(group_ids, work(), told.itself)

    def delete_consumer_groups(
        self, group_ids: list[str], *, request_timeout: float | None = None
    ) -> dict[str, Future[None]]:
        """A future for each group; its result is None."""
        checks.group_ids(group_ids)
        work = self._sdk.delete_consumer_groups(group_ids, timeout_ms=_ms(request_timeout))
        return self._each(group_ids, work, told.nothing)

    def list_consumer_group_offsets(
        self,
        list_consumer_group_offsets_request: list[ConsumerGroupTopicPartitions],
        *,
        require_stable: bool = False,
        request_timeout: float | None = None,
    ) -> dict[str, Future[ConsumerGroupTopicPartitions]]:
        """What a group has committed, of all partitions or those asked for."""
        request = checks.listing_request(list_consumer_group_offsets_request)
        wanted = None if request.topic_partitions is None else [part.place for part in request.topic_partitions]
        work = self._sdk.list_consumer_group_offsets(
            {request.group_id: wanted}, require_stable=require_stable, timeout_ms=_ms(request_timeout)
        )
        return self._each([request.group_id], work, lambda found: told.group_offsets(request, found))

    def alter_consumer_group_offsets(
        self,
        alter_consumer_group_offsets_request: list[ConsumerGroupTopicPartitions],
        *,
        request_timeout: float | None = None,
    ) -> dict[str, Future[ConsumerGroupTopicPartitions]]:
        """Set what a group without members has committed."""
        request = checks.altering_request(alter_consumer_group_offsets_request)
        partitions = request.topic_partitions or []
        timeout_ms = _ms(request_timeout)

        async def work() -> Mapping[str, Any]:
            found = await self._sdk.alter_consumer_group_offsets(
                request.group_id,
                {
                    part.place: OffsetAndMetadata(
                        part.offset, part.metadata or "", -1 if part.leader_epoch is None else part.leader_epoch
                    )
                    for part in partitions
                },
                timeout_ms=timeout_ms,
            )
            return {request.group_id: told.altered_offsets(request, found)}

        return self._each([request.group_id], work(), told.itself)

    # --- cluster and users --------------------------------------------------------------------------------------------

    def describe_cluster(
        self, *, include_authorized_operations: bool = False, request_timeout: float | None = None
    ) -> Future[DescribeClusterResult]:
        """One future: id, controller and brokers."""
        checks.flag(include_authorized_operations, "include_authorized_operations")
        timeout_ms = _ms(request_timeout)

        async def work() -> DescribeClusterResult:
            found = await self._sdk.describe_cluster(
                include_authorized_operations=include_authorized_operations, timeout_ms=timeout_ms
            )
            return told.cluster(found)

        return self._one(work())

    def describe_user_scram_credentials(
        self, users: list[str] | None = None, *, request_timeout: float | None = None
    ) -> Any:
        """A future for each user; one for all without users."""
        checks.users(users)
        work = self._sdk.describe_user_scram_credentials(users, timeout_ms=_ms(request_timeout))
        if users is not None:
            return self._each(users, work, told.credentials, with_key=True)

        async def everybody() -> dict[str, UserScramCredentialsDescription]:
            return {user: told.credentials(user, each) for user, each in (await work).checked().items()}

        return self._one(everybody())

    def alter_user_scram_credentials(
        self, alterations: list[UserScramCredentialAlteration], *, request_timeout: float | None = None
    ) -> dict[str, Future[None]]:
        """A future for each user; its result is None."""
        checks.alterations(alterations)
        changes: list[sdk_users.ScramUpsertion | sdk_users.ScramDeletion] = []
        for each in alterations:
            if isinstance(each, UserScramCredentialUpsertion):
                info = each.scram_credential_info
                mechanism = sdk_users.ScramMechanism(info.mechanism.value)
                password = Password(each.password.decode())
                changes.append(sdk_users.ScramUpsertion(each.user, mechanism, password, info.iterations, each.salt))
            else:
                changes.append(
                    sdk_users.ScramDeletion(each.user, sdk_users.ScramMechanism(each.mechanism.value))  # type: ignore[attr-defined]
                )
        work = self._sdk.alter_user_scram_credentials(changes, timeout_ms=_ms(request_timeout))
        return self._each(dict.fromkeys(each.user for each in alterations), work, told.nothing)

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """Raises KafkaException: credentials are fixed when the client is made."""
        if self._closed:
            raise RuntimeError(CLOSED)
        refuse_credentials(username, password)

    # --- life ---------------------------------------------------------------------------------------------------------

    def poll(self, timeout: float = -1) -> int:
        """Serve error_cb for up to `timeout` seconds; futures end by themselves."""
        if self._closed:
            raise RuntimeError(CLOSED)
        given = seconds(timeout)
        ends_at = None if given is None else time.monotonic() + given
        return self._events.serve() if self._events.wait(lambda: self._closed, ends_at) else 0

    def close(self) -> None:
        """Close the connections. Harmless when closed."""
        if not self._closed:
            self._closed = True
            self._watched.detach()
            self._runner.run(self._open_sdk.close())
            runner.release(self._runner)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return True

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except PystreamError as error:
            unreachable = isinstance(error, DeadlineExceeded | NetworkFailure | NoBrokersAvailable)
            raise as_exception(error, code=Codes._TRANSPORT if unreachable else None) from error

    def _post(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Have it done in the loop. Raises RuntimeError when closed."""
        if self._closed:
            work.close()
            raise RuntimeError(CLOSED)
        return asyncio.run_coroutine_threadsafe(work, self._runner.loop)

    def _one(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """A future of what `work` gives."""
        future: Future[T] = _running()

        def end(done: Future[T]) -> None:
            error = _error_of(done)
            if error is None:
                future.set_result(done.result())
            else:
                future.set_exception(_failed(error))

        self._post(work).add_done_callback(end)
        return future

    def _each(
        self,
        items: Iterable[K],
        work: Coroutine[Any, Any, Mapping[Any, Any]],
        convert: Callable[..., Any],
        *,
        key: Callable[[Any], Any] = told.itself,
        with_key: bool = False,
    ) -> dict[K, Future[Any]]:
        """A future for each item: what `convert` makes of what `work` gives for `key(item)`."""
        futures: dict[K, Future[Any]] = {item: _running() for item in items}

        def end(done: Future[Mapping[Any, Any]]) -> None:
            error = _error_of(done)
            for item, future in futures.items():
                each = done.result()[key(item)] if error is None else error
                if isinstance(each, BaseException):
                    future.set_exception(_failed(each))
                else:
                    future.set_result(convert(item, each) if with_key else convert(each))

        self._post(work).add_done_callback(end)
        return futures


def _running() -> Future[Any]:
    """A future that cannot be cancelled any more."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future


def _error_of(done: Future[Any]) -> BaseException | None:
    return local(Codes._DESTROY, "the client was closed") if done.cancelled() else done.exception()


def _ms(timeout: float | None, name: str = "request_timeout") -> int | None:
    """None is the default, socket.timeout.ms. Raises TypeError and ValueError."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"{name}: expected seconds, found {timeout!r}")
    if timeout < 0:
        raise ValueError(f"{name}: expected seconds, found {timeout!r}")
    return round(timeout * 1000)


def _failed(error: BaseException) -> BaseException:
    return as_exception(error) if isinstance(error, PystreamError) else error
