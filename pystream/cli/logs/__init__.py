"""`pystream logs`: work on the log directories of a stopped broker."""
