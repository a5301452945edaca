/* fastcnn.h - the only public header of the C core.
 *
 * Every entry point is fc_<op>_<pass>[_<wrt>](descriptor, inputs, outputs, workspace, n_threads).
 * It validates the descriptor, returns a status, and never prints, exits or allocates: scratch is
 * the caller's, its size told by fc_<op>_<pass>_workspace_bytes. Arrays are C-contiguous (NCHW) of
 * the descriptor's dtype, with natural alignment; a workspace is aligned to 64 bytes.
 * Outputs are write-only. Results have the same bits at any n_threads >= 1.
 *
 * Dimensions: N images, C input channels, H W input size, K output channels, KH KW kernel size,
 * OH OW output size.
 */
#ifndef FASTCNN_H
#define FASTCNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    FC_OK = 0,
    FC_ERROR_SHAPE = 1,       /* a descriptor's sizes do not fit each other */
    FC_ERROR_OVERFLOW = 2,    /* a size left the range of int64, size_t or a kernel's counts */
    FC_ERROR_UNSUPPORTED = 3, /* an enum value this build does not know */
    FC_ERROR_VALUE = 4        /* an input value is outside its range (labels, indices) */
} fc_status;

typedef enum { FC_FLOAT32 = 0, FC_FLOAT64 = 1 } fc_dtype;

/* ---- instruction-set tiers: chosen once, at import (dispatch.c, cpu.c) ---- */

int fc_isa_count(void);              /* tiers known to the sources, in rising preference */
const char *fc_isa_name(int i);      /* "scalar", "neon", "avx2", "avx512" */
int fc_isa_available(int i);         /* built in, and the processor and OS support it */
int fc_isa_active(void);             /* index of the tier in use */
fc_status fc_isa_select(int i);      /* to be called before any kernel, from one thread */
/* At least n multiply-adds in registers alone: the bound of direct convolutions. Each task brings
 * its values closer to 1; the mean of the first one's is returned, to show that it was done. */
fc_status fc_isa_multiply_adds(fc_dtype dtype, int64_t n, int n_threads, double *mean);

/* ---- threads (threads.c) ---- */

const char *fc_threading(void);     /* "pool" (own threads), "openmp" or "none" */
void fc_threads_pause(void);         /* end all threads; call before fork() */

/* ---- conv2d (conv2d.c) ---- */

typedef enum { FC_PAD_ZEROS = 0, FC_PAD_REPLICATE = 1 } fc_pad_mode;

/* AUTO chooses by shape alone. WINOGRAD serves 3x3 and 5x5 kernels of stride 1, 3x3 and 4x4 of
 * stride 2, dilated ones of stride 1 on zero padding, and rows and columns of 3, 5 and 7 taps of
 * stride 1; but for the input's gradient, squares of more than 2 and at most 5 times their stride
 * on zero padding, without groups; elsewhere the direct kernels run. */
typedef enum { FC_CONV_AUTO = 0, FC_CONV_DIRECT = 1, FC_CONV_WINOGRAD = 2 } fc_conv_algorithm;

typedef struct {
    fc_dtype dtype;
    fc_pad_mode pad_mode;
    fc_conv_algorithm algorithm;
    int64_t n, c, h, w;           /* x: [n][c][h][w] */
    int64_t k, kh, kw;            /* w: [k][c / groups][kh][kw] */
    int64_t oh, ow;               /* y: [n][k][oh][ow] */
    int64_t stride_h, stride_w;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    int64_t dilation_h, dilation_w;
    int64_t groups;
} fc_conv2d_desc;

/* FC_OK if the sizes are positive (n may be 0), fit each other and overflow nothing. */
fc_status fc_conv2d_check(const fc_conv2d_desc *d);

/* y = w * x + b (cross-correlation); b[k] may be NULL. */
fc_status fc_conv2d_forward_workspace_bytes(const fc_conv2d_desc *d, int n_threads, size_t *bytes);
fc_status fc_conv2d_forward(const fc_conv2d_desc *d, const void *x, const void *w, const void *b,
                            void *y, void *workspace, int n_threads);
/* How a forward pass for inference is run. Zeros are fc_conv2d_forward. */
typedef struct {
    int relu;
    const void *residual; /* of y's shape, or NULL; may be y itself */
    const void *prepared; /* by fc_conv2d_prepare, or NULL */
} fc_conv2d_inference;

