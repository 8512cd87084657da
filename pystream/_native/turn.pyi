"""No Python-visible names: a turn is a part of the event loop."""
