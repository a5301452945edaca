"""A block plan against the layers that it stands for: outputs, gradients, updates, bits, errors."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import Array, assert_close, assert_same, assert_same_bits, integers
from hypothesis import given, settings
from hypothesis import strategies as st

import fastcnn
from fastcnn import models, nn, optim, plan, reference

TOLERANCE = {"float32": 3e-5, "float64": 1e-12}


def two_convs() -> nn.Sequential:
    """Dense convolutions, borders of all kinds, pool before ReLU, pools with rests, no biases."""
    return nn.Sequential(
        nn.Conv2d(3, 7, 3, padding=1, seed=1),
        nn.ReLU(),
        nn.Conv2d(7, 9, 3, padding="same", bias=False, seed=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Sequential(
            nn.Conv2d(9, 5, (3, 2), padding=((2, 1), (0, 1)), seed=3), nn.Tanh(), nn.MaxPool2d(3)
        ),
        nn.Flatten(),
        nn.Linear(20, 10, bias=False, seed=4),
    )


def fives() -> nn.Sequential:
    """Rows of five taps over many channels, by F(2,5): more windows in a row than its kernel takes,
    and as many."""
    return nn.Sequential(
        nn.Conv2d(4, 9, (4, 5), bias=False, seed=1),
        nn.MaxPool2d(2),
        nn.Conv2d(9, 10, (2, 5), padding=((1, 0), (2, 4)), seed=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(50, 10, seed=3),
    )


def wide() -> nn.Sequential:
    """More channels than registers: every loop over groups of rows and vectors runs."""
    return nn.Sequential(
        nn.Conv2d(1, 5, 7, seed=1),
        nn.AvgPool2d((2, 3)),
        nn.Sigmoid(),
        nn.Conv2d(5, 33, 3, padding=1, seed=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(33, 11, 3, padding=2, seed=3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(44, 17, seed=4),
        nn.Sigmoid(),
        nn.Tanh(),
        nn.Linear(17, 10, seed=5),
    )


NETS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "lenet5": (lambda: models.lenet5(seed=3), (1, 28, 28)),
    "lecture": (lambda: models.lenet5("lecture", seed=3), (1, 28, 28)),
    "simple_convnet": (lambda: models.simple_convnet(seed=3), (1, 28, 28)),
    "dmlp": (lambda: models.dmlp(seed=3), (1, 28, 28)),
    "two_convs": (two_convs, (3, 15, 14)),
    "fives": (fives, (4, 7, 21)),
    "wide": (wide, (1, 19, 24)),
}


def batch(
    rng: np.random.Generator, n: int, shape: tuple[int, ...], dtype: np.dtype
) -> tuple[Array, Array]:
    return rng.standard_normal((n, *shape)).astype(dtype), rng.integers(0, 10, n)


def eager(net: nn.Sequential, loss: object, x: Array, y: Array) -> tuple[Array, float, list[Array]]:
    """Outputs, loss and gradients, layer by layer."""
    net.zero_grad()
    outputs, ctx = net.forward(x)
    value, gradient = loss(outputs, y)  # type: ignore[operator]
    net.backward(gradient, ctx, need_dx=False)
    gradients = [p.grad.copy() for p in net.parameters()]
    net.zero_grad()
    return outputs, value, gradients


def compare(net: nn.Sequential, loss: object, x: Array, y: Array, tolerance: float) -> None:
    """One step of both from the same weights."""
    outputs, value, gradients = eager(net, loss, x, y)
    program = plan.compile(net, x.shape[1:], loss=loss)
    assert_close(program(x), outputs, tolerance)
    result = program.step(x, y)
    assert result.loss == pytest.approx(value, rel=tolerance)
    if y.ndim == 1:
        assert result.correct == np.count_nonzero(outputs.argmax(1) == y)
    for p, expected in zip(net.parameters(), gradients, strict=True):
        assert_close(p.grad, expected, tolerance, zeros=0.9)


@pytest.mark.parametrize("n", [1, 16, 37])
@pytest.mark.parametrize("name", NETS)
def test_one_step_is_that_of_the_layers(
    name: str, n: int, dtype: np.dtype, rng: np.random.Generator
) -> None:
    make, shape = NETS[name]
    x, y = batch(rng, n, shape, dtype)
    compare(make().astype(dtype), nn.CrossEntropyLoss(), x, y, TOLERANCE[dtype.name])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("labelled", [True, False])
def test_losses(labelled: bool, reduction: str, rng: np.random.Generator) -> None:
    x, y = batch(rng, 21, (1, 28, 28), np.dtype("float64"))
    target = y if labelled else rng.standard_normal((21, 10))
    net = models.dmlp(activation="tanh", seed=1).astype(np.float64)
    compare(net, nn.MSELoss(reduction), x, target, 1e-12)  # type: ignore[arg-type]
    if labelled:
        compare(net, nn.CrossEntropyLoss(reduction), x, y, 1e-12)  # type: ignore[arg-type]


@st.composite
def chains(draw: st.DrawFn) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """Small nets of everything that a plan knows."""
    start = draw(st.tuples(st.integers(1, 4), st.integers(1, 13), st.integers(1, 13)))
    layers: list[nn.Layer] = []
    shape = start
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["conv", "conv", "max", "avg", "act"]))
        _, h, w = shape
        if kind == "conv":
            kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 6)))
            pads = [draw(st.tuples(*[st.integers(0, k - 1)] * 2)) for k in kernel]
            if h + sum(pads[0]) < kernel[0] or w + sum(pads[1]) < kernel[1]:
                continue
            out = draw(st.integers(1, 14))
            bias = draw(st.booleans())
            layer: nn.Layer = nn.Conv2d(shape[0], out, kernel, 1, pads, bias=bias, seed=len(layers))
        elif kind in ("max", "avg"):
            window = draw(st.sampled_from([2, 2, 2, (2, 3), 3, 1]))
            size = (window, window) if isinstance(window, int) else window
            if h < size[0] or w < size[1]:
                continue
            layer = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(window)
        else:
            layer = draw(st.sampled_from([nn.ReLU, nn.ReLU, nn.Sigmoid, nn.Tanh]))()
        layers.append(layer)
        shape = layer.output_shape(shape)
    layers.append(nn.Flatten())
    features = int(np.prod(shape))
    for _ in range(draw(st.integers(1, 3))):
        out = draw(st.integers(2, 40))
        layers.append(nn.Linear(features, out, bias=draw(st.booleans()), seed=len(layers)))
        features = out
        if draw(st.booleans()):
            layers.append(draw(st.sampled_from([nn.ReLU, nn.Sigmoid, nn.Tanh]))())
    return nn.Sequential(*layers), start


@settings(max_examples=60)
@given(chains(), st.integers(1, 20), st.integers(0, 2**32))
def test_any_chain(chain: tuple[nn.Sequential, tuple[int, int, int]], n: int, seed: int) -> None:
    net, shape = chain
    net.double()
    rng = np.random.default_rng(seed)
    classes = net.output_shape(shape)[0]
    x, y = rng.standard_normal((n, *shape)), rng.integers(0, classes, n)
    outputs, value, gradients = eager(net, nn.CrossEntropyLoss(), x, y)
    program = plan.compile(net, shape, loss=nn.CrossEntropyLoss())
    np.testing.assert_allclose(program(x), outputs, rtol=1e-11, atol=1e-13)
    assert_same_bits(program(x[:1]), program(x)[:1])
    assert program.step(x, y).loss == pytest.approx(value, rel=1e-11)
    for p, expected in zip(net.parameters(), gradients, strict=True):
        np.testing.assert_allclose(p.grad, expected, rtol=1e-9, atol=1e-12, err_msg=str(program))


def test_ties_go_where_the_layers_send_them(rng: np.random.Generator) -> None:
    """Whole numbers, many of them equal, and a loss without exponentials: no tolerance."""
    for pools in ([nn.ReLU(), nn.MaxPool2d(2)], [nn.MaxPool2d(2), nn.ReLU()], [nn.MaxPool2d(3)]):
        shape = (2, 11, 14)
        body = nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), *pools, nn.Conv2d(3, 4, 2), nn.MaxPool2d(2), nn.Flatten()
        )
        net = nn.Sequential(body, nn.ReLU(), nn.Linear(body.output_shape(shape)[0], 3))
        for p in net.parameters():
            p.data[...] = rng.integers(-1, 2, p.data.shape)
        x = rng.integers(-1, 2, (19, *shape)).astype(np.float32)
        target = integers(rng, (19, 3), np.float32)
        _, value, gradients = eager(net, nn.MSELoss("sum"), x, target)
        result = plan.compile(net, shape, loss=nn.MSELoss("sum")).step(x, target)
        assert result.loss == value
        for p, expected in zip(net.parameters(), gradients, strict=True):
            assert_same(p.grad, expected, zeros=0.9)


@pytest.mark.parametrize("n", [1, 19])  # one image has all lanes, one of many a lane
@pytest.mark.parametrize("at", range(4))
def test_nan_in_a_window_gives_nan(at: int, n: int) -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 4))
    net[0].weight.data[...] = 1
    net[3].weight.data[...] = np.eye(4)
    x = np.arange(n * 16, dtype=np.float32).reshape(n, 1, 4, 4)
    x[:, 0, at // 2, 2 + at % 2] = np.nan
    np.testing.assert_array_equal(np.isnan(net(x)), np.isnan(plan.compile(net, (1, 4, 4))(x)))
    x[:, 0, 0, 0] = np.nan  # NaN * 0 in the linear layer would spread: pools alone
    alone = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.ReLU(), net[3])
    assert np.isnan(plan.compile(alone, (1, 4, 4))(x)).all()


# ---- bits ----


def trained(net: nn.Sequential, shape: tuple[int, ...], threads: int, n: int) -> list[Array]:
    """Weights after some steps with batches of n, and a partial one."""
    rng = np.random.default_rng(7)
    optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    with fastcnn.threads(threads):
        program = plan.compile(net, shape, loss=nn.CrossEntropyLoss(), optimizer=optimizer)
        for size in (n, n, n - 5):
            program.step(*batch(rng, size, shape, np.dtype("float32")))
    return [p.data for p in net.parameters()]


@pytest.mark.parametrize("n", [32, 150])
@pytest.mark.parametrize("name", NETS)
def test_same_bits_at_any_thread_count(name: str, n: int) -> None:
    make, shape = NETS[name]
    expected = trained(make(), shape, 1, n)
    for threads in (2, 3, 4, 8):
        for a, b in zip(trained(make(), shape, threads, n), expected, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("name", NETS)
def test_an_images_result_is_the_same_in_any_batch(name: str, rng: np.random.Generator) -> None:
    make, shape = NETS[name]
    x, _ = batch(rng, 41, shape, np.dtype("float32"))
    program = plan.compile(make(), shape)
    alone = np.concatenate([program(x[i : i + 1]) for i in range(41)])
    for n in (2, 7, 16, 33, 41):
        for start in range(0, 41 - n + 1, 4):
            assert_same_bits(program(x[start : start + n]), alone[start : start + n])
    assert program(x[:0]).shape == (0, 10)


@pytest.mark.parametrize("name", NETS)
def test_zeros_and_what_is_not_finite_are_the_same_in_any_batch(
    name: str, rng: np.random.Generator
) -> None:
    make, shape = NETS[name]
    net = make()
    for p in net.parameters():
        p.data[...] = rng.choice([-1, -0.0, 0.0, 1], p.data.shape)
    x = rng.choice([-1, -0.0, 0.0, 1], (17, *shape)).astype(np.float32)
    for i, value in ((3, np.nan), (5, np.inf), (7, -np.inf)):
        x[i].flat[rng.integers(x[i].size, size=3)] = value
    program = plan.compile(net, shape)
    y = program(x)
    for i in range(17):
        np.testing.assert_array_equal(np.isnan(program(x[i : i + 1])), np.isnan(y[i : i + 1]))
        finite = np.nan_to_num(y[i : i + 1], nan=7.0)
        assert_same_bits(np.nan_to_num(program(x[i : i + 1]), nan=7.0), finite)


def test_many_threads_may_infer_at_once(rng: np.random.Generator) -> None:
    x, _ = batch(rng, 32, (1, 28, 28), np.dtype("float32"))
    program = plan.compile(models.lenet5(), (1, 28, 28))
    expected = program(x)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: program(x), range(40)):
            assert_same_bits(y, expected)


# ---- updates ----


class Halve(optim.SGD):
    """An optimizer of a user's own."""

    def update(self, param: Array, grad: Array, state: dict[str, object], lr: float) -> None:
        param -= 0.5 * lr * grad


