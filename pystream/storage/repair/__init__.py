"""Logs of a stopped broker, read end to end and put right, on an operator's command."""
