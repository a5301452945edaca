# common.pxi - status codes as exceptions, dtype codes, and the build and machine facts.

cdef extern from "fastcnn.h" nogil:
    ctypedef enum fc_status:
        FC_OK
        FC_ERROR_SHAPE
        FC_ERROR_OVERFLOW
        FC_ERROR_UNSUPPORTED
        FC_ERROR_VALUE
    ctypedef enum fc_dtype:
        FC_FLOAT32
        FC_FLOAT64
    int fc_isa_count()
    const char *fc_isa_name(int i)
    int fc_isa_available(int i)
    int fc_isa_active()
    fc_status fc_isa_select(int i)
    fc_status fc_isa_multiply_adds(fc_dtype dtype, int64_t n, int n_threads, double *mean)
    const char *fc_threading()
    void fc_threads_pause()


cdef int check(fc_status status) except -1:
    """Raise for anything but FC_OK. The ops floor has checked before; this is the second net."""
    if status == FC_OK:
        return 0
    if status == FC_ERROR_OVERFLOW:
        raise MemoryError("fastcnn kernel: a size does not fit in 64 bits")
    if status == FC_ERROR_VALUE:
        raise ValueError("fastcnn kernel: an input value is outside its range")
    raise ValueError(f"fastcnn kernel: bad descriptor (status {<int>status})")


cdef inline fc_dtype dtype_of(cnp.ndarray a) except *:
    if cnp.PyArray_TYPE(a) == cnp.NPY_FLOAT32:
        return FC_FLOAT32
    if cnp.PyArray_TYPE(a) == cnp.NPY_FLOAT64:
        return FC_FLOAT64
    raise TypeError(f"fastcnn kernel: expected float32 or float64, got {a.dtype}")


cdef inline void *data(cnp.ndarray a) noexcept:
    """The array's memory, or NULL for None."""
    return NULL if a is None else cnp.PyArray_DATA(a)


cdef bint is_plain(a) noexcept:
    """Whether a kernel takes `a` as it is: float32 or float64, native, C-contiguous, aligned."""
    if not cnp.PyArray_CheckExact(a):
        return False
    cdef int t = cnp.PyArray_TYPE(a)
    return (t == cnp.NPY_FLOAT32 or t == cnp.NPY_FLOAT64) and cnp.PyArray_ISCARRAY_RO(a)


def fits(a, ndim=None, dtype=None):
    """Whether a kernel takes `a` as it is, with `ndim` dimensions and of `dtype` where given."""
    if not is_plain(a):
        return False
    if ndim is not None and cnp.PyArray_NDIM(a) != <int>ndim:
        return False
    return dtype is None or (<cnp.ndarray>a).dtype == dtype


cpdef bint fits_like(a, like, bint changed=False):
    """Whether a kernel takes `a` as it is, of the shape and dtype of the array `like`; `changed`:
    whether it can write to it too."""
    if not is_plain(a) or (changed and not cnp.PyArray_ISWRITEABLE(a)):
        return False
    if not is_plain(like):
        return False
    cdef cnp.ndarray one = a, other = like
    return one is other or (
        cnp.PyArray_TYPE(one) == cnp.PyArray_TYPE(other) and cnp.PyArray_SAMESHAPE(one, other))


cdef bint is_plain_size(a) noexcept:
    """Whether `a` is an int, or a tuple of ints and of such tuples; True and 1.0 are none."""
    cdef object item
    if type(a) is int:
        return True
    if type(a) is not tuple:
        return False
    for item in <tuple>a:
        if not is_plain_size(item):
            return False
    return True


def plain_sizes(a, b, c, d):
    """Whether each is an int, or a tuple of ints and of such tuples, or a string: then equal means the
    same, and what was once computed from them may be remembered by them."""
    return ((is_plain_size(a) or type(a) is str) and (is_plain_size(b) or type(b) is str)
            and (is_plain_size(c) or type(c) is str) and (is_plain_size(d) or type(d) is str))


def isa_tiers():
    """[(name, available)] of every tier the sources know, in rising preference."""
    return [
        (fc_isa_name(i).decode(), bool(fc_isa_available(i))) for i in range(fc_isa_count())
    ]


def isa_active():
    return fc_isa_name(fc_isa_active()).decode()


def isa_select(int i):
    check(fc_isa_select(i))


def isa_multiply_adds(int64_t n, int n_threads):
    """At least `n` multiply-adds of float32 in registers; the mean of some, which comes near 1."""
    cdef fc_status status
    cdef double mean = 0
    with nogil:
        status = fc_isa_multiply_adds(FC_FLOAT32, n, n_threads, &mean)
    check(status)
    return mean


def threading():
    return fc_threading().decode()


def threads_pause():
    fc_threads_pause()
