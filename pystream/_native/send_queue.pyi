"""The partitions of a producer: queues of batches, those in flight, the partitioner.  Declares C functions only."""
