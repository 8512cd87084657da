"""Checking every batch of a segment file, and finding out what the first bad one is (see the .pxd)."""

from libc.stdint cimport INT32_MAX, INT64_MAX, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

from pystream._native.batch cimport BATCH_HEADER_SIZE, BatchHeader, parse_batch_header
from pystream._native.crc32c cimport crc32c_extend
from pystream._native.io_table cimport io_read_at
from pystream._native.leader_epochs cimport (
    leader_epochs_assign, leader_epochs_fit, leader_epochs_latest, leader_epochs_truncate_end,
)
from pystream._native.segment cimport segment_note_batch
from pystream._native.status cimport (
    CORRUPT_BATCH, LIMIT_EXCEEDED, OK, OUT_OF_MEMORY, STORAGE_ERROR, TRUNCATED, UNSUPPORTED_MAGIC,
)


cdef Status scan_fill(Scan *scan, int64_t position, int64_t size) noexcept nogil:
    """Makes [position, position + size) lie in the buffer, as far as the file reaches; TRUNCATED when it does not."""
    cdef int64_t wanted
    cdef Py_ssize_t got
    cdef uint8_t *larger
    if position >= scan.buffer_position and position + size <= scan.buffer_position + scan.buffer_size:
        return OK
    if position + size > scan.file_size:
        return TRUNCATED
    if size > scan.capacity:
        larger = <uint8_t *> malloc(size)
        if larger == NULL:
            return OUT_OF_MEMORY
        free(scan.buffer)
        scan.buffer = larger
        scan.capacity = size
    wanted = scan.capacity if scan.capacity < scan.file_size - position else scan.file_size - position
    got = io_read_at(scan.fd, scan.buffer, wanted, position)
    scan.buffer_position = position
    scan.buffer_size = got if got > 0 else 0
    if got < 0:
        return STORAGE_ERROR
    return OK if got >= size else TRUNCATED


cdef Status check_batch_at(Scan *scan, int64_t position, int64_t expected_offset, bint exact, BatchHeader *header) noexcept nogil:
    """A whole, valid batch at `position` whose base offset is the expected one (or not below it)."""
    cdef const uint8_t *data
    cdef Status status = scan_fill(scan, position, BATCH_HEADER_SIZE)
    if status != OK:
        return status
    data = scan.buffer + (position - scan.buffer_position)
    if parse_batch_header(data, BATCH_HEADER_SIZE, header) != OK:
        return CORRUPT_BATCH
    if header.magic != 2:
        return UNSUPPORTED_MAGIC
    if header.base_offset < expected_offset or (exact and header.base_offset != expected_offset):
        return CORRUPT_BATCH
    if header.last_offset_delta < 0 or header.record_count < 0 or header.record_count > <int64_t> header.last_offset_delta + 1:
        return CORRUPT_BATCH
    if header.base_offset > INT64_MAX - INT32_MAX - 1 or header.base_offset + header.last_offset_delta >= scan.limit_offset:
        return CORRUPT_BATCH
    if header.size > scan.file_size - position:
        return TRUNCATED
    if header.size > scan.max_batch_size:
        return LIMIT_EXCEEDED
    status = scan_fill(scan, position, header.size)
    if status != OK:
        return status
    data = scan.buffer + (position - scan.buffer_position)
    return OK if crc32c_extend(0, data + 21, header.size - 21) == header.crc else CORRUPT_BATCH


cdef int64_t zeros_from(Scan *scan) noexcept nogil:
    """Position after the last byte of the file that is not zero, looking no further back than scan.position."""
    cdef int64_t end = scan.file_size
    cdef int64_t start
    cdef Py_ssize_t at
    while end > scan.position:
        start = end - SCAN_BUFFER_SIZE
        if start < scan.position:
            start = scan.position
        if scan_fill(scan, start, end - start) != OK:
            return end
        at = <Py_ssize_t> (end - scan.buffer_position)
        while at > start - scan.buffer_position:
            at -= 1
            if scan.buffer[at] != 0:
                return scan.buffer_position + at + 1
        end = start
    return scan.position


cdef bint whole_but_for_its_header(Scan *scan) noexcept nogil:
    """The CRC does not cover the first 17 bytes: a flipped bit in the length or the magic must not look like a torn tail."""
    cdef int64_t rest = scan.file_size - scan.position
    cdef const uint8_t *data
    cdef uint32_t crc
    if rest < BATCH_HEADER_SIZE or rest > scan.max_batch_size + BATCH_HEADER_SIZE or scan_fill(scan, scan.position, rest) != OK:
        return False
    data = scan.buffer + (scan.position - scan.buffer_position)
    crc = (<uint32_t> data[17] << 24) | (<uint32_t> data[18] << 16) | (<uint32_t> data[19] << 8) | data[20]
    return crc32c_extend(0, data + 21, rest - 21) == crc


