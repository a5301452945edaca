/* conv2d_dilated_tmpl.h - dilated convolution by Winograd; compiled per tier and real type.
 *
 * With dilation D, an output pixel sees every D-th row and column of the source. So the D x D
 * phases of the output (every D-th row and column of it, from one of D x D starts) are ordinary
 * convolutions of as many phases of the padded source, which nothing else sees: a dilated
 * convolution of an image is an ordinary one of D x D small images. They are copied out, with their
 * padding, go through winograd_tmpl.h, and their results are put back; the copies cost little
 * beside the products.
 *
 * Some images go through at a time, to bound the copies. The filters are transformed once.
 */

enum { DILATED_BYTES = 8 << 20 }; /* of copies of the source at a time, about */

/* Images of a pass: their planes as they lie in x or y, [image][channel][h][w], and cut
 * into phases, [image][phase][channel][ph][pw]. Row v of phase a is row a + v * dh -
 * top of the plane. */
typedef struct {
    int64_t images, channels, h, w, top, left, dh, dw, ph, pw;
    const real *from;
    real *to, *rows; /* rows: one of the plane for each thread */
    conv_epilogue epilogue;
} dilated_planes;

typedef struct {
    fc_conv2d_desc d, sub; /* sub: of the phases of `images` images */
    wino_pass pass;
    int64_t images;        /* at a time */
    real *x_phases, *y_phases, *rows, *filters, *part;
    char *inner;           /* Winograd's workspace */
} dilated_run;

typedef struct {
    int64_t from, to;
} dilated_range;

/* Elements of a line of a phase, of n, that exist; a line of the plane has `size`. */
INLINE dilated_range dilated_part(int64_t phase, int64_t d, int64_t before, int64_t size,
                                  int64_t n) {
    int64_t lo = fc_ceil_div(fc_max(before - phase, 0), d);
    int64_t hi = fc_ceil_div(fc_max(size + before - phase, 0), d);
    return (dilated_range){fc_min(lo, n), fc_min(hi, n)};
}

/* Item: a plane, to its phases, zero where they are padding. */
static void dilated_split_task(void *arg, int64_t item, int thread) {
    (void)thread;
    const dilated_planes *p = arg;
    int64_t image = item / p->channels, c = item % p->channels, phases = p->dh * p->dw;
    const real *plane = p->from + item * p->h * p->w;
    for (int64_t i = 0; i < phases; i++) {
        int64_t a = i / p->dw, b = i % p->dw;
        dilated_range rows = dilated_part(a, p->dh, p->top, p->h, p->ph);
        dilated_range cols = dilated_part(b, p->dw, p->left, p->w, p->pw);
        real *to = p->to + ((image * phases + i) * p->channels + c) * p->ph * p->pw;
        for (int64_t v = 0; v < p->ph; v++, to += p->pw) {
            if (v < rows.from || v >= rows.to) {
                fill(to, p->pw, 0);
                continue;
            }
            const real *row = plane + (a + v * p->dh - p->top) * p->w + b - p->left;
            fill(to, cols.from, 0);
            copy_strided(to + cols.from, row + cols.from * p->dw, cols.to - cols.from, p->dw);
            fill(to + cols.to, p->pw - cols.to, 0);
        }
    }
}

/* Item: a plane, from its phases, each of whose pixels is in one of them. */
static void dilated_join_task(void *arg, int64_t item, int thread) {
    const dilated_planes *p = arg;
    int64_t image = item / p->channels, c = item % p->channels, phases = p->dh * p->dw;
    real *plane = p->to + item * p->h * p->w, *row = p->rows + thread * p->w;
    for (int64_t y = 0; y < p->h; y++, plane += p->w) {
        int64_t a = (y + p->top) % p->dh, v = (y + p->top) / p->dh;
        for (int64_t b = 0; b < p->dw; b++) {
            dilated_range cols = dilated_part(b, p->dw, p->left, p->w, p->pw);
            int64_t at = ((image * phases + a * p->dw + b) * p->channels + c) * p->ph + v;
            const real *from = p->from + at * p->pw;
            real *to = row + b - p->left;
            for (int64_t u = cols.from; u < cols.to; u++) to[u * p->dw] = from[u];
        }
        epilogue_store(&p->epilogue, plane, row, p->w);
    }
}

