"""Parameter and the Layer base: names, state, generators, conversion, layers of one's own."""

import numpy as np
import pytest
from helpers import assert_same_bits

from fastcnn import nn
from fastcnn.nn.layer import Reach


def small_net(seed=0):
    return nn.Sequential(
        conv=nn.Conv2d(1, 2, 3, seed=seed),
        drop=nn.Dropout(0.5, seed=seed),
        body=nn.Sequential(nn.Flatten(), nn.Linear(8, 3, seed=seed), nn.Dropout(0.1, seed=1)),
    )


class Scale(nn.Layer):
    """A user's layer, as short as the contract allows."""

    def __init__(self, factor):
        self.factor = nn.Parameter(np.array([factor], np.float32))

    def forward(self, x):
        return x * self.factor.data, x

    def backward(self, dy, ctx):
        self.factor.add_grad((dy * ctx).sum().reshape(1))
        return dy * self.factor.data


# ------------------------------------------------------------------------------------ Parameter


def test_gradient_is_zeros_before_the_first():
    p = nn.Parameter(np.ones((2, 3), np.float32))
    assert p.grad.shape == (2, 3) and p.grad.dtype == np.float32 and not p.grad.any()


def test_gradients_are_added_and_not_aliased():
    p = nn.Parameter(np.zeros(2, np.float32))
    g = np.array([1, 2], np.float32)
    p.add_grad(g)
    p.add_grad(g)
    assert p.grad.tolist() == [2, 4]
    assert g.tolist() == [1, 2]


def test_a_fresh_gradient_is_kept_without_a_copy():
    p = nn.Parameter(np.zeros(2, np.float32))
    g = np.array([1, 2], np.float32)
    p.add_grad(g, fresh=True)
    assert p.grad is g
    p.add_grad(np.array([1, 2]), fresh=True)  # int64: cast into what is there
    assert p.grad.dtype == np.float32


def test_looking_at_a_gradient_does_not_make_one():
    p = nn.Parameter(np.zeros(2, np.float32))
    assert not p.has_grad and not p.grad.any() and not p.has_grad
    p.add_grad(np.zeros(2, np.float32))
    assert p.has_grad
    p.zero_grad()
    assert not p.has_grad
    p.grad += np.float32(1)
    assert p.has_grad


def test_in_place_gradients_work():
    p = nn.Parameter(np.zeros(2, np.float32))
    p.grad += np.float32(1)
    assert p.grad.tolist() == [1, 1]
    p.grad = None
    assert p.grad.tolist() == [0, 0]


@pytest.mark.parametrize("assign", [False, True])
def test_a_gradient_of_another_shape_is_an_error(assign):
    p = nn.Parameter(np.zeros(2, np.float32), "fc.bias")
    with pytest.raises(ValueError, match=r"'fc.bias'.*\(2,\).*\(1,\)"):
        if assign:
            p.grad = np.zeros(1, np.float32)
        else:
            p.add_grad(np.zeros(1, np.float32))


def test_parameter_keeps_a_writeable_array_and_copies_a_read_only_one():
    a = np.zeros(2, np.float32)
    assert nn.Parameter(a).data is a
    a.flags.writeable = False
    nn.Parameter(a).data += 1
    assert not a.any()


def test_parameter_refuses_integers():
    with pytest.raises(TypeError, match="float32 or float64"):
        nn.Parameter(np.zeros(2, np.int64))


def test_repr_of_a_parameter():
    p = nn.Parameter(np.zeros((2, 1), np.float32), "w", requires_grad=False)
    assert repr(p) == "Parameter('w', shape=(2, 1), float32, requires_grad=False)"


# ---------------------------------------------------------------------------------- names, state


def test_names_are_dotted_and_known_to_the_parameters():
    net = small_net()
    names = ["conv.weight", "conv.bias", "body.1.weight", "body.1.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [p.name for p in net.parameters()] == names
    assert list(net.state_dict()) == names
    assert [name for name, _ in net.named_layers()] == [
        "", "conv", "drop", "body", "body.0", "body.1", "body.2",
    ]  # fmt: skip


def test_parameters_are_found_in_lists_and_dicts():
    class Net(nn.Layer):
        def __init__(self):
            self.scales = [Scale(1.0), Scale(2.0)]
            self.heads = {"a": Scale(3.0)}
            self.own = nn.Parameter(np.zeros(4, np.float32))

    names = [name for name, _ in Net().named_parameters()]
    assert names == ["own", "scales.0.factor", "scales.1.factor", "heads.a.factor"]
    assert [p.name for p in Net().parameters()] == names


def test_shared_parameters_come_once():
    layer = nn.Linear(3, 3, seed=0)
    net = nn.Sequential(a=layer, relu=nn.ReLU(), b=layer)
    assert [name for name, _ in net.named_parameters()] == ["a.weight", "a.bias"]
    assert net.num_parameters() == 12


def test_num_parameters_trainable():
    layer = nn.Linear(3, 2)
    layer.weight.requires_grad = False
    assert (layer.num_parameters(), layer.num_parameters(trainable=True)) == (8, 2)
    assert layer.trains()
    layer.bias.requires_grad = False
    assert not layer.trains()


def test_state_dict_is_a_copy():
    net = small_net()
    state = net.state_dict()
    for p in net.parameters():
        p.data += 1
    for name, p in net.named_parameters():
        assert (p.data == state[name] + 1).all()


def test_load_state_dict_writes_into_the_same_arrays():
    a, b = small_net(1), small_net(2)
    arrays = [p.data for p in b.parameters()]
    b.load_state_dict(a.state_dict())
    for p, q, array in zip(a.parameters(), b.parameters(), arrays, strict=True):
        assert q.data is array
        assert_same_bits(p.data, q.data)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("conv.bias"), r"missing 'conv.bias' \(2,\)"),
        (lambda s: s.update(extra=np.zeros(1)), "unexpected 'extra'"),
        (
            lambda s: s.update({"conv.bias": np.zeros(3, np.float32)}),
            r"'conv.bias': expected shape \(2,\), got \(3,\)",
        ),
        (
            lambda s: s.update({"conv.bias": np.zeros(2)}),
            "'conv.bias': expected float32, got float64",
        ),
    ],
    ids=["missing", "unexpected", "shape", "dtype"],
)
def test_load_state_dict_loads_all_or_nothing(change, message):
    net = small_net(1)
    before = net.state_dict()
    state = small_net(2).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        assert_same_bits(array, before[name])


