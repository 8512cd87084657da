"""No Python-visible names: the answer to a Fetch is a part of the event loop."""