/* y = w * x + b + residual, then max(y, 0) with relu (NaN stays NaN), in one pass: the same bits as
 * fc_conv2d_forward, fc_add_forward and FC_RELU one after the other. Workspace as forward. With
 * prepared weights w is not read and may be NULL. */
fc_status fc_conv2d_infer(const fc_conv2d_desc *d, const fc_conv2d_inference *how, const void *x,
                          const void *w, const void *b, void *y, void *workspace, int n_threads);
/* The weights as forward's kernels want them: in another order, or Winograd's transform of them.
 * For any n and number of threads; the other sizes, the algorithm and the tier are to be those of
 * the run. They take 0 bytes where kernels read w as it is: then give w and no prepared weights. */
fc_status fc_conv2d_prepared_bytes(const fc_conv2d_desc *d, size_t *bytes);
fc_status fc_conv2d_prepare(const fc_conv2d_desc *d, const void *w, void *prepared, int n_threads);
/* Of fc_conv2d_infer with prepared weights: a forward workspace without a place for them. */
fc_status fc_conv2d_prepared_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                             size_t *bytes);
/* dx from dy and w; zero padding only. b[c] (which may be NULL) is added: the bias of a transposed
 * convolution, which is this pass. */
fc_status fc_conv2d_backward_input_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                                   size_t *bytes);
fc_status fc_conv2d_backward_input(const fc_conv2d_desc *d, const void *dy, const void *w,
                                   const void *b, void *dx, void *workspace, int n_threads);
/* dw and db[k] (which may be NULL) from dy and x. */
fc_status fc_conv2d_backward_weight_workspace_bytes(const fc_conv2d_desc *d, int n_threads,
                                                    size_t *bytes);
fc_status fc_conv2d_backward_weight(const fc_conv2d_desc *d, const void *dy, const void *x,
                                    void *dw, void *db, void *workspace, int n_threads);
/* cols[n][c * kh * kw][oh * ow]: each window of x as a column; and its adjoint, which sums. */
fc_status fc_im2col(const fc_conv2d_desc *d, const void *x, void *cols, int n_threads);
fc_status fc_col2im(const fc_conv2d_desc *d, const void *cols, void *x, int n_threads);

/* ---- pool2d (pool2d.c) ---- */

typedef struct {
    fc_dtype dtype;
    int64_t n, c, h, w;           /* x: [n][c][h][w] */
    int64_t oh, ow;               /* y: [n][c][oh][ow] */
    int64_t kh, kw;
    int64_t stride_h, stride_w;
    int64_t pad_top, pad_bottom, pad_left, pad_right; /* at most half the kernel */
    int64_t dilation_h, dilation_w;                   /* 1 for averages */
    int count_include_pad;        /* averages: padding counts in the divisor */
} fc_pool2d_desc;

/* y and where it is: indices[n][c][oh][ow], h * w_size + w in the image plane. The first NaN of a
 * window wins, else the first of equal maxima; padding never does. */
fc_status fc_max_pool2d_forward(const fc_pool2d_desc *d, const void *x, void *y, int32_t *indices,
                                int n_threads);
/* FC_ERROR_VALUE if an index is no element of its window; dx is then of no use. */
fc_status fc_max_pool2d_backward(const fc_pool2d_desc *d, const void *dy, const int32_t *indices,
                                 void *dx, int n_threads);
fc_status fc_avg_pool2d_forward(const fc_pool2d_desc *d, const void *x, void *y, int n_threads);
fc_status fc_avg_pool2d_backward(const fc_pool2d_desc *d, const void *dy, void *dx, int n_threads);
/* The mean of each of `planes` (n * c) planes of `size` (h * w) elements. */
fc_status fc_global_avg_pool2d_forward(fc_dtype dtype, int64_t planes, int64_t size, const void *x,
                                       void *y, int n_threads);
fc_status fc_global_avg_pool2d_backward(fc_dtype dtype, int64_t planes, int64_t size,
                                        const void *dy, void *dx, int n_threads);

/* ---- linear (linear.c) ---- */

/* Scratch of every function of this family; m, n, k are the three sizes, in any order. */
int64_t fc_linear_workspace_bytes(fc_dtype dtype, int64_t m, int64_t n, int64_t k,
                                  int n_threads);

/* C = A B or C += A B; A is m x k and B k x n, with strides in elements; C is m x n, contiguous.
 * An element's bits depend on k and on its own row of A and column of B alone. */
