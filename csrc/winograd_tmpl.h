/* winograd_tmpl.h - Winograd's convolution: forward, and backward with respect to the input;
 * compiled per tier and real type.
 *
 * Tiles of m x m outputs become t x t products, each a matrix product over channels; t = m + r - 1
 * for an r x r filter; with stride 2 m is 4, t 9 for 3 x 3 filters, where products share them,
 * f x f, and 10 for 4 x 4. Filters of one row or column have tiles of one row or column, and
 * products (outer_tmpl.h) of one side's transform:
 *   input:    V[chunk][xi][tile][c]        = BT d BT^T    of every tile of the source
 *   filter:   U[panel][chunk][xi][c][k]    = G w G^T
 *   product:  M[xi][panel][tile][k]        = sum over c of V[xi][tile][c] * U[xi][c][k]
 *   output:   y tile                       = A^T M A
 * Backward input is forward with dy as the source and the filters turned round; with stride 2 its
 * tiles are others: 8 x 8 outputs from 5 x 5 or 6 x 6 pixels.
 *
 * What a core reads again and again should stay in its cache:
 *   - a product takes a group of panels of output channels for one xi at a time, so that its plane
 *     of V is read from the second-level cache by all but the first;
 *   - with few channels, a task is a whole block, from input to output: V never leaves the core;
 *   - with many channels and few tiles, U is larger than all else, and would be written to memory
 *     and read once. Then a task is a group of panels of all tiles, which transforms its filters a
 *     chunk of channels at a time, just before they are used.
 *
 * Each tile's sums run over channels in order, in all of these ways: same bits for any number of
 * threads and any batch.
 */

enum {
    WINO_TILES = 48,             /* of a block, as long as the filters stay in L2 */
    WINO_TILES_MOST = 128,       /* and where they do not: they pass by once a block */
    WINO_GROUP = 32,             /* output channels at a time: M stays in L2 */
    WINO_TILES_81 = 32,          /* the same three for tiles of 81 or 100 products, stride 2 */
    WINO_TILES_MOST_81 = 64,
    WINO_GROUP_81 = 16,
    WINO_CHUNK = 128,            /* channels at a time: a plane of U in L1 */
    WINO_L2_BYTES = 1 << 20,
    WINO_BATCH_BYTES = 8 << 20,  /* of V of several blocks */
    WINO_FILTERS = 8,            /* channels of filters that are transformed at a time */
};

typedef struct {
    wino_shape s;
    conv_epilogue epilogue;
    int flip;                          /* backward input: the filters are turned round */
    int64_t weight_k, weight_c;        /* strides of w */
    int whole;                         /* a task is a whole block */
    int fused;                         /* tasks transform their filters themselves */
    int64_t group, panel_groups;       /* panels of a task, or at a time; how many of those */
    int64_t batch, first_block, n_blocks; /* not whole: blocks at a time; the current ones */
    int64_t plane_u, chunk_u, plane_m, thread_reals;
    const real *weights, *bias;
    real *dst;
    const real *packed_u;              /* in the workspace, or prepared */
    real *packing_u, *packed_v, *scratch;
    int32_t *tile_shift;
} wino_run;

/* ---------------------------------------------------------------- tasks */

/* U of channels c0 .. c0 + n - 1 (n <= WINO_FILTERS) of a panel; u is where
 * the first one's goes. */
static void wino_filters(const wino_run *r, int64_t g, int64_t panel, int64_t c0, int64_t n,
                         real *u) {
    const wino_shape *s = &r->s;
    const winograd_variant *v = s->v;
    int64_t kernel = v->y.r * v->x.r, k0 = panel * s->panels.width;
    const real *w = r->weights + g * s->k * s->c * kernel;
    /* [channel][tap][VL]: one strip, or, turned round, a strip a channel. */
    real strip[WINO_FILTERS * 25 * VL];
    for (int64_t j = 0; j < s->panels.nv; j++) {
        int64_t k = k0 + j * VL, have = fc_max(0, fc_min(VL, s->k - k));
        const real *from = w + k * r->weight_k + c0 * r->weight_c;
        int64_t strips = r->flip ? n : 1, cols = n * kernel / strips;
        for (int64_t i = 0; i < strips; i++)
            strip_fill(from + i * r->weight_c, r->weight_k, have, 1, cols, 0, 1, 0, cols, 0,
                       strip + i * cols * VL);
        for (int64_t i = 0; i < n; i++) {
            const real *taps = strip + i * kernel * VL;
            real *to = u + i * s->panels.width + j * VL;
            if (r->flip)
                v->filter(taps + (kernel - 1) * VL, -v->x.r * VL, -VL, to, r->plane_u);
            else
                v->filter(taps, v->x.r * VL, VL, to, r->plane_u);
        }
    }
}

