"""What compaction knows of transactions and producers while it passes over the batches of a log; nothing here is for Python."""
