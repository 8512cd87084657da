# Fast construction of slotted classes. A Layout owns its offsets; layouts live as long as the process.

cdef class Layout:
    cdef tuple names
    cdef tuple defaults
    cdef Py_ssize_t count
    cdef Py_ssize_t *offsets
