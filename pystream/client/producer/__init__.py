"""The producer: one engine over the native accumulator, its asyncio face; the blocking one lies in `sync`."""
