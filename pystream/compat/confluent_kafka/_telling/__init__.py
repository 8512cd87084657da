"""What clients tell without being asked: events, errors, statistics, throttling and logs, which poll() gives out."""
