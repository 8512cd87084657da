"""No Python-visible names: Fetch is served inside the event loops."""
