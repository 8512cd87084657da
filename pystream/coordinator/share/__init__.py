"""Share groups' records: who has acquired which of a partition's records, and the state that survives a restart."""
