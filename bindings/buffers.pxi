# buffers.pxi - a bounded pool of big memory blocks behind NumPy arrays.
#
# The C allocator maps blocks above some threshold afresh at each allocation, and the page faults of
# the first touch can cost more than the arithmetic of a layer. Blocks of at least SMALLEST bytes
# come from here: when the last array on a block dies, the block is kept, still mapped, for the next
# request of its size class, up to a limit on the sum of what is kept. The GIL guards the lists.

#
# Blocks of a few megabytes and more are asked for in huge pages, where the system grants them on
# demand (Linux): a kernel that writes to dozens of planes at once then needs a few page
# translations instead of dozens, and the first touch faults 512 times less often. Not for the rest
# behind the last whole one: of prepared weights, kept for long, a huge page there would lie idle.

from libc.stdint cimport uintptr_t

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef _WIN32
    #include <malloc.h>
    static void *block_get(size_t size, size_t used) {
        (void)used;
        return _aligned_malloc(size, 64);
    }
    static void block_free(void *p) { _aligned_free(p); }
    #else
    #include <sys/mman.h>
    #define HUGE_PAGE ((size_t)2 << 20)
    static void *block_get(size_t size, size_t used) {
        void *p = NULL;
        int huge = size >= 2 * HUGE_PAGE;
        if (posix_memalign(&p, huge ? HUGE_PAGE : 64, size) != 0) return NULL;
    #ifdef MADV_HUGEPAGE
        if (huge) madvise(p, used / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    #else
        (void)used;
    #endif
        return p;
    }
    static void block_free(void *p) { free(p); }
    #endif
    """
    void *block_get(size_t size, size_t used)
    void block_free(void *p)

cdef enum:
    SMALLEST = 65536  # smaller arrays come from NumPy, whose allocator is quicker for them
cdef cnp.npy_intp MOST_BYTES = <cnp.npy_intp>1 << 62

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
    """Memory of one size class, the base of an array; goes back to the pool at death."""

    cdef void *raw
    cdef size_t size

    def __cinit__(self, size_t size):
        global _kept_bytes
        self.raw = NULL
        if size > <size_t>MOST_BYTES:
            raise MemoryError(f"cannot allocate {size} bytes")
        self.size = _class_size(size)
        cdef list blocks = _free_blocks.get(self.size)
        if blocks:
            self.raw = <void *><uintptr_t>blocks.pop()
            _kept_bytes -= self.size
        else:
            self.raw = block_get(self.size, size)
        if self.raw == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")

    def __dealloc__(self):
        global _kept_bytes
        if self.raw == NULL:
            return
        if _kept_bytes + self.size > _kept_limit:
            block_free(self.raw)
            return
        _free_blocks.setdefault(self.size, []).append(<uintptr_t>self.raw)
        _kept_bytes += self.size


def empty(tuple shape, cnp.dtype dtype):
    """An uninitialised C-contiguous array: of SMALLEST bytes and more on a block from the pool,
    aligned to 64. None if its bytes do not fit in 62 bits, or it has more than 32 dimensions."""
    cdef cnp.npy_intp dims[32]
    cdef int i, ndim = len(shape)
    cdef cnp.npy_intp size = dtype.itemsize
    if ndim > 32:
        return None
    for i in range(ndim):
        try:
            dims[i] = shape[i]
        except OverflowError:
            return None
        if dims[i] < 0 or (dims[i] > 0 and size > MOST_BYTES // dims[i]):
            return None
        size *= dims[i]
    if size < SMALLEST:
        return cnp.PyArray_SimpleNew(ndim, dims, dtype.num)
    cdef _Block block = _Block(size)
    cdef cnp.ndarray a = cnp.PyArray_SimpleNewFromData(ndim, dims, dtype.num, block.raw)
    cnp.set_array_base(a, block)
    return a


def workspace(size_t size):
    """Scratch of `size` bytes and more, on a block from the pool, aligned to 64."""
    cdef _Block block = _Block(size if size > SMALLEST else SMALLEST)
    cdef cnp.npy_intp n = size
    cdef cnp.ndarray a = cnp.PyArray_SimpleNewFromData(1, &n, cnp.NPY_UINT8, block.raw)
    cnp.set_array_base(a, block)
    return a


cdef _Block scratch_block(cnp.ndarray workspace, size_t size):
    """What a kernel's `size` bytes of scratch are on if the caller gives no workspace; else None."""
    if workspace is not None:
        return None
    return _Block(size if size > SMALLEST else SMALLEST)


cdef inline void *scratch_data(cnp.ndarray workspace, _Block block) noexcept:
    return data(workspace) if block is None else block.raw


def pool_clear():
    """Free every kept block; blocks in use are not touched."""
    global _kept_bytes
    cdef list blocks
    for blocks in _free_blocks.values():
        for address in blocks:
            block_free(<void *><uintptr_t>address)
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
