"""The first links of the oracle chain: worked values and finite differences hold the reference.

Every differentiable function, with respect to every differentiable input, in float64. The loss is
sum(c * y) with random c, never ones.
"""

import inspect

import numpy as np
import pytest
from helpers import (
    assert_close,
    assert_same,
    conv2d_by_single_numbers,
    distinct,
    integers,
    normal,
    numerical_gradient,
)

from fastcnn import ops, reference

F8 = np.float64


def check_gradient(forward, x, gradient, tolerance=1e-6, zeros=0.5):
    """`gradient` is d forward() / d x, where forward() reads x."""
    assert_close(gradient, numerical_gradient(forward, x), tolerance, zeros=zeros)


# ------------------------------------------------------------------------------------ signatures


@pytest.mark.parametrize("name", sorted(ops.__all__))
def test_ops_have_reference_twins(name):
    def form(function):
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, p.default) for p in parameters]

    assert form(getattr(ops, name)) == form(getattr(reference, name))


# ------------------------------------------------------------------------------------ convolution

CONVOLUTIONS = {
    "plain": ((2, 2, 5, 6), (3, 2, 3, 2), {}),
    "stride": ((2, 2, 7, 6), (3, 2, 3, 2), {"stride": (2, 3), "padding": 1}),
    "four sides": ((1, 2, 4, 5), (2, 2, 3, 3), {"padding": ((0, 2), (3, 1))}),
    "wide padding": ((1, 1, 2, 3), (2, 1, 2, 3), {"padding": (3, 4)}),
    "dilation": ((2, 1, 7, 8), (2, 1, 3, 2), {"dilation": (2, 3), "padding": (1, 2)}),
    "groups": ((2, 4, 4, 5), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 3, 5, 4), (3, 1, 3, 3), {"groups": 3, "stride": 2, "padding": "same"}),
    "same, even kernel": ((1, 2, 5, 5), (2, 2, 4, 2), {"padding": "same", "stride": (2, 1)}),
    "1x1, stride 2": ((2, 3, 5, 5), (2, 3, 1, 1), {"stride": 2}),
    "replicate": ((2, 2, 4, 3), (2, 2, 3, 3), {"padding": 1, "padding_mode": "replicate"}),
    "replicate, wide": (
        (1, 2, 1, 2),
        (2, 2, 2, 3),
        {"padding": ((4, 1), (2, 5)), "padding_mode": "replicate", "stride": 2, "dilation": 2},
    ),
}


