/* prelu_tmpl.h - leaky ReLU with learned slopes, one a channel, and their gradient; included by
 * pointwise_tmpl.h.
 *
 * Planes are cut into pieces of FC_CHUNK elements, and a task is as many pieces, at least one, as
 * have that many elements together. A piece leaves its part of the slope's gradient in `sums`, and
 * these are added up in order at the end: the bits do not depend on the threads.
 */

typedef struct {
    const fc_prelu_desc *d;
    int64_t pieces, task; /* of a plane, of a task */
    const real *dy;       /* backward only */
    const real *x, *slopes;
    real *out;            /* y or dx */
    double *sums;
} prelu_arg;

/* One piece: y; or dx, and into a sum dy * x where x <= 0. */
INLINE void prelu_piece(const prelu_arg *a, int64_t piece, const int backward) {
    int64_t plane = piece / a->pieces, from = piece % a->pieces * FC_CHUNK;
    int64_t i = plane * a->d->inner + from, to = i + fc_min(a->d->inner - from, FC_CHUNK);
    vr slope = v_set1(a->slopes[plane % a->d->c]), sum[TOGETHER];
    const real *in = backward ? a->dy : a->x;
    EACH(k, TOGETHER) sum[k] = v_zero();
    for (; i < to; i += TOGETHER * VL) {
        int whole = i + TOGETHER * VL <= to;
        vr x[TOGETHER], y[TOGETHER];
        EACH(k, TOGETHER) {
            int64_t at = i + k * VL, n = fc_max(to - at, 0);
            x[k] = whole ? v_load(a->x + at) : v_loadn(a->x + at, n);
            y[k] = !backward ? x[k] : whole ? v_load(in + at) : v_loadn(in + at, n);
        }
        EACH(k, TOGETHER) {
            vm above = v_gt(x[k], v_zero());
            if (backward) sum[k] = v_add(sum[k], v_select(above, v_zero(), v_mul(y[k], x[k])));
            y[k] = v_select(above, y[k], v_mul(y[k], slope));
        }
        EACH(k, TOGETHER) {
            int64_t at = i + k * VL, n = fc_max(to - at, 0);
            if (whole) v_store(a->out + at, y[k]);
            else v_storen(a->out + at, y[k], n);
        }
    }
    if (backward) a->sums[piece] = v_hsum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

INLINE void prelu_task(const prelu_arg *a, int64_t item, const int backward) {
    int64_t all = a->d->outer * a->d->c * a->pieces;
    int64_t from = item * a->task, to = fc_min(from + a->task, all);
    for (int64_t piece = from; piece < to; piece++) prelu_piece(a, piece, backward);
}
static void prelu_forward_task(void *a, int64_t i, int t) { (void)t, prelu_task(a, i, 0); }
static void prelu_backward_task(void *a, int64_t i, int t) { (void)t, prelu_task(a, i, 1); }

static void prelu_run(prelu_arg *a, fc_task task, double cost, int n_threads) {
    const fc_prelu_desc *d = a->d;
    int64_t planes = d->outer * d->c;
    if (planes == 0 || d->inner == 0) return;
    a->pieces = fc_ceil_div(d->inner, FC_CHUNK);
    a->task = fc_max(1, FC_CHUNK / d->inner);
    double work = cost * (double)planes * (double)d->inner;
    fc_parallel_runs(fc_ceil_div(planes * a->pieces, a->task), fc_threads_for(work, n_threads),
                     task, a);
}

static void prelu_forward(const fc_prelu_desc *d, const void *x, const void *slopes, void *y,
                          int n_threads) {
    prelu_arg a = {.d = d, .x = x, .slopes = slopes, .out = y};
    prelu_run(&a, prelu_forward_task, 2 * FC_MOVED, n_threads);
}

static void prelu_backward(const fc_prelu_desc *d, const void *dy, const void *x,
                           const void *slopes, void *dx, void *dslopes, double *sums,
                           int n_threads) {
    prelu_arg a = {.d = d, .dy = dy, .x = x, .slopes = slopes, .out = dx, .sums = sums};
    prelu_run(&a, prelu_backward_task, 3 * FC_MOVED, n_threads);
    int64_t pieces = d->inner == 0 ? 0 : a.pieces;
    for (int64_t c = 0; c < d->c; c++) {
        double sum = 0;
        for (int64_t o = 0; o < d->outer; o++)
            for (int64_t i = 0; i < pieces; i++) sum += sums[(o * d->c + c) * pieces + i];
        ((real *)dslopes)[c] = (real)sum;
    }
}
