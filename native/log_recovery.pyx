"""Opening a directory as a log.

    clean stop, or Kafka's mark of one      the last batch of the active segment is checked
    anything else                           every batch above the recovery point is checked: magic, length, CRC, offsets, epochs

The recovery point is the larger of the checkpointed one and the newest producer snapshot: a snapshot is written only when all below its
offset is fsynced.  The first bad batch is judged by verdict(); what it says is done here:

    CUT          torn tail: the file is cut there and fsynced          CUT_KEEPING   the same, but the bytes go to lost+found/ first
    CUT_ALARM    the same, and counted                                 DAMAGE        nothing is cut: no more writes, reads elsewhere work

Side files (indexes, epochs, snapshots) never decide anything: what does not fit is built anew from the log.  One thing more the epochs
file is good for: to find a single batch whose leader epoch is wrong, see log_replay.pyx.

`damaged-from`, a decimal number: base offset of the first segment that was found damaged.  From there on all is checked again at each
start, also below the recovery point; the file goes once nothing is damaged any more.
"""

import errno
import os
import re

from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc

from pystream._native.batch cimport BatchHeader
from pystream._native.io_table cimport (
    io_read_file, io_replace_file, io_sync, io_sync_directory, io_truncate, io_unlink,
)
from pystream._native.leader_epochs cimport leader_epochs_save, leader_epochs_truncate_end, leader_epochs_truncate_start
from pystream._native.log_replay cimport epochs_refuted, forget_epochs, load_epochs, replay_segment
from pystream._native.log_scan cimport SCAN_BUFFER_SIZE, Scan, scan_file
from pystream._native.log_memory cimport log_add_segment, log_create, log_drop_segments, log_release
from pystream._native.log_state cimport (
    KEPT_SNAPSHOTS, MAX_PATH_SIZE, LogLimits, LogState, Segment, log_publish_undecided, log_segment_slot, log_take_offline,
)
from pystream._native.log_swap cimport finish_swaps
from pystream._native.offset_index cimport offset_index_slot, time_index_truncate
from pystream._native.posix cimport pthread_mutex_lock, pthread_mutex_unlock
from pystream._native.producer_state cimport producers_clear, producers_decode
from pystream._native.segment cimport (
    Walk, segment_cut_aborted, segment_free, segment_load_index, segment_new, segment_open, walk_header, walk_over,
)
from pystream._native.status cimport DAMAGED, MALFORMED, OK, Status, raise_for_status
from pystream._native.txn_index cimport txn_index_decode

CUT, CUT_ALARM, CUT_KEEPING, DAMAGE = "cut", "cut-alarm", "cut-keeping", "damage"

DAMAGE_MARK = "damaged-from"

cdef enum:
    MAX_SIDE_FILE = 1 << 28


def verdict(
    *, below_recovery_point: bool, closed: bool, wrong_epoch: bool, valid_follows: bool, ends_inside: bool, lossy: bool,
) -> str:
    """What to do about the first bad batch.

    below_recovery_point   it was fsynced once           closed        of a segment that was fsynced before the next was begun
    wrong_epoch            it is whole but for its leader epoch: no stop of any kind does that
    valid_follows          a valid batch lies behind it  ends_inside   the file ends, or turns to zeros, inside it
    lossy                  power loss or kernel panic may have come between (else the page cache survived)
    """
    if below_recovery_point or closed or wrong_epoch:
        return DAMAGE
    if valid_follows:
        return CUT_KEEPING if lossy else DAMAGE
    if ends_inside:
        return CUT
    return CUT_ALARM if lossy else DAMAGE


# ---------------------------------------------------------------------------------------------------------------------
# The directory

SEGMENT_FILE = re.compile(r"^(\d{20})\.(log|index|timeindex|txnindex|snapshot)$")
LEFTOVER_FILE = re.compile(r"^(?:.*\.(?:deleted|cleaned|tmp)|\d{20}(?:-.*)?\.\w+\.(?:deleted|cleaned|swap))$")
LARGEST_BASE_OFFSET = INT64_MAX - INT32_MAX - 1             # what no log of ours or Kafka's reaches is nobody's segment


cdef void check(Status status, str what) except *:
    if status != OK:
        raise_for_status(status, 0, what)


cdef void check_errno(int error, str path) except *:
    if error != 0:
        raise OSError(error, os.strerror(error), path)


