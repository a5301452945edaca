"""ResNet and VGG: exact counts, shapes, names, initial weights, and that small ones learn."""

import numpy as np
import pytest
from helpers import assert_same_bits, normal

from fastcnn import models, nn

ZEROS = nn.init.zeros()  # takes no memory until it is written to
COUNTS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
}
# Millions of multiply-adds of one image, the rest cut off.
MULTIPLY_ADDS = {"resnet18": 1814, "resnet50": 4089, "resnet20": 40, "vgg16": 15470}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    small = COUNTS[name] < 2e6
    net = models.create(name, init=ZEROS)
    shape = (3, 32, 32) if small else (3, 224, 224)
    summary = net.summary(shape)
    assert net.num_parameters(trainable=True) == summary.trainable == COUNTS[name]
    assert net.output_shape(shape) == (10 if small else 1000,)
    if name in MULTIPLY_ADDS:
        assert summary.multiply_adds // 10**6 == MULTIPLY_ADDS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_depth_is_that_of_the_name(name):
    """Convolutions on the main path and fully connected layers."""
    net = models.create(name, init=ZEROS)
    kinds = [
        type(layer).__name__
        for path, layer in net.named_layers()
        if ".downsample" not in path and isinstance(layer, (nn.Conv2d, nn.Linear))
    ]
    assert len(kinds) == int("".join(filter(str.isdigit, name)))


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]),
        ("resnet50", [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]),
        ("resnet20", [(16, 224, 224), (32, 112, 112), (64, 56, 56)]),
    ],
)
def test_stages(name, stages):
    net = models.create(name, init=ZEROS)
    shape = (3, 224, 224)
    got = {}
    for part, node in net.nodes.items():
        shape = got[part] = node.layer.output_shape(shape)
    assert [got[f"layer{i + 1}"] for i in range(len(stages))] == stages


def test_vgg_layers():
    net = models.vgg16(init=ZEROS)
    rows = {row.name: row for row in net.summary((3, 224, 224)).rows}
    assert [rows[f"pool{i}"].output_shape for i in range(1, 6)] == [
        (64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14), (512, 7, 7),
    ]  # fmt: skip
    assert rows["fc6"].parameters == 4096 * 25088 + 4096
    assert [name for name in rows if name.startswith("conv3")] == ["conv3_1", "conv3_2", "conv3_3"]


def test_free_sizes():
    net = models.resnet18(7, in_channels=1, init=ZEROS)
    assert net.output_shape((1, 64, 96)) == (7,)
    assert models.resnet20(3, in_channels=1, init=ZEROS).output_shape((1, 28, 28)) == (3,)
    small = models.vgg11(5, in_channels=1, image_size=40, hidden=64, init=ZEROS)
    assert small.output_shape((1, 40, 40)) == (5,)
    with pytest.raises(ValueError, match="vgg16: expected image_size in 32"):
        models.vgg16(image_size=31)
    with pytest.raises(ValueError, match="Linear"):
        small.output_shape((1, 64, 64))


def test_names_are_those_that_others_use():
    """State names of the usual implementations, so that their weights are found by name."""
    names = list(models.resnet18(init=ZEROS).state_dict())
    assert names[:6] == [
        "conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
        "layer1.0.conv1.weight",
    ]  # fmt: skip
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var"} <= set(names)
    assert names[-2:] == ["fc.weight", "fc.bias"]
    assert "layer3.5.bn3.bias" in models.resnet50(init=ZEROS).state_dict()
    assert not any("downsample" in n for n in models.resnet20(init=ZEROS).state_dict())


def test_a_plain_net_is_the_residual_one_without_its_sums():
    """Names, weights and layers are the same; with blocks that give 0 only the sum remains."""
    plain, residual = models.resnet20(residual=False, seed=1), models.resnet20(seed=1)
    ours, theirs = plain.state_dict(), residual.state_dict()
    assert [*ours] == [*theirs]
    for name, value in ours.items():
        assert_same_bits(value, theirs[name])
    x = np.ones((1, 16, 8, 8), np.float32)
    for net, expected in ((plain, 0), (residual, x)):
        block = net["layer1"]["0"]
        dict(block.named_parameters())["bn2.weight"].data[...] = 0
        np.testing.assert_array_equal(block(x), np.broadcast_to(expected, x.shape))


