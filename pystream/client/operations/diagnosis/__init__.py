"""What `doctor` knows: facts of a cluster, gathered once, and checks, which are functions of those facts."""
