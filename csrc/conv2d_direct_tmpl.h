/* conv2d_direct_tmpl.h - the shift problem's kernel and driver: direct convolution forward, and
 * backward with respect to the input; compiled per tier and real type.
 *
 * The micro-kernel computes a tile of MR output channels x NV vectors of pixels in registers: per
 * channel and tap it loads NV vectors of source pixels at that tap's shift and MR packed weights.
 * Loop nest of a task (one band, one group, some panels of MR output channels):
 *   for a block of source channels: pack their planes (conv2d_pack_tmpl.h), small enough for L1
 *     for each output phase, for each tile of pixels, for each panel: micro-kernel
 * Sums over several blocks wait in `partial`, in L2. Every output is one chain of additions, bias
 * first, then channels and taps in order, whatever the tile, band, batch or thread: same bits.
 */

#if N_REGISTERS == 32
enum { MR_MAX = 8, NV_MAX = 3 };
#else
enum { MR_MAX = 6, NV_MAX = 2 };
#endif
enum { NR = NV_MAX * VL };

/* Budgets in bytes, for caches from 32 KiB of L1 and 512 KiB of L2 up. */
enum { L1_BUDGET = 24576, PLANES_BUDGET = 98304, PARTIAL_BUDGET = 196608 };
enum { BLOCK_REALS = 1 << 22 };
enum { TASKS_WANTED = 8 };

/* init: MR rows of sums so far, init_row apart, or, with init_row 0, one bias a row. */
typedef void (*shift_kernel)(int64_t n, const real *a, const real *b, const int32_t *shift,
                             const real *init, int64_t init_row, real *out, int64_t out_row);

INLINE void shift_tile(const int mr, const int nv, int64_t n, const real *a, const real *b,
                       const int32_t *shift, const real *init, int64_t init_row, real *out,
                       int64_t out_row) {
    vr acc[MR_MAX][NV_MAX];
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nv; j++) {
            acc[i][j] = init_row ? v_load(init + i * init_row + j * VL) : v_set1(init[i]);
        }
    }
    for (int64_t k = 0; k < n; k++) {
        const real *p = b + shift[k];
        vr pixel[NV_MAX];
        UNROLL for (int j = 0; j < nv; j++) pixel[j] = v_load(p + j * VL);
        UNROLL for (int i = 0; i < mr; i++) {
            vr weight = v_set1(a[i]);
            UNROLL for (int j = 0; j < nv; j++) acc[i][j] = v_fma(weight, pixel[j], acc[i][j]);
        }
        a += mr;
    }
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int j = 0; j < nv; j++) v_store(out + i * out_row + j * VL, acc[i][j]);
    }
}

#define SHIFT_KERNEL(mr, nv)                                                                   \
    static void shift_##mr##x##nv(int64_t n, const real *a, const real *b, const int32_t *shift, \
                                  const real *init, int64_t init_row, real *out,               \
                                  int64_t out_row) {                                           \
        shift_tile(mr, nv, n, a, b, shift, init, init_row, out, out_row);                      \
    }
#if N_REGISTERS == 32
#define SHIFT_ROW(mr) SHIFT_KERNEL(mr, 1) SHIFT_KERNEL(mr, 2) SHIFT_KERNEL(mr, 3)
#define SHIFT_NAMES(mr) {shift_##mr##x1, shift_##mr##x2, shift_##mr##x3}
SHIFT_ROW(7) SHIFT_ROW(8)
#else
#define SHIFT_ROW(mr) SHIFT_KERNEL(mr, 1) SHIFT_KERNEL(mr, 2)
#define SHIFT_NAMES(mr) {shift_##mr##x1, shift_##mr##x2}
#endif
SHIFT_ROW(1) SHIFT_ROW(2) SHIFT_ROW(3) SHIFT_ROW(4) SHIFT_ROW(5) SHIFT_ROW(6)
static const shift_kernel SHIFT_KERNELS[MR_MAX][NV_MAX] = {
    SHIFT_NAMES(1), SHIFT_NAMES(2), SHIFT_NAMES(3), SHIFT_NAMES(4), SHIFT_NAMES(5), SHIFT_NAMES(6),
#if N_REGISTERS == 32
    SHIFT_NAMES(7), SHIFT_NAMES(8),
#endif
};

