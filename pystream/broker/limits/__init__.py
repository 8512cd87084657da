"""What bounds clients and this broker while it runs: quotas, and settings that change at any time."""
