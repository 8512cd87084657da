"""Services beside the broker: each is a guest of the cluster, in a process of its own."""
