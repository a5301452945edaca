"""Graph and Sequential: building, fan-out, several inputs and outputs, early stop, messages."""

import itertools

import numpy as np
import pytest
from helpers import assert_same, assert_same_bits, integers

from fastcnn import nn, testing

X = np.arange(1, 5, dtype=np.float32).reshape(1, 4)


class Times(nn.Layer):
    """x times a constant; notes when its backward is called."""

    def __init__(self, factor, log=None):
        self.factor = factor
        self.log = log

    def forward(self, x):
        return x * np.float32(self.factor), None

    def backward(self, dy, ctx, *, need_dx=True):
        if self.log is not None:
            self.log.append((self.factor, need_dx))
        return dy * np.float32(self.factor) if need_dx else None

    def output_shape(self, input_shape):
        return input_shape


def two_heads():
    """x -> a = 2x -> main = 3a, aux = 5a."""
    return nn.Graph(
        inputs="x",
        nodes={"a": (Times(2), "x"), "main": (Times(3), "a"), "aux": (Times(5), "a")},
        outputs=("main", "aux"),
    )


# -------------------------------------------------------------------------------------- building


@pytest.mark.parametrize(
    "inputs, nodes, outputs, message",
    [
        ("x", {"a": (nn.ReLU(), "b"), "b": (nn.ReLU(), "a")}, "a", "cycle: a -> b -> a"),
        ("x", {"a": (nn.Add(), "x", "a")}, "a", "cycle: a -> a"),
        ("x", {"a": (nn.ReLU(), "y")}, "a", "node 'a' takes 'y', .*there are x, a"),
        ("x", {"a": (nn.ReLU(), "x")}, "b", "output 'b' is not there; there are x, a"),
        ("x", {"a": (nn.ReLU(), "x"), "b": (nn.ReLU(), "x")}, "a", "node 'b' leads to no output"),
        (("x", "z"), {"a": (nn.ReLU(), "x")}, "a", "input 'z' leads to no output"),
        ("x", {"x": (nn.ReLU(), "x")}, "x", "'x' is the name of both an input and a node"),
        ("x", {"a": nn.ReLU()}, "a", r"node 'a': expected \(layer, name, ...\)"),
        ("x", {"a": (nn.ReLU(),)}, "a", "node 'a': expected names of its inputs"),
        ("x", {"a": (nn.ReLU(), "x", "x")}, "a", r"node 'a': expected one input for ReLU\(\)"),
        ("x", {"": (nn.ReLU(), "x")}, "x", "expected the name of a node"),
        (("x", "x"), {"a": (nn.Add(), "x", "x")}, "a", "different names"),
        ((), {}, "x", "expected inputs to be a name or names"),
        ("x", {"a": (two_heads(), "x")}, "a", "node 'a': expected a layer with one output"),
    ],
)  # fmt: skip
def test_building_errors_name_the_nodes(inputs, nodes, outputs, message):
    with pytest.raises(ValueError, match=message):
        nn.Graph(inputs, nodes, outputs)


def test_a_longer_cycle_is_named_along_its_arrows():
    nodes = {
        "in": (nn.Add(), "x", "c"),
        "b": (nn.ReLU(), "in"),
        "c": (nn.ReLU(), "b"),
        "tail": (nn.ReLU(), "c"),
    }
    with pytest.raises(ValueError, match="cycle: ") as caught:
        nn.Graph("x", nodes, "tail")
    path = str(caught.value).partition("cycle: ")[2].split(" -> ")
    assert path[0] == path[-1] and len(path) == 4
    for source, name in itertools.pairwise(path):
        assert source in nodes[name][1:]


def test_nodes_may_come_in_any_order():
    net = nn.Graph(
        "x", {"c": (Times(5), "b"), "a": (Times(2), "x"), "b": (Times(3), "a")}, outputs="c"
    )
    assert list(net.nodes) == ["a", "b", "c"]
    assert_same(net(X), 30 * X)


# -------------------------------------------------------------------------------------- the passes


