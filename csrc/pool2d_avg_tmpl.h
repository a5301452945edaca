/* pool2d_avg_tmpl.h - average and global average pooling, included by pool2d_tmpl.h.
 *
 * A window's sum is divided by the number of elements that count: what ceil mode hangs over the
 * padded image never does, padding does if count_include_pad.
 */

/* ------------------------------------------------------------------ forward */

static void avg_one_by_one(const pool_problem *p, const real *x, pool_seen rows, int64_t oy,
                           int64_t from, int64_t to, real *y) {
    if (from >= to) return;
    int64_t counted = axis_counted(&p->h, oy, p->count_include_pad);
    for (int64_t ox = from; ox < to; ox++) {
        pool_seen cols = axis_seen(&p->w, ox);
        real sum = 0;
        for (int64_t r = rows.first; r < rows.first + rows.count; r++)
            for (int64_t c = cols.first; c < cols.first + cols.count; c++)
                sum += x[r * p->w.size + c];
        y[ox] = sum / (real)(counted * axis_counted(&p->w, ox, p->count_include_pad));
    }
}

/* VL outputs (n of them wanted) from x on, `left` elements before the end of the row. */
INLINE void avg_vector(const pool_problem *p, const real *x, int64_t n_rows, int64_t left, int sw,
                       int64_t kw, vr divisor, int64_t n, real *y, int full) {
    vr sum = v_zero();
    for (int64_t r = 0; r < n_rows; r++) {
        for (int64_t k = 0; k < kw; k += sw) {
            const real *q = x + r * p->w.size + k;
            vr a = load_some(q, left - k, full);
            if (sw == 1) {
                sum = v_add(sum, a);
                continue;
            }
            vr b = load_some(q + VL, left - k - VL, full);
            sum = v_add(sum, v_even(a, b));
            if (k + 1 < kw) sum = v_add(sum, v_odd(a, b));
        }
    }
    store_some(y, v_div(sum, divisor), n, full);
}

INLINE void avg_middle(const pool_rows *a, const real *x, pool_seen rows, int64_t oy, real *y,
                       int sw, int64_t kw) {
    const pool_problem *p = a->p;
    vr divisor = v_set1((real)(kw * axis_counted(&p->h, oy, p->count_include_pad)));
    for (int64_t ox = a->middle.from; ox < a->middle.to; ox += VL) {
        int64_t n = a->middle.to - ox, col = ox * sw - p->w.before, left = p->w.size - col;
        const real *q = x + rows.first * p->w.size + col;
        int full = n >= VL && left >= kw - 1 + sw * VL;
        if (full) avg_vector(p, q, rows.count, left, sw, kw, divisor, n, y + ox, 1);
        else avg_vector(p, q, rows.count, left, sw, kw, divisor, n, y + ox, 0);
    }
}

#define AVG_MIDDLE(name, sw, kw) \
    static void name(const pool_rows *a, const real *x, pool_seen rows, int64_t oy, real *y, \
                     int32_t *at) { \
        (void)at; \
        avg_middle(a, x, rows, oy, y, sw, kw); \
    }
AVG_MIDDLE(avg_middle_2_stride2, 2, 2)
AVG_MIDDLE(avg_middle_3_stride2, 2, 3)
AVG_MIDDLE(avg_middle_3_stride1, 1, 3)
AVG_MIDDLE(avg_middle_stride1, 1, a->p->w.kernel)
AVG_MIDDLE(avg_middle_stride2, 2, a->p->w.kernel)

static pool_forward_middle avg_middle_for(const pool_axis *w) {
    int64_t s = w->stride, k = w->kernel;
    if (s == 2) return k == 2 ? avg_middle_2_stride2 : k == 3 ? avg_middle_3_stride2
                                                              : avg_middle_stride2;
    if (s == 1) return k == 3 ? avg_middle_3_stride1 : avg_middle_stride1;
    return NULL;
}

static void avg_forward_row(const pool_rows *a, int64_t plane, int64_t oy, int thread) {
    (void)thread;
    const pool_problem *p = a->p;
    const real *x = a->in + plane * p->h.size * p->w.size;
    real *y = a->out + (plane * p->h.out + oy) * p->w.out;
    pool_seen rows = axis_seen(&p->h, oy);
    avg_one_by_one(p, x, rows, oy, 0, a->middle.from, y);
    if (a->middle.from < a->middle.to) a->forward_middle(a, x, rows, oy, y, NULL);
    avg_one_by_one(p, x, rows, oy, a->middle.to, p->w.out, y);
}

static void avg_pool_forward(const pool_problem *p, const void *x, void *y, int n_threads) {
    pool_rows a = {.p = p, .in = x, .out = y, .row = avg_forward_row};
    a.forward_middle = avg_middle_for(&p->w);
    if (a.forward_middle != NULL) a.middle = p->w.inside;
    pool_run(&a, p->h.out, p->h.stride * p->w.size + p->w.out, n_threads);
}

/* ------------------------------------------------------------------ backward */

/* Columns from..to-1 of row h of dx, window by window. */
static void avg_gather_one_by_one(const pool_problem *p, const real *dy, pool_range rows,
                                  int64_t from, int64_t to, real *dx) {
    if (from >= to) return;
    int64_t first = axis_covering(&p->w, from).from, last = axis_covering(&p->w, to - 1).to;
    for (int64_t w = from; w < to; w++) dx[w] = 0;
    for (int64_t oy = rows.from; oy < rows.to; oy++) {
        int64_t counted = axis_counted(&p->h, oy, p->count_include_pad);
        for (int64_t ox = first; ox < last; ox++) {
            pool_seen cols = axis_seen(&p->w, ox);
            int64_t divisor = counted * axis_counted(&p->w, ox, p->count_include_pad);
            real share = dy[oy * p->w.out + ox] / (real)divisor;
            int64_t end = fc_min(cols.first + cols.count, to);
            for (int64_t w = fc_max(cols.first, from); w < end; w++) dx[w] += share;
        }
    }
}

