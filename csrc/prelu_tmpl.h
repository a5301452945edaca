/* prelu_tmpl.h - leaky ReLU with learned slopes, one a channel, and their gradient; included by
 * pointwise_tmpl.h.
 *
 * Planes are cut into pieces of FC_CHUNK elements, and a task is as many pieces, at least one, as
 * have that many elements together. A piece leaves its part of the slope's gradient in `sums`, and
 * these are added up in order at the end. Planes of one element are columns: a task is some vectors
 * of channels, down all the rows. Either way the bits do not depend on the threads.
 */

typedef struct {
    const fc_prelu_desc *d;
    int64_t pieces, task; /* of a plane, of a task */
    const real *dy;       /* backward only */
    const real *x, *slopes;
    real *out;            /* y or dx */
    double *sums;
    int stream;           /* out goes past the caches */
} prelu_arg;

/* TOGETHER vectors from `at` on, of which n elements are meant: y; or dx, and into a sum dy * x
 * where x <= 0. */
INLINE void prelu_some(const prelu_arg *a, int64_t at, int64_t n, const int whole,
                       const int backward, int stream, const vr slope[TOGETHER],
                       vr sum[TOGETHER]) {
    const real *in = backward ? a->dy : a->x;
    vr x[TOGETHER], y[TOGETHER];
    EACH(k, TOGETHER) {
        int64_t left = fc_max(n - k * VL, 0);
        x[k] = whole ? v_load(a->x + at + k * VL) : v_loadn(a->x + at + k * VL, left);
        y[k] = whole ? v_load(in + at + k * VL) : v_loadn(in + at + k * VL, left);
    }
    EACH(k, TOGETHER) {
        vm above = v_gt(x[k], v_zero());
        if (backward) sum[k] = v_add(sum[k], v_select(above, v_zero(), v_mul(y[k], x[k])));
        y[k] = v_select(above, y[k], v_mul(y[k], slope[k]));
    }
    if (whole) {
        put_together(a->out + at, y, stream);
    } else {
        EACH(k, TOGETHER) v_storen(a->out + at + k * VL, y[k], fc_max(n - k * VL, 0));
    }
}

INLINE void prelu_piece(const prelu_arg *a, int64_t piece, const int backward) {
    int64_t plane = piece / a->pieces, from = piece % a->pieces * FC_CHUNK;
    int64_t i = plane * a->d->inner + from, to = i + fc_min(a->d->inner - from, FC_CHUNK);
    vr slope[TOGETHER], sum[TOGETHER];
    EACH(k, TOGETHER) slope[k] = v_set1(a->slopes[plane % a->d->c]), sum[k] = v_zero();
    int64_t first = backward ? 0 : v_unaligned(a->out + i, to - i);
    if (first > 0) prelu_some(a, i, first, 0, backward, 0, slope, sum);
    int stream = stream_from(a->out + i + first, a->stream);
    for (i += first; i + TOGETHER * VL <= to; i += TOGETHER * VL)
        prelu_some(a, i, TOGETHER * VL, 1, backward, stream, slope, sum);
    if (i < to) prelu_some(a, i, to - i, 0, backward, 0, slope, sum);
    if (backward) a->sums[piece] = v_hsum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

INLINE void prelu_pieces(const prelu_arg *a, int64_t item, const int backward) {
    int64_t all = a->d->outer * a->d->c * a->pieces;
    int64_t from = item * a->task, to = fc_min(from + a->task, all);
    for (int64_t piece = from; piece < to; piece++) prelu_piece(a, piece, backward);
    if (a->stream) stream_fence();
}
static void prelu_forward_pieces(void *a, int64_t i, int t) { (void)t, prelu_pieces(a, i, 0); }
static void prelu_backward_pieces(void *a, int64_t i, int t) { (void)t, prelu_pieces(a, i, 1); }

INLINE void prelu_columns(const prelu_arg *a, int64_t item, const int backward) {
    int64_t c = a->d->c, from = item * TOGETHER * VL, n = fc_min(c - from, TOGETHER * VL);
    vr slope[TOGETHER], sum[TOGETHER];
    EACH(k, TOGETHER) {
        slope[k] = v_loadn(a->slopes + from + k * VL, fc_max(n - k * VL, 0));
        sum[k] = v_zero();
    }
    for (int64_t row = 0; row < a->d->outer; row++) {
        if (n == TOGETHER * VL) prelu_some(a, row * c + from, n, 1, backward, 0, slope, sum);
        else prelu_some(a, row * c + from, n, 0, backward, 0, slope, sum);
    }
    if (!backward) return;
    real lanes[TOGETHER * VL];
    EACH(k, TOGETHER) v_store(lanes + k * VL, sum[k]);
    for (int64_t i = 0; i < n; i++) a->sums[from + i] = lanes[i];
}
static void prelu_forward_columns(void *a, int64_t i, int t) { (void)t, prelu_columns(a, i, 0); }
static void prelu_backward_columns(void *a, int64_t i, int t) { (void)t, prelu_columns(a, i, 1); }

static void prelu_run(prelu_arg *a, const int backward, int n_threads) {
    const fc_prelu_desc *d = a->d;
    int64_t planes = d->outer * d->c, columns = d->inner == 1;
    if (planes == 0 || d->inner == 0) return;
    a->stream = !columns && stream_worth(a->out, planes * d->inner, a->x, a->dy);
    a->pieces = fc_ceil_div(d->inner, FC_CHUNK);
    a->task = fc_max(1, FC_CHUNK / d->inner);
    int64_t tasks = columns ? fc_ceil_div(d->c, TOGETHER * VL)
                            : fc_ceil_div(planes * a->pieces, a->task);
    fc_task task = columns ? (backward ? prelu_backward_columns : prelu_forward_columns)
                           : (backward ? prelu_backward_pieces : prelu_forward_pieces);
    double work = (2 + backward) * FC_MOVED * (double)planes * (double)d->inner;
    fc_parallel_shares(tasks, fc_threads_for(work, n_threads), task, a);
}

static void prelu_forward(const fc_prelu_desc *d, const void *x, const void *slopes, void *y,
                          int n_threads) {
    prelu_arg a = {.d = d, .x = x, .slopes = slopes, .out = y};
    prelu_run(&a, 0, n_threads);
}

static void prelu_backward(const fc_prelu_desc *d, const void *dy, const void *x,
                           const void *slopes, void *dx, void *dslopes, double *sums,
                           int n_threads) {
    prelu_arg a = {.d = d, .dy = dy, .x = x, .slopes = slopes, .out = dx, .sums = sums};
    prelu_run(&a, 1, n_threads);
    int64_t each = fc_prelu_sums(d) / fc_max(d->c, 1), pieces = fc_ceil_div(d->inner, FC_CHUNK);
    for (int64_t c = 0; c < d->c; c++) { /* of columns, each has one sum */
        double sum = 0;
        for (int64_t i = 0; i < each; i++)
            sum += sums[(i / pieces * d->c + c) * pieces + i % pieces];
        ((real *)dslopes)[c] = (real)sum;
    }
}
