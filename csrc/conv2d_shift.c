/* conv2d_shift.c - the geometry of shift problems (conv2d.h): phases, taps, pitch and bands. */
#include "conv2d.h"

#include "sizes.h"

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && a < 0); }

static int64_t gcd(int64_t a, int64_t b) { return b == 0 ? a : gcd(b, a % b); }

/* Output o reads input o * stride + i * dilation - pad by tap i: phase (i * dilation) mod stride,
 * which takes stride / gcd(stride, dilation) values in turn. */
static shift_axis forward_axis(int64_t size, int64_t out, int64_t kernel, int64_t stride,
                               int64_t pad, int64_t dilation) {
    return (shift_axis){
        .source = size, .step = stride, .origin = pad,
        .phases = fc_min(kernel, stride / gcd(stride, dilation)), .taps = kernel,
        .max_shift = (kernel - 1) * dilation / stride, .out = out, .out_step = 1, .out_phases = 1,
        .q = out, .dilation = dilation, .pad = pad,
    };
}

/* Input i gets from output o by tap t where i = o * stride + t * dilation - pad: element q of
 * output phase p (i = q * stride + p) reads o = q + (p + pad - t * dilation) / stride, for the taps
 * that leave no rest. */
static shift_axis backward_axis(int64_t size, int64_t out, int64_t kernel, int64_t stride,
                                int64_t pad, int64_t dilation) {
    shift_axis a = {
        .source = out, .step = 1, .phases = 1, .taps = kernel, .out = size, .out_step = stride,
        .out_phases = fc_min(stride, size), .q = fc_ceil_div(size, stride),
        .dilation = dilation, .pad = pad, .reversed = 1,
    };
    int64_t most = -floor_div(-pad, stride);
    int64_t least = -floor_div((kernel - 1) * dilation - pad, stride);
    a.origin = -least; /* so that no shift is negative */
    a.max_shift = most - least;
    return a;
}

int64_t shift_of(const shift_axis *a, int64_t i) {
    if (!a->reversed) return i * a->dilation / a->step;
    return -floor_div(i * a->dilation - a->pad, a->out_step) + a->origin;
}

int64_t shift_out_phase(const shift_axis *a, int64_t i) {
    int64_t at = (i * a->dilation - a->pad) % a->out_step;
    return at < 0 ? at + a->out_step : at;
}

void shift_forward(const fc_conv2d_desc *d, shift_problem *s) {
    *s = (shift_problem){.n = d->n, .groups = d->groups, .channels = d->c / d->groups,
                         .m = d->k / d->groups, .replicate = d->pad_mode == FC_PAD_REPLICATE};
    s->y = forward_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h);
    s->x = forward_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w);
}

void shift_backward_input(const fc_conv2d_desc *d, shift_problem *s) {
    *s = (shift_problem){.n = d->n, .groups = d->groups, .channels = d->k / d->groups,
                         .m = d->c / d->groups};
    s->y = backward_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h);
    s->x = backward_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w);
}

/* Packed elements from one line of an axis to the next. A line holds its padding before, the
 * source, and what is missing of the padding after; where the padding is zero, a read past the
 * line's end may as well find the next line's padding before, so the two share their place. */
int64_t shift_line(const shift_problem *s, const shift_axis *a) {
    int64_t whole = a->q + a->max_shift;
    if (s->replicate || a->step != 1 || a->origin < 0) return whole;
    int64_t shared = fc_max(a->origin + a->source, whole - a->origin);
    return fc_min(whole, fc_max(shared, a->q));
}