class Listing:
    """The files of a partition's directory: base offsets of segments, snapshot offsets, what a crash left behind."""

    def __init__(self, directory: str) -> None:
        self.bases: list[int] = []
        self.snapshots: list[int] = []
        self.side_files: list[tuple[int, str]] = []
        self.leftovers: list[str] = []
        for name in sorted(os.listdir(directory)):
            found = SEGMENT_FILE.match(name)
            if found is None or int(found[1]) > LARGEST_BASE_OFFSET:
                if LEFTOVER_FILE.match(name):
                    self.leftovers.append(name)
            elif found[2] == "log":
                self.bases.append(int(found[1]))
            elif found[2] == "snapshot":
                self.snapshots.append(int(found[1]))
            else:
                self.side_files.append((int(found[1]), name))


def finish_leftovers(directory: str, listing: Listing) -> None:
    """A deletion or a compaction that a crash interrupted: a .log.swap takes its place, .deleted, .cleaned and .tmp go."""
    swaps = [name for name in listing.leftovers if name.endswith(".swap")]
    finish_swaps(directory, swaps, listing.bases)
    for name in listing.leftovers:
        if not name.endswith(".swap"):
            path = os.path.join(directory, name)
            check_errno(io_unlink(path.encode()), path)


cdef list load_segments(LogState *log, str directory, listing):
    """Adds a segment per .log file, sized as the file is; drops side files that have none."""
    cdef Segment *segment
    cdef list sizes = []
    for base, name in listing.side_files:
        if base not in listing.bases:
            os.unlink(os.path.join(directory, name))
    for base in listing.bases:
        segment = segment_new(base)
        if segment == NULL:
            raise MemoryError
        segment.exists = True
        segment.size = os.stat(os.path.join(directory, f"{base:020d}.log")).st_size
        segment.index_loaded = segment.time_range_known = segment.size == 0
        if log_add_segment(log, segment) != OK:
            segment_free(segment)
            raise MemoryError
        sizes.append(segment.size)
    for number in range(log.segment_count - 1):
        log.segments[number].next_offset = log.segments[number + 1].base_offset
        log.segments[number].sealed = True
    return sizes


cdef void load_aborted(LogState *log, str directory, listing) except *:
    cdef uint8_t *data = NULL
    cdef Py_ssize_t size = 0
    cdef Segment *segment
    for base, name in listing.side_files:
        slot = log_segment_slot(log, base)
        if not name.endswith(".txnindex") or slot < 0 or log.segments[slot].base_offset != base:
            continue
        path = os.path.join(directory, name).encode()
        if io_read_file(path, MAX_SIDE_FILE, &data, &size) == 0:
            segment = log.segments[slot]
            if txn_index_decode(&segment.aborted, data, size) == OK:
                segment.aborted_stored = segment.aborted.count
            free(data)


cdef int64_t newest_snapshot(LogState *log, str directory, list offsets, int64_t at_most) except -2:
    """Loads the newest readable snapshot at or below `at_most` and deletes those that cannot serve; -1 when none can."""
    cdef uint8_t *data = NULL
    cdef Py_ssize_t size = 0
    cdef Status status
    for offset in sorted(offsets, reverse=True):
        path = os.path.join(directory, f"{offset:020d}.snapshot")
        status = MALFORMED
        if offset <= at_most and io_read_file(path.encode(), MAX_SIDE_FILE, &data, &size) == 0:
            status = producers_decode(&log.producers, data, size)
            free(data)
        if status == OK:
            return offset
        io_unlink(path.encode())
        offsets.remove(offset)
    producers_clear(&log.producers)
    return -1


