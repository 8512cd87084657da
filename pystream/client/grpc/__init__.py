"""A typed client of gRPC admin: `connect("127.0.0.1:9095")`. Needs `pip install 'pystream[grpc]'`."""

from pystream.client.grpc.connection import connect, connect_aio

__all__ = ["connect", "connect_aio"]
