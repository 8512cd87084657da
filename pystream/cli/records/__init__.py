"""`pystream produce` and `pystream consume`: records from and to standard streams and files."""
