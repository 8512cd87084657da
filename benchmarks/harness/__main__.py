"""`python -m benchmarks.harness`."""

from benchmarks.harness.cli import main

if __name__ == "__main__":
    main()
