/* conv2d_direct_plan_tmpl.h - the blocking of a direct convolution (conv2d_direct_tmpl.h), from the
 * shapes alone, and its workspace; compiled per tier and real type.
 */

#if N_REGISTERS == 32
enum { MR_MAX = 8, NV_MAX = 3 };
#else
enum { MR_MAX = 6, NV_MAX = 2 };
#endif
enum { NR = NV_MAX * VL };

/* Budgets in bytes, for caches from 32 KiB of L1 and 512 KiB of L2 up. */
enum { L1_BUDGET = 24576, PLANES_BUDGET = 98304 };
enum { PARTIAL_BUDGET = 425984 };                /* 416 floats of 256 channels: 8 maps of 7x7 */
/* The lines of a tile; tiles of a band straight from the source, at least. With AVX-512 24
 * multiply-adds come with three loads: L2, mostly of 1 MiB, is fast enough for them. */
#if defined(FC_TIER_AVX512)
enum { TILE_BUDGET = 131072, BAND_TILES = 18 };
#else
enum { TILE_BUDGET = 24576, BAND_TILES = 2 };
#endif
enum { LINES_BUDGET = 196608 };                  /* the lines of a band, at least */
enum { LINES_AND_WEIGHTS = 2 * LINES_BUDGET };   /* and together with a task's weights */
enum { SHARED_BUDGET = 8 << 20 };                /* what tasks that share their bands pack before */
enum { LINES_FROM = 24 }; /* output channels, from which on copying a tile's lines pays */
enum { BLOCK_REALS = 1 << 22 };
enum { TASKS_WANTED = 8 };
enum { TASK_M = 256, SMALL_TASK_M = 96 }; /* output channels of a task or of its passes, at most */
enum { LEAST_TILES = 24 };                /* IN_LINES: of a band that could hold more */

/* How a tile of pixels gets to the kernel.
 * IN_PLANES: the kernel reads the planes, gaps between rows included, by the taps' shifts.
 * IN_LINES: a tile's pixels, without gaps, are first copied from the planes to lines of NR, one a
 *   channel and tap: contiguous and aligned. It pays where many panels read them.
 * IN_SOURCE: kernels no larger than the stride, without padding: each pixel is read at one place of
 *   the kernel, so there are no planes, the lines come from the source. Forward, wide
 *   kernels of strides from 3 up stay with planes, whose columns are picked by transposes.
 */
typedef enum { IN_PLANES, IN_LINES, IN_SOURCE } direct_tiles;

/* A direct convolution as it runs: the problem, its blocking, and where everything lies. */
typedef struct {
    shift_problem s;
    conv_epilogue epilogue;
    int64_t weight_m, weight_c;          /* strides of w in output and source channel */
    direct_tiles tiles;
    int64_t panels, rows, taller;        /* panels of a group; rows of one, and how many have
                                          * one more: the first */
    int64_t task_panels, splits;         /* panels of a task, at most; tasks that share a band */
    int64_t pass_panels;                 /* those that go through a band's tiles together: all
                                          * of a task, where blocks leave partial sums */
    int64_t tile_calls;                  /* of the kernel, for a panel of a tile and one block */
    int64_t block, blocks;               /* source channels of a block, blocks */
    int64_t block_reals;                 /* a band's planes, or its lines, for a block */
    int64_t line_reals;                  /* IN_LINES: lines of a tile */
    int64_t partial_row, partial_phase;  /* strides of the partial sums; 0: one block, none */
    int64_t packed_group;                /* packed weights of a group */
    int64_t thread_reals;                /* scratch of a thread */
    int whole_rows;                      /* q has no gaps: full tiles may be stored at once */
    int n_threads;                       /* a guess at which band is whose */
    int shared;                          /* the tasks of a band share its planes, packed before */
    int task_packs;                      /* 1x1 on one band: no two tasks read the same weights, each
                                          * packs its own, block by block, which then are in a cache
                                          * (with more taps there is nothing gained) */
    const real *src, *w;
    real *packed;                        /* weights of all tasks: in the workspace, or prepared */
    real *dst, *bias, *planes, *scratch;
    int32_t *shifts;                     /* per output phase: [channel of block][tap] */
} direct_run;

/* The first output channel of a panel, in its group. Panels are of even heights, because a tile of
 * one or two rows takes as long as one of four. */
INLINE int64_t panel_row(const direct_run *r, int64_t panel) {
    return panel * r->rows + fc_min(panel, r->taller);
}

