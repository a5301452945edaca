/* batch_norm_tmpl.h - batch normalisation over [n][c][size]; compiled per tier and real type.
 *
 * Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithm 1 and the gradients of section 3.
 *
 * A unit is what is read together: one channel, whose planes a vector reads along, or several, if
 * planes are so small that those of one channel would be crumbs far apart in memory; or, where a
 * plane is one element (features), VL channels side by side, each lane with sums of its own. A
 * channel's elements are read in blocks, whose moments are joined in double, in order (Chan, Golub
 * and LeVeque, 1979). Distances are taken to a center: the mean of an eighth of the first block,
 * then the mean so far. So a large mean costs no digits of a small variance; and where a block's
 * mean is far from the center, so that its squares lose digits, the distance between the two is
 * part of the variance (of the first block, an eighth of the elements are at the center) and
 * outweighs what was lost. The second pass over a unit goes backwards, so that it begins with what
 * the first has left in the cache.
 *
 * Threads: a task is a fixed number of whole units, so no sum is ever split between threads. Each
 * thread has a share of them: a core reads ahead into the unit next to its own, and would do so in
 * what another core is just writing. Inference has no sums: there a task is some planes in the
 * order of the memory (features excepted).
 */

enum {
    BN_BLOCK = 4096, /* elements of a block, about */
    BN_ROWS = 256,   /* images of a block where the lanes are channels */
    BN_RUN = 1024,   /* elements of an image, from which on a unit's planes are long enough */
    BN_UNITS = 4,    /* units that are wanted: few, so that 64 channels of 8x8 are 4 KiB together */
    BN_MOST = 16,    /* channels of a unit */
    BN_STREAMS = 8,  /* places read by turns, of all arrays: a core reads ahead in each of them */
    BN_LINES = 256,  /* channels of a task of inference, at most */
    BN_TASK = 32768  /* its elements, about: many times the work of finding its channels' numbers */
};

typedef struct {
    int64_t n, c, size;
    int by_lane;                   /* the lanes of a vector are channels */
    int64_t width;                 /* channels of a unit */
    int64_t units, unit_chunk;     /* and how many of them are a task */
    int64_t images, piece, pieces; /* of a block: images, elements of a plane; blocks a plane */
    int64_t lines;                 /* inference: channels of a task */
    int64_t blocks;                /* of a channel */
    double eps;
    int relu;                      /* of the output */
    const real *dy, *x, *gamma, *beta, *residual;
    const real *y;                          /* backward through a ReLU: its output */
    real *dz;                               /* and the gradient behind it */
    const real *running_mean, *running_var; /* inference */
    const double *mean, *inv_std;           /* backward */
    double *mean_out, *inv_std_out;         /* forward */
    real *out, *dgamma, *dbeta;
    int stream;                             /* out goes past the caches */
} bn_arg;

/* Part of a unit's first channel: `runs` stretches of `length` contiguous reals, `step` apart. The
 * same of its other channels lie a->size apart. */
typedef struct {
    int64_t at, runs, length, step;
} bn_block;

/* Of a channel: out = (x - center) * slope + dy * weight + offset; no dy in forward. */
typedef struct {
    real center[BN_MOST], slope[BN_MOST], weight[BN_MOST], offset[BN_MOST];
} bn_line;

INLINE int64_t bn_channels(const bn_arg *a, int64_t unit) {
    return fc_min(a->width, a->c - unit * a->width);
}

INLINE bn_block bn_block_of(const bn_arg *a, int64_t unit, int64_t i) {
    int64_t image = i / a->pieces * a->images, from = i % a->pieces * a->piece;
    int64_t plane = a->by_lane ? bn_channels(a, unit) : a->size;
    return (bn_block){
        .at = (image * a->c + unit * a->width) * a->size + from,
        .runs = fc_min(a->images, a->n - image),
        .length = fc_min(a->piece, plane - from),
        .step = a->c * a->size,
    };
}

/* What of a block tells about where its elements are: an eighth of them. */
INLINE bn_block bn_sample(const bn_arg *a, bn_block b) {
    if (b.runs == 1 && !a->by_lane) b.length = fc_ceil_div(b.length, 8);
    b.runs = fc_ceil_div(b.runs, 8);
    return b;
}

