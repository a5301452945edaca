"""A layer plan against the layers: same bits in training, close outputs in inference, memory."""

import fnmatch
import gc
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import Array, assert_close, assert_same_bits

import fastcnn
from fastcnn import _kernels, models, nn, optim, plan
from fastcnn.models.lenet_1998 import lenet5_1998
from fastcnn.nn import blocks


class Half(nn.Layer):
    """A layer that no plan knows; its output is a view of its context."""

    def forward(self, x: Array) -> tuple[Array, Array]:
        y = x / 2
        return y, y

    def backward(self, dy: Array, ctx: Array) -> Array:
        assert ctx.shape == dy.shape
        return dy / 2


def branches() -> nn.Graph:
    """Fan-out, sums of every kind, concatenation, a value that is summed with itself."""
    return nn.Graph(
        inputs="x",
        nodes={
            "a": (nn.Conv2d(3, 8, 3, padding=1, seed=1), "x"),
            "b": (nn.Conv2d(8, 8, 1, bias=False, seed=2), "a"),
            "sum": (nn.Add(), "b", "a"),
            "relu": (nn.ReLU(), "sum"),
            "twice": (nn.Add(), "relu", "relu"),
            "three": (nn.Add(), "relu", "twice", "a"),
            "bn": (nn.BatchNorm2d(8), "three"),
            "sum2": (nn.Add(relu=True), "bn", "a"),
            "cut": (nn.ReLU(), "a"),
            "plain": (nn.Add(), "cut", "sum2"),
            "join": (nn.Concat(), "plain", "bn"),
            "pool": (nn.AvgPool2d(2), "join"),
            "flat": (nn.Flatten(), "pool"),
            "norm": (nn.BatchNorm2d(16 * 36), "flat"),
            "fc": (nn.Linear(16 * 36, 10, seed=3), "norm"),
        },
        outputs="fc",
    )