OPTIMIZERS: dict[str, Callable[[nn.Layer], optim.Optimizer]] = {
    "sgd": lambda net: optim.SGD(net.parameters(), lr=0.1),
    "decay": lambda net: optim.SGD(net.parameters(), lr=0.1, weight_decay=0.01),
    "momentum": lambda net: optim.SGD(
        net.parameters(), lr=0.1, momentum=0.9, dampening=0.2, weight_decay=0.01
    ),
    "nesterov": lambda net: optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda net: optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01),
    "adamw": lambda net: optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1),
    "own": lambda net: Halve(net.parameters(), lr=0.1),
    "rates": lambda net: optim.SGD(
        [
            {"params": list(net.parameters())[:2], "lr": 0.01},
            {"params": list(net.parameters())[2:]},
        ],
        lr=0.1,
        momentum=0.5,
    ),
    "some": lambda net: optim.Adam(list(net.parameters())[2:], lr=0.01),
}


def eager_steps(net: nn.Sequential, optimizer: optim.Optimizer, steps: range) -> None:
    loss = nn.CrossEntropyLoss()
    for i in steps:
        x, y = batch(np.random.default_rng(i), 11, (1, 28, 28), np.dtype("float64"))
        outputs, ctx = net.forward(x)
        optimizer.zero_grad()
        net.backward(loss(outputs, y)[1], ctx)
        optimizer.step()