/* U of a chunk of a panel. */
static void wino_chunk_filters(const wino_run *r, int64_t g, int64_t panel, int64_t chunk,
                               real *u) {
    int64_t c0 = chunk * r->s.chunk, c1 = fc_min(c0 + r->s.chunk, r->s.c);
    for (int64_t c = c0; c < c1; c += WINO_FILTERS)
        wino_filters(r, g, panel, c, fc_min(WINO_FILTERS, c1 - c),
                     u + (c - c0) * r->s.panels.width);
}

/* Item: a chunk of a panel of a group. */
static void wino_filter_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const wino_run *r = arg;
    int64_t chunk = item % r->s.chunks, panel = item / r->s.chunks;
    wino_chunk_filters(r, panel / r->s.panels.count, panel % r->s.panels.count, chunk,
                       r->packing_u + item * r->chunk_u);
}

/* Item: WINO_LINE channels of a group in a block of the batch. */
static void wino_input_task(void *arg, int64_t item, int thread) {
    const wino_run *r = arg;
    const wino_shape *s = &r->s;
    int64_t lines = fc_ceil_div(s->c, WINO_LINE), unit = item / lines;
    wino_input_line(s, r->first_block + unit / s->groups, unit % s->groups, item % lines,
                    r->packed_v + unit * s->block_v, r->scratch + thread * r->thread_reals);
}

/* M += V U: chunks c0 .. c1 - 1 of some panels of a block; u is the
 * first panel's, u_panel apart. */
static void wino_multiply(const wino_run *r, int64_t tiles, int64_t panels, int64_t c0, int64_t c1,
                          const real *pv, const real *u, int64_t u_panel, real *m) {
    const wino_shape *s = &r->s;
    int64_t width = s->panels.width;
    const outer_kernel *kernels = OUTER_KERNELS[s->panels.nv - 1];
    outer_groups groups = outer_groups_of(tiles, s->panels.np);
    int t = (int)s->v->x.t, squares = (int)s->squares; /* 64 bits would take thrice to divide */
    for (int xi = 0; xi < squares; xi++) {
        const real *xi_u = u + wino_filter_product(s->v, xi / t, xi % t) * r->plane_u;
        for (int64_t panel = 0; panel < panels; panel++, m += r->plane_m) {
            for (int64_t chunk = c0; chunk < c1; chunk++) {
                int64_t channels = fc_min(s->chunk, s->c - chunk * s->chunk);
                outer_pixels at = {.images = 1, .rows = 1, .step = 1, .cols = channels};
                const real *v = pv + (chunk * s->squares + xi) * s->plane_v;
                const real *filters = xi_u + panel * u_panel + (chunk - c0) * r->chunk_u;
                for (int64_t i = 0, tile = 0, np; i < groups.count; i++, tile += np) {
                    np = outer_size(&groups, i);
                    at.ahead = np * s->chunk, at.ahead_step = np;
                    kernels[np - 1](&at, v + tile * s->chunk, r->tile_shift, filters,
                                    m + tile * width, chunk > 0);
                }
            }
        }
    }
}

/* A group of panels of output channels of a block: M, then their output. */
static void wino_product(const wino_run *r, int64_t block, int64_t g, int64_t panel0,
                         const real *pv, real *scratch) {
    const wino_shape *s = &r->s;
    const winograd_variant *v = s->v;
    wino_block b = wino_get_block(s, block);
    int64_t panels = fc_min(r->group, s->panels.count - panel0), width = s->panels.width;
    real *m = scratch, *u = m + s->squares * r->group * r->plane_m;
    if (r->fused) {
        for (int64_t chunk = 0; chunk < s->chunks; chunk++) {
            for (int64_t i = 0; i < panels; i++)
                wino_chunk_filters(r, g, panel0 + i, chunk, u + i * r->chunk_u);
            wino_multiply(r, b.tiles, panels, chunk, chunk + 1, pv, u, r->chunk_u, m);
        }
    } else {
        int64_t panel_u = s->chunks * r->chunk_u;
        wino_multiply(r, b.tiles, panels, 0, s->chunks, pv,
                      r->packed_u + (g * s->panels.count + panel0) * panel_u, panel_u, m);
    }
    int64_t plane = s->oh * s->ow, cols = s->output_cols, step = wino_step(v, cols);
    real *strip = u; /* the filters are used up */
    for (int64_t j = 0; j < panels * s->panels.nv; j++) {
        int64_t k = panel0 * width + j * VL, have = fc_min(VL, s->k - k);
        const real *from = m + j / s->panels.nv * r->plane_m + j % s->panels.nv * VL;
        for (int64_t row = b.first; row < b.end && have > 0; row++) {
            int64_t n = row / s->tiles_y, y = row % s->tiles_y * v->y.m - s->skip_y;
            int64_t above = fc_max(0, -y);
            for (int64_t x = 0; x < s->tiles_x; x++, from += width)
                v->output(from, panels * r->plane_m, strip + x * v->x.m * VL, step);
            real *dst = r->dst + ((n * s->groups + g) * s->k + k) * plane + (y + above) * s->ow;
            strip_drain(strip + (above * cols + s->skip_x) * VL, cols,
                        fc_min(v->y.m, s->oh - y) - above, s->ow, dst, plane, have,
                        r->bias == NULL ? NULL : r->bias + g * s->k + k, &r->epilogue);
        }
    }
}

