"""The only HTTP kit of the house: Starlette on uvicorn. Import it where it is used: it costs 9 MiB and 0.1 s."""

from pystream.net.http.application import Health, application, operations_routes
from pystream.net.http.server import LOOPBACK, HttpLimits, HttpServer

__all__ = ["LOOPBACK", "Health", "HttpLimits", "HttpServer", "application", "operations_routes"]