#define AVG_GATHER(name, how, sw, kw) \
    static void name(const pool_rows *a, const real *dy, const int32_t *at, pool_range rows, \
                     int64_t h, real *dx) { \
        gather_middle(a, how, sw, kw, dy, at, rows, h, dx); \
    }
AVG_GATHER(avg_gather_2_stride2, GATHER_EQUAL, 2, 2)
AVG_GATHER(avg_gather_3_stride2, GATHER_EQUAL, 2, 3)
AVG_GATHER(avg_gather_3_stride1, GATHER_EQUAL, 1, 3)
AVG_GATHER(avg_gather_stride1, GATHER_EQUAL, 1, a->p->w.kernel)
AVG_GATHER(avg_gather_stride2, GATHER_EQUAL, 2, a->p->w.kernel)
AVG_GATHER(avg_gather_stride1_by_row, GATHER_BY_ROW, 1, a->p->w.kernel)
AVG_GATHER(avg_gather_stride2_by_row, GATHER_BY_ROW, 2, a->p->w.kernel)

static pool_backward_middle avg_gather_for(const pool_problem *p) {
    int64_t s = p->w.stride, k = p->w.kernel;
    if (!p->equal_divisors) return s == 2 ? avg_gather_stride2_by_row : avg_gather_stride1_by_row;
    if (s == 2) return k == 2 ? avg_gather_2_stride2 : k == 3 ? avg_gather_3_stride2
                                                              : avg_gather_stride2;
    return k == 3 ? avg_gather_3_stride1 : avg_gather_stride1;
}

static void avg_backward_row(const pool_rows *a, int64_t plane, int64_t h, int thread) {
    (void)thread;
    const pool_problem *p = a->p;
    const real *dy = a->in + plane * p->h.out * p->w.out;
    real *dx = a->out + (plane * p->h.size + h) * p->w.size;
    pool_range rows = axis_covering(&p->h, h);
    avg_gather_one_by_one(p, dy, rows, 0, a->middle.from, dx);
    if (a->middle.from < a->middle.to) a->backward_middle(a, dy, NULL, rows, h, dx);
    avg_gather_one_by_one(p, dy, rows, a->middle.to, p->w.size, dx);
}

static void avg_pool_backward(const pool_problem *p, const void *dy, void *dx, int n_threads) {
    pool_rows a = {.p = p, .in = dy, .out = dx, .row = avg_backward_row};
    a.backward_middle = avg_gather_for(p);
    pool_range outputs = p->equal_divisors ? (pool_range){0, p->w.out} : p->w.inside;
    a.middle = gather_columns(&p->w, outputs, p->equal_divisors);
    pool_run(&a, p->h.size, p->w.size + p->w.out, n_threads);
}

/* ------------------------------------------------------------------ global average */

typedef struct {
    int64_t planes, size, planes_per_task;
    const real *in;
    real *out;
} global_avg;

static void global_avg_forward_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const global_avg *a = arg;
    int64_t from = item * a->planes_per_task, to = fc_min(from + a->planes_per_task, a->planes);
    for (int64_t plane = from; plane < to; plane++) {
        const real *x = a->in + plane * a->size;
        vr s0 = v_zero(), s1 = v_zero(), s2 = v_zero(), s3 = v_zero();
        int64_t i = 0;
        for (; i + 4 * VL <= a->size; i += 4 * VL) {
            s0 = v_add(s0, v_load(x + i));
            s1 = v_add(s1, v_load(x + i + VL));
            s2 = v_add(s2, v_load(x + i + 2 * VL));
            s3 = v_add(s3, v_load(x + i + 3 * VL));
        }
        for (; i + VL <= a->size; i += VL) s0 = v_add(s0, v_load(x + i));
        if (i < a->size) s1 = v_add(s1, v_loadn(x + i, a->size - i));
        a->out[plane] = v_hsum(v_add(v_add(s0, s1), v_add(s2, s3))) / (real)a->size;
    }
}

static void global_avg_backward_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const global_avg *a = arg;
    int64_t from = item * a->planes_per_task, to = fc_min(from + a->planes_per_task, a->planes);
    for (int64_t plane = from; plane < to; plane++) {
        real *dx = a->out + plane * a->size;
        vr share = v_set1(a->in[plane] / (real)a->size);
        int64_t i = 0;
        for (; i + VL <= a->size; i += VL) v_store(dx + i, share);
        if (i < a->size) v_storen(dx + i, share, a->size - i);
    }
}

static void global_avg_run(fc_task task, int64_t planes, int64_t size, const void *in, void *out,
                           int n_threads) {
    global_avg a = {planes, size, fc_max(1, POOL_TASK / size), in, out};
    double work = (double)planes * (double)size;
    fc_parallel(fc_ceil_div(planes, a.planes_per_task), fc_threads_for(work, n_threads), task, &a);
}

static void global_avg_forward(int64_t planes, int64_t size, const void *x, void *y,
                               int n_threads) {
    global_avg_run(global_avg_forward_task, planes, size, x, y, n_threads);
}

static void global_avg_backward(int64_t planes, int64_t size, const void *dy, void *dx,
                                int n_threads) {
    global_avg_run(global_avg_backward_task, planes, size, dy, dx, n_threads);
}
