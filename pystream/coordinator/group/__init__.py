"""Groups of consumers, of share consumers and of streams, and the offsets that they commit."""
