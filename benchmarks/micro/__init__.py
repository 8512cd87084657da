"""asv benchmarks of the native modules: one bench_<module>.py each. `samples` holds what they share."""
