"""No Python-visible names: connections live inside the event loops."""