def plan_steps(net: nn.Sequential, optimizer: optim.Optimizer, steps: range) -> None:
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    for i in steps:
        program.step(*batch(np.random.default_rng(i), 11, (1, 28, 28), np.dtype("float64")))


def assert_equal_states(a: optim.Optimizer, b: optim.Optimizer) -> None:
    for key, state in b.state_dict()["state"].items():
        mine = a.state_dict()["state"][key]
        assert set(mine) == set(state)
        for name, value in state.items():
            np.testing.assert_allclose(mine[name], value, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_the_optimizers(name: str) -> None:
    """Also when layers and plan take turns: weights and states have one owner."""
    one, two, turns = (models.lenet5(seed=1).double() for _ in range(3))
    optimizers = [OPTIMIZERS[name](net) for net in (one, two, turns)]
    eager_steps(one, optimizers[0], range(4))
    plan_steps(two, optimizers[1], range(4))
    eager_steps(turns, optimizers[2], range(1))
    plan_steps(turns, optimizers[2], range(1, 3))
    eager_steps(turns, optimizers[2], range(3, 4))
    for a, b, c, start in zip(
        one.parameters(), two.parameters(), turns.parameters(),
        models.lenet5(seed=1).parameters(), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(b.data, a.data, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(c.data, a.data, rtol=1e-9, atol=1e-10)
        unchanged = name == "some" and start.name.startswith("conv1")
        assert (np.abs(b.data - start.data).max() > 1e-4) != unchanged
    assert_equal_states(optimizers[1], optimizers[0])
    assert_equal_states(optimizers[2], optimizers[0])


def test_comparison_sees_one_wrong_weight() -> None:
    net, other = models.lenet5(seed=1).double(), models.lenet5(seed=1).double()
    other["conv2"].weight.data[3, 2, 1, 0] += 1e-6
    x, y = batch(np.random.default_rng(0), 9, (1, 28, 28), np.dtype("float64"))
    _, _, gradients = eager(net, nn.CrossEntropyLoss(), x, y)
    plan.compile(other, (1, 28, 28), loss=nn.CrossEntropyLoss()).step(x, y)
    with pytest.raises(AssertionError):
        for p, expected in zip(other.parameters(), gradients, strict=True):
            assert_close(p.grad, expected, 1e-12, zeros=0.9)


def test_many_steps_in_float32_stay_beside_the_layers() -> None:
    nets = [models.lenet5(seed=2), models.lenet5(seed=2)]
    optimizers = [optim.SGD(net.parameters(), lr=0.02, momentum=0.9) for net in nets]
    loss = nn.CrossEntropyLoss()
    program = plan.compile(nets[1], (1, 28, 28), loss=loss, optimizer=optimizers[1])
    rng = np.random.default_rng(3)
    for _ in range(20):
        x, y = batch(rng, 32, (1, 28, 28), np.dtype("float32"))
        _, value, gradients = eager(nets[0], loss, x, y)
        for p, gradient in zip(nets[0].parameters(), gradients, strict=True):
            p.grad = gradient
        optimizers[0].step()
        assert program.step(x, y).loss == pytest.approx(value, rel=1e-3)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert_close(b.data, a.data, 1e-2)


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(weight=np.arange(1.0, 11.0, dtype=np.float32)),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(unit="bits"),
    ],
    ids=["class weights", "label smoothing", "bits"],
)
def test_losses_with_options_run_by_layers(loss: nn.CrossEntropyLoss) -> None:
    """The program knows the plain loss only; the plan has the others' values and gradients."""
    nets = [models.lenet5(seed=1).double() for _ in range(2)]
    optimizers = [optim.SGD(net.parameters(), lr=0.1, momentum=0.9) for net in nets]
    with pytest.raises(plan.LoweringError, match="expected a loss of"):
        plan.BlockPlan(nets[0], (1, 28, 28), loss, optimizers[0])
    program = plan.compile(nets[0], (1, 28, 28), loss=loss, optimizer=optimizers[0])
    assert isinstance(program, plan.LayerPlan)
    x, y = batch(np.random.default_rng(0), 9, (1, 28, 28), np.dtype("float64"))
    for _ in range(2):
        _, value, gradients = eager(nets[1], loss, x, y)
        for p, gradient in zip(nets[1].parameters(), gradients, strict=True):
            p.grad = gradient
        optimizers[1].step()
        assert program.step(x, y).loss == pytest.approx(value, rel=1e-12)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert_close(a.data, b.data, 1e-12)


def test_direct_kernels_when_asked() -> None:
    """Of whole numbers all sums are exact, but not by F(2,5)."""
    net = fives()
    for p in net.parameters():
        p.data[...] = np.random.default_rng(p.data.size).integers(-1, 2, p.data.shape)
    x = np.random.default_rng(0).integers(-1, 2, (19, 4, 7, 21)).astype(np.float32)
    targets = np.zeros((19, 10), np.float32)
    program = plan.compile(net, x.shape[1:], loss=nn.MSELoss(reduction="sum"))
    wanted = float((program(x).astype(np.float64) ** 2).sum())
    usual = program.step(x, targets).loss
    try:
        fastcnn.set_exact(True)
        exact = program.step(x, targets).loss
    finally:
        fastcnn.set_exact(False)
    assert exact == wanted
    assert usual != wanted
    assert usual == pytest.approx(wanted, rel=1e-5)


def test_rounding_error_of_rows_of_five_taps(rng: np.random.Generator) -> None:
    """F(2,5) beside direct sums, against float64; the linear layer's gradient is what it saw."""
    conv, linear = nn.Conv2d(6, 16, 5, seed=1), nn.Linear(400, 1, seed=2)
    linear.weight.data[...] = 0
    linear.bias.data[...] = 1
    net = nn.Sequential(conv, nn.MaxPool2d(2), nn.Flatten(), linear)
    program = plan.compile(net, (6, 14, 14), loss=nn.MSELoss(reduction="sum"))
    x = rng.standard_normal((1, 6, 14, 14)).astype(np.float32)
    weights = (p.data.astype(np.float64) for p in (conv.weight, conv.bias))
    wanted, _ = reference.max_pool2d(reference.conv2d(x.astype(np.float64), *weights), 2)
    errors = []
    for exact in (False, True):
        net.zero_grad()
        try:
            fastcnn.set_exact(exact)
            program.step(x, np.zeros((1, 1), np.float32))
        finally:
            fastcnn.set_exact(False)
        errors.append((linear.weight.grad / 2 - wanted.reshape(1, -1)) / wanted.std())
    rms = [float(np.sqrt((e**2).mean())) for e in errors]
    assert np.abs(errors[0]).max() < 3e-6
    assert rms[1] < rms[0] < 2 * rms[1] < 2e-6


def test_thawed_layers_find_room(rng: np.random.Generator) -> None:
    """A plan made while layers are frozen takes less memory: thawed, it needs more at once."""
    net = models.lenet5(seed=1)
    for p in list(net.parameters())[:-2]:
        p.requires_grad = False
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss())
    x, y = batch(rng, 37, (1, 28, 28), np.dtype(np.float32))
    program.step(x, y)
    for p in net.parameters():
        p.requires_grad = True
    _, _, expected = eager(net, nn.CrossEntropyLoss(), x, y)
    net.zero_grad()
    program.step(x, y)
    for p, gradient in zip(net.parameters(), expected, strict=True):
        assert_close(p.grad, gradient, TOLERANCE["float32"], zeros=0.9)


