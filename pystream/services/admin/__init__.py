"""gRPC admin. `process.run` is the entry point; gRPC itself comes with `pip install 'pystream[grpc]'`."""
