"""Reading closed segments again, to find damage before a reader meets it; no Python names."""
