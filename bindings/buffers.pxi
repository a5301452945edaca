# buffers.pxi - a bounded pool of big memory blocks behind NumPy arrays.
#
# The C allocator maps blocks above some threshold afresh at each allocation, and the page faults of
# the first touch can cost more than the arithmetic of a layer. Blocks of at least SMALLEST bytes
# come from here: when the last array on a block dies, the block is kept, still mapped, for the next
# request of its size class, up to a limit on the sum of what is kept. The GIL guards the lists.

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc

cimport cpython.buffer as pybuf

cdef enum:
    ALIGNMENT = 64
    SMALLEST = 65536

cdef dict _free_blocks = {}  # class size -> list of raw addresses
cdef size_t _kept_bytes = 0
cdef size_t _kept_limit = 1 << 30


cdef size_t _class_size(size_t n) noexcept:
    """n rounded up to a size class: four classes an octave, so at most 25 % is unused."""
    cdef size_t octave = SMALLEST
    while octave * 2 <= n:
        octave *= 2
    cdef size_t step = octave // 4
    return (n + step - 1) // step * step


cdef class _Block:
    """Memory of one size class, exposed by the buffer protocol; goes back to the pool at death."""

    cdef void *raw
    cdef size_t size
    cdef Py_ssize_t shape
    cdef Py_ssize_t stride

    def __cinit__(self, size_t size):
        global _kept_bytes
        self.raw = NULL
        self.size = _class_size(size)
        cdef list blocks = _free_blocks.get(self.size)
        if blocks:
            self.raw = <void *><uintptr_t>blocks.pop()
            _kept_bytes -= self.size
        else:
            self.raw = malloc(self.size + ALIGNMENT)
        if self.raw == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")

    def __dealloc__(self):
        global _kept_bytes
        if self.raw == NULL:
            return
        if _kept_bytes + self.size > _kept_limit:
            free(self.raw)
            return
        _free_blocks.setdefault(self.size, []).append(<uintptr_t>self.raw)
        _kept_bytes += self.size

    def __getbuffer__(self, Py_buffer *view, int flags):
        cdef uintptr_t address = <uintptr_t>self.raw
        view.buf = <void *>((address + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
        view.obj = self
        view.len = <Py_ssize_t>self.size
        view.readonly = 0
        view.itemsize = 1
        view.format = NULL
        view.ndim = 1
        self.shape = <Py_ssize_t>self.size
        self.stride = 1
        view.shape = &self.shape
        view.strides = &self.stride
        view.suboffsets = NULL
        view.internal = NULL


def block(size_t size):
    """A writable buffer of at least `size` bytes, aligned to 64, from the pool."""
    return _Block(size)


def pool_clear():
    """Free every kept block; blocks in use are not touched."""
    global _kept_bytes
    cdef list blocks
    for blocks in _free_blocks.values():
        for address in blocks:
            free(<void *><uintptr_t>address)
    _free_blocks.clear()
    _kept_bytes = 0


def pool_info():
    """(bytes kept, most bytes kept)."""
    return _kept_bytes, _kept_limit


def pool_set_limit(size_t limit):
    global _kept_limit
    _kept_limit = limit
    if _kept_bytes > limit:
        pool_clear()
