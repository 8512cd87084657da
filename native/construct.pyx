# cython: binding=False, always_allow_keywords=False
"""Fast construction of slotted classes whose __init__ does nothing but assign its keyword arguments to slots.

Every message that a broker answers is built of such objects.  type.__call__ packs a tuple and a dict for each and runs __init__ in
Python; here the keyword arguments go from the caller's stack straight into the slots (figures: benchmarks/micro/bench_codecs.py).
Uses PyTypeObject.tp_vectorcall, which CPython documents for this purpose since 3.9, and the member descriptors that __slots__ makes.
"""

from cpython.dict cimport PyDict_GetItem
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XINCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE

cdef extern from "Python.h":
    ctypedef PyObject *(*vectorcall_function)(PyObject *, PyObject *const *, size_t, PyObject *) except NULL
    ctypedef void *new_function
    ctypedef struct PyTypeObject:
        vectorcall_function tp_vectorcall
        new_function tp_new
        PyObject *(*tp_alloc)(PyTypeObject *, Py_ssize_t) except NULL
    ctypedef struct PyMemberDef:
        int type
        Py_ssize_t offset
    ctypedef struct PyMemberDescrObject:
        PyMemberDef *d_member
    PyTypeObject PyBaseObject_Type
    PyTypeObject PyMemberDescr_Type
    Py_ssize_t PyVectorcall_NARGS(size_t flags) noexcept

cdef extern from "structmember.h":
    int T_OBJECT_EX


cdef class Layout:
    """Where the slots of one class are, in the order of __slots__, and what they hold when nothing is said."""

    def __cinit__(self, type cls, dict defaults):
        cdef PyMemberDescrObject *slot
        self.names = tuple(cls.__slots__)
        self.count = len(self.names)
        self.offsets = <Py_ssize_t *>PyMem_Malloc(max(self.count, 1) * sizeof(Py_ssize_t))
        if self.offsets == NULL:
            raise MemoryError
        if set(self.names) != set(defaults):
            raise TypeError(f"{cls.__name__}: __slots__ and the keyword arguments of __init__ differ")
        self.defaults = tuple([defaults[name] for name in self.names])
        for index, name in enumerate(self.names):
            member = cls.__dict__[name]
            slot = <PyMemberDescrObject *><PyObject *>member
            if type(member) is not <type>&PyMemberDescr_Type or slot.d_member.type != T_OBJECT_EX:
                raise TypeError(f"{cls.__name__}.{name} is not a slot")
            self.offsets[index] = slot.d_member.offset

    def __dealloc__(self):
        PyMem_Free(self.offsets)


cdef dict _layouts = {}                  # class -> Layout; classes are made at import, it does not grow after that


cdef inline PyObject **slot_of(PyObject *instance, Layout layout, Py_ssize_t index) noexcept:
    return <PyObject **>(<char *>instance + layout.offsets[index])


cdef Py_ssize_t index_of(Layout layout, PyObject *name, Py_ssize_t guess) except -2:
    """Position of a slot; -1 when there is none.  Names are interned: nearly always the pointers are equal, and in order."""
    cdef Py_ssize_t _step
    cdef Py_ssize_t index = guess
    for _step in range(layout.count):
        if index >= layout.count:
            index = 0
        if <PyObject *>PyTuple_GET_ITEM(layout.names, index) is name:
            return index
        index += 1
    for index in range(layout.count):
        if layout.names[index] == <object>name:
            return index
    return -1


cdef int fill(PyObject *instance, Layout layout, PyObject *const *arguments, tuple names) except -1:
    """Put the arguments into their slots and the defaults into the others; all slots are empty."""
    cdef Py_ssize_t index = -1
    cdef Py_ssize_t number
    cdef PyObject **slot
    for number in range(PyTuple_GET_SIZE(names) if names is not None else 0):
        index = index_of(layout, <PyObject *>PyTuple_GET_ITEM(names, number), index + 1)
        slot = slot_of(instance, layout, index) if index >= 0 else NULL
        if slot == NULL or slot[0] != NULL:
            raise TypeError(f"{type(<object>instance).__name__}: unknown or repeated argument {names[number]!r}")
        Py_XINCREF(arguments[number])
        slot[0] = arguments[number]
    for number in range(layout.count):
        slot = slot_of(instance, layout, number)
        if slot[0] == NULL:
            slot[0] = <PyObject *>PyTuple_GET_ITEM(layout.defaults, number)
            Py_XINCREF(slot[0])
    return 0


cdef PyObject *construct(PyObject *cls, PyObject *const *arguments, size_t flags, PyObject *names) except NULL:
    """What calling a class does after fast_init()."""
    cdef Layout layout = <Layout>PyDict_GetItem(_layouts, <object>cls)
    cdef PyObject *instance
    if PyVectorcall_NARGS(flags) != 0:
        raise TypeError(f"{(<object>cls).__name__} takes keyword arguments only")
    instance = (<PyTypeObject *>cls).tp_alloc(<PyTypeObject *>cls, 0)
    try:
        fill(instance, layout, arguments, <tuple>names if names != NULL else None)
    except BaseException:
        Py_DECREF(<object>instance)
        raise
    return instance


def fast_init(type cls):
    """Class decorator: calls of the class fill its slots without running __init__, which stays what it says.

    For a class whose __init__ takes keyword arguments named as its __slots__, each with a default, and only assigns them.
    Raises TypeError for slots that differ from the arguments.
    """
    _layouts[cls] = Layout(cls, cls.__init__.__kwdefaults__)
    (<PyTypeObject *><PyObject *>cls).tp_vectorcall = construct
    return cls


def new(type cls):
    """An instance whose slots are not set: a third of the time of object.__new__.  Raises TypeError for what is not a plain class."""
    cdef PyTypeObject *plain = <PyTypeObject *><PyObject *>cls
    cdef PyObject *instance
    if plain.tp_new != PyBaseObject_Type.tp_new:
        raise TypeError(f"{cls.__name__} has a __new__ of its own")
    instance = plain.tp_alloc(plain, 0)
    made = <object>instance
    Py_DECREF(made)
    return made
