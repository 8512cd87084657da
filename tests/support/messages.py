"""Classes of Protobuf messages for tests, made without protoc.

payments/money.proto      package payments; message Money { string currency = 1; int64 cents = 2; }
payments/order.proto      message Unused {}  message Order { string id = 1; Money price = 2; Timestamp at = 3;
                          message Line { string text = 1; }  repeated Line lines = 4; }
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

FIELD = descriptor_pb2.FieldDescriptorProto


def _field(message: Any, name: str, number: int, kind: int, type_name: str = "", *, repeated: bool = False) -> None:
    label = FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
    message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name or None)


def _classes() -> tuple[Any, Any, Any]:
    money = descriptor_pb2.FileDescriptorProto(name="payments/money.proto", package="payments", syntax="proto3")
    message = money.message_type.add(name="Money")
    _field(message, "currency", 1, FIELD.TYPE_STRING)
    _field(message, "cents", 2, FIELD.TYPE_INT64)
    order = descriptor_pb2.FileDescriptorProto(name="payments/order.proto", package="payments", syntax="proto3")
    order.dependency.extend(["payments/money.proto", "google/protobuf/timestamp.proto"])
    order.message_type.add(name="Unused")
    message = order.message_type.add(name="Order")
    _field(message, "id", 1, FIELD.TYPE_STRING)
    _field(message, "price", 2, FIELD.TYPE_MESSAGE, ".payments.Money")
    _field(message, "at", 3, FIELD.TYPE_MESSAGE, ".google.protobuf.Timestamp")
    _field(message, "lines", 4, FIELD.TYPE_MESSAGE, ".payments.Order.Line", repeated=True)
    _field(message.nested_type.add(name="Line"), "text", 1, FIELD.TYPE_STRING)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(money)
    pool.Add(order)
    names = "payments.Money", "payments.Order", "payments.Order.Line"
    made = [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]
    return made[0], made[1], made[2]


Money, Order, Line = _classes()


def an_order() -> Any:
    """One with everything in it."""
    order = Order(id="o-1", price=Money(currency="EUR", cents=1250), lines=[Line(text="tea"), Line(text="milk")])
    order.at.seconds = 1_700_000_000
    return order