/* A direct convolution as it runs: the problem, its blocking, and where everything lies. */
typedef struct {
    shift_problem s;
    conv_epilogue epilogue;
    int64_t weight_m, weight_c;          /* strides of w in output and source channel */
    int64_t mr, panels;                  /* rows of a panel, panels of a group */
    int64_t task_panels, splits;         /* panels of a task, tasks that share a band */
    int64_t block, blocks;               /* source channels of a block, blocks */
    int64_t partial_row, partial_phase;  /* strides of the partial sums; 0: one block, none */
    int64_t packed_group;                /* packed weights of a group */
    int64_t thread_reals;                /* scratch of a thread */
    int whole_rows;                      /* q has no gaps: full tiles may be stored at once */
    const real *src, *w;
    const real *packed;                  /* weights: in the workspace, or prepared */
    real *packing, *dst, *bias, *scratch;
    int32_t *shifts;                     /* per output phase: [channel of block][tap] */
} direct_run;

/* Chooses the blocking; everything follows from the shapes. */
static void direct_plan(direct_run *r) {
    shift_problem *s = &r->s;
    int64_t size = sizeof(real), taps = s->y.taps * s->x.taps;
    r->panels = fc_ceil_div(s->m, MR_MAX);
    r->mr = fc_ceil_div(s->m, r->panels);

    /* What a tile touches of one channel: a run of pixels per kernel row and phase. */
    int64_t touched = s->y.taps * s->x.phases * (NR * size + 64);
    r->block = fc_max(L1_BUDGET / touched, fc_ceil_div(128, taps));
    r->blocks = fc_ceil_div(s->channels, fc_max(r->block, 1));
    r->block = fc_ceil_div(s->channels, r->blocks);

    int64_t out_phases = shift_out_phases(s), task_m = fc_min(s->m, 256), q_target;
    if (r->blocks == 1)
        q_target = PLANES_BUDGET / (r->block * s->y.phases * s->x.phases * size);
    else
        q_target = PARTIAL_BUDGET / (task_m * out_phases * size);
    q_target = fc_min(fc_max(q_target, 2 * NR), 4096);
    shift_cut_bands(s, q_target, VL);
    /* Wide kernels and dilations make tall planes: fewer channels at a time then. */
    if (r->block * s->channel_stride > BLOCK_REALS) {
        r->block = fc_max(1, BLOCK_REALS / s->channel_stride);
        r->blocks = fc_ceil_div(s->channels, r->block);
    }

    int64_t tasks = shift_bands(s) * s->groups;
    r->splits = fc_ceil_div(s->m, task_m);
    if (tasks > 0 && tasks * r->splits < TASKS_WANTED) r->splits = fc_ceil_div(TASKS_WANTED, tasks);
    r->splits = fc_min(r->splits, r->panels);
    r->task_panels = fc_ceil_div(r->panels, r->splits);
    r->splits = fc_ceil_div(r->panels, r->task_panels);

    shift_band largest = {.images = s->band_images, .rows = s->band_rows, .cols = s->band_cols};
    int64_t q = ((largest.images - 1) * s->image_rows + largest.rows - 1) * s->pitch + largest.cols;
    r->partial_row = r->blocks > 1 ? fc_round_up(q, NR) + 16 : 0;
    r->partial_phase = r->partial_row * r->task_panels * r->mr;
    r->packed_group = r->panels * r->mr * s->channels * taps; /* the last panel may be shorter */
    r->thread_reals = r->block * s->channel_stride + 2 * NR + r->partial_phase * out_phases +
                      s->x.out_phases * MR_MAX * NR;
    r->thread_reals = fc_round_up(r->thread_reals, 16);
    r->whole_rows = s->pitch == s->x.q && s->x.out_step == 1 && s->y.out_step == 1 &&
                    s->band_images == 1 && s->band_cols == s->x.out;
}

/* Bytes of the packed weights, in whole cache lines, or -1. */
static int64_t direct_packed_bytes(const direct_run *r) {
    int64_t bytes = fc_mul(fc_mul(r->s.groups, r->packed_group), sizeof(real));
    return fc_round_up(bytes, 64);
}

