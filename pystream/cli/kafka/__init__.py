"""Kafka's own command-line tools by their names, flags and output, over the operations that pystream declares."""
