/* winograd_tmpl.h - Winograd convolution F(m x m, r x r): forward, and backward with respect to the
 * input and the weights; compiled per tier and real type.
 *
 * Tiles of m x m outputs become t x t products (t = m + r - 1), each a matrix product over channels:
 *   input:    V[xi][tile][c]        = BT d BT^T    of every tile of the source
 *   filter:   U[panel][xi][c][k]    = G w G^T
 *   product:  M[xi][tile][k]        = sum over c of V[xi][tile][c] * U[xi][c][k]   (outer_tmpl.h)
 *   output:   y tile                = A^T M A
 * Backward input is forward with dy as the source and the filters turned round. Backward weight is
 * the adjoint: Z = A dy A^T, then D[xi][c][k] = sum over tiles of V * Z, then dw = G^T D G.
 *
 * Lanes are channels. A strip holds t rows of VL channels, transposed to [row][column][channel] by
 * register transposes, so that tiles may start anywhere, and images of any size fill a block of
 * tiles. A block is some rows of tiles, across images. Planes of a xi are an odd number of cache
 * lines apart, since powers of two would fall into the same cache sets.
 *
 * Each tile's sums run over channels in order, each gradient's over tiles in order: same bits for
 * any number of threads, and forward for any batch.
 */

enum {
    WINO_TILES = 48,          /* in a block, as long as the filters (or their sums) stay in L2 */
    WINO_TILES_MOST = 192,    /* and where they do not: they pass by once a block */
    WINO_L2_BYTES = 1 << 20,
    WINO_BLOCK_BYTES = 16 << 20, /* of a block's V and Z */
    WINO_BATCH_BYTES = 2 << 20,  /* of several blocks' */
    WINO_PANEL_BYTES = 24576, /* of U at a time: stays in L1 while all tiles pass by */
    WINO_FILTERS = 8,         /* channels of a filter task */
};

typedef struct {
    const winograd_variant *v;
    conv_epilogue epilogue;
    int64_t n, groups, c, k;           /* per group: source and output channels */
    int64_t h, w, oh, ow;              /* source and output size */
    int64_t y0, x0;                    /* source row and column of the first tile: -padding */
    int flip;                          /* backward input: the filters are turned round */
    int64_t weight_k, weight_c;        /* strides of w */
    int64_t tiles_y, tiles_x, rows;    /* tiles of an image; rows of tiles of all images */
    outer_panels panels;               /* of the output channels */
    int64_t block_rows, blocks;        /* rows of tiles of a block */
    int whole;                         /* forward: a task is a whole block */
    int64_t batch;                     /* else, and backward weight: blocks at a time */
    int64_t tiles;                     /* of a block, rounded up to whole value groups */
    int64_t v_row;                     /* reals of a tile in V: channels, rounded up */
    int64_t plane_v, plane_u, plane_m, plane_d;
    int64_t chunk;                     /* channels of a product at a time */
    int64_t strip_cols, thread_reals;
    int64_t first_block, n_blocks;     /* of the current batch */
    const real *src, *dy, *weights, *bias;
    real *dst, *dw, *db;
    const real *packed_u;              /* in the workspace, or prepared */
    real *packing_u, *packed_v, *packed_z, *sums, *block_bias, *bias_sums, *scratch;
    int32_t *tile_shift, *channel_shift;
} wino_run;

static int64_t odd_lines(int64_t reals) {
    int64_t line = 64 / (int64_t)sizeof(real), lines = fc_ceil_div(reals, line);
    return (lines | 1) * line;
}

/* ---------------------------------------------------------------- strips */

/* rows x cols pixels from (y0, x0) on of `channels` <= VL planes, transposed to [row][col][VL];
 * zero outside of the h x w planes and in the lanes without a channel. */
