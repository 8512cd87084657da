"""The share consumer (KIP-932): members of a share group take records one by one, and say what became of each."""
