"""What the broker tells of itself and of its clients: metrics, health, log levels, telemetry."""