static void strip_fill(const real *src, int64_t plane, int64_t channels, int64_t h, int64_t w,
                       int64_t y0, int64_t rows, int64_t x0, int64_t cols, real *strip) {
    int64_t lo = fc_min(fc_max(-x0, 0), cols), hi = fc_max(lo, fc_min(w - x0, cols));
    for (int64_t i = 0; i < rows; i++, strip += cols * VL) {
        if (y0 + i < 0 || y0 + i >= h) {
            fill(strip, cols * VL, 0);
            continue;
        }
        const real *from = src + (y0 + i) * w + x0;
        fill(strip, lo * VL, 0);
        for (int64_t b = lo; b < hi; b += VL) {
            int64_t have = fc_min(VL, hi - b);
            vr r[VL];
            if (channels == VL && have == VL) {
                UNROLL for (int l = 0; l < VL; l++) r[l] = v_load(from + l * plane + b);
            } else {
                UNROLL for (int l = 0; l < VL; l++)
                    r[l] = l < channels ? v_loadn(from + l * plane + b, have) : v_zero();
            }
            v_transpose(r);
            UNROLL for (int l = 0; l < VL; l++)
                if (l < have) v_store(strip + (b + l) * VL, r[l]);
        }
        fill(strip + hi * VL, (cols - hi) * VL, 0);
    }
}

/* The way back: rows x w pixels of a strip, `cols` wide, to `channels` planes, plus a bias each,
 * and finished. */
static void strip_drain(const real *strip, int64_t cols, int64_t rows, int64_t w, real *dst,
                        int64_t plane, int64_t channels, const real *bias,
                        const conv_epilogue *epilogue) {
    conv_epilogue e = *epilogue;
    for (int64_t i = 0; i < rows; i++, strip += cols * VL, dst += w) {
        for (int64_t b = 0; b < w; b += VL) {
            int64_t have = fc_min(VL, w - b);
            vr r[VL];
            UNROLL for (int l = 0; l < VL; l++)
                r[l] = l < have ? v_load(strip + (b + l) * VL) : v_zero();
            v_transpose(r);
            UNROLL for (int l = 0; l < VL; l++) {
                if (l >= channels) continue;
                vr value = bias != NULL ? v_add(r[l], v_set1(bias[l])) : r[l];
                real *to = dst + l * plane + b;
                if (e.used) value = epilogue_apply(e, value, to, have);
                if (have == VL)
                    v_store(to, value);
                else
                    v_storen(to, value, have);
            }
        }
    }
}

/* ---------------------------------------------------------------- tasks */

/* V of VL channels of a group in a block. */
static void wino_input(const wino_run *r, int64_t block, int64_t g, int64_t c0, real *pv,
                       real *strip) {
    const winograd_variant *v = r->v;
    int64_t row0 = block * r->block_rows, row1 = fc_min(row0 + r->block_rows, r->rows);
    int64_t plane = r->h * r->w;
    real *to = pv + c0;
    for (int64_t row = row0; row < row1; row++) {
        int64_t n = row / r->tiles_y, y = row % r->tiles_y * v->m + r->y0;
        const real *src = r->src + ((n * r->groups + g) * r->c + c0) * plane;
        strip_fill(src, plane, fc_min(VL, r->c - c0), r->h, r->w, y, v->t, r->x0, r->strip_cols,
                   strip);
        for (int64_t x = 0; x < r->tiles_x; x++, to += r->v_row)
            v->input(strip + x * v->m * VL, r->strip_cols * VL, to, r->plane_v);
    }
}

/* Item: VL channels of a group in a block of the batch. */
static void wino_input_task(void *arg, int64_t item, int thread) {
    const wino_run *r = arg;
    int64_t vectors = fc_ceil_div(r->c, VL), c0 = item % vectors * VL, unit = item / vectors;
    wino_input(r, r->first_block + unit / r->groups, unit % r->groups, c0,
               r->packed_v + unit * r->v->t * r->v->t * r->plane_v,
               r->scratch + thread * r->thread_reals);
}

