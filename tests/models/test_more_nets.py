"""AlexNet, GoogLeNet, DenseNet, FCN, the autoencoder: counts, shapes, and what each is for."""

import numpy as np
import pytest
from helpers import assert_close, normal

from fastcnn import metrics, models, nn, optim, testing, training
from fastcnn.nn import init

ZEROS = init.zeros()  # takes no memory until it is written to
COUNTS = {
    "alexnet": 60_965_224,
    "googlenet": 6_998_552,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "fcn32s": 136_152_917,
    "fcn16s": 134_815_994,
    "fcn8s": 134_489_759,
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    net = models.create(name, init=ZEROS)
    size = 227 if name == "alexnet" else 224
    summary = net.summary((3, size, size))
    assert summary.parameters == net.num_parameters() == COUNTS[name]
    expected = (21, size, size) if name.startswith("fcn") else (1000,)
    assert net.output_shape((3, size, size)) == expected


def test_alexnet_layers():
    rows = {row.name: row for row in models.alexnet(init=ZEROS).summary((3, 227, 227)).rows}
    assert rows["conv1"].output_shape == (96, 55, 55)
    assert rows["conv1"].parameters == 34_944
    assert rows["pool5"].output_shape == (256, 6, 6)
    assert rows["fc6"].parameters == 37_752_832
    small = models.alexnet(5, in_channels=1, image_size=67, hidden=16, init=ZEROS)
    assert small.output_shape((1, 67, 67)) == (5,)
    with pytest.raises(ValueError, match="image_size in 67"):
        models.alexnet(image_size=66)


def test_googlenet_and_its_heads():
    net = models.googlenet(auxiliary=True, init=ZEROS)
    assert net.num_parameters() == 13_378_280
    assert models.googlenet(init=ZEROS).output_shape((3, 160, 193)) == (1000,)
    shapes = {row.name: row.output_shape for row in net.summary((3, 224, 224)).rows}
    assert shapes["pool2"] == (192, 28, 28)
    assert shapes["inception4e.concat"] == (832, 14, 14)
    assert shapes["inception5b.concat"] == (1024, 7, 7)
    assert shapes["aux1.pool"] == (512, 4, 4)
    with pytest.raises(ValueError, match="image_size in 79"):
        models.googlenet(auxiliary=True, image_size=(79, 78))
    x = np.zeros((1, 1, 79, 79), np.float32)  # the least: its maps are 5x5 where the heads are
    small = models.googlenet(7, in_channels=1, auxiliary=True, image_size=79, seed=0)
    outputs, ctx = small.forward(x)
    assert {name: y.shape for name, y in outputs.items()} == dict.fromkeys(
        ("fc", "aux1", "aux2"), (1, 7)
    )
    assert small.backward(outputs, ctx, need_dx=False) is None
    assert small(x).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("dmlp", (7, 11), {}),
        ("lenet5", (12, 23), {}),
        ("lenet5", (22, 14), {"variant": "lecture"}),
        ("simple_convnet", (9, 16), {}),
        ("alexnet", (67, 99), {"hidden": 8}),
        ("vgg11", (64, 32), {"hidden": 8}),
        ("vgg19", (32, 70), {"hidden": 8}),
        ("googlenet", (79, 145), {"auxiliary": True}),
        ("autoencoder", (8, 20), {}),
    ],
)
def test_images_need_not_be_square(name, size, options):
    classes = {} if name == "autoencoder" else {"num_classes": 6}
    net = models.create(name, in_channels=2, image_size=size, seed=0, **classes, **options)
    x = np.zeros((1, 2, *size), np.float32)
    y, _ = net.forward(x)
    for scores in y.values() if isinstance(y, dict) else [y]:
        assert scores.shape == (x.shape if name == "autoencoder" else (1, 6))
    with pytest.raises(ValueError, match=f"{name}: expected image_size"):
        models.create(name, image_size=(*size, 1), **options)
    with pytest.raises(ValueError, match=f"{name}: expected image_size"):
        models.create(name, image_size=(size[0], 0), **options)


def test_densenet_names_and_shapes():
    """State names of the usual implementations, so that their weights are found by name."""
    net = models.densenet121(init=ZEROS)
    names = list(net.state_dict())
    assert names[:2] == ["features.conv0.weight", "features.norm0.weight"]
    assert "features.denseblock3.denselayer24.conv2.weight" in names
    assert "features.transition2.norm.running_var" in names
    assert names[-2:] == ["classifier.weight", "classifier.bias"]
    assert net["features"].output_shape((3, 224, 224)) == (1024, 7, 7)
    convs = [la for _, la in net.named_layers() if isinstance(la, (nn.Conv2d, nn.Linear))]
    assert len(convs) == 121
    small = models.densenet121(3, in_channels=1, growth=4, seed=0)
    y, ctx = small.forward(normal(np.random.default_rng(0), (2, 1, 40, 33), np.float32))
    assert y.shape == (2, 3)
    small.backward(y, ctx, need_dx=False)
    assert all(p.grad.any() for name, p in small.named_parameters() if "conv" in name)


# ------------------------------------------------------------------------------- segmentation