/* The source of a forward pass and of the weights' gradient, or dx. */
INLINE dilated_planes dilated_x(const dilated_run *r, int64_t images) {
    const fc_conv2d_desc *d = &r->d;
    return (dilated_planes){.images = images, .channels = d->c, .h = d->h, .w = d->w,
                            .top = d->pad_top, .left = d->pad_left, .dh = d->dilation_h,
                            .dw = d->dilation_w, .ph = r->sub.h, .pw = r->sub.w, .rows = r->rows};
}
/* The outputs, or dy. */
INLINE dilated_planes dilated_y(const dilated_run *r, int64_t images) {
    const fc_conv2d_desc *d = &r->d;
    return (dilated_planes){.images = images, .channels = d->k, .h = d->oh, .w = d->ow,
                            .dh = d->dilation_h, .dw = d->dilation_w, .ph = r->sub.oh,
                            .pw = r->sub.ow, .rows = r->rows};
}

static void dilated_split(dilated_planes p, const real *from, real *to, int n_threads) {
    p.from = from, p.to = to;
    fc_parallel_shares(p.images * p.channels, n_threads, dilated_split_task, &p);
}
static void dilated_join(dilated_planes p, const real *from, real *to, int n_threads) {
    p.from = from, p.to = to;
    fc_parallel_shares(p.images * p.channels, n_threads, dilated_join_task, &p);
}

/* 1 if the shape is dilated, its phases are Winograd's, and (unless it is asked for) their tiles
 * save enough: small phases waste most of a tile. By shape alone. */
static int dilated_plan(dilated_run *r, const fc_conv2d_desc *d, wino_pass pass) {
    int64_t phases = d->dilation_h * d->dilation_w;
    if (phases == 1 || d->stride_h != 1 || d->stride_w != 1 || d->n == 0) return 0;
    if (d->pad_mode != FC_PAD_ZEROS) return 0; /* the phases are copied out with zeros around */
    *r = (dilated_run){.d = *d, .sub = *d, .pass = pass};
    fc_conv2d_desc *s = &r->sub;
    s->dilation_h = s->dilation_w = 1;
    s->pad_top = s->pad_bottom = s->pad_left = s->pad_right = 0;
    s->oh = fc_ceil_div(d->oh, d->dilation_h), s->ow = fc_ceil_div(d->ow, d->dilation_w);
    s->h = s->oh + d->kh - 1, s->w = s->ow + d->kw - 1;
    s->n = phases;
    const winograd_variant *v = wino_choose(s, pass);
    if (v == NULL) return 0;
    int64_t h = pass == WINO_BACKWARD_INPUT ? s->h : s->oh;
    int64_t w = pass == WINO_BACKWARD_INPUT ? s->w : s->ow;
    int64_t tiles = fc_ceil_div(h, v->y.m) * fc_ceil_div(w, v->x.m) * phases;
    int64_t products = v->y.t * v->x.t * tiles;
    if (d->algorithm == FC_CONV_AUTO && 3 * products > 2 * d->kh * d->kw * d->oh * d->ow) return 0;
    int64_t bytes = phases * d->c * s->h * s->w * (int64_t)sizeof(real);
    r->images = fc_max(1, fc_min(d->n, DILATED_BYTES / bytes));
    return 1;
}

/* Winograd on the phases of so many images: its run, and the bytes of its workspace. */
INLINE int64_t dilated_inner(dilated_run *r, int64_t images, wino_run *wino,
                             wino_weight_run *weight, int n_threads) {
    r->sub.n = images * r->d.dilation_h * r->d.dilation_w;
    if (r->pass == WINO_BACKWARD_WEIGHT) {
        wino_weight_run_of(weight, &r->sub);
        return wino_weight_layout(weight, NULL, n_threads);
    }
    wino_forward_run(wino, &r->sub, r->pass == WINO_BACKWARD_INPUT, 1);
    return wino_layout(wino, 1, NULL, n_threads);
}

