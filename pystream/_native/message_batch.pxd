# What the consumer fetched of one partition: a face for Python over record_columns; nothing to cimport.
#
# Owner of memory: a MessageBatch holds the buffer that was fetched and the columns; a Message holds its batch.
