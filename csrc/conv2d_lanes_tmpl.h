/* conv2d_lanes_tmpl.h - direct convolution of many small images, one image a vector lane; compiled
 * per tier and real type.
 *
 * It is the shift problem of conv2d.h with a vector of VL images in place of every pixel. For few
 * output channels it wastes nothing: no gaps between rows, no short last vector of a row. The price
 * is turning images into lanes and back, in pieces that stay in the cache. A task takes some output
 * rows of VL images:
 *   pack the source rows that they need: [channel][row][column][lane]
 *   for each LANES_PIXELS output pixels, for each panel of LANES_OB output channels:
 *     micro-kernel: LANES_OB channels x LANES_PB pixels in registers; then back to images
 * An output is the same chain of additions as in conv2d_direct_tmpl.h, so it has the same bits, and
 * the number of images may decide which of the two runs.
 *
 * The gradient of the weights runs the dot products of conv2d_weight_dot_tmpl.h on planes of lanes.
 */

enum { LANES_OB = N_REGISTERS == 32 ? 6 : 3, LANES_PB = 4, LANES_PB_MAX = 8 };
enum { LANES_PIXELS = 4 * LANES_PB_MAX > 4 * VL ? 4 * LANES_PB_MAX : 4 * VL };
enum { LANES_BUDGET = 262144 }; /* bytes of a task's planes, for a second-level cache of 512 KiB */
enum { LANES_SUMS = 262144 };   /* most bytes of a task's sums of weight gradients, to stay in L2 */

typedef struct {
    shift_problem s;
    conv_epilogue epilogue;
    int64_t weight_m, weight_c;   /* strides of w in output and source channel */
    int64_t panels;               /* of a group: its output channels, cut evenly */
    int64_t rows, bands;          /* output rows of a task, tasks of an image */
    int64_t step_y, step_x;       /* the stride */
    int64_t planes, thread_reals; /* reals of a task's planes; scratch of a thread */
    const real *src, *w;
    real *dst, *bias, *packed, *scratch; /* packed weights: [group][panel][channel][tap][row] */
    int32_t *shifts;              /* [channel][tap], in reals */
} lanes_run;

/* Whether images fill the lanes, and lines of them can stand for pixels. */
static int lanes_fit(const shift_problem *s) {
    return s->y.out_step == 1 && s->x.out_step == 1 && !s->replicate && VL > 1 &&
           4 * s->n >= 3 * fc_round_up(fc_max(s->n, 1), VL);
}

/* The rows of planes that are not longer than an image's. */
static void lanes_pitch(shift_problem *s) {
    int64_t n = s->n;
    s->n = 1; /* every lane is one image: no bands of several */
    shift_cut_bands(s, INT32_MAX, 1);
    s->n = n;
}

/* Pixels are vectors, so those that a stride leaves out need not be parted from the others: the
 * problem becomes that of stride 1, of whose outputs only some are computed. */
static void lanes_dense(shift_axis *a) {
    a->step = a->phases = 1;
    a->max_shift = (a->taps - 1) * a->dilation;
}

/* Source rows of so many output rows. */
INLINE int64_t lanes_source_rows(const lanes_run *r, int64_t rows) {
    return (rows - 1) * r->step_y + 1 + r->s.y.max_shift;
}

/* Output rows at a time, so that their planes of `vectors` a row fit the budget; 0 if that were too
 * few for the rows that their neighbours pack too. */
static int64_t lanes_rows(const shift_problem *s, int64_t vectors, int64_t step) {
    int64_t row = vectors * VL * (int64_t)sizeof(real), all = s->y.out;
    int64_t source = LANES_BUDGET / row - s->y.max_shift, rows = fc_ceil_div(source, step);
    if (source < 1 || rows < fc_min(all, fc_max(1, s->y.max_shift / step))) return 0;
    return fc_ceil_div(all, fc_ceil_div(all, fc_min(rows, all)));
}

