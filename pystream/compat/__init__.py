"""Other Kafka clients' faces over pystream's SDK: a script of theirs runs after its import is changed."""
