"""What schemas are, and how records name theirs: pure functions, no I/O."""
