# pointwise.pxi - the pointwise family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef enum fc_activation:
        FC_RELU
        FC_LEAKY_RELU
        FC_SIGMOID
        FC_TANH
        FC_ELU
        FC_STEP
    ctypedef struct fc_prelu_desc:
        int64_t outer
        int64_t c
        int64_t inner
    ctypedef struct fc_softmax:
        int64_t outer
        int64_t c
        int64_t inner
        int log
    fc_status fc_activation_forward(
        fc_activation f, fc_dtype dtype, int64_t n, double parameter, const void *x, void *y,
        int n_threads)
    fc_status fc_activation_backward(
        fc_activation f, fc_dtype dtype, int64_t n, double parameter, const void *dy,
        const void *saved, void *dx, int n_threads)
    fc_status fc_prelu_forward(
        const fc_prelu_desc *d, fc_dtype dtype, const void *x, const void *slopes, void *y,
        int n_threads)
    int64_t fc_prelu_sums(const fc_prelu_desc *d)
    fc_status fc_prelu_backward(
        const fc_prelu_desc *d, fc_dtype dtype, const void *dy, const void *x, const void *slopes,
        void *dx, void *dslopes, double *sums, int n_threads)
    fc_status fc_dropout(
        fc_dtype dtype, int64_t n, double p, uint64_t seed, const void *x, void *y, int n_threads)
    fc_status fc_add_forward(
        fc_dtype dtype, int64_t n, int relu, const void *a, const void *b, void *y,
        int n_threads)
    fc_status fc_softmax_forward(
        const fc_softmax *d, fc_dtype dtype, const void *x, void *y, int n_threads)
    fc_status fc_softmax_backward(
        const fc_softmax *d, fc_dtype dtype, const void *dy, const void *y, void *dx,
        int n_threads)
    fc_status fc_softmax_cross_entropy(
        fc_dtype dtype, int64_t n, int64_t c, double scale, const void *logits,
        const int64_t *targets, void *dlogits, double *losses, int n_threads)
    int64_t fc_mse_sums(int64_t n)
    fc_status fc_mse(
        fc_dtype dtype, int64_t n, double scale, const void *prediction, const void *target,
        void *gradient, double *sums, int n_threads)

RELU = <int>FC_RELU
LEAKY_RELU = <int>FC_LEAKY_RELU
SIGMOID = <int>FC_SIGMOID
TANH = <int>FC_TANH
ELU = <int>FC_ELU
STEP = <int>FC_STEP


def activation_forward(int f, double parameter, cnp.ndarray x, cnp.ndarray y, int n_threads):
    cdef fc_dtype dtype = dtype_of(x)
    cdef int64_t n = x.size
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    with nogil:
        status = fc_activation_forward(<fc_activation>f, dtype, n, parameter, xp, yp, n_threads)
    check(status)


def activation_backward(
    int f, double parameter, cnp.ndarray dy, cnp.ndarray saved, cnp.ndarray dx, int n_threads
):
    cdef fc_dtype dtype = dtype_of(dy)
    cdef int64_t n = dy.size
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *sp = data(saved)
    cdef void *dxp = data(dx)
    with nogil:
        status = fc_activation_backward(
            <fc_activation>f, dtype, n, parameter, dyp, sp, dxp, n_threads)
    check(status)


def prelu_forward(
    int64_t outer, int64_t c, int64_t inner, cnp.ndarray x, cnp.ndarray slopes, cnp.ndarray y,
    int n_threads
):
    cdef fc_prelu_desc d = fc_prelu_desc(outer, c, inner)
    cdef fc_dtype dtype = dtype_of(x)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *wp = data(slopes)
    cdef void *yp = data(y)
    with nogil:
        status = fc_prelu_forward(&d, dtype, xp, wp, yp, n_threads)
    check(status)


def prelu_sums(int64_t outer, int64_t c, int64_t inner):
    cdef fc_prelu_desc d = fc_prelu_desc(outer, c, inner)
    return fc_prelu_sums(&d)


