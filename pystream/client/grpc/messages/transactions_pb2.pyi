from pystream.client.grpc.messages import common_pb2 as _common_pb2
from pystream.client.grpc.messages import partitions_pb2 as _partitions_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListTransactionsRequest(_message.Message):
    __slots__ = ("state", "producer_id", "longer_than_ms", "pattern", "page_size", "page_token")
    STATE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    LONGER_THAN_MS_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    state: _containers.RepeatedScalarFieldContainer[str]
    producer_id: _containers.RepeatedScalarFieldContainer[int]
    longer_than_ms: int
    pattern: str
    page_size: int
    page_token: str
    def __init__(self, state: _Optional[_Iterable[str]] = ..., producer_id: _Optional[_Iterable[int]] = ..., longer_than_ms: _Optional[int] = ..., pattern: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTransactionsResponse(_message.Message):
    __slots__ = ("results", "failures", "next_page_token")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Transaction]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    next_page_token: str
    def __init__(self, results: _Optional[_Iterable[_Union[Transaction, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Transaction(_message.Message):
    __slots__ = ("transactional_id", "producer_id", "state")
    TRANSACTIONAL_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    transactional_id: str
    producer_id: int
    state: str
    def __init__(self, transactional_id: _Optional[str] = ..., producer_id: _Optional[int] = ..., state: _Optional[str] = ...) -> None: ...

class DescribeTransactionsRequest(_message.Message):
    __slots__ = ("transactional_ids",)
    TRANSACTIONAL_IDS_FIELD_NUMBER: _ClassVar[int]
    transactional_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, transactional_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class DescribeTransactionsResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[TransactionDetail]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[TransactionDetail, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...

class TransactionDetail(_message.Message):
    __slots__ = ("transactional_id", "state", "producer_id", "producer_epoch", "coordinator", "timeout_ms", "started_ms", "partitions")
    TRANSACTIONAL_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    transactional_id: str
    state: str
    producer_id: int
    producer_epoch: int
    coordinator: int
    timeout_ms: int
    started_ms: int
    partitions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, transactional_id: _Optional[str] = ..., state: _Optional[str] = ..., producer_id: _Optional[int] = ..., producer_epoch: _Optional[int] = ..., coordinator: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., started_ms: _Optional[int] = ..., partitions: _Optional[_Iterable[str]] = ...) -> None: ...

class AbortTransactionsRequest(_message.Message):
    __slots__ = ("transactional_ids", "dry_run")
    TRANSACTIONAL_IDS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    transactional_ids: _containers.RepeatedScalarFieldContainer[str]
    dry_run: bool
    def __init__(self, transactional_ids: _Optional[_Iterable[str]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class AbortTransactionsResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AbortedTransaction]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[AbortedTransaction, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...

class AbortedTransaction(_message.Message):
    __slots__ = ("transactional_id", "change")
    TRANSACTIONAL_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    transactional_id: str
    change: str
    def __init__(self, transactional_id: _Optional[str] = ..., change: _Optional[str] = ...) -> None: ...

class AbortHangingRequest(_message.Message):
    __slots__ = ("topic", "partition", "producer_id", "dry_run")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    topic: str
    partition: int
    producer_id: int
    dry_run: bool
    def __init__(self, topic: _Optional[str] = ..., partition: _Optional[int] = ..., producer_id: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class AbortHangingResponse(_message.Message):
    __slots__ = ("results", "failures")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_partitions_pb2.PartitionProducer]
    failures: _containers.RepeatedCompositeFieldContainer[_common_pb2.Failure]
    def __init__(self, results: _Optional[_Iterable[_Union[_partitions_pb2.PartitionProducer, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[_common_pb2.Failure, _Mapping]]] = ...) -> None: ...
