"""BatchNorm2d: running statistics, what inference may not do, buffers in the state of a net."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, normal

from fastcnn import nn, testing


def batch(rng, shape=(6, 3, 4, 5), dtype=np.float32):
    per_channel = (1, shape[1], *(1,) * (len(shape) - 2))
    x = rng.normal(size=shape) * rng.uniform(1, 3, per_channel) + rng.normal(size=per_channel) * 5
    return x.astype(dtype)


def net(seed=0):
    return nn.Sequential(
        conv=nn.Conv2d(2, 3, 3, bias=False, seed=seed),
        bn=nn.BatchNorm2d(3),
        relu=nn.ReLU(),
        flat=nn.Flatten(),
        fc=nn.Linear(27, 4, seed=seed),
        bn2=nn.BatchNorm2d(4),
    )


# ---------------------------------------------------------------------------- the two ways to run


@pytest.mark.parametrize("shape", [(6, 3, 4, 5), (9, 3)], ids=str)
def test_running_statistics_follow_the_batches(shape, rng):
    """The rule of the paper's algorithm 2 with an exponential mean, in float64 by hand."""
    bn = nn.BatchNorm2d(3, momentum=0.25).double()
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        x = batch(rng, shape, np.float64)
        y, _ = bn.forward(x)
        axes = (0, *range(2, x.ndim))
        mean = 0.75 * mean + 0.25 * x.mean(axes)
        var = 0.75 * var + 0.25 * x.var(axes, ddof=1)
        np.testing.assert_allclose(y.mean(axes), 0, atol=1e-12)
        np.testing.assert_allclose(y.var(axes), 1, rtol=1e-4)
    np.testing.assert_allclose(bn.running_mean.data, mean, rtol=1e-12)
    np.testing.assert_allclose(bn.running_var.data, var, rtol=1e-9)
    x = batch(rng, shape, np.float64)
    column = (-1, *(1,) * (x.ndim - 2))
    expected = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + bn.eps)
    np.testing.assert_allclose(bn(x), expected, rtol=1e-9, atol=1e-9)


def test_weight_and_bias_scale_and_shift(rng):
    x, bn = batch(rng), nn.BatchNorm2d(3)
    plain, _ = bn.forward(x)
    bn.weight.data[:], bn.bias.data[:] = [2, -1, 0.5], [1, 0, -3]
    y, _ = bn.forward(x)
    scale, shift = bn.weight.data[:, None, None], bn.bias.data[:, None, None]
    assert_close(y, plain * scale + shift, 1e-6)


def test_inference_writes_nothing(rng):
    bn = nn.BatchNorm2d(3)
    bn.forward(batch(rng))
    state = bn.state_dict()
    x = batch(rng)
    alone = np.concatenate([bn(x[i : i + 1]) for i in range(len(x))])
    assert_same_bits(bn(x), alone)
    for name, array in bn.state_dict().items():
        assert_same_bits(array, state[name])


@pytest.mark.parametrize(("momentum", "moves"), [(0.0, False), (1.0, True)])
def test_momentum_at_its_ends(momentum, moves, rng):
    bn, x = nn.BatchNorm2d(3, momentum=momentum), batch(rng)
    bn.forward(x)
    mean = x.mean((0, 2, 3)) if moves else np.zeros(3)
    np.testing.assert_allclose(bn.running_mean.data, mean, rtol=1e-5)
    assert (bn.running_var.data != 1).all() == moves


def test_a_constant_channel_runs_to_variance_zero():
    bn = nn.BatchNorm2d(2, momentum=1.0)
    bn.forward(np.full((4, 2, 3, 3), 0.1, np.float32))
    np.testing.assert_allclose(bn.running_var.data, 0, atol=1e-15)
    assert np.isfinite(bn(np.zeros((1, 2, 3, 3), np.float32))).all()


def test_one_value_a_channel_is_refused_in_training_alone(rng):
    bn = nn.BatchNorm2d(3)
    for shape in ((1, 3), (1, 3, 1, 1)):
        x = normal(rng, shape, np.float32)
        assert bn(x).shape == shape
        with pytest.raises(ValueError, match=r"more than one value a channel .*a larger batch"):
            bn.forward(x)


def test_no_images_leave_the_statistics_alone():
    bn = nn.BatchNorm2d(3)
    y, ctx = bn.forward(np.zeros((0, 3, 4, 4), np.float32))
    assert bn.backward(y, ctx).shape == (0, 3, 4, 4)
    assert not bn.running_mean.data.any() and (bn.running_var.data == 1).all()


def test_gradients(rng):
    for affine in (True, False):
        layer = nn.BatchNorm2d(3, eps=0.1, affine=affine)
        testing.gradcheck(layer, batch(rng, (4, 3, 2, 3)))
        testing.gradcheck(layer, batch(rng, (5, 3)))


def test_frozen_parameters_get_no_gradient(rng):
    bn = nn.BatchNorm2d(3)
    bn.weight.requires_grad = False
    y, ctx = bn.forward(batch(rng))
    bn.backward(normal(rng, y.shape, np.float32), ctx)
    assert not bn.weight.grad.any() and bn.bias.grad.any()
    bn.bias.requires_grad = False
    assert not bn.trains()
    assert bn.backward(y, ctx, need_dx=False) is None


@pytest.mark.parametrize("frozen", ["running_mean", "running_var"])
def test_a_buffer_frozen_alone_stays(frozen, rng):
    bn = nn.BatchNorm2d(3).freeze(frozen)
    before = bn.state_dict()
    y, _ = bn.forward(batch(rng))
    assert abs(y.mean()) < 1e-6  # the batch's statistics, as long as one of them moves
    for name, buffer in bn.named_buffers():
        assert (buffer.data == before[name]).all() == (name == frozen)