/* ---- sums over a block ---- */

INLINE vr bn_load(const real *p, int64_t n) { return n < VL ? v_loadn(p, n) : v_load(p); }

/* What n <= VL elements at `at` add to the two sums. */
typedef void (*bn_term)(const bn_arg *a, int64_t at, int64_t n, vr center, vr *s, vr *q);

INLINE void bn_plain(const bn_arg *a, int64_t at, int64_t n, vr center, vr *s, vr *q) {
    (void)center, (void)q;
    *s = v_add(*s, bn_load(a->x + at, n));
}
INLINE void bn_centered(const bn_arg *a, int64_t at, int64_t n, vr center, vr *s, vr *q) {
    vr d = v_sub(bn_load(a->x + at, n), center);
    *s = v_add(*s, d);
    *q = v_fma(d, d, *q);
}
INLINE void bn_gradient(const bn_arg *a, int64_t at, int64_t n, vr center, vr *s, vr *q) {
    vr g = bn_load(a->dy + at, n);
    *s = v_add(*s, g);
    *q = v_fma(g, v_sub(bn_load(a->x + at, n), center), *q);
}

/* Through the ReLU: what passes is kept in dz for the second pass. */
INLINE void bn_gradient_relu(const bn_arg *a, int64_t at, int64_t n, vr center, vr *s, vr *q) {
    vr g = relu_dx(bn_load(a->dy + at, n), bn_load(a->y + at, n), center);
    if (n < VL)
        v_storen(a->dz + at, g, n);
    else
        v_store(a->dz + at, g);
    *s = v_add(*s, g);
    *q = v_fma(g, v_sub(bn_load(a->x + at, n), center), *q);
}

/* The terms of one stretch; center: a channel's in all lanes, or one a lane. */
INLINE void bn_sum_run(const bn_arg *a, int64_t i, int64_t to, const real *center, bn_term term,
                       vr sums[4], vr squares[4]) {
    vr c = v_load(center);
    for (; i + 4 * VL <= to; i += 4 * VL)
        UNROLL for (int j = 0; j < 4; j++) term(a, i + j * VL, VL, c, &sums[j], &squares[j]);
    for (; i + VL <= to; i += VL) term(a, i, VL, c, &sums[0], &squares[0]);
    /* lanes that are not there count as 0 - 0 */
    if (i < to) term(a, i, to - i, v_loadn(center, to - i), &sums[1], &squares[1]);
}

INLINE vr bn_total(const vr sums[4]) {
    return v_add(v_add(sums[0], sums[1]), v_add(sums[2], sums[3]));
}

/* s and q of each channel of the block; channel by channel, over `together` images at a time. */
INLINE void bn_sums(const bn_arg *a, bn_block b, int64_t channels, const real *center, bn_term term,
                    int64_t together, real *s, real *q) {
    vr sums[BN_MOST][4], squares[BN_MOST][4];
    real lanes[BN_MOST][VL];
    if (a->by_lane) {
        vr sum[4], square[4];
        UNROLL for (int j = 0; j < 4; j++) sum[j] = square[j] = v_zero();
        for (int64_t r = 0; r < b.runs; r++) {
            int64_t at = b.at + r * b.step;
            bn_sum_run(a, at, at + b.length, center, term, sum, square);
        }
        v_store(s, bn_total(sum));
        v_store(q, bn_total(square));
        return;
    }
    for (int64_t l = 0; l < channels; l++) {
        UNROLL for (int j = 0; j < 4; j++) sums[l][j] = squares[l][j] = v_zero();
        v_store(lanes[l], v_set1(center[l]));
    }
    for (int64_t first = 0; first < b.runs; first += together) {
        int64_t end = fc_min(first + together, b.runs);
        for (int64_t l = 0; l < channels; l++) {
            vr sum[4], square[4]; /* in registers */
            UNROLL for (int j = 0; j < 4; j++) sum[j] = sums[l][j], square[j] = squares[l][j];
            for (int64_t r = first; r < end; r++) {
                int64_t at = b.at + r * b.step + l * a->size;
                bn_sum_run(a, at, at + b.length, lanes[l], term, sum, square);
            }
            UNROLL for (int j = 0; j < 4; j++) sums[l][j] = sum[j], squares[l][j] = square[j];
        }
    }
    for (int64_t l = 0; l < channels; l++) {
        s[l] = v_hsum(bn_total(sums[l]));
        q[l] = v_hsum(bn_total(squares[l]));
    }
}

