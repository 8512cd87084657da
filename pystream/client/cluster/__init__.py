"""What one client knows of a cluster, and its connections to it."""
