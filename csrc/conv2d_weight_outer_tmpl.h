/* conv2d_weight_outer_tmpl.h - the gradient of a convolution's weights for many output channels, as
 * outer products; included by conv2d_weight_tmpl.h.
 *
 * dy is transposed once per band to [pixel][output channels], so that a pixel is an outer product
 * of NV vectors of output channels and NP taps, summed in registers over the band: no horizontal
 * sums. Bands are handled in batches that stay in L2 if they can; per batch one parallel loop
 * packs, and one sums: a task of the second owns some taps of one panel of output channels and adds
 * the bands to its sums in their order. Where the sums are small, a task owns some of the bands
 * instead (a split), packs and adds them: no core then waits for what another has packed. The x of
 * 1x1 kernels of stride 1 is read as it is.
 */

enum { DY_AHEAD = 4 * LINE };

/* Transposes rows x cols of dy (rows row_stride apart) to [col][nv * VL], rows beyond `rows` zero,
 * and adds each column to bias[nv * VL]. */
static void transpose_row(const real *dy, int64_t row_stride, int64_t rows, int64_t cols,
                          int64_t nv, real *to, real *bias) {
    for (int64_t j = 0; j < nv; j++) {
        int64_t m0 = j * VL, have = fc_max(0, fc_min(VL, rows - m0));
        vr sum = v_zero(); /* of the row: one chain over all would lose digits */
        for (int64_t col = 0; col < cols; col += VL) {
            int64_t n = fc_min(VL, cols - col);
            const real *from = dy + m0 * row_stride + col;
            vr r[VL];
            if (have == VL && n == VL) {
                v_load_transposed(PIECES, from, row_stride, r);
                /* pieces of many planes: the hardware does not see all of them coming */
                UNROLL for (int i = 0; i < VL; i++) PREFETCH(from + i * row_stride + DY_AHEAD);
            } else {
                UNROLL for (int i = 0; i < VL; i++)
                    r[i] = i < have ? v_loadn(from + i * row_stride, n) : v_zero();
                v_transpose(r);
            }
            UNROLL for (int i = 0; i < VL; i++) {
                if (i < n) {
                    sum = v_add(sum, r[i]);
                    v_store(to + (col + i) * nv * VL + m0, r[i]);
                }
            }
        }
        v_store(bias + m0, v_add(v_load(bias + m0), sum));
    }
}

/* Tasks that pack a band of a group: a panel of dy each, or some channels of x. */
INLINE int64_t weight_parts(const weight_run *r) {
    return r->panels + (r->in_source ? 0 : fc_ceil_div(r->s.channels, PACK_CHANNELS));
}

/* The x of a group from the block's first channel on, in image n. */
INLINE const real *weight_source(const weight_run *r, int64_t n, int64_t g) {
    int64_t channels = r->d->c / r->s.groups;
    return r->x + ((n * r->s.groups + g) * channels + r->c0) * r->s.y.source * r->s.x.source;
}

/* Where a band is packed: its x, transposed dy and bias sums, of all groups. */
typedef struct {
    real *x, *dy, *db;
} packed_band;

INLINE packed_band weight_packed(const weight_run *r, int64_t i, int64_t bias_set) {
    return (packed_band){r->packed_x + i * r->band_x, r->packed_dy + i * r->band_dy,
                         r->packed_db + bias_set * r->band_db};
}

/* Packs one part of a group of a band; bias sums are added to those that are there. */
static void weight_pack(const weight_run *r, const shift_band *b, int64_t g, int64_t part,
                        packed_band packed) {
    const shift_problem *s = &r->s;
    if (part >= r->panels) {
        int64_t c0 = (part - r->panels) * PACK_CHANNELS;
        int64_t c1 = fc_min(c0 + PACK_CHANNELS, s->channels);
        int64_t plane = s->y.source * s->x.source, image = r->d->c * plane;
        const real *x = weight_source(r, b->n0, g);
        real *to = packed.x + g * s->channels * s->channel_stride;
        for (int64_t c = c0; c < c1; c++) {
            if (c + 1 < s->channels) prefetch_channel(s, b, x + (c + 1) * plane);
            pack_channel(s, b, x + c * plane, image, to + c * s->channel_stride);
        }
        return;
    }
    int64_t width = r->nv * VL, m0 = part * width, rows = fc_min(width, s->m - m0);
    int64_t plane = s->y.out * s->x.out, pixels = r->band_dy / (s->groups * r->panels * width);
    real *to = packed.dy + (g * r->panels + part) * pixels * width;
    real *bias = packed.db + (g * r->panels + part) * width;
    for (int64_t n = b->n0; n < b->n0 + b->images; n++) {
        for (int64_t y = b->y0; y < b->y0 + b->rows; y++, to += b->cols * width) {
            const real *dy = r->dy + ((n * s->groups + g) * s->m + m0) * plane;
            dy += y * s->x.out + b->x0;
            transpose_row(dy, plane, rows, b->cols, r->nv, to, bias);
        }
    }
}

