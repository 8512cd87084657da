"""No Python-visible names: ListOffsets is served inside the event loops."""
