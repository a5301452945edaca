"""Parts of a net by name: what is frozen stays to the bit and costs nothing; groups; replacing."""

import copy
from collections import Counter

import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, normal

from fastcnn import _kernels, models, nn, optim, testing


def trained(net):
    return [p.name for p in net.parameters() if p.requires_grad]


def small():
    """Two convolutions with batch norm in a nested chain, and a head."""
    return nn.Sequential(
        features=nn.Sequential(
            conv1=nn.Conv2d(1, 4, 3, seed=1),
            bn1=nn.BatchNorm2d(4),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(4, 4, 3, seed=2),
            bn2=nn.BatchNorm2d(4),
        ),
        flat=nn.Flatten(),
        fc=nn.Linear(64, 3, seed=3),
    )


def step(net, optimizer, rng):
    x, y = normal(rng, (5, 1, 8, 8), np.float32), rng.integers(0, 3, 5)
    outputs, ctx = net.forward(x)
    optimizer.zero_grad()
    net.backward(nn.CrossEntropyLoss()(outputs, y)[1], ctx, need_dx=False)
    optimizer.step()


# ---------------------------------------------------------------------------- choosing


@pytest.mark.parametrize(
    "patterns, limits, expected",
    [
        ((), {}, []),
        (("features",), {}, ["fc.weight", "fc.bias"]),
        (("*conv?", "*bn*"), {}, ["fc.weight", "fc.bias"]),
        (("*.bias", "features.bn2.weight", "features.conv*"), {},
         ["features.bn1.weight", "fc.weight"]),
        ((), {"before": "fc"}, ["fc.weight", "fc.bias"]),
        ((), {"since": "features.conv2"}, ["features.conv1.weight", "features.conv1.bias",
                                           "features.bn1.weight", "features.bn1.bias"]),
        ((), {"since": "features.bn1", "before": "flat"}, ["features.conv1.weight",
                                                    "features.conv1.bias", "fc.weight", "fc.bias"]),
        (("*.bias",), {"before": "features.bn1"}, ["features.conv1.weight", "features.bn1.weight",
         "features.bn1.bias", "features.conv2.weight", "features.conv2.bias", "features.bn2.weight",
         "features.bn2.bias", "fc.weight", "fc.bias"]),
    ],
)  # fmt: skip
def test_what_is_frozen(patterns, limits, expected):
    net = small()
    names = trained(net)
    assert net.freeze(*patterns, **limits) is net
    assert trained(net) == expected
    assert net.unfreeze(*patterns, **limits) is net
    assert trained(net) == names
    assert trained(net.freeze().unfreeze(*patterns, **limits)) == [
        name for name in names if name not in expected
    ]


def test_names_that_fit_nothing():
    net = small()
    with pytest.raises(ValueError, match=r"freeze: 'conv\*' fits no name; there are features.conv"):
        net.freeze("features", "conv*")
    with pytest.raises(ValueError, match="unfreeze: there is no layer 'fc2'"):
        net.unfreeze(before="fc2")
    assert len(trained(net)) == 10  # nothing was frozen on the way


# ---------------------------------------------------------------------------- what freezing does


def test_a_frozen_part_stays_to_the_bit(rng):
    """Weight decay, momentum and running statistics too; what is not frozen moves."""
    net = small().freeze("features")
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    before = net.state_dict()
    for _ in range(3):
        step(net, optimizer, rng)
    for name, a in net.state_dict().items():
        if name.startswith("features"):
            assert_same_bits(a, before[name])
        else:
            assert (a != before[name]).any(), name
    net.unfreeze("features.bn2")
    step(net, optimizer, rng)
    moved = {name for name, a in net.state_dict().items() if (a != before[name]).any()}
    assert moved == {"fc.weight", "fc.bias"} | {
        f"features.bn2.{key}" for key in ("weight", "bias", "running_mean", "running_var")
    }


def counted(monkeypatch):
    """How often each kernel of a backward pass is called."""
    calls = Counter()
    for name in dir(_kernels):
        kernel = getattr(_kernels, name)
        if "backward" in name and callable(kernel) and not isinstance(kernel, type):

            def call(*args, _name=name, _kernel=kernel, **kwargs):
                calls[_name] += 1
                return _kernel(*args, **kwargs)

            monkeypatch.setattr(_kernels, name, call)
    return calls


HEAD = {"linear_backward_weight": 1}


@pytest.mark.parametrize(
    "patterns, expected",
    [
        (("features",), HEAD),
        (("features.conv1", "features.bn1", "features.conv2"),
         HEAD | {"linear_backward_input": 1, "batch_norm_backward": 1}),
        (("features.conv2", "features.bn*"),
         HEAD | {"linear_backward_input": 1, "conv2d_backward_input": 1, "activation_backward": 1,
                 "conv2d_backward_weight": 1}),
        (("fc",), {"linear_backward_input": 1, "batch_norm_backward": 2, "activation_backward": 1,
                   "conv2d_backward_weight": 2, "conv2d_backward_input": 1}),
    ],
)  # fmt: skip
def test_the_kernels_that_run(patterns, expected, rng, monkeypatch):
    net = small().freeze(*patterns)
    calls = counted(monkeypatch)
    step(net, optim.SGD(net.parameters(), lr=0.1), rng)
    assert calls == expected


