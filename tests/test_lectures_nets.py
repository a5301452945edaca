"""The lectures' nets: their blocks and parts, how deep they are, and how they are trained."""

import numpy as np
import pytest
from helpers import assert_close, assert_same, integers

from fastcnn import data, models, nn, ops, optim, training
from fastcnn.models import lenet_1998
from fastcnn.nn import init

F4 = np.float32
WEIGHTED = (nn.Conv2d, nn.Linear)


def layers_of(net, kind):
    return [layer for _, layer in net.named_layers() if isinstance(layer, kind)]


def test_nets_are_built_as_taught():
    """Layers that the lectures count or name."""
    alexnet = models.alexnet(init=init.zeros())
    assert [len(layers_of(alexnet, k)) for k in (nn.Conv2d, nn.Linear)] == [5, 3]
    assert len(layers_of(alexnet, nn.Dropout)) == 2
    assert {conv.groups for conv in layers_of(alexnet, nn.Conv2d)} == {1, 2}
    vgg = models.vgg16(init=init.zeros())
    assert [len(layers_of(vgg, k)) for k in (nn.Conv2d, nn.Linear)] == [13, 3]
    assert {conv.kernel_size for conv in layers_of(vgg, nn.Conv2d)} == {(3, 3)}
    assert {drop.p for drop in layers_of(vgg, nn.Dropout)} == {0.5}
    google = models.googlenet(init=init.zeros(), auxiliary=True)
    assert sum(isinstance(node.layer, nn.Graph) and name.startswith("inception")
               for name, node in google.nodes.items()) == 9  # fmt: skip
    assert len(google.outputs) == 3 and layers_of(google, nn.GlobalAvgPool2d)
    resnet = models.resnet18(init=init.zeros())
    assert not layers_of(resnet, nn.Dropout) and len(layers_of(resnet, nn.Add)) == 8
    lecture, relu = models.lenet5(variant="lecture"), models.lenet5(variant="relu")
    assert layers_of(lecture, nn.Sigmoid) and layers_of(lecture, nn.AvgPool2d)
    assert layers_of(relu, nn.ReLU) and layers_of(relu, nn.MaxPool2d)


def test_sizes_through_alexnet_and_vgg16():
    """(227 - 11)/4 + 1 = 55, (55 - 3)/2 + 1 = 27, 13, 6; VGG halves 224 five times."""
    net = models.alexnet(init=init.zeros())
    rows = {row.name: row for row in net.summary((3, 227, 227), strict=True).rows}
    layers = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    assert [rows[name].output_shape for name in layers] == [
        (96, 55, 55), (96, 27, 27), (256, 27, 27), (256, 13, 13), (384, 13, 13), (384, 13, 13),
        (256, 13, 13), (256, 6, 6),
    ]  # fmt: skip
    weighted = [row.parameters for row in rows.values() if row.parameters]
    assert weighted == [
        34_944, 307_456, 885_120, 663_936, 442_624, 37_752_832, 16_781_312, 4_097_000
    ]  # fmt: skip
    rows = models.vgg16(init=init.zeros()).summary((3, 224, 224), strict=True).rows
    assert [row.output_shape for row in rows if row.kind == "MaxPool2d"] == [
        (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7)
    ]  # fmt: skip
    stages = [sum(r.parameters for r in rows if r.name.startswith(f"conv{s}")) for s in range(1, 6)]
    assert stages == [38_720, 221_440, 1_475_328, 5_899_776, 7_079_424]
    fully_connected = [row.parameters for row in rows if row.kind == "Linear"]
    assert fully_connected == [(512 * 7 * 7 + 1) * 4096, (4096 + 1) * 4096, (4096 + 1) * 1000]


@pytest.mark.parametrize("name", ["resnet20", "densenet121", "googlenet", "fcn8s"])
def test_nets_without_a_fixed_size_take_any(name, rng):
    """A global mean, or no fully connected layer at all: the same weights at every size."""
    options = {
        "densenet121": {"growth": 4},
        "fcn8s": {"channels": (4, 4, 8, 8, 8), "hidden": 8, "init": init.he()},
    }.get(name, {})
    net = models.create(name, num_classes=4, seed=0, **options)
    for size in ((32, 32), (40, 65)):
        x = rng.random((2, 3, *size)).astype(F4)
        y = net(x)
        assert y.shape == (2, *net.output_shape((3, *size)))
        assert y.shape[1:] == ((4, *size) if name == "fcn8s" else (4,))
        assert np.isfinite(y).all() and (y[0] != y[1]).any()
        assert_close(net(x[1:]), y[1:], 1e-6)


