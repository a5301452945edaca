/* optim_tmpl.h - fused parameter updates, in place; compiled per tier and real type.
 *
 * One pass over parameter, gradient and state, element by element, in chunks of FC_CHUNK. The
 * formulas are PyTorch's. Factors are computed in double and rounded once.
 */

typedef struct {
    int64_t n;
    real *param;
    const real *grad;
    real *velocity; /* or NULL */
    real lr, momentum, undamped, weight_decay;
    int nesterov;
} sgd_arg;

INLINE void sgd_vector(const sgd_arg *a, int64_t i, int64_t n) {
    vr p = v_loadn(a->param + i, n), g = v_loadn(a->grad + i, n);
    if (a->weight_decay != 0) g = v_fma(v_set1(a->weight_decay), p, g);
    if (a->velocity != NULL) {
        vr momentum = v_set1(a->momentum);
        vr v = v_mul(momentum, v_loadn(a->velocity + i, n));
        v = v_fma(v_set1(a->undamped), g, v);
        v_storen(a->velocity + i, v, n);
        g = a->nesterov ? v_fma(momentum, v, g) : v;
    }
    v_storen(a->param + i, v_sub(p, v_mul(v_set1(a->lr), g)), n);
}

static void sgd_task(void *p, int64_t item, int thread) {
    (void)thread;
    const sgd_arg own = *(const sgd_arg *)p, *a = &own; /* which no store can change */
    int64_t i = item * FC_CHUNK, to = fc_min(i + FC_CHUNK, a->n);
    int64_t first = v_unaligned(a->param + i, to - i);
    if (first > 0) sgd_vector(a, i, first);
    for (i += first; i + VL <= to; i += VL) sgd_vector(a, i, VL);
    if (i < to) sgd_vector(a, i, to - i);
}

static void sgd_update(const fc_sgd_desc *d, void *param, const void *grad, void *velocity,
                       int n_threads) {
    sgd_arg a = {
        d->n, param, grad, velocity, (real)d->lr, (real)d->momentum, (real)(1.0 - d->dampening),
        (real)d->weight_decay, d->nesterov,
    };
    int threads = fc_threads_for(5 * FC_MOVED * (double)d->n, n_threads);
    fc_parallel_shares(fc_ceil_div(d->n, FC_CHUNK), threads, sgd_task, &a);
}

typedef struct {
    int64_t n;
    real *param;
    const real *grad;
    real *m, *v;
    real step_size, keep, beta1, beta2, rest1, rest2, eps, weight_decay;
} adam_arg;

/* With the corrections of both moments in step_size and eps (Kingma and Ba, end of section 2):
 * divisions are what takes the time. */
INLINE void adam_vector(const adam_arg *a, int64_t i, int64_t n) {
    vr p = v_loadn(a->param + i, n), g = v_loadn(a->grad + i, n);
    if (a->weight_decay != 0) g = v_fma(v_set1(a->weight_decay), p, g);
    vr m = v_fma(v_set1(a->rest1), g, v_mul(v_set1(a->beta1), v_loadn(a->m + i, n)));
    vr v = v_mul(v_set1(a->beta2), v_loadn(a->v + i, n));
    v = v_fma(v_mul(v_set1(a->rest2), g), g, v);
    v_storen(a->m + i, m, n);
    v_storen(a->v + i, v, n);
    vr root = v_add(v_sqrt(v), v_set1(a->eps));
    p = v_mul(p, v_set1(a->keep));
    v_storen(a->param + i, v_sub(p, v_div(v_mul(v_set1(a->step_size), m), root)), n);
}

/* Starts loading what comes 4 KiB after p: four arrays are more than some processors follow. */
INLINE void adam_ahead(const real *p) { PREFETCH_L2((const char *)p + 4096); }

static void adam_task(void *p, int64_t item, int thread) {
    (void)thread;
    const adam_arg own = *(const adam_arg *)p, *a = &own; /* which no store can change */
    int64_t i = item * FC_CHUNK, to = fc_min(i + FC_CHUNK, a->n);
    int64_t first = v_unaligned(a->param + i, to - i);
    if (first > 0) adam_vector(a, i, first);
    for (i += first; i + VL <= to; i += VL) {
        adam_ahead(a->param + i), adam_ahead(a->grad + i);
        adam_ahead(a->m + i), adam_ahead(a->v + i);
        adam_vector(a, i, VL);
    }
    if (i < to) adam_vector(a, i, to - i);
}

static void adam_update(const fc_adam_desc *d, void *param, const void *grad, void *m, void *v,
                        int n_threads) {
    double correction1 = 1.0 - pow(d->beta1, (double)d->step);
    double correction2 = sqrt(1.0 - pow(d->beta2, (double)d->step));
    adam_arg a = {
        .n = d->n, .param = param, .grad = grad, .m = m, .v = v,
        .step_size = (real)(d->lr / correction1 * correction2),
        .keep = d->decoupled ? (real)(1.0 - d->lr * d->weight_decay) : 1,
        .beta1 = (real)d->beta1, .beta2 = (real)d->beta2,
        .rest1 = (real)(1.0 - d->beta1), .rest2 = (real)(1.0 - d->beta2),
        .eps = (real)(d->eps * correction2),
        .weight_decay = d->decoupled ? 0 : (real)d->weight_decay,
    };
    int threads = fc_threads_for(7 * FC_MOVED * (double)d->n, n_threads);
    fc_parallel_shares(fc_ceil_div(d->n, FC_CHUNK), threads, adam_task, &a);
}

#define OPTIM_KERNELS { .sgd_update = sgd_update, .adam_update = adam_update }
