"""The coordinators in this broker: their topics, logs, and how they follow the cluster image."""
