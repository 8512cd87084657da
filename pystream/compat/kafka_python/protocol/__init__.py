"""kafka.protocol: only the enums that applications use."""