/* Source channels of a block. */
INLINE int64_t direct_channels(const direct_run *r, int64_t block) {
    return fc_min(r->block, r->s.channels - block * r->block);
}

/* Weights of a group as they lie packed: [output phase][panel][channel][tap][row]. */
typedef struct {
    real *at;
    int64_t m0, rows;     /* output channels, of whole panels */
    int64_t c0, channels; /* source channels */
} packed_weights;

/* Those of all tasks, packed before. */
INLINE packed_weights packed_before(const direct_run *r, int64_t g) {
    return (packed_weights){r->packed + g * r->packed_group, 0, r->s.m, 0, r->s.channels};
}

/* Source channel c of the panel of `rows` output channels from m0 on, in a phase of n taps that
 * comes after `first` others. */
INLINE real *packed_panel(const packed_weights *p, int64_t first, int64_t n, int64_t m0,
                          int64_t rows, int64_t c) {
    return p->at + (p->rows * first + (m0 - p->m0) * n) * p->channels + (c - p->c0) * n * rows;
}

/* How the pixels of a band are told apart: with the gaps of the planes, or without. */
typedef struct {
    int64_t pitch, image_rows; /* pixels from row to row, rows from image to image */
    int64_t rows, cols;        /* those that are stored */
} direct_rows;

INLINE direct_rows direct_rows_of(const direct_run *r, const shift_band *b) {
    const shift_problem *s = &r->s;
    if (r->tiles == IN_PLANES) return (direct_rows){s->pitch, s->image_rows, b->rows, b->cols};
    if (!r->whole_rows) return (direct_rows){b->cols, b->rows, b->rows, b->cols};
    return (direct_rows){b->rows * b->cols, 1, 1, b->rows * b->cols}; /* rows follow each other */
}

static shift_band direct_band(const direct_run *r, int64_t i) {
    shift_band b = shift_get_band(&r->s, i);
    if (r->tiles != IN_PLANES) b.q = b.images * b.rows * b.cols;
    return b;
}

/* The most taps that an output phase of this axis has. */
static int64_t most_phase_taps(const shift_axis *a) {
    int64_t most = 1;
    for (int64_t p = 0; p < a->out_phases; p++) {
        int64_t taps = 0;
        for (int64_t i = 0; i < a->taps; i++) taps += shift_out_phase(a, i) == p;
        most = fc_max(most, taps);
    }
    return most;
}

/* The output phases of this axis that some tap reaches. */
static int64_t live_phases(const shift_axis *a) {
    int64_t live = 0;
    for (int64_t p = 0; p < a->out_phases; p++) {
        int64_t i = 0;
        while (i < a->taps && shift_out_phase(a, i) != p) i++;
        live += i < a->taps;
    }
    return live;
}

/* IN_SOURCE asks for one shift per phase, and no pixel outside. */
static int axis_in_source(const shift_axis *a) {
    int64_t last = (a->q - 1) * a->step + (a->phases - 1) * a->dilation;
    return a->max_shift == 0 && a->origin == 0 && last < a->source;
}

static direct_tiles direct_choose_tiles(const shift_problem *s) {
    if (axis_in_source(&s->y) && axis_in_source(&s->x) && (s->x.step <= 2 || s->x.taps == 1))
        return IN_SOURCE;
    return s->m >= LINES_FROM ? IN_LINES : IN_PLANES;
}

/* IN_SOURCE: lines of a channel: forward one for each place of the kernel; backward all output
 * phases read the same. */
INLINE int64_t source_taps(const shift_problem *s) { return s->y.phases * s->x.phases; }

/* IN_SOURCE: reals from tile to tile, for so many lines; one line more, as multiples of 4 KiB apart
 * the tiles would share the sets of the first-level cache. */
INLINE int64_t source_tile(int64_t lines) { return (lines + 1) * NR; }

/* A 1x1 kernel of stride 1 has no use for rows: they are joined to one, which tiles and
 * bands may cut anywhere. */
static void direct_join_rows(shift_problem *s) {
    int64_t steps = s->y.step * s->x.step * s->y.out_step * s->x.out_step;
    if (steps != 1 || s->y.q != s->y.source || s->x.q != s->x.source) return;
    s->x.source = s->x.out = s->x.q = s->y.q * s->x.q;
    s->y.source = s->y.out = s->y.q = 1;
}

/* Large strides make so many planes that packing them twice, or fetching them from another core,
 * costs more than the sums: then bands are small enough for a cache, and, of few images, enough to
 * be the tasks. */