/* Item: some channels of a panel of filters: U. */
static void wino_filter_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const wino_run *r = arg;
    const winograd_variant *v = r->v;
    int64_t chunks = fc_ceil_div(r->c, WINO_FILTERS), c0 = item % chunks * WINO_FILTERS;
    int64_t panel = item / chunks % r->panels.count, g = item / chunks / r->panels.count;
    int64_t width = r->panels.width, k0 = panel * width, kernel = v->r * v->r;
    const real *w = r->weights + g * r->k * r->c * kernel;
    real *u = r->packing_u + (g * r->panels.count + panel) * v->t * v->t * r->plane_u;
    int64_t n = fc_min(WINO_FILTERS, r->c - c0);
    /* [channel][tap][VL]: one strip, or, turned round, a strip a channel. */
    real strip[WINO_FILTERS * 25 * VL];
    for (int64_t j = 0; j < r->panels.nv; j++) {
        int64_t k = k0 + j * VL, have = fc_max(0, fc_min(VL, r->k - k));
        const real *from = w + k * r->weight_k + c0 * r->weight_c;
        int64_t strips = r->flip ? n : 1, cols = n * kernel / strips;
        for (int64_t i = 0; i < strips; i++)
            strip_fill(from + i * r->weight_c, r->weight_k, have, 1, cols, 0, 1, 0, cols,
                       strip + i * cols * VL);
        for (int64_t i = 0; i < n; i++) {
            const real *taps = strip + i * kernel * VL;
            real *to = u + (c0 + i) * width + j * VL;
            if (r->flip)
                v->filter(taps + (kernel - 1) * VL, -v->r * VL, -VL, to, r->plane_u);
            else
                v->filter(taps, v->r * VL, VL, to, r->plane_u);
        }
    }
}

/* M of a panel of output channels of a block, then their output. */
static void wino_product(const wino_run *r, int64_t block, int64_t g, int64_t panel,
                         const real *pv, real *m) {
    const winograd_variant *v = r->v;
    int64_t squares = v->t * v->t;
    int64_t row0 = block * r->block_rows, row1 = fc_min(row0 + r->block_rows, r->rows);
    int64_t tiles = (row1 - row0) * r->tiles_x, width = r->panels.width, np = r->panels.np;
    real *strip = m + squares * r->plane_m;
    const real *u = r->packed_u + (g * r->panels.count + panel) * squares * r->plane_u;
    for (int64_t xi = 0; xi < squares; xi++) {
        for (int64_t c = 0; c < r->c; c += r->chunk) {
            outer_pixels at = {.images = 1, .rows = 1, .step = 1, .cols = fc_min(r->chunk, r->c - c)};
            for (int64_t tile = 0; tile < tiles; tile += np)
                OUTER_KERNELS[r->panels.nv - 1](
                    &at, pv + xi * r->plane_v + tile * r->v_row + c, r->tile_shift,
                    u + xi * r->plane_u + c * width, m + xi * r->plane_m + tile * width, c > 0);
        }
    }
    int64_t plane = r->oh * r->ow, cols = r->tiles_x * v->m;
    for (int64_t j = 0; j < r->panels.nv; j++) {
        int64_t k = panel * width + j * VL, have = fc_min(VL, r->k - k);
        const real *from = m + j * VL;
        for (int64_t row = row0; row < row1 && have > 0; row++) {
            int64_t n = row / r->tiles_y, y = row % r->tiles_y * v->m;
            for (int64_t x = 0; x < r->tiles_x; x++, from += width)
                v->output(from, r->plane_m, strip + x * v->m * VL, cols * VL);
            real *dst = r->dst + ((n * r->groups + g) * r->k + k) * plane + y * r->ow;
            strip_drain(strip, cols, fc_min(v->m, r->oh - y), r->ow, dst, plane, have,
                        r->bias == NULL ? NULL : r->bias + g * r->k + k, &r->epilogue);
        }
    }
}