/* Item: a group of panels of a block of the batch. */
static void wino_product_task(void *arg, int64_t item, int thread) {
    const wino_run *r = arg;
    const wino_shape *s = &r->s;
    int64_t panel0 = item % r->panel_groups * r->group, unit = item / r->panel_groups;
    wino_product(r, r->first_block + unit / s->groups, unit % s->groups, panel0,
                 r->packed_v + unit * s->block_v, r->scratch + thread * r->thread_reals);
}

/* Item: a block and a group, from input to output. */
static void wino_block_task(void *arg, int64_t item, int thread) {
    const wino_run *r = arg;
    const wino_shape *s = &r->s;
    int64_t block = item / s->groups, g = item % s->groups;
    real *scratch = r->scratch + thread * r->thread_reals, *pv = r->packed_v + thread * s->block_v;
    for (int64_t c = 0; c < s->c; c += VL) wino_input(s, block, g, c, pv, scratch);
    for (int64_t panel = 0; panel < s->panels.count; panel += r->group)
        wino_product(r, block, g, panel, pv, scratch);
}

/* ---------------------------------------------------------------- driver */

typedef enum { WINO_FORWARD, WINO_BACKWARD_INPUT, WINO_BACKWARD_WEIGHT } wino_pass;

/* Whether stride 2 pays where Winograd's choice is free. It saves about half of the products, which
 * a last tile that is cut off costs again, and single vectors of channels do not pay for the
 * transforms. Of few images those are most of the gradient of weights, where it shall save a
 * third. */
static int wino_stride2_pays(const fc_conv2d_desc *d, int64_t c, int64_t k, wino_pass pass) {
    int64_t few = fc_max(2 * VL, 16), tiles = fc_ceil_div(d->oh, 4) * fc_ceil_div(d->ow, 4);
    int64_t products = d->kh == 3 ? 81 : 100, direct = d->kh * d->kw * d->oh * d->ow;
    if (pass == WINO_BACKWARD_WEIGHT) direct = direct * 2 / 3;
    return c >= few && k >= few && direct >= products * tiles;
}

/* Those for 3, 5 or 7 taps in a row or a column, of stride 1, or NULL. */
static const winograd_variant *wino_line_variant(const fc_conv2d_desc *d) {
    int64_t taps = d->kh * d->kw;
    if (d->kh != 1 && d->kw != 1) return NULL;
    if (taps != 3 && taps != 5 && taps != 7) return NULL;
    if (d->stride_h != 1 || d->stride_w != 1) return NULL;
    return (d->kh == 1 ? WINOGRAD_ROWS : WINOGRAD_COLUMNS) + (taps - 3) / 2;
}

/* Those for squares, or NULL. */
static const winograd_variant *wino_square_variant(const fc_conv2d_desc *d, wino_pass pass) {
    int64_t stride = d->stride_h;
    int fits = d->stride_w == stride && d->kh == d->kw &&
               (d->kh == 3 ? stride <= 2 : d->kh == 4 ? stride == 2 : d->kh == 5 && stride == 1);
    if (!fits) return NULL;
    int backward = pass == WINO_BACKWARD_INPUT;
    if (stride == 2 && d->kh == 4) return backward ? &WINOGRAD_S4T : &WINOGRAD_S4;
    if (stride == 2) return backward ? &WINOGRAD_S2T : &WINOGRAD_S2;
    if (d->kh == 5) return &WINOGRAD_4_5;
    int64_t oh = backward ? d->h : d->oh, ow = backward ? d->w : d->ow;
    /* 56 are 14 whole tiles of 4, but not of 6: no fewer products that pay for larger filters. */
    int large = oh > 56 && ow > 56 && pass != WINO_BACKWARD_WEIGHT;
    return large ? &WINOGRAD_6_3 : &WINOGRAD_4_3;
}

