/* softmax_tmpl.h - softmax, log-softmax and the losses; compiled per tier and real type.
 *
 * An array is seen as [outer][C][inner], normalised over C. With inner == 1 the C values are
 * contiguous and a vector holds VL of them ("row" functions); else a vector holds VL neighbours of
 * the inner axis, each with a sum of its own ("column" functions). Each of the outer * inner sums
 * depends on its own C values alone, in an order fixed by C.
 */

#include "simd_index.h"

typedef struct {
    int64_t outer, c, inner;
    int log;
    const real *dy; /* backward only */
    const real *x;  /* forward: x; backward: y */
    real *out;
    int64_t units;      /* rows, or blocks of VL columns */
    int64_t unit_chunk; /* of them in a task */
} softmax_arg;

/* The last n < VL values of a row, -inf in the other lanes: neutral for maximum and sum of exp. */
INLINE vr load_tail(const real *p, int64_t n) { return v_load_range(p, 0, n, -INFINITY); }

/* A row's maximum; NaN may be missed here, but comes back through the sum of exp. */
INLINE real row_max(const real *x, int64_t c) {
    vr m = v_set1(-INFINITY);
    int64_t j = 0;
    for (; j + VL <= c; j += VL) m = v_max(m, v_load(x + j));
    if (j < c) m = v_max(m, load_tail(x + j, c - j));
    real t[VL];
    v_store(t, m);
    UNROLL for (int half = VL / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) t[i] = t[i + half] > t[i] ? t[i + half] : t[i];
    return t[0];
}

/* y = exp(x - most); returns the sum. y may be NULL. */
INLINE real row_exp(const real *x, int64_t c, real most, real *y) {
    vr m = v_set1(most), sum = v_zero(), e[TOGETHER];
    int64_t j = 0;
    for (; j + TOGETHER * VL <= c; j += TOGETHER * VL) {
        EACH(k, TOGETHER) e[k] = v_sub(v_load(x + j + k * VL), m);
        v_exps(TOGETHER, e);
        EACH(k, TOGETHER) {
            if (y != NULL) v_store(y + j + k * VL, e[k]);
            sum = v_add(sum, e[k]);
        }
    }
    for (; j < c; j += VL) {
        vr v = c - j >= VL ? v_load(x + j) : load_tail(x + j, c - j);
        v = v_exp(v_sub(v, m));
        if (y != NULL) v_storen(y + j, v, c - j);
        sum = v_add(sum, v);
    }
    return v_hsum(sum);
}

static void row_forward(const softmax_arg *a, int64_t row) {
    const real *x = a->x + row * a->c;
    real *y = a->out + row * a->c;
    real most = row_max(x, a->c);
    real sum = row_exp(x, a->c, most, a->log ? NULL : y);
    real log_sum = a->log ? (real)log((double)sum) : 0;
    for (int64_t j = 0; j < a->c; j += VL) {
        int64_t n = a->c - j;
        vr v = a->log ? v_sub(v_sub(v_loadn(x + j, n), v_set1(most)), v_set1(log_sum))
                      : v_div(v_loadn(y + j, n), v_set1(sum));
        v_storen(y + j, v, n);
    }
}

/* sum + what n values of a row add to the factor of its gradient. */
INLINE vr add_row_part(const softmax_arg *a, const real *dy, const real *y, int64_t n, vr sum) {
    vr d = v_loadn(dy, n);
    return a->log ? v_add(sum, d) : v_fma(d, v_loadn(y, n), sum);
}

/* n values of dx, or VL if there are more; total: the sum of each lane's row or column. */
INLINE vr softmax_gradient(const softmax_arg *a, const real *dy, const real *y, int64_t n,
                           vr total) {
    vr d = v_loadn(dy, n), v = v_loadn(y, n);
    return a->log ? v_sub(d, v_mul(v_exp(v), total)) : v_mul(v, v_sub(d, total));
}

