"""Administration of a cluster, over asyncio."""