def odd_layers() -> nn.Sequential:
    """Strides, dilation, groups, both paddings, pools with rests, layers that run by themselves."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, 2, 2, padding_mode="replicate", seed=1),
        nn.BatchNorm2d(8, affine=False),
        nn.Conv2d(8, 8, 3, padding="same", groups=8, bias=False, seed=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Half(),
        nn.Conv2d(8, 12, 3, padding=2, dilation=2, groups=2, seed=3),
        nn.LeakyReLU(),
        nn.Conv2d(12, 6, (1, 3), (2, 1), seed=4),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Flatten(),
        nn.Dropout(0.5, seed=5),
        nn.Linear(6, 32, seed=6),
        nn.ReLU(),
        nn.Linear(32, 10, bias=False, seed=7),
        nn.Tanh(),
    )


def sums() -> nn.Graph:
    """Sums that may, and that must not, be written over one of their terms."""
    conv = [nn.Conv2d(24 if i else 3, 24, 3, padding=1, seed=i) for i in range(7)]
    return nn.Graph(
        inputs="x",
        nodes={
            "a": (conv[0], "x"),
            "b": (conv[1], "a"),
            "over_source": (nn.Add(), "b", "a"),  # the convolution still reads it
            "c": (conv[2], "over_source"),
            "d": (conv[3], "c"),
            "flat": (nn.Flatten(), "over_source"),
            "over_alias": (nn.Add(), "d", "over_source"),  # flat still has it
            "e": (conv[4], "over_alias"),
            "f": (conv[5], "e"),
            "over_last": (nn.Add(), "f", "over_alias"),  # this one may be
            "flat2": (nn.Flatten(), "over_last"),
            "both": (nn.Add(), "flat", "flat2"),
            "fc": (nn.Linear(24 * 40 * 40, 10, seed=9), "both"),
        },
        outputs="fc",
    )


def shared() -> nn.Sequential:
    """Layers that run twice: their gradients are summed, their statistics move twice."""
    conv, bn = nn.Conv2d(3, 3, 3, padding=1, seed=1), nn.BatchNorm2d(3)
    return nn.Sequential(conv, bn, nn.ReLU(), conv, bn, nn.Flatten(), nn.Linear(147, 10, seed=2))


def more_layers() -> nn.Graph:
    """What else has steps: activations, dropout, LRN, transposed convolution, weighted pools."""
    chain = [
        nn.Conv2d(3, 6, 3, padding=1, seed=1),
        nn.LocalResponseNorm(3, 0.5, 0.75, 1.0),
        nn.PReLU(6),
        nn.WeightedAvgPool2d(3, 2, 1, weight=np.arange(1.0, 10).reshape(3, 3)),
        nn.ReLU(),
        nn.WeightedAvgPool2d(2, 1, learned=False),
        nn.ELU(0.7),
        nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, 2, seed=2),
        nn.WeightedAvgPool2d(2, channels=4),
        nn.PReLU(),
        nn.ConvTranspose2d(4, 5, 2, bias=False, seed=3),
        nn.Tanh(),
    ]
    side = [nn.LeakyReLU(0.2), nn.LocalResponseNorm(5), nn.Sigmoid(), nn.Dropout(0.3, seed=4)]
    end = [nn.Flatten(), nn.Unflatten((10, 36)), nn.Flatten(), nn.Dropout(0.0), nn.Step()]
    return nn.Graph(
        inputs="x",
        nodes={
            "chain": (nn.Sequential(*chain), "x"),
            "side": (nn.Sequential(*side), "chain"),
            "join": (nn.Concat(), "side", "chain"),
            "end": (nn.Sequential(*end, nn.Linear(360, 10, seed=5), nn.Sigmoid()), "join"),
        },
        outputs="end",
    )


def borders() -> nn.Sequential:
    """Borders that repeat the nearest pixel, of every kind; softmax and its logarithm."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="replicate", seed=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, (5, 3), 2, ((2, 1), (0, 3)), padding_mode="replicate", groups=2, seed=2),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, padding=2, dilation=2, padding_mode="replicate", bias=False, seed=3),
        nn.Softmax(),
        nn.Flatten(),
        nn.Linear(6 * 36, 10, seed=4),
        nn.LogSoftmax(-1),
    )


def rows() -> nn.Sequential:
    """1-D layers."""
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, 2, (1, 2), seed=1),
        nn.ReLU(),
        nn.MaxPool1d(3, 2, 1, ceil_mode=True),
        nn.Conv1d(8, 6, 3, padding=2, dilation=2, groups=2, bias=False, seed=2),
        nn.Tanh(),
        nn.AvgPool1d(2),
        nn.Conv1d(6, 6, 3, padding=1, padding_mode="replicate", seed=3),
        nn.Flatten(),
        nn.Linear(48, 10, seed=4),
    )


def segments() -> nn.Sequential:
    """FCN-8s, narrow, on images of a size that its strides do not divide."""
    start = nn.init.normal(0.2)
    net = models.fcn8s(4, channels=(4, 6, 8, 8, 8), hidden=12, init=start, seed=1)
    return nn.Sequential(net, nn.AvgPool2d((37, 21)), nn.Flatten(), nn.Linear(8, 10, seed=2))


def nested() -> nn.Sequential:
    """Values that go to several layers, inside of nets in nets and outside."""

    def net(seed: int) -> nn.Graph:
        convs = [nn.Conv2d(6, 6, 3, padding=1, seed=seed + i) for i in range(4)]
        nodes: dict[str, tuple[Any, ...]] = {
            "a": (convs[0], "x"),
            "b": (convs[1], "x"),
            "c": (nn.Sequential(nn.ReLU(), convs[2]), "x"),
            "d": (convs[3], "b"),
            "sum": (nn.Add(), "a", "b", "c"),
            "last": (nn.Add(), "d", "sum", "x", "b"),
        }
        return nn.Graph("x", {"one": (nn.Graph("x", nodes, "last"), "x")}, "one")

    nodes: dict[str, tuple[Any, ...]] = {
        "start": (nn.Conv2d(3, 6, 3, seed=1), "x"),
        "in1": (net(10), "start"),
        "same": (nn.Sequential(), "in1"),
        "in2": (net(20), "in1"),
        "side": (nn.Conv2d(6, 6, 1, seed=2), "same"),
        "join": (nn.Add(), "in2", "start", "in1", "side"),
        "pool": (nn.GlobalAvgPool2d(), "join"),
        "early": (nn.GlobalAvgPool2d(), "same"),
        "both": (nn.Concat(), "pool", "early"),
        "end": (nn.Sequential(nn.Flatten(), nn.Linear(12, 10, seed=3)), "both"),
    }
    return nn.Sequential(nn.Graph("x", nodes, "end"))