/* ---- moments of a unit ---- */

typedef struct {
    double count, mean, squares; /* squares of the distances to the mean, summed */
} bn_moments;

INLINE void bn_join(bn_moments *m, double count, double mean, double squares) {
    double total = m->count + count, apart = mean - m->mean;
    m->squares += squares + apart * apart * (m->count * (count / total));
    m->mean += apart * (count / total);
    m->count = total;
}

/* Elements of a channel in a block. */
INLINE double bn_count(const bn_arg *a, bn_block b) {
    return (double)(a->by_lane ? b.runs : b.runs * b.length);
}

static void bn_unit_moments(const bn_arg *a, int64_t unit, bn_moments *m) {
    int64_t channels = bn_channels(a, unit);
    for (int64_t i = 0; i < a->blocks; i++) {
        bn_block b = bn_block_of(a, unit, i);
        double count = bn_count(a, b);
        real s[BN_MOST], q[BN_MOST], center[BN_MOST] = {0};
        if (i == 0) {
            bn_block sample = bn_sample(a, b);
            bn_sums(a, sample, channels, center, bn_plain, BN_STREAMS, s, q);
            for (int64_t l = 0; l < channels; l++) m[l].mean = s[l] / bn_count(a, sample);
        }
        for (int64_t l = 0; l < channels; l++) center[l] = (real)m[l].mean;
        bn_sums(a, b, channels, center, bn_centered, BN_STREAMS, s, q);
        for (int64_t l = 0; l < channels; l++) {
            double off = s[l] / count; /* by which center is not the mean */
            bn_join(&m[l], count, center[l] + off, fmax(0.0, q[l] - s[l] * off));
        }
    }
}

/* ---- the second pass ---- */

/* Channel l's numbers. */
INLINE void bn_set_line(bn_line *line, int64_t l, double center, double slope, double weight,
                        double offset) {
    line->center[l] = (real)center;
    line->slope[l] = (real)slope;
    line->weight[l] = (real)weight;
    /* the digits of the center that a real does not hold */
    line->offset[l] = (real)(offset - (center - (double)line->center[l]) * slope);
}

/* How elements of the output come from x, dy and the residual. */
typedef struct {
    vr center, slope, weight, offset;
    int has_dy, joins, relu;
} bn_map;

/* n elements of the output, or VL if there are more. */
INLINE vr bn_out(const bn_arg *a, const bn_map m, int64_t at, int64_t n) {
    vr line_of_dy = m.has_dy ? v_fma(bn_load(a->dy + at, n), m.weight, m.offset) : m.offset;
    vr y = v_fma(v_sub(bn_load(a->x + at, n), m.center), m.slope, line_of_dy);
    if (m.joins) y = v_add(y, bn_load(a->residual + at, n));
    return m.relu ? v_relu(y) : y;
}

INLINE void bn_apply_run(const bn_arg *a, const bn_map m, int64_t from, int64_t to) {
    int64_t n = v_unaligned(a->out + from, to - from);
    if (n > 0) v_storen(a->out + from, bn_out(a, m, from, n), n);
    int stream = stream_from(a->out + from + n, a->stream);
    for (from += n; from + TOGETHER * VL <= to; from += TOGETHER * VL) {
        vr y[TOGETHER];
        EACH(k, TOGETHER) y[k] = bn_out(a, m, from + k * VL, VL);
        put_together(a->out + from, y, stream);
    }
    for (; from < to; from += VL)
        v_storen(a->out + from, bn_out(a, m, from, to - from), to - from);
}

