"""What compaction leaves of one batch; nothing here is for Python."""