@pytest.mark.parametrize("affine", [True, False])
def test_gradients_of_a_frozen_batch_norm(affine, rng):
    """A scale with constant statistics; its weight and bias may train beside them."""
    bn = nn.BatchNorm2d(3, affine=affine)
    bn.running_mean.data[:] = [1, 2, 3]
    bn.running_var.data[:] = [0.5, 2, 4]
    x = normal(rng, (4, 3, 2, 5), np.float32)
    expected = bn(x)
    testing.gradcheck(bn.freeze(), x)
    assert_same_bits(bn.forward(x)[0], expected)
    if affine:
        testing.gradcheck(bn.unfreeze("weight", "bias"), x)
        assert bn.frozen and trained(bn) == ["weight", "bias"]
    assert not bn.unfreeze().frozen


def test_parameters_alone_leave_the_statistics_moving(rng):
    """As in PyTorch: requires_grad is of the parameters."""
    bn = nn.BatchNorm2d(3).freeze("weight", "bias")
    assert not bn.frozen
    bn.forward(normal(rng, (4, 3, 2, 5), np.float32))
    assert bn.running_mean.data.any()


# ---------------------------------------------------------------------------- rates, other heads


def test_groups_by_name():
    net = small()
    groups = net.parameter_groups({"features.conv1": 0.1, "features": 0.5})
    assert [(len(g["params"]), g.get("lr")) for g in groups] == [(2, 0.1), (6, 0.5), (2, None)]
    assert len(small().parameter_groups({"*": 0.1})) == 1
    with pytest.raises(ValueError, match=r"'features\.bn1' fits no parameter that is left"):
        net.parameter_groups({"features": 0.1, "features.bn1": 0.2})


def test_replacing(rng):
    net = small()
    before = net.state_dict()
    other = copy.deepcopy(net).replace("fc", nn.Linear(64, 5, seed=4))
    assert other(normal(rng, (2, 1, 8, 8), np.float32)).shape == (2, 5)
    assert net["fc"].out_features == 3
    for name, a in other.state_dict().items():
        if not name.startswith("fc"):
            assert_same_bits(a, before[name])
    net.replace("features.conv2", nn.Conv2d(4, 4, 3, bias=False, seed=5))
    assert [p.name for p in net.parameters()][4:6] == ["features.conv2.weight",
                                                       "features.bn2.weight"]  # fmt: skip
    with pytest.raises(ValueError, match="there is no layer 'conv2'; there are features, "):
        net.replace("conv2", nn.ReLU())
    with pytest.raises(ValueError, match="expected a layer for 'fc'"):
        net.replace("fc", 3)


def test_replacing_members_of_layers_and_lists():
    class Two(nn.Layer):
        def __init__(self):
            self.first = nn.Linear(2, 2, seed=1)
            self.rest = [nn.Linear(2, 2, seed=2), nn.ReLU()]
            self.named = {"a": nn.Tanh()}

    net = nn.Sequential(two=Two())
    new = [nn.Linear(2, 2, seed=i) for i in range(3)]
    for name, layer in zip(("two.first", "two.rest.1", "two.named.a"), new, strict=True):
        assert dict(net.replace(name, layer).named_layers())[name] is layer
    assert [p.name for p in net.parameters()][4:6] == ["two.rest.1.weight", "two.rest.1.bias"]
    graph = nn.Graph("x", {"a": (nn.ReLU(), "x"), "s": (nn.Add(), "a", "x")}, "s")
    with pytest.raises(ValueError, match="node 's': expected one input"):
        graph.replace("s", nn.ReLU())


def test_a_net_until_a_layer(rng):
    net = small()
    x = normal(rng, (2, 1, 8, 8), np.float32)
    names = [p.name for p in net.parameters()]
    assert_same_bits(net.until("flat")(x), net.activations(x)["flat"])
    inner = net.until("features.conv2")
    assert list(inner["features"].nodes) == ["conv1", "bn1", "relu1", "conv2"]
    assert [p.name for p in net.parameters()] == names
    resnet = models.resnet20(seed=0)
    base = resnet.until("layer2.0")
    pixels = normal(rng, (2, 3, 16, 16), np.float32)
    assert_close(base(pixels), resnet["layer2"][:1](resnet.activations(pixels)["layer1"]), 1e-6)
    google = models.googlenet(seed=0)
    assert not any("aux" in name for name in google.until("inception4b").nodes)
    with pytest.raises(ValueError, match="there is no node 'fc9'"):
        net.until("fc9")
    with pytest.raises(ValueError, match="'fc' is no graph"):
        net.until("fc.weight")