@pytest.mark.parametrize("frozen", [("conv1",), ("conv2",), ("conv1", "conv2"), ("fc2",), ("fc3",)])
def test_frozen_layers(frozen: tuple[str, ...]) -> None:
    """Frozen before or after compiling: their weights stay, the others' gradients do not change."""
    net = models.lenet5(seed=1).double()
    x, y = batch(np.random.default_rng(0), 9, (1, 28, 28), np.dtype("float64"))
    _, _, gradients = eager(net, nn.CrossEntropyLoss(), x, y)
    optimizer = Keep(net.parameters(), lr=0.1)
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    for name in frozen:
        for p in net[name].parameters():
            p.requires_grad = False
    for again in (program, plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss())):
        net.zero_grad()
        again.step(x, y)
        for p, expected in zip(net.parameters(), gradients, strict=True):
            if p.requires_grad:
                assert_close(p.grad, expected, 1e-12, zeros=0.9)
            else:
                assert not p.grad.any()


class Keep(optim.SGD):
    """Changes nothing, so that gradients can be looked at."""

    def update(self, param: Array, grad: Array, state: dict[str, object], lr: float) -> None:
        assert grad.any()


def test_without_an_optimizer_gradients_are_added() -> None:
    net = models.dmlp(seed=1).double()
    x, y = batch(np.random.default_rng(0), 9, (1, 28, 28), np.dtype("float64"))
    _, _, gradients = eager(net, nn.CrossEntropyLoss(), x, y)
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss())
    program.step(x, y)
    program.step(x, y)
    for p, expected in zip(net.parameters(), gradients, strict=True):
        assert_close(p.grad, 2 * expected, 1e-12, zeros=0.9)