cdef void keep_cut_bytes(str directory, Segment *segment, int64_t position, int64_t size) except *:
    """Copies what is about to be cut to lost+found/ of the log dir, fsynced."""
    found = os.path.join(os.path.dirname(os.path.abspath(directory)), "lost+found")
    os.makedirs(found, exist_ok=True)
    source = os.path.join(directory, f"{segment.base_offset:020d}.log")
    target = os.path.join(found, f"{os.path.basename(directory)}-{segment.base_offset:020d}-{position}.bytes")
    with open(source, "rb") as reader, open(target, "wb") as writer:
        reader.seek(position)
        while chunk := reader.read(min(SCAN_BUFFER_SIZE, size)):
            writer.write(chunk)
            size -= len(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    check_errno(io_sync_directory(found.encode()), found)


cdef void cut_segment(LogState *log, str directory, Segment *segment, int64_t size, int64_t next_offset) except *:
    """Cuts the file and makes the cut durable; whatever the segment's side files hold is built anew."""
    for suffix in (".index", ".timeindex"):
        path = os.path.join(directory, f"{segment.base_offset:020d}{suffix}")
        check_errno(io_unlink(path.encode()), path)
    path = os.path.join(directory, f"{segment.base_offset:020d}.log")
    check(segment_open(log, segment), path)
    check_errno(io_truncate(segment.file.fd, size), path)
    check_errno(io_sync(segment.file.fd), path)
    check_errno(io_sync_directory(os.fsencode(directory)), directory)
    segment.size = size
    segment.next_offset = next_offset
    segment.offsets_stored = segment.times_stored = 0
    segment_cut_aborted(segment, next_offset)


cdef void move_segments_away(LogState *log, str directory, int32_t first) except *:
    """Segments behind a cut: their bytes cannot be offered any more, and are kept in lost+found/."""
    cdef Segment *segment
    for slot in range(first, log.segment_count):
        segment = log.segments[slot]
        keep_cut_bytes(directory, segment, 0, segment.size)
    for slot in range(first, log.segment_count):
        for suffix in (".index", ".timeindex", ".txnindex", ".log"):
            path = os.path.join(directory, f"{log.segments[slot].base_offset:020d}{suffix}")
            check_errno(io_unlink(path.encode()), path)
    log_drop_segments(log, first, log.segment_count - first)


cdef int64_t scan_start(LogState *log, Segment *segment, int64_t recovery_point, bint trust_index, int64_t *expected_offset) except -1:
    """Where checking begins: at the last indexed batch below the recovery point, or at the segment's first byte.

    The index is cut back to that batch, so that the scan can carry on with it.
    """
    cdef Walk walk
    cdef BatchHeader header
    cdef int32_t slot = -1
    cdef int64_t position = 0
    cdef int64_t last_offset
    expected_offset[0] = segment.base_offset
    if trust_index and recovery_point > segment.base_offset:
        segment.next_offset = segment.base_offset + INT32_MAX           # not known yet; bounds the index only
        check(segment_load_index(log, segment), "index")
        segment.damaged_from = -1                                       # a torn tail is not for the index to judge
        slot = offset_index_slot(&segment.offsets, recovery_point - 1 - segment.base_offset)
    if slot >= 0:
        position = segment.offsets.entries[slot].position
        check(segment_open(log, segment), "segment")
        walk_over(&walk, segment.file.fd, segment.size)
        # The index knows the last offset of its batch: offsets lie outside the checksum.
        last_offset = segment.base_offset + segment.offsets.entries[slot].relative_offset
        if walk_header(&walk, position, &header) != OK or header.base_offset + header.last_offset_delta != last_offset:
            slot = -1
    if slot >= 0:
        expected_offset[0] = header.base_offset
        segment.offsets.count = slot + 1
        time_index_truncate(&segment.times, <int64_t> segment.offsets.entries[slot].relative_offset + 1)
        if segment.times.count > 0:
            segment.max_timestamp = segment.times.entries[segment.times.count - 1].timestamp
            segment.max_timestamp_offset = segment.base_offset + segment.times.entries[segment.times.count - 1].relative_offset
        segment.bytes_since_entry = 0
    else:
        position = 0
        segment.offsets.count = segment.times.count = 0
        segment.bytes_since_entry = 0
        segment.max_timestamp = segment.max_timestamp_offset = -1
    segment.offsets_stored = min(segment.offsets_stored, segment.offsets.count)
    segment.times_stored = min(segment.times_stored, segment.times.count)
    segment.index_loaded = segment.time_range_known = True
    segment.index_suspect = segment.index_final = False
    segment.size = position
    segment.next_offset = expected_offset[0]
    return position


cdef bint scan_segment(
        LogState *log, Segment *segment, int64_t file_size, int64_t from_position, int64_t expected_offset,
        int64_t limit_offset, bint compacted, Scan *scan) except *:
    """Scans; True when the file ends with a valid batch.  Afterwards the segment ends with the last valid batch."""
    cdef Status status
    check(segment_open(log, segment), "segment")
    segment.unsynced = True                                  # until sync_recovered(); keeps the file open, too
    scan.fd = segment.file.fd
    scan.file_size = file_size
    scan.pause_position = INT64_MAX
    scan.position = from_position
    scan.next_offset = expected_offset
    scan.leader_epoch = -1
    scan.epochs = &log.epochs
    scan.wrong_epoch = scan.rose_earlier = False
    scan.max_batch_size = INT32_MAX
    scan.limit_offset = min(limit_offset, segment.base_offset + INT32_MAX + 1)      # what an index can hold
    scan.compacted = compacted
    scan.note = True
    scan.reason = OK
    scan.ends_inside = False
    scan.valid_position = scan.valid_offset = -1
    scan.capacity = min(SCAN_BUFFER_SIZE, file_size + 1)
    scan.buffer = <uint8_t *> malloc(scan.capacity)
    scan.buffer_position = scan.buffer_size = 0
    if scan.buffer == NULL:
        raise MemoryError
    with nogil:
        status = scan_file(log, segment, scan)
    free(scan.buffer)
    scan.buffer = NULL
    check(status, "segment")
    return scan.reason == OK


cdef void note_risen(int32_t slot, const Scan *scan, dict options) except *:
    options["risen_offset"] = scan.risen_offset
    if scan.risen_position >= 0:
        options["risen"] = slot, scan.risen_position


cdef void blame_earlier(LogState *log, str directory, dict options, dict report) except *:
    """The last batch of an earlier segment turns out to have a wrong epoch."""
    slot, position = options["risen"]
    cdef Segment *segment = log.segments[slot]
    file_size = os.stat(os.path.join(directory, f"{segment.base_offset:020d}.log")).st_size
    if segment.damaged_from < 0:
        segment.damaged_from = position
    segment.damaged_to = segment.damaged_to_offset = -1
    segment.size = segment.damaged_from
    segment.end_lost = not options["compacted"]
    report["verdicts"].append((segment.base_offset, position, options["risen_offset"], file_size, DAMAGE))
    report["damaged"] = [found for found in report["damaged"] if found[0] != segment.base_offset]
    report["damaged"].append((segment.base_offset, segment.damaged_from, -1, -1))


cdef void skip_damage(
        LogState *log, str directory, Segment *segment, int64_t file_size, Scan *scan, dict options, dict report) except *:
    """Notes the damaged range and goes on behind it, so that what is whole can still be read."""
    cdef bint compacted = options["compacted"]
    cdef bint whole
    segment.damaged_from = scan.position
    while scan.valid_position >= 0:
        segment.damaged_to = scan.valid_position
        segment.damaged_to_offset = scan.valid_offset
        whole = scan_segment(log, segment, file_size, scan.valid_position, scan.valid_offset, scan.limit_offset, compacted, scan)
        segment.damaged_from = min(segment.damaged_from, scan.position)
        if scan.rose_earlier:
            blame_earlier(log, directory, options, report)
        if whole:
            break
    segment.size = scan.position if segment.damaged_to >= 0 else segment.damaged_from
    report["damaged"].append(
        (segment.base_offset, segment.damaged_from, segment.damaged_to, segment.damaged_to_offset))


cdef bint scan_against_epochs(
        LogState *log, str directory, int32_t slot, int64_t file_size, int64_t following, dict options, dict report, Scan *scan) except *:
    """Scans a segment, and again where what its epochs were held against turns out to be wrong.  True: it ends with a valid batch."""
    cdef Segment *segment = log.segments[slot]
    cdef int64_t recovery_point = options["recovery_point"]
    cdef int32_t newest = options["newest_leader_epoch"]
    cdef int64_t expected_offset = 0
    cdef int64_t position
    cdef bint whole = False
    while True:
        scan.epochs_complete_below = recovery_point if options["epochs_known"] else 0
        scan.newest_epoch = newest
        scan.risen_offset = options["risen_offset"]
        scan.risen_position = -1
        position = scan_start(log, segment, options["scan_from"], not options["lossy"], &expected_offset)
        whole = scan_segment(log, segment, file_size, position, expected_offset, following, options["compacted"], scan)
        if scan.rose_earlier:
            blame_earlier(log, directory, options, report)
            options["risen_offset"] = -1
        elif (
            scan.wrong_epoch
            and (options["epochs_known"] or newest < INT32_MAX)
            and epochs_refuted(log, slot, file_size, recovery_point, newest)
        ):
            options["epochs_known"] = False
            options["newest_leader_epoch"] = newest = INT32_MAX
            forget_epochs(log)
        else:
            break
    report["scanned_bytes"] += scan.position - position
    return whole


cdef bint recover_segment(LogState *log, str directory, int32_t slot, int64_t file_size, dict options, dict report) except *:
    """Checks one segment above the recovery point and does what the verdict says.  False: the log ends with this segment."""
    cdef Scan scan
    cdef Segment *segment = log.segments[slot]
    cdef bint last = slot == log.segment_count - 1
    cdef int64_t recovery_point = options["recovery_point"]
    cdef int64_t following = INT64_MAX if last else log.segments[slot + 1].base_offset
    cdef bint whole = scan_against_epochs(log, directory, slot, file_size, following, options, report, &scan)
    cdef int64_t valid_position = scan.position
    cdef int64_t valid_offset = scan.next_offset
    if whole and (last or scan.next_offset == following or (options["compacted"] and scan.next_offset < following)):
        segment.next_offset = scan.next_offset if last else following
        note_risen(slot, &scan, options)
        return True
    # A closed segment that ends before the next one begins has lost its end: the next one is the valid data that follows.
    found = verdict(
        below_recovery_point=scan.next_offset < recovery_point,
        closed=not last and not options["lossy"],
        wrong_epoch=bool(scan.wrong_epoch),
        valid_follows=scan.valid_position >= 0 or not last,
        ends_inside=bool(scan.ends_inside),
        lossy=options["lossy"],
    )
    report["verdicts"].append((segment.base_offset, valid_position, valid_offset, file_size, found))
    if found == DAMAGE:
        if whole:
            segment.damaged_from = segment.size
            report["damaged"].append((segment.base_offset, valid_position, -1, -1))
        else:
            skip_damage(log, directory, segment, file_size, &scan, options, report)
        segment.end_lost = not last and not options["compacted"] and scan.next_offset < following
        segment.next_offset = scan.next_offset if last else following
        note_risen(slot, &scan, options)
        return True
    if found != CUT:
        report["alarms"] += 1
    if found == CUT_KEEPING:
        keep_cut_bytes(directory, segment, valid_position, file_size - valid_position)
        move_segments_away(log, directory, slot + 1)
    cut_segment(log, directory, segment, valid_position, valid_offset)
    report["cut_bytes"] += file_size - valid_position
    return False


cdef bint check_last_batch(LogState *log, Segment *segment, bint epochs_known, int32_t newest_epoch) except *:
    """After a clean stop: finds the log end by the index and checks the batch before it.  False asks for a full recovery."""
    cdef Scan scan
    cdef int64_t expected_offset = 0
    cdef int64_t file_size = segment.size
    cdef int64_t position
    if file_size == 0:
        return True
    position = scan_start(log, segment, INT64_MAX, True, &expected_offset)
    cdef bint stored = position > 0
    scan.epochs_complete_below = INT64_MAX if epochs_known else 0
    scan.newest_epoch = newest_epoch
    scan.risen_offset = scan.risen_position = -1
    if not scan_segment(log, segment, file_size, position, expected_offset, INT64_MAX, True, &scan):
        return False
    segment.index_final = stored                             # nothing new: the files can stay as they are
    return True


cdef int log_mark_damage(LogState *log, int64_t base_offset) noexcept nogil:
    cdef char path[MAX_PATH_SIZE]
    cdef char text[32]
    cdef int size = snprintf(text, 32, b"%lld\n", <long long> base_offset)
    snprintf(path, MAX_PATH_SIZE, b"%s/damaged-from", log.directory)
    return io_replace_file(log.directory, path, <const uint8_t *> text, size, True)


cdef int64_t known_damage(str directory) except -2:
    """Base offset of the first segment that was found damaged once, -1 when none was: what lies below the recovery point is read again."""
    try:
        with open(os.path.join(directory, DAMAGE_MARK), encoding="ascii") as mark:
            return max(int(mark.read()), 0)
    except FileNotFoundError:
        return -1
    except ValueError:
        return 0


cdef void note_damage(LogState *log, str directory, dict report) except *:
    """Remembers damage over a restart, until a recovery finds none any more."""
    path = os.path.join(directory, DAMAGE_MARK)
    if report["damaged"]:
        check_errno(log_mark_damage(log, min([found[0] for found in report["damaged"]])), path)
    elif os.path.exists(path):
        check_errno(io_unlink(path.encode()), path)
        check_errno(io_sync_directory(log.directory), directory)


cdef void recover_unclean(LogState *log, str directory, list sizes, dict options, dict report) except *:
    cdef int32_t slot
    cdef int64_t scan_from = options["scan_from"]
    for slot in range(len(sizes)):
        if slot + 1 < log.segment_count and log.segments[slot + 1].base_offset <= scan_from:
            continue
        if not recover_segment(log, directory, slot, sizes[slot], options, report):
            break


cdef void note_replay(Segment *segment, Status status, dict report) except *:
    """Headers that do not follow one another are damage too, where no scan came by before."""
    if status != DAMAGED:
        check(status, "replay")
        return
    if not any(found[0] == segment.base_offset for found in report["damaged"]):
        report["damaged"].append((segment.base_offset, segment.damaged_from, segment.damaged_to, segment.damaged_to_offset))


cdef void load_epochs_of_log(LogState *log, bint known, dict report) except *:
    """From the log if their file is no use.  What the file tells of offsets behind the log's end must not meet new batches there.

    What lies below the start offset nobody can read: an epoch that ends there is gone, as it was before the stop.
    """
    cdef int32_t slot
    cdef Status status = OK
    cdef bint judge = not report["damaged"]                  # else a scan has found them, and where it found them is all that is told
    if not known:
        forget_epochs(log)
        for slot in range(log.segment_count):
            with nogil:
                status = replay_segment(log, log.segments[slot], log.segments[slot].base_offset, False, True, judge)
            note_replay(log.segments[slot], status, report)
            judge = judge and status == OK
    cdef int32_t count = log.epochs.count
    leader_epochs_truncate_end(&log.epochs, log.end_offset)
    if known and log.epochs.count < count:
        check_errno(leader_epochs_save(&log.epochs, log.directory), "leader-epoch-checkpoint")
    leader_epochs_truncate_start(&log.epochs, log.start_offset)
    log.epochs.unsaved = log.epochs.unsaved or not known


cdef void load_state(LogState *log, str directory, listing, dict options, dict report) except *:
    """Producer state: newest snapshot at or below the end, then the batches behind it."""
    cdef int64_t snapshot = newest_snapshot(log, directory, listing.snapshots, log.end_offset)
    cdef int64_t from_offset = snapshot if snapshot >= 0 else log.segments[0].base_offset
    cdef int32_t slot
    cdef Status status = OK
    for slot in range(log.segment_count):
        segment_cut_aborted(log.segments[slot], from_offset)
    load_epochs_of_log(log, options["epochs_known"], report)
    slot = max(log_segment_slot(log, from_offset), 0)
    while slot < log.segment_count and from_offset < log.end_offset:
        with nogil:
            status = replay_segment(log, log.segments[slot], from_offset, True, False, False)
        note_replay(log.segments[slot], status, report)
        slot += 1
    kept = sorted(listing.snapshots)[-KEPT_SNAPSHOTS:]
    for slot in range(KEPT_SNAPSHOTS):
        log.snapshots[slot] = -1
    for slot, offset in enumerate(reversed(kept)):
        log.snapshots[KEPT_SNAPSHOTS - 1 - slot] = offset
    report["snapshot_offset"] = snapshot
    log_publish_undecided(log)


cdef int64_t certified_offset(LogState *log, str directory, list snapshots, dict options) except -2:
    """Recovery point: the checkpointed one, or the newest readable snapshot where those may be trusted."""
    cdef int64_t newest
    if not options["trust_snapshots"] or not snapshots:
        return options["recovery_point"]
    newest = newest_snapshot(log, directory, snapshots, INT64_MAX)
    producers_clear(&log.producers)
    return max(newest, <int64_t> options["recovery_point"])


cdef bint begins_with_a_hole(LogState *log, dict options) except *:
    """A power loss took the first segments' names, which were never fsynced, and left later ones: nothing here was ever durable.

    The start offset is made durable before retention deletes anything, so a log of ours that begins behind it has lost its beginning.
    """
    cdef int64_t first = log.segments[0].base_offset
    return options["lossy"] and options["trust_snapshots"] and options["recovery_point"] <= options["log_start_offset"] < first


cdef void drop_all(LogState *log, str directory, dict options, dict report) except *:
    """Keeps every byte in lost+found/ and begins anew at the start offset."""
    cdef Segment *fresh
    cdef int64_t size = sum([log.segments[slot].size for slot in range(log.segment_count)])
    report["verdicts"].append((log.segments[0].base_offset, 0, options["log_start_offset"], size, CUT_KEEPING))
    report["alarms"] += 1
    report["cut_bytes"] += size
    move_segments_away(log, directory, 0)
    fresh = segment_new(options["log_start_offset"])
    if fresh == NULL or log_add_segment(log, fresh) != OK:
        raise MemoryError


cdef void recover(LogState *log, str directory, dict options, dict report) except *:
    cdef Segment *active
    cdef int64_t damage = known_damage(directory)
    cdef bint clean = options["clean"] and damage < 0
    listing = Listing(directory)
    if listing.leftovers:
        finish_leftovers(directory, listing)
        listing = Listing(directory)
    cdef list sizes = load_segments(log, directory, listing)
    if not sizes:
        active = segment_new(options["log_start_offset"])
        if active == NULL or log_add_segment(log, active) != OK:
            raise MemoryError
    load_aborted(log, directory, listing)
    options["epochs_known"] = load_epochs(log, directory) or not sizes
    options["risen_offset"] = -1
    active = log.segments[log.segment_count - 1]
    if sizes:
        if clean and not check_last_batch(log, active, options["epochs_known"], options["newest_leader_epoch"]):
            clean = False
            report["clean_refuted"] = True
            if not options["epochs_known"]:
                forget_epochs(log)
        if not clean:
            options["recovery_point"] = certified_offset(log, directory, listing.snapshots, options)
            options["scan_from"] = options["recovery_point"] if damage < 0 else min(damage, options["recovery_point"])
            active.size = sizes[len(sizes) - 1]
            if begins_with_a_hole(log, options):
                drop_all(log, directory, options, report)
            else:
                recover_unclean(log, directory, sizes, options, report)
    active = log.segments[log.segment_count - 1]
    active.sealed = False
    report["ends_below_recovery_point"] = not clean and active.next_offset < options["recovery_point"]
    log.end_offset = active.next_offset
    log.start_offset = min(max(<int64_t> options["log_start_offset"], log.segments[0].base_offset), log.end_offset)
    load_state(log, directory, listing, options, report)
    log.durable_offset = log.recovery_point = log.end_offset
    report["unsynced"] = not clean and options["defer_sync"] and not report["damaged"]
    if clean:
        active.unsynced = False
    elif report["unsynced"]:
        log.durable_offset = log.recovery_point = min(<int64_t> options["recovery_point"], log.end_offset)
        log.directory_unsynced = True
    else:
        sync_recovered(log, directory)
    report["clean"] = bool(clean)
    report["recovery_point"] = options["recovery_point"]
    if report["damaged"]:
        log_take_offline(log, DAMAGED, 0)
    note_damage(log, directory, report)


cdef void sync_recovered(LogState *log, str directory) except *:
    """What was checked may lie in the page cache only: it becomes durable before anybody is told of it, and so do the epochs."""
    cdef int32_t slot
    for slot in range(log.segment_count):
        if log.segments[slot].unsynced and log.segments[slot].file != NULL:
            check_errno(io_sync(log.segments[slot].file.fd), directory)
        log.segments[slot].unsynced = False
    if log.epochs.unsaved:
        check_errno(leader_epochs_save(&log.epochs, log.directory), directory)


cdef LogState *load_log(str directory, const LogLimits *limits, dict options, dict report) except NULL:
    cdef bytes path = os.fsencode(directory)
    if len(path) + 40 > MAX_PATH_SIZE:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), directory)
    cdef LogState *log = log_create(path)
    if log == NULL:
        raise MemoryError
    report.update(scanned_bytes=0, cut_bytes=0, alarms=0, verdicts=[], damaged=[], clean_refuted=False)
    log.limits = limits[0]
    log.oldest_unflushed_ms = -1
    pthread_mutex_lock(&log.mutex)                           # nobody else knows the log, but its files are in the ring of open ones
    try:
        recover(log, directory, options, report)
    except BaseException:
        pthread_mutex_unlock(&log.mutex)
        log_release(log)
        raise
    pthread_mutex_unlock(&log.mutex)
    return log