/* 1 if lanes serve this shape better than planes of pixels. */
static int lanes_plan(lanes_run *r, const fc_conv2d_desc *d, int backward) {
    shift_problem *s = &r->s;
    *r = (lanes_run){0};
    if (backward)
        shift_backward_input(d, s);
    else
        shift_forward(d, s);
    int64_t taps = s->y.taps * s->x.taps;
    if (!lanes_fit(s) || taps == 1) return 0;
    if (s->m >= LINES_FROM) return 0;
    r->step_y = s->y.step, r->step_x = s->x.step;
    if (r->step_y * r->step_x > 1) {
        s->y.q = (s->y.out - 1) * r->step_y + 1, s->x.q = (s->x.out - 1) * r->step_x + 1;
        lanes_dense(&s->y), lanes_dense(&s->x);
    }
    lanes_pitch(s);
    r->rows = lanes_rows(s, s->channels * s->pitch, r->step_y);
    if (r->rows == 0 || s->channels * s->channel_stride * VL > INT32_MAX) return 0;
    int64_t blocks = fc_ceil_div(s->n, VL) * s->groups;
    if (blocks * fc_ceil_div(s->y.out, r->rows) < TASKS_WANTED) /* few images: a few rows a task */
        r->rows = fc_min(r->rows, fc_max(2 * s->y.max_shift / r->step_y, fc_ceil_div(s->y.out, 4)));
    r->bands = fc_ceil_div(s->y.out, r->rows);
    r->weight_m = backward ? taps : s->channels * taps;
    r->weight_c = backward ? s->m * taps : taps;
    r->panels = fc_ceil_div(s->m, LANES_OB);
    /* The channels' planes lie behind each other, as high as a task needs them. */
    s->channel_stride = lanes_source_rows(r, r->rows) * s->pitch + s->x.max_shift;
    r->planes = s->channels * s->channel_stride * VL;
    r->thread_reals = fc_round_up(r->planes + LANES_OB * LANES_PIXELS * VL, 16);
    return 1;
}

/* n neighbours of each of `images` images, image_stride apart, to [n][lane]. */
static void lanes_turn(const real *src, int64_t image_stride, int64_t images, int64_t n, real *to) {
    for (int64_t at = 0; at < n; at += VL) {
        int64_t have = fc_min(VL, n - at);
        vr r[VL];
        if (images == VL && have == VL) {
            v_load_transposed(PIECES, src + at, image_stride, r);
        } else {
            UNROLL for (int i = 0; i < VL; i++)
                r[i] = i < images ? v_loadn(src + at + i * image_stride, have) : v_zero();
            v_transpose(r);
        }
        UNROLL for (int i = 0; i < VL; i++)
            if (i < have) v_store(to + (at + i) * VL, r[i]);
    }
}

/* The first output channel of a panel. */
INLINE int64_t lanes_cut(const lanes_run *r, int64_t panel) { return panel * r->s.m / r->panels; }

/* Rows first .. first + rows - 1 of the padded plane of a channel of `images` images, to
 * [row][column][lane]. src is that channel of the first image. */
static void lanes_pack(const shift_problem *s, const real *src, int64_t image_stride,
                       int64_t images, int64_t first, int64_t rows, real *to) {
    const shift_axis *x = &s->x;
    int64_t lo = fc_min(fc_max(x->origin, 0), s->pitch);
    int64_t hi = fc_max(lo, fc_min(x->origin + x->source, s->pitch));
    for (int64_t a = 0; a < rows; a++, to += s->pitch * VL) {
        int64_t row = first + a - s->y.origin;
        if (row < 0 || row >= s->y.source) {
            fill(to, s->pitch * VL, 0);
            continue;
        }
        fill(to, lo * VL, 0);
        lanes_turn(src + row * x->source + lo - x->origin, image_stride, images, hi - lo,
                   to + lo * VL);
        fill(to + hi * VL, (s->pitch - hi) * VL, 0);
    }
    fill(to, s->x.max_shift * VL, 0);
}

/* The terms of a tile's sums: taps first .. first + n - 1 of each of `blocks`
 * blocks of `block` taps. */
typedef struct {
    int64_t blocks, block, first, n;
} lanes_terms;

/* out[i][j] = the sums of ob channels for pixels j = 0 .. pb - 1, which begin at x + place[j]. */
INLINE void lanes_tile(const int ob, const int pb, const lanes_terms *terms, const real *w,
                       const real *x, const int32_t *place, const int32_t *shifts,
                       const real *bias, real *out) {
    vr acc[LANES_OB][LANES_PB_MAX];
    const real *pixel[LANES_PB_MAX];
    UNROLL for (int j = 0; j < pb; j++) pixel[j] = x + place[j];
    UNROLL for (int i = 0; i < ob; i++)
        UNROLL for (int j = 0; j < pb; j++) acc[i][j] = v_set1(bias[i]);
    for (int64_t b = 0; b < terms->blocks; b++) {
        const real *a = w + (b * terms->block + terms->first) * ob;
        const int32_t *shift = shifts + b * terms->block + terms->first;
        for (int64_t k = 0; k < terms->n; k++, a += ob) {
            vr weight[LANES_OB]; /* with one vector of pixels at a time, all is in registers */
            UNROLL for (int i = 0; i < ob; i++) weight[i] = v_set1(a[i]);
            UNROLL for (int j = 0; j < pb; j++) {
                vr v = v_load(pixel[j] + shift[k]);
                UNROLL for (int i = 0; i < ob; i++) acc[i][j] = v_fma(weight[i], v, acc[i][j]);
            }
        }
    }
    UNROLL for (int i = 0; i < ob; i++)
        UNROLL for (int j = 0; j < pb; j++) v_store(out + (i * LANES_PIXELS + j) * VL, acc[i][j]);
}