NETS: dict[str, tuple[Callable[[], nn.Layer], tuple[int, ...]]] = {
    "branches": (branches, (3, 12, 12)),
    "odd_layers": (odd_layers, (3, 23, 22)),
    "shared": (shared, (3, 7, 7)),
    "basic": (lambda: head(blocks.basic_block(3, 8, 2, seed=1)), (3, 9, 9)),
    "pad": (lambda: head(blocks.basic_block(3, 8, 2, shortcut="pad", seed=1)), (3, 9, 9)),
    "bottleneck": (lambda: head(blocks.bottleneck(8, 2, seed=1)), (8, 7, 7)),
    "more_layers": (more_layers, (3, 12, 12)),
    "rows": (rows, (3, 64)),
    "borders": (borders, (3, 13, 11)),
    "fcn8s": (segments, (3, 37, 42)),
    "dense": (lambda: head(blocks.dense_block(4, 2, 2, seed=1)), (4, 6, 6)),
    "inception": (lambda: head(blocks.inception(3, 2, (2, 2), (1, 2), 2, seed=1)), (3, 6, 6)),
    "resnet20": (lambda: models.resnet20(seed=1), (3, 16, 16)),
    "nested": (nested, (3, 8, 8)),
    "lenet5": (lambda: models.lenet5(seed=1), (1, 28, 28)),
    "lenet5_1998": (lambda: lenet5_1998(seed=1), (1, 28, 28)),
}


def head(block: nn.Layer) -> nn.Sequential:
    return nn.Sequential(block, nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(8, 10, seed=9))


def batch(seed: int, n: int, shape: tuple[int, ...], dtype: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *shape)).astype(dtype), rng.integers(0, 10, n)


def state(net: nn.Layer) -> dict[str, Array]:
    return net.state_dict()


def by_layers(net: nn.Layer, optimizer: optim.Optimizer, x: Array, y: Array) -> float:
    outputs, ctx = net.forward(x)
    value, gradient = nn.CrossEntropyLoss()(outputs, y)
    optimizer.zero_grad()
    net.backward(gradient, ctx, need_dx=False)
    optimizer.step()
    return value


def sgd(net: nn.Layer) -> optim.SGD:
    return optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETS)
def test_training_gives_the_bits_of_the_layers(name: str, dtype: str) -> None:
    make, shape = NETS[name]
    ours, theirs = make().astype(dtype), make().astype(dtype)
    optimizer, other = sgd(ours), sgd(theirs)
    program = plan.LayerPlan(ours, shape, nn.CrossEntropyLoss(), optimizer)
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    for i, n in enumerate((6, 6, 3, 6)):  # a smaller last batch, and back
        x, y = batch(i, n, shape, dtype)
        loss, expected = program.step(x, y).loss, by_layers(theirs, other, x, y)
        for a, b in zip(state(ours).values(), state(theirs).values(), strict=True):
            assert_same_bits(a, b)
        assert loss == expected
    x, _ = batch(9, 5, shape, dtype)
    assert_close(program(x), theirs(x), tolerance)