/* Lays the workspace out, per region rounded up to cache lines; returns its bytes, or -1 if they
 * do not fit. With base NULL only the size is meant. Prepared weights have no place in it. */
static int64_t direct_layout(direct_run *r, int prepared, char *base, int n_threads) {
    int64_t taps = r->s.y.taps * r->s.x.taps, at = 0;
    if (fc_mul(r->block, r->s.channel_stride) > INT32_MAX) return -1; /* shifts are int32 */
    int64_t tables = at;
    at = fc_round_up(fc_add(at, fc_mul(shift_table_ints(&r->s), 4)), 64);
    int64_t shifts = at;
    at = fc_round_up(fc_add(at, fc_mul(fc_mul(r->block, taps), 4)), 64);
    int64_t bias = at;
    at = fc_round_up(fc_add(at, fc_mul(r->s.groups * r->s.m, sizeof(real))), 64);
    int64_t packed = at;
    at = fc_add(at, prepared ? 0 : direct_packed_bytes(r));
    int64_t scratch = at;
    at = fc_add(at, fc_mul(fc_mul(r->thread_reals, sizeof(real)), n_threads));
    if (base != NULL) {
        shift_list_taps(&r->s, (int32_t *)(base + tables));
        r->shifts = (int32_t *)(base + shifts);
        r->bias = (real *)(base + bias);
        r->packing = (real *)(base + packed);
        r->scratch = (real *)(base + scratch);
    }
    return at;
}

/* The shifts of a block of channels, and the biases, zero where there are none. */
static void direct_tables(direct_run *r, const real *bias) {
    const shift_problem *s = &r->s;
    for (int64_t p = 0; p < shift_out_phases(s); p++) {
        int32_t *shift = r->shifts + r->block * s->first[p];
        for (int64_t c = 0; c < r->block; c++) {
            for (int64_t t = s->first[p]; t < s->first[p + 1]; t++)
                *shift++ = (int32_t)(c * s->channel_stride) + s->tap_shift[t];
        }
    }
    for (int64_t i = 0; i < s->groups * s->m; i++) r->bias[i] = bias != NULL ? bias[i] : 0;
}

/* Packs one panel of weights: per output phase [channel][tap][row]. */
static void pack_weights_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const direct_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t g = item / r->panels, panel = item % r->panels, m0 = panel * r->mr;
    int64_t rows = fc_min(r->mr, s->m - m0), taps = s->y.taps * s->x.taps;
    const real *w = r->w + g * s->m * s->channels * taps + m0 * r->weight_m;
    real *group = r->packing + g * r->packed_group;
    for (int64_t p = 0; p < shift_out_phases(s); p++) {
        int64_t first = s->first[p], n = s->first[p + 1] - first;
        real *to = group + (r->panels * first + panel * n) * s->channels * r->mr;
        for (int64_t c = 0; c < s->channels; c++) {
            for (int64_t t = 0; t < n; t++, to += rows) {
                const real *from = w + c * r->weight_c + s->tap_kernel[first + t];
                for (int64_t i = 0; i < rows; i++) to[i] = from[i * r->weight_m];
            }
        }
    }
}

/* to[0], to[2], ... and to[1], to[3], ... from two rows, `n` elements in all. */
INLINE void store_interleaved(real *to, const real *even, const real *odd, int64_t n) {
    int64_t j = 0;
    for (; 2 * (j + VL) <= n; j += VL) {
        vr a = v_load(even + j), b = v_load(odd + j);
        v_store(to + 2 * j, v_zip_lo(a, b));
        v_store(to + 2 * j + VL, v_zip_hi(a, b));
    }
    if (2 * j < n) { /* a full load could reach beyond the scratch */
        int64_t left = n - 2 * j;
        vr a = v_loadn(even + j, (left + 1) / 2), b = v_loadn(odd + j, left / 2);
        v_storen(to + 2 * j, v_zip_lo(a, b), left);
        v_storen(to + 2 * j + VL, v_zip_hi(a, b), fc_max(0, left - VL));
    }
}

