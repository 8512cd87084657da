"""Runs the demo: `python -m pystream.demos.payments --bootstrap HOST:PORT`."""

from pystream.demos.payments.main import main

main(prog_name="python -m pystream.demos.payments")