void shift_cut_bands(shift_problem *s, int64_t q_target, int64_t lanes) {
    int64_t image_q;
    s->pitch = shift_line(s, &s->x);
    s->image_rows = shift_line(s, &s->y);
    s->band_images = 1;
    s->band_rows = s->y.q;
    s->band_cols = s->x.q;
    image_q = (s->y.q - 1) * s->pitch + s->x.q;
    if (image_q > q_target) { /* some rows of one image, or a part of one long row */
        s->band_rows = fc_max(1, q_target / s->pitch);
        s->band_rows = fc_ceil_div(s->y.q, fc_ceil_div(s->y.q, s->band_rows)); /* even bands */
        if (s->pitch > 2 * q_target) {
            s->band_rows = 1;
            s->band_cols = q_target;
            s->pitch = s->band_cols + s->x.max_shift;
        }
    } else if (s->image_rows * s->pitch <= fc_round_up(image_q, lanes)) {
        /* several whole images, where that wastes no more lanes than the images one by one */
        s->band_images = fc_max(1, q_target / (s->image_rows * s->pitch));
        s->band_images = fc_max(1, fc_min(s->band_images, s->n));
        s->band_images = fc_ceil_div(s->n, fc_ceil_div(fc_max(s->n, 1), s->band_images));
        s->band_images = fc_max(1, s->band_images);
    }
    s->image_bands = fc_ceil_div(s->n, s->band_images);
    s->row_bands = fc_ceil_div(s->y.q, s->band_rows);
    s->col_bands = fc_ceil_div(s->x.q, s->band_cols);

    shift_band largest = {.images = s->band_images, .rows = s->band_rows, .cols = s->band_cols};
    s->plane = shift_packed_rows(s, &largest) * s->pitch + s->x.max_shift;
    /* An odd number of cache lines: power-of-two strides would fall into the same cache sets. */
    s->channel_stride = fc_round_up(s->y.phases * s->x.phases * s->plane, 16);
    if (s->channel_stride / 16 % 2 == 0) s->channel_stride += 16;
}

int64_t shift_bands(const shift_problem *s) { return s->image_bands * s->row_bands * s->col_bands; }

shift_band shift_get_band(const shift_problem *s, int64_t i) {
    int64_t image = i, row = 0, col = 0; /* asked for often, and a division is slow */
    if (s->col_bands > 1) col = image % s->col_bands, image /= s->col_bands;
    if (s->row_bands > 1) row = image % s->row_bands, image /= s->row_bands;
    shift_band b = {.n0 = image * s->band_images, .y0 = row * s->band_rows,
                    .x0 = col * s->band_cols};
    b.images = fc_min(s->band_images, s->n - b.n0);
    b.rows = fc_min(s->band_rows, s->y.q - b.y0);
    b.cols = fc_min(s->band_cols, s->x.q - b.x0);
    b.q = ((b.images - 1) * s->image_rows + b.rows - 1) * s->pitch + b.cols;
    return b;
}

int64_t shift_packed_rows(const shift_problem *s, const shift_band *b) {
    return (b->images - 1) * s->image_rows + b->rows + s->y.max_shift;
}

int64_t shift_table_ints(const shift_problem *s) {
    return fc_add(fc_mul(2, fc_mul(s->y.taps, s->x.taps)), shift_out_phases(s) + 1);
}

void shift_list_taps(shift_problem *s, int32_t *tables) {
    const shift_axis *y = &s->y, *x = &s->x;
    s->tap_kernel = tables;
    s->tap_shift = s->tap_kernel + y->taps * x->taps;
    s->first = s->tap_shift + y->taps * x->taps;
    int32_t n = 0;
    for (int64_t p = 0; p < shift_out_phases(s); p++) {
        int64_t py = p / x->out_phases, px = p % x->out_phases;
        s->first[p] = n;
        for (int64_t i = 0; i < y->taps; i++) {
            if (shift_out_phase(y, i) != py) continue;
            for (int64_t j = 0; j < x->taps; j++) {
                if (shift_out_phase(x, j) != px) continue;
                int64_t phase = shift_phase(y, i) * x->phases + shift_phase(x, j);
                s->tap_kernel[n] = (int32_t)(i * x->taps + j);
                s->tap_shift[n] =
                    (int32_t)(phase * s->plane + shift_of(y, i) * s->pitch + shift_of(x, j));
                n++;
            }
        }
    }
    s->first[shift_out_phases(s)] = n;
}
