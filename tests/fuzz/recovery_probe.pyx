"""Directories of changed files, recovered one after the other on tmpfs; built only with PYSTREAM_SANITIZE=1.

An input is a scene (the files that a log has left) of which some files are changed, and the options of opening it; both follow from the
seed and the input's number alone.  Whatever lies there:

    opening succeeds; what is served are whole batches in order, with right checksums where recovery has scanned
    a damaged segment is never cut, and the log takes no writes then; a cut that is not torn leaves its bytes in lost+found/
    a log that is online takes a batch and gives it back, and is found whole by a second recovery
"""

import os

from libc.stdint cimport INT32_MAX, INT64_MAX, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from posix.fcntl cimport O_CREAT, O_WRONLY, open as open_file
from posix.unistd cimport close as close_file, ftruncate, pwrite

from pystream._native.batch cimport BatchHeader, check_batch_crc, parse_batch_header
from pystream._native.io_table cimport io_read_at
from pystream._native.local_log cimport LocalLog, ReadResult, log_read, segment_file_release
from pystream._native.status cimport DAMAGED, OK, STORAGE_ERROR, Status
from tests.fuzz.mutator cimport batch_size, change, changed_copy, mend_batch, next_random

from pystream._native.crc32c import crc32c
from pystream._native.log_recovery import CUT, CUT_KEEPING, DAMAGE
from pystream.common.errors import KafkaStorageError

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)

cdef enum:
    MAXIMUM_READS = 500
    SAME_SCENE = 64                      # inputs in a row: most files are there already
    HANG_MS = 2_000
    SNAPSHOT_CRC_AT = 2
    SNAPSHOT_CRC_FROM = 6
    FIELDS = 13

cdef int[FIELDS] field_at = [0, 8, 12, 16, 17, 21, 23, 27, 35, 43, 51, 53, 57]
cdef int[FIELDS] field_size = [8, 4, 4, 1, 4, 2, 4, 8, 8, 8, 2, 4, 4]


cdef double now_ms() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6


cdef void change_header(uint64_t *state, uint8_t *data) noexcept nogil:
    """One field of a batch header: a little more or less, or an edge of its range."""
    cdef int field = <int>(next_random(state) % FIELDS)
    cdef uint64_t choice = next_random(state)
    cdef int last = field_at[field] + field_size[field] - 1
    if choice % 3 == 0:
        data[last] = <uint8_t>(data[last] + 1 + (choice >> 8) % 3)
    elif choice % 3 == 1:
        data[last] = <uint8_t>(data[last] - 1 - (choice >> 8) % 3)
    else:
        memset(data + field_at[field], 0xFF if (choice >> 8) % 2 else 0x00, field_size[field])


cdef void change_batches(uint64_t *state, uint8_t *data, Py_ssize_t size) noexcept nogil:
    """Goes over the batches that their lengths tell of: changes headers here and there, then makes most checksums right."""
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t found
    cdef uint64_t mend = next_random(state) % 8
    cdef uint64_t rarity = 1 + next_random(state) % 16
    while position < size:
        found = batch_size(data + position, size - position)
        if found < 0:
            return
        if next_random(state) % (2 * rarity) == 0:
            change_header(state, data + position)
        if next_random(state) % (4 * rarity) == 0:
            change(state, data + position, found)
        if mend < 6:
            mend_batch(data + position, found)
        position += found


cdef uint8_t *with_tail(uint64_t *state, uint8_t *data, Py_ssize_t *size) noexcept nogil:
    """Sometimes zeros behind the end, or from somewhere on."""
    cdef uint64_t choice = next_random(state)
    cdef Py_ssize_t zeros
    cdef uint8_t *longer
    if choice % 12 == 0:
        zeros = 1 + (choice >> 8) % 300
        longer = <uint8_t *>malloc(size[0] + zeros)
        memcpy(longer, data, size[0])
        memset(longer + size[0], 0, zeros)
        free(data)
        size[0] += zeros
        return longer
    if choice % 12 == 1 and size[0] > 0:
        zeros = next_random(state) % size[0]
        memset(data + size[0] - zeros, 0, zeros)
    return data