typedef void (*lanes_kernel)(const lanes_terms *terms, const real *w, const real *x,
                             const int32_t *place, const int32_t *shifts, const real *bias,
                             real *out);
#define LANES_KERNEL(ob, pb)                                                                  \
    static void lanes_##ob(const lanes_terms *terms, const real *w, const real *x,            \
                           const int32_t *place, const int32_t *shifts, const real *bias,     \
                           real *out) {                                                       \
        lanes_tile(ob, pb, terms, w, x, place, shifts, bias, out);                            \
    }
LANES_KERNEL(1, LANES_PB_MAX) /* a lone channel would wait for its own additions */
LANES_KERNEL(2, LANES_PB)
LANES_KERNEL(3, LANES_PB)
#if N_REGISTERS == 32
LANES_KERNEL(4, LANES_PB)
LANES_KERNEL(5, LANES_PB)
LANES_KERNEL(6, LANES_PB)
static const lanes_kernel LANES_KERNELS[LANES_OB] = {lanes_1, lanes_2, lanes_3,
                                                     lanes_4, lanes_5, lanes_6};
#else
static const lanes_kernel LANES_KERNELS[LANES_OB] = {lanes_1, lanes_2, lanes_3};
#endif

/* sums[i][pixel][lane] to the images, for rows channels and n pixels that follow each other. */
static void lanes_store(const lanes_run *r, const real *sums, int64_t rows, int64_t n,
                        int64_t images, int64_t image_stride, real *dst) {
    int64_t plane = r->s.y.out * r->s.x.out;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t q = 0; q < n; q += VL) {
            const real *from = sums + (i * LANES_PIXELS + q) * VL;
            real *to = dst + i * plane + q;
            int64_t have = fc_min(VL, n - q);
            vr v[VL];
            UNROLL for (int j = 0; j < VL; j++) v[j] = v_load(from + j * VL);
            v_transpose(v);
            UNROLL for (int j = 0; j < VL; j++) {
                if (j >= images) break;
                real *at = to + j * image_stride;
                vr y = r->epilogue.used ? epilogue_apply(r->epilogue, v[j], at, have) : v[j];
                if (have == VL)
                    v_store(at, y);
                else
                    v_storen(at, y, have);
            }
        }
    }
}

/* The kernel rows first .. end - 1 that may meet more than padding in an output row. Both rise with
 * the row, so that of several rows the first and the last tell all. */
typedef struct {
    int32_t first, end;
} lanes_meeting;

/* Backward, terms of kernel rows that meet nothing but padding are left out: at the borders of
 * small images that is most of them. Forward all are added, as by the other kernels, since a weight
 * may be infinite, and a result must not depend on the batch. */
static lanes_meeting lanes_meets(const shift_axis *y, int64_t row) {
    lanes_meeting m = {0, (int32_t)y->taps};
    row -= y->origin;
    while (m.first < m.end && row + shift_of(y, m.first) >= y->source) m.first++;
    while (m.end > m.first && row + shift_of(y, m.end - 1) < 0) m.end--;
    return m;
}

/* The terms of neighbouring output rows, of which a is the first and b the last. */
INLINE lanes_terms lanes_terms_of(const lanes_run *r, lanes_meeting a, lanes_meeting b) {
    int64_t cols = r->s.x.taps, taps = r->s.y.taps * cols;
    if (!r->s.y.reversed) return (lanes_terms){1, r->s.channels * taps, 0, r->s.channels * taps};
    int64_t first = fc_min(a.first, b.first), end = fc_max(a.end, b.end);
    return (lanes_terms){r->s.channels, taps, first * cols, (end - first) * cols};
}