@pytest.mark.parametrize("name", ["momentum", "adam", "own"])
def test_a_loss_that_is_not_finite_changes_nothing(name: str) -> None:
    net = models.lenet5(seed=1)
    optimizer = OPTIMIZERS[name](net)
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    before, state = net.state_dict(), optimizer.state_dict()
    x, y = batch(np.random.default_rng(0), 40, (1, 28, 28), np.dtype("float32"))
    x[37, 0, 3, 4] = np.nan
    assert np.isnan(program.step(x, y).loss)
    for key, value in net.state_dict().items():
        assert_same_bits(value, before[key])
    assert optimizer.state_dict() == state


def test_replaced_arrays_are_followed() -> None:
    """Loading weights and states may put new arrays in the place of the old."""
    net, other = models.lenet5(seed=1).double(), models.lenet5(seed=1).double()
    optimizer = optim.Adam(net.parameters())
    plan_steps(net, optimizer, range(3))
    again = optim.Adam(other.parameters())
    program = plan.compile(other, (1, 28, 28), loss=nn.CrossEntropyLoss(), optimizer=again)
    for i in (0, 9):  # the second is undone by what is loaded then
        program.step(*batch(np.random.default_rng(i), 11, (1, 28, 28), np.dtype("float64")))
    for p, q in zip(other.parameters(), net.parameters(), strict=True):
        p.data = q.data.copy()
    again.load_state_dict(optimizer.state_dict())
    plan_steps(net, optimizer, range(3, 5))
    for i in (3, 4):
        program.step(*batch(np.random.default_rng(i), 11, (1, 28, 28), np.dtype("float64")))
    for p, q in zip(other.parameters(), net.parameters(), strict=True):
        assert_same_bits(p.data, q.data)


