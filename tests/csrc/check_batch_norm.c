/* check_batch_norm.c - batch normalisation: inference, forward and backward. */
#include "harness.h"

#include <math.h>

static double tolerance(const setting *s) { return s->dtype == FC_FLOAT32 ? 2e-5 : 1e-13; }

/* (x - mean) / sqrt(var + eps) of element i of channel c. */
static double hat(const void *x, int64_t i, double mean, double inv_std) {
    return (at(x, i) - mean) * inv_std;
}

static void batch_norm(const setting *s, int64_t n, int64_t c, int64_t size, int affine) {
    begin(s, "batch_norm %lld x %lld x %lld affine=%d", (long long)n, (long long)c,
          (long long)size, affine);
    int64_t total = n * c * size;
    double eps = 0.5, m = (double)(n * size > 0 ? n * size : 1);
    fc_batch_norm_desc d = {s->dtype, n, c, size};
    void *x = input(total), *dy = input(total);
    void *gamma = affine ? input(c) : NULL, *beta = affine ? input(c) : NULL;
    double *mean = zeros(c), *inv_std = zeros(c), *var = zeros(c);
    double *y = zeros(total), *dx = zeros(total), *dgamma = zeros(c), *dbeta = zeros(c);
    double *y_inference = zeros(total), *running_var = zeros(c);
    void *running_mean = input(c);
    for (int64_t k = 0; k < c; k++) {
        running_var[k] = (double)random_int(1, 4);
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < size; j++) {
                    double v = at(x, (i * c + k) * size + j);
                    if (pass == 0) mean[k] += v / m;
                    else var[k] += (v - mean[k]) * (v - mean[k]) / m;
                }
        }
        inv_std[k] = 1.0 / sqrt(var[k] + eps);
        double g = affine ? at(gamma, k) : 1.0, b = affine ? at(beta, k) : 0.0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < size; j++) {
                    int64_t e = (i * c + k) * size + j;
                    double h = hat(x, e, mean[k], inv_std[k]);
                    if (pass == 0) {
                        dgamma[k] += at(dy, e) * h;
                        dbeta[k] += at(dy, e);
                        y[e] = g * h + b;
                        y_inference[e] =
                            g * hat(x, e, at(running_mean, k), 1.0 / sqrt(running_var[k] + eps)) +
                            b;
                    } else {
                        dx[e] = g * inv_std[k] * (at(dy, e) - dbeta[k] / m - h * dgamma[k] / m);
                    }
                }
    }
    void *out = output(total);
    double *mean_out = output_double(c), *inv_std_out = output_double(c);
    expect_status(fc_batch_norm_inference(&d, eps, x, gamma, beta, running_mean,
                                          copy_of(running_var, c), out, s->threads),
                  FC_OK, "inference");
    expect_close(out, y_inference, total, tolerance(s), "y of inference");

    void *again = output(total);
    expect_status(fc_batch_norm_forward(&d, eps, x, gamma, beta, NULL, 0, again, mean_out,
                                        inv_std_out, s->threads),
                  FC_OK, "forward");
    expect_close(again, y, total, tolerance(s), "y");
    expect_close_double(mean_out, mean, c, tolerance(s), "mean");
    expect_close_double(inv_std_out, inv_std, c, tolerance(s), "inv_std");

    void *dx_out = output(total), *dgamma_out = output(c), *dbeta_out = output(c);
    expect_status(fc_batch_norm_backward(&d, dy, NULL, x, gamma, mean_out, inv_std_out, NULL,
                                         dx_out, dgamma_out, dbeta_out, s->threads),
                  FC_OK, "backward");
    expect_close(dx_out, dx, total, 4 * tolerance(s), "dx");
    expect_close(dgamma_out, dgamma, c, tolerance(s) * sqrt(m), "dgamma");
    expect_equal(dbeta_out, dbeta, c, "dbeta");

    void *sums = output(c);
    expect_status(fc_channel_sums(&d, dy, sums, s->threads), FC_OK, "channel_sums");
    expect_equal(sums, dbeta, c, "sums");
    end();
}

