"""What can be done to a cluster, each operation declared once for every door: CLI, gRPC, REST, console."""