/* Adds a band to the sums of a panel's tap groups t0 to t1, or begins them. */
static void weight_add(const weight_run *r, const shift_band *b, int64_t g, int64_t panel,
                       int64_t t0, int64_t t1, packed_band packed, real *sums, int started) {
    const shift_problem *s = &r->s;
    int64_t width = r->nv * VL;
    int64_t pixels = r->band_dy / (s->groups * r->panels * width);
    const real *x = packed.x + g * s->channels * s->channel_stride;
    if (r->in_source) x = weight_source(r, b->n0, g) + b->x0;
    const real *dy = packed.dy + (g * r->panels + panel) * pixels * width;
    sums += (g * r->panels + panel) * r->panel_sums;
    shift_band part = *b;
    for (int64_t row = 0; row < b->rows; row += part.rows) {
        part.rows = b->images > 1 ? b->rows : fc_min(r->part_rows, b->rows - row);
        outer_pixels at = {.images = part.images, .rows = part.rows, .cols = part.cols,
                           .step = 1, .row = s->pitch, .image = s->image_rows * s->pitch};
        if (r->in_source) at.image = r->d->c * s->x.source;
        /* Rows, and images, that follow each other are one row. */
        if (at.cols == at.row) at.cols *= at.rows, at.row *= at.rows, at.rows = 1;
        if (at.cols == at.image) at.cols *= at.images, at.images = 1;
        int64_t j = outer_first(&r->tap_groups, t0), np;
        for (int64_t t = t0; t < t1; t++, j += np) {
            np = outer_size(&r->tap_groups, t);
            if (r->in_source && b->cols == s->x.source) /* the next channels lie behind these */
                at.ahead = np * s->x.source, at.ahead_step = np;
            OUTER_KERNELS[r->nv - 1][np - 1](&at, x + row * s->pitch, r->shifts + j,
                                             dy + row * b->cols * width, sums + j * width, started);
        }
        started = 1;
    }
}

/* Item: one band of the batch, one group and one part of it. */
static void weight_pack_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const weight_run *r = arg;
    int64_t parts = weight_parts(r), part = item % parts, g = item / parts % r->s.groups;
    int64_t i = item / parts / r->s.groups, width = r->nv * VL;
    shift_band b = shift_get_band(&r->s, r->first_band + i);
    packed_band packed = weight_packed(r, i, i);
    if (part < r->panels) fill(packed.db + (g * r->panels + part) * width, width, 0);
    weight_pack(r, &b, g, part, packed);
}

/* Item: a split, a group, a chunk of tap groups and a panel: adds the batch's bands. Neighbours
 * read the same x. */
static void weight_sum_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const weight_run *r = arg;
    int64_t panel = item % r->panels, chunk = item / r->panels % r->chunks;
    int64_t g = item / r->panels / r->chunks % r->s.groups;
    int64_t split = item / r->panels / r->chunks / r->s.groups;
    int64_t t0 = chunk * r->chunk, t1 = fc_min(t0 + r->chunk, r->tap_groups.count);
    real *sums = r->sums + split * r->split_sums;
    int started = r->first_band > 0; /* in the first batch each split has a band */
    int64_t i = (split + r->splits - r->first_band % r->splits) % r->splits;
    for (; i < r->n_bands; i += r->splits, started = 1) {
        shift_band b = shift_get_band(&r->s, r->first_band + i);
        weight_add(r, &b, g, panel, t0, t1, weight_packed(r, i, i), sums, started);
    }
}