typedef struct {
    int64_t m, n, k;
    int64_t a_row, a_col, b_row, b_col;
    int accumulate;
} fc_gemm_desc;

fc_status fc_gemm(const fc_gemm_desc *d, fc_dtype dtype, const void *a, const void *b, void *c,
                  void *workspace, int n_threads);

/* y (n, o) = x (n, i) w^T + b, with w (o, i) and b (o) or NULL */
typedef struct {
    int64_t n, i, o;
} fc_linear_desc;

fc_status fc_linear_forward(const fc_linear_desc *d, fc_dtype dtype, const void *x, const void *w,
                            const void *b, void *y, void *workspace, int n_threads);
fc_status fc_linear_backward_input(const fc_linear_desc *d, fc_dtype dtype, const void *dy,
                                   const void *w, void *dx, void *workspace, int n_threads);
fc_status fc_linear_backward_weight(const fc_linear_desc *d, fc_dtype dtype, const void *dy,
                                    const void *x, void *dw, void *db, void *workspace,
                                    int n_threads);

/* ---- pointwise: activations, softmax, losses (pointwise.c) ---- */

#define FC_CHUNK 16384 /* elements a task: how pointwise work is cut, whatever the threads */

typedef enum {
    FC_RELU = 0,       /* saves y */
    FC_LEAKY_RELU = 1, /* saves x; the parameter is the negative slope */
    FC_SIGMOID = 2,    /* saves y */
    FC_TANH = 3,       /* saves y */
    FC_ELU = 4,        /* saves x; the parameter is alpha */
    FC_STEP = 5,       /* 1 where x > 0, else 0; it has no backward pass */
    FC_ACTIVATIONS = 6
} fc_activation;

/* n elements; y may be x itself. NaN stays NaN. */
fc_status fc_activation_forward(fc_activation f, fc_dtype dtype, int64_t n, double parameter,
                                const void *x, void *y, int n_threads);
/* saved is forward's y or x, as the enum says; dx may be dy itself. */
fc_status fc_activation_backward(fc_activation f, fc_dtype dtype, int64_t n, double parameter,
                                 const void *dy, const void *saved, void *dx, int n_threads);

/* x where x > 0, else slopes[c] * x, over [outer][c][inner]; y may be x itself. Backward, dx and
 * the slopes' gradient; dx may be dy itself, and sums are fc_prelu_sums(d) doubles of scratch, as
 * many for each slope. */
typedef struct {
    int64_t outer, c, inner;
} fc_prelu_desc;

fc_status fc_prelu_forward(const fc_prelu_desc *d, fc_dtype dtype, const void *x,
                           const void *slopes, void *y, int n_threads);
int64_t fc_prelu_sums(const fc_prelu_desc *d);
fc_status fc_prelu_backward(const fc_prelu_desc *d, fc_dtype dtype, const void *dy, const void *x,
                            const void *slopes, void *dx, void *dslopes, double *sums,
                            int n_threads);

/* y = x * 0 with probability p, in [0, 1), else x / (1 - p); what is dropped follows from the seed
 * and an element's place alone, so the backward pass is the same call on dy. y may be x itself. */
fc_status fc_dropout(fc_dtype dtype, int64_t n, double p, uint64_t seed, const void *x, void *y,
                     int n_threads);

/* softmax, or its logarithm, over the middle axis of [outer][c][inner] */
typedef struct {
    int64_t outer, c, inner;
    int log;
} fc_softmax;

fc_status fc_softmax_forward(const fc_softmax *d, fc_dtype dtype, const void *x, void *y,
                             int n_threads);
fc_status fc_softmax_backward(const fc_softmax *d, fc_dtype dtype, const void *dy, const void *y,
                              void *dx, int n_threads);

/* losses[i] = -log softmax(logits[i])[targets[i]]; dlogits = scale * d sum(losses) / d logits.
 * logits and dlogits are (n, c), targets in 0..c-1 (else FC_ERROR_VALUE, nothing written). */
fc_status fc_softmax_cross_entropy(fc_dtype dtype, int64_t n, int64_t c, double scale,
                                   const void *logits, const int64_t *targets, void *dlogits,
                                   double *losses, int n_threads);

/* gradient = scale * (prediction - target); sums[i] is chunk i's sum of squared differences, and
 * fc_mse_sums(n) says how many chunks there are. */
int64_t fc_mse_sums(int64_t n);
fc_status fc_mse(fc_dtype dtype, int64_t n, double scale, const void *prediction,
                 const void *target, void *gradient, double *sums, int n_threads);

