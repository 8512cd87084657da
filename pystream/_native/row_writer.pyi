"""Rows of columns as records of a batch.  Declares C functions only."""