# ---- what a plan cannot do ----


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.Conv2d(1, 2, 3, stride=2), "stride"),
        (nn.Conv2d(1, 2, 3, dilation=2), "dilation"),
        (nn.Conv2d(1, 2, 3, padding_mode="replicate", padding=1), "padding_mode"),
        (nn.Conv2d(1, 2, 3, padding=3), "padding smaller"),
        (nn.MaxPool2d(3, 2), "side by side"),
        (nn.AvgPool2d(2, padding=1), "side by side"),
        (nn.Dropout(0.5), "a block plan knows chains"),
        (nn.Softmax(), "a block plan knows chains"),
    ],
)
def test_layers_that_it_does_not_know(layer: nn.Layer, why: str) -> None:
    net = nn.Sequential({"first": nn.ReLU(), "odd": layer, "flat": nn.Flatten()})
    with pytest.raises(plan.LoweringError, match=f"layer 'odd'.*{why}"):
        plan.BlockPlan(net, (1, 9, 9))
    assert isinstance(plan.compile(net, (1, 9, 9)), plan.LayerPlan)


def test_nets_that_it_does_not_know() -> None:
    shared = nn.Linear(4, 4)
    for net, why in (
        (nn.Sequential(shared, shared), "each parameter once"),
        (nn.Sequential(nn.Flatten()), "computes something"),
        (nn.Sequential(nn.ReLU()), "one dtype"),
        (nn.Sequential(*[nn.ReLU()] * 3, *[nn.Linear(4, 4) for _ in range(63)]), "at most 64"),
    ):
        with pytest.raises(plan.LoweringError, match=why):
            plan.BlockPlan(net, (4,))
    with pytest.raises(plan.LoweringError, match="outputs of shape"):
        plan.BlockPlan(nn.Sequential(nn.Conv2d(1, 2, 3)), (1, 5, 5))
    with pytest.raises(plan.LoweringError, match="a loss of"):
        plan.BlockPlan(models.dmlp(), (1, 28, 28), loss=lambda a, b: (0.0, a))
    big = nn.Sequential(nn.Conv2d(64, 64, 3), nn.Flatten(), nn.Linear(64 * 54 * 54, 2))
    assert isinstance(plan.compile(big, (64, 56, 56)), plan.LayerPlan)


