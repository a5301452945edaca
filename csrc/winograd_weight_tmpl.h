/* winograd_weight_tmpl.h - Winograd's gradient of the weights, the adjoint of winograd_tmpl.h's
 * forward pass; compiled per tier and real type.
 *
 *   V[chunk][xi][tile][c]     = BT d BT^T    of every tile of the source, as forward
 *   Z[panel][xi][tile][k]     = A dy A^T     of every tile of dy
 *   D[panel][chunk][xi][c][k] = sum over tiles of V * Z                       (outer_tmpl.h),
 *                               and over the xi that meet the same product of a filter
 *   dw                        = G^T D G
 *
 * With many channels, a task owns the D of one chunk of channels and a group of panels, and adds
 * the tiles of a batch of blocks to it, whose V and Z were made before; after the last batch it
 * makes dw of it. With few channels there would be too few such tasks, and V and Z would go from
 * core to core: then the blocks are dealt to `splits` tasks, each of which makes its own V, Z and D
 * of them, and the D are added up in order. The shapes decide, so the bits do not depend on the
 * threads.
 */

enum {
    WINO_SUM_TILES = 96,             /* of a block, and */
    WINO_SUM_CHUNK = 48,             /* channels at a time: a plane of V in L1, */
    WINO_SUM_GROUP = 32,             /* and output channels: D in L2 */
    WINO_SUM_BATCH_BYTES = 16 << 20, /* of V and Z of several blocks */
    WINO_SPLIT_BYTES = 3 << 20,      /* of D, up to which blocks are dealt to splits */
    WINO_SUMS_BYTES = 16 << 20,      /* of the D of all splits */
};

typedef struct {
    wino_shape s;
    int64_t group, panel_groups;   /* panels of a task; how many of those */
    int64_t splits;                /* or 0: tasks own parts of D */
    int64_t batch, first_block, n_blocks; /* blocks at a time; the current ones */
    int64_t plane_z, block_z;      /* reals of Z: of a panel's xi, of a block's group */
    int64_t plane_d, chunk_d, group_d; /* reals of D: of a xi, of a panel's chunk, of a group */
    int64_t thread_reals;
    const real *dy;
    real *dw, *db;
    real *packed_v, *packed_z, *sums, *bias_sums, *scratch;
    int32_t *channel_shift;
} wino_weight_run;

/* Z of a panel of output channels of a block, and the block's part of the bias. */
static void wino_gradient(const wino_weight_run *r, int64_t block, int64_t g, int64_t panel,
                          real *z, real *strip) {
    const wino_shape *s = &r->s;
    const winograd_variant *v = s->v;
    wino_block b = wino_get_block(s, block);
    int64_t plane = s->oh * s->ow, cols = s->output_cols, width = s->panels.width;
    int64_t step = wino_step(v, cols);
    real *biases = r->bias_sums + ((block * s->groups + g) * s->panels.count + panel) * width;
    for (int64_t j = 0; j < s->panels.nv; j++) {
        int64_t k = panel * width + j * VL, have = fc_max(0, fc_min(VL, s->k - k));
        real *to = z + panel * s->squares * r->plane_z + j * VL;
        vr bias = v_zero();
        for (int64_t row = b.first; row < b.end; row++) {
            int64_t n = row / s->tiles_y, y = row % s->tiles_y * v->y.m;
            const real *dy = r->dy + ((n * s->groups + g) * s->k + k) * plane;
            strip_fill(dy, plane, have, s->oh, s->ow, y, v->y.m, 0, cols, 0, strip);
            for (int64_t i = 0; i < v->y.m * cols; i++) bias = v_add(bias, v_load(strip + i * VL));
            for (int64_t x = 0; x < s->tiles_x; x++, to += width)
                v->gradient(strip + x * v->x.m * VL, step, to, r->plane_z);
        }
        v_store(biases + j * VL, bias);
    }
}

/* D += V Z over the tiles of a block, for a chunk of channels and some panels; pv and pz are the
 * block's, d that of the first panel, panel_d apart. */