static void row_backward(const softmax_arg *a, int64_t row) {
    const real *dy = a->dy + row * a->c, *y = a->x + row * a->c;
    real *dx = a->out + row * a->c;
    int64_t j = 0, c = a->c;
    vr sum[TOGETHER]; /* since one would wait for itself */
    EACH(k, TOGETHER) sum[k] = v_zero();
    for (; j + TOGETHER * VL <= c; j += TOGETHER * VL)
        EACH(k, TOGETHER) sum[k] = add_row_part(a, dy + j + k * VL, y + j + k * VL, VL, sum[k]);
    for (; j < c; j += VL) sum[0] = add_row_part(a, dy + j, y + j, c - j, sum[0]);
    vr total = v_set1(v_hsum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3]))));
    j = v_unaligned(dx, c);
    if (j > 0) v_storen(dx, softmax_gradient(a, dy, y, j, total), j);
    for (; j + TOGETHER * VL <= c; j += TOGETHER * VL) {
        vr d[TOGETHER];
        EACH(k, TOGETHER) d[k] = softmax_gradient(a, dy + j + k * VL, y + j + k * VL, VL, total);
        EACH(k, TOGETHER) v_store(dx + j + k * VL, d[k]);
    }
    for (; j < c; j += VL)
        v_storen(dx + j, softmax_gradient(a, dy + j, y + j, c - j, total), c - j);
}

/* The columns of block `unit`: where they start in the array, and how many of VL are there. */
INLINE int64_t column_block(const softmax_arg *a, int64_t unit, int64_t *lanes) {
    int64_t blocks = fc_ceil_div(a->inner, VL);
    int64_t first = unit % blocks * VL;
    *lanes = fc_min(a->inner - first, VL);
    return unit / blocks * a->c * a->inner + first;
}

static void column_forward(const softmax_arg *a, int64_t unit) {
    int64_t n, at = column_block(a, unit, &n), c = a->c, step = a->inner;
    const real *x = a->x + at;
    real *y = a->out + at;
    vr most = v_set1(-INFINITY), sum = v_zero();
    for (int64_t j = 0; j < c; j++) most = v_max(most, v_loadn(x + j * step, n));
    for (int64_t j = 0; j < c; j++) {
        vr e = v_exp(v_sub(v_loadn(x + j * step, n), most));
        if (!a->log) v_storen(y + j * step, e, n);
        sum = v_add(sum, e);
    }
    if (a->log) {
        real t[VL];
        v_store(t, sum);
        for (int i = 0; i < VL; i++) t[i] = (real)log((double)t[i]);
        sum = v_load(t);
    }
    for (int64_t j = 0; j < c; j++) {
        vr v = a->log ? v_sub(v_sub(v_loadn(x + j * step, n), most), sum)
                      : v_div(v_loadn(y + j * step, n), sum);
        v_storen(y + j * step, v, n);
    }
}

static void column_backward(const softmax_arg *a, int64_t unit) {
    int64_t n, at = column_block(a, unit, &n), c = a->c, step = a->inner;
    const real *dy = a->dy + at, *y = a->x + at;
    real *dx = a->out + at;
    vr sum = v_zero();
    for (int64_t j = 0; j < c; j++) {
        vr d = v_loadn(dy + j * step, n);
        sum = a->log ? v_add(sum, d) : v_fma(d, v_loadn(y + j * step, n), sum);
    }
    for (int64_t j = 0; j < c; j++)
        v_storen(dx + j * step, softmax_gradient(a, dy + j * step, y + j * step, n, sum), n);
}

INLINE void softmax_task(const softmax_arg *a, int64_t item,
                         void (*one)(const softmax_arg *a, int64_t unit)) {
    int64_t from = item * a->unit_chunk, to = fc_min(from + a->unit_chunk, a->units);
    for (int64_t u = from; u < to; u++) one(a, u);
}

static void rows_forward(void *a, int64_t i, int t) { (void)t, softmax_task(a, i, row_forward); }
static void rows_backward(void *a, int64_t i, int t) { (void)t, softmax_task(a, i, row_backward); }
static void columns_forward(void *a, int64_t i, int t) {
    (void)t, softmax_task(a, i, column_forward);
}
static void columns_backward(void *a, int64_t i, int t) {
    (void)t, softmax_task(a, i, column_backward);
}

