"""What is measured: brokers and floors, each with one way to start, to ask and to stop."""