/* Stores rows x nq sums that start at pixel q of the band, for all column phases of row phase py:
 * leaves the gaps out, and puts the phases' pixels side by side. */
static void store_tile(const shift_problem *s, const conv_epilogue *epilogue, const shift_band *b,
                       int64_t py, int64_t q, int64_t nq, const real *tile, int64_t rows,
                       real *dst, int64_t image_stride) {
    int64_t dst_plane = s->y.out * s->x.out, step = s->x.out_step;
    int64_t row = q / s->pitch, col = q % s->pitch;
    for (; nq > 0; row++, col = 0) {
        int64_t run = fc_min(nq, s->pitch - col), valid = fc_min(run, b->cols - col);
        int64_t image = b->images > 1 ? row / s->image_rows : 0;
        int64_t in_image = row - image * s->image_rows * (b->images > 1);
        int64_t y = (b->y0 + in_image) * s->y.out_step + py, x = (b->x0 + col) * step;
        if (valid > 0 && in_image < b->rows && y < s->y.out) {
            real *to = dst + image * image_stride + y * s->x.out + x;
            const real *from = tile;
            for (int64_t i = 0; i < rows; i++, to += dst_plane, from += NR) {
                if (epilogue->used) {
                    epilogue_store(epilogue, to, from, valid);
                } else if (step == 1) {
                    copy_strided(to, from, valid, 1);
                } else if (step == 2 && s->x.out_phases == 2) {
                    store_interleaved(to, from, from + MR_MAX * NR, fc_min(2 * valid, s->x.out - x));
                } else {
                    for (int64_t px = 0; px < s->x.out_phases; px++)
                        for (int64_t j = 0; j < valid && x + j * step + px < s->x.out; j++)
                            to[j * step + px] = from[px * MR_MAX * NR + j];
                }
            }
        }
        tile += run;
        nq -= run;
    }
}

/* Starts loading the residual of a tile, which will be used once its sums are done. */
INLINE void direct_prefetch(const direct_run *r, const shift_band *b, int64_t q, int64_t nq,
                            int64_t rows, const real *dst, int64_t image_stride) {
    const shift_problem *s = &r->s;
    int64_t row = q / s->pitch, image = b->images > 1 ? row / s->image_rows : 0;
    dst += image * image_stride + (b->y0 + row - image * s->image_rows) * s->x.out;
    dst += b->x0 + fc_min(q % s->pitch, b->cols - 1);
    for (int64_t i = 0; i < rows; i++)
        epilogue_prefetch(&r->epilogue, dst + i * s->y.out * s->x.out, nq);
}

/* One tile of one panel, for one block of source channels and all output phases. */
INLINE void direct_tile(const direct_run *r, const shift_band *b, int64_t g, int64_t panel,
                        int64_t panel0, int64_t block, int64_t q, const real *planes,
                        real *partial, real *tile) {
    const shift_problem *s = &r->s;
    int64_t c0 = block * r->block, nc = fc_min(r->block, s->channels - c0);
    int64_t nq = fc_min(NR, b->q - q), nv = fc_ceil_div(nq, VL);
    int64_t m0 = panel * r->mr, rows = fc_min(r->mr, s->m - m0), dst_plane = s->y.out * s->x.out;
    int64_t image_stride = s->groups * s->m * dst_plane;
    int first = block == 0, last = block == r->blocks - 1;
    int full = r->whole_rows && nq == NR, at_once = last && full && !r->epilogue.used;
    real *dst = r->dst + b->n0 * image_stride + (g * s->m + m0) * dst_plane;
    if (last && r->epilogue.residual != NULL)
        direct_prefetch(r, b, q, nq, rows, dst, image_stride);
    for (int64_t py = 0; py < s->y.out_phases; py++) {
        for (int64_t px = 0; px < s->x.out_phases; px++) {
            int64_t phase = py * s->x.out_phases + px, from = s->first[phase];
            int64_t taps = s->first[phase + 1] - from;
            const real *a = r->packed + g * r->packed_group +
                            (r->panels * from + panel * taps) * s->channels * r->mr +
                            c0 * taps * rows;
            real *sums = partial + phase * r->partial_phase +
                         (m0 - panel0 * r->mr) * r->partial_row + q;
            const real *init = first ? r->bias + g * s->m + m0 : sums;
            real *out = at_once ? dst + b->y0 * s->x.out + q
                        : last  ? tile + px * MR_MAX * NR
                                : sums;
            int64_t out_row = at_once ? dst_plane : last ? NR : r->partial_row;
            SHIFT_KERNELS[rows - 1][nv - 1](nc * taps, a, planes + q, r->shifts + r->block * from,
                                            init, first ? 0 : r->partial_row, out, out_row);
        }
        if (!last || at_once) continue;
        real *to = dst + b->y0 * s->x.out + q;
        if (full)
            for (int64_t i = 0; i < rows; i++)
                epilogue_store(&r->epilogue, to + i * dst_plane, tile + i * NR, NR);
        else
            store_tile(s, &r->epilogue, b, py, q, nq, tile, rows, dst, image_stride);
    }
}