INLINE void bn_apply(const bn_arg *a, int64_t unit, const bn_line *line, const int has_dy,
                     const int joins, const int relu) {
    int64_t channels = a->by_lane ? 1 : bn_channels(a, unit);
    for (int64_t i = a->blocks - 1; i >= 0; i--) {
        bn_block b = bn_block_of(a, unit, i);
        for (int64_t r = b.runs - 1; r >= 0; r--) {
            int64_t at = b.at + r * b.step;
            if (a->by_lane) {
                bn_map m = {v_load(line->center), v_load(line->slope), v_load(line->weight),
                            v_load(line->offset), has_dy, joins, relu};
                bn_apply_run(a, m, at, at + b.length);
                continue;
            }
            for (int64_t l = 0; l < channels; l++, at += a->size) {
                bn_map m = {v_set1(line->center[l]), v_set1(line->slope[l]),
                            v_set1(line->weight[l]), v_set1(line->offset[l]), has_dy, joins, relu};
                bn_apply_run(a, m, at, at + b.length);
            }
        }
    }
}

/* ---- the three passes over a unit ---- */

INLINE double bn_at(const real *values, int64_t channel, double otherwise) {
    return values == NULL ? otherwise : (double)values[channel];
}

/* Channel l's numbers where the statistics are given: those of channel c. */
INLINE void bn_inference_line(const bn_arg *a, int64_t c, bn_line *line, int64_t l) {
    double inv_std = 1.0 / sqrt((double)a->running_var[c] + a->eps);
    bn_set_line(line, l, (double)a->running_mean[c], bn_at(a->gamma, c, 1.0) * inv_std, 0.0,
                bn_at(a->beta, c, 0.0));
}

static void bn_unit_inference(const bn_arg *a, int64_t unit) {
    bn_line line = {.center = {0}};
    for (int64_t l = 0; l < bn_channels(a, unit); l++)
        bn_inference_line(a, unit * a->width + l, &line, l);
    bn_apply(a, unit, &line, 0, 0, 0);
}

/* Item: a->images images of up to a->lines channels. */
static void bn_inference_planes(void *arg, int64_t item, int thread) {
    (void)thread;
    const bn_arg *a = arg;
    int64_t groups = fc_ceil_div(a->c, a->lines);
    int64_t first = item % groups * a->lines, channels = fc_min(a->lines, a->c - first);
    int64_t n0 = item / groups * a->images, n1 = fc_min(n0 + a->images, a->n);
    bn_line line[BN_LINES / BN_MOST];
    for (int64_t l = 0; l < channels; l++)
        bn_inference_line(a, first + l, &line[l / BN_MOST], l % BN_MOST);
    for (int64_t n = n0; n < n1; n++) {
        int64_t at = (n * a->c + first) * a->size;
        for (int64_t l = 0; l < channels; l++, at += a->size) {
            const bn_line *of = &line[l / BN_MOST];
            int64_t i = l % BN_MOST;
            bn_map m = {v_set1(of->center[i]), v_set1(of->slope[i]), v_zero(),
                        v_set1(of->offset[i]), 0, 0, 0};
            bn_apply_run(a, m, at, at + a->size);
        }
    }
    if (a->stream) stream_fence();
}

static void bn_unit_forward(const bn_arg *a, int64_t unit) {
    bn_moments m[BN_MOST] = {{0.0, 0.0, 0.0}};
    bn_line line = {.center = {0}};
    bn_unit_moments(a, unit, m);
    for (int64_t l = 0; l < bn_channels(a, unit); l++) {
        int64_t c = unit * a->width + l;
        double var = m[l].squares / fmax(m[l].count, 1.0);
        double inv_std = 1.0 / sqrt(var + a->eps);
        a->mean_out[c] = m[l].mean;
        a->inv_std_out[c] = inv_std;
        bn_set_line(&line, l, m[l].mean, bn_at(a->gamma, c, 1.0) * inv_std, 0.0,
                    bn_at(a->beta, c, 0.0));
    }
    if (a->residual == NULL && !a->relu)
        bn_apply(a, unit, &line, 0, 0, 0);
    else if (a->residual == NULL)
        bn_apply(a, unit, &line, 0, 0, 1);
    else if (!a->relu)
        bn_apply(a, unit, &line, 0, 1, 0);
    else
        bn_apply(a, unit, &line, 0, 1, 1);
}

