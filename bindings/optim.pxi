# optim.pxi - the optim family: fastcnn.h's entry points as Python functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef struct fc_sgd_desc:
        int64_t n
        double lr
        double momentum
        double dampening
        double weight_decay
        int nesterov
    ctypedef struct fc_adam_desc:
        int64_t n
        int64_t step
        double lr
        double beta1
        double beta2
        double eps
        double weight_decay
        int decoupled
    fc_status fc_sgd_update(
        const fc_sgd_desc *d, fc_dtype dtype, void *param, const void *grad, void *velocity,
        int n_threads)
    fc_status fc_adam_update(
        const fc_adam_desc *d, fc_dtype dtype, void *param, const void *grad, void *m, void *v,
        int n_threads)


def sgd_fits(list params, list grads, list velocities, bint momentum):
    """Whether `sgd_update` takes the arrays as they are: params and velocities may be changed, and
    all are of the params' shapes and dtypes. A velocity may be None without momentum."""
    cdef Py_ssize_t i
    if len(params) != len(grads) or len(params) != len(velocities):
        return False
    for i in range(len(params)):
        if not fits_like(params[i], params[i], True) or not fits_like(grads[i], params[i]):
            return False
        if velocities[i] is None:
            if momentum:
                return False
        elif not fits_like(velocities[i], params[i], True):
            return False
    return True


def sgd_update(
    list params, list grads, list velocities, list rates, double momentum, double dampening,
    double weight_decay, bint nesterov, int n_threads
):
    """One step of every parameter, each at its own rate."""
    cdef fc_sgd_desc d = fc_sgd_desc(0, 0, momentum, dampening, weight_decay, nesterov)
    cdef fc_dtype dtype
    cdef fc_status status
    cdef cnp.ndarray param
    cdef void *pp
    cdef void *gp
    cdef void *vp
    cdef Py_ssize_t i
    for i in range(len(params)):
        param = params[i]
        dtype = dtype_of(param)
        d.n, d.lr = cnp.PyArray_SIZE(param), rates[i]
        pp, gp, vp = data(param), data(grads[i]), data(velocities[i])
        with nogil:
            status = fc_sgd_update(&d, dtype, pp, gp, vp, n_threads)
        check(status)


def adam_update(
    cnp.ndarray param, cnp.ndarray grad, cnp.ndarray m, cnp.ndarray v, int64_t step, double lr,
    double beta1, double beta2, double eps, double weight_decay, bint decoupled, int n_threads
):
    cdef fc_adam_desc d = fc_adam_desc(
        param.size, step, lr, beta1, beta2, eps, weight_decay, decoupled)
    cdef fc_dtype dtype = dtype_of(param)
    cdef fc_status status
    cdef void *pp = data(param)
    cdef void *gp = data(grad)
    cdef void *mp = data(m)
    cdef void *vp = data(v)
    with nogil:
        status = fc_adam_update(&d, dtype, pp, gp, mp, vp, n_threads)
    check(status)
