# lrn.pxi - the lrn family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef struct fc_lrn_desc:
        fc_dtype dtype
        int64_t n
        int64_t c
        int64_t size
        int64_t window
        double alpha
        double beta
        double k
    fc_status fc_lrn_forward(const fc_lrn_desc *d, const void *x, void *y, int n_threads)
    fc_status fc_lrn_backward_workspace_bytes(
        const fc_lrn_desc *d, int n_threads, int64_t *bytes)
    fc_status fc_lrn_backward(
        const fc_lrn_desc *d, const void *dy, const void *x, void *dx, void *workspace,
        int n_threads)


cdef fc_lrn_desc lrn_desc(tuple sizes, tuple settings, cnp.ndarray x):
    n, c, size = sizes
    window, alpha, beta, k = settings
    return fc_lrn_desc(dtype_of(x), n, c, size, window, alpha, beta, k)


def lrn_forward(tuple sizes, tuple settings, cnp.ndarray x, cnp.ndarray y, int n_threads):
    cdef fc_lrn_desc d = lrn_desc(sizes, settings, x)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    with nogil:
        status = fc_lrn_forward(&d, xp, yp, n_threads)
    check(status)


def lrn_backward_workspace_bytes(tuple sizes, tuple settings, cnp.ndarray x, int n_threads):
    cdef fc_lrn_desc d = lrn_desc(sizes, settings, x)
    cdef int64_t nbytes = 0
    check(fc_lrn_backward_workspace_bytes(&d, n_threads, &nbytes))
    return nbytes


def lrn_backward(
    tuple sizes, tuple settings, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx,
    cnp.ndarray workspace, int n_threads
):
    cdef fc_lrn_desc d = lrn_desc(sizes, settings, x)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *xp = data(x)
    cdef void *dxp = data(dx)
    cdef int64_t nbytes = 0
    check(fc_lrn_backward_workspace_bytes(&d, n_threads, &nbytes))
    cdef _Block block = scratch_block(workspace, nbytes)
    cdef void *wp = scratch_data(workspace, block)
    with nogil:
        status = fc_lrn_backward(&d, dyp, xp, dxp, wp, n_threads)
    check(status)