/* dx = gamma * inv_std * (dy - sum(dy) / m - x_hat * sum(dy * x_hat) / m), of m elements, with
 * x_hat = (x - mean) * inv_std. */
static void bn_unit_backward(const bn_arg *given, int64_t unit) {
    const bn_arg *a = given;
    int64_t channels = bn_channels(a, unit), first = unit * a->width;
    double sum[BN_MOST] = {0}, dot[BN_MOST] = {0}; /* of dy, of dy * (x - mean) */
    real center[BN_MOST] = {0}, s[BN_MOST], q[BN_MOST];
    for (int64_t l = 0; l < channels; l++) center[l] = (real)a->mean[first + l];
    for (int64_t i = 0; i < a->blocks; i++) {
        bn_block b = bn_block_of(a, unit, i);
        if (a->y == NULL)
            bn_sums(a, b, channels, center, bn_gradient, BN_STREAMS / 2, s, q);
        else
            bn_sums(a, b, channels, center, bn_gradient_relu, BN_STREAMS / 2, s, q);
        for (int64_t l = 0; l < channels; l++) {
            sum[l] += s[l];
            dot[l] += q[l];
        }
    }
    bn_arg second = *given;
    if (a->y != NULL) second.dy = a->dz;
    a = &second;
    bn_line line = {.center = {0}};
    double m = fmax((double)a->n * (double)a->size, 1.0);
    for (int64_t l = 0; l < channels; l++) {
        int64_t c = first + l;
        double mean = a->mean[c], inv_std = a->inv_std[c];
        double weight = bn_at(a->gamma, c, 1.0) * inv_std;
        double product = (dot[l] - (mean - (double)center[l]) * sum[l]) * inv_std;
        a->dgamma[c] = (real)product;
        a->dbeta[c] = (real)sum[l];
        bn_set_line(&line, l, mean, -weight * inv_std * product / m, weight,
                    -weight * sum[l] / m);
    }
    bn_apply(a, unit, &line, 1, 0, 0);
}

/* The gradient of a shift, or a bias, alone. */
static void bn_unit_totals(const bn_arg *a, int64_t unit) {
    int64_t channels = bn_channels(a, unit);
    double sum[BN_MOST] = {0};
    real center[BN_MOST] = {0}, s[BN_MOST], q[BN_MOST];
    for (int64_t i = 0; i < a->blocks; i++) {
        bn_sums(a, bn_block_of(a, unit, i), channels, center, bn_plain, BN_STREAMS, s, q);
        for (int64_t l = 0; l < channels; l++) sum[l] += s[l];
    }
    for (int64_t l = 0; l < channels; l++) a->out[unit * a->width + l] = (real)sum[l];
}

/* ---- tasks ---- */

INLINE void bn_task(const bn_arg *a, int64_t task, void (*unit)(const bn_arg *a, int64_t unit)) {
    int64_t from = task * a->unit_chunk, to = fc_min(from + a->unit_chunk, a->units);
    for (int64_t u = from; u < to; u++) unit(a, u);
    if (a->stream) stream_fence();
}
static void bn_inference(void *a, int64_t i, int t) { (void)t, bn_task(a, i, bn_unit_inference); }
static void bn_forward(void *a, int64_t i, int t) { (void)t, bn_task(a, i, bn_unit_forward); }
static void bn_backward(void *a, int64_t i, int t) { (void)t, bn_task(a, i, bn_unit_backward); }
static void bn_totals(void *a, int64_t i, int t) { (void)t, bn_task(a, i, bn_unit_totals); }

static int bn_stream_worth(const bn_arg *a) {
    int64_t n = a->n * a->c * a->size;
    return stream_worth(a->out, n, a->x, a->residual) && stream_worth(a->out, n, a->dy, a->dz);
}

