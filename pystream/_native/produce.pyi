"""No Python-visible names: Produce is served inside the event loops."""