/* The same bits from one fused pass as from batch norm, sum and ReLU apart. */
static void fused(const setting *s, int64_t n, int64_t c, int64_t size, int joins, int relu) {
    begin(s, "batch_norm %lld x %lld x %lld residual=%d relu=%d", (long long)n, (long long)c,
          (long long)size, joins, relu);
    int64_t total = n * c * size;
    fc_batch_norm_desc d = {s->dtype, n, c, size};
    void *x = input(total), *dy = input(total), *gamma = input(c), *beta = input(c);
    void *residual = joins ? input(total) : NULL;
    double *mean = output_double(c), *inv_std = output_double(c);
    void *y = output(total), *sum = output(total), *cut = output(total), *once = output(total);
    fc_batch_norm_forward(&d, 0.5, x, gamma, beta, NULL, 0, y, mean, inv_std, s->threads);
    if (joins) fc_add_forward(s->dtype, total, 0, y, residual, sum, s->threads), y = sum;
    if (relu) fc_activation_forward(FC_RELU, s->dtype, total, 0.0, y, cut, s->threads), y = cut;
    double *mean_again = output_double(c), *inv_std_again = output_double(c);
    expect_status(fc_batch_norm_forward(&d, 0.5, x, gamma, beta, residual, relu, once, mean_again,
                                        inv_std_again, s->threads),
                  FC_OK, "fused forward");
    expect_equal(once, values_of(y, total), total, "y of the fused pass");
    if (relu) {
        void *dz = output(total), *dx = output(total), *dgamma = output(c), *dbeta = output(c);
        void *dz_once = output(total), *dx_once = output(total);
        void *dgamma_once = output(c), *dbeta_once = output(c);
        fc_activation_backward(FC_RELU, s->dtype, total, 0.0, dy, y, dz, s->threads);
        fc_batch_norm_backward(&d, dz, NULL, x, gamma, mean, inv_std, NULL, dx, dgamma, dbeta,
                               s->threads);
        expect_status(fc_batch_norm_backward(&d, dy, y, x, gamma, mean, inv_std, dz_once, dx_once,
                                             dgamma_once, dbeta_once, s->threads),
                      FC_OK, "fused backward");
        expect_equal(dz_once, values_of(dz, total), total, "dz of the fused pass");
        expect_equal(dx_once, values_of(dx, total), total, "dx of the fused pass");
        expect_equal(dgamma_once, values_of(dgamma, c), c, "dgamma of the fused pass");
        expect_equal(dbeta_once, values_of(dbeta, c), c, "dbeta of the fused pass");
    }
    end();
}

static void bad_descriptors(const setting *s) {
    begin(s, "batch_norm, bad descriptors");
    const struct {
        fc_batch_norm_desc d;
        fc_status status;
    } BAD[] = {
        {{s->dtype, -1, 2, 3}, FC_ERROR_SHAPE},
        {{s->dtype, 1, -2, 3}, FC_ERROR_SHAPE},
        {{s->dtype, 1, 2, -3}, FC_ERROR_SHAPE},
        {{(fc_dtype)7, 1, 2, 3}, FC_ERROR_UNSUPPORTED},
        {{s->dtype, INT64_C(1) << 31, INT64_C(1) << 31, 4}, FC_ERROR_OVERFLOW},
        {{s->dtype, 0, INT64_MAX, 1}, FC_ERROR_OVERFLOW},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        const fc_batch_norm_desc *d = &BAD[i].d;
        expect_status(fc_batch_norm_inference(d, 1, NULL, NULL, NULL, NULL, NULL, NULL, 1),
                      BAD[i].status, "inference");
        expect_status(fc_batch_norm_forward(d, 1, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, 1),
                      BAD[i].status, "forward");
        expect_status(fc_batch_norm_backward(d, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                                             NULL, NULL, 1),
                      BAD[i].status, "backward");
        expect_status(fc_channel_sums(d, NULL, NULL, 1), BAD[i].status, "channel_sums");
    }
    end();
}

void check_batch_norm(const setting *s) {
    static const int64_t SHAPES[][3] = {
        {1, 1, 1},  {2, 3, 1},  {3, 8, 1},  {5, 17, 1}, {300, 5, 1},  {0, 3, 4},    {2, 3, 0},
        {2, 0, 3},  {2, 3, 2},  {3, 4, 7},  {2, 5, 8},  {4, 3, 49},   {2, 2, 64},   {3, 1, 101},
        {90, 2, 50}, {2, 2, 4096}, {1, 2, 4099}, {2, 1, 9000},
        {4, 67, 64}, /* more places than tasks on some threads */
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        for (int affine = 0; affine < 2; affine++)
            batch_norm(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], affine);
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        for (int kind = 0; kind < 4; kind++)
            fused(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], kind & 1, kind >> 1);
    bad_descriptors(s);
}
