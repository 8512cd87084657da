# The producer's buffer: a face for Python over send_queue; nothing to cimport.
#
# Owner of memory: the Accumulator owns the queue and one reference to each batch in it. Cross-thread: see send_queue.pxd.