def test_fan_out_gradients_are_summed():
    """y = 2x + 3x + x: three uses of x, then dy once more through an output in the middle."""
    net = nn.Graph(
        "x",
        {"a": (Times(2), "x"), "b": (Times(3), "x"), "sum": (nn.Add(), "a", "b", "x")},
        outputs="sum",
    )
    y, ctx = net.forward(X)
    assert_same(y, 6 * X)
    dy = X[:, ::-1].copy()
    assert_same(net.backward(dy, ctx), 6 * dy)
    assert_same(dy, X[:, ::-1])  # the sum was not made in the caller's array


def test_the_same_layer_at_two_nodes(rng):
    shared = nn.Linear(4, 4, seed=0)
    net = nn.Graph(
        "x",
        {"a": (shared, "x"), "t": (nn.Tanh(), "a"), "b": (shared, "t"), "s": (nn.Add(), "a", "b")},
        outputs="s",
    )
    assert net.num_parameters() == 20
    testing.gradcheck(net, rng.normal(size=(3, 4)))


def test_several_inputs_by_name_or_in_order(rng):
    net = nn.Graph(
        inputs=("left", "right"),
        nodes={"a": (Times(2), "left"), "cat": (nn.Concat(), "a", "right", "left")},
        outputs="cat",
    )
    left, right = integers(rng, (2, 3), np.float32), integers(rng, (2, 1), np.float32)
    y, ctx = net.forward({"right": right, "left": left})
    assert_same(y, np.concatenate([2 * left, right, left], 1))
    assert_same(net((left, right)), y)
    dy = integers(rng, y.shape, np.float32)
    dx = net.backward(dy, ctx)
    assert_same(dx["left"], 2 * dy[:, :3] + dy[:, 4:])
    assert_same(dx["right"], dy[:, 3:4])
    assert net.output_shape({"left": (3,), "right": (1,)}) == (7,)
    for wrong in ({"left": left}, left, (left,), {"left": left, "right": right, "up": right}):
        with pytest.raises(ValueError, match="expected inputs"):
            net(wrong)


def test_several_outputs_and_gradients_of_some_of_them():
    net = two_heads()
    y, ctx = net.forward(X)
    assert_same(y["main"], 6 * X)
    assert_same(y["aux"], 10 * X)
    assert_same(net.backward({"main": X, "aux": X}, ctx), 16 * X)
    assert_same(net.backward({"aux": X}, ctx), 10 * X)
    assert_same(net.backward({}, ctx), 0 * X, zeros=1)
    with pytest.raises(ValueError, match="expected gradients of main, aux, got other"):
        net.backward({"other": X}, ctx)
    assert net.output_shape((4,)) == {"main": (4,), "aux": (4,)}


def test_several_inputs_and_outputs_pass_gradcheck(rng):
    net = nn.Graph(
        inputs=("a", "b"),
        nodes={"fc": (nn.Linear(3, 2, seed=0), "a"), "sum": (nn.Add(), "fc", "b")},
        outputs=("sum", "fc"),
    )
    testing.gradcheck(net, {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=(2, 2))})


def test_an_input_may_be_an_output():
    net = nn.Graph("x", {"a": (Times(2), "x")}, outputs=("x", "a"))
    y, ctx = net.forward(X)
    assert_same(y["x"], X)
    assert_same(net.backward({"x": X, "a": X}, ctx), 3 * X)


def test_graphs_in_graphs(rng):
    inner = nn.Graph(("p", "q"), {"s": (nn.Add(), "p", "q"), "t": (nn.Tanh(), "s")}, outputs="t")
    net = nn.Graph(
        "x",
        {"fc": (nn.Linear(3, 3, seed=0), "x"), "inner": (inner, "fc", "x")},
        outputs="inner",
    )
    x = rng.normal(size=(2, 3))
    testing.gradcheck(net, x)
    assert net.output_shape((3,)) == (3,)
    assert [row.name for row in net.summary((3,)).rows] == ["fc", "inner.s", "inner.t"]
    net.double()
    _, ctx = net.forward(x)
    assert net.backward(x, ctx, need_dx=False) is None


def test_activations_are_what_each_layer_gives(rng):
    net = nn.Sequential(conv=nn.Conv2d(1, 2, 3, seed=0), relu=nn.ReLU(), flat=nn.Flatten())
    x = rng.normal(size=(2, 1, 4, 4)).astype(np.float32)
    maps = net.activations(x)
    assert list(maps) == ["conv", "relu", "flat"]
    assert_same_bits(maps["conv"], net["conv"](x))
    assert_same_bits(np.array(maps["flat"]), np.array(net(x)))