static void softmax_run(softmax_arg *a, fc_task rows, fc_task columns, int n_threads) {
    if (a->c == 0 || a->inner == 0) return;
    int in_rows = a->inner == 1;
    a->units = in_rows ? a->outer : a->outer * fc_ceil_div(a->inner, VL);
    a->unit_chunk = fc_max(1, FC_CHUNK / a->c / (in_rows ? 1 : VL));
    double work = 4.0 * (double)a->outer * (double)a->c * (double)a->inner;
    fc_parallel_shares(fc_ceil_div(a->units, a->unit_chunk), fc_threads_for(work, n_threads),
                       in_rows ? rows : columns, a);
}

static void softmax_forward(const fc_softmax *d, const void *x, void *y, int n_threads) {
    softmax_arg a = {d->outer, d->c, d->inner, d->log, NULL, x, y, 0, 0};
    softmax_run(&a, rows_forward, columns_forward, n_threads);
}

static void softmax_backward(const fc_softmax *d, const void *dy, const void *y, void *dx,
                             int n_threads) {
    softmax_arg a = {d->outer, d->c, d->inner, d->log, dy, y, dx, 0, 0};
    softmax_run(&a, rows_backward, columns_backward, n_threads);
}

/* ---- losses: sums in double, over eight interleaved partial sums joined as a tree ---- */

INLINE double sum_double(const real *x, int64_t n, int squared) {
    double s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        UNROLL for (int l = 0; l < 8; l++) {
            double v = (double)x[i + l];
            s[l] += squared ? v * v : v;
        }
    for (int l = 0; i + l < n; l++) s[l] += squared ? (double)x[i + l] * x[i + l] : x[i + l];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

typedef struct {
    int64_t n, c, chunk;
    double scale;
    const real *x;
    const int64_t *targets;
    real *dx;
    double *losses;
} cross_entropy_arg;

static void cross_entropy_task(void *p, int64_t item, int thread) {
    (void)thread;
    const cross_entropy_arg *a = p;
    int64_t c = a->c, to = fc_min((item + 1) * a->chunk, a->n);
    for (int64_t row = item * a->chunk; row < to; row++) {
        const real *x = a->x + row * c;
        real *dx = a->dx + row * c;
        int64_t target = a->targets[row];
        real most = row_max(x, c);
        row_exp(x, c, most, dx);
        double sum = sum_double(dx, c, 0);
        a->losses[row] = log(sum) - ((double)x[target] - (double)most);
        vr factor = v_set1((real)(a->scale / sum));
        for (int64_t j = 0; j < c; j += VL)
            v_storen(dx + j, v_mul(v_loadn(dx + j, c - j), factor), c - j);
        dx[target] -= (real)a->scale;
    }
}

static void softmax_cross_entropy(int64_t n, int64_t c, double scale, const void *x,
                                  const int64_t *targets, void *dx, double *losses,
                                  int n_threads) {
    cross_entropy_arg a = {n, c, fc_max(1, FC_CHUNK / c), scale, x, targets, dx, losses};
    int threads = fc_threads_for(4.0 * (double)n * (double)c, n_threads);
    fc_parallel_shares(fc_ceil_div(n, a.chunk), threads, cross_entropy_task, &a);
}

typedef struct {
    int64_t n;
    real scale;
    const real *x, *target;
    real *gradient;
    double *sums; /* one a chunk */
} mse_arg;

static void mse_task(void *p, int64_t item, int thread) {
    (void)thread;
    const mse_arg *a = p;
    int64_t from = item * FC_CHUNK, to = fc_min(from + FC_CHUNK, a->n);
    real *g = a->gradient;
    for (int64_t i = from; i < to; i += VL) {
        int64_t n = to - i;
        v_storen(g + i, v_sub(v_loadn(a->x + i, n), v_loadn(a->target + i, n)), n);
    }
    a->sums[item] = sum_double(g + from, to - from, 1);
    for (int64_t i = from; i < to; i += VL)
        v_storen(g + i, v_mul(v_loadn(g + i, to - i), v_set1(a->scale)), to - i);
}

static void mse(int64_t n, double scale, const void *x, const void *target, void *gradient,
                double *sums, int n_threads) {
    mse_arg a = {n, (real)scale, x, target, gradient, sums};
    int threads = fc_threads_for(2.0 * (double)n, n_threads);
    fc_parallel_shares(fc_ceil_div(n, FC_CHUNK), threads, mse_task, &a);
}