/* Whether it is faster than the direct kernels. */
static int wino_pays(const fc_conv2d_desc *d, const winograd_variant *v, wino_pass pass) {
    int backward = pass == WINO_BACKWARD_INPUT, line = v->y.t == 1 || v->x.t == 1;
    int64_t c = d->c / d->groups, k = d->k / d->groups;
    if (d->stride_h == 2) return wino_stride2_pays(d, c, k, pass);
    /* Fewer channels than lanes, or single pixels, and the transforms cost more than they save. */
    int64_t least = line ? fc_max(2 * VL, 16) : VL;
    int64_t oh = backward ? d->h : d->oh, ow = backward ? d->w : d->ow;
    if (c < least || k < least || (v->y.m > 1 && oh < 2) || (v->x.m > 1 && ow < 2)) return 0;
    if (!line) return 1;
    /* A line's last tile may hang over; and a block's whole rows of tiles shall fit a cache. */
    int64_t tiles_y = fc_ceil_div(oh, v->y.m), tiles_x = fc_ceil_div(ow, v->x.m);
    int64_t products = v->y.t * v->x.t * tiles_y * tiles_x, direct = d->kh * d->kw * oh * ow;
    return tiles_x <= 4 * WINO_TILES_MOST && 3 * products <= 2 * direct;
}

/* The variant for a descriptor, or NULL where Winograd cannot (or, unless forced, should not) serve
 * it. By shape alone, and never by the batch, since the algorithm shows in the last bits; but with
 * no images at all, the direct pass writes the zeros of a weight gradient. */
static const winograd_variant *wino_choose(const fc_conv2d_desc *d, wino_pass pass) {
    if (d->dilation_h != 1 || d->dilation_w != 1 || d->n == 0) return NULL;
    if (d->algorithm == FC_CONV_DIRECT) return NULL;
    const winograd_variant *v = wino_line_variant(d);
    if (v == NULL) v = wino_square_variant(d, pass);
    if (v == NULL || (d->algorithm == FC_CONV_AUTO && !wino_pays(d, v, pass))) return NULL;
    return v;
}

/* Everything but the pointers, from the shapes. How U is laid out follows from the channels alone,
 * since prepared filters serve any batch. */
static void wino_plan(wino_run *r, int prepared) {
    wino_shape *s = &r->s;
    int64_t size = sizeof(real), line = 64 / size;
    wino_measure(s);
    int64_t width = s->panels.width;
    int64_t filters = s->filter_squares * s->c * s->panels.count * width * size;
    s->chunks = fc_ceil_div(s->c, WINO_CHUNK);
    s->chunk = fc_round_up(fc_ceil_div(s->c, s->chunks), VL);
    s->chunks = fc_ceil_div(s->c, s->chunk);
    r->plane_u = odd_lines(s->chunk * width);
    r->chunk_u = s->filter_squares * r->plane_u;
    int many = s->squares > 64, fit = filters <= WINO_L2_BYTES;
    int64_t tiles = fit ? WINO_TILES : WINO_TILES_MOST;
    if (many) tiles = fit ? WINO_TILES_81 : WINO_TILES_MOST_81;
    int64_t group = many ? WINO_GROUP_81 : WINO_GROUP;
    r->group = fc_max(1, fc_min(group / width, s->panels.count));
    r->panel_groups = fc_ceil_div(s->panels.count, r->group);
    wino_cut_blocks(s, tiles, 1);
    r->whole = s->blocks * s->groups >= TASKS_WANTED;
    r->fused = !prepared && !fit && s->blocks <= 2;
    r->batch = fc_max(1, fc_min(WINO_BATCH_BYTES / (s->groups * s->block_v * size), s->blocks));
    r->plane_m = odd_lines(s->tiles * width);
    int64_t u = r->fused ? r->group * r->chunk_u : 0;
    r->thread_reals = s->squares * r->group * r->plane_m + fc_round_up(fc_max(s->strip, u), line);
}

/* Bytes of U. */
static int64_t wino_prepared_bytes(const wino_run *r) {
    int64_t panels = r->s.groups * r->s.panels.count;
    return fc_mul(fc_mul(panels * r->s.chunks, r->chunk_u), sizeof(real));
}