# ------------------------------------------------------------------------------------- early stop


def test_backward_stops_where_nothing_needs_a_gradient():
    log = []
    fc = nn.Linear(4, 4, seed=0)
    net = nn.Sequential(Times(2, log), Times(3, log), fc, Times(5, log))
    y, ctx = net.forward(X)
    assert net.backward(y, ctx, need_dx=False) is None
    assert log == [(5, True)]
    assert fc.weight.grad.any()
    net.backward(y, ctx)
    assert log[1:] == [(5, True), (3, True), (2, True)]


def test_backward_of_a_frozen_base_stops_at_the_head():
    log = []
    base, head = nn.Linear(4, 4, seed=0), nn.Linear(4, 2, seed=1)
    net = nn.Sequential(base, Times(3, log), head)
    for p in base.parameters():
        p.requires_grad = False
    y, ctx = net.forward(X)
    net.backward(y, ctx, need_dx=False)
    assert log == [] and head.weight.grad.any() and not base.weight.grad.any()
    head.weight.requires_grad = head.bias.requires_grad = False
    assert net.backward(y, ctx, need_dx=False) is None


def test_only_the_branch_that_trains_is_followed():
    log = []
    net = nn.Graph(
        "x",
        {
            "plain": (Times(2, log), "x"),
            "fc": (nn.Linear(4, 4, seed=0), "x"),
            "scaled": (Times(3, log), "fc"),
            "sum": (nn.Add(), "plain", "scaled"),
        },
        outputs="sum",
    )
    y, ctx = net.forward(X)
    net.backward(y, ctx, need_dx=False)
    assert log == [(3, True)]


# ------------------------------------------------------------------------------------- Sequential


def test_sequential_names_and_items():
    relu, fc = nn.ReLU(), nn.Linear(4, 2, seed=0)
    assert list(nn.Sequential(relu, fc).nodes) == ["0", "1"]
    assert list(nn.Sequential({"act": relu}, fc=fc).nodes) == ["act", "fc"]
    net = nn.Sequential(relu, head=fc)
    assert len(net) == 2 and list(net) == [relu, fc] and net[-1] is net["head"] is fc
    assert isinstance(net[:1], nn.Sequential) and list(net[:1]) == [relu]
    with pytest.raises(IndexError):
        net[2]
    with pytest.raises(KeyError, match="there is no layer 'fc'; there are 0, head"):
        net["fc"]
    with pytest.raises(ValueError, match="'0': expected a layer, got 3"):
        nn.Sequential(3)


def test_an_empty_sequential_is_the_identity():
    net = nn.Sequential()
    assert net(X) is X and repr(net) == "Sequential()"
    assert net.backward(X, net.forward(X)[1]) is X


def test_sequential_runs_its_layers_in_turn(rng):
    first, second = nn.Conv2d(1, 2, 3, seed=0), nn.Conv2d(2, 1, 2, seed=1)
    x = integers(rng, (2, 1, 6, 6), np.float32)
    net = nn.Sequential(first, second)
    assert_same_bits(net(x), second(first(x)))
    y, ctx = net.forward(x)
    h, c1 = first.forward(x)
    _, c2 = second.forward(h)
    assert_same_bits(net.backward(y, ctx), first.backward(second.backward(y, c2), c1))


@pytest.mark.parametrize("call", ["inference", "training", "backward"])
def test_run_time_errors_name_the_layer(call):
    net = nn.Sequential(flat=nn.Flatten(), fc=nn.Linear(4, 2, seed=0))
    with pytest.raises(ValueError, match=r"layer 'fc', Linear\(4, 2\)"):
        if call == "inference":
            net(np.zeros((1, 5), np.float32))
        elif call == "training":
            net.forward(np.zeros((1, 5), np.float32))
        else:
            net.backward(np.zeros((1, 3), np.float32), net.forward(X)[1])


def test_reprs_show_the_structure():
    net = nn.Graph("x", {"a": (nn.Sequential(nn.ReLU()), "x"), "s": (nn.Add(), "a", "x")}, "s")
    assert repr(net) == (
        "Graph(\n  inputs: x\n  a: Sequential(\n    0: ReLU()\n  ) <- x\n"
        "  s: Add() <- a, x\n  outputs: s\n)"
    )


