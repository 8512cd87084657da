"""Helpers of the tests: what starts and stops real processes."""
