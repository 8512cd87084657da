"""`pystream bench` and `pystream top`: a cluster under load, and watched."""
