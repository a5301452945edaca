"""Stateless array functions on the compiled kernels: check, allocate, call.

NCHW, float32 (tuned) or float64; any strided or read-only array is accepted. Each function has a
naive twin of the same name and signature in `fastcnn.reference`.
"""

from .activation import (
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_backward,
    tanh,
    tanh_backward,
)
from .conv import col2im, conv2d, conv2d_backward_input, conv2d_backward_weight, im2col
from .loss import mse, softmax_cross_entropy

__all__ = [
    "col2im",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "im2col",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "mse",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "tanh",
    "tanh_backward",
]
