/* check_pointwise.c - activations, softmax and losses. */
#include "harness.h"

#include <math.h>

static const int64_t SIZES[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 100, 16384, 40001};
enum { N_SIZES = sizeof SIZES / sizeof SIZES[0] };

static double tolerance(const setting *s) { return s->dtype == FC_FLOAT32 ? 1e-6 : 1e-14; }

static const struct {
    const char *name;
    double parameter;
    double tolerance_factor; /* 0: exact */
} ACTIVATIONS[FC_ACTIVATIONS] = {
    [FC_RELU] = {"relu", 0.0, 0.0},
    [FC_LEAKY_RELU] = {"leaky_relu", 0.25, 0.0},
    [FC_SIGMOID] = {"sigmoid", 0.0, 1.0},
    [FC_TANH] = {"tanh", 0.0, 1.0},
    [FC_ELU] = {"elu", 0.5, 1.0},
    [FC_STEP] = {"step", 0.0, 0.0},
};

static double activate(int f, double x, double parameter) {
    if (isnan(x)) return x;
    switch (f) {
    case FC_RELU: return x > 0 ? x : 0.0;
    case FC_LEAKY_RELU: return x > 0 ? x : parameter * x;
    case FC_SIGMOID: return 1.0 / (1.0 + exp(-x));
    case FC_ELU: return x > 0 ? x : parameter * expm1(x);
    case FC_STEP: return x > 0;
    default: return tanh(x);
    }
}

static double slope(int f, double saved, double parameter) {
    switch (f) {
    case FC_RELU: return saved > 0 ? 1.0 : 0.0;
    case FC_LEAKY_RELU: return saved > 0 ? 1.0 : parameter;
    case FC_SIGMOID: return saved * (1.0 - saved);
    case FC_ELU: return saved > 0 ? 1.0 : parameter * exp(saved);
    default: return 1.0 - saved * saved;
    }
}

static void activation(const setting *s, int f, int64_t n) {
    begin(s, "%s n=%lld", ACTIVATIONS[f].name, (long long)n);
    double parameter = ACTIVATIONS[f].parameter;
    double *values = zeros(n), *y_expected = zeros(n), *dx_expected = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        values[i] = random_int(0, 9) == 0 ? NAN : (double)random_int(-4, 4);
        y_expected[i] = activate(f, values[i], parameter);
    }
    void *y = output(n), *dx = output(n), *dy = input(n);
    double within = ACTIVATIONS[f].tolerance_factor * tolerance(s);
    expect_status(fc_activation_forward((fc_activation)f, s->dtype, n, parameter,
                                        copy_of(values, n), y, s->threads),
                  FC_OK, "forward");
    expect_close(y, y_expected, n, within, "y");

    double *saved = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        saved[i] = (double)random_int(-4, 4);
        dx_expected[i] = at(dy, i) * slope(f, saved[i], parameter);
    }
    fc_status status = fc_activation_backward((fc_activation)f, s->dtype, n, parameter, dy,
                                              copy_of(saved, n), dx, s->threads);
    expect_status(status, f == FC_STEP ? FC_ERROR_UNSUPPORTED : FC_OK, "backward");
    if (f == FC_ELU) expect_close(dx, dx_expected, n, 8 * within, "dx");
    else if (f != FC_STEP) expect_equal(dx, dx_expected, n, "dx");
    end();
}

