"""Other people's record batches: kafka-python's and aiokafka's builders and readers, to compare with."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # kafka-python 3.0 reads its schemas with importlib.resources.read_text
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.partitioner.default import murmur2 as kafka_python_murmur2
    from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from aiokafka.record import default_records as aiokafka_records

from tests.model.record_model import ModelRecord

__all__ = ["aiokafka_build", "aiokafka_read", "kafka_python_build", "kafka_python_murmur2", "kafka_python_read"]


def kafka_python_build(records: list[ModelRecord], codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 30,
    )  # fmt: skip
    for delta, record in enumerate(records):
        builder.append(delta, record.timestamp, record.key, record.value, list(record.headers))
    return bytes(builder.build())


def aiokafka_build(records: list[ModelRecord], codec: int) -> bytes:
    builder = aiokafka_records.DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 30)
    for delta, record in enumerate(records):
        builder.append(delta, record.timestamp, record.key, record.value, list(record.headers))
    return bytes(builder.build())


def _records(batch) -> list[ModelRecord]:
    return [
        ModelRecord(record.offset, record.timestamp, record.key, record.value, tuple(map(tuple, record.headers)))
        for record in batch
    ]


def kafka_python_read(data: bytes) -> list[ModelRecord]:
    batch = DefaultRecordBatch(data)
    assert batch.validate_crc()
    return _records(batch)


def aiokafka_read(data: bytes) -> list[ModelRecord]:
    batch = aiokafka_records.DefaultRecordBatch(bytearray(data))
    assert batch.validate_crc()
    return _records(batch)
