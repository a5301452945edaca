# pointwise.pxi - the pointwise family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    fc_status fc_relu_forward(fc_dtype dtype, int64_t n, const void *x, void *y, int n_threads)


def relu_forward(cnp.ndarray x, cnp.ndarray y, int n_threads):
    cdef fc_dtype dtype = dtype_of(x)
    cdef int64_t n = x.size
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    with nogil:
        status = fc_relu_forward(dtype, n, xp, yp, n_threads)
    check(status)
