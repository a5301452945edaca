# linear.pxi - the linear family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef struct fc_gemm_desc:
        int64_t m
        int64_t n
        int64_t k
        int64_t a_row
        int64_t a_col
        int64_t b_row
        int64_t b_col
        int accumulate
    ctypedef struct fc_linear_desc:
        int64_t n
        int64_t i
        int64_t o
    int64_t fc_linear_workspace_bytes(
        fc_dtype dtype, int64_t m, int64_t n, int64_t k, int n_threads)
    fc_status fc_gemm(
        const fc_gemm_desc *d, fc_dtype dtype, const void *a, const void *b, void *c,
        void *workspace, int n_threads)
    fc_status fc_linear_forward(
        const fc_linear_desc *d, fc_dtype dtype, const void *x, const void *w, const void *b,
        void *y, void *workspace, int n_threads)
    fc_status fc_linear_backward_input(
        const fc_linear_desc *d, fc_dtype dtype, const void *dy, const void *w, void *dx,
        void *workspace, int n_threads)
    fc_status fc_linear_backward_weight(
        const fc_linear_desc *d, fc_dtype dtype, const void *dy, const void *x, void *dw,
        void *db, void *workspace, int n_threads)


def linear_workspace_bytes(cnp.ndarray like, int64_t m, int64_t n, int64_t k, int n_threads):
    return fc_linear_workspace_bytes(dtype_of(like), m, n, k, n_threads)


def gemm(
    int64_t m, int64_t n, int64_t k, int64_t a_row, int64_t a_col, int64_t b_row, int64_t b_col,
    bint accumulate, cnp.ndarray a, cnp.ndarray b, cnp.ndarray c, cnp.ndarray workspace,
    int n_threads
):
    cdef fc_gemm_desc d = fc_gemm_desc(m, n, k, a_row, a_col, b_row, b_col, accumulate)
    cdef fc_dtype dtype = dtype_of(a)
    cdef fc_status status
    cdef void *ap = data(a)
    cdef void *bp = data(b)
    cdef void *cp = data(c)
    cdef _Block block = scratch_block(
        workspace, fc_linear_workspace_bytes(dtype, m, n, k, n_threads))
    cdef void *ws = scratch_data(workspace, block)
    with nogil:
        status = fc_gemm(&d, dtype, ap, bp, cp, ws, n_threads)
    check(status)


def linear_forward(
    cnp.ndarray x, cnp.ndarray w, cnp.ndarray b, cnp.ndarray y, cnp.ndarray workspace,
    int n_threads
):
    cdef fc_linear_desc d = fc_linear_desc(x.shape[0], x.shape[1], w.shape[0])
    cdef fc_dtype dtype = dtype_of(x)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *wp = data(w)
    cdef void *bp = data(b)
    cdef void *yp = data(y)
    cdef _Block block = scratch_block(
        workspace, fc_linear_workspace_bytes(dtype, d.n, d.i, d.o, n_threads))
    cdef void *ws = scratch_data(workspace, block)
    with nogil:
        status = fc_linear_forward(&d, dtype, xp, wp, bp, yp, ws, n_threads)
    check(status)


def linear_backward_input(
    cnp.ndarray dy, cnp.ndarray w, cnp.ndarray dx, cnp.ndarray workspace, int n_threads
):
    cdef fc_linear_desc d = fc_linear_desc(dy.shape[0], w.shape[1], w.shape[0])
    cdef fc_dtype dtype = dtype_of(dy)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *wp = data(w)
    cdef void *dxp = data(dx)
    cdef _Block block = scratch_block(
        workspace, fc_linear_workspace_bytes(dtype, d.n, d.i, d.o, n_threads))
    cdef void *ws = scratch_data(workspace, block)
    with nogil:
        status = fc_linear_backward_input(&d, dtype, dyp, wp, dxp, ws, n_threads)
    check(status)


def linear_backward_weight(
    cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dw, cnp.ndarray db, cnp.ndarray workspace,
    int n_threads
):
    cdef fc_linear_desc d = fc_linear_desc(dy.shape[0], x.shape[1], dy.shape[1])
    cdef fc_dtype dtype = dtype_of(dy)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *xp = data(x)
    cdef void *dwp = data(dw)
    cdef void *dbp = data(db)
    cdef _Block block = scratch_block(
        workspace, fc_linear_workspace_bytes(dtype, d.n, d.i, d.o, n_threads))
    cdef void *ws = scratch_data(workspace, block)
    with nogil:
        status = fc_linear_backward_weight(&d, dtype, dyp, xp, dwp, dbp, ws, n_threads)
    check(status)
