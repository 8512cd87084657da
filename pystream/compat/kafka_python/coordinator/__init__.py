"""kafka.coordinator: only the names of assignors are here."""