static int many_phases(const shift_problem *s) { return s->y.phases * s->x.phases > 9; }

static int64_t rows_for_tasks(const shift_problem *s) {
    int64_t bands = fc_ceil_div(TASKS_WANTED, fc_max(1, s->n * s->groups));
    return fc_min(s->y.q, fc_max(fc_ceil_div(s->y.q, bands), 4 * fc_max(1, s->y.max_shift)));
}

/* Pixels of a band, gaps included, that leave tasks enough, but no fewer than `least`. */
static int64_t pixels_for_tasks(const shift_problem *s, int64_t least) {
    int64_t images = s->n * s->groups / TASKS_WANTED;
    int64_t rows = images > 0 ? images * shift_line(s, &s->y) : rows_for_tasks(s);
    return fc_max(rows * shift_line(s, &s->x), least);
}

/* IN_SOURCE, whose bands share no rows: bands whose pixels fill their tiles best. Of the
 * numbers of bands of an image from the present one to half as many more, the one that
 * makes the fewest tiles. */
static void direct_fit_bands(shift_problem *s) {
    int64_t cols = s->band_cols, best = s->band_rows, fewest = INT64_MAX;
    if (s->band_images > 1 || s->col_bands > 1) return;
    for (int64_t bands = s->row_bands; bands <= fc_min(s->row_bands * 3 / 2, s->y.q); bands++) {
        int64_t rows = fc_ceil_div(s->y.q, bands), whole = s->y.q / rows;
        int64_t tiles = whole * fc_ceil_div(rows * cols, NR);
        tiles += fc_ceil_div((s->y.q - whole * rows) * cols, NR);
        if (tiles < fewest) fewest = tiles, best = rows;
    }
    if (best < s->band_rows) shift_cut_bands(s, best * s->pitch, 1);
}

/* Chooses the blocking; everything follows from the shapes, and from whether weights come prepared.
 */
