"""The nets: exact counts, shapes, seeds, and that each one learns."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import assert_same_bits

from fastcnn import models, nn, testing

NETS = {
    "relu": (lambda **k: models.lenet5("relu", **k), 61_706),
    "lecture": (lambda **k: models.lenet5("lecture", **k), 61_706),
    "1998": (lambda **k: models.lenet5("1998", **k), 60_000),
    "simple_convnet": (models.simple_convnet, 433_890),
    "dmlp": (models.dmlp, 79_510),
    "dmlp sigmoid": (lambda **k: models.dmlp(activation="sigmoid", **k), 79_510),
    "dmlp of 30": (lambda **k: models.dmlp(30, **k), 785 * 30 + 31 * 10),
    "dmlp of 50, 30": (lambda **k: models.dmlp((50, 30), **k), 785 * 50 + 51 * 30 + 31 * 10),
    "dmlp of steps": (lambda **k: models.dmlp(activation="step", **k), 79_510),
}


@pytest.fixture(params=NETS)
def net_and_count(request):
    return NETS[request.param]


def test_parameter_count(net_and_count):
    make, count = net_and_count
    net = make()
    assert net.num_parameters(trainable=True) == count
    assert net.summary((1, 28, 28)).trainable == count
    assert net.output_shape((1, 28, 28)) == (10,)


def test_seeds(net_and_count):
    make, _ = net_and_count
    a, b, default, other = make(seed=0), make(seed=0), make(), make(seed=1)
    for p, q, r, s in zip(*[n.parameters() for n in (a, b, default, other)], strict=True):
        assert_same_bits(p.data, q.data)
        assert_same_bits(p.data, r.data)
        if p.requires_grad and p.name.endswith("weight") and not p.name.startswith("s"):
            assert (p.data != s.data).any()


def strokes(rng, n):
    """Images of ten patterns with noise, and their classes: what any classifier can learn."""
    patterns = np.random.default_rng(99).random((10, 1, 7, 7)) > 0.5
    classes = rng.integers(0, 10, n)
    x = np.kron(patterns[classes], np.ones((4, 4))) + rng.normal(0, 0.2, (n, 1, 28, 28))
    return x.astype(np.float32), classes


@pytest.mark.parametrize(
    "name, loss, rate, momentum",
    [
        ("relu", nn.CrossEntropyLoss(), 0.02, 0.9),
        ("lecture", nn.CrossEntropyLoss(), 0.1, 0.9),
        ("1998", models.DistanceLoss(), 0.0005, 0.9),
        ("1998", models.DistanceLoss(rubbish=10.0), 0.0005, 0.9),
        ("simple_convnet", nn.CrossEntropyLoss(), 0.02, 0.9),
        ("dmlp", nn.CrossEntropyLoss(), 0.02, 0.9),
        ("dmlp sigmoid", nn.MSELoss(), 0.1, 0.9),
    ],
    ids=lambda v: str(v),
)
def test_it_learns(name, loss, rate, momentum, rng):
    """Plain gradient descent on ten noisy patterns: from a tenth right to nearly all."""
    net = NETS[name][0]()
    speed = [np.zeros_like(p.data) for p in net.parameters()]
    for _ in range(50):
        x, t = strokes(rng, 32)
        y, ctx = net.forward(x)
        _, dy = loss(y, t)
        net.zero_grad()
        net.backward(dy, ctx, need_dx=False)
        for p, v in zip(net.parameters(), speed, strict=True):
            if p.requires_grad:
                v *= np.float32(momentum)
                v += p.grad
                p.data -= np.float32(rate) * v
    x, t = strokes(rng, 200)
    assert (net(x).argmax(1) == t).mean() > 0.9


@pytest.mark.parametrize("variant", ["relu", "lecture", "1998"])
def test_whole_net_gradient_in_one_direction(variant, rng):
    """The loss along a random direction of all parameters changes as the gradients say."""
    net = models.lenet5(variant).double()
    loss = models.DistanceLoss() if variant == "1998" else nn.CrossEntropyLoss()
    x, t = strokes(rng, 4)
    x = x.astype(np.float64)
    y, ctx = net.forward(x)
    dx = net.backward(loss(y, t)[1], ctx)
    moves = [
        (p.data, p.grad, rng.normal(size=p.data.shape)) for p in net.parameters() if p.requires_grad
    ]
    moves.append((x, dx, rng.normal(size=x.shape)))
    expected = sum((g * d).sum() for _, g, d in moves)

    def at(step):
        for array, _, d in moves:
            array += step * d
        value = loss(net(x), t)[0]
        for array, _, d in moves:
            array -= step * d
        return value

    assert (at(1e-7) - at(-1e-7)) / 2e-7 == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["relu", "lecture", "1998", "simple_convnet", "dmlp"])
def test_a_sample_s_result_does_not_depend_on_its_batch(name, rng):
    net = NETS[name][0]()
    x, _ = strokes(rng, 33)
    alone = net(x[:1])
    for n in (2, 3, 4, 5, 7, 8, 9, 16, 17, 32, 33):
        assert_same_bits(net(x[:n])[:1], alone)
        assert_same_bits(net(x[n - 1 :: -1])[-1:], alone)  # last in its batch


def test_eight_threads_infer_with_one_net(rng):
    net = models.lenet5()
    batches = [strokes(rng, n)[0] for n in range(1, 9)]
    expected = [net(x) for x in batches]

    def work(i):
        return [net(batches[i]) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        for rounds, serial in zip(pool.map(work, range(8)), expected, strict=True):
            for y in rounds:
                assert_same_bits(y, serial)


def test_registry():
    assert {"dmlp", "lenet5", "simple_convnet", "resnet18", "resnet20", "vgg16"} <= {*models.list()}
    assert all(callable(getattr(models, name)) for name in models.list())
    assert models.create("dmlp", hidden=5).num_parameters() == 785 * 5 + 60
    with pytest.raises(
        ValueError, match=r"expected one of alexnet, .*, lenet5, .*, vgg19, got 'os'"
    ):
        models.create("os")


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.lenet5("2012"),
        lambda: models.dmlp(activation="gelu"),
        lambda: models.dmlp(()),
    ],
)
def test_unknown_variants(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_lenet_layers_and_shapes():
    rows = {row.name: row for row in models.lenet5().summary((1, 28, 28)).rows}
    shapes = [
        rows[n].output_shape for n in ("conv1", "pool1", "conv2", "pool2", "fc1", "fc2", "fc3")
    ]
    assert shapes == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120,), (84,), (10,)]
    kinds = [type(layer).__name__ for layer in models.lenet5("lecture")]
    assert kinds.count("Sigmoid") == 4 and kinds.count("AvgPool2d") == 2
    assert testing.gradcheck(models.lenet5("lecture")["conv2"], np.ones((1, 6, 6, 6))) is None