@pytest.fixture(params=CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def convolution(request, rng):
    """x, w, b, dy, options of one convolution."""
    x_shape, w_shape, options = request.param
    x, w, b = (normal(rng, shape, F8) for shape in (x_shape, w_shape, w_shape[:1]))
    y = reference.conv2d(x, w, b, **options)
    return x, w, b, normal(rng, y.shape, F8), dict(options)


def top_left(options, size, kernel):
    """Pixels of padding above and to the left, from the options of a call."""
    padding = options.get("padding", 0)
    if padding == "same":  # SAME_UPPER: the odd pixel goes below and to the right
        stride, dilation = (np.broadcast_to(options.get(o, 1), 2) for o in ("stride", "dilation"))
        excess = [
            max((-(-n // s) - 1) * s + (f - 1) * d + 1 - n, 0) // 2
            for n, s, f, d in zip(size, stride, kernel, dilation, strict=True)
        ]
        return excess[0], excess[1]
    if np.ndim(padding) == 2:
        return padding[0][0], padding[1][0]
    return tuple(np.broadcast_to(padding, 2).tolist())


def test_conv2d_is_the_sum_over_single_numbers(convolution):
    x, w, b, dy, options = convolution
    others = {name: value for name, value in options.items() if name != "padding"}
    expected = conv2d_by_single_numbers(
        x, w, b, dy.shape[2:], top_left=top_left(options, x.shape[2:], w.shape[2:]), **others
    )
    assert_close(reference.conv2d(x, w, b, **options), expected, 1e-12)


def test_conv2d_gradients(convolution):
    x, w, b, dy, options = convolution

    def loss():
        return float((reference.conv2d(x, w, b, **options) * dy).sum())

    dx = reference.conv2d_backward_input(dy, w, x.shape, **options)
    dw, db = reference.conv2d_backward_weight(dy, x, w.shape, **options)
    check_gradient(loss, x, dx, zeros=0.8)
    check_gradient(loss, w, dw)
    check_gradient(loss, b, db)


def test_col2im_is_the_adjoint_of_im2col(convolution, rng):
    x, w, _, _, options = convolution
    options = {name: value for name, value in options.items() if name != "groups"}
    cols = reference.im2col(x, w.shape[2:], **options)
    c = normal(rng, cols.shape, F8)
    back = reference.col2im(c, x.shape, w.shape[2:], **options)
    np.testing.assert_allclose((cols * c).sum(), (x * back).sum(), rtol=1e-12)


def test_conv2d_is_a_matrix_product_of_im2col(convolution):
    x, w, b, _, options = convolution
    y = reference.conv2d(x, w, b, **options)
    groups = options.pop("groups", 1)
    cols = reference.im2col(x, w.shape[2:], **options)
    rows = w[0].size
    product = w.reshape(groups, -1, rows) @ cols.reshape(len(x), groups, rows, -1)
    assert_close(product.reshape(y.shape) + b[:, None, None], y, 1e-12)


def test_conv2d_worked_by_hand():
    """The kernel is not flipped: 3 channels, one 3x3 window, 3 + 6 + 0 = 9 (flipped: 6)."""
    planes = [["000", "011", "021"], ["000", "022", "010"], ["000", "003", "010"]]
    kernels = [["000", "001", "010"], ["020", "020", "020"], ["100", "020", "001"]]
    x, w = (np.array([[[*map(float, row)] for row in p] for p in a]) for a in (planes, kernels))
    assert reference.conv2d(x[None], w[None]).tolist() == [[[[9.0]]]]
    parts = [reference.conv2d(x[None, c : c + 1], w[None, c : c + 1]).item() for c in range(3)]
    assert parts == [3.0, 6.0, 0.0]


def test_conv2d_two_channels_by_hand():
    x = np.array([[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[1, 2, 3], [4, 5, 6], [7, 8, 9]]], F8)
    w = np.array([[[0, 1], [2, 3]], [[1, 2], [3, 4]]], F8)
    assert reference.conv2d(x[None], w[None]).tolist() == [[[[56, 72], [104, 120]]]]


def test_replicate_padding_by_hand():
    """Row 1 2 with two copies each side is 1 1 1 2 2 2; sums of three: 3 4 5 6."""
    x, w = np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 3))
    options = {"padding": (0, 2), "padding_mode": "replicate"}
    assert reference.conv2d(x, w, **options).tolist() == [[[[3.0, 4.0, 5.0, 6.0]]]]
    dy = np.array([[[[1.0, 10.0, 100.0, 1000.0]]]])  # pixel 1 is seen 3, 2, 1, 0 times
    dx = reference.conv2d_backward_input(dy, w, x.shape, **options)
    assert dx.tolist() == [[[[123.0, 3210.0]]]]


@pytest.mark.parametrize(
    ("n", "kernel", "stride", "out"), [(5, 3, 1, 5), (5, 3, 2, 3), (6, 3, 2, 3), (7, 2, 3, 3)]
)
def test_same_padding_puts_the_odd_pixel_last(n, kernel, stride, out):
    """SAME_UPPER: ceil(n / stride) outputs; 6 pixels, kernel 3, stride 2 need 1: at the end."""
    x = np.arange(1.0, n + 1).reshape(1, 1, 1, n)
    w = np.zeros((1, 1, 1, kernel))
    w[..., 0] = 1  # copies the first pixel of each window
    y = reference.conv2d(x, w, stride=(1, stride), padding="same").ravel()
    before = max((out - 1) * stride + kernel - n, 0) // 2
    first = np.arange(out) * stride - before
    assert y.tolist() == [x[0, 0, 0, i] if i >= 0 else 0 for i in first]


# ------------------------------------------------------------------------------------ pooling

POOLS = {
    "2x2": ((2, 3, 6, 8), 2, {}),
    "overlapping": ((2, 2, 7, 6), 3, {"stride": 2}),
    "3x3, stride 1, padded": ((1, 2, 4, 5), 3, {"stride": 1, "padding": 1}),
    "four sides": ((1, 2, 5, 5), (2, 3), {"stride": (2, 1), "padding": ((1, 0), (0, 1))}),
    "ceil": ((2, 1, 6, 7), 3, {"stride": 2, "ceil_mode": True}),
    "ceil, padded": ((1, 2, 5, 6), (3, 2), {"stride": 2, "padding": 1, "ceil_mode": True}),
    "remainder": ((1, 2, 7, 5), 2, {"stride": 3}),
}


@pytest.mark.parametrize("dilation", [1, (2, 1)], ids=["dense", "dilated"])
@pytest.mark.parametrize(("shape", "kernel", "options"), POOLS.values(), ids=POOLS.keys())
def test_max_pool2d_gradient(rng, shape, kernel, options, dilation):
    x = distinct(rng, shape, F8)
    options = {**options, "dilation": dilation}
    y, indices = reference.max_pool2d(x, kernel, **options)
    dy = normal(rng, y.shape, F8)
    planes, at = x.reshape(*shape[:2], -1), indices.reshape(*shape[:2], -1)
    assert indices.dtype == np.int32
    assert_same(np.take_along_axis(planes, at, 2).reshape(y.shape), y)
    dx = reference.max_pool2d_backward(dy, indices, shape, kernel, **options)
    check_gradient(
        lambda: float((reference.max_pool2d(x, kernel, **options)[0] * dy).sum()),
        x,
        dx,
        zeros=0.95,
    )


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize(("shape", "kernel", "options"), POOLS.values(), ids=POOLS.keys())
def test_avg_pool2d_gradient(rng, shape, kernel, options, count_include_pad):
    x = normal(rng, shape, F8)
    options = {**options, "count_include_pad": count_include_pad}
    dy = normal(rng, reference.avg_pool2d(x, kernel, **options).shape, F8)
    dx = reference.avg_pool2d_backward(dy, shape, kernel, **options)
    check_gradient(
        lambda: float((reference.avg_pool2d(x, kernel, **options) * dy).sum()), x, dx, zeros=0.7
    )


def test_global_avg_pool2d_gradient(rng):
    x = normal(rng, (2, 5, 3, 4), F8)
    dy = normal(rng, (2, 5, 1, 1), F8)
    dx = reference.global_avg_pool2d_backward(dy, x.shape)
    check_gradient(lambda: float((reference.global_avg_pool2d(x) * dy).sum()), x, dx)


@pytest.mark.parametrize("kernel", range(1, 6))
def test_max_pool2d_takes_nan_wherever_it_is(kernel):
    for at in range(kernel**2):
        for later in range(at, kernel**2):
            x = np.arange(1.0, kernel**2 + 1)
            x[at] = x[later] = np.nan
            y, indices = reference.max_pool2d(x.reshape(1, 1, kernel, kernel), kernel)
            assert np.isnan(y.item())
            assert indices.item() == at


def test_max_pool2d_ties_and_infinities():
    def pool(row, **options):
        y, indices = reference.max_pool2d(np.array([[[row]]], F8), (1, len(row)), **options)
        return y.ravel().tolist(), indices.ravel().tolist()

    inf = np.inf
    assert pool([1, 3, 3, 2]) == ([3], [1])
    assert pool([-inf, -inf]) == ([-inf], [0])
    assert pool([-5, -7], padding=(0, 1), stride=1) == ([-5, -5, -7], [0, 0, 1])
    assert pool([-inf, -inf], padding=(0, 1), stride=1) == ([-inf] * 3, [0, 0, 1])


def test_avg_pool2d_divisors_by_hand():
    """Row 1 2 3 4 5, kernel 3, stride 3: ceil mode adds a window over 4 5 and one beyond."""
    x = np.array([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]])

    def pool(**options):
        return reference.avg_pool2d(x, (1, 3), **options).ravel().tolist()

    assert pool() == [2.0]
    assert pool(ceil_mode=True) == [2.0, 4.5]
    assert pool(padding=(0, 1)) == [1.0, 4.0]
    assert pool(padding=(0, 1), count_include_pad=False) == [1.5, 4.0]
    assert pool(padding=(0, 1), stride=2) == [1.0, 3.0, 3.0]
    assert pool(padding=(0, 1), stride=2, count_include_pad=False) == [1.5, 3.0, 4.5]
    # 5 + 2 pixels, stride 3, kernel 3: 1 left over would start in the right padding: dropped.
    assert pool(padding=(0, 1), stride=3, ceil_mode=True) == [1.0, 4.0]


# ------------------------------------------------------------------------------------ linear


def test_linear_gradients(rng):
    x, w, b, dy = (normal(rng, s, F8) for s in ((4, 5), (3, 5), (3,), (4, 3)))

    def loss():
        return float((reference.linear(x, w, b) * dy).sum())

    dw, db = reference.linear_backward_weight(dy, x)
    check_gradient(loss, x, reference.linear_backward_input(dy, w))
    check_gradient(loss, w, dw)
    check_gradient(loss, b, db)


# ------------------------------------------------------------------------------------ batch norm


@pytest.mark.parametrize("shape", [(4, 3, 2, 3), (5, 2), (2, 3, 4, 1)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_gradients(rng, shape, affine):
    x, dy = normal(rng, shape, F8), normal(rng, shape, F8)
    gamma, beta = (normal(rng, shape[1:2], F8) if affine else None for _ in range(2))

    def loss():
        return float((reference.batch_norm_forward(x, gamma, beta, eps=0.1)[0] * dy).sum())

    _, mean, inv_std = reference.batch_norm_forward(x, gamma, beta, eps=0.1)
    dx, dgamma, dbeta = reference.batch_norm_backward(dy, x, gamma, mean, inv_std)
    check_gradient(loss, x, dx)
    if affine:
        check_gradient(loss, gamma, dgamma)
        check_gradient(loss, beta, dbeta)


def test_batch_norm_by_hand():
    """1, 5 and 3, 3: means 3 and 3, variances 4 and 0."""
    x = np.array([[1.0, 3.0], [5.0, 3.0]])
    gamma, beta = np.array([10.0, 10.0]), np.array([1.0, 2.0])
    y, mean, inv_std = reference.batch_norm_forward(x, gamma, beta, eps=0.25)
    assert mean.tolist() == [3, 3] and inv_std.tolist() == [4.25**-0.5, 2]
    np.testing.assert_allclose(y, [[1 - 20 / 4.25**0.5, 2], [1 + 20 / 4.25**0.5, 2]])
    running = np.array([0.0, 1.0]), np.array([8.75, 0.0])
    y = reference.batch_norm(x, gamma, beta, *running, eps=0.25)
    np.testing.assert_allclose(y, [[1 + 10 / 3, 42], [1 + 50 / 3, 42]])


# ------------------------------------------------------------------------------------ activations


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_activation_gradients_from_the_output(rng, name):
    forward, backward = getattr(reference, name), getattr(reference, f"{name}_backward")
    x, dy = normal(rng, (3, 4, 5), F8), normal(rng, (3, 4, 5), F8)
    check_gradient(lambda: float((forward(x) * dy).sum()), x, backward(dy, forward(x)), zeros=0.7)


@pytest.mark.parametrize("slope", [0.01, 0.3])
def test_leaky_relu_gradient(rng, slope):
    x, dy = normal(rng, (3, 4, 5), F8), normal(rng, (3, 4, 5), F8)
    dx = reference.leaky_relu_backward(dy, x, slope)
    check_gradient(lambda: float((reference.leaky_relu(x, slope) * dy).sum()), x, dx)


@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_elu_gradient(rng, alpha):
    x, dy = normal(rng, (3, 4, 5), F8), normal(rng, (3, 4, 5), F8)
    dx = reference.elu_backward(dy, x, alpha)
    check_gradient(lambda: float((reference.elu(x, alpha) * dy).sum()), x, dx)


@pytest.mark.parametrize("slopes", [1, 4])
def test_prelu_gradients(rng, slopes):
    x, dy, w = (normal(rng, s, F8) for s in ((3, 4, 5), (3, 4, 5), (slopes,)))
    dx, dw = reference.prelu_backward(dy, x, w)

    def loss():
        return float((reference.prelu(x, w) * dy).sum())

    check_gradient(loss, x, dx)
    check_gradient(loss, w, dw)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_gradients(rng, name, axis):
    forward, backward = getattr(reference, name), getattr(reference, f"{name}_backward")
    x, dy = normal(rng, (3, 4, 5), F8), normal(rng, (3, 4, 5), F8)
    dx = backward(dy, forward(x, axis), axis)
    check_gradient(lambda: float((forward(x, axis) * dy).sum()), x, dx)


def test_activations_by_hand():
    x = np.array([-2.0, 0.0, np.log(3.0)])
    np.testing.assert_allclose(reference.sigmoid(x), [1 / (1 + np.e**2), 0.5, 0.75])
    np.testing.assert_allclose(reference.tanh(x)[[1, 2]], [0, 0.8])
    np.testing.assert_allclose(reference.softmax(x[1:]), [0.25, 0.75])
    np.testing.assert_allclose(reference.log_softmax(x[1:]), np.log([0.25, 0.75]))
    np.testing.assert_allclose(reference.leaky_relu(x[:2], 0.1), [-0.2, 0])
    assert np.isnan(reference.relu(np.array([np.nan]))).all()


def test_softmax_of_large_logits_is_finite():
    x = np.array([[1e4, 0.0, -1e4]])
    assert reference.softmax(x).tolist() == [[1.0, 0.0, 0.0]]
    assert reference.log_softmax(x).tolist() == [[0.0, -1e4, -2e4]]
    loss, dlogits = reference.softmax_cross_entropy(x, np.array([2]))
    assert (loss, dlogits.tolist()) == (2e4, [[1.0, 0.0, -1.0]])


# ------------------------------------------------------------------------------------ losses


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_gradients(rng, reduction):
    logits, labels = normal(rng, (6, 5), F8), rng.integers(0, 5, 6)
    prediction, target = normal(rng, (3, 4, 2), F8), normal(rng, (3, 4, 2), F8)
    for function, x, y in (
        (reference.softmax_cross_entropy, logits, labels),
        (reference.mse, prediction, target),
    ):
        gradient = function(x, y, reduction=reduction)[1]
        check_gradient(lambda f=function, a=x, b=y: f(a, b, reduction=reduction)[0], x, gradient)


def test_losses_by_hand():
    """-log(0.6) = 0.5108 nats; the mean over two rows, one of them certain, is half of it."""
    logits = np.log([[0.1, 0.2, 0.6, 0.1]])
    loss, dlogits = reference.softmax_cross_entropy(logits, np.array([2]))
    assert round(loss, 4) == 0.5108
    np.testing.assert_allclose(dlogits, [[0.1, 0.2, -0.4, 0.1]])
    two = np.concatenate([logits, [[0.0, 0.0, 1000.0, 0.0]]])
    assert round(reference.softmax_cross_entropy(two, np.array([2, 2]))[0], 4) == 0.2554
    assert reference.mse(np.array([[3.0, 1.0]]), np.array([[1.0, 1.0]]))[0] == 2.0


@pytest.mark.parametrize("labels", [[-1, 0], [0, 3]])
def test_labels_outside_the_classes_are_refused(labels):
    with pytest.raises(ValueError, match=r"targets in 0\.\.2"):
        reference.softmax_cross_entropy(np.zeros((2, 3)), np.array(labels))


# ------------------------------------------------------------------------------------ optimizers


def test_sgd_update_by_hand():
    """lr 0.5, momentum 0.5, constant gradient 4: velocity 4, 6, 7; steps half of that."""
    param, velocity, path = np.array([10.0]), np.zeros(1), []
    for _ in range(3):
        reference.sgd_update(param, np.array([4.0]), velocity, lr=0.5, momentum=0.5)
        path.append(param.item())
    assert path == [8.0, 5.0, 1.5]
    param, velocity = np.array([10.0]), np.zeros(1)
    reference.sgd_update(
        param, np.array([4.0]), velocity,
        lr=0.5, momentum=0.5, dampening=0.25, weight_decay=0.2, nesterov=True,
    )  # fmt: skip
    # g = 4 + 0.2 * 10 = 6, velocity = 0.75 * 6 = 4.5, step 0.5 * (6 + 0.5 * 4.5)
    assert (velocity.item(), param.item()) == (4.5, 10 - 4.125)
    with pytest.raises(ValueError, match="velocity"):
        reference.sgd_update(param, np.array([4.0]), None, lr=0.5, momentum=0.5)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_update_by_hand(decoupled):
    """betas 0.5, 0.75, eps 0, gradients 2 then -4, weight decay 0.5 of param 8."""
    param, m, v = np.array([8.0]), np.zeros(1), np.zeros(1)
    common = {"lr": 1.0, "betas": (0.5, 0.75), "eps": 0.0, "decoupled": decoupled}
    decay = {"weight_decay": 0.5}
    reference.adam_update(param, np.array([2.0]), m, v, step=1, **common, **decay)
    if decoupled:  # 8 - 0.5 * 8 - sign(2)
        assert (param.item(), m.item(), v.item()) == (3.0, 1.0, 1.0)
    else:  # g = 2 + 4 = 6: 8 - sign(6)
        assert (param.item(), m.item(), v.item()) == (7.0, 3.0, 9.0)
        return
    reference.adam_update(param, np.array([-4.0]), m, v, step=2, **common)
    # m = 0.5 - 2 = -1.5, corrected by 0.75: -2; v = 0.75 + 4 = 4.75, corrected by 0.4375
    assert (m.item(), v.item()) == (-1.5, 4.75)
    np.testing.assert_allclose(param.item(), 3 + 2 / np.sqrt(4.75 / 0.4375))


# ------------------------------------------------------------------------------------ no rows


def test_dtype_is_kept(rng, dtype):
    x, w = integers(rng, (2, 2, 6, 6), dtype), integers(rng, (4, 2, 3, 3), dtype)
    dy = integers(rng, (2, 4, 4, 4), dtype)
    logits, labels = x.reshape(2, -1), np.array([0, 1])
    results = [
        reference.conv2d(x, w),
        reference.conv2d(x, w, padding=1, padding_mode="replicate"),
        reference.conv2d_backward_input(dy, w, x.shape),
        *reference.conv2d_backward_weight(dy, x, w.shape),
        reference.im2col(x, 3),
        reference.max_pool2d(x, 2)[0],
        reference.avg_pool2d(x, 2),
        reference.avg_pool2d_backward(x, (2, 2, 12, 12), 2),
        reference.global_avg_pool2d(x),
        reference.linear(logits, logits),
        reference.add(x, x, relu=True),
        reference.batch_norm(x, w[0, 0, 0, :2], None, *2 * [np.ones(2, dtype)]),
        reference.batch_norm_forward(x, None, w[0, 0, 0, :2])[0],
        *reference.batch_norm_backward(x, x, w[0, 0, 0, :2], np.zeros(2), np.ones(2)),
        reference.leaky_relu(x),
        reference.leaky_relu_backward(x, x),
        reference.elu(x),
        reference.elu_backward(x, x),
        reference.step(x),
        reference.prelu(x, logits[0, :1]),
        *reference.prelu_backward(x, x, logits[0, :1]),
        reference.sigmoid(x),
        reference.softmax(x),
        reference.log_softmax_backward(x, x),
        reference.softmax_cross_entropy(logits, labels)[1],
        reference.mse(x, x)[1],
    ]
    assert {r.dtype for r in results} == {dtype}
    param, m, v = (integers(rng, (3,), dtype) ** 2 for _ in range(3))
    reference.sgd_update(param, m, v, lr=0.1, momentum=0.9)
    reference.adam_update(param, m, m, v, step=1, lr=0.1)
    assert {param.dtype, m.dtype, v.dtype} == {dtype}


def test_empty_batches():
    x, w = np.zeros((0, 2, 6, 6)), np.ones((4, 2, 3, 3))
    y = reference.conv2d(x, w, padding=1)
    assert y.shape == (0, 4, 6, 6)
    assert reference.conv2d_backward_input(y, w, x.shape, padding=1).shape == x.shape
    dw, db = reference.conv2d_backward_weight(y, x, w.shape, padding=1)
    assert not dw.any() and not db.any() and (dw.shape, db.shape) == (w.shape, (4,))
    assert reference.im2col(x, 3).shape == (0, 18, 16)
    pooled, indices = reference.max_pool2d(x, 2)
    assert pooled.shape == (0, 2, 3, 3)
    assert reference.max_pool2d_backward(pooled, indices, x.shape, 2).shape == x.shape
    assert reference.avg_pool2d(x, 2).shape == (0, 2, 3, 3)
    assert reference.global_avg_pool2d(x).shape == (0, 2, 1, 1)
    assert reference.softmax_cross_entropy(np.zeros((0, 3)), np.zeros(0, int))[0] == 0.0
    assert reference.mse(np.zeros((0, 3)), np.zeros((0, 3)))[0] == 0.0


# ------------------------------------------------------------------------------------ refusals

X, W = np.zeros((2, 4, 6, 6)), np.zeros((6, 2, 3, 3))
REFUSED = {
    "conv2d channels": (
        lambda: reference.conv2d(np.zeros((4, 12, 28, 28)), np.zeros((4, 8, 3, 3)), groups=2),
        r"conv2d: expected x.shape\[1\] == groups \* w.shape\[1\] \(2\*8\), "
        r"got x.shape=\(4, 12, 28, 28\)",
    ),
    "conv2d groups": (
        lambda: reference.conv2d(X, np.zeros((5, 2, 3, 3)), groups=2),
        r"w.shape\[0\] to be a multiple of groups \(2\), got w.shape=\(5, 2, 3, 3\)",
    ),
    "conv2d mode": (
        lambda: reference.conv2d(X, W, groups=2, padding_mode="mirror"),
        "padding_mode 'zeros' or 'replicate', got 'mirror'",
    ),
    "conv2d size": (
        lambda: reference.conv2d(np.zeros((1, 1, 2, 9)), np.zeros((1, 1, 5, 5))),
        r"H \+ padding >= 5 .* padding 2 or H >= 5 would fit",
    ),
    "conv2d dy": (
        lambda: reference.conv2d_backward_weight(X, X, (4, 4, 3, 3)),
        r"dy.shape == \(2, 4, 4, 4\)",
    ),
    "conv2d nothing to replicate": (
        lambda: reference.conv2d(
            np.zeros((1, 1, 0, 3)), np.zeros((1, 1, 1, 1)), padding=1, padding_mode="replicate"
        ),
        "no border to replicate",
    ),
    "col2im": (lambda: reference.col2im(np.zeros((2, 36, 15)), X.shape, 3), r"\(2, 36, 16\)"),
    "pool padding": (
        lambda: reference.max_pool2d(X, 3, padding=2),
        "padding of at most half the kernel",
    ),
    "pool dilation": (
        lambda: reference.max_pool2d(np.zeros((1, 1, 2, 2)), 2, padding=1, dilation=3),
        "wholly in the padding",
    ),
    "pool indices": (
        lambda: reference.max_pool2d_backward(
            X, np.full(X.shape, 144, np.int32), (2, 4, 12, 12), 2
        ),
        r"indices in 0\.\.143",
    ),
    "input_shape": (
        lambda: reference.conv2d_backward_input(X, W, (2, 4, 6)),
        "input_shape to be a tuple of 4 sizes",
    ),
    "linear": (
        lambda: reference.linear(np.zeros((2, 3)), np.zeros((4, 5))),
        r"expected w.shape == \(4, 3\)",
    ),
    "axis": (lambda: reference.softmax(X, 4), r"axis in -4\.\.3, got 4"),
    "reduction": (lambda: reference.mse(X, X, reduction="max"), "reduction 'mean' or 'sum'"),
    "global": (lambda: reference.global_avg_pool2d(np.zeros((1, 1, 0, 2))), "planes of at least"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