/* Item: a panel of output channels of a block of the batch. */
static void wino_product_task(void *arg, int64_t item, int thread) {
    const wino_run *r = arg;
    int64_t panel = item % r->panels.count, unit = item / r->panels.count;
    wino_product(r, r->first_block + unit / r->groups, unit % r->groups, panel,
                 r->packed_v + unit * r->v->t * r->v->t * r->plane_v,
                 r->scratch + thread * r->thread_reals);
}

/* Item: a block and a group, from input to output: V never leaves the core's cache. */
static void wino_block_task(void *arg, int64_t item, int thread) {
    const wino_run *r = arg;
    int64_t block = item / r->groups, g = item % r->groups;
    real *scratch = r->scratch + thread * r->thread_reals;
    real *pv = r->packed_v + thread * r->v->t * r->v->t * r->plane_v;
    for (int64_t c = 0; c < r->c; c += VL) wino_input(r, block, g, c, pv, scratch);
    for (int64_t panel = 0; panel < r->panels.count; panel++)
        wino_product(r, block, g, panel, pv, scratch);
}

/* Item: a panel of output channels of a block of dy: Z, and the block's part of the bias. */
static void wino_gradient_task(void *arg, int64_t item, int thread) {
    const wino_run *r = arg;
    const winograd_variant *v = r->v;
    int64_t panel = item % r->panels.count, g = item / r->panels.count % r->groups;
    int64_t block = item / r->panels.count / r->groups, width = r->panels.width;
    int64_t row0 = (r->first_block + block) * r->block_rows;
    int64_t row1 = fc_min(row0 + r->block_rows, r->rows);
    int64_t plane = r->oh * r->ow, cols = r->tiles_x * v->m;
    real *strip = r->scratch + thread * r->thread_reals;
    real *z = r->packed_z + item * v->t * v->t * r->plane_m;
    for (int64_t j = 0; j < r->panels.nv; j++) {
        int64_t k = panel * width + j * VL, have = fc_max(0, fc_min(VL, r->k - k));
        real *to = z + j * VL;
        vr bias = v_zero();
        for (int64_t row = row0; row < row1; row++) {
            int64_t n = row / r->tiles_y, y = row % r->tiles_y * v->m;
            const real *dy = r->dy + ((n * r->groups + g) * r->k + k) * plane;
            strip_fill(dy, plane, have, r->oh, r->ow, y, v->m, 0, cols, strip);
            for (int64_t i = 0; i < v->m * cols; i++) bias = v_add(bias, v_load(strip + i * VL));
            for (int64_t x = 0; x < r->tiles_x; x++, to += width)
                v->gradient(strip + x * v->m * VL, cols * VL, to, r->plane_m);
        }
        v_store(r->block_bias + item * width + j * VL, bias);
    }
}

/* Item: one xi of one panel: D += V * Z, over the tiles of the batch in order. */
static void wino_sum_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const wino_run *r = arg;
    int64_t squares = r->v->t * r->v->t, xi = item % squares, panels = r->panels.count;
    int64_t panel = item / squares % panels, g = item / squares / panels;
    int64_t width = r->panels.width, np = r->panels.np;
    real *d = r->sums + item * r->plane_d;
    for (int64_t block = 0; block < r->n_blocks; block++) {
        int64_t row0 = (r->first_block + block) * r->block_rows;
        int64_t rows = fc_min(r->block_rows, r->rows - row0);
        outer_pixels at = {.images = 1, .rows = 1, .cols = rows * r->tiles_x, .step = r->v_row};
        const real *v = r->packed_v + ((block * r->groups + g) * squares + xi) * r->plane_v;
        const real *z = r->packed_z +
                        (((block * r->groups + g) * panels + panel) * squares + xi) * r->plane_m;
        for (int64_t c = 0; c < r->c; c += np)
            OUTER_KERNELS[r->panels.nv - 1](&at, v + c, r->channel_shift, z, d + c * width,
                                            r->first_block + block > 0);
    }
}