static void direct_task(void *arg, int64_t item, int thread) {
    const direct_run *r = arg;
    const shift_problem *s = &r->s;
    int64_t split = item % r->splits, g = item / r->splits % s->groups;
    shift_band b = shift_get_band(s, item / r->splits / s->groups);
    int64_t panel0 = split * r->task_panels, panel1 = fc_min(panel0 + r->task_panels, r->panels);
    int64_t src_plane = s->y.source * s->x.source;
    int64_t image_stride = s->groups * s->channels * src_plane;
    real *planes = r->scratch + thread * r->thread_reals;
    real *partial = planes + r->block * s->channel_stride + 2 * NR;
    real *tile = partial + r->partial_phase * shift_out_phases(s);
    for (int64_t block = 0; block < r->blocks; block++) {
        int64_t c0 = block * r->block, nc = fc_min(r->block, s->channels - c0);
        const real *src = r->src + b.n0 * image_stride + (g * s->channels + c0) * src_plane;
        for (int64_t c = 0; c < nc; c++) {
            if (c + 1 < nc) prefetch_channel(s, &b, src + (c + 1) * src_plane);
            pack_channel(s, &b, src + c * src_plane, image_stride, planes + c * s->channel_stride);
        }
        for (int64_t q = 0; q < b.q; q += NR) {
            for (int64_t panel = panel0; panel < panel1; panel++)
                direct_tile(r, &b, g, panel, panel0, block, q, planes, partial, tile);
        }
    }
}

/* Prepared weights are the packed ones, and behind them the list of taps that packing goes by. */
static int64_t direct_prepared_bytes(const direct_run *r) {
    return fc_add(direct_packed_bytes(r), fc_mul(shift_table_ints(&r->s), 4));
}

static void direct_prepare(direct_run *r, const real *w, char *prepared, int n_threads) {
    r->w = w;
    r->packing = (real *)prepared;
    shift_list_taps(&r->s, (int32_t *)(prepared + direct_packed_bytes(r)));
    fc_parallel(r->s.groups * r->panels, n_threads, pack_weights_task, r);
}

static void direct_execute(direct_run *r, const real *src, const real *w, const real *prepared,
                           const real *bias, real *dst, char *workspace, int n_threads) {
    r->src = src;
    r->w = w;
    r->dst = dst;
    direct_plan(r);
    direct_layout(r, prepared != NULL, workspace, n_threads);
    direct_tables(r, bias);
    r->packed = prepared != NULL ? prepared : r->packing;
    if (prepared == NULL)
        fc_parallel(r->s.groups * r->panels, n_threads, pack_weights_task, r);
    fc_parallel(shift_bands(&r->s) * r->s.groups * r->splits, n_threads, direct_task, r);
}

static void direct_forward_run(direct_run *r, const fc_conv2d_desc *d) {
    shift_forward(d, &r->s);
    r->weight_m = d->c / d->groups * d->kh * d->kw;
    r->weight_c = d->kh * d->kw;
}

static void direct_backward_run(direct_run *r, const fc_conv2d_desc *d) {
    shift_backward_input(d, &r->s);
    r->epilogue = (conv_epilogue){0};
    r->weight_m = d->kh * d->kw;
    r->weight_c = d->c / d->groups * d->kh * d->kw;
}
