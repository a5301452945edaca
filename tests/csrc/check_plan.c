/* check_plan.c - plans: that they stay within their arrays, on chains whose sizes fill no vector;
 * forward and the squared error against naive loops. Gradients are held against the layers by
 * tests/plan. */
#include "harness.h"

#include <math.h>
#include <string.h>

enum { MOST = 8 };

/* The naive forward pass of one step for n images; returns y. */
static double *naive(const fc_plan_step *s, int64_t n, const double *x, const double *w,
                     const double *b) {
    int pool = s->kind == FC_PLAN_CONV_POOL ? 2 : 1;
    int64_t ch = s->oh * pool, cw = s->ow * pool;
    double *y = zeros(n * s->k * s->oh * s->ow);
    for (int64_t i = 0; i < n * s->k; i++)
        for (int64_t p = 0; p < s->oh * s->ow; p++) {
            const double *image = x + i / s->k * s->c * s->h * s->w;
            int64_t k = i % s->k, oy = p / s->ow, ox = p % s->ow;
            double *to = y + i * s->oh * s->ow + p, most = -INFINITY;
            if (s->kind == FC_PLAN_ACTIVATION) {
                double v = image[k * s->h * s->w + p];
                *to = v > 0 ? v : 0;
                continue;
            }
            if (s->kind == FC_PLAN_MAX_POOL || s->kind == FC_PLAN_AVG_POOL) {
                double sum = 0;
                for (int64_t j = 0; j < s->kh * s->kw; j++) {
                    double v = image[(k * s->h + oy * s->kh + j / s->kw) * s->w + ox * s->kw +
                                     j % s->kw];
                    sum += v;
                    most = v > most ? v : most;
                }
                *to = s->kind == FC_PLAN_MAX_POOL ? most : sum / (double)(s->kh * s->kw);
                continue;
            }
            for (int64_t j = 0; j < pool * pool; j++) { /* LINEAR is a 1x1 convolution */
                int64_t top = oy * pool + j / pool, left = ox * pool + j % pool;
                double sum = b[k];
                if (top >= ch || left >= cw) continue;
                for (int64_t t = 0; t < s->c * s->kh * s->kw; t++) {
                    int64_t c = t / (s->kh * s->kw), ky = t / s->kw % s->kh, kx = t % s->kw;
                    int64_t h = top + ky - s->pad_top, v = left + kx - s->pad_left;
                    if (h < 0 || h >= s->h || v < 0 || v >= s->w) continue;
                    sum += image[(c * s->h + h) * s->w + v] * w[k * s->c * s->kh * s->kw + t];
                }
                most = sum > most ? sum : most;
            }
            *to = s->relu && most < 0 ? 0 : most;
        }
    return y;
}