/* Item: some channels of a panel: dw = G^T D G. */
static void wino_filter_gradient_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const wino_run *r = arg;
    const winograd_variant *v = r->v;
    int64_t chunks = fc_ceil_div(r->c, WINO_FILTERS), c0 = item % chunks * WINO_FILTERS;
    int64_t panel = item / chunks % r->panels.count, g = item / chunks / r->panels.count;
    int64_t width = r->panels.width, kernel = v->r * v->r;
    const real *d = r->sums + (g * r->panels.count + panel) * v->t * v->t * r->plane_d;
    for (int64_t c = c0; c < fc_min(c0 + WINO_FILTERS, r->c); c++) {
        for (int64_t j = 0; j < r->panels.nv; j++) {
            real taps[25 * VL];
            v->filter_gradient(d + c * width + j * VL, r->plane_d, taps);
            int64_t k0 = panel * width + j * VL;
            for (int64_t l = 0; l < VL && k0 + l < r->k; l++) {
                real *dw = r->dw + ((g * r->k + k0 + l) * r->c + c) * kernel;
                for (int64_t i = 0; i < kernel; i++) dw[i] = taps[i * VL + l];
            }
        }
    }
}

/* ---------------------------------------------------------------- driver */

/* The variant for a descriptor, or NULL where Winograd cannot (or, unless forced, should not) serve
 * it. By shape alone, and never by the batch, since the algorithm shows in the last bits; but with
 * no images at all, the direct pass writes the zeros of a weight gradient. */
static const winograd_variant *wino_choose(const fc_conv2d_desc *d, int64_t oh, int64_t ow) {
    int fits = d->stride_h == 1 && d->stride_w == 1 && d->dilation_h == 1 && d->dilation_w == 1 &&
               d->kh == d->kw && (d->kh == 3 || d->kh == 5) && d->pad_mode == FC_PAD_ZEROS;
    if (!fits || d->algorithm == FC_CONV_DIRECT || d->n == 0) return NULL;
    int64_t c = d->c / d->groups, k = d->k / d->groups;
    /* Fewer channels than lanes, or single pixels, and the transforms cost more than they save. */
    if (d->algorithm == FC_CONV_AUTO && (c < VL || k < VL || oh < 2 || ow < 2)) return NULL;
    if (d->kh == 5) return &WINOGRAD_VARIANTS[2];
    return &WINOGRAD_VARIANTS[oh >= 56 && ow >= 56];
}

static int64_t wino_tile_count(int64_t out, int64_t m) { return fc_ceil_div(out, m); }

/* Everything but the pointers, from the shapes; `gradient` for backward weight. */
static void wino_plan(wino_run *r, int gradient) {
    const winograd_variant *v = r->v;
    int64_t size = sizeof(real), squares = v->t * v->t;
    r->tiles_y = wino_tile_count(r->oh, v->m);
    r->tiles_x = wino_tile_count(r->ow, v->m);
    r->rows = r->n * r->tiles_y;
    r->panels = outer_panels_of(r->k);
    r->strip_cols = r->tiles_x * v->m + v->r - 1;
    r->v_row = fc_max(fc_round_up(r->c, VL), fc_round_up(r->c, r->panels.np));
    int64_t channels = r->v_row + (gradient ? r->panels.count * r->panels.width : 0);
    int64_t tile = squares * r->groups * channels * size, wanted = WINO_TILES;
    if (squares * r->c * r->panels.count * r->panels.width * size > WINO_L2_BYTES)
        wanted = fc_max(WINO_TILES, fc_min(WINO_TILES_MOST, WINO_BLOCK_BYTES / tile));
    r->block_rows = fc_max(1, fc_min(wanted / r->tiles_x, r->rows));
    r->blocks = fc_ceil_div(r->rows, r->block_rows);
    r->block_rows = fc_ceil_div(r->rows, r->blocks); /* even blocks */
    r->blocks = fc_ceil_div(r->rows, r->block_rows);
    r->tiles = fc_round_up(r->block_rows * r->tiles_x, r->panels.np);
    r->plane_v = odd_lines(r->tiles * r->v_row);
    r->plane_u = odd_lines(r->c * r->panels.width);
    r->plane_m = odd_lines(r->tiles * r->panels.width);
    r->plane_d = odd_lines(fc_round_up(r->c, r->panels.np) * r->panels.width);
    r->chunk = fc_max(1, WINO_PANEL_BYTES / (r->panels.width * size));
    r->chunk = fc_ceil_div(r->c, fc_ceil_div(r->c, r->chunk));
    int64_t block = squares * r->groups * r->plane_v;
    if (gradient) block += squares * r->groups * r->panels.count * r->plane_m;
    r->batch = WINO_BATCH_BYTES / (block * size);
    r->batch = fc_max(1, fc_min(r->batch, r->blocks));
    r->whole = !gradient && r->blocks * r->groups >= TASKS_WANTED;
    int64_t strip = v->t * r->strip_cols * VL;
    r->thread_reals = fc_round_up(strip + (gradient ? 0 : squares * r->plane_m), 16);
}