static void wino_sum(const wino_weight_run *r, int64_t block, int64_t chunk, int64_t panel0,
                     int64_t panels, const real *pv, const real *pz, real *d, int64_t panel_d,
                     int add) {
    const wino_shape *s = &r->s;
    int64_t width = s->panels.width;
    int64_t channels = fc_min(s->chunk, s->c - chunk * s->chunk);
    const outer_kernel *kernels = OUTER_KERNELS[s->panels.nv - 1];
    outer_groups groups = outer_groups_of(channels, s->panels.np);
    outer_pixels at = {.images = 1, .rows = 1, .cols = wino_get_block(s, block).tiles,
                       .step = s->chunk, .ahead = s->plane_v, .ahead_step = s->chunk};
    int t = (int)s->v->x.t, squares = (int)s->squares;
    for (int xi = 0; xi < squares; xi++) {
        const real *v = pv + (chunk * s->squares + xi) * s->plane_v;
        int row = xi / t, col = xi % t, first = row < s->v->y.f && col < s->v->x.f;
        real *xi_d = d + wino_filter_product(s->v, row, col) * r->plane_d;
        for (int64_t i = 0; i < panels; i++) {
            const real *z = pz + ((panel0 + i) * s->squares + xi) * r->plane_z;
            real *to = xi_d + i * panel_d;
            for (int64_t j = 0, c = 0, np; j < groups.count; j++, c += np) {
                np = outer_size(&groups, j);
                kernels[np - 1](&at, v + c, r->channel_shift, z, to + c * width, add || !first);
            }
        }
    }
}

/* dw of a chunk of a panel, from its D. */
static void wino_filter_gradient(const wino_weight_run *r, int64_t g, int64_t panel, int64_t chunk,
                                 const real *d) {
    const wino_shape *s = &r->s;
    int64_t width = s->panels.width, kernel = s->v->y.r * s->v->x.r;
    int64_t c0 = chunk * s->chunk, c1 = fc_min(c0 + s->chunk, s->c);
    for (int64_t c = c0; c < c1; c++) {
        for (int64_t j = 0; j < s->panels.nv; j++) {
            real taps[25 * VL];
            s->v->filter_gradient(d + (c - c0) * width + j * VL, r->plane_d, taps);
            int64_t k0 = panel * width + j * VL;
            for (int64_t l = 0; l < VL && k0 + l < s->k; l++) {
                real *dw = r->dw + ((g * s->k + k0 + l) * s->c + c) * kernel;
                for (int64_t i = 0; i < kernel; i++) dw[i] = taps[i * VL + l];
            }
        }
    }
}

/* ---------------------------------------------------------------- tasks that own parts of D */

/* Item: WINO_LINE channels of V, or a panel of Z, of a group in a block of the batch. */
static void wino_weight_pack_task(void *arg, int64_t item, int thread) {
    const wino_weight_run *r = arg;
    const wino_shape *s = &r->s;
    int64_t lines = fc_ceil_div(s->c, WINO_LINE), parts = lines + s->panels.count;
    int64_t part = item % parts, unit = item / parts, g = unit % s->groups;
    int64_t block = r->first_block + unit / s->groups;
    real *strip = r->scratch + thread * r->thread_reals;
    if (part < lines)
        wino_input_line(s, block, g, part, r->packed_v + unit * s->block_v, strip);
    else
        wino_gradient(r, block, g, part - lines, r->packed_z + unit * r->block_z, strip);
}