static void prelu(const setting *s, int64_t outer, int64_t c, int64_t inner) {
    begin(s, "prelu %lld x %lld x %lld", (long long)outer, (long long)c, (long long)inner);
    int64_t n = outer * c * inner;
    fc_prelu_desc d = {outer, c, inner};
    void *x = input(n), *dy = input(n), *slopes = input(c);
    void *y = output(n), *dx = output(n), *dslopes = output(c);
    double *sums = output_double(fc_prelu_sums(&d));
    double *y_expected = zeros(n), *dx_expected = zeros(n), *dslopes_expected = zeros(c);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = i / inner % c;
        int above = at(x, i) > 0;
        y_expected[i] = (above ? 1.0 : at(slopes, k)) * at(x, i);
        dx_expected[i] = (above ? 1.0 : at(slopes, k)) * at(dy, i);
        dslopes_expected[k] += above ? 0.0 : at(dy, i) * at(x, i);
    }
    expect_status(fc_prelu_forward(&d, s->dtype, x, slopes, y, s->threads), FC_OK, "forward");
    expect_equal(y, y_expected, n, "y");
    expect_status(fc_prelu_backward(&d, s->dtype, dy, x, slopes, dx, dslopes, sums, s->threads),
                  FC_OK, "backward");
    expect_equal(dx, dx_expected, n, "dx");
    expect_equal(dslopes, dslopes_expected, c, "dslopes");
    for (int64_t i = 0; i < n; i++) {
        double slope_of = at(slopes, i / inner % c);
        dx_expected[i] *= at(x, i) > 0 ? 1.0 : slope_of;
        y_expected[i] *= y_expected[i] > 0 ? 1.0 : slope_of;
    }
    expect_status(fc_prelu_backward(&d, s->dtype, dx, x, slopes, dx, dslopes, sums, s->threads),
                  FC_OK, "backward in place");
    expect_equal(dx, dx_expected, n, "dx once more, in place");
    expect_status(fc_prelu_forward(&d, s->dtype, y, slopes, y, s->threads), FC_OK, "in place");
    expect_equal(y, y_expected, n, "y once more, in place");
    end();
}

/* The values; which elements are dropped is for the Python tests, which have the hash. */
static void dropout(const setting *s, int64_t n, double p) {
    begin(s, "dropout n=%lld p=%g", (long long)n, p);
    void *x = input(n), *y = output(n), *again = output(n);
    double *expected = zeros(n);
    expect_status(fc_dropout(s->dtype, n, p, 5, x, y, s->threads), FC_OK, "status");
    expect_status(fc_dropout(s->dtype, n, p, 5, x, again, 1), FC_OK, "again");
    for (int64_t i = 0; i < n; i++) expected[i] = at(y, i) == 0 ? 0.0 : at(x, i) / (1 - p);
    expect_equal(y, expected, n, "y");
    expect_equal(again, expected, n, "the same elements");
    for (int64_t i = 0; i < n; i++) expected[i] /= 1 - p;
    expect_status(fc_dropout(s->dtype, n, p, 5, y, y, s->threads), FC_OK, "in place");
    expect_equal(y, expected, n, "once more, in place");
    end();
}

static void add(const setting *s, int64_t n, int relu) {
    begin(s, "add n=%lld relu=%d", (long long)n, relu);
    void *a = input(n), *b = input(n), *y = output(n);
    double *expected = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        double sum = at(a, i) + at(b, i);
        expected[i] = relu && sum < 0 ? 0.0 : sum;
    }
    expect_status(fc_add_forward(s->dtype, n, relu, a, b, y, s->threads), FC_OK, "status");
    expect_equal(y, expected, n, "y");
    end();
}

static void softmax(const setting *s, int64_t outer, int64_t c, int64_t inner, int log_only) {
    begin(s, "softmax %lld x %lld x %lld log=%d", (long long)outer, (long long)c,
          (long long)inner, log_only);
    int64_t n = outer * c * inner;
    fc_softmax d = {outer, c, inner, log_only};
    void *x = input(n), *y = output(n), *dy = input(n), *dx = output(n);
    double *y_expected = zeros(n), *dx_expected = zeros(n), *saved = zeros(n);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            double sum = 0.0, weighted = 0.0, total = 0.0;
            for (int64_t k = 0; k < c; k++) sum += exp(at(x, (o * c + k) * inner + i));
            for (int64_t k = 0; k < c; k++) {
                int64_t j = (o * c + k) * inner + i;
                double p = exp(at(x, j)) / sum;
                y_expected[j] = log_only ? at(x, j) - log(sum) : p;
                saved[j] = y_expected[j];
                weighted += at(dy, j) * p;
                total += at(dy, j);
            }
            for (int64_t k = 0; k < c; k++) {
                int64_t j = (o * c + k) * inner + i;
                double p = exp(at(x, j)) / sum;
                dx_expected[j] = log_only ? at(dy, j) - p * total : p * (at(dy, j) - weighted);
            }
        }
    double within = 40 * tolerance(s);
    expect_status(fc_softmax_forward(&d, s->dtype, x, y, s->threads), FC_OK, "forward");
    expect_close(y, y_expected, n, within, "y");
    expect_status(fc_softmax_backward(&d, s->dtype, dy, copy_of(saved, n), dx, s->threads), FC_OK,
                  "backward");
    expect_close(dx, dx_expected, n, within, "dx");
    end();
}

