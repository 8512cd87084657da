"""No Python-visible names: fetch sessions live inside the event loops."""