def test_a_net_with_a_fixed_size_says_so(rng):
    with pytest.raises(ValueError, match="fc1"):
        models.lenet5(seed=0).output_shape((1, 32, 32))
    with pytest.raises(ValueError, match="400"):
        models.lenet5(seed=0)(rng.random((1, 1, 32, 32)).astype(F4))


def test_a_residual_block_adds_its_input(rng):
    """y = relu(F(x) + x): with F = 0 it hands on what is positive."""
    for block in (
        nn.blocks.basic_block(8, 8, init=init.zeros()),
        nn.blocks.bottleneck(8, 2, init=init.zeros()),
    ):
        x = rng.normal(size=(2, 8, 5, 5)).astype(F4)
        assert_same(block(x), np.maximum(x, 0), zeros=0.7)


def test_a_bottleneck_adds_what_three_convolutions_give(rng):
    """F is 1x1 to a quarter of the channels, 3x3, and 1x1 back: ResNet-50's kind."""
    block = nn.blocks.bottleneck(8, 2, seed=0)
    layer = {name: node.layer for name, node in block.nodes.items()}
    kernels = [layer[f"conv{i}"].weight.data.shape for i in (1, 2, 3)]
    assert kernels == [(2, 8, 1, 1), (2, 2, 3, 3), (8, 2, 1, 1)]
    x = rng.normal(size=(2, 8, 6, 6)).astype(F4)
    f = x
    for i in (1, 2, 3):
        f = layer[f"bn{i}"](layer[f"conv{i}"](np.maximum(f, 0) if i > 1 else f))
    assert np.abs(f).max() > 0.1
    assert_close(block(x), np.maximum(f + x, 0), 1e-5, zeros=0.7)


def test_a_dense_block_keeps_its_input_and_adds_growth():
    block = nn.blocks.dense_block(4, 3, 2, seed=0)
    x = np.ones((1, 4, 6, 6), F4)
    y = block(x)
    assert y.shape == (1, 4 + 3 * 2, 6, 6)
    assert (y[:, :4] == x).all()


def test_fully_connected_layers_are_convolutions(rng):
    """On the size that it was made for, the same numbers; on a larger image, a heat map."""
    net = models.lenet5(variant="relu", seed=0)
    conv = nn.Sequential(
        net.until("pool2"),
        models.as_convolution(net["fc1"], (16, 5, 5)), nn.ReLU(),
        models.as_convolution(net["fc2"]), nn.ReLU(),
        models.as_convolution(net["fc3"]),
    )  # fmt: skip
    x = rng.random((2, 1, 28, 28)).astype(F4)
    assert_close(conv(x)[:, :, 0, 0], net(x), 1e-4)
    assert conv(rng.random((1, 1, 60, 44)).astype(F4)).shape == (1, 10, 9, 5)


def test_fcn_gives_a_class_map_of_the_image_s_size():
    for make in (models.fcn32s, models.fcn16s, models.fcn8s):
        assert make(5, init=init.zeros()).output_shape((3, 64, 96)) == (5, 64, 96)


@pytest.fixture(scope="module")
def autoencoder():
    """An autoencoder that saw 1,000 digits, without their labels."""
    x = data.mnist(subset=True)[0].x[:1000]
    net = models.autoencoder(32, seed=0)
    trainer = training.Trainer(net, nn.MSELoss(), optim.Adam(net.parameters(), lr=0.003), seed=0)
    trainer.fit((x, x), epochs=5, batch_size=20, progress=False)
    return net


def test_an_autoencoder_restores_what_its_code_compresses(autoencoder):
    """24.5 to 1: (28, 28) through 32 numbers; soon better than always to draw the mean digit."""
    (code,) = autoencoder["encoder"].output_shape((1, 28, 28))
    assert 28 * 28 / code == 24.5
    assert autoencoder.output_shape((1, 28, 28)) == (1, 28, 28)
    train, test = data.mnist(subset=True)
    new = test.x[:200]
    mean_digit = np.square(new - train.x[:1000].mean(axis=0)).mean()
    assert np.square(autoencoder(new) - new).mean() < 0.6 * mean_digit


