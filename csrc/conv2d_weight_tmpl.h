/* conv2d_weight_tmpl.h - convolution backward with respect to the weights and the bias; compiled
 * per tier and real type.
 *
 *     dw[m][c][t] = sum over bands and their pixels q of  dy[m][q] * plane[c][q + shift(t)]
 *
 * Two ways, by the number of output channels of a group: conv2d_weight_outer_tmpl.h where there are
 * many, conv2d_weight_dot_tmpl.h where there are few. This file chooses and plans. Where there are
 * few tasks, the bands are dealt to `splits` sets of sums, added up in order at the end. The number
 * of splits follows from the shapes, so the bits do not depend on the threads.
 */

enum { DOT_ROWS = N_REGISTERS == 32 ? 4 : 2, DOT_TAPS = 5 };
enum {
    DOT_BUDGET = 24576, /* bytes of a part's pixels and of the rows of dy that meet them, for L1 */
    DY_BUDGET = 65536,  /* bytes of a panel of dy, which all taps read from a cache */
    BAND_PIXELS = 1024, /* of a band; more where DY_BUDGET holds more, half where bands are few */
    BATCH_BUDGET = 1 << 20,
    CHUNK_GROUPS = 16,
    MOST_SPLITS = 16,
    OWN_SUMS = 65536 /* bytes of a split's sums, up to which its bands, if there are enough of
                      * them and each fits a batch, are one task */
};
enum { PACK_CHANNELS = 32 }; /* of x, by one task */

typedef struct {
    shift_problem s;
    const fc_conv2d_desc *d;
    int dot, lanes;               /* lanes: dot, on images in lanes */
    int own;                      /* outer: a split's bands are packed and summed by one task */
    int in_source;                /* outer: 1x1 kernels of stride 1 read x as it is */
    int64_t block, c0;            /* outer: source channels at a time; the first of them */
    int64_t taps;                 /* of a block: channels * KH * KW */
    int64_t nv, np, panels;       /* vectors of a panel, most taps that go with it, panels of a
                                   * group */
    outer_groups tap_groups;      /* of a panel */
    int64_t chunk, chunks;        /* tap groups of a task; tasks of a panel */
    int64_t shifts_listed;        /* 0 for dot of pixels in lanes, which needs none */
    int64_t splits;
    int64_t panel_sums, split_sums;    /* strides of the sums */
    int64_t batch;                /* bands of a batch */
    int64_t part_rows;            /* rows of a band that are summed at a time */
    int64_t band_x, band_dy, band_db;  /* reals of a band's x, transposed dy, bias sums */
    int64_t thread_reals;         /* dot: scratch of a thread */
    int64_t rows, bands;          /* lanes: output rows of a band, bands of an image */
    int64_t first_band, n_bands;  /* of the current batch */
    const real *dy, *x;
    real *dw, *db, *sums, *bias_sums, *packed_x, *packed_dy, *packed_db;
    int32_t *shifts;              /* outer: [channel][tap]; lanes: [tap], in reals */
} weight_run;

#include "conv2d_weight_dot_tmpl.h"
#include "conv2d_weight_outer_tmpl.h"

/* 1 if images in lanes serve this shape best. */
static int weight_plan_lanes(weight_run *r) {
    shift_problem *s = &r->s;
    if (!lanes_fit(s) || s->y.step * s->x.step > 1 || s->m > VL) return 0;
    lanes_pitch(s);
    r->rows = lanes_rows(s, s->pitch + s->m * s->x.out, 1);
    if (r->rows == 0 || s->m * r->taps * VL * (int64_t)sizeof(real) > LANES_SUMS) return 0;
    r->dot = r->lanes = 1;
    r->bands = fc_ceil_div(s->y.q, r->rows);
    int64_t fit = DOT_BUDGET / (VL * (int64_t)sizeof(real)) - s->y.max_shift * s->pitch;
    r->part_rows = fc_max(1, fit / (s->pitch + DOT_ROWS * s->x.out));
    s->channel_stride = ((r->rows + s->y.max_shift) * s->pitch + s->x.max_shift) * VL;
    r->shifts_listed = s->y.taps * s->x.taps; /* of one channel */
    r->splits = fc_min(fc_ceil_div(MOST_SPLITS, s->groups), fc_ceil_div(s->n, VL) * r->bands);
    r->split_sums = s->groups * s->m * r->taps;
    int64_t dy = s->m * r->rows * s->x.out * VL;
    r->thread_reals = fc_round_up(s->channel_stride + s->m * (r->taps + 1) * VL + dy, 16);
    return 1;
}

