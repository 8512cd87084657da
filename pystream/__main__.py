"""`python -m pystream` is the command `pystream`."""

from pystream.cli.main import main

main()