def test_a_code_serves_as_features(autoencoder):
    """100 labels and a linear classifier: better on the code than on an untrained encoder's."""
    train, test = data.mnist(subset=True)

    def accuracy(encoder):
        codes, new = encoder(train.x[:100]), encoder(test.x)
        mean, deviation = codes.mean(axis=0), codes.std(axis=0) + F4(0.01)
        net = nn.Linear(32, 10, init=init.zeros())
        optimizer = optim.Adam(net.parameters(), lr=0.005)
        trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=0)
        scaled = ((codes - mean) / deviation, train.y[:100])
        trainer.fit(scaled, epochs=100, batch_size=20, progress=False)
        return trainer.evaluate(((new - mean) / deviation, test.y)).accuracy

    untrained = accuracy(models.autoencoder(32, seed=0)["encoder"])
    assert accuracy(autoencoder["encoder"]) > max(0.6, untrained + 0.05)


def test_L3_simple_convnet_has_the_lecture_s_interface(rng):
    net = models.SimpleConvNet(
        (1, 8, 8), {"filter_num": 2, "filter_size": 3}, hidden_size=3, seed=0
    ).double()
    x, t = rng.random((2, 1, 8, 8)), np.array([1, 7])
    numeric, exact = net.numerical_gradient(x, t), net.gradient(x, t)
    assert max(np.abs(numeric[key] - exact[key]).max() for key in exact) < 1e-7
    assert net.predict(x).shape == (2, 10) and net.loss(x, t) > 0
    assert [*net.params] == ["W1", "b1", "W2", "b2", "W3", "b3"]


def test_auxiliary_heads_bring_gradients_to_the_middle_of_googlenet(rng):
    """Loss 1 * main + 0.3 * each head; a head alone trains what is below it, and nothing above."""
    net = models.googlenet(4, auxiliary=True, image_size=79, init=init.he(), seed=0)
    outputs, ctx = net.forward(rng.random((1, 3, 79, 79)).astype(F4))
    loss, ce, target = nn.AuxiliaryLoss(nn.CrossEntropyLoss()), nn.CrossEntropyLoss(), np.array([2])
    value, gradient = loss(outputs, target)
    each = {name: ce(scores, target) for name, scores in outputs.items()}
    assert value == pytest.approx(
        each["fc"][0] + 0.3 * (each["aux1"][0] + each["aux2"][0]), rel=1e-6
    )
    for name, weight in (("fc", 1), ("aux1", 0.3), ("aux2", 0.3)):
        np.testing.assert_allclose(gradient[name], weight * each[name][1], rtol=1e-6)
    nothing = {name: np.zeros_like(g) for name, g in gradient.items()}
    net.backward({**nothing, "aux1": gradient["aux1"]}, ctx, need_dx=False)
    classifier = net.nodes["aux1"].layer["fc2"]
    np.testing.assert_allclose(classifier.bias.grad, gradient["aux1"][0], rtol=1e-6)
    trained = {name.split(".")[0] for name, p in net.named_parameters() if p.grad.any()}
    assert trained == {
        "conv1", "reduce2", "conv2", "inception3a", "inception3b", "inception4a", "aux1",
    }  # fmt: skip


# ------------------------------------------------------------------------ LeNet-5 of 1998


def test_tanh_of_1998_is_scaled():
    """1.7159 tanh(2/3 x) takes 1 to 1 and -1 to -1; one follows each layer with weights."""
    x = np.array([-1.0, 0.5, 1.0, 50.0])
    y = lenet_1998.ScaledTanh()(x)
    np.testing.assert_allclose(y, 1.7159 * np.tanh(2 / 3 * x), rtol=1e-12)
    np.testing.assert_allclose(y[[0, 2]], [-1, 1], atol=1e-4)
    assert len(layers_of(models.lenet5("1998"), lenet_1998.ScaledTanh)) == 6


def test_subsampling_of_1998_has_a_factor_and_a_bias_a_map():
    """2 parameters a map: 12 in S2, 32 in S4."""
    net = models.lenet5("1998")
    assert [net[name].num_parameters() for name in ("s2", "s4")] == [12, 32]
    layer = lenet_1998.Subsample(2)
    layer.weight.data[...], layer.bias.data[...] = [2, -1], [0, 5]
    x = np.arange(16, dtype=F4).reshape(1, 2, 2, 4)  # windows' sums 10, 18 and 42, 50
    assert layer(x)[0].tolist() == [[[20, 36]], [[-37, -45]]]