/* Item: a split, of which the thread packs and adds all bands, one after the other. */
static void weight_own_task(void *arg, int64_t split, int thread) {
    const weight_run *r = arg;
    packed_band packed = weight_packed(r, thread, split);
    fill(packed.db, r->band_db, 0);
    for (int64_t band = split; band < shift_bands(&r->s); band += r->splits) {
        shift_band b = shift_get_band(&r->s, band);
        for (int64_t g = 0; g < r->s.groups; g++) {
            for (int64_t part = 0; part < weight_parts(r); part++)
                weight_pack(r, &b, g, part, packed);
            for (int64_t panel = 0; panel < r->panels; panel++)
                weight_add(r, &b, g, panel, 0, r->tap_groups.count, packed,
                           r->sums + split * r->split_sums, band > split);
        }
    }
}

/* bias_sums += n sets of bias sums. */
static void weight_add_biases(const weight_run *r, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < r->band_db; j++)
            r->bias_sums[j] += r->packed_db[i * r->band_db + j];
}

/* Item: a group, a panel and a chunk of tap groups: dw = the splits' sums, in order. */
static void weight_store_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const weight_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t chunk = item % r->chunks, panel = item / r->chunks % r->panels;
    int64_t g = item / r->chunks / r->panels;
    int64_t width = r->nv * VL, m0 = panel * width, rows = fc_min(width, s->m - m0);
    int64_t t0 = chunk * r->chunk, t1 = fc_min(t0 + r->chunk, r->tap_groups.count);
    int64_t j0 = outer_first(&r->tap_groups, t0), j1 = outer_first(&r->tap_groups, t1);
    int64_t kernel = s->y.taps * s->x.taps, dw_row = r->d->c / s->groups * kernel;
    const real *sums = r->sums + (g * r->panels + panel) * r->panel_sums;
    for (int64_t m = 0; m < rows; m += VL) {
        real *dw = r->dw + (g * s->m + m0 + m) * dw_row + r->c0 * kernel;
        int64_t have = fc_min(VL, rows - m);
        for (int64_t j = j0; j < j1; j += VL) { /* VL taps of VL channels, transposed */
            int64_t n = fc_min(VL, j1 - j);
            vr t[VL];
            UNROLL for (int l = 0; l < VL; l++) {
                t[l] = v_zero();
                for (int64_t i = 0; l < n && i < r->splits; i++)
                    t[l] = v_add(t[l], v_load(sums + i * r->split_sums + (j + l) * width + m));
            }
            v_transpose(t);
            UNROLL for (int l = 0; l < VL; l++)
                if (l < have) v_storen(dw + l * dw_row + j, t[l], n);
        }
    }
}

/* Packs all bands and adds them, batch by batch. */
static void weight_add_batches(weight_run *r, int n_threads) {
    int64_t bands = shift_bands(&r->s), groups = r->s.groups;
    int64_t sums = r->splits * groups * r->panels * r->chunks;
    for (r->first_band = 0; r->first_band < bands; r->first_band += r->batch) {
        r->n_bands = fc_min(r->batch, bands - r->first_band);
        fc_parallel_shares(r->n_bands * groups * weight_parts(r), n_threads, weight_pack_task, r);
        fc_parallel(sums, n_threads, weight_sum_task, r);
        weight_add_biases(r, r->n_bands);
    }
}

/* One block of source channels: the whole gradient but for tall planes. */
static void outer_block(weight_run *r, int n_threads) {
    const shift_problem *s = &r->s;
    int64_t bands = shift_bands(s), tasks = s->groups * r->panels * r->chunks;
    fill(r->bias_sums, r->band_db, 0);
    if (bands == 0) fill(r->sums, r->splits * r->split_sums, 0);
    if (r->own) {
        fc_parallel(r->splits, (int)fc_min(n_threads, r->splits), weight_own_task, r);
        weight_add_biases(r, r->splits);
    } else {
        weight_add_batches(r, n_threads);
    }
    fc_parallel_shares(tasks, n_threads, weight_store_task, r);
}

static void outer_execute(weight_run *r, int n_threads) {
    shift_problem *s = &r->s;
    int64_t channels = r->d->c / s->groups, width = r->nv * VL;
    for (r->c0 = 0; r->c0 < channels; r->c0 += r->block) {
        s->channels = fc_min(r->block, channels - r->c0);
        r->taps = s->channels * s->y.taps * s->x.taps;
        r->tap_groups = outer_groups_of(r->taps, r->np);
        outer_block(r, n_threads);
    }
    for (int64_t i = 0; r->db != NULL && i < s->groups * s->m; i++)
        r->db[i] = r->bias_sums[i / s->m * r->panels * width + i % s->m];
}