# ---------------------------------------------------------------------------------- Add and Concat


def test_concat_of_channels_and_its_parts(rng):
    a, b = integers(rng, (2, 3, 2, 2), np.float32), integers(rng, (2, 1, 2, 2), np.float32)
    y, ctx = nn.Concat().forward((a, b, a))
    assert_same(y, np.concatenate([a, b, a], 1))
    da, db, dc = nn.Concat().backward(y, ctx)
    for got, wanted in ((da, a), (db, b), (dc, a)):
        assert_same(got, wanted)
    assert nn.Concat().backward(y, ctx, need_dx=False) is None
    assert nn.Concat(2).output_shape([(1, 2, 3), (1, 5, 3)]) == (1, 7, 3)


@pytest.mark.parametrize("layer", [nn.Add(), nn.Concat()])
@pytest.mark.parametrize(
    "xs",
    [
        X,
        (),
        (X, X.astype(np.float64)),
        (X[None], X[None, :, :2], X[None]),
        (X, np.concatenate([X, X])),
    ],
    ids=["no tuple", "empty", "dtypes", "shapes", "batches"],
)
def test_arrays_that_do_not_join_are_errors(layer, xs):
    with pytest.raises(ValueError, match=r"(Add|Concat): expected"):
        layer.forward(xs)


def test_add_of_one_is_a_copy():
    y, ctx = nn.Add().forward((X,))
    assert_same(y, X)
    assert not np.shares_memory(y, X)
    assert nn.Add().backward(X, ctx, need_dx=False) is None


# ------------------------------------------------------------------------------- writing in place


class KeepsItsOutput(nn.Conv2d):
    """A convolution of one's own that needs its output on the way back."""

    def forward(self, x):
        y, ctx = super().forward(x)
        return y, (ctx, y)

    def backward(self, dy, ctx, *, need_dx=True):
        kept = ctx[1]
        return super().backward(dy * np.sign(kept), ctx[0], need_dx=need_dx)


def one_by_one(layers, x, dy):
    """Output, dx and the parameters' gradients, without a net that could write in place."""
    contexts = []
    for layer in layers:
        x, ctx = layer.forward(x)
        contexts.append(ctx)
    y = x
    for layer, ctx in zip(reversed(layers), reversed(contexts), strict=True):
        dy = layer.backward(dy, ctx)
    return y, dy, [p.grad.copy() for layer in layers for p in layer.parameters()]


def test_a_node_with_another_layer_is_seen_by_every_pass(rng):
    net = nn.Sequential(fc=nn.Linear(6, 5, seed=0), act=nn.ReLU(), out=nn.Linear(5, 4, seed=1))
    x = rng.normal(size=(3, 6)).astype(np.float32)
    net.forward(x)
    net.nodes["fc"] = net.nodes["fc"]._replace(layer=nn.Linear(6, 5, seed=7))
    net.nodes["act"] = net.nodes["act"]._replace(layer=nn.Tanh())
    y, ctx = net.forward(x)
    net.backward(y, ctx)
    assert_same_bits(y, net(x))
    assert all(p.has_grad for p in net.parameters())


@pytest.mark.parametrize("conv", [nn.Conv2d, KeepsItsOutput])
def test_relu_in_place_changes_no_result(conv, rng):
    """With an own layer whose context holds its output, and an output that is a net's too."""
    layers = [
        conv(2, 3, 3, padding=1, seed=0), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(12, 5, seed=1), nn.ReLU(), nn.Linear(5, 4, seed=2),
    ]  # fmt: skip
    x = rng.normal(size=(6, 2, 4, 4)).astype(np.float32)
    dy = rng.normal(size=(6, 4)).astype(np.float32)
    before = x.copy(), dy.copy()
    expected = one_by_one(layers, x, dy)
    net = nn.Sequential(*layers)
    assert net._route[1].overwrites is (conv is nn.Conv2d)
    assert net._route[0].relu == ("1" if conv is nn.Conv2d else "")
    net.zero_grad()
    y, ctx = net.forward(x)
    dx = net.backward(dy, ctx)
    got = y, dx, [p.grad for p in net.parameters()]
    for a, b in zip([*got[:2], *got[2]], [*expected[:2], *expected[2]], strict=True):
        assert_same_bits(a, b)
    assert_same_bits(net(x), y)
    assert_same_bits(x, before[0])
    assert_same_bits(dy, before[1])