/* Item: a chunk of channels of a group of panels: its D over the batch, and after the last, dw. */
static void wino_weight_sum_task(void *arg, int64_t item, int thread) {
    const wino_weight_run *r = arg;
    const wino_shape *s = &r->s;
    int64_t chunk = item % s->chunks, panel0 = item / s->chunks % r->panel_groups * r->group;
    int64_t g = item / s->chunks / r->panel_groups;
    int64_t panels = fc_min(r->group, s->panels.count - panel0), panel_d = s->chunks * r->chunk_d;
    int last = r->first_block + r->n_blocks == s->blocks;
    real *d = r->sums + g * r->group_d + panel0 * panel_d + chunk * r->chunk_d;
    if (r->batch == s->blocks) /* one batch: D need not wait for others */
        d = r->scratch + thread * r->thread_reals, panel_d = r->chunk_d;
    for (int64_t i = 0; i < r->n_blocks; i++) {
        int64_t unit = i * s->groups + g;
        wino_sum(r, r->first_block + i, chunk, panel0, panels, r->packed_v + unit * s->block_v,
                 r->packed_z + unit * r->block_z, d, panel_d, r->first_block + i > 0);
    }
    for (int64_t i = 0; last && i < panels; i++)
        wino_filter_gradient(r, g, panel0 + i, chunk, d + i * panel_d);
}

/* ---------------------------------------------------------------- tasks that own blocks */

/* Item: a split and a group: D of the split's blocks. */
static void wino_weight_split_task(void *arg, int64_t item, int thread) {
    const wino_weight_run *r = arg;
    const wino_shape *s = &r->s;
    int64_t split = item / s->groups, g = item % s->groups;
    int64_t first = split * s->blocks / r->splits, end = (split + 1) * s->blocks / r->splits;
    real *pv = r->packed_v + thread * s->block_v, *pz = r->packed_z + thread * r->block_z;
    real *strip = r->scratch + thread * r->thread_reals, *d = r->sums + item * r->group_d;
    for (int64_t block = first; block < end; block++) {
        for (int64_t c = 0; c < s->c; c += VL) wino_input(s, block, g, c, pv, strip);
        for (int64_t panel = 0; panel < s->panels.count; panel++)
            wino_gradient(r, block, g, panel, pz, strip);
        for (int64_t chunk = 0; chunk < s->chunks; chunk++)
            wino_sum(r, block, chunk, 0, s->panels.count, pv, pz, d + chunk * r->chunk_d,
                     s->chunks * r->chunk_d, block > first);
    }
}

/* Item: a chunk of a panel of a group: the splits' D added up, in order, and dw. */
static void wino_weight_join_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const wino_weight_run *r = arg;
    const wino_shape *s = &r->s;
    int64_t chunk = item % s->chunks, panel = item / s->chunks % s->panels.count;
    int64_t g = item / s->chunks / s->panels.count;
    real *d = r->sums + g * r->group_d + (panel * s->chunks + chunk) * r->chunk_d;
    for (int64_t split = 1; split < r->splits; split++) {
        const real *other = d + split * s->groups * r->group_d;
        for (int64_t i = 0; i < r->chunk_d; i += VL)
            v_store(d + i, v_add(v_load(d + i), v_load(other + i)));
    }
    wino_filter_gradient(r, g, panel, chunk, d);
}

/* ---------------------------------------------------------------- driver */

static void wino_weight_plan(wino_weight_run *r) {
    wino_shape *s = &r->s;
    int64_t size = sizeof(real);
    wino_measure(s);
    int64_t width = s->panels.width;
    s->chunks = fc_ceil_div(s->c, WINO_SUM_CHUNK);
    s->chunk = fc_round_up(fc_ceil_div(s->c, s->chunks), VL);
    s->chunks = fc_ceil_div(s->c, s->chunk);
    r->group = fc_max(1, fc_min(WINO_SUM_GROUP / width, s->panels.count));
    r->panel_groups = fc_ceil_div(s->panels.count, r->group);
    r->plane_d = odd_lines(s->chunk * width);
    r->chunk_d = s->filter_squares * r->plane_d;
    r->group_d = s->panels.count * s->chunks * r->chunk_d;
    int64_t sums = s->groups * r->group_d * size; /* one split's */
    r->splits =
        sums > WINO_SPLIT_BYTES ? 0 : fc_min(TASKS_WANTED, WINO_SUMS_BYTES / fc_max(sums, 1));
    wino_cut_blocks(s, WINO_SUM_TILES, fc_max(r->splits, 1));
    r->splits = fc_min(r->splits, s->blocks);
    r->plane_z = odd_lines(s->tiles * width);
    r->block_z = s->panels.count * s->squares * r->plane_z;
    r->batch = WINO_SUM_BATCH_BYTES / (s->groups * (s->block_v + r->block_z) * size);
    r->batch = fc_max(1, fc_min(r->batch, s->blocks));
    int64_t own_d = r->splits == 0 && r->batch == s->blocks ? r->group * r->chunk_d : 0;
    r->thread_reals = fc_round_up(fc_max(s->strip, own_d), 64 / size);
}

