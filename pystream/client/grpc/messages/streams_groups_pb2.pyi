from pystream.client.grpc.messages import common_pb2 as _common_pb2
from pystream.client.grpc.messages import groups_pb2 as _groups_pb2
from pystream.client.grpc.messages import share_groups_pb2 as _share_groups_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListStreamsGroupsRequest(_message.Message):
    __slots__ = ("pattern", "state", "page_size", "page_token")
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pattern: str
    state: _containers.RepeatedScalarFieldContainer[str]
    page_size: int
    page_token: str
    def __init__(self, pattern: _Optional[str] = ..., state: _Optional[_Iterable[str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStreamsGroupsResponse(_message.Message):
    __slots__ = ("results", "failures", "next_page_token")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_groups_pb2.Group]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    next_page_token: str
    def __init__(self, results: _Optional[_Iterable[_Union[_groups_pb2.Group, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DescribeStreamsGroupsRequest(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, groups: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchStreamsGroupsRequest(_message.Message):
    __slots__ = ("groups", "interval_ms")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    interval_ms: int
    def __init__(self, groups: _Optional[_Iterable[str]] = ..., interval_ms: _Optional[int] = ...) -> None: ...

class DescribeStreamsGroupsResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StreamsGroupDetail]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[StreamsGroupDetail, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...

class StreamsGroupDetail(_message.Message):
    __slots__ = ("group", "state", "coordinator", "group_epoch", "topology_epoch", "members", "subtopologies")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    GROUP_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_EPOCH_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    SUBTOPOLOGIES_FIELD_NUMBER: _ClassVar[int]
    group: str
    state: str
    coordinator: int
    group_epoch: int
    topology_epoch: int
    members: _containers.RepeatedCompositeFieldContainer[StreamsMemberRow]
    subtopologies: _containers.RepeatedCompositeFieldContainer[SubtopologyRow]
    def __init__(self, group: _Optional[str] = ..., state: _Optional[str] = ..., coordinator: _Optional[int] = ..., group_epoch: _Optional[int] = ..., topology_epoch: _Optional[int] = ..., members: _Optional[_Iterable[_Union[StreamsMemberRow, _Mapping]]] = ..., subtopologies: _Optional[_Iterable[_Union[SubtopologyRow, _Mapping]]] = ...) -> None: ...

class StreamsMemberRow(_message.Message):
    __slots__ = ("member_id", "process_id", "client_id", "host", "member_epoch", "active_tasks", "standby_tasks", "warmup_tasks")
    MEMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    MEMBER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_TASKS_FIELD_NUMBER: _ClassVar[int]
    STANDBY_TASKS_FIELD_NUMBER: _ClassVar[int]
    WARMUP_TASKS_FIELD_NUMBER: _ClassVar[int]
    member_id: str
    process_id: str
    client_id: str
    host: str
    member_epoch: int
    active_tasks: _containers.RepeatedScalarFieldContainer[str]
    standby_tasks: _containers.RepeatedScalarFieldContainer[str]
    warmup_tasks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, member_id: _Optional[str] = ..., process_id: _Optional[str] = ..., client_id: _Optional[str] = ..., host: _Optional[str] = ..., member_epoch: _Optional[int] = ..., active_tasks: _Optional[_Iterable[str]] = ..., standby_tasks: _Optional[_Iterable[str]] = ..., warmup_tasks: _Optional[_Iterable[str]] = ...) -> None: ...

class SubtopologyRow(_message.Message):
    __slots__ = ("subtopology", "source_topics", "repartition_topics", "changelog_topics")
    SUBTOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TOPICS_FIELD_NUMBER: _ClassVar[int]
    REPARTITION_TOPICS_FIELD_NUMBER: _ClassVar[int]
    CHANGELOG_TOPICS_FIELD_NUMBER: _ClassVar[int]
    subtopology: str
    source_topics: _containers.RepeatedScalarFieldContainer[str]
    repartition_topics: _containers.RepeatedScalarFieldContainer[str]
    changelog_topics: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, subtopology: _Optional[str] = ..., source_topics: _Optional[_Iterable[str]] = ..., repartition_topics: _Optional[_Iterable[str]] = ..., changelog_topics: _Optional[_Iterable[str]] = ...) -> None: ...

class ListStreamsGroupOffsetsRequest(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, groups: _Optional[_Iterable[str]] = ...) -> None: ...

class ListStreamsGroupOffsetsResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_share_groups_pb2.StartOffset]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[_share_groups_pb2.StartOffset, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...

class ResetStreamsGroupOffsetsRequest(_message.Message):
    __slots__ = ("group", "to", "topic", "to_earliest", "to_latest", "to_current", "to_offset", "shift_by", "to_datetime", "by_duration", "from_file", "dry_run")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TO_EARLIEST_FIELD_NUMBER: _ClassVar[int]
    TO_LATEST_FIELD_NUMBER: _ClassVar[int]
    TO_CURRENT_FIELD_NUMBER: _ClassVar[int]
    TO_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SHIFT_BY_FIELD_NUMBER: _ClassVar[int]
    TO_DATETIME_FIELD_NUMBER: _ClassVar[int]
    BY_DURATION_FIELD_NUMBER: _ClassVar[int]
    FROM_FILE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    group: str
    to: str
    topic: _containers.RepeatedScalarFieldContainer[str]
    to_earliest: bool
    to_latest: bool
    to_current: bool
    to_offset: int
    shift_by: int
    to_datetime: str
    by_duration: str
    from_file: str
    dry_run: bool
    def __init__(self, group: _Optional[str] = ..., to: _Optional[str] = ..., topic: _Optional[_Iterable[str]] = ..., to_earliest: _Optional[bool] = ..., to_latest: _Optional[bool] = ..., to_current: _Optional[bool] = ..., to_offset: _Optional[int] = ..., shift_by: _Optional[int] = ..., to_datetime: _Optional[str] = ..., by_duration: _Optional[str] = ..., from_file: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class ResetStreamsGroupOffsetsResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_groups_pb2.ResetOffset]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[_groups_pb2.ResetOffset, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...

class DeleteStreamsGroupOffsetsRequest(_message.Message):
    __slots__ = ("group", "topic", "dry_run")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    group: str
    topic: _containers.RepeatedScalarFieldContainer[str]
    dry_run: bool
    def __init__(self, group: _Optional[str] = ..., topic: _Optional[_Iterable[str]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class DeleteStreamsGroupOffsetsResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_groups_pb2.ChangedGroup]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[_groups_pb2.ChangedGroup, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...

class DeleteStreamsGroupsRequest(_message.Message):
    __slots__ = ("groups", "if_exists", "dry_run")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    IF_EXISTS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    if_exists: bool
    dry_run: bool
    def __init__(self, groups: _Optional[_Iterable[str]] = ..., if_exists: _Optional[bool] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class DeleteStreamsGroupsResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_groups_pb2.ChangedGroup]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[_groups_pb2.ChangedGroup, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...
