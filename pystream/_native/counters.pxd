# What an event loop counts. One writer, its loop; read from anywhere without a lock (relaxed loads of aligned 64-bit fields).

from libc.stdint cimport int64_t

cdef struct LoopCounters:
    int64_t turns
    int64_t connections              # open now
    int64_t connections_accepted
    int64_t connections_refused      # above a connection limit
    int64_t connections_throttled    # held and closed: their address came too fast
    int64_t accepts_delayed          # times that a listener had to wait
    int64_t connections_closed
    int64_t connections_expired      # idle, or too slow with a started frame
    int64_t frames_received
    int64_t frames_refused           # malformed, too large or of no known form: the connection was closed
    int64_t bytes_received
    int64_t bytes_sent
    int64_t produce_requests
    int64_t fetch_requests
    int64_t list_offsets_requests
    int64_t cold_requests
    int64_t produce_partitions_failed
    int64_t fetch_partitions_failed
    int64_t batches_appended
    int64_t appends                  # log_append calls: batches_appended / appends tells how well a turn coalesces
    int64_t produce_parked
    int64_t fetch_parked
    int64_t produce_timed_out
    int64_t fetch_sessions
    int64_t fetch_sessions_evicted
    int64_t throttled_ms
