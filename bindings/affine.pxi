# affine.pxi - the affine family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef struct fc_affine_desc:
        fc_dtype dtype
        int64_t n
        int64_t c
        int64_t h
        int64_t w
        int64_t oh
        int64_t ow
        double fill
    fc_status fc_affine_workspace_bytes(const fc_affine_desc *d, int n_threads, int64_t *bytes)
    fc_status fc_affine(
        const fc_affine_desc *d, const void *x, const double *matrix, void *y, void *workspace,
        int n_threads)


cdef fc_affine_desc affine_desc(tuple sizes, double fill, cnp.ndarray x):
    n, c, h, w, oh, ow = sizes
    return fc_affine_desc(dtype_of(x), n, c, h, w, oh, ow, fill)


def affine(
    tuple sizes, double fill, cnp.ndarray x, cnp.ndarray matrix, cnp.ndarray y,
    int n_threads
):
    cdef fc_affine_desc d = affine_desc(sizes, fill, x)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef double *mp = <double *>data(matrix)
    cdef void *yp = data(y)
    cdef int64_t nbytes = 0
    check(fc_affine_workspace_bytes(&d, n_threads, &nbytes))
    cdef _Block block = scratch_block(None, nbytes)
    cdef void *wp = block.raw
    with nogil:
        status = fc_affine(&d, xp, mp, yp, wp, n_threads)
    check(status)