static void cross_entropy(const setting *s, int64_t n, int64_t c) {
    begin(s, "softmax_cross_entropy %lld x %lld", (long long)n, (long long)c);
    void *logits = input(n * c), *gradient = output(n * c);
    double *losses = output_double(n), *expected = zeros(n), *gradient_expected = zeros(n * c);
    int64_t targets[64];
    for (int64_t i = 0; i < n; i++) {
        targets[i] = random_int(0, c - 1);
        double sum = 0.0;
        for (int64_t k = 0; k < c; k++) sum += exp(at(logits, i * c + k));
        expected[i] = log(sum) - at(logits, i * c + targets[i]);
        for (int64_t k = 0; k < c; k++)
            gradient_expected[i * c + k] =
                0.5 * (exp(at(logits, i * c + k)) / sum - (k == targets[i] ? 1.0 : 0.0));
    }
    expect_status(fc_softmax_cross_entropy(s->dtype, n, c, 0.5, logits,
                                           copy_of_int64(targets, n), gradient, losses, s->threads),
                  FC_OK, "status");
    expect_close_double(losses, expected, n, 40 * tolerance(s), "losses");
    expect_close(gradient, gradient_expected, n * c, 40 * tolerance(s), "dlogits");
    end();

    if (n == 0) return;
    begin(s, "softmax_cross_entropy %lld x %lld, bad target", (long long)n, (long long)c);
    int64_t bad[] = {-1, c, INT64_MAX, INT64_MIN};
    for (int b = 0; b < 4; b++) {
        targets[n - 1] = bad[b];
        expect_status(fc_softmax_cross_entropy(s->dtype, n, c, 1.0, input(n * c),
                                               copy_of_int64(targets, n), output(n * c),
                                               output_double(n), s->threads),
                      FC_ERROR_VALUE, "status");
    }
    end();
}

static void mse(const setting *s, int64_t n) {
    begin(s, "mse n=%lld", (long long)n);
    int64_t n_sums = fc_mse_sums(n);
    void *a = input(n), *b = input(n), *gradient = output(n);
    double *sums = output_double(n_sums), *sums_expected = zeros(n_sums), *expected = zeros(n);
    for (int64_t i = 0; i < n; i++) {
        double difference = at(a, i) - at(b, i);
        expected[i] = 0.25 * difference;
        sums_expected[i / FC_CHUNK] += difference * difference;
    }
    expect_status(fc_mse(s->dtype, n, 0.25, a, b, gradient, sums, s->threads), FC_OK, "status");
    expect_equal(gradient, expected, n, "gradient");
    expect_close_double(sums, sums_expected, n_sums, 0.0, "sums");
    end();
}