/* y = a + b, or max(a + b, 0) with relu (NaN stays NaN); n elements; y may be a or b itself. */
fc_status fc_add_forward(fc_dtype dtype, int64_t n, int relu, const void *a, const void *b,
                         void *y, int n_threads);

/* ---- batch_norm (batch_norm.c) ---- */

typedef struct {
    fc_dtype dtype;
    int64_t n, c, size; /* x: [n][c][size]; size is h * w, or 1 for features */
} fc_batch_norm_desc;

/* y = gamma * (x - mean) / sqrt(var + eps) + beta, per channel; all four [c], and gamma and beta
 * may be NULL (1 and 0). */
fc_status fc_batch_norm_inference(const fc_batch_norm_desc *d, double eps, const void *x,
                                  const void *gamma, const void *beta, const void *mean,
                                  const void *var, void *y, int n_threads);
/* The same with the mean and the (biased) variance of x itself; mean[c] and
 * inv_std[c] = 1 / sqrt(var + eps) are given back. Of no elements they are 0 and 1 / sqrt(eps).
 * Then, in the same pass, residual (of x's size) is added unless NULL, and relu cuts at 0. */
fc_status fc_batch_norm_forward(const fc_batch_norm_desc *d, double eps, const void *x,
                                const void *gamma, const void *beta, const void *residual,
                                int relu, void *y, double *mean, double *inv_std, int n_threads);
/* dx, dgamma[c], dbeta[c] from dy, x and what forward gave. With a ReLU, y is its output and
 * dz takes the gradient before it, which is also the residual's; dz may be dy. Without, y is
 * NULL and dz unused. */
fc_status fc_batch_norm_backward(const fc_batch_norm_desc *d, const void *dy, const void *y,
                                 const void *x, const void *gamma, const double *mean,
                                 const double *inv_std, void *dz, void *dx, void *dgamma,
                                 void *dbeta, int n_threads);
/* sums[c] of x over images and planes, as dbeta is of dy: the gradient of a bias. */
fc_status fc_channel_sums(const fc_batch_norm_desc *d, const void *x, void *sums, int n_threads);

/* ---- lrn (lrn.c): local response normalisation ---- */

typedef struct {
    fc_dtype dtype;
    int64_t n, c, size; /* x: [n][c][size] */
    int64_t window;     /* channels c - window / 2 to c + (window - 1) / 2, as far as there are */
    double alpha, beta, k;
} fc_lrn_desc;

/* y = x * s^-beta with s = k + alpha / window * (sum of x^2 over the window). */
fc_status fc_lrn_forward(const fc_lrn_desc *d, const void *x, void *y, int n_threads);
/* dx from dy and x. */
fc_status fc_lrn_backward_workspace_bytes(const fc_lrn_desc *d, int n_threads, int64_t *bytes);
fc_status fc_lrn_backward(const fc_lrn_desc *d, const void *dy, const void *x, void *dx,
                          void *workspace, int n_threads);

/* ---- affine (affine.c): images through affine maps, resampled bilinearly ---- */

enum { FC_AFFINE_BORDER = 3 }; /* rows and columns around an image in the workspace */

typedef struct {
    fc_dtype dtype;
    int64_t n, c, h, w, oh, ow; /* x: [n][c][h][w], y: [n][c][oh][ow] */
    double fill;                /* what lies around an image */
} fc_affine_desc;

/* Output pixel (row i, column j) of image k is the input at column m[0] j + m[1] i + m[2] and row
 * m[3] j + m[4] i + m[5], m = matrix[k][6]. Planes of more than 2^24 pixels overflow. */
fc_status fc_affine_workspace_bytes(const fc_affine_desc *d, int n_threads, int64_t *bytes);
fc_status fc_affine(const fc_affine_desc *d, const void *x, const double *matrix, void *y,
                    void *workspace, int n_threads);

/* ---- optim (optim.c): one step on n elements, in place ---- */

/* g = grad + weight_decay * param; velocity = momentum * velocity + (1 - dampening) * g;
 * param -= lr * (nesterov ? g + momentum * velocity : velocity), or lr * g without a velocity. */
typedef struct {
    int64_t n;
    double lr, momentum, dampening, weight_decay;
    int nesterov;
} fc_sgd_desc;