def test_seeds_and_initial_weights():
    a, b, other = models.resnet20(seed=1), models.resnet20(seed=1), models.resnet20(seed=2)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert_same_bits(p.data, q.data)
    assert any(
        (p.data != q.data).any() for p, q in zip(a.parameters(), other.parameters(), strict=True)
    )
    w = dict(a.named_parameters())["layer3.2.conv1.weight"].data
    assert w.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    net = models.vgg11(10, image_size=32, hidden=128, seed=0)
    assert net["conv2_1"].weight.data.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert net["drop6"].rng is not net["drop7"].rng
    assert net["drop6"].rng.random() != net["drop7"].rng.random()


def test_big_weights_exist_once():
    """Drawn a block at a time: the numbers of one draw, and never more than a block in float64."""
    shape = (300, 1000)
    got = nn.init.normal(0.5)(shape, np.random.default_rng(3))
    whole = np.random.default_rng(3).normal(0, 0.5, shape).astype(np.float32)
    assert_same_bits(got, whole)


def test_resnet_learns(rng):
    """Four noisy patterns: gradient descent with momentum tells them apart after some steps."""
    net, loss = models.resnet20(4, in_channels=1, seed=0), nn.CrossEntropyLoss()
    patterns = np.kron(rng.choice([-1, 1], (4, 1, 4, 4)), np.ones((4, 4)))
    speed = [np.zeros_like(p.data) for p in net.parameters()]

    def images(n):
        t = rng.integers(0, 4, n)
        return (patterns[t] + rng.normal(0, 0.5, (n, 1, 16, 16))).astype(np.float32), t

    values = []
    for _ in range(40):
        x, t = images(16)
        y, ctx = net.forward(x)
        value, dy = loss(y, t)
        values.append(value)
        net.zero_grad()
        net.backward(dy, ctx, need_dx=False)
        for p, v in zip(net.parameters(), speed, strict=True):
            v *= np.float32(0.9)
            v += p.grad
            p.data -= np.float32(0.02) * v
    assert np.mean(values[-5:]) < 0.3 * values[0]
    x, t = images(200)
    assert (net(x).argmax(1) == t).mean() > 0.9  # with the running statistics


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: models.resnet20(seed=3), 16),
        (lambda: models.vgg11(10, image_size=32, hidden=32, seed=3), 32),
    ],
    ids=["resnet20", "vgg11"],
)
def test_whole_net_gradient_in_one_direction(make, size, rng):
    """The loss along a random direction of all parameters changes as the gradients say."""
    net, loss = make().double(), nn.CrossEntropyLoss()
    x, t = rng.normal(size=(4, 3, size, size)), rng.integers(0, 10, 4)
    dropped = net.rng_state()
    y, ctx = net.forward(x)
    dx = net.backward(loss(y, t)[1], ctx)
    moves = [(p.data, p.grad, rng.normal(size=p.data.shape)) for p in net.parameters()]
    moves.append((x, dx, rng.normal(size=x.shape)))
    expected = sum((g * d).sum() for _, g, d in moves)

    def at(step):
        net.set_rng_state(dropped)
        for array, _, d in moves:
            array += step * d
        value = loss(net.forward(x)[0], t)[0]
        for array, _, d in moves:
            array -= step * d
        return value

    assert (at(1e-7) - at(-1e-7)) / 2e-7 == pytest.approx(expected, rel=1e-3)


def test_a_sample_s_result_does_not_depend_on_its_batch(rng):
    net = models.resnet20(seed=0)
    net.forward(normal(rng, (8, 3, 32, 32), np.float32))
    x = normal(rng, (9, 3, 32, 32), np.float32)
    alone = net(x[:1])
    for n in (2, 5, 9):
        assert_same_bits(net(x[:n])[:1], alone)
        assert_same_bits(net(x[n - 1 :: -1])[-1:], alone)