cdef class RecoveryProbe:
    """`directory` is made anew again and again: it must be the probe's own, in a folder of its own. `scenes`: lists of (name, bytes)."""

    cdef readonly str directory
    cdef readonly int64_t offline
    cdef readonly int64_t cut
    cdef readonly int64_t scanned
    cdef readonly int64_t whole
    cdef readonly double slowest_ms
    cdef str outside
    cdef list scenes
    cdef bytes appended
    cdef dict written
    cdef dict options
    cdef uint64_t state

    def __cinit__(self, str directory, list scenes, bytes appended):
        self.directory = directory
        self.outside = os.path.join(os.path.dirname(directory), "lost+found")
        self.scenes = scenes
        self.appended = appended
        os.makedirs(directory, exist_ok=True)
        os.makedirs(self.outside, exist_ok=True)

    def hammer(self, uint64_t seed, int64_t first, int64_t count) -> None:
        """Inputs first .. first + count - 1 of `seed`.  Raises AssertionError; the files as recovery left them stay then."""
        cdef int64_t number
        cdef double began
        for number in range(first, first + count):
            began = now_ms()
            try:
                self.run(seed, number)
            except Exception as error:
                raise AssertionError(
                    f"input {number} of seed {seed}, opened with {self.options}: {type(error).__name__}: {error}") from error
            began = now_ms() - began
            self.slowest_ms = max(self.slowest_ms, began)
            assert began < HANG_MS, f"input {number} of seed {seed} took {began:.0f} ms"

    cdef int run(self, uint64_t seed, int64_t number) except -1:
        cdef LocalLog log
        self.state = (seed * 0xBF58476D1CE4E5B9ULL + <uint64_t>(number // SAME_SCENE) * 0x9E3779B97F4A7C15ULL) | 1
        scene = self.scenes[next_random(&self.state) % <uint64_t>len(self.scenes)]
        self.state += <uint64_t>(number % SAME_SCENE) * 2
        next_random(&self.state)
        self.write_scene(scene)
        self.drop_others(self.directory, self.written)
        self.drop_others(self.outside, {})
        self.options = self.choose_options()
        log = LocalLog.open(self.directory, **self.options)
        try:
            scanned = self.check(log)
            try:
                self.use(log, scanned)
            except KafkaStorageError:
                assert not scanned, "a log that was scanned proves to be damaged"
        finally:
            log.close(clean=False)
        if not log.is_offline and next_random(&self.state) % 4 == 0:
            self.check_again(log)
        return 0

    cdef int drop_others(self, str folder, dict kept) except -1:
        for name in os.listdir(folder):
            if name not in kept:
                os.unlink(f"{folder}/{name}")
        return 0

    cdef int write_scene(self, list files) except -1:
        cdef Py_ssize_t size
        cdef uint8_t *data
        cdef bytes content
        cdef bytes other
        self.written = {}
        for name, content in files:
            if next_random(&self.state) % 24 == 0:
                continue
            if name.endswith(".log"):
                other = files[next_random(&self.state) % <uint64_t>len(files)][1]
                data = self.changed_segment(content, other, &size)
            else:
                data = self.changed_side_file(name, content, &size)
            self.written[name] = size
            self.write_file(name, data, size)
            free(data)
        return 0

    cdef uint8_t *changed_segment(self, bytes content, bytes other, Py_ssize_t *size) except NULL:
        cdef uint8_t *data
        cdef uint64_t choice = next_random(&self.state)
        if choice % 4 == 0:                                  # blind, as it comes
            data = changed_copy(
                &self.state, <const uint8_t *><const char *>content, len(content), <const uint8_t *><const char *>other, len(other), size)
        else:
            size[0] = len(content)
            data = <uint8_t *>malloc(size[0] + 1)
            memcpy(data, <const char *>content, size[0])
        if choice % 4 >= 2:
            change_batches(&self.state, data, size[0])
        return with_tail(&self.state, data, size)

    cdef uint8_t *changed_side_file(self, str name, bytes content, Py_ssize_t *size) except NULL:
        cdef uint8_t *data
        cdef int at
        if next_random(&self.state) % 2 == 0:
            size[0] = len(content)
            data = <uint8_t *>malloc(size[0] + 1)
            memcpy(data, <const char *>content, size[0])
            return data
        data = changed_copy(
            &self.state, <const uint8_t *><const char *>content, len(content), <const uint8_t *><const char *>content, len(content), size)
        if name.endswith(".snapshot") and size[0] > SNAPSHOT_CRC_FROM and next_random(&self.state) % 4 != 0:
            checksum = crc32c(data[SNAPSHOT_CRC_FROM:size[0]])
            for at in range(4):
                data[SNAPSHOT_CRC_AT + at] = (checksum >> (24 - 8 * at)) & 0xFF
        return data

    cdef int write_file(self, str name, const uint8_t *data, Py_ssize_t size) except -1:
        cdef bytes path = f"{self.directory}/{name}".encode()
        cdef int fd = open_file(path, O_WRONLY | O_CREAT, 0o644)
        cdef bint done = pwrite(fd, data, size, 0) == size and ftruncate(fd, size) == 0
        close_file(fd)
        assert done, path
        return 0

    cdef dict choose_options(self):
        cdef uint64_t choice = next_random(&self.state)
        cdef uint64_t offsets = next_random(&self.state)
        return {
            "lossy": bool(choice & 1),
            "clean": choice & 6 == 6,
            "recovery_point": <int64_t>((offsets >> 8) % 32) if choice & 8 else 0,
            "log_start_offset": <int64_t>((offsets >> 16) % 16) if choice & 48 == 48 else 0,
            "compacted": bool(choice & 64),
            "trust_snapshots": choice & 384 != 384,
            "log_append_time": bool(choice & 512),
            "newest_leader_epoch": <int32_t>((offsets >> 24) % 8) if choice & 3072 == 3072 else INT32_MAX,
            "segment_bytes": 500,
            "index_interval_bytes": 64,
            "flush_policy": "os",
        }

    cdef bint check(self, LocalLog log) except -1:
        """What recovery says of itself, and what can be read.  True when it has scanned all."""
        cdef dict told = log.recovery
        cdef bint scanned = not told["clean"] and told["recovery_point"] == 0
        for base, position, _offset, size, verdict in told["verdicts"]:
            name = f"{base:020d}.log"
            path = f"{self.directory}/{name}"
            if verdict == DAMAGE:
                assert log.is_offline, "damage, and the log takes writes"
                assert os.stat(path).st_size == size == self.written[name], f"{name} was damaged, and cut"
            elif verdict == CUT_KEEPING:
                assert os.listdir(self.outside) or size == position, f"{name} was cut, and nothing kept"
            elif verdict == CUT:
                assert os.stat(path).st_size == position, f"{name} was not cut"
            self.cut += verdict != DAMAGE
        assert bool(told["damaged"]) == log.is_offline
        assert log.start_offset <= log.end_offset
        self.offline += log.is_offline
        self.scanned += scanned
        self.whole += not told["verdicts"]
        self.read_all(log, scanned)
        return scanned

    cdef int read_all(self, LocalLog log, bint scanned) except -1:
        cdef ReadResult result
        cdef int64_t offset = log.start_offset
        cdef int64_t max_bytes = 300 if next_random(&self.state) % 4 == 0 else 1 << 20
        cdef uint8_t *data
        cdef Status status
        cdef int _reads
        for _reads in range(MAXIMUM_READS):
            if not scanned and offset > log.end_offset:
                return 0
            status = log_read(log.state, offset, INT64_MAX, max_bytes, True, &result)
            if status == DAMAGED or status == STORAGE_ERROR:
                assert log.is_offline or not scanned, f"offset {offset} cannot be read, and the log takes writes"
                return 0
            assert status == OK, f"reading at offset {offset} of {log.start_offset} to {log.end_offset} gave status {<int>status}"
            if result.range.file == NULL:
                return 0
            data = <uint8_t *>malloc(result.range.size)
            try:
                assert io_read_at(result.range.fd, data, result.range.size, result.range.position) == result.range.size
                if scanned:
                    self.check_batches(data, result.range.size, &offset)
                else:                                        # what nobody has scanned is for the reader's CRC check to refuse
                    offset = max(offset + 1, result.next_offset)
            finally:
                free(data)
                segment_file_release(result.range.file)
        assert not scanned, "reading comes to no end"
        return 0

    cdef int check_batches(self, const uint8_t *data, Py_ssize_t size, int64_t *offset) except -1:
        """Whole and in order, from the one that holds `offset` on; moves `offset` behind the last."""
        cdef BatchHeader header
        cdef Py_ssize_t position = 0
        while position < size:
            assert parse_batch_header(data + position, size - position, &header) == OK, f"no batch at offset {offset[0]}"
            assert header.size <= size - position, f"half a batch at offset {offset[0]}"
            assert header.base_offset + header.last_offset_delta >= offset[0], f"offset {header.base_offset} after {offset[0]}"
            assert self.options["compacted"] or header.base_offset <= offset[0], f"offset {offset[0]} was passed over in silence"
            assert check_batch_crc(data + position, &header) == OK, f"a wrong checksum was served at offset {offset[0]}"
            offset[0] = header.base_offset + header.last_offset_delta + 1
            position += header.size
        return 0

    cdef int use(self, LocalLog log, bint scanned) except -1:
        """Everything else that reads or writes the log, now and then."""
        cdef uint64_t choice = next_random(&self.state)
        cdef int32_t epoch = max(log.latest_leader_epoch, 0)     # leaders' epochs never fall, whatever is truncated
        if choice % 4 == 0:
            log.offset_for_timestamp(1_002)
            log.offset_of_max_timestamp()
        if choice % 8 == 4:
            for base_offset, *_ in log.segments()[:-1]:
                damage = log.scrub(base_offset, position=0, next_offset=base_offset, max_bytes=INT64_MAX >> 1)[3]
                assert damage is None or not scanned, f"recovery has missed damage in segment {base_offset}: {damage}"
        if choice % 8 == 1:
            log.segments()
            log.aborted_transactions(offset=log.start_offset, limit_offset=log.end_offset)
        if log.is_offline:
            return 0
        if choice % 8 == 2:
            log.truncate_to(log.start_offset + <int64_t>((choice >> 8) % <uint64_t>(log.end_offset - log.start_offset + 1)))
        end = log.end_offset
        answer = log.append(self.appended, leader_epoch=epoch, now_ms=2_000)
        assert answer[0][:2] == (OK, end), f"an append at {end} was answered with {answer[0]}"
        found = log.read(offset=end)
        assert not scanned or int.from_bytes(found[:8], "big") == end, f"what was appended at {end} is not read there"
        if choice % 8 == 3:
            log.roll()
        if choice % 4 == 3:
            log.flush()
        return 0

    cdef int check_again(self, LocalLog before) except -1:
        """What one recovery has left, a second one finds whole."""
        cdef LocalLog log
        cdef dict told
        if not before.recovery["clean"] and before.recovery["recovery_point"] == 0:
            again = {"clean": False, "recovery_point": 0, "trust_snapshots": False}
            again["newest_leader_epoch"] = max(self.options["newest_leader_epoch"], before.latest_leader_epoch)
            log = LocalLog.open(self.directory, **{**self.options, **again})
            told = log.recovery
            log.close(clean=False)
            assert not told["verdicts"], f"recovered twice, the second time found {told['verdicts']}"
            assert log.end_offset == before.end_offset, f"the log ended at {before.end_offset}, then at {log.end_offset}"
        return 0
