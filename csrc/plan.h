/* plan.h - how a plan lies in memory (plan.c decides, plan_tmpl.h runs), and the plan family's
 * functions in a tier's table.
 *
 * A batch is cut into blocks of `lanes` images, one image a vector lane. A block's values and
 * gradients are tensors of vectors, [c][h][w][lane], in an arena small enough for L2; a tensor that
 * a convolution reads has zero borders around its planes. (In inference a few images left over go
 * one by one: then an element is a real, at the same places.) The blocks are cut into chunks, which
 * are the parallel tasks. Each thread has one arena, and in it the weights in the order in which
 * convolutions read them; each chunk has its own sums of convolution weight gradients. Linear
 * layers keep their inputs and output gradients of the whole batch, image by image, and make their
 * weight gradients from them at the end.
 */
#ifndef FC_PLAN_H
#define FC_PLAN_H

#include "fastcnn.h"

/* Most chunks of a batch. More would let more threads help, but each costs a set of sums. */
#define PLAN_CHUNKS 16

/* Of F(2,5) (plan_winograd_tmpl.h): products of a tile; windows that its kernel takes at once. */
enum { PLAN_WINO_PRODUCTS = 6, PLAN_WINO_WINDOWS = 5 };

typedef struct {
    int64_t c, h, w;
    int64_t top, left, hp, wp; /* the border, and a plane's size with it */
    int64_t at;                /* where, in vectors from the start of a block's arena */
} plan_tensor;

/* A patch of CONV_POOL's input as its sparse backward pass sees it: the kh x kw x c elements under
 * a filter, in an image whose channels are neighbours. `stack` rows are laid side by side (a pixel
 * holds that many rows' channels) where one row would fill less than half a vector. */
typedef struct {
    int64_t stack;
    int64_t rows, vectors; /* of a patch of the input */
    int64_t pixel, pitch;  /* reals of a pixel and of a row of pixels */
    int64_t image;         /* reals of an image */
    int64_t map;           /* reals of an image's pooled maps */
    int64_t lists;         /* reals of the lists of gradients and of places, first in the scratch */
} plan_patch;

typedef struct {
    const fc_plan_step *step;
    plan_tensor x, y, dx, dy;  /* y may be x itself, and dy dx */
    int backward, needs_dx;    /* whether there is a backward pass, and whether it makes dx */
    int winograd;              /* training, CONV_POOL: forward by F(2,5), unless exact */
    int64_t best;              /* arena: where each maximum came from, in vectors */
    plan_patch patch;          /* CONV_POOL */
    int64_t dw, dw_pitch;      /* chunk sums: gradients [k][rows][pitch], and of the bias */
    int64_t db;
    int64_t packed, packed_back; /* arena: weights in the order of the kernels, in vectors */
    int64_t rows_x, rows_dy;   /* shared, LINEAR: [image][features], rounded up to vectors */
    int64_t items;             /* tasks of the update */
} plan_stage;

typedef struct {
    int n_stages, first;       /* the first stage with a backward pass */
    plan_stage stages[FC_PLAN_MOST_STEPS];
    int64_t n, lanes, blocks, chunks;
    int64_t few;               /* inference: images that go one by one, faster than as a block */
    plan_tensor input, output, output_gradient;
    int64_t arena;             /* reals of a thread's arena, and where its scratch starts */
    int64_t scratch;
    int64_t shared;            /* reals that all threads share */
    int64_t sums;              /* shared: chunk sums; each chunk has sums_each reals */
    int64_t sums_each;
    int64_t items;
    double work;               /* multiply-adds */
} plan_layout;

/* A batch in work. */
typedef struct {
    const plan_layout *layout;
    const fc_plan_param *params;
    const fc_plan_update *update; /* training */
    const fc_plan_batch *batch;
    int training;
    void *y;             /* inference: the outputs */
    double *losses;      /* one an image */
    int64_t *correct;    /* one a block */
    void *shared, *arenas;
    char packed[PLAN_CHUNKS]; /* whether a thread's arena has the weights */
} plan_run;

typedef struct {
    int lanes;
    int channels;                /* that a convolution makes at once */
    int update_rows;             /* of a linear weight in one task of the update */
    int64_t update_scratch;      /* reals that such a task needs besides the rows */
    void (*chunks)(plan_run *r, int n_threads); /* forward, and in training backward */
    void (*update)(const plan_run *r, int n_threads);
} plan_kernels;

#endif
