"""Side-by-side benchmarks: one load generator, several brokers and floors, in turn on one machine. See benchmarks/README.md."""