static int64_t wino_weight_layout(wino_weight_run *r, char *base, int n_threads) {
    const wino_shape *s = &r->s;
    int64_t size = sizeof(real), at = 64 * ((OUTER_NP_MAX * 4 + 63) / 64), v, z, d, bias, scratch;
    int64_t units = r->splits > 0 ? n_threads : r->batch * s->groups;
    v = at;
    at = fc_add(at, fc_mul(fc_mul(units, s->block_v), size));
    z = at;
    at = fc_add(at, fc_mul(fc_mul(units, r->block_z), size));
    d = at;
    int64_t sets = r->splits > 0 ? r->splits : r->batch < s->blocks;
    at = fc_add(at, fc_mul(fc_mul(sets * s->groups, r->group_d), size));
    bias = at;
    at = fc_add(at, fc_mul(fc_mul(s->blocks, s->groups * s->panels.count * s->panels.width), size));
    at = scratch = fc_round_up(at, 64);
    at = fc_add(at, fc_mul(fc_mul(r->thread_reals, n_threads), size));
    if (base != NULL) {
        r->channel_shift = (int32_t *)base;
        for (int i = 0; i < OUTER_NP_MAX; i++) r->channel_shift[i] = i;
        r->packed_v = (real *)(base + v);
        r->packed_z = (real *)(base + z);
        r->sums = (real *)(base + d);
        r->bias_sums = (real *)(base + bias);
        r->scratch = (real *)(base + scratch);
    }
    return at;
}

static int wino_weight_run_of(wino_weight_run *r, const fc_conv2d_desc *d) {
    *r = (wino_weight_run){.s = {.n = d->n, .groups = d->groups, .c = d->c / d->groups,
                                 .k = d->k / d->groups, .h = d->h, .w = d->w, .oh = d->oh,
                                 .ow = d->ow, .y0 = -d->pad_top, .x0 = -d->pad_left,
                                 .replicate = d->pad_mode == FC_PAD_REPLICATE}};
    r->s.v = wino_choose(d, WINO_BACKWARD_WEIGHT);
    if (r->s.v == NULL) return 0;
    wino_weight_plan(r);
    return 1;
}

static void wino_weight_execute(wino_weight_run *r, const real *dy, const real *x, real *dw,
                                real *db, char *workspace, int n_threads) {
    wino_shape *s = &r->s;
    int64_t biases = s->groups * s->panels.count * s->panels.width;
    wino_weight_layout(r, workspace, n_threads);
    s->src = x, r->dy = dy, r->dw = dw, r->db = db;
    if (r->splits > 0) {
        fc_parallel(r->splits * s->groups, n_threads, wino_weight_split_task, r);
        fc_parallel(s->groups * s->panels.count * s->chunks, n_threads, wino_weight_join_task, r);
    }
    for (r->first_block = 0; r->splits == 0 && r->first_block < s->blocks;
         r->first_block += r->batch) {
        r->n_blocks = fc_min(r->batch, s->blocks - r->first_block);
        int64_t parts = fc_ceil_div(s->c, WINO_LINE) + s->panels.count;
        fc_parallel(r->n_blocks * s->groups * parts, n_threads, wino_weight_pack_task, r);
        fc_parallel(s->groups * r->panel_groups * s->chunks, n_threads, wino_weight_sum_task, r);
    }
    for (int64_t i = 0; db != NULL && i < s->groups * s->k; i++) {
        const real *of = r->bias_sums + i / s->k * s->panels.count * s->panels.width + i % s->k;
        real sum = 0;
        for (int64_t block = 0; block < s->blocks; block++) sum += of[block * biases];
        db[i] = sum;
    }
}