def test_places_that_float32_cannot_count_are_not_listed() -> None:
    wide = nn.Conv2d(1024, 512, 3)
    for layers, shape, features in (
        ([nn.Conv2d(4, 1024, 1), wide, nn.ReLU(), nn.MaxPool2d(2)], (4, 4, 4), 512),
        ([nn.Conv2d(3, 1, 3), nn.MaxPool2d(2)], (3, 2400, 2400), 1199 * 1199),
    ):
        net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 2))
        assert isinstance(plan.compile(net, shape), plan.LayerPlan)
        assert "sparse" not in repr(plan.BlockPlan(net, shape))


def test_layers_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="layer '0': Linear: expected 4 input features"):
        plan.compile(nn.Sequential(nn.Linear(4, 2)), (5,))


def test_arguments_that_do_not_fit() -> None:
    net = models.lenet5()
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss())
    x, y = batch(np.random.default_rng(0), 3, (1, 28, 28), np.dtype("float32"))
    for bad, kind, why in (
        ((x[:, :, 1:], y), ValueError, "input_shape"),
        ((x.astype(np.float64), y), TypeError, "float32"),
        ((x, y[:2]), ValueError, "one label"),
        ((x, y + 10), ValueError, "labels in 0..9"),
        ((x, y - 10), ValueError, "labels in 0..9"),
        ((x, y.astype(np.float32)), TypeError, "integers"),
        ((x[:0], y[:0]), ValueError, "at least one image"),
    ):
        with pytest.raises(kind, match=why):
            program.step(*bad)
    with pytest.raises(ValueError, match="with a loss"):
        plan.compile(net, (1, 28, 28)).step(x, y)


@pytest.mark.parametrize("warm", [0, 2])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_a_wrong_label_leaves_no_trace(kind: type, warm: int, rng: np.random.Generator) -> None:
    x, y = batch(rng, 9, (1, 28, 28), np.dtype("float32"))
    runs = []
    for wrong in (False, True):
        net = models.lenet5(seed=1)
        options = {"momentum": 0.9} if kind is optim.SGD else {}
        optimizer = kind(net.parameters(), lr=0.01, **options)
        program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss(), optimizer=optimizer)
        for _ in range(warm):
            program.step(x, y)
        if wrong:
            with pytest.raises(ValueError, match=r"labels in 0\.\.9"):
                program.step(x, y + 9)
        program.step(x, y)
        runs.append((list(net.parameters()), optimizer.state_dict()))
    for p, q in zip(runs[0][0], runs[1][0], strict=True):
        assert_same_bits(p.data, q.data)
    np.testing.assert_equal(runs[0][1], runs[1][1])


def test_any_layout_of_the_input(rng: np.random.Generator) -> None:
    from helpers import layouts

    x, y = batch(rng, 5, (1, 28, 28), np.dtype("float32"))
    net = models.lenet5(seed=1)
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss())
    expected = program(x)
    loss = program.step(x, y).loss
    for what, a in layouts(x).items():
        assert_same_bits(program(a), expected), what
        assert program.step(a, y).loss == loss
