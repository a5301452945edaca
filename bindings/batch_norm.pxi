# batch_norm.pxi - the batch_norm family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef struct fc_batch_norm_desc:
        fc_dtype dtype
        int64_t n
        int64_t c
        int64_t size
    fc_status fc_batch_norm_inference(
        const fc_batch_norm_desc *d, double eps, const void *x, const void *gamma,
        const void *beta, const void *mean, const void *var, void *y, int n_threads)
    fc_status fc_batch_norm_forward(
        const fc_batch_norm_desc *d, double eps, const void *x, const void *gamma,
        const void *beta, const void *residual, int relu, void *y, double *mean, double *inv_std,
        int n_threads)
    fc_status fc_batch_norm_backward(
        const fc_batch_norm_desc *d, const void *dy, const void *y, const void *x,
        const void *gamma, const double *mean, const double *inv_std, void *dz, void *dx,
        void *dgamma, void *dbeta, int n_threads)
    fc_status fc_channel_sums(const fc_batch_norm_desc *d, const void *x, void *sums, int n_threads)


def batch_norm_inference(
    int64_t n, int64_t c, int64_t size, double eps, cnp.ndarray x, cnp.ndarray gamma,
    cnp.ndarray beta, cnp.ndarray mean, cnp.ndarray var, cnp.ndarray y, int n_threads
):
    cdef fc_batch_norm_desc d = fc_batch_norm_desc(dtype_of(x), n, c, size)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *gp = data(gamma)
    cdef void *bp = data(beta)
    cdef void *mp = data(mean)
    cdef void *vp = data(var)
    cdef void *yp = data(y)
    with nogil:
        status = fc_batch_norm_inference(&d, eps, xp, gp, bp, mp, vp, yp, n_threads)
    check(status)


def batch_norm_forward(
    int64_t n, int64_t c, int64_t size, double eps, cnp.ndarray x, cnp.ndarray gamma,
    cnp.ndarray beta, cnp.ndarray y, cnp.ndarray mean, cnp.ndarray inv_std, int n_threads,
    cnp.ndarray residual=None, bint relu=False
):
    cdef fc_batch_norm_desc d = fc_batch_norm_desc(dtype_of(x), n, c, size)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *gp = data(gamma)
    cdef void *bp = data(beta)
    cdef void *yp = data(y)
    cdef double *mp = <double *>data(mean)
    cdef double *sp = <double *>data(inv_std)
    cdef void *rp = data(residual)
    with nogil:
        status = fc_batch_norm_forward(&d, eps, xp, gp, bp, rp, relu, yp, mp, sp, n_threads)
    check(status)


def batch_norm_backward(
    int64_t n, int64_t c, int64_t size, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray gamma,
    cnp.ndarray mean, cnp.ndarray inv_std, cnp.ndarray dx, cnp.ndarray dgamma, cnp.ndarray dbeta,
    int n_threads, cnp.ndarray y=None, cnp.ndarray dz=None
):
    cdef fc_batch_norm_desc d = fc_batch_norm_desc(dtype_of(x), n, c, size)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *xp = data(x)
    cdef void *gp = data(gamma)
    cdef double *mp = <double *>data(mean)
    cdef double *sp = <double *>data(inv_std)
    cdef void *dxp = data(dx)
    cdef void *dgp = data(dgamma)
    cdef void *dbp = data(dbeta)
    cdef void *yp = data(y)
    cdef void *dzp = data(dz)
    with nogil:
        status = fc_batch_norm_backward(&d, dyp, yp, xp, gp, mp, sp, dzp, dxp, dgp, dbp, n_threads)
    check(status)


def channel_sums(cnp.ndarray x, cnp.ndarray sums, int n_threads):
    """sums[c] = x[:, c].sum(); x is (N, C, H, W)."""
    cdef fc_batch_norm_desc d = fc_batch_norm_desc(
        dtype_of(x), x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *sp = data(sums)
    with nogil:
        status = fc_channel_sums(&d, xp, sp, n_threads)
    check(status)