def test_what_a_second_node_takes_is_not_written_over(rng):
    net = nn.Graph(
        "x",
        {
            "conv": (nn.Conv2d(1, 2, 3, seed=0), "x"),
            "relu": (nn.ReLU(), "conv"),
            "sum": (nn.Add(), "relu", "conv"),
        },
        "sum",
    )
    x = rng.normal(size=(2, 1, 5, 5)).astype(np.float32)
    z = net.nodes["conv"].layer(x)
    assert_same_bits(net.forward(x)[0], np.maximum(z, 0) + z)
    seen = nn.Graph("x", {n: (s.layer, *s.inputs) for n, s in net.nodes.items()}, ("sum", "conv"))
    assert_same_bits(seen.forward(x)[0]["conv"], z)


class Doubled:
    """A mixin whose forward keeps none of the promises of the layer behind it."""

    def forward(self, x):
        y, ctx = super().forward(x)
        return 2 * y, ctx


class DoubledConv(Doubled, nn.Conv2d):
    pass


def test_a_relu_is_computed_with_the_convolution_in_front_of_it_and_nobody_sees_it(rng):
    conv = nn.Conv2d(1, 2, 3, seed=0)
    net = nn.Graph(
        "x",
        {
            "a": (conv, "x"),
            "relu": (nn.ReLU(), "a"),
            "b": (conv, "x"),  # the same layer, without one
            "sum": (nn.Add(), "relu", "b"),
        },
        "sum",
    )
    x = rng.normal(size=(2, 1, 5, 5)).astype(np.float32)
    z = conv(x)
    assert [stop.relu for stop in net._route] == ["relu", "", "", ""]
    assert_same_bits(net(x), np.maximum(z, 0) + z)
    assert_same_bits(net.forward(x)[0], np.maximum(z, 0) + z)
    seen = net.activations(x)
    assert_same_bits(seen["a"], z)
    assert_same_bits(seen["relu"], np.maximum(z, 0))
    testing.gradcheck(net.double(), x.astype(np.float64))


def test_another_forward_is_not_asked_for_a_relu(rng):
    x = rng.normal(size=(2, 1, 5, 5)).astype(np.float32)
    conv = DoubledConv(1, 2, 3, seed=0)
    net = nn.Sequential(conv, nn.ReLU())
    assert not conv.takes_relu
    assert not conv.gives_new
    z = nn.Conv2d(1, 2, 3, seed=0)(x)
    assert_same_bits(net.forward(x)[0], np.maximum(2 * z, 0))

    calls = []
    conv = nn.Conv2d(1, 2, 3, seed=0)
    net = nn.Sequential(conv, nn.ReLU())
    forward = conv.forward
    conv.forward = lambda x: calls.append(1) or forward(x)
    assert_same_bits(net.forward(x)[0], np.maximum(z, 0))
    assert_same_bits(net(x), np.maximum(z, 0))
    assert calls == [1]


def test_nodes_that_are_changed_are_seen_by_every_pass(rng):
    conv, x = nn.Conv2d(1, 2, 3, seed=0), rng.normal(size=(2, 1, 5, 5)).astype(np.float32)
    net = nn.Graph(
        "x",
        {"conv": (conv, "x"), "relu": (nn.ReLU(), "conv"), "sum": (nn.Add(), "relu", "conv")},
        "sum",
    )
    net(x)
    z = conv(x)
    net.nodes["relu"] = net.nodes["relu"]._replace(layer=nn.Tanh())
    tanh = nn.Tanh()(z)
    assert_same_bits(net(x), tanh + z)
    net.nodes["sum"] = net.nodes["sum"]._replace(inputs=("relu", "relu"))
    assert_same_bits(net(x), 2 * tanh)
    assert_same_bits(net.forward(x)[0], 2 * tanh)
    net.nodes["relu"] = net.nodes["relu"]._replace(layer=nn.ReLU())
    assert net._stops()[0].relu == "relu"
    assert_same_bits(net.forward(x)[0], 2 * np.maximum(z, 0))
    assert_same_bits(net(x), net.activations(x)["sum"])
