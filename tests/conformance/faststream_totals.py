"""A FastStream application, as its users write them: orders in, one total an order out, and a count of what came.

    python faststream_totals.py confluent|kafka HOST:PORT INPUT_TOPIC OUTPUT_TOPIC ORDERS

Prints how many totals came back, how many different ones, and their sum.
"""

from __future__ import annotations

import asyncio
import importlib
import sys

from faststream import FastStream
from pydantic import BaseModel

RUN_SECONDS = 240

flavour, bootstrap, input_topic, output_topic, orders = sys.argv[1:6]
broker = importlib.import_module(f"faststream.{flavour}").KafkaBroker(bootstrap)
app = FastStream(broker)


class Order(BaseModel):
    """What comes in."""

    number: int
    price: int
    count: int


class Total(BaseModel):
    """What goes out."""

    number: int
    amount: int


totals: list[Total] = []
complete = asyncio.Event()


@broker.subscriber(input_topic, group_id=f"{input_topic}-transform", auto_offset_reset="earliest")
@broker.publisher(output_topic)
async def transform(order: Order) -> Total:
    return Total(number=order.number, amount=order.price * order.count)


@broker.subscriber(output_topic, group_id=f"{output_topic}-count", auto_offset_reset="earliest")
async def count(total: Total) -> None:
    totals.append(total)
    if len(totals) >= int(orders):
        complete.set()


@app.after_startup
async def publish() -> None:
    for number in range(int(orders)):
        order = Order(number=number, price=number % 7, count=2)
        await broker.publish(order, topic=input_topic, key=str(number).encode(), headers={"source": "test"})


async def main() -> None:
    running = asyncio.create_task(app.run())
    async with asyncio.timeout(RUN_SECONDS):
        await complete.wait()
    app.exit()
    await running
    print(len(totals), len({total.number for total in totals}), sum(total.amount for total in totals))


if __name__ == "__main__":
    asyncio.run(main())
