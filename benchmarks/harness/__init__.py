"""Side-by-side benchmarks: one load generator, several brokers and floors, in turn. See benchmarks/README.md."""
