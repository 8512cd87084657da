"""Benchmarks: `micro` for asv, `harness` for whole brokers side by side."""
