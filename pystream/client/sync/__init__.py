"""The synchronous face: the engine of the asyncio face, on a loop of its own in one background thread."""
