"""What clients measure of themselves, by Kafka's names, and how they push it to brokers that ask (KIP-714)."""