static void bn_run(const fc_batch_norm_desc *d, bn_arg *a, fc_task task, int n_threads) {
    a->n = d->n;
    a->c = d->c;
    a->size = d->size;
    a->by_lane = d->size == 1;
    a->stream = !a->by_lane && task != bn_totals && bn_stream_worth(a);
    a->piece = a->by_lane ? VL : fc_max(1, fc_min(d->size, BN_BLOCK));
    a->pieces = a->by_lane ? 1 : fc_ceil_div(d->size, a->piece);
    a->images = a->by_lane ? BN_ROWS : fc_max(1, BN_BLOCK / fc_max(1, d->size));
    a->blocks = a->pieces * fc_ceil_div(d->n, a->images);
    int64_t planes = fc_min(BN_RUN / fc_max(1, d->size), d->c / BN_UNITS);
    a->width = a->by_lane ? VL : fc_max(1, fc_min(planes, BN_MOST));
    a->units = fc_ceil_div(d->c, a->width);
    double unit_work = (double)d->n * (double)d->size * (double)a->width;
    a->unit_chunk = (int64_t)fmax(1.0, FC_CHUNK / fmax(unit_work, 64.0));
    int64_t tasks = fc_ceil_div(a->units, a->unit_chunk);
    int threads = fc_threads_for(2 * FC_MOVED * unit_work * (double)a->units, n_threads);
    fc_parallel_shares(tasks, threads, task, a);
}

static void batch_norm_inference(const fc_batch_norm_desc *d, double eps, const void *x,
                                 const void *gamma, const void *beta, const void *mean,
                                 const void *var, void *y, int n_threads) {
    bn_arg a = {.eps = eps, .x = x, .gamma = gamma, .beta = beta, .running_mean = mean,
                .running_var = var, .out = y};
    if (d->size == 1) { /* the lanes are channels */
        bn_run(d, &a, bn_inference, n_threads);
        return;
    }
    double plane = (double)d->size, all = (double)d->n * (double)d->c * plane;
    a.n = d->n, a.c = d->c, a.size = d->size;
    a.stream = bn_stream_worth(&a);
    double planes = fmax(1.0, BN_TASK / fmax(1.0, plane));
    a.lines = fc_max(1, (int64_t)fmin(fmin(planes, BN_LINES), (double)d->c));
    a.images = (int64_t)fmax(1.0, planes / (double)a.lines);
    fc_parallel_shares(fc_ceil_div(d->n, a.images) * fc_ceil_div(d->c, a.lines),
                       fc_threads_for(2 * FC_MOVED * all, n_threads), bn_inference_planes, &a);
}

static void batch_norm_forward(const fc_batch_norm_desc *d, double eps, const void *x,
                               const void *gamma, const void *beta, const void *residual, int relu,
                               void *y, double *mean, double *inv_std, int n_threads) {
    bn_arg a = {.eps = eps, .x = x, .gamma = gamma, .beta = beta, .residual = residual,
                .relu = relu, .out = y, .mean_out = mean, .inv_std_out = inv_std};
    bn_run(d, &a, bn_forward, n_threads);
}

static void batch_norm_backward(const fc_batch_norm_desc *d, const void *dy, const void *y,
                                const void *x, const void *gamma, const double *mean,
                                const double *inv_std, void *dz, void *dx, void *dgamma,
                                void *dbeta, int n_threads) {
    bn_arg a = {.dy = dy, .y = y, .dz = dz, .x = x, .gamma = gamma, .mean = mean,
                .inv_std = inv_std, .out = dx, .dgamma = dgamma, .dbeta = dbeta};
    bn_run(d, &a, bn_backward, n_threads);
}

static void channel_sums(const fc_batch_norm_desc *d, const void *x, void *sums, int n_threads) {
    bn_arg a = {.x = x, .out = sums};
    bn_run(d, &a, bn_totals, n_threads);
}

#define BATCH_NORM_KERNELS                                                      \
    {                                                                           \
        .inference = batch_norm_inference,                                      \
        .forward = batch_norm_forward,                                          \
        .backward = batch_norm_backward,                                        \
        .channel_sums = channel_sums,                                           \
    }
