"""The consumer: what is fetched, from where, for whom, and how it is handed out. Faces: `aio.Consumer`, `Consumer`."""