cdef Status find_valid_after(Scan *scan, int64_t from_position) noexcept nogil:
    """Looks at every byte from there on, behind the first bad batch, for the header of a valid one."""
    cdef BatchHeader header
    cdef int64_t position = from_position
    cdef Status status
    scan.valid_position = scan.valid_offset = -1
    while position + BATCH_HEADER_SIZE <= scan.file_size:
        status = scan_fill(scan, position, BATCH_HEADER_SIZE)
        if status != OK:
            return status
        # The magic byte first: 255 of 256 places are done with.
        if scan.buffer[position - scan.buffer_position + 16] == 2:
            status = check_batch_at(scan, position, scan.next_offset, False, &header)
            if status == OK and header.record_count > 0 and header.base_offset - scan.next_offset <= INT32_MAX:
                scan.valid_position = position
                scan.valid_offset = header.base_offset
                return OK
            if status == OUT_OF_MEMORY or status == STORAGE_ERROR:
                return status
        position += 1
    return OK


cdef Status judge_tail(Scan *scan, const BatchHeader *header) noexcept nogil:
    """Fills what verdict() asks about the first bad batch, which lies at scan.position."""
    cdef int64_t last_byte
    cdef Status status = find_valid_after(scan, scan.position + 1)
    if status != OK:
        return status
    scan.ends_inside = False
    if scan.valid_position >= 0:
        return OK
    last_byte = zeros_from(scan)
    if last_byte == scan.position:
        scan.ends_inside = True                              # nothing but zeros
    elif whole_but_for_its_header(scan):
        scan.ends_inside = False
    elif scan.reason == TRUNCATED:
        scan.ends_inside = True
    elif scan.reason == CORRUPT_BATCH and header.size > 0 and scan.position + header.size < scan.file_size:
        scan.ends_inside = last_byte < scan.position + header.size   # zeros from inside the batch to past its end
    return OK


cdef bint epoch_is_wrong(const Scan *scan, const BatchHeader *header) noexcept nogil:
    cdef int32_t epoch = header.partition_leader_epoch
    if 0 <= epoch < scan.leader_epoch:
        return True
    return not leader_epochs_fit(scan.epochs, epoch, header.base_offset, scan.epochs_complete_below, scan.newest_epoch)


cdef Status judge_epoch(LogState *log, Scan *scan, const BatchHeader *header) noexcept nogil:
    """Of two neighbours that contradict one another the earlier one is to blame when it alone tells of its epoch."""
    cdef int64_t behind = scan.position + header.size
    cdef int32_t last = log.epochs.count - 1 if scan.note else -1
    cdef int32_t before = log.epochs.entries[last - 1].epoch if last > 0 else 0
    scan.wrong_epoch = True
    scan.ends_inside = False
    scan.reason = CORRUPT_BATCH
    if last >= 0 and scan.risen_offset == log.epochs.entries[last].start_offset \
            and before <= header.partition_leader_epoch < log.epochs.entries[last].epoch:
        leader_epochs_truncate_end(&log.epochs, scan.risen_offset)
        behind = scan.position
        if scan.risen_position < 0:
            scan.rose_earlier = True
        else:
            scan.position = scan.risen_position
            scan.next_offset = scan.risen_offset
        scan.risen_offset = scan.risen_position = -1
    return find_valid_after(scan, behind)


cdef Status note_epoch(LogState *log, Scan *scan, const BatchHeader *header) noexcept nogil:
    if header.partition_leader_epoch > leader_epochs_latest(&log.epochs):
        if leader_epochs_assign(&log.epochs, header.partition_leader_epoch, header.base_offset) != OK:
            return OUT_OF_MEMORY
        scan.risen_offset = header.base_offset
        scan.risen_position = scan.position
    elif header.partition_leader_epoch >= 0:
        scan.risen_offset = scan.risen_position = -1
    return OK


cdef Status scan_file(LogState *log, Segment *segment, Scan *scan) noexcept nogil:
    """Passes over valid batches from scan.position on; stops at the end or at the first bad one and judges it."""
    cdef BatchHeader header
    cdef Status status
    header.size = 0
    while scan.position < scan.file_size and scan.position < scan.pause_position:
        status = check_batch_at(scan, scan.position, scan.next_offset, not scan.compacted, &header)
        if status == OK and epoch_is_wrong(scan, &header):
            return judge_epoch(log, scan, &header)
        if status == STORAGE_ERROR or status == OUT_OF_MEMORY:
            return status
        if status != OK:
            scan.reason = status
            return judge_tail(scan, &header)
        if scan.note:
            segment_note_batch(segment, &header, header.base_offset, scan.position, log.limits.index_interval_bytes)
            if note_epoch(log, scan, &header) != OK:
                return OUT_OF_MEMORY
        if header.partition_leader_epoch > scan.leader_epoch:
            scan.leader_epoch = header.partition_leader_epoch
        scan.position += header.size
        scan.next_offset = header.base_offset + header.last_offset_delta + 1
    scan.reason = OK
    return OK
