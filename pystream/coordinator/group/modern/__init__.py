"""What groups of the new protocols have in common: consumer (KIP-848), share (KIP-932), streams (KIP-1071)."""