/* Bytes of U. */
static int64_t wino_prepared_bytes(const wino_run *r) {
    int64_t planes = r->groups * r->panels.count * r->v->t * r->v->t;
    return fc_mul(fc_mul(planes, r->plane_u), sizeof(real));
}

static int64_t wino_layout(wino_run *r, int prepared, int gradient, char *base, int n_threads) {
    int64_t size = sizeof(real), squares = r->v->t * r->v->t;
    int64_t panels = r->groups * r->panels.count, at = 0, shifts, u, v, z, d, bb, bs, scratch;
    shifts = at;
    at = 64 * ((2 * OUTER_NP_MAX * 4 + 63) / 64);
    u = at;
    at = fc_add(at, gradient || prepared ? 0 : wino_prepared_bytes(r));
    v = at;
    int64_t units = r->whole ? n_threads : r->batch * r->groups;
    at = fc_add(at, fc_mul(fc_mul(units * squares, r->plane_v), size));
    z = at;
    at = fc_add(at, gradient ? fc_mul(fc_mul(r->batch * panels * squares, r->plane_m), size) : 0);
    d = at;
    at = fc_add(at, gradient ? fc_mul(fc_mul(panels * squares, r->plane_d), size) : 0);
    bb = at;
    at = fc_add(at, gradient ? r->batch * panels * r->panels.width * size : 0);
    bs = at;
    at = fc_round_up(fc_add(at, gradient ? panels * r->panels.width * size : 0), 64);
    scratch = at;
    at = fc_add(at, fc_mul(fc_mul(r->thread_reals, n_threads), size));
    if (base != NULL) {
        r->tile_shift = (int32_t *)(base + shifts);
        r->channel_shift = r->tile_shift + OUTER_NP_MAX;
        for (int i = 0; i < OUTER_NP_MAX; i++) {
            r->tile_shift[i] = (int32_t)(i * r->v_row);
            r->channel_shift[i] = i;
        }
        r->packing_u = (real *)(base + u);
        r->packed_v = (real *)(base + v);
        r->packed_z = (real *)(base + z);
        r->sums = (real *)(base + d);
        r->block_bias = (real *)(base + bb);
        r->bias_sums = (real *)(base + bs);
        r->scratch = (real *)(base + scratch);
    }
    return at;
}

/* Forward, or with backward the input's gradient; 0 if Winograd does not serve this descriptor. */
static int wino_forward_run(wino_run *r, const fc_conv2d_desc *d, int backward) {
    int64_t kernel = d->kh * d->kw, c = d->c / d->groups, k = d->k / d->groups;
    *r = (wino_run){.n = d->n, .groups = d->groups};
    if (backward) {
        r->v = wino_choose(d, d->h, d->w);
        r->c = k, r->k = c, r->h = d->oh, r->w = d->ow, r->oh = d->h, r->ow = d->w;
        r->y0 = d->pad_top - (d->kh - 1), r->x0 = d->pad_left - (d->kw - 1);
        r->flip = 1, r->weight_k = kernel, r->weight_c = c * kernel;
    } else {
        r->v = wino_choose(d, d->oh, d->ow);
        r->c = c, r->k = k, r->h = d->h, r->w = d->w, r->oh = d->oh, r->ow = d->ow;
        r->y0 = -d->pad_top, r->x0 = -d->pad_left;
        r->weight_k = c * kernel, r->weight_c = kernel;
    }
    if (r->v == NULL) return 0;
    wino_plan(r, 0);
    return 1;
}