static void direct_plan(direct_run *r, int prepared) {
    shift_problem *s = &r->s;
    int64_t size = sizeof(real), taps = s->y.taps * s->x.taps;
    int64_t most_y = most_phase_taps(&s->y);
    r->tiles = direct_choose_tiles(s);
    if (r->tiles == IN_SOURCE) direct_join_rows(s);
    r->panels = fc_ceil_div(s->m, MR_MAX);
    r->rows = s->m / r->panels;
    r->taller = s->m % r->panels;

    if (r->tiles == IN_PLANES) { /* a tile touches a run of pixels per channel, row and phase */
        int64_t touched = s->y.taps * s->x.phases * (NR * size + 64);
        r->block = fc_max(L1_BUDGET / touched, fc_ceil_div(128, taps));
    } else { /* the lines of a phase */
        r->block = fc_max(1, TILE_BUDGET / (NR * size * most_y * most_phase_taps(&s->x)));
    }
    r->blocks = fc_ceil_div(s->channels, fc_max(r->block, 1));
    r->block = fc_ceil_div(s->channels, r->blocks);

    int64_t task_m = fc_min(s->m, TASK_M), q_target;
    if (r->tiles == IN_SOURCE) {
        int64_t lines = LINES_AND_WEIGHTS - task_m * r->block * taps * size;
        q_target = fc_max(lines, LINES_BUDGET) / (r->block * source_taps(s) * size);
        q_target = fc_max(q_target, BAND_TILES * NR);
    } else {
        q_target = PLANES_BUDGET / (r->block * s->y.phases * s->x.phases * size);
    }
    if (r->blocks > 1) {
        int64_t phases = fc_max(1, live_phases(&s->y) * live_phases(&s->x));
        int64_t sums = PARTIAL_BUDGET / (task_m * phases * size);
        q_target = many_phases(s) ? fc_min(sums, q_target) : sums;
    }
    q_target = fc_min(fc_max(q_target, 2 * NR), 4096);
    /* Tasks that share a band would each copy all its lines. */
    if (r->tiles == IN_LINES) q_target = fc_min(q_target, pixels_for_tasks(s, LEAST_TILES * NR));
    if (many_phases(s) && s->n * s->groups < TASKS_WANTED)
        q_target = fc_min(q_target, pixels_for_tasks(s, 2 * NR));
    if (s->y.q == 1 && s->x.q > q_target) /* bands of a long row: even ones of whole tiles */
        q_target = fc_round_up(fc_ceil_div(s->x.q, fc_ceil_div(s->x.q, q_target)), NR);
    shift_cut_bands(s, q_target, r->tiles == IN_PLANES ? VL : 2 * q_target);
    if (r->tiles == IN_SOURCE) direct_fit_bands(s);
    /* Wide kernels and dilations make tall planes: fewer channels at a time then. */
    if (r->block * s->channel_stride > BLOCK_REALS) {
        r->block = fc_max(1, BLOCK_REALS / s->channel_stride);
        r->blocks = fc_ceil_div(s->channels, r->block);
    }

    shift_band largest = {.images = s->band_images, .rows = s->band_rows, .cols = s->band_cols};
    int64_t q = ((largest.images - 1) * s->image_rows + largest.rows - 1) * s->pitch + largest.cols;
    if (r->tiles != IN_PLANES) q = largest.images * largest.rows * largest.cols;
    r->block_reals = (r->tiles == IN_SOURCE
                          ? fc_ceil_div(q, NR) * source_tile(r->block * source_taps(s))
                          : r->block * s->channel_stride) + 2 * NR;
    r->block_reals = fc_round_up(r->block_reals, 16);
    int64_t tasks = shift_bands(s) * s->groups;
    double all = (double)tasks * (double)r->blocks * (double)r->block_reals * (double)size;
    int shareable = all <= SHARED_BUDGET;

    /* Where nothing is packed twice, small tasks leave the cache to the partial sums. */
    if (shareable && r->tiles == IN_SOURCE && r->blocks > 1) task_m = fc_min(task_m, SMALL_TASK_M);
    int64_t passes = fc_ceil_div(s->m, task_m);
    /* One task for all passes packs its band once; but few tasks are shared unevenly. */
    r->splits = r->blocks == 1 && tasks >= TASKS_WANTED ? 1 : passes;
    if (tasks > 0 && tasks * r->splits < TASKS_WANTED) r->splits = fc_ceil_div(TASKS_WANTED, tasks);
    r->splits = fc_min(r->splits, r->panels);
    r->task_panels = fc_ceil_div(r->panels, r->splits);
    /* no more tasks than that makes, where each packs the band again */
    if (!shareable) r->splits = fc_ceil_div(r->panels, r->task_panels);
    r->shared = shareable && r->splits > 1;
    r->pass_panels = r->task_panels;
    if (r->blocks == 1) r->pass_panels = fc_min(fc_ceil_div(r->panels, passes), r->task_panels);
    r->tile_calls = live_phases(&s->y) * live_phases(&s->x);
    r->line_reals = r->tiles == IN_LINES ? r->block * most_y * s->x.taps * NR + NR : 0;
    r->partial_row = r->blocks > 1 ? fc_round_up(q, NR) + 16 : 0;
    r->partial_phase = r->partial_row * panel_row(r, r->task_panels);
    r->packed_group = s->m * s->channels * taps;
    r->task_packs = !prepared && shift_bands(s) == 1 && taps == 1;
    int64_t packed = r->task_packs ? panel_row(r, r->task_panels) * r->block * taps : 0;
    r->thread_reals = (r->shared ? 0 : r->block_reals) + r->line_reals + packed +
                      r->partial_phase * shift_out_phases(s) + s->x.out_phases * MR_MAX * NR;
    r->thread_reals = fc_round_up(r->thread_reals, 16);
    r->whole_rows = s->x.out_step == 1 && s->y.out_step == 1 &&
                    (s->band_cols == s->x.out || s->y.out == 1) &&
                    (r->tiles != IN_PLANES || (s->pitch == s->x.q && s->band_images == 1));
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
    at = fc_add(at, prepared || r->task_packs ? 0 : direct_packed_bytes(r));
    int64_t planes = at;
    int64_t units = r->shared ? fc_mul(fc_mul(shift_bands(&r->s), r->s.groups), r->blocks) : 0;
    at = fc_round_up(fc_add(at, fc_mul(fc_mul(units, r->block_reals), sizeof(real))), 64);
    int64_t scratch = at;
    at = fc_add(at, fc_mul(fc_mul(r->thread_reals, sizeof(real)), n_threads));
    if (base != NULL) {
        shift_list_taps(&r->s, (int32_t *)(base + tables));
        r->shifts = (int32_t *)(base + shifts);
        r->bias = (real *)(base + bias);
        r->packed = (real *)(base + packed);
        r->planes = (real *)(base + planes);
        r->scratch = (real *)(base + scratch);
    }
    return at;
}
