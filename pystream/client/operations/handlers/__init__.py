"""The handlers of the declared operations: asyncio functions over `pystream.client.aio.AdminClient`."""
