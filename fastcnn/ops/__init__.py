"""Stateless array functions on the compiled kernels: check, allocate, call.

NCHW, float32 (tuned) or float64; any strided or read-only array is accepted. Each function has a
naive twin of the same name and signature in `fastcnn.reference`.
"""

from .activation import (
    elu,
    elu_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    prelu,
    prelu_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    step,
    tanh,
    tanh_backward,
)
from .affine import affine
from .batch_norm import batch_norm, batch_norm_backward, batch_norm_forward
from .conv import col2im, conv2d, conv2d_backward_input, conv2d_backward_weight, im2col
from .conv1d import conv1d, conv1d_backward_input, conv1d_backward_weight
from .conv_transpose import (
    conv_transpose2d,
    conv_transpose2d_backward_input,
    conv_transpose2d_backward_weight,
)
from .dropout import dropout
from .linear import linear, linear_backward_input, linear_backward_weight
from .loss import mse, softmax_cross_entropy
from .lrn import local_response_norm, local_response_norm_backward
from .merge import add
from .optim import adam_update, sgd_update
from .pool import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from .pool1d import avg_pool1d, avg_pool1d_backward, max_pool1d, max_pool1d_backward
from .roi import roi_pool, roi_pool_backward
from .weighted_pool import (
    weighted_avg_pool2d,
    weighted_avg_pool2d_backward_input,
    weighted_avg_pool2d_backward_weight,
)

__all__ = [
    "adam_update",
    "add",
    "affine",
    "avg_pool1d",
    "avg_pool1d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_forward",
    "col2im",
    "conv1d",
    "conv1d_backward_input",
    "conv1d_backward_weight",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "conv_transpose2d",
    "conv_transpose2d_backward_input",
    "conv_transpose2d_backward_weight",
    "dropout",
    "elu",
    "elu_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "im2col",
    "leaky_relu",
    "leaky_relu_backward",
    "linear",
    "linear_backward_input",
    "linear_backward_weight",
    "local_response_norm",
    "local_response_norm_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool1d",
    "max_pool1d_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "mse",
    "prelu",
    "prelu_backward",
    "relu",
    "relu_backward",
    "roi_pool",
    "roi_pool_backward",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "step",
    "tanh",
    "tanh_backward",
    "weighted_avg_pool2d",
    "weighted_avg_pool2d_backward_input",
    "weighted_avg_pool2d_backward_weight",
]