static void chain(const setting *s, const char *name, int n_steps, fc_plan_step *steps, int64_t n) {
    begin(s, "plan %s, %lld images, %d steps", name, (long long)n, n_steps);
    fc_plan_param params[2 * MOST];
    memset(params, 0, sizeof params);
    int64_t in = steps->c * steps->h * steps->w, out = 0;
    void *x = input(n * in);
    double *y = values_of(x, n * in);
    for (int i = 0; i < n_steps; i++) {
        fc_plan_step *t = &steps[i];
        double *w = NULL, *b = NULL;
        int64_t weights = t->k * t->c * t->kh * t->kw;
        out = t->k * t->oh * t->ow;
        if (t->kind == FC_PLAN_CONV || t->kind == FC_PLAN_CONV_POOL || t->kind == FC_PLAN_LINEAR) {
            t->train_weight = t->train_bias = 1;
            params[2 * i].data = input(weights);
            params[2 * i].grad = output(weights);
            params[2 * i + 1].data = input(t->k);
            params[2 * i + 1].grad = output(t->k);
            w = values_of(params[2 * i].data, weights);
            b = values_of(params[2 * i + 1].data, t->k);
        }
        y = naive(t, n, y, w, b);
    }
    fc_plan_desc d = {s->dtype, n_steps, steps};
    size_t bytes = 0;
    void *got = output(n * out), *targets = input(n * out);
    expect_status(fc_plan_workspace_bytes(&d, n, 0, s->threads, &bytes), FC_OK, "size");
    expect_status(fc_plan_infer(&d, params, n, x, got, workspace((int64_t)bytes), s->threads),
                  FC_OK, "infer");
    expect_equal(got, y, n * out, "y");

    double loss = 0;
    for (int64_t i = 0; i < n * out; i++) loss += (y[i] - at(targets, i)) * (y[i] - at(targets, i));
    fc_plan_update update = {.rule = FC_UPDATE_NONE};
    expect_status(fc_plan_workspace_bytes(&d, n, 1, s->threads, &bytes), FC_OK, "size");
    int last = n_steps - 1;
    double *db = zeros(steps[last].k);
    for (int64_t i = 0; i < n * out; i++) db[i % out] += y[i] - at(targets, i);
    for (int exact = 1; exact >= 0; exact--) {
        fc_plan_batch batch = {.n = n, .x = x, .loss = FC_LOSS_MSE, .scale = 0.5, .exact = exact,
                               .targets = targets};
        expect_status(fc_plan_train(&d, params, &update, &batch, workspace((int64_t)bytes),
                                    s->threads),
                      FC_OK, "train");
        expect_true(fabs(batch.loss_sum - loss) <= 1e-5 * loss, "loss");
        expect_close(params[2 * last + 1].grad, db, steps[last].k, 1e-5, "db");
    }
    for (int i = 0; i < n_steps; i++)
        if (params[2 * i].grad != NULL) {
            int64_t weights = steps[i].k * steps[i].c * steps[i].kh * steps[i].kw;
            int written = 1;
            for (int64_t j = 0; j < weights; j++) written &= isfinite(at(params[2 * i].grad, j));
            expect_true(written, "dw is written");
        }
    end();
}

static void bad_descriptors(const setting *s) {
    static const int64_t VALUES[] = {-1, 0, INT32_MAX, INT64_C(1) << 40, INT64_MAX};
    begin(s, "plan, bad descriptors");
    size_t bytes;
    fc_plan_step good = {.kind = FC_PLAN_CONV, .c = 1, .h = 5, .w = 5, .k = 1, .oh = 3, .ow = 3,
                         .kh = 3, .kw = 3};
    fc_plan_desc d = {s->dtype, 1, &good};
    expect_status(fc_plan_workspace_bytes(&d, 1, 1, 1, &bytes), FC_OK, "good");
    for (size_t i = 0; i < sizeof VALUES / sizeof VALUES[0]; i++) {
        fc_plan_step bad = good;
        d.steps = &bad;
        bad.kh = VALUES[i];
        expect_true(fc_plan_workspace_bytes(&d, 1, 1, 1, &bytes) != FC_OK, "kh");
        bad = good, bad.oh = VALUES[i];
        expect_true(fc_plan_workspace_bytes(&d, 1, 1, 1, &bytes) != FC_OK, "oh");
        bad = good, bad.pad_left = VALUES[i] ? VALUES[i] : 3;
        expect_true(fc_plan_workspace_bytes(&d, 1, 1, 1, &bytes) != FC_OK, "padding");
        fc_plan_step pooled = {.kind = FC_PLAN_CONV_POOL, .c = INT32_MAX, .h = 6, .w = 14,
                               .k = INT32_MAX, .oh = 1, .ow = 5, .kh = 5, .kw = 5};
        bad = pooled;
        expect_true(fc_plan_workspace_bytes(&d, INT64_MAX / 4, 1, 1, &bytes) != FC_OK, "pooled");
        bad = good, bad.c = bad.k = INT32_MAX;
        expect_true(fc_plan_workspace_bytes(&d, INT64_MAX / 4, 1, 1, &bytes) != FC_OK, "memory");
    }
    d.steps = &good;
    d.n_steps = 0;
    expect_status(fc_plan_workspace_bytes(&d, 1, 1, 1, &bytes), FC_ERROR_SHAPE, "no steps");
    d.n_steps = 1;
    d.dtype = (fc_dtype)7;
    expect_status(fc_plan_workspace_bytes(&d, 1, 1, 1, &bytes), FC_ERROR_UNSUPPORTED, "dtype");
    end();
}