static void bad_descriptors(const setting *s) {
    begin(s, "pointwise, bad descriptors");
    fc_dtype dtype = s->dtype, none = (fc_dtype)7;
    fc_activation unknown = FC_ACTIVATIONS;
    expect_status(fc_activation_forward(FC_RELU, dtype, -1, 0, NULL, NULL, 1), FC_ERROR_SHAPE, "n");
    expect_status(fc_activation_forward(FC_RELU, none, 1, 0, NULL, NULL, 1), FC_ERROR_UNSUPPORTED,
                  "dtype");
    expect_status(fc_activation_forward(unknown, dtype, 1, 0, NULL, NULL, 1), FC_ERROR_UNSUPPORTED,
                  "activation");
    expect_status(fc_activation_backward(FC_RELU, dtype, -1, 0, NULL, NULL, NULL, 1),
                  FC_ERROR_SHAPE, "backward n");
    fc_prelu_desc minus = {2, -1, 3}, vast = {INT64_C(1) << 31, INT64_C(1) << 31, 4};
    expect_status(fc_prelu_forward(&minus, dtype, NULL, NULL, NULL, 1), FC_ERROR_SHAPE, "prelu c");
    expect_status(fc_prelu_backward(&vast, dtype, NULL, NULL, NULL, NULL, NULL, NULL, 1),
                  FC_ERROR_OVERFLOW, "prelu backward vast");
    expect_status(fc_prelu_forward(&vast, none, NULL, NULL, NULL, 1), FC_ERROR_UNSUPPORTED,
                  "prelu dtype");
    expect_status(fc_dropout(dtype, -1, 0.5, 0, NULL, NULL, 1), FC_ERROR_SHAPE, "dropout n");
    expect_status(fc_dropout(dtype, 1, 1.0, 0, NULL, NULL, 1), FC_ERROR_VALUE, "dropout p");
    expect_status(fc_dropout(dtype, 1, NAN, 0, NULL, NULL, 1), FC_ERROR_VALUE, "dropout NaN");
    fc_softmax negative = {-1, 2, 3, 0}, huge = {INT64_C(1) << 31, INT64_C(1) << 31, 4, 0};
    expect_status(fc_softmax_forward(&negative, dtype, NULL, NULL, 1), FC_ERROR_SHAPE, "outer");
    expect_status(fc_softmax_forward(&huge, dtype, NULL, NULL, 1), FC_ERROR_OVERFLOW, "huge");
    expect_status(fc_softmax_backward(&huge, dtype, NULL, NULL, NULL, 1), FC_ERROR_OVERFLOW,
                  "backward huge");
    expect_status(fc_softmax_cross_entropy(dtype, 1, 0, 1.0, NULL, NULL, NULL, NULL, 1),
                  FC_ERROR_SHAPE, "no classes");
    expect_status(fc_softmax_cross_entropy(dtype, INT64_MAX, 4, 1.0, NULL, NULL, NULL, NULL, 1),
                  FC_ERROR_OVERFLOW, "n * c");
    expect_status(fc_add_forward(dtype, -1, 0, NULL, NULL, NULL, 1), FC_ERROR_SHAPE, "add n");
    expect_status(fc_add_forward(none, 1, 0, NULL, NULL, NULL, 1), FC_ERROR_UNSUPPORTED,
                  "add dtype");
    expect_status(fc_mse(dtype, -1, 1.0, NULL, NULL, NULL, NULL, 1), FC_ERROR_SHAPE, "mse n");
    end();
}

void check_pointwise(const setting *s) {
    for (int i = 0; i < N_SIZES; i++) {
        for (int f = 0; f < FC_ACTIVATIONS; f++) activation(s, f, SIZES[i]);
        mse(s, SIZES[i]);
        dropout(s, SIZES[i], 0.0);
        dropout(s, SIZES[i], 0.5);
        add(s, SIZES[i], 0);
        add(s, SIZES[i], 1);
    }
    static const int64_t SHAPES[][3] = {{0, 3, 1}, {1, 1, 1},  {3, 10, 1}, {2, 7, 5},
                                        {5, 3, 8}, {1, 17, 9}, {64, 10, 1}, {2, 3, 33}};
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++) {
        softmax(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], 0);
        softmax(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], 1);
        if (SHAPES[i][2] == 1) cross_entropy(s, SHAPES[i][0], SHAPES[i][1]);
        prelu(s, SHAPES[i][0], SHAPES[i][1], SHAPES[i][2]);
    }
    prelu(s, 1, 1, 40001); /* pieces of a plane */
    prelu(s, 2, 3, FC_CHUNK + 5);
    prelu(s, 900, 3, 7); /* tasks of many planes */
    prelu(s, 70, 83, 1); /* columns */
    bad_descriptors(s);
}
