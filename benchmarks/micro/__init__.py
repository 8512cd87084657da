"""asv benchmarks of the native modules: one bench_<module>.py each. `samples` holds what they share.

asv imports this folder under the name `micro`, without its parent on the path: the installed pystream is measured.
"""
