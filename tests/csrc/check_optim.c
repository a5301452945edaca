/* check_optim.c - steps of SGD and Adam, in place, against the formulas of fastcnn.h. */
#include "harness.h"

#include <math.h>
#include <string.h>

static const int64_t SIZES[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 100, FC_CHUNK, 40001};
enum { N_SIZES = sizeof SIZES / sizeof SIZES[0] };

/* An array that a step changes, holding random integers in lo..hi; `before` gets them too. */
static void *state(const setting *s, int64_t n, int64_t lo, int64_t hi, double *before) {
    for (int64_t i = 0; i < n; i++) before[i] = (double)random_int(lo, hi);
    void *array = output(n);
    size_t size = s->dtype == FC_FLOAT32 ? sizeof(float) : sizeof(double);
    if (n > 0) memcpy(array, copy_of(before, n), (size_t)n * size);
    return array;
}

/* The factors are negative powers of two: all results are exact. */
static void sgd(const setting *s, int64_t n, double momentum, double dampening, double decay,
                int nesterov) {
    begin(s, "sgd n=%lld momentum=%g dampening=%g decay=%g nesterov=%d", (long long)n, momentum,
          dampening, decay, nesterov);
    double *p = zeros(n), *v = zeros(n);
    void *param = state(s, n, -4, 4, p), *velocity = state(s, n, -4, 4, v), *grad = input(n);
    for (int64_t i = 0; i < n; i++) {
        double g = at(grad, i) + decay * p[i];
        if (momentum != 0) {
            v[i] = momentum * v[i] + (1 - dampening) * g;
            g = nesterov ? g + momentum * v[i] : v[i];
        }
        p[i] -= 0.25 * g;
    }
    fc_sgd_desc d = {n, 0.25, momentum, dampening, decay, nesterov};
    expect_status(fc_sgd_update(&d, s->dtype, param, grad, momentum != 0 ? velocity : NULL,
                                s->threads),
                  FC_OK, "status");
    expect_equal(param, p, n, "param");
    expect_equal(velocity, v, n, "velocity");
    end();
}

static void adam(const setting *s, int64_t n, int64_t step, double decay, int decoupled) {
    begin(s, "adam n=%lld step=%lld decay=%g decoupled=%d", (long long)n, (long long)step, decay,
          decoupled);
    double *p = zeros(n), *m = zeros(n), *v = zeros(n);
    void *param = state(s, n, -4, 4, p), *mean = state(s, n, -4, 4, m);
    void *square = state(s, n, 0, 9, v), *grad = input(n);
    fc_adam_desc d = {n, step, 0.25, 0.5, 0.75, 0.125, decay, decoupled};
    for (int64_t i = 0; i < n; i++) {
        double g = at(grad, i) + (decoupled ? 0 : decay * p[i]);
        m[i] = 0.5 * m[i] + 0.5 * g;
        v[i] = 0.75 * v[i] + 0.25 * g * g;
        if (decoupled) p[i] *= 1 - d.lr * decay;
        double m_hat = m[i] / (1 - pow(d.beta1, (double)step));
        double v_hat = v[i] / (1 - pow(d.beta2, (double)step));
        p[i] -= d.lr * m_hat / (sqrt(v_hat) + d.eps);
    }
    expect_status(fc_adam_update(&d, s->dtype, param, grad, mean, square, s->threads), FC_OK,
                  "status");
    expect_equal(mean, m, n, "m"); /* exact, as above */
    expect_equal(square, v, n, "v");
    expect_close(param, p, n, s->dtype == FC_FLOAT32 ? 1e-5 : 1e-14, "param");
    end();
}

static void bad_descriptors(const setting *s) {
    begin(s, "optim, bad descriptors");
    fc_dtype none = (fc_dtype)7;
    fc_sgd_desc sgd = {1, 0.1, 0.5, 0, 0, 0}, short_sgd = {-1, 0.1, 0, 0, 0, 0};
    fc_adam_desc adam = {1, 1, 0.1, 0.9, 0.999, 1e-8, 0, 0}, early = adam, short_adam = adam;
    early.step = 0;
    short_adam.n = -1;
    expect_status(fc_sgd_update(&sgd, s->dtype, NULL, NULL, NULL, 1), FC_ERROR_VALUE,
                  "momentum without a velocity");
    expect_status(fc_sgd_update(&short_sgd, s->dtype, NULL, NULL, NULL, 1), FC_ERROR_SHAPE, "n");
    expect_status(fc_sgd_update(&sgd, none, NULL, NULL, NULL, 1), FC_ERROR_UNSUPPORTED, "dtype");
    expect_status(fc_adam_update(&early, s->dtype, NULL, NULL, NULL, NULL, 1), FC_ERROR_VALUE,
                  "step");
    expect_status(fc_adam_update(&short_adam, s->dtype, NULL, NULL, NULL, NULL, 1),
                  FC_ERROR_SHAPE, "adam n");
    expect_status(fc_adam_update(&adam, none, NULL, NULL, NULL, NULL, 1), FC_ERROR_UNSUPPORTED,
                  "adam dtype");
    end();
}

void check_optim(const setting *s) {
    for (int i = 0; i < N_SIZES; i++) {
        int64_t n = SIZES[i];
        sgd(s, n, 0, 0, 0, 0);
        sgd(s, n, 0, 0, 0.5, 0);
        sgd(s, n, 0.5, 0, 0, 0);
        sgd(s, n, 0.5, 0.25, 0.5, 0);
        sgd(s, n, 0.5, 0, 0.5, 1);
        adam(s, n, 1, 0, 0);
        adam(s, n, 3, 0.5, 0);
        adam(s, n, 3, 0.5, 1);
    }
    bad_descriptors(s);
}
