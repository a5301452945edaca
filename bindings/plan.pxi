# plan.pxi - the plan family: a program of steps with its parameters, run by fastcnn.h's functions.

cdef extern from "fastcnn.h" nogil:
    ctypedef enum fc_plan_kind:
        FC_PLAN_CONV
        FC_PLAN_CONV_POOL
        FC_PLAN_MAX_POOL
        FC_PLAN_AVG_POOL
        FC_PLAN_LINEAR
        FC_PLAN_ACTIVATION
    ctypedef struct fc_plan_step:
        fc_plan_kind kind
        fc_activation activation
        int relu
        int train_weight, train_bias
        int64_t c, h, w, k, oh, ow, kh, kw
        int64_t pad_top, pad_bottom, pad_left, pad_right
    enum:
        FC_PLAN_MOST_STEPS
    ctypedef struct fc_plan_desc:
        fc_dtype dtype
        int n_steps
        const fc_plan_step *steps
    ctypedef struct fc_plan_param:
        void *data
        void *grad
        void *state[2]
    ctypedef enum fc_update_rule:
        FC_UPDATE_NONE
        FC_UPDATE_SGD
        FC_UPDATE_ADAM
    ctypedef struct fc_plan_update:
        fc_update_rule rule
        fc_sgd_desc sgd
        fc_adam_desc adam
    ctypedef enum fc_plan_loss:
        FC_LOSS_CROSS_ENTROPY
        FC_LOSS_MSE
    ctypedef struct fc_plan_batch:
        int64_t n
        const void *x
        fc_plan_loss loss
        double scale
        int exact
        const int64_t *labels
        const void *targets
        double loss_sum
        int64_t correct
    fc_status fc_plan_workspace_bytes(
        const fc_plan_desc *d, int64_t n, int training, int n_threads, size_t *bytes)
    fc_status fc_plan_infer(
        const fc_plan_desc *d, const fc_plan_param *params, int64_t n, const void *x, void *y,
        void *workspace, int n_threads)
    fc_status fc_plan_train(
        const fc_plan_desc *d, const fc_plan_param *params, const fc_plan_update *update,
        fc_plan_batch *batch, void *workspace, int n_threads)

PLAN_CONV = <int>FC_PLAN_CONV
PLAN_CONV_POOL = <int>FC_PLAN_CONV_POOL
PLAN_MAX_POOL = <int>FC_PLAN_MAX_POOL
PLAN_AVG_POOL = <int>FC_PLAN_AVG_POOL
PLAN_LINEAR = <int>FC_PLAN_LINEAR
PLAN_ACTIVATION = <int>FC_PLAN_ACTIVATION
PLAN_MOST_STEPS = <int>FC_PLAN_MOST_STEPS
LOSS_CROSS_ENTROPY = <int>FC_LOSS_CROSS_ENTROPY
LOSS_MSE = <int>FC_LOSS_MSE


cdef class PlanProgram:
    """Steps and where their parameters are; the arrays are kept alive as long as they are bound."""

    cdef fc_plan_step steps[64]
    cdef fc_plan_param params[128]
    cdef fc_plan_desc d
    cdef fc_plan_update u
    cdef dict bound

    def __init__(self, like, steps):
        """like: an array of the dtype. A step: (kind, activation, relu, train_weight, train_bias,
        (C, H, W), (K, OH, OW), (KH, KW), (top, bottom, left, right))."""
        cdef fc_plan_step *s
        if len(steps) > FC_PLAN_MOST_STEPS:
            raise ValueError(f"fastcnn plan: at most {FC_PLAN_MOST_STEPS} steps, got {len(steps)}")
        self.d.dtype = dtype_of(like)
        self.d.n_steps = len(steps)
        self.d.steps = self.steps
        self.u.rule = FC_UPDATE_NONE
        self.bound = {}
        for i, step in enumerate(steps):
            s = &self.steps[i]
            kind, activation, s.relu, s.train_weight, s.train_bias, x, y, kernel, padding = step
            s.kind = <fc_plan_kind><int>kind
            s.activation = <fc_activation><int>activation
            s.c, s.h, s.w = x
            s.k, s.oh, s.ow = y
            s.kh, s.kw = kernel
            s.pad_top, s.pad_bottom, s.pad_left, s.pad_right = padding

    def bind(self, int i, cnp.ndarray value, cnp.ndarray grad, cnp.ndarray first,
             cnp.ndarray second):
        """Where parameter i (weights have even numbers, biases odd ones) and what goes with it is."""
        if not 0 <= i < 2 * self.d.n_steps:
            raise IndexError(i)
        self.bound[i] = (value, grad, first, second)
        self.params[i].data = data(value)
        self.params[i].grad = data(grad)
        self.params[i].state[0] = data(first)
        self.params[i].state[1] = data(second)

    def no_update(self):
        self.u.rule = FC_UPDATE_NONE

    def sgd(self, double lr, double momentum, double dampening, double weight_decay,
            bint nesterov):
        self.u.rule = FC_UPDATE_SGD
        self.u.sgd = fc_sgd_desc(0, lr, momentum, dampening, weight_decay, nesterov)

    def adam(self, int64_t step, double lr, double beta1, double beta2, double eps,
             double weight_decay, bint decoupled):
        self.u.rule = FC_UPDATE_ADAM
        self.u.adam = fc_adam_desc(0, step, lr, beta1, beta2, eps, weight_decay, decoupled)

    def workspace_bytes(self, int64_t n, bint training, int n_threads):
        cdef size_t size = 0
        check(fc_plan_workspace_bytes(&self.d, n, training, n_threads, &size))
        return size

    def infer(self, int64_t n, cnp.ndarray x, cnp.ndarray y, cnp.ndarray workspace, int n_threads):
        cdef void *xp = data(x)
        cdef void *yp = data(y)
        cdef void *sp = data(workspace)
        cdef fc_status status
        with nogil:
            status = fc_plan_infer(&self.d, self.params, n, xp, yp, sp, n_threads)
        check(status)

    def train(self, int64_t n, cnp.ndarray x, int loss, double scale, bint exact,
              cnp.ndarray labels, cnp.ndarray targets, cnp.ndarray workspace, int n_threads):
        """(sum of the losses, images whose largest output is at their label)"""
        cdef fc_plan_batch batch
        cdef void *sp = data(workspace)
        cdef fc_status status
        batch.n = n
        batch.x = data(x)
        batch.loss = <fc_plan_loss>loss
        batch.scale = scale
        batch.exact = exact
        batch.labels = <const int64_t *>data(labels)
        batch.targets = data(targets)
        with nogil:
            status = fc_plan_train(&self.d, self.params, &self.u, &batch, sp, n_threads)
        check(status)
        return batch.loss_sum, batch.correct