/* velocity may be NULL if momentum is 0 (else FC_ERROR_VALUE). */
fc_status fc_sgd_update(const fc_sgd_desc *d, fc_dtype dtype, void *param, const void *grad,
                        void *velocity, int n_threads);

/* g = grad + weight_decay * param, or, decoupled, param *= 1 - lr * weight_decay;
 * m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
 * param -= lr * (m / (1 - beta1^step)) / (sqrt(v / (1 - beta2^step)) + eps). */
typedef struct {
    int64_t n;
    int64_t step; /* 1 for the first (else FC_ERROR_VALUE) */
    double lr, beta1, beta2, eps, weight_decay;
    int decoupled;
} fc_adam_desc;

fc_status fc_adam_update(const fc_adam_desc *d, fc_dtype dtype, void *param, const void *grad,
                         void *m, void *v, int n_threads);

/* ---- plan: a small net as one program (plan.c) ---- */

/* Steps of a chain. Each has as input what the step before it gives; between a step with images and
 * LINEAR the features are those images, channel by channel and row by row. */
typedef enum {
    FC_PLAN_CONV = 0,      /* stride 1, zero padding, bias */
    FC_PLAN_CONV_POOL = 1, /* the same, then ReLU (if relu is set) and 2x2 max pooling */
    FC_PLAN_MAX_POOL = 2,  /* windows kh x kw side by side */
    FC_PLAN_AVG_POOL = 3,
    FC_PLAN_LINEAR = 4,
    FC_PLAN_ACTIVATION = 5, /* ReLU, sigmoid or tanh */
    FC_PLAN_KINDS = 6
} fc_plan_kind;

typedef struct {
    fc_plan_kind kind;
    fc_activation activation;
    int relu;
    int train_weight, train_bias; /* whether their gradients are wanted */
    int64_t c, h, w;              /* input: c planes of h x w, or c features (h = w = 1) */
    int64_t k, oh, ow;            /* output */
    int64_t kh, kw;
    int64_t pad_top, pad_bottom, pad_left, pad_right;
} fc_plan_step;

enum { FC_PLAN_MOST_STEPS = 64 };

typedef struct {
    fc_dtype dtype;
    int n_steps;
    const fc_plan_step *steps;
} fc_plan_desc;

/* A weight or a bias with its gradient (without an optimizer) or the optimizer's arrays. A plan has
 * two a step, weight [k][c][kh][kw] or [k][c] and bias [k] (data may be NULL). */
typedef struct {
    void *data, *grad;
    void *state[2]; /* SGD: velocity or NULL; Adam: m, v */
} fc_plan_param;

/* What becomes of a gradient: it is left in grad, or used for a step of an optimizer. */
typedef enum { FC_UPDATE_NONE = 0, FC_UPDATE_SGD = 1, FC_UPDATE_ADAM = 2 } fc_update_rule;

typedef struct {
    fc_update_rule rule;
    fc_sgd_desc sgd; /* n is not used */
    fc_adam_desc adam;
} fc_plan_update;

typedef enum { FC_LOSS_CROSS_ENTROPY = 0, FC_LOSS_MSE = 1 } fc_plan_loss;

typedef struct {
    int64_t n;
    const void *x;         /* n x the first step's input */
    fc_plan_loss loss;
    double scale;          /* gradients are those of scale * the sum of all losses */
    int exact;             /* no Winograd: without, outputs are not to the bit those of inference */
    const int64_t *labels; /* classes (n); for MSE they stand for one-hot vectors, or are NULL: */
    const void *targets;   /* n x the last step's output */
    double loss_sum;       /* out: cross-entropies, or squared differences */
    int64_t correct;       /* out: images whose largest output is at their label */
} fc_plan_batch;

/* FC_OK if the steps fit each other and are of kinds and sizes that a plan can run. */
fc_status fc_plan_workspace_bytes(const fc_plan_desc *d, int64_t n, int training, int n_threads,
                                  size_t *bytes);
/* y: n x the last step's output. An image's result does not depend on the others. */
fc_status fc_plan_infer(const fc_plan_desc *d, const fc_plan_param *params, int64_t n,
                        const void *x, void *y, void *workspace, int n_threads);
/* Forward, loss, backward, and then update; without the last if loss_sum is not finite. */
fc_status fc_plan_train(const fc_plan_desc *d, const fc_plan_param *params,
                        const fc_plan_update *update, fc_plan_batch *batch, void *workspace,
                        int n_threads);

#ifdef __cplusplus
}
#endif
#endif
