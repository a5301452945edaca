/* lrn_tmpl.h - local response normalisation over [n][c][size]; compiled per tier and real type.
 *
 * Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
 * networks", NIPS 2012, section 3.3. With s[c] = k + alpha / window * (sum of x[j]^2, j from
 * c - window / 2 to c + (window - 1) / 2):
 *
 *   y[c]  = x[c] s[c]^-beta
 *   dx[c] = dy[c] s[c]^-beta - 2 beta alpha / window * x[c] * (sum of r[j] over the windows j in
 *           which c is), r[j] = dy[j] x[j] s[j]^(-beta - 1)
 *
 * Vectors lie along the pixels. A task is one block of pixels of one image, all channels of it in
 * order, so that a window's rows stay in L1. Windows are summed afresh for every channel: a
 * running sum would carry an infinity, or the digits it lost, on to all channels behind.
 */

typedef struct {
    int64_t c, size;
    int64_t below, above; /* channels of the window before and behind its own */
    int64_t rows;         /* of r that are kept */
    int64_t blocks;       /* of pixels, an image */
    real k, scale, beta, back;
    const real *dy, *x;
    real *out, *r;
} lrn_arg;

enum { LRN_BLOCK = (int)(FC_LRN_ROW / sizeof(real)) };

INLINE vr lrn_load(const real *p, int64_t n) { return n < VL ? v_loadn(p, n) : v_load(p); }
INLINE void lrn_store(real *p, vr v, int64_t n) {
    if (n < VL) v_storen(p, v, n);
    else v_store(p, v);
}

/* s of n <= VL pixels, of which p is the channel itself. */
INLINE vr lrn_s(const lrn_arg *a, const real *p, int64_t below, int64_t above, int64_t n) {
    vr sum = v_zero();
    for (int64_t j = -below; j <= above; j++) {
        vr v = lrn_load(p + j * a->size, n);
        sum = v_fma(v, v, sum);
    }
    return v_fma(sum, v_set1(a->scale), v_set1(a->k));
}

/* s^-beta and 1 / s; by square roots for the beta that everybody takes. */
INLINE vr lrn_power(const lrn_arg *a, vr s, vr *inverse) {
    if (a->beta == (real)0.75) {
        vr root = v_div(v_set1(1), v_sqrt(s));
        *inverse = v_mul(root, root);
        return v_mul(root, v_sqrt(root));
    }
    real lanes[VL];
    v_store(lanes, s);
    for (int i = 0; i < VL; i++) lanes[i] = (real)pow((double)lanes[i], -(double)a->beta);
    *inverse = v_div(v_set1(1), s);
    return v_load(lanes);
}

/* The pixels of a task: image, first and last. */
typedef struct {
    int64_t image, from, to;
} lrn_block;

INLINE lrn_block lrn_block_of(const lrn_arg *a, int64_t item) {
    int64_t from = item % a->blocks * LRN_BLOCK;
    return (lrn_block){item / a->blocks, from, fc_min(from + LRN_BLOCK, a->size)};
}

INLINE void lrn_forward_at(const lrn_arg *a, int64_t at, int64_t below, int64_t above, int64_t n) {
    const real *x = a->x + at;
    vr inverse, power = lrn_power(a, lrn_s(a, x, below, above, n), &inverse);
    lrn_store(a->out + at, v_mul(lrn_load(x, n), power), n);
}

static void lrn_forward_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const lrn_arg *a = arg;
    lrn_block b = lrn_block_of(a, item);
    for (int64_t c = 0; c < a->c; c++) {
        int64_t below = fc_min(a->below, c), above = fc_min(a->above, a->c - 1 - c);
        int64_t plane = (b.image * a->c + c) * a->size, i = plane + b.from, to = plane + b.to;
        for (; i + VL <= to; i += VL) lrn_forward_at(a, i, below, above, VL);
        if (i < to) lrn_forward_at(a, i, below, above, to - i);
    }
}