/* Lays the workspace out; returns its bytes, or -1 if they do not fit. */
static int64_t dilated_layout(dilated_run *r, int prepared, char *base, int n_threads) {
    const fc_conv2d_desc *d = &r->d, *s = &r->sub;
    wino_run wino;
    wino_weight_run weight;
    int64_t size = sizeof(real), phases = d->dilation_h * d->dilation_w;
    int64_t rest = d->n % r->images, inner = dilated_inner(r, r->images, &wino, &weight, n_threads);
    int64_t filters = 0, part = 0;
    if (r->pass == WINO_BACKWARD_WEIGHT)
        part = fc_add(fc_mul(d->k * (d->c / d->groups), d->kh * d->kw), d->k);
    else if (!prepared)
        filters = wino_prepared_bytes(&wino);
    if (rest > 0) /* fewer images may be cut otherwise */
        inner = fc_max(inner, dilated_inner(r, rest, &wino, &weight, n_threads));
    int64_t sizes[] = {
        fc_mul(fc_mul(r->images * phases, d->c * s->h * s->w), size),
        fc_mul(fc_mul(r->images * phases, d->k * s->oh * s->ow), size),
        fc_mul(fc_mul(fc_max(d->w, d->ow), n_threads), size), filters, fc_mul(part, size), inner};
    char *at[6];
    int64_t total = 0;
    for (int i = 0; i < 6; i++) {
        if (base != NULL) at[i] = base + total;
        total = fc_round_up(fc_add(total, sizes[i]), 64);
        if (total < 0) return -1;
    }
    if (base != NULL) {
        r->x_phases = (real *)at[0], r->y_phases = (real *)at[1], r->rows = (real *)at[2];
        r->filters = (real *)at[3], r->part = (real *)at[4], r->inner = at[5];
    }
    return total;
}

/* Forward, or backward with respect to the input. */
static void dilated_execute(dilated_run *r, const real *src, const real *w, const real *prepared,
                            const real *bias, conv_epilogue epilogue, real *dst, char *workspace,
                            int n_threads) {
    const fc_conv2d_desc *d = &r->d;
    int backward = r->pass == WINO_BACKWARD_INPUT;
    int64_t x_image = d->c * d->h * d->w, y_image = d->k * d->oh * d->ow;
    wino_run wino;
    wino_weight_run unused;
    dilated_layout(r, prepared != NULL, workspace, n_threads);
    for (int64_t n = 0; n < d->n; n += r->images) {
        int64_t images = fc_min(r->images, d->n - n);
        dilated_planes x = dilated_x(r, images), y = dilated_y(r, images);
        dilated_inner(r, images, &wino, &unused, n_threads);
        if (prepared == NULL) {
            wino_prepare(&wino, w, r->filters, n_threads);
            prepared = r->filters;
        }
        if (backward) {
            dilated_split(y, src + n * y_image, r->y_phases, n_threads);
            wino_execute(&wino, r->y_phases, w, prepared, bias, r->x_phases, r->inner, n_threads);
            dilated_join(x, r->x_phases, dst + n * x_image, n_threads);
        } else {
            y.epilogue = epilogue;
            dilated_split(x, src + n * x_image, r->x_phases, n_threads);
            wino_execute(&wino, r->x_phases, w, prepared, bias, r->y_phases, r->inner, n_threads);
            dilated_join(y, r->y_phases, dst + n * y_image, n_threads);
        }
    }
}

static void dilated_weight_execute(dilated_run *r, const real *dy, const real *x, real *dw,
                                   real *db, char *workspace, int n_threads) {
    const fc_conv2d_desc *d = &r->d;
    int64_t x_image = d->c * d->h * d->w, y_image = d->k * d->oh * d->ow;
    int64_t weights = d->k * (d->c / d->groups) * d->kh * d->kw;
    wino_run unused;
    wino_weight_run weight;
    dilated_layout(r, 0, workspace, n_threads);
    for (int64_t n = 0; n < d->n; n += r->images) {
        int64_t images = fc_min(r->images, d->n - n);
        dilated_inner(r, images, &unused, &weight, n_threads);
        dilated_split(dilated_x(r, images), x + n * x_image, r->x_phases, n_threads);
        dilated_split(dilated_y(r, images), dy + n * y_image, r->y_phases, n_threads);
        real *to = n == 0 ? dw : r->part, *biases = n == 0 || db == NULL ? db : r->part + weights;
        wino_weight_execute(&weight, r->y_phases, r->x_phases, to, biases, r->inner, n_threads);
        for (int64_t i = 0; n > 0 && i < weights; i++) dw[i] += to[i];
        for (int64_t i = 0; n > 0 && db != NULL && i < d->k; i++) db[i] += biases[i];
    }
}