#define LINEAR(in, o) \
    {.kind = FC_PLAN_LINEAR, .c = in, .h = 1, .w = 1, .k = o, .oh = 1, .ow = 1, .kh = 1, .kw = 1}
#define RELU(ch, hh, ww)                                                                \
    {.kind = FC_PLAN_ACTIVATION, .activation = FC_RELU, .c = ch, .h = hh, .w = ww, .k = ch, \
     .oh = hh, .ow = ww, .kh = 1, .kw = 1}

void check_plan(const setting *s) {
    fc_plan_step sparse[] = {
        {.kind = FC_PLAN_CONV_POOL, .relu = 1, .c = 1, .h = 9, .w = 8, .k = 3, .oh = 4, .ow = 3,
         .kh = 3, .kw = 5, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 2},
        {.kind = FC_PLAN_CONV_POOL, .c = 3, .h = 4, .w = 3, .k = 7, .oh = 2, .ow = 1, .kh = 2,
         .kw = 3, .pad_top = 1, .pad_bottom = 0, .pad_left = 1, .pad_right = 1},
        LINEAR(14, 5),
        RELU(5, 1, 1),
        LINEAR(5, 3),
    };
    fc_plan_step dense[] = {
        {.kind = FC_PLAN_CONV, .c = 2, .h = 5, .w = 7, .k = 5, .oh = 6, .ow = 6, .kh = 3, .kw = 2,
         .pad_top = 2, .pad_bottom = 1},
        RELU(5, 6, 6),
        {.kind = FC_PLAN_MAX_POOL, .c = 5, .h = 6, .w = 6, .k = 5, .oh = 3, .ow = 2, .kh = 2,
         .kw = 3},
        {.kind = FC_PLAN_CONV, .c = 5, .h = 3, .w = 2, .k = 4, .oh = 2, .ow = 2, .kh = 2, .kw = 3,
         .pad_left = 1, .pad_right = 1},
        {.kind = FC_PLAN_AVG_POOL, .c = 4, .h = 2, .w = 2, .k = 4, .oh = 1, .ow = 2, .kh = 2,
         .kw = 1},
        LINEAR(8, 2),
    };
    fc_plan_step small[] = { /* planes of less than a vector */
        {.kind = FC_PLAN_CONV, .c = 1, .h = 2, .w = 3, .k = 7, .oh = 2, .ow = 3, .kh = 1, .kw = 1},
        {.kind = FC_PLAN_CONV_POOL, .relu = 1, .c = 7, .h = 2, .w = 3, .k = 9, .oh = 1, .ow = 1,
         .kh = 3, .kw = 3, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1},
        LINEAR(9, 1),
    };
    fc_plan_step winograd[] = { /* rows of more windows than a kernel has, and of as many */
        {.kind = FC_PLAN_CONV_POOL, .c = 4, .h = 7, .w = 21, .k = 9, .oh = 2, .ow = 8, .kh = 4,
         .kw = 5},
        {.kind = FC_PLAN_CONV_POOL, .relu = 1, .c = 9, .h = 2, .w = 8, .k = 10, .oh = 1, .ow = 5,
         .kh = 2, .kw = 5, .pad_top = 1, .pad_left = 2, .pad_right = 4},
        LINEAR(50, 3),
    };
    for (int64_t n = 1; n <= 37; n += n < 3 ? 1 : 17) {
        chain(s, "winograd", sizeof winograd / sizeof winograd[0], winograd, n);
        chain(s, "small", sizeof small / sizeof small[0], small, n);
        chain(s, "sparse", sizeof sparse / sizeof sparse[0], sparse, n);
        chain(s, "dense", sizeof dense / sizeof dense[0], dense, n);
    }
    bad_descriptors(s);
}