def prelu_backward(
    int64_t outer, int64_t c, int64_t inner, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray slopes,
    cnp.ndarray dx, cnp.ndarray dslopes, cnp.ndarray sums, int n_threads
):
    cdef fc_prelu_desc d = fc_prelu_desc(outer, c, inner)
    cdef fc_dtype dtype = dtype_of(x)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *xp = data(x)
    cdef void *wp = data(slopes)
    cdef void *dxp = data(dx)
    cdef void *dwp = data(dslopes)
    cdef void *sp = data(sums)
    with nogil:
        status = fc_prelu_backward(
            &d, dtype, dyp, xp, wp, dxp, dwp, <double *>sp, n_threads)
    check(status)


def dropout(double p, uint64_t seed, cnp.ndarray x, cnp.ndarray y, int n_threads):
    cdef fc_dtype dtype = dtype_of(x)
    cdef int64_t n = x.size
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    with nogil:
        status = fc_dropout(dtype, n, p, seed, xp, yp, n_threads)
    check(status)


def add(bint relu, cnp.ndarray a, cnp.ndarray b, cnp.ndarray y, int n_threads):
    cdef fc_dtype dtype = dtype_of(a)
    cdef int64_t n = a.size
    cdef fc_status status
    cdef void *ap = data(a)
    cdef void *bp = data(b)
    cdef void *yp = data(y)
    with nogil:
        status = fc_add_forward(dtype, n, relu, ap, bp, yp, n_threads)
    check(status)


def softmax_forward(
    int64_t outer, int64_t c, int64_t inner, bint log, cnp.ndarray x, cnp.ndarray y, int n_threads
):
    cdef fc_softmax d = fc_softmax(outer, c, inner, log)
    cdef fc_dtype dtype = dtype_of(x)
    cdef fc_status status
    cdef void *xp = data(x)
    cdef void *yp = data(y)
    with nogil:
        status = fc_softmax_forward(&d, dtype, xp, yp, n_threads)
    check(status)


def softmax_backward(
    int64_t outer, int64_t c, int64_t inner, bint log, cnp.ndarray dy, cnp.ndarray y,
    cnp.ndarray dx, int n_threads
):
    cdef fc_softmax d = fc_softmax(outer, c, inner, log)
    cdef fc_dtype dtype = dtype_of(dy)
    cdef fc_status status
    cdef void *dyp = data(dy)
    cdef void *yp = data(y)
    cdef void *dxp = data(dx)
    with nogil:
        status = fc_softmax_backward(&d, dtype, dyp, yp, dxp, n_threads)
    check(status)


def softmax_cross_entropy(
    double scale, cnp.ndarray logits, cnp.ndarray targets, cnp.ndarray dlogits,
    cnp.ndarray losses, int n_threads
):
    cdef fc_dtype dtype = dtype_of(logits)
    cdef int64_t n = logits.shape[0]
    cdef int64_t c = logits.shape[1]
    cdef fc_status status
    cdef void *xp = data(logits)
    cdef void *tp = data(targets)
    cdef void *dxp = data(dlogits)
    cdef void *lp = data(losses)
    with nogil:
        status = fc_softmax_cross_entropy(
            dtype, n, c, scale, xp, <const int64_t *>tp, dxp, <double *>lp, n_threads)
    check(status)


def mse_sums(int64_t n):
    return fc_mse_sums(n)


def mse(
    double scale, cnp.ndarray prediction, cnp.ndarray target, cnp.ndarray gradient,
    cnp.ndarray sums, int n_threads
):
    cdef fc_dtype dtype = dtype_of(prediction)
    cdef int64_t n = prediction.size
    cdef fc_status status
    cdef void *pp = data(prediction)
    cdef void *tp = data(target)
    cdef void *gp = data(gradient)
    cdef void *sp = data(sums)
    with nogil:
        status = fc_mse(dtype, n, scale, pp, tp, gp, <double *>sp, n_threads)
    check(status)