def test_load_state_dict_names_every_fault_up_to_a_dozen():
    with pytest.raises(ValueError, match=r"missing 'conv.weight'.*unexpected '7'; and 12 more"):
        small_net().load_state_dict({str(i): np.zeros(1) for i in range(20)})


def test_astype_and_back():
    net = small_net()
    before = net.state_dict()
    assert net.double() is net
    assert {p.data.dtype for p in net.parameters()} == {np.dtype(np.float64)}
    net.astype(np.float32)
    for name, array in net.state_dict().items():
        assert_same_bits(array, before[name])
    with pytest.raises(TypeError, match="float16"):
        net.astype(np.float16)


def test_zero_grad():
    net = small_net()
    y, ctx = net.forward(np.ones((1, 1, 4, 4), np.float32))
    net.backward(np.ones_like(y), ctx)
    assert any(p.grad.any() for p in net.parameters())
    net.zero_grad()
    assert not any(p.grad.any() for p in net.parameters())


# ------------------------------------------------------------------------------------ generators


def test_generators_are_saved_and_restored():
    import json

    net, x = small_net(), np.ones((3, 1, 4, 4), np.float32)
    state = json.loads(json.dumps(net.rng_state()))  # plain enough for any file format
    assert list(state) == ["drop", "body.2"]
    first = net.forward(x)[0]
    assert (net.forward(x)[0] != first).any()
    net.set_rng_state(state)
    assert_same_bits(net.forward(x)[0], first)


@pytest.mark.parametrize(
    "state, message",
    [
        ({}, r"expected generators \['body.2', 'drop'\], got \[\]"),
        ({"drop": None, "body.2": {"bit_generator": "MT19937"}}, "not such a state"),
        ({"drop": {"bit_generator": "MT19937"}, "body.2": {}}, "not such a state"),
    ],
)
def test_a_wrong_generator_state_changes_nothing(state, message):
    net = small_net()
    before = net.rng_state()
    if state:
        state = {"drop": state["drop"] or before["drop"], "body.2": state["body.2"]}
    net.forward(np.ones((1, 1, 4, 4), np.float32))
    moved = net.rng_state()
    with pytest.raises(ValueError, match=message):
        net.set_rng_state(state)
    assert net.rng_state() == moved


# ------------------------------------------------------------------------- layers of one's own


def test_own_layer_in_a_net():
    net = nn.Sequential(Scale(2.0), nn.ReLU(), Scale(3.0))
    x = np.array([[1.0, -1.0]], np.float32)
    y, ctx = net.forward(x)
    assert y.tolist() == [[6.0, 0.0]]
    assert net.backward(np.ones_like(y), ctx).tolist() == [[6.0, 0.0]]
    assert [p.grad.tolist() for p in net.parameters()] == [[3.0], [2.0]]


def test_own_layer_without_need_dx_may_be_the_first_or_the_whole():
    layer = Scale(2.0)
    y, ctx = layer.forward(np.ones((1, 2), np.float32))
    layer.backward(y, ctx, need_dx=False)
    assert layer.factor.grad.tolist() == [4.0]
    assert (
        nn.Sequential(layer).backward(y, nn.Sequential(layer).forward(y)[1], need_dx=False) is None
    )


def test_an_unfinished_layer_says_what_is_missing():
    class Empty(nn.Layer):
        pass

    for call in (lambda e: e(1), lambda e: e.backward(1, 2), lambda e: e.summary((3,))):
        with pytest.raises(NotImplementedError, match="Empty does not define"):
            call(Empty())
    assert repr(Empty()) == "Empty()"
    assert Empty().multiply_adds((3,)) == 0 and Empty().reach() == Reach((1, 1), (1, 1))
