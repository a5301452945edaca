# pool2d.pxi - the pool2d family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef struct fc_pool2d_desc:
        fc_dtype dtype
        int64_t n, c, h, w
        int64_t oh, ow
        int64_t kh, kw
        int64_t stride_h, stride_w
        int64_t pad_top, pad_bottom, pad_left, pad_right
        int64_t dilation_h, dilation_w
        int count_include_pad
    fc_status fc_max_pool2d_forward(
        const fc_pool2d_desc *d, const void *x, void *y, int32_t *indices, int n_threads)
    fc_status fc_max_pool2d_backward(
        const fc_pool2d_desc *d, const void *dy, const int32_t *indices, void *dx, int n_threads)
    fc_status fc_avg_pool2d_forward(
        const fc_pool2d_desc *d, const void *x, void *y, int n_threads)
    fc_status fc_avg_pool2d_backward(
        const fc_pool2d_desc *d, const void *dy, void *dx, int n_threads)
    fc_status fc_global_avg_pool2d_forward(
        fc_dtype dtype, int64_t planes, int64_t size, const void *x, void *y, int n_threads)
    fc_status fc_global_avg_pool2d_backward(
        fc_dtype dtype, int64_t planes, int64_t size, const void *dy, void *dx, int n_threads)


cdef fc_pool2d_desc pool2d_desc(cnp.ndarray a, tuple shape, window, bint count_include_pad) except *:
    """The descriptor of a pooling of images of `shape` with a fastcnn._checks.Window."""
    cdef fc_pool2d_desc d
    d.dtype = dtype_of(a)
    d.n, d.c, d.h, d.w = shape
    d.oh, d.ow = window.out
    d.kh, d.kw = window.kernel
    d.stride_h, d.stride_w = window.stride
    d.pad_top, d.pad_bottom, d.pad_left, d.pad_right = window.padding
    d.dilation_h, d.dilation_w = window.dilation
    d.count_include_pad = count_include_pad
    return d


def max_pool2d_forward(
    window, tuple shape, cnp.ndarray x, cnp.ndarray y, cnp.ndarray indices, int n_threads
):
    cdef fc_pool2d_desc d = pool2d_desc(x, shape, window, False)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    cdef int32_t *ip = <int32_t *>data(indices)
    with nogil:
        status = fc_max_pool2d_forward(&d, xp, yp, ip, n_threads)
    check(status)


def max_pool2d_backward(
    window, tuple shape, cnp.ndarray dy, cnp.ndarray indices, cnp.ndarray dx, int n_threads
):
    """False if an index is no element of its window; dx is then of no use."""
    cdef fc_pool2d_desc d = pool2d_desc(dy, shape, window, False)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *dxp = data(dx)
    cdef int32_t *ip = <int32_t *>data(indices)
    with nogil:
        status = fc_max_pool2d_backward(&d, dyp, ip, dxp, n_threads)
    if status == FC_ERROR_VALUE:
        return False
    check(status)
    return True


def avg_pool2d_forward(
    window, tuple shape, cnp.ndarray x, cnp.ndarray y, bint count_include_pad, int n_threads
):
    cdef fc_pool2d_desc d = pool2d_desc(x, shape, window, count_include_pad)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    with nogil:
        status = fc_avg_pool2d_forward(&d, xp, yp, n_threads)
    check(status)


def avg_pool2d_backward(
    window, tuple shape, cnp.ndarray dy, cnp.ndarray dx, bint count_include_pad, int n_threads
):
    cdef fc_pool2d_desc d = pool2d_desc(dy, shape, window, count_include_pad)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *dxp = data(dx)
    with nogil:
        status = fc_avg_pool2d_backward(&d, dyp, dxp, n_threads)
    check(status)


def global_avg_pool2d_forward(
    int64_t planes, int64_t size, cnp.ndarray x, cnp.ndarray y, int n_threads
):
    cdef fc_dtype dtype = dtype_of(x)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    with nogil:
        status = fc_global_avg_pool2d_forward(dtype, planes, size, xp, yp, n_threads)
    check(status)


def global_avg_pool2d_backward(
    int64_t planes, int64_t size, cnp.ndarray dy, cnp.ndarray dx, int n_threads
):
    cdef fc_dtype dtype = dtype_of(dy)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *dxp = data(dx)
    with nogil:
        status = fc_global_avg_pool2d_backward(dtype, planes, size, dyp, dxp, n_threads)
    check(status)