TINY = {"channels": (2, 2, 3, 3, 3), "hidden": 4, "in_channels": 1}


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(32, 64), (33, 50), (70, 31)], ids=str)
def test_fcn_takes_any_size(stride, size):
    net = models.create(f"fcn{stride}s", num_classes=3, **TINY)
    y, ctx = net.forward(np.ones((1, 1, *size), np.float32))
    assert y.shape == (1, 3, *size) == (1, *net.output_shape((1, *size)))
    assert net.backward(y, ctx).shape == (1, 1, *size)


def test_fcn_gradients(rng):
    """Away from kinks: random biases, so that no sum is exactly 0."""
    net = models.fcn8s(
        2, in_channels=1, channels=(2, 2, 2, 2, 2), hidden=2, init=init.normal(0.5), seed=1
    )
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            p.data[:] = rng.normal(0.2, 0.3, p.data.shape)
    for name in ("drop6", "drop7"):
        net.nodes[name].layer.p = 0.0
    net.nodes["upscore"].layer.weight.requires_grad = False  # a thousand numbers, tested elsewhere
    testing.gradcheck(net, rng.normal(size=(1, 1, 9, 10)), tol=1e-5)


def test_fcn_starts_as_an_interpolation(rng):
    net = models.fcn32s(3, **TINY, seed=0)
    up = net.nodes["upscore"].layer
    y = up(np.ones((1, 3, 4, 4), np.float32))
    assert y.shape == (1, 3, 128, 128)
    np.testing.assert_allclose(y[:, :, 16:-16, 16:-16], 1, rtol=1e-6)
    assert not net(normal(rng, (1, 1, 40, 40), np.float32)).any()  # scores start at zero


def test_fully_connected_as_convolution(rng):
    """VGG's classifier slides over a larger image; where it fits it says the same."""
    vgg = models.vgg11(4, in_channels=1, image_size=64, hidden=8, seed=0)
    x = normal(rng, (2, 1, 128, 96), np.float32)
    features = vgg[: list(vgg.nodes).index("flatten")]
    chain = [models.as_convolution(vgg["fc6"], (512, 2, 2)), nn.ReLU()]
    chain += [models.as_convolution(vgg["fc7"]), nn.ReLU(), models.as_convolution(vgg["fc8"])]
    maps = nn.Sequential(*chain)(features(x))
    assert maps.shape == (2, 4, 3, 2)
    same = nn.Sequential(*chain)(features(x[:, :, :64, :64]))
    assert_close(same[:, :, 0, 0], vgg(x[:, :, :64, :64]), 1e-5)
    padded = models.as_convolution(vgg["fc6"], (512, 2, 2), padding=1)(features(x))
    assert padded.shape == (2, 8, 5, 4)
    with pytest.raises(ValueError, match="maps of 2048 numbers"):
        models.as_convolution(vgg["fc6"], (512, 2, 3))


def test_a_trainer_trains_a_segmentation_net(rng):
    """Squares, bright or dark, on noise: a class for every pixel. Accuracy is that of images."""
    y = np.zeros((80, 32, 32), np.int64)
    x = rng.normal(0, 0.2, (80, 1, 32, 32)).astype(np.float32)
    for i in range(80):
        r, c = rng.integers(0, 20, 2)
        y[i, r : r + 10, c : c + 10] = 1 + i % 2
        x[i, 0, r : r + 10, c : c + 10] += 2 - 4 * (i % 2)
    net = models.fcn8s(3, in_channels=1, channels=(8, 16, 16, 32, 32), hidden=32, seed=0)
    trainer = training.Trainer(
        net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=0.003), seed=0
    )
    trainer.fit((x[:64], y[:64]), epochs=25, batch_size=16, validation=0.25,
                progress=False)  # fmt: skip
    assert metrics.mean_iou(y[64:], trainer.predict(x[64:])) > 0.7
    assert np.isnan(trainer.evaluate((x, y)).accuracy)
    assert np.isnan(trainer.history.validation_accuracy).all()


# ------------------------------------------------------------------------------- autoencoder


def test_autoencoder():
    net = models.autoencoder(seed=1)
    assert net.num_parameters() == 111_521
    assert net["encoder"].output_shape((1, 28, 28)) == (32,)
    assert net.output_shape((1, 28, 28)) == (1, 28, 28)
    assert models.autoencoder(8, in_channels=3, image_size=32).output_shape((3, 32, 32)) == (
        3, 32, 32,
    )  # fmt: skip
    with pytest.raises(ValueError, match="multiple of 4"):
        models.autoencoder(image_size=30)


def test_autoencoder_learns_to_restore(rng):
    """Three patterns through one number each: the error falls to a tenth of its start."""
    net, loss = models.autoencoder(4, image_size=8, seed=0), nn.MSELoss()
    patterns = np.kron(rng.integers(0, 2, (3, 1, 4, 4)), np.ones((2, 2))).astype(np.float32)
    values = []
    for _ in range(300):
        y, ctx = net.forward(patterns)
        value, dy = loss(y, patterns)
        values.append(value)
        net.zero_grad()
        net.backward(dy, ctx, need_dx=False)
        for p in net.parameters():
            p.data -= np.float32(1.0) * p.grad
    assert values[-1] < 0.1 * values[0]
