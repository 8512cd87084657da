"""A cluster as a file says it should be: read the file, compare it with the cluster, do what differs."""