def test_C3_of_1998_sees_the_maps_of_its_table(rng):
    """60 of 96 pairs of maps are joined: 60 * 25 + 16 = 1,516 parameters."""
    c3, table = models.lenet5("1998")["c3"], lenet_1998.C3_TABLE
    assert [len(row) for row in table] == [3] * 6 + [4] * 9 + [6]
    assert c3.num_parameters() == 60 * 25 + 16 == 1_516
    c3.weight.data[...] = integers(rng, c3.weight.data.shape, F4)
    x, kernels = integers(rng, (1, 6, 14, 14), F4), iter(c3.weight.data)
    y = c3(x)
    for k, row in enumerate(table):
        assert_same(y[:, [k]], sum(ops.conv2d(x[:, [i]], next(kernels)[None, None]) for i in row))


def test_outputs_of_1998_are_distances_to_drawn_digits(rng):
    """RBF units: -|x - code|^2, ten codes of 84 signs that do not train; the nearest one wins."""
    output = models.lenet5("1998")["output"]
    codes = output.codes.data
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1, 1} and not output.trains()
    x = codes[[3, 8]] + rng.normal(0, 0.3, (2, 84)).astype(F4)
    assert_close(output(x), -np.square(x[:, None] - codes).sum(axis=2), 1e-5)
    assert output(x).argmax(axis=1).tolist() == [3, 8]


def test_LeNet5_of_1998_learns():
    """Eq. 9 of its paper as loss: 1,000 digits twice, and most others are nearest to their code."""
    train, test = data.mnist(subset=True)
    net = models.lenet5("1998", seed=0)
    optimizer = optim.SGD(net.parameters(), lr=0.0005, momentum=0.9)
    trainer = training.Trainer(net, models.DistanceLoss(rubbish=1.0), optimizer, seed=0)
    trainer.fit(train[:1000], epochs=2, batch_size=10, progress=False)
    assert trainer.evaluate(test[:500]).accuracy > 0.7


# ----------------------------------------------------------------------------- large nets


@pytest.mark.parametrize("name, rate, decay", [("vgg11", 0.01, 5e-4), ("resnet18", 0.1, 1e-4)])
def test_settings_of_vgg_and_resnet(name, rate, decay, rng):
    """SGD with momentum 0.9; 0.01 and dropout 0.5 in VGG, 0.1 and no dropout in ResNet."""
    options = {"image_size": 32, "hidden": 16} if name == "vgg11" else {}
    net, twin = (models.create(name, num_classes=4, seed=3, **options).double() for _ in range(2))
    drops = [layer.p for _, layer in net.named_layers() if isinstance(layer, nn.Dropout)]
    assert drops == ([0.5, 0.5] if name == "vgg11" else [])
    count = 1 if name == "vgg11" else 4  # a batch norm needs more than one
    x = rng.normal(size=(count, 3, 32, 32))
    y, loss = np.arange(count), nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    trainer = training.Trainer(net, loss, optimizer, seed=0)
    trainer.fit((x, y), epochs=2, batch_size=count, progress=False)
    weights = list(twin.parameters())
    velocity = [np.zeros_like(p.data) for p in weights]
    for _ in range(2):  # v = 0.9 v + g + decay w; w = w - rate v
        scores, ctx = twin.forward(x)
        twin.zero_grad()
        twin.backward(loss(scores, y)[1], ctx)
        velocity = [
            0.9 * v + p.grad + decay * p.data for v, p in zip(velocity, weights, strict=True)
        ]
        for p, v in zip(weights, velocity, strict=True):
            p.data -= rate * v
    for p, q in zip(net.parameters(), weights, strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-7, atol=1e-10)


def depth(graph, node=None):
    """Layers with weights on the longest way to a node of a graph."""
    of = {name: 0 for name in graph.inputs}
    for name, (layer, inputs) in graph.nodes.items():
        inner = depth(layer) if isinstance(layer, nn.Graph) else isinstance(layer, WEIGHTED)
        of[name] = max(of[i] for i in inputs) + inner
    return of[node or graph.outputs[0]]


def test_googlenet_is_22_layers_deep():
    """3 convolutions, 9 modules of 2 and the classifier; a head hangs off half-way, 2 more deep."""
    net = models.googlenet(init=init.zeros(), auxiliary=True)
    assert depth(net, "fc") == 3 + 9 * 2 + 1 == 22
    assert depth(net, "aux1") == 3 + 3 * 2 + 3
    assert depth(net, "aux2") == 3 + 6 * 2 + 3