static int wino_weight_run(wino_run *r, const fc_conv2d_desc *d) {
    *r = (wino_run){.n = d->n, .groups = d->groups, .c = d->c / d->groups, .k = d->k / d->groups,
                    .h = d->h, .w = d->w, .oh = d->oh, .ow = d->ow, .y0 = -d->pad_top,
                    .x0 = -d->pad_left};
    r->v = wino_choose(d, d->oh, d->ow);
    if (r->v == NULL) return 0;
    if (d->kh == 3) r->v = &WINOGRAD_VARIANTS[0];
    wino_plan(r, 1);
    return 1;
}

static void wino_transform_filters(wino_run *r, int n_threads) {
    int64_t panels = r->groups * r->panels.count;
    fc_parallel(panels * fc_ceil_div(r->c, WINO_FILTERS), n_threads, wino_filter_task, r);
}

static void wino_prepare(wino_run *r, const real *w, real *prepared, int n_threads) {
    r->weights = w, r->packing_u = prepared;
    wino_transform_filters(r, n_threads);
}

static void wino_execute(wino_run *r, const real *src, const real *w, const real *prepared,
                         const real *bias, real *dst, char *workspace, int n_threads) {
    int64_t panels = r->groups * r->panels.count, vectors = fc_ceil_div(r->c, VL);
    wino_layout(r, prepared != NULL, 0, workspace, n_threads);
    r->src = src, r->weights = w, r->bias = bias, r->dst = dst;
    r->packed_u = prepared != NULL ? prepared : r->packing_u;
    if (prepared == NULL) wino_transform_filters(r, n_threads);
    if (r->whole) fc_parallel(r->blocks * r->groups, n_threads, wino_block_task, r);
    for (r->first_block = 0; !r->whole && r->first_block < r->blocks; r->first_block += r->batch) {
        r->n_blocks = fc_min(r->batch, r->blocks - r->first_block);
        fc_parallel(r->n_blocks * r->groups * vectors, n_threads, wino_input_task, r);
        fc_parallel(r->n_blocks * panels, n_threads, wino_product_task, r);
    }
}

static void wino_execute_gradient(wino_run *r, const real *dy, const real *x, real *dw, real *db,
                                  char *workspace, int n_threads) {
    int64_t panels = r->groups * r->panels.count, width = r->panels.width;
    wino_layout(r, 0, 1, workspace, n_threads);
    r->src = x, r->dy = dy, r->dw = dw, r->db = db;
    fill(r->bias_sums, panels * width, 0);
    for (r->first_block = 0; r->first_block < r->blocks; r->first_block += r->batch) {
        r->n_blocks = fc_min(r->batch, r->blocks - r->first_block);
        fc_parallel(r->n_blocks * r->groups * fc_ceil_div(r->c, VL), n_threads, wino_input_task, r);
        fc_parallel(r->n_blocks * panels, n_threads, wino_gradient_task, r);
        fc_parallel(panels * r->v->t * r->v->t, n_threads, wino_sum_task, r);
        for (int64_t i = 0; i < r->n_blocks * panels * width; i++)
            r->bias_sums[i % (panels * width)] += r->block_bias[i];
    }
    fc_parallel(panels * fc_ceil_div(r->c, WINO_FILTERS), n_threads, wino_filter_gradient_task, r);
    for (int64_t i = 0; db != NULL && i < r->groups * r->k; i++)
        db[i] = r->bias_sums[i / r->k * r->panels.count * width + i % r->k];
}