@pytest.mark.parametrize(
    ("make", "shape"), [*NETS.values(), (sums, (3, 40, 40))], ids=[*NETS, "sums"]
)
def test_a_sample_alone_and_in_a_batch(
    make: Callable[[], nn.Layer], shape: tuple[int, ...]
) -> None:
    net = make()
    program = plan.LayerPlan(net, shape)
    x, _ = batch(1, 5, shape, "float32")
    y = program(x)
    assert_close(y, net(x), 1e-4)
    for i in range(5):
        assert_same_bits(program(x[i : i + 1]), y[i : i + 1])
    assert program(x[:0]).shape == (0, 10)


@pytest.mark.parametrize("name", ["branches", "resnet20", "borders", "nested"])
def test_same_bits_at_any_thread_count(name: str) -> None:
    make, shape = NETS[name]
    results = []
    for threads in (1, 2, 3, 4, 8):
        with fastcnn.threads(threads):
            net = make()
            program = plan.LayerPlan(net, shape, nn.CrossEntropyLoss(), sgd(net))
            for i in range(2):
                program.step(*batch(i, 9, shape, "float32"))
            results.append([*state(net).values(), program(batch(7, 2, shape, "float32")[0])])
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            assert_same_bits(a, b)


def test_many_threads_may_infer_at_once() -> None:
    make, shape = NETS["resnet20"]
    program = plan.LayerPlan(make(), shape)
    inputs = [batch(i, 4, shape, "float32")[0] for i in range(8)]
    expected = [program(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for i, y in enumerate(pool.map(lambda i: program(inputs[i % 8]), range(80))):
            assert_same_bits(y, expected[i % 8])


def test_without_an_optimizer_gradients_are_added() -> None:
    make, shape = NETS["basic"]
    ours, theirs = make(), make()
    program = plan.compile(ours, shape, loss=nn.CrossEntropyLoss())
    x, y = batch(0, 4, shape, "float32")
    for _ in range(2):
        program.step(x, y)
        outputs, ctx = theirs.forward(x)
        theirs.backward(nn.CrossEntropyLoss()(outputs, y)[1], ctx)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same_bits(p.grad, q.grad)


def test_frozen_parameters() -> None:
    """Nothing of a frozen part changes, frozen or thawed between two steps."""
    make, shape = NETS["resnet20"]
    ours, theirs = make(), make()
    optimizer, other = sgd(ours), sgd(theirs)
    program = plan.compile(ours, shape, loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    for i in range(3):
        for net in (ours, theirs):
            for name, p in net.named_parameters():
                p.requires_grad = i != 1 or name.startswith(("layer2.1", "fc"))
        x, y = batch(i, 4, shape, "float32")
        assert program.step(x, y).loss == by_layers(theirs, other, x, y)
        for a, b in zip(state(ours).values(), state(theirs).values(), strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("name", ["rows", "more_layers", "dense", "resnet20", "borders", "fcn8s"])
def test_layers_that_have_steps(name: str) -> None:
    """Nothing runs by itself but what has no step."""
    make, shape = NETS[name]
    program = plan.LayerPlan(make(), shape, nn.CrossEntropyLoss())
    assert not any("by the layer itself" in step.text for step in program.steps)


@pytest.mark.parametrize(
    "name",
    ["resnet20", "branches", "odd_layers", "bottleneck", "basic", "more_layers", "rows"]
    + ["nested", "borders", "fcn8s", "lenet5_1998", "inception"],
)
@pytest.mark.parametrize(
    "patterns", [("*1*",), ("*bn*", "*norm*", "*downsample*"), ("*running*",), ("*conv*",)]
)
def test_frozen_layers_have_the_bits_of_the_layers(name: str, patterns: tuple[str, ...]) -> None:
    """Batch norms by their running statistics too, and frozen or thawed between two steps."""
    make, shape = NETS[name]
    ours, theirs = make(), make()
    optimizer, other = sgd(ours), sgd(theirs)
    program = plan.compile(ours, shape, loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    names = [item for item, _ in ours._named_state()]
    fitting = [p for p in patterns if any(fnmatch.fnmatch(item, p) for item in names)]
    for i in range(4):
        for net in (ours, theirs):
            if i in (1, 2) and fitting:
                net.freeze(*fitting)
            else:
                net.unfreeze()
        before = state(ours)
        x, y = batch(i, 4, shape, "float32")
        loss, expected = program.step(x, y).loss, by_layers(theirs, other, x, y)
        for (key, a), b in zip(state(ours).items(), state(theirs).values(), strict=True):
            assert_same_bits(a, b)
            assert loss == expected
            if i in (1, 2) and any(fnmatch.fnmatch(key, p) for p in fitting):
                assert_same_bits(a, before[key])


def test_frozen_layers_skip_their_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen base costs no backward pass at all; a frozen middle costs the way through it."""
    net = models.resnet20(seed=1)
    program = plan.compile(net, (3, 16, 16), loss=nn.CrossEntropyLoss(), optimizer=sgd(net))
    calls: Counter[str] = Counter()
    for kernel in [k for k in dir(_kernels) if "backward" in k and k.islower()]:

        def call(*args: object, _name: str = kernel, _run: object = getattr(_kernels, kernel)):
            calls[_name] += 1
            return _run(*args)

        if callable(getattr(_kernels, kernel)):
            monkeypatch.setattr(_kernels, kernel, call)
    x, y = batch(0, 4, (3, 16, 16), "float32")
    net.freeze(before="fc")
    program.step(x, y)
    assert calls == {"linear_backward_weight": 1}
    calls.clear()
    net.unfreeze("layer3.2.conv2")
    program.step(x, y)
    assert calls["conv2d_backward_weight"] == 1 and not calls["conv2d_backward_input"]
    assert not calls["batch_norm_backward"]
    calls.clear()
    net.unfreeze("layer3.2.conv1")
    program.step(x, y)
    assert calls["conv2d_backward_weight"] == 2 and calls["conv2d_backward_input"] == 1


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    make, shape = NETS["odd_layers"]
    net = make()
    program = plan.compile(net, shape, loss=nn.CrossEntropyLoss(), optimizer=sgd(net))
    x, y = batch(0, 4, shape, "float32")
    program.step(x, y)
    before = state(net)
    x[2] = np.nan
    assert np.isnan(program.step(x, y).loss)
    for key, a in state(net).items():
        assert_same_bits(a, before[key])


@pytest.mark.parametrize("name", NETS)
def test_a_plan_s_memory_goes_with_it(name: str) -> None:
    """By counting references alone: a cycle would hold the arena until the collector comes by."""
    make, shape = NETS[name]
    net = make()
    program = plan.compile(net, shape, loss=nn.CrossEntropyLoss(), optimizer=sgd(net))
    x, y = batch(0, 2, shape, "float32")
    gc.disable()
    try:
        program(x[:1])
        small = weakref.ref(program._arena) if isinstance(program, plan.LayerPlan) else None
        program.step(x, y)
        program(x)
        assert small is None or small() is None  # nor does a smaller arena stay beside a larger
        given = x.copy()
        alive = weakref.ref(given)
        program.step(given, y)
        program(given)
        del given
        assert alive() is None  # the caller's images are the caller's
        alive = weakref.ref(program)
        del program
        assert alive() is None
    finally:
        gc.enable()


class Counting(nn.Layer):
    """A layer that no step knows, with a buffer that its forward pass moves."""

    def __init__(self) -> None:
        self.seen = nn.Buffer(np.zeros(1))

    def forward(self, x: Any) -> tuple[Any, None]:
        self.seen.data[...] += 1
        return x, None

    def backward(self, dy: Any, ctx: None, *, need_dx: bool = True) -> Any:
        return dy

    def output_shape(self, input_shape: Any) -> Any:
        return input_shape


def test_a_step_that_fails_changes_no_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, seed=1), nn.BatchNorm2d(4), nn.ReLU(), Counting(), nn.Flatten(),
        nn.Linear(4 * 36, 10, seed=2),
    )  # fmt: skip
    program = plan.compile(net, (3, 8, 8), loss=nn.CrossEntropyLoss(), optimizer=sgd(net))
    x, y = batch(0, 4, (3, 8, 8), "float32")
    program.step(x, y)
    before = {name: buffer.data.copy() for name, buffer in net.named_buffers()}
    assert len(before) == 3

    def fail() -> None:
        raise RuntimeError("no room")

    with pytest.raises(ValueError, match="class"):
        program.step(x, np.full(4, 10))
    monkeypatch.setattr(program.optimizer, "step", fail)
    with pytest.raises(RuntimeError, match="no room"):
        program.step(x, y)
    for name, buffer in net.named_buffers():
        assert_same_bits(buffer.data, before[name])


def heads(auxiliary: bool) -> nn.Graph:
    """Three outputs: one in the middle that others go on from, one behind a dropout."""
    kind = nn.AuxiliaryGraph if auxiliary else nn.Graph
    return kind(
        "x",
        {
            "conv": (nn.Conv2d(3, 6, 3, seed=1), "x"),
            "bn": (nn.BatchNorm2d(6), "conv"),
            "relu": (nn.ReLU(), "bn"),
            "pool": (nn.GlobalAvgPool2d(), "relu"),
            "mean": (nn.Flatten(), "pool"),
            "early": (nn.Linear(6, 10, seed=2), "mean"),
            "bent": (nn.ReLU(), "early"),
            "main": (nn.Linear(10, 10, seed=3), "bent"),
            "wide": (nn.Flatten(), "relu"),
            "drop": (nn.Dropout(0.5, seed=4), "wide"),
            "side": (nn.Linear(6 * 100, 10, seed=5), "drop"),
        },
        ("main", "early", "side"),
    )


@pytest.mark.parametrize("auxiliary", [True, False])
@pytest.mark.parametrize("frozen", [False, True])
def test_nets_with_several_outputs(auxiliary: bool, frozen: bool) -> None:
    """Training by a loss over all of them; inference of an auxiliary graph gives the first."""
    ours, theirs = heads(auxiliary), heads(auxiliary)
    loss = nn.AuxiliaryLoss(nn.CrossEntropyLoss(), 0.25)
    if frozen:
        ours.freeze("conv", "bn", "early"), theirs.freeze("conv", "bn", "early")
    optimizer, other = sgd(ours), sgd(theirs)
    program = plan.compile(ours, (3, 12, 12), loss=loss, optimizer=optimizer)
    for i, n in enumerate((4, 3, 4)):
        x, y = batch(i, n, (3, 12, 12), "float32")
        outputs, ctx = theirs.forward(x)
        value, gradient = loss(outputs, y)
        other.zero_grad()
        theirs.backward(gradient, ctx, need_dx=False)
        other.step()
        result = program.step(x, y)
        assert result.loss == value
        assert result.correct == np.count_nonzero(outputs["main"].argmax(1) == y)
        for a, b in zip(state(ours).values(), state(theirs).values(), strict=True):
            assert_same_bits(a, b)
    expected, got = theirs(x), program(x)
    if auxiliary:
        assert_close(got, expected, 1e-4)
        assert not any("side" in "".join(step.layers) for step in program.steps)
        assert program.output_shape == (10,) and program(x[:0]).shape == (0, 10)
        return
    assert list(got) == ["main", "early", "side"] == list(program.output_shape)
    for name, a in got.items():
        assert_close(a, expected[name], 1e-4)
        assert program(x[:0])[name].shape == (0, 10)


def test_googlenet_trains_by_a_plan() -> None:
    net = models.googlenet(10, auxiliary=True, init=nn.init.normal(0.01), seed=0)
    loss = nn.AuxiliaryLoss(nn.CrossEntropyLoss())
    program = plan.compile(net, (3, 224, 224), loss=loss, optimizer=sgd(net))
    assert isinstance(program, plan.LayerPlan)
    assert not any("by the layer itself" in step.text for step in program.steps)


def test_several_inputs_are_refused() -> None:
    net = nn.Graph(("a", "b"), {"sum": (nn.Add(), "a", "b")}, "sum")
    with pytest.raises(plan.LoweringError, match="a net of one input, got"):
        plan.compile(net, (3, 4, 4))


def test_refresh_takes_changed_weights() -> None:
    make, shape = NETS["basic"]
    net = make()
    program = plan.compile(net, shape)
    x, _ = batch(0, 2, shape, "float32")
    first = program(x)
    for p in net.parameters():
        p.data *= 2
    program.refresh()
    assert np.abs(program(x) - first).max() > 0.1
    assert_close(program(x), net(x), 1e-4)


def test_exact_kernels_when_asked() -> None:
    net = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1, seed=1), nn.BatchNorm2d(64))
    program = plan.compile(net, (64, 16, 16))
    x, _ = batch(0, 1, (64, 16, 16), "float32")
    usual = program(x)
    try:
        fastcnn.set_exact(True)
        exact = program(x)
        assert_close(exact, net(x), 1e-5)
    finally:
        fastcnn.set_exact(False)
    assert (exact != usual).any()
    assert_same_bits(program(x), usual)


def test_memory_is_shared_by_lifetimes() -> None:
    """A chain's inference needs input, output and indices of one pool, however long it is."""
    pools = [nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)]
    array = 8 * 4 * 32 * 32 * 4
    for k in (2, 8):
        program = plan.LayerPlan(nn.Sequential(*pools * k), (4, 32, 32))
        assert program.arena_bytes(8, training=False) == 3 * array


def test_what_it_says() -> None:
    text = repr(plan.compile(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), Half()), (1, 5, 5)))
    assert "layer by layer" in text
    assert "conv 1 -> 2 @ 3x3 + ReLU" in text
    assert "run by the layer itself" in text


def test_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"layer 'fc'.*expected 4"):
        plan.compile(nn.Sequential(fc=nn.Linear(4, 2), act=nn.Softmax()), (5,))
    make, shape = NETS["basic"]
    program = plan.compile(make(), shape, loss=nn.CrossEntropyLoss())
    x, y = batch(0, 2, shape, "float32")
    with pytest.raises(TypeError, match="float64"):
        program.step(x.astype("float64"), y)
    with pytest.raises(ValueError, match="input_shape"):
        program.step(x[:, :2], y)
    with pytest.raises(ValueError, match="at least one image"):
        program.step(x[:0], y[:0])
    with pytest.raises(ValueError, match="compiled with a loss"):
        plan.LayerPlan(make(), shape).step(x, y)
    norm = nn.Sequential(nn.Flatten(), nn.BatchNorm2d(4), nn.Softmax())
    with pytest.raises(ValueError, match="more than one value"):
        plan.compile(norm, (4,), loss=nn.MSELoss()).step(x[:1, 0, 0, :4], x[:1, 0, 0, :4])
    mixed = nn.Sequential(nn.Linear(4, 4), nn.Softmax(), nn.Linear(4, 4).double())
    with pytest.raises(plan.LoweringError, match="one dtype"):
        plan.compile(mixed, (4,))


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_dropout_follows_its_p(p: float, rng: np.random.Generator) -> None:
    """A probability that is changed between steps holds in the plan as in the layer."""
    x, y = rng.standard_normal((6, 3, 8, 8), np.float32), rng.integers(0, 4, 6)
    losses = []
    for planned in (False, True):
        drop = nn.Dropout(p, seed=1)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, seed=0), drop, nn.Flatten(), nn.Linear(72, 4, seed=0)
        )
        loss, told = nn.CrossEntropyLoss(), []
        program = plan.LayerPlan(net, (3, 8, 8), loss=loss) if planned else None
        for share in (p, 0.25, 0.0, 0.75):
            drop.p = share
            told.append(program.step(x, y).loss if program else loss(net.forward(x)[0], y)[0])
        losses.append(told)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert len(set(losses[0])) == 4 - (p == 0)