static void weight_plan(weight_run *r, const fc_conv2d_desc *d) {
    shift_problem *s = &r->s;
    int64_t size = sizeof(real);
    *r = (weight_run){.d = d};
    shift_forward(d, s);
    r->taps = s->channels * s->y.taps * s->x.taps;
    int in_source = direct_choose_tiles(s) == IN_SOURCE;
    if (in_source) direct_join_rows(s);
    if (weight_plan_lanes(r)) return;
    r->dot = s->m <= VL / 2;
    int64_t phases = s->y.phases * s->x.phases, all;
    if (r->dot) {
        shift_cut_bands(s, fc_max(VL, fc_min(4096, PLANES_BUDGET / (phases * size))), VL);
        r->splits = fc_ceil_div(MOST_SPLITS, s->groups);
        r->splits = fc_max(1, fc_min(r->splits, shift_bands(s)));
        r->split_sums = s->groups * s->m * r->taps;
        r->thread_reals = fc_round_up(s->channel_stride + s->m * (r->taps + 1) * VL, 16);
        return;
    }
    outer_panels panels = outer_panels_of(s->m);
    r->panels = panels.count;
    r->nv = panels.nv;
    r->np = panels.np;
    int64_t width = r->nv * VL;
    int64_t at_once = DY_BUDGET / (width * size);
    int64_t even = fc_ceil_div(s->n * s->y.q * s->x.q, TASKS_WANTED);
    int64_t q_target = fc_max(BAND_PIXELS / 2, fc_min(fc_max(at_once, BAND_PIXELS), even));
    if (s->y.q == 1 && s->x.q > q_target) /* even bands of a long row */
        q_target = fc_ceil_div(s->x.q, fc_ceil_div(s->x.q, q_target));
    shift_cut_bands(s, q_target, 1);
    r->in_source = in_source && r->taps == s->channels && s->y.source == 1 &&
                   s->x.q == s->x.source &&
                   s->channels <= INT32_MAX / s->x.source; /* int32 shifts */
    if (r->in_source) s->channel_stride = s->x.source;
    /* Wide kernels and dilations make tall planes: then not all channels at a time. */
    r->block = s->channels;
    if (!r->in_source)
        r->block = fc_max(1, fc_min(r->block, BLOCK_REALS / (s->groups * s->channel_stride)));
    s->channels = r->block;
    r->taps = s->channels * s->y.taps * s->x.taps;
    r->part_rows = fc_max(1, at_once / s->band_cols);
    r->shifts_listed = r->taps;
    r->tap_groups = outer_groups_of(r->taps, r->np);
    int64_t tap_groups = s->groups * r->panels * r->tap_groups.count;
    r->chunk = fc_min(CHUNK_GROUPS, fc_max(1, tap_groups / TASKS_WANTED));
    r->chunks = fc_ceil_div(r->tap_groups.count, r->chunk);
    all = s->groups * r->panels * r->chunks;
    r->panel_sums = r->taps * width;
    r->split_sums = s->groups * r->panels * r->panel_sums;
    int64_t pixels = s->band_images * s->band_rows * s->band_cols;
    r->band_x = s->groups * s->channels * (r->in_source ? pixels : s->channel_stride);
    r->band_dy = s->groups * r->panels * pixels * width;
    r->band_db = s->groups * r->panels * width;
    r->batch = BATCH_BUDGET / ((r->band_x + r->band_dy) * size);
    r->batch = fc_max(1, fc_min(r->batch, shift_bands(s)));
    r->splits = all >= TASKS_WANTED ? 1 : fc_ceil_div(TASKS_WANTED, all);
    r->splits = fc_max(1, fc_min(r->splits, r->batch));
    int64_t packed = (r->in_source ? 0 : r->band_x) + r->band_dy;
    r->own = r->split_sums * size <= OWN_SUMS && packed * size <= BATCH_BUDGET &&
             shift_bands(s) >= TASKS_WANTED;
    if (r->own) r->splits = fc_min(shift_bands(s), MOST_SPLITS);
}

static int64_t weight_layout(weight_run *r, char *base, int n_threads) {
    const shift_problem *s = &r->s;
    int64_t size = sizeof(real), at = 0, tables, shifts, sums, bias, x, dy, db;
    if (fc_mul(fc_max(r->block, 1), s->channel_stride) > INT32_MAX)
        return -1; /* shifts are int32 */
    tables = at;
    at = fc_round_up(fc_add(at, fc_mul(shift_table_ints(s), 4)), 64);
    shifts = at;
    at = fc_round_up(fc_add(at, fc_mul(r->shifts_listed, 4)), 64);
    sums = at;
    at = fc_round_up(fc_add(at, fc_mul(fc_mul(r->splits, r->split_sums), size)), 64);
    bias = at;
    int64_t biases = r->dot ? r->splits * s->groups * s->m : r->band_db;
    at = fc_round_up(fc_add(at, fc_mul(biases, size)), 64);
    x = at;
    int64_t bands = r->own ? fc_min(n_threads, r->splits) : r->batch; /* packed at a time */
    int64_t reals = r->dot ? fc_mul(r->thread_reals, n_threads) : fc_mul(bands, r->band_x);
    if (r->in_source) reals = 0;
    at = fc_round_up(fc_add(at, fc_mul(reals, size)), 64);
    dy = at;
    at = fc_round_up(fc_add(at, fc_mul(fc_mul(bands, r->band_dy), size)), 64);
    db = at;
    at = fc_add(at, fc_mul(fc_mul(r->own ? r->splits : bands, r->band_db), size));
    if (base != NULL) {
        shift_list_taps(&r->s, (int32_t *)(base + tables));
        r->shifts = (int32_t *)(base + shifts);
        r->sums = (real *)(base + sums);
        r->bias_sums = (real *)(base + bias);
        r->packed_x = (real *)(base + x);
        r->packed_dy = (real *)(base + dy);
        r->packed_db = (real *)(base + db);
        int64_t kernel = s->y.taps * s->x.taps;
        for (int64_t j = 0; j < r->shifts_listed; j++)
            r->shifts[j] = (int32_t)(j / kernel * s->channel_stride) +
                           s->tap_shift[j % kernel] * (r->lanes ? VL : 1);
    }
    return at;
}

static void weight_execute(weight_run *r, const real *dy, const real *x, real *dw, real *db,
                           char *workspace, int n_threads) {
    weight_layout(r, workspace, n_threads);
    r->dy = dy, r->x = x, r->dw = dw, r->db = db;
    if (r->dot)
        dot_execute(r, n_threads);
    else
        outer_execute(r, n_threads);
}