def test_threads_lose_no_batch(rng):
    """Eight threads, forty batches: as many steps towards the one mean that all have."""
    bn, x = nn.BatchNorm2d(3, momentum=0.05), batch(rng)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: bn.forward(x), range(40)))
    expected = (1 - 0.95**40) * x.mean((0, 2, 3))
    np.testing.assert_allclose(bn.running_mean.data, expected, rtol=1e-5)


# ---------------------------------------------------------------------------------------- state


def test_buffers_are_state_but_no_parameters():
    layer = net()
    buffers = ["bn.running_mean", "bn.running_var", "bn2.running_mean", "bn2.running_var"]
    assert [name for name, _ in layer.named_buffers()] == buffers
    assert [b.name for _, b in layer.named_buffers()] == buffers
    assert not set(buffers) & {name for name, _ in layer.named_parameters()}
    assert set(layer.state_dict()) == {*buffers, *(n for n, _ in layer.named_parameters())}
    count = 3 * 2 * 9 + 2 * 3 + 27 * 4 + 4 + 2 * 4
    assert layer.num_parameters() == layer.summary((2, 5, 5)).parameters == count


def step(layer, x, dy):
    """One step of plain gradient descent."""
    layer.zero_grad()
    _, ctx = layer.forward(x)
    layer.backward(dy, ctx, need_dx=False)
    for p in layer.parameters():
        p.data -= np.float32(0.1) * p.grad


def test_resume_is_exact(rng):
    """Training that stops, and goes on in another net from the state alone, gives the same bits."""
    steps = [(batch(rng, (4, 2, 5, 5)), normal(rng, (4, 4), np.float32)) for _ in range(6)]
    whole, first = net(), net()
    for x, dy in steps:
        step(whole, x, dy)
    for x, dy in steps[:3]:
        step(first, x, dy)
    second = net(seed=9)
    second.load_state_dict(first.state_dict())
    for x, dy in steps[3:]:
        step(second, x, dy)
    for (name, a), b in zip(whole.state_dict().items(), second.state_dict().values(), strict=True):
        assert a.any(), name
        assert_same_bits(a, b)
    x = steps[0][0]
    assert_same_bits(whole(x), second(x))


def test_a_state_without_the_running_mean_is_refused():
    layer = net()
    state = layer.state_dict()
    del state["bn.running_mean"]
    with pytest.raises(ValueError, match=r"missing 'bn.running_mean' \(3,\)"):
        layer.load_state_dict(state)


def test_loading_writes_into_the_same_arrays(rng):
    a, b = net(), net()
    a.forward(batch(rng, (4, 2, 5, 5)))
    arrays = [buffer.data for _, buffer in b.named_buffers()]
    b.load_state_dict(a.state_dict())
    for (_, p), (_, q), array in zip(a.named_buffers(), b.named_buffers(), arrays, strict=True):
        assert q.data is array
        assert_same_bits(p.data, array)


def test_copies_and_conversions_take_the_buffers_along(rng):
    layer = net()
    layer.forward(batch(rng, (4, 2, 5, 5)))
    other = copy.deepcopy(layer).double()
    for (_, p), (_, q) in zip(layer.named_buffers(), other.named_buffers(), strict=True):
        assert q.data.dtype == np.float64
        np.testing.assert_array_equal(p.data, q.data)
        q.data += 1
        assert (p.data != q.data).all()


def test_a_buffer_of_one_s_own():
    class Counter(nn.Layer):
        def __init__(self):
            self.seen = nn.Buffer(np.zeros(1))

        def forward(self, x):
            self.seen.data += len(x)
            return x, None

    layer = nn.Sequential(count=Counter())
    layer.forward(np.zeros((5, 2)))
    assert layer.state_dict()["count.seen"].tolist() == [5]
    assert repr(layer["count"].seen) == "Buffer('count.seen', shape=(1,), float64)"
    assert not layer.trains() and layer.num_parameters() == 0
    with pytest.raises(TypeError, match="float32 or float64"):
        nn.Buffer(np.zeros(2, np.int64))


# --------------------------------------------------------------------------------- shapes, refusals


def test_shapes_and_repr():
    assert nn.BatchNorm2d(3).output_shape((3, 7, 9)) == (3, 7, 9)
    assert nn.BatchNorm2d(3).output_shape((3,)) == (3,)
    assert repr(nn.BatchNorm2d(3)) == "BatchNorm2d(3)"
    odd = nn.BatchNorm2d(3, 0.001, 0.01, False)
    assert repr(odd) == "BatchNorm2d(3, eps=0.001, momentum=0.01, affine=False)"
    assert list(odd.state_dict()) == ["running_mean", "running_var"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.BatchNorm2d(0), "num_features"),
        (lambda: nn.BatchNorm2d(3, eps=-1), "eps"),
        (lambda: nn.BatchNorm2d(3, momentum=1.5), "momentum in 0..1"),
        (lambda: nn.BatchNorm2d(3, momentum=None), "momentum"),
        (lambda: nn.BatchNorm2d(3)(np.zeros((2, 4, 5, 5))), r"BatchNorm2d\(4\) would fit"),
        (lambda: nn.BatchNorm2d(3).forward(np.zeros((2, 3, 5))), r"shape \(3, H, W\) or \(3,\)"),
        (lambda: nn.BatchNorm2d(3).output_shape((5, 3, 3)), "expected 3 channels, got 5"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