/* r, and dy s^-beta into dx, which still lacks the sum over r. */
INLINE void lrn_terms_at(const lrn_arg *a, int64_t at, int64_t below, int64_t above, real *r,
                         int64_t n) {
    vr x = lrn_load(a->x + at, n);
    vr inverse, power = lrn_power(a, lrn_s(a, a->x + at, below, above, n), &inverse);
    vr g = v_mul(lrn_load(a->dy + at, n), power);
    lrn_store(a->out + at, g, n);
    lrn_store(r, v_mul(v_mul(g, x), inverse), n);
}

/* dx complete: rows first..last of r, of which `r` is row 0's place for these pixels. */
INLINE void lrn_gather_at(const lrn_arg *a, int64_t at, const real *r, int64_t first, int64_t last,
                          int64_t n) {
    vr sum = v_zero();
    int64_t row = first % a->rows;
    for (int64_t j = first; j <= last; j++) {
        sum = v_add(sum, lrn_load(r + row * LRN_BLOCK, n));
        if (++row == a->rows) row = 0;
    }
    vr x = v_mul(lrn_load(a->x + at, n), v_set1(-a->back));
    lrn_store(a->out + at, v_fma(x, sum, lrn_load(a->out + at, n)), n);
}

/* Channel j's r is made, then the last channel whose sum that completes is done. */
static void lrn_backward_task(void *arg, int64_t item, int thread) {
    const lrn_arg *a = arg;
    lrn_block b = lrn_block_of(a, item);
    real *ring = a->r + (int64_t)thread * a->rows * LRN_BLOCK;
    for (int64_t j = 0; j < a->c + a->below; j++) {
        if (j < a->c) {
            int64_t below = fc_min(a->below, j), above = fc_min(a->above, a->c - 1 - j);
            int64_t plane = (b.image * a->c + j) * a->size, i = plane + b.from, to = plane + b.to;
            real *r = ring + j % a->rows * LRN_BLOCK;
            for (; i + VL <= to; i += VL, r += VL) lrn_terms_at(a, i, below, above, r, VL);
            if (i < to) lrn_terms_at(a, i, below, above, r, to - i);
        }
        int64_t c = j - a->below;
        if (c >= 0) {
            int64_t first = fc_max(0, c - a->above), last = fc_min(j, a->c - 1);
            int64_t plane = (b.image * a->c + c) * a->size, i = plane + b.from, to = plane + b.to;
            const real *r = ring;
            for (; i + VL <= to; i += VL, r += VL) lrn_gather_at(a, i, r, first, last, VL);
            if (i < to) lrn_gather_at(a, i, r, first, last, to - i);
        }
    }
}

static lrn_arg lrn_arg_of(const fc_lrn_desc *d) {
    return (lrn_arg){
        .c = d->c,
        .size = d->size,
        .below = fc_min(d->window / 2, d->c),
        .above = fc_min((d->window - 1) / 2, d->c),
        .rows = fc_min(d->window, d->c),
        .blocks = fc_ceil_div(d->size, LRN_BLOCK),
        .k = (real)d->k,
        .scale = (real)(d->alpha / (double)d->window),
        .beta = (real)d->beta,
        .back = (real)(2 * d->beta * d->alpha / (double)d->window),
    };
}

/* A root or a division is worth some ten multiply-adds. */
static void lrn_run(const fc_lrn_desc *d, lrn_arg *a, fc_task task, int n_threads) {
    double work = (double)(d->n * d->c * d->size) * (double)(fc_min(d->window, d->c) + 30);
    fc_parallel_shares(d->c > 0 ? d->n * a->blocks : 0, fc_threads_for(work, n_threads), task, a);
}

static void lrn_forward(const fc_lrn_desc *d, const void *x, void *y, int n_threads) {
    lrn_arg a = lrn_arg_of(d);
    a.x = x, a.out = y;
    lrn_run(d, &a, lrn_forward_task, n_threads);
}

static void lrn_backward(const fc_lrn_desc *d, const void *dy, const void *x, void *dx,
                         void *workspace, int n_threads) {
    lrn_arg a = lrn_arg_of(d);
    a.dy = dy, a.x = x, a.out = dx, a.r = workspace;
    lrn_run(d, &a, lrn_backward_task, n_threads);
}

#define LRN_KERNELS {.forward = lrn_forward, .backward = lrn_backward}