/* Item: some output rows of a group of VL images. */
static void lanes_task(void *arg, int64_t item, int thread) {
    const lanes_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t band = item % r->bands, g = item / r->bands % s->groups;
    int64_t n0 = item / r->bands / s->groups * VL, images = fc_min(VL, s->n - n0);
    int64_t y0 = band * r->rows, rows = fc_min(r->rows, s->y.out - y0), all = rows * s->x.out;
    int64_t src_plane = s->y.source * s->x.source, src_image = s->groups * s->channels * src_plane;
    int64_t dst_plane = s->y.out * s->x.out, dst_image = s->groups * s->m * dst_plane;
    int64_t all_terms = s->channels * s->y.taps * s->x.taps;
    real *planes = r->scratch + thread * r->thread_reals, *sums = planes + r->planes;
    const real *src = r->src + n0 * src_image + g * s->channels * src_plane;
    for (int64_t c = 0; c < s->channels; c++)
        lanes_pack(s, src + c * src_plane, src_image, images, y0 * r->step_y,
                   lanes_source_rows(r, rows), planes + c * s->channel_stride * VL);
    /* Rows and columns are counted: a division takes as long as a dozen taps. */
    int32_t row = 0, col = 0, width = (int32_t)s->x.out;
    int32_t down = (int32_t)(r->step_y * s->pitch), right = (int32_t)r->step_x;
    lanes_meeting here = s->y.reversed ? lanes_meets(&s->y, y0) : (lanes_meeting){0};
    for (int64_t q = 0; q < all; q += LANES_PIXELS) {
        int64_t n = fc_min(LANES_PIXELS, all - q);
        int32_t place[LANES_PIXELS];
        lanes_meeting meeting[LANES_PIXELS];
        for (int64_t j = 0; j < LANES_PIXELS; j++) { /* those beyond the last do it again */
            place[j] = (row * down + col * right) * VL;
            meeting[j] = here;
            if (q + j + 1 >= all || ++col < width) continue;
            col = 0, row++;
            if (s->y.reversed) here = lanes_meets(&s->y, y0 + row);
        }
        for (int64_t panel = 0; panel < r->panels; panel++) {
            int64_t m0 = g * s->m + lanes_cut(r, panel);
            int64_t ob = lanes_cut(r, panel + 1) - lanes_cut(r, panel);
            int64_t step = ob == 1 ? LANES_PB_MAX : LANES_PB;
            for (int64_t j = 0; j < n; j += step) {
                lanes_terms terms =
                    lanes_terms_of(r, meeting[j], meeting[fc_min(j + step, n) - 1]);
                LANES_KERNELS[ob - 1](&terms, r->packed + m0 * all_terms, planes, place + j,
                                      r->shifts, r->bias + m0, sums + j * VL);
            }
            lanes_store(r, sums, ob, n, images, dst_image,
                        r->dst + n0 * dst_image + m0 * dst_plane + y0 * s->x.out + q);
        }
    }
}

/* Lays the workspace out; returns its bytes, or -1 if they do not fit. */
static int64_t lanes_layout(lanes_run *r, char *base, int n_threads) {
    const shift_problem *s = &r->s;
    int64_t taps = s->y.taps * s->x.taps, terms = fc_mul(s->channels, taps), size = sizeof(real);
    int64_t tables = 0, shifts, bias, packed, scratch, at;
    at = shifts = fc_round_up(fc_mul(shift_table_ints(s), 4), 64);
    at = bias = fc_round_up(fc_add(at, fc_mul(terms, 4)), 64);
    at = packed = fc_round_up(fc_add(at, fc_mul(fc_mul(s->groups, s->m), size)), 64);
    at = fc_add(at, fc_mul(fc_mul(fc_mul(s->groups, s->m), terms), size));
    at = scratch = fc_round_up(at, 64);
    at = fc_add(at, fc_mul(fc_mul(r->thread_reals, size), n_threads));
    if (base != NULL) {
        shift_list_taps(&r->s, (int32_t *)(base + tables));
        r->shifts = (int32_t *)(base + shifts);
        r->bias = (real *)(base + bias);
        r->packed = (real *)(base + packed);
        r->scratch = (real *)(base + scratch);
    }
    return at;
}

/* The shifts in reals, the weights by panels, and the biases, zero where there are none. */
static void lanes_tables(lanes_run *r, const real *bias) {
    const shift_problem *s = &r->s;
    int64_t taps = s->y.taps * s->x.taps;
    real *to = r->packed;
    for (int64_t c = 0; c < s->channels; c++)
        for (int64_t t = 0; t < taps; t++)
            r->shifts[c * taps + t] = (int32_t)((c * s->channel_stride + s->tap_shift[t]) * VL);
    for (int64_t i = 0; i < s->groups * s->m; i++) r->bias[i] = bias != NULL ? bias[i] : 0;
    for (int64_t g = 0; g < s->groups; g++) {
        const real *w = r->w + g * s->m * s->channels * taps;
        for (int64_t panel = 0; panel < r->panels; panel++) {
            int64_t m0 = lanes_cut(r, panel), rows = lanes_cut(r, panel + 1) - m0;
            for (int64_t c = 0; c < s->channels; c++)
                for (int64_t t = 0; t < taps; t++)
                    for (int64_t i = 0; i < rows; i++)
                        *to++ = w[(m0 + i) * r->weight_m + c * r->weight_c + s->tap_kernel[t]];
        }
    }
}

static void lanes_execute(lanes_run *r, const real *src, const real *w, const real *bias, real *dst,
                          char *workspace, int n_threads) {
    lanes_layout(r, workspace, n_threads);
    r->src = src, r->w = w, r->dst = dst;
    lanes_tables(r, bias);
    fc_parallel(fc_ceil_div(r->s.n, VL) * r->s.groups * r->bands, n_threads, lanes_task, r);
}
