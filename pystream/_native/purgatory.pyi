"""No Python-visible names: parked calls live inside the event loops."""
