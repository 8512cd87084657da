"""Applications that run on the whole platform, for people to look at and for tests to count."""