static int64_t wino_layout(wino_run *r, int prepared, char *base, int n_threads) {
    const wino_shape *s = &r->s;
    int64_t size = sizeof(real), at = 64 * ((OUTER_NP_MAX * 4 + 63) / 64), u, v, scratch;
    u = at;
    at = fc_add(at, r->fused || prepared ? 0 : wino_prepared_bytes(r));
    v = at;
    int64_t units = r->whole ? n_threads : r->batch * s->groups;
    at = fc_add(at, fc_mul(fc_mul(units, s->block_v), size));
    scratch = at;
    at = fc_add(at, fc_mul(fc_mul(r->thread_reals, n_threads), size));
    if (base != NULL) {
        r->tile_shift = (int32_t *)base;
        for (int i = 0; i < OUTER_NP_MAX; i++) r->tile_shift[i] = (int32_t)(i * s->chunk);
        r->packing_u = (real *)(base + u);
        r->packed_v = (real *)(base + v);
        r->scratch = (real *)(base + scratch);
    }
    return at;
}

/* Backward input, along one axis: where in dy the first tile starts, and how many pixels of its
 * output lie before dx. With stride 2, output pixel i of a tile is pixel 2 * start + 1 + i of
 * the padded x (3 + i with 4 x 4 filters), whatever the padding: where that is even, a tile
 * starts one pixel early. */
static void wino_backward_origin(int64_t pad, int64_t taps, int64_t stride, int64_t *start,
                                 int64_t *skip) {
    *start = stride == 2 ? (pad + 1) / 2 - taps / 2 : pad - (taps - 1);
    *skip = stride == 2 && pad % 2 == 0;
}

/* Forward, or with backward the input's gradient; 0 if Winograd does not serve this descriptor. */
static int wino_forward_run(wino_run *r, const fc_conv2d_desc *d, int backward, int prepared) {
    int64_t kernel = d->kh * d->kw, c = d->c / d->groups, k = d->k / d->groups;
    wino_pass pass = backward ? WINO_BACKWARD_INPUT : WINO_FORWARD;
    *r = (wino_run){.s = {.v = wino_choose(d, pass), .n = d->n, .groups = d->groups}};
    wino_shape *s = &r->s;
    if (s->v == NULL) return 0;
    if (backward) {
        s->c = k, s->k = c, s->h = d->oh, s->w = d->ow, s->oh = d->h, s->ow = d->w;
        wino_backward_origin(d->pad_top, d->kh, d->stride_h, &s->y0, &s->skip_y);
        wino_backward_origin(d->pad_left, d->kw, d->stride_w, &s->x0, &s->skip_x);
        r->flip = 1, r->weight_k = kernel, r->weight_c = c * kernel;
    } else {
        s->c = c, s->k = k, s->h = d->h, s->w = d->w, s->oh = d->oh, s->ow = d->ow;
        s->y0 = -d->pad_top, s->x0 = -d->pad_left;
        s->replicate = d->pad_mode == FC_PAD_REPLICATE;
        r->weight_k = c * kernel, r->weight_c = kernel;
    }
    wino_plan(r, prepared);
    return 1;
}

static void wino_transform_filters(wino_run *r, int n_threads) {
    int64_t panels = r->s.groups * r->s.panels.count;
    fc_parallel(panels * r->s.chunks, n_threads, wino_filter_task, r);
}

static void wino_prepare(wino_run *r, const real *w, real *prepared, int n_threads) {
    r->weights = w, r->packing_u = prepared;
    wino_transform_filters(r, n_threads);
}

static void wino_execute(wino_run *r, const real *src, const real *w, const real *prepared,
                         const real *bias, real *dst, char *workspace, int n_threads) {
    wino_shape *s = &r->s;
    wino_layout(r, prepared != NULL, workspace, n_threads);
    s->src = src, r->weights = w, r->bias = bias, r->dst = dst;
    r->packed_u = prepared != NULL ? prepared : r->packing_u;
    if (prepared == NULL && !r->fused) wino_transform_filters(r, n_threads);
    if (r->whole) fc_parallel_shares(s->blocks * s->groups, n_threads, wino_block_task, r);
    for (r->first_block = 0; !r->whole && r->first_block < s->blocks; r->first_block += r->batch) {
        r->n_blocks = fc_min(r->batch, s->blocks - r->first_block);
        int64_t units = r->n_blocks * s->groups;
        fc_parallel(units * fc_ceil_div(s->c, WINO_LINE), n_threads, wino_input_task, r);
        fc_parallel(units * r->panel_groups, n_threads, wino_product_task, r);
    }
}
